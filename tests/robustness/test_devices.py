"""Tests of training on several devices and machines, here parts of the CPU and processes."""
import json
import os
import socket
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from compare_runs import differences
from conftest import ROOT, TINY, arguments

import data
import gan
from models import devices

# Without batch norm, whose statistics each device takes from its own images.
CHANGES = TINY | {
    "batch_norm": "none", "augment": "color,translation,cutout", "instance_noise": 0.1,
    "label_flip": 0.1, "d_optimizer": "sgd", "g_optimizer": "sgd", "d_learning_rate": 0.1,
    "g_learning_rate": 0.1, "r1_weight": 0.1, "r1_every": 2}

# The start of a program that runs on two devices, both of them parts of the CPU.
TWO_DEVICES = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import models, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
import args, data, keras
from models import devices
"""

TRAIN = """
preset, _ = args.parse(["ToyFaces", *sys.argv[1:]])

def train(model, batches):
    logs = model.fit(batches, steps_per_epoch=4, verbose=0).history
    weights = model.generator.get_weights() + model.discriminator.get_weights()
    return {name: value for name, (value,) in logs.items()}, weights

one = models.build(preset)
before = one.generator.get_weights() + one.discriminator.get_weights()
with devices.strategy().scope():
    two = models.build(preset)
assert devices.strategy().num_replicas_in_sync == 2
one_logs, one_weights = train(one, data.load(preset))
two_logs, two_weights = train(two, data.load(preset))

assert max(np.abs(old - new).max() for old, new in zip(before, one_weights)) > 1e-3
for first, second in zip(one_weights, two_weights, strict=True):
    np.testing.assert_allclose(second, first, rtol=0, atol=1e-5)
for name in one.term_names:  # a gradient norm is of the gradients of each device
    np.testing.assert_allclose(two_logs[name], one_logs[name], rtol=1e-4, err_msg=name)
"""

OVERFLOW = """
with devices.strategy().scope():
    weight = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=4.0)
    optimizer.build([weight])

@tf.function
def step(gradients):
    def learn():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        devices.apply(optimizer, [tf.gather(gradients, replica)], [weight])
    devices.strategy().run(learn)

for gradients in [[1.0, 1.0], [float("inf"), 1.0]], [[float("nan"), 1.0], [1.0, 1.0]]:
    step(tf.constant(gradients))
    assert np.allclose(weight.numpy(), [1.0, 2.0]), weight.numpy()
assert optimizer.dynamic_scale.numpy() == 1.0  # halved by each
step(tf.constant([[1.0, 0.0], [0.0, 3.0]]))
assert np.allclose(weight.numpy(), [0.5, 0.5]), weight.numpy()  # less the mean
"""


def start(*command, **environment):
    return subprocess.Popen([sys.executable, *map(str, command)], env=os.environ | environment,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(*processes):
    printed = [process.communicate(timeout=600)[0] for process in processes]
    failed = any(process.returncode for process in processes)
    assert not failed, "\n".join(printed)[-3000:]


def start_cluster(*command):
    """Starts a process for each of two machines that train together, both of them this one."""
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("localhost", 0))
        workers = [f"localhost:{one.getsockname()[1]}" for one in (first, second)]
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        processes.append(start(*command, TF_CONFIG=json.dumps(config)))
    return processes


# ---- one process

@pytest.mark.parametrize("jobs, task_type, index, machine", [
    (["worker"], "worker", 1, 1),
    (["chief", "worker"], "chief", 0, 0),
    (["chief", "worker"], "worker", 0, 1),
])
def test_machine_0_is_the_chief(monkeypatch, jobs, task_type, index, machine):
    resolver = types.SimpleNamespace(
        task_type=task_type, task_id=index, cluster_spec=lambda: types.SimpleNamespace(jobs=jobs))
    strategy = types.SimpleNamespace(cluster_resolver=resolver)
    monkeypatch.setattr(devices, "strategy", lambda: strategy)
    assert devices.machine() == machine


def test_batch_that_devices_cannot_share_is_refused(monkeypatch, tiny):
    strategy = types.SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setattr(devices, "strategy", lambda: strategy)
    with pytest.raises(ValueError, match="`batch_size`.*batch_size=8"):
        gan.fit(tiny(batch_size=8), None, None, 1, ())


# ---- several devices and machines

@pytest.mark.slow
@pytest.mark.parametrize("changes", [
    {}, {"g_clip_norm": 0.01, "g_learning_rate": 1.0}, {"d_features": "random"}])
def test_two_devices_learn_what_one_does(toys, changes):
    finish(start("-c", TWO_DEVICES + TRAIN, *arguments(CHANGES | changes)))


@pytest.mark.slow
def test_overflow_on_any_device_is_skipped_on_all():
    """Keras asks the first device alone whether its gradients are finite."""
    finish(start("-c", TWO_DEVICES + OVERFLOW))


@pytest.mark.slow
def test_two_devices_resume_bit_for_bit(toys):
    program = TWO_DEVICES + "import gan; gan.main(*args.parse(sys.argv[1:]))"
    for name, lengths in ("whole", (6,)), ("resumed", (3, 6)):
        for batches in lengths:
            finish(start("-c", program, "ToyFaces", *arguments(
                TINY | {"name": name, "batches": batches})))
    paths = (toys / f"runs/{name}/weights/000006.weights.h5" for name in ("whole", "resumed"))
    assert differences(*paths) == []


@pytest.mark.slow
def test_two_machines_learn_what_one_does(here, tiny):
    """So does the pretraining, whose generator each of them starts from."""
    changes = CHANGES | {"pretrain_batches": 2}
    data.make(tiny())
    command = [ROOT / "gan.py", "ToyFaces", *arguments(changes)]
    finish(start(*command, "name=one"))
    finish(*start_cluster(*command, "name=two"))
    weights = []
    for name in ("one", "two"):
        path = here / f"runs/{name}/weights/000004.weights.h5"
        with data.h5py.File(path) as file:
            weights.append(file["generator/layers/conv2d_transpose/vars/0"][:])
    np.testing.assert_allclose(weights[1], weights[0], rtol=0, atol=1e-5)
    assert sorted(os.listdir("runs")) == ["one", "two"]  # the chief's files alone


@pytest.mark.slow
def test_two_machines_resume_bit_for_bit_after_one_was_killed(toys):
    command = [ROOT / "gan.py", "ToyFaces", *arguments(TINY | {"batches": 6})]
    finish(*start_cluster(*command, "name=whole"))
    chief, other = start_cluster(*command, "name=killed")
    deadline = time.monotonic() + 300
    while not (toys / "runs/killed/weights/000002.weights.h5").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    other.kill()
    chief.communicate(timeout=600)
    assert chief.returncode
    newest = "weights/000006.weights.h5"
    assert not (toys / "runs/killed" / newest).exists()
    finish(*start_cluster(*command, "name=killed"))
    assert differences(toys / "runs/whole" / newest, toys / "runs/killed" / newest) == []
