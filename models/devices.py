"""Training on one device, on all GPUs of a machine, or on several machines.

TensorFlow's distribution strategies keep the weights equal on all devices. Each device learns an
equal share of every batch.
"""
import contextlib
import functools
import json
import os

import tensorflow as tf


@functools.cache  # a process can have only one
def strategy():
    """Returns the tf.distribute strategy that trains.

    It spans the machines that the environment variable TF_CONFIG names, else all GPUs, else the
    one device.

    Raises:
        ValueError: if TF_CONFIG does not name the machines and the place of this one among them.
    """
    if "TF_CONFIG" in os.environ:
        _check_tf_config(os.environ["TF_CONFIG"])
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def _check_tf_config(text):
    try:
        config = json.loads(text)
        task = config["task"]
        config["cluster"][task["type"]][task["index"]]
    except (ValueError, LookupError, TypeError):
        example = ('{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
                   '"task": {"type": "worker", "index": 0}}')
        raise ValueError(f"TF_CONFIG must be JSON such as {example}, where the task is one of the "
                         f"cluster. Received: {text}") from None


def machine():
    """Returns the index of this machine. Machine 0 is the chief, which alone writes the run."""
    resolver = strategy().cluster_resolver
    if not resolver:
        return 0
    if resolver.task_type == "worker" and "chief" in resolver.cluster_spec().jobs:
        return resolver.task_id + 1
    return resolver.task_id


def distribute(load):
    """Returns the input pipeline of all devices.

    Args:
        load: function (shares, mine) -> tf.data.Dataset of those shares of each batch. `shares`
            is the number of devices, `mine` a range with those of this machine.
    """
    def load_shares_of_machine(context):
        devices_here = context.num_replicas_in_sync // context.num_input_pipelines
        first = context.input_pipeline_id * devices_here
        return load(context.num_replicas_in_sync, range(first, first + devices_here))

    if strategy().num_replicas_in_sync == 1:
        return load(1, range(1))
    return strategy().distribute_datasets_from_function(load_shares_of_machine)


@contextlib.contextmanager
def watched():
    """Within the block, losing another machine raises ConnectionError with what to do."""
    try:
        yield
    except tf.errors.UnavailableError as error:
        reason = error.message.splitlines()[0]
        raise ConnectionError("Another machine of TF_CONFIG was lost. Start the same command on "
                              "each machine again: all resume from the newest checkpoint.\n"
                              f"{reason}") from None


def apply(optimizer, gradients, variables):
    """Applies the mean of the devices' gradients.

    Keras' optimizers apply the sum over the devices, so gradients are divided by their number
    first. A change of the gradients, such as clipping, must come before that.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1 and hasattr(optimizer, "dynamic_scale"):
        # A LossScaleOptimizer asks only the first device whether its gradients are finite. With
        # equal gradients on all devices that answer is right for each of them.
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce("MEAN", gradients)
    optimizer.apply([gradient / replicas for gradient in gradients], variables)


def logs(values):
    """Returns {name: scalar} in the shape that `fit` needs.

    On several machines `fit` averages the logs over their first axis, which scalars do not have
    ("Invalid reduction dimension 0").
    """
    if tf.distribute.get_strategy().cluster_resolver:
        return {name: value[None] for name, value in values.items()}
    return values


def reduced(how, number):
    """Returns the "SUM" or "MEAN" of a number over all machines. All of them must call it."""
    if not strategy().cluster_resolver:
        return number
    return float(_all_reduce(how, tf.constant(float(number))))


def barrier():
    """Waits until all machines have called it."""
    reduced("SUM", 0)


@tf.function
def _all_reduce(how, number):
    def reduce_here():
        on_device = tf.identity(number)  # `number` itself belongs to no device
        return tf.distribute.get_replica_context().all_reduce(how, on_device)

    return strategy().run(reduce_here)
