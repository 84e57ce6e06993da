"""Training on one device, on all GPUs of a machine, or on several machines.

TensorFlow's distribution strategies keep the weights equal on all devices. Each device trains on an
equal share of every batch.
"""
import contextlib
import functools
import os

import keras
import tensorflow as tf


@functools.cache  # a process can have only one
def strategy():
    """Returns the tf.distribute strategy that trains.

    It spans the machines that the environment variable TF_CONFIG names, else all GPUs, else the
    one device.
    """
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def fix_order_of_sums():
    """Makes two equal runs on a CPU equal to the last bit: one operation is computed at a time.

    If several run at once, the order in which TensorFlow's AddN sums three or more gradients is
    random: it starts with one whose memory is free to be overwritten. One operation still uses all
    cores. Has no effect once TensorFlow has computed anything, as in a notebook.
    """
    if not tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_inter_op_parallelism_threads(1)


def count():
    """Returns the number of devices that train together, within the scope of the strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def description():
    """Returns what trains: "the CPU", "1 GPU", "2 GPUs"; "2 CPUs" on two machines without GPUs."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    number = strategy().num_replicas_in_sync
    if number > 1:
        return f"{number} {kind}s"
    return "1 GPU" if kind == "GPU" else "the CPU"


def machine():
    """Returns the index of this machine. Machine 0 is the chief, which alone writes the run."""
    resolver = strategy().cluster_resolver
    if not resolver:
        return 0
    if resolver.task_type == "worker" and "chief" in resolver.cluster_spec().jobs:
        return resolver.task_id + 1
    return resolver.task_id


def apply(optimizer, gradients, variables):
    """Applies the mean of the devices' gradients: Keras' optimizers apply their sum."""
    replicas = count()
    scales_losses = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if replicas > 1 and (scales_losses or optimizer.global_clipnorm):
        # Loss scaling looks for an overflow on the first device alone, and clipping needs the mean.
        gradients = tf.distribute.get_replica_context().all_reduce("MEAN", gradients)
    optimizer.apply([gradient / replicas for gradient in gradients], variables)


def logs(values):
    """Returns {name: scalar} in the shape that `fit` needs.

    On several machines `fit` averages the logs over their first axis, which scalars do not have
    ("Invalid reduction dimension 0").
    """
    if tf.distribute.get_strategy().cluster_resolver:
        return {name: value[None] for name, value in values.items()}
    return values


def any_machine(flag):
    """Returns whether a flag is set on any machine. All of them must call it."""
    if not strategy().cluster_resolver:
        return flag
    return bool(_sum_over_machines(tf.constant(float(flag))))


@tf.function
def _sum_over_machines(number):
    def sum_here():
        on_device = tf.identity(number)  # `number` itself belongs to no device
        return tf.distribute.get_replica_context().all_reduce("SUM", on_device)

    return strategy().run(sum_here)
