"""Who learns a batch: one device, all GPUs of a machine, or several machines, each device its share of the images.

TensorFlow's strategies do the work: weights are the same on all devices, gradients are averaged over them.
"""
import contextlib
import functools
import json
import os

import tensorflow as tf


@functools.cache  # a process can have one alone
def strategy():
    """Returns what trains: the machines that the environment's TF_CONFIG names, else all GPUs, else the one device.

    Raises:
        ValueError: where TF_CONFIG doesn't say which machines there are, and which of them this is.
    """
    if "TF_CONFIG" in os.environ:
        try:
            config = json.loads(os.environ["TF_CONFIG"])
            config["cluster"][config["task"]["type"]][config["task"]["index"]]
        except (ValueError, LookupError, TypeError):
            raise ValueError('TF_CONFIG must be JSON such as {"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}'
                             ', "task": {"type": "worker", "index": 0}}, the task one of the cluster\'s. '
                             f"Received: {os.environ['TF_CONFIG']}") from None
        return tf.distribute.MultiWorkerMirroredStrategy()
    names = [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def machine():
    """Returns this machine's place among those that train. The first, 0, is the chief: it alone writes the run."""
    resolver = strategy().cluster_resolver
    if not resolver:
        return 0
    return resolver.task_id + (resolver.task_type == "worker" and "chief" in resolver.cluster_spec().jobs)


def distribute(load):
    """Returns the pipeline that trains: of load(shares, mine), which yields the shares `mine` of each batch cut into
    as many equal `shares` as there are devices.
    """
    def mine(context):
        here = context.num_replicas_in_sync // context.num_input_pipelines
        first = context.input_pipeline_id * here
        return load(context.num_replicas_in_sync, range(first, first + here))

    if strategy().num_replicas_in_sync == 1:
        return load(1, range(1))
    return strategy().distribute_datasets_from_function(mine)


@contextlib.contextmanager
def watched():
    """In it the loss of another machine is an error that says what to do.

    Raises:
        ConnectionError: where one of the machines ended.
    """
    try:
        yield
    except tf.errors.UnavailableError as error:
        raise ConnectionError("Another machine of TF_CONFIG was lost. Start the same command again on each: all go on "
                              f"from the newest snapshot.\n{error.message.splitlines()[0]}") from None


def apply(optimizer, gradients, variables):
    """Moves variables by the mean of the devices' gradients: Keras takes the sum."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1 and hasattr(optimizer, "dynamic_scale"):  # in float16 Keras asks the first device alone whether
        gradients = tf.distribute.get_replica_context().all_reduce("MEAN", gradients)  # they are finite: all must know
    optimizer.apply([gradient / replicas for gradient in gradients], variables)


def logs(values):
    """Returns {name: scalar} as `fit` wants it: over several machines it takes means over an axis, which this adds."""
    return {name: value[None] for name, value in values.items()} if tf.distribute.get_strategy().cluster_resolver \
        else values


def reduced(how, number):
    """Returns the "SUM" or "MEAN" of what `number` is on each of the machines, which all must ask at once."""
    return float(_reduced(how, tf.constant(float(number)))) if strategy().cluster_resolver else number


@tf.function
def _reduced(how, number):
    # A copy, which unlike `number` stands on a device.
    return strategy().run(lambda: tf.distribute.get_replica_context().all_reduce(how, tf.identity(number)))
