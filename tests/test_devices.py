"""models/devices.py: several GPUs and machines. Each has a process, as a process has one strategy.
"""
import json
import os
import socket
import subprocess
import sys
import time
import types

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import DEEP, ROOT, TINY, arguments

import args as constants
import data
from models import devices

# Without batch norm, whose statistics each device takes from its own images.
CHANGES = TINY | DEEP | {
    "batch_norm": "none", "augment": "color,translation,cutout", "instance_noise": 0.1,
    "label_flip": 0.1, "warmup_batches": 2, "d_optimizer": "sgd", "g_optimizer": "sgd",
    "d_learning_rate": 1.0, "g_learning_rate": 1.0, "r1_weight": 0.1, "r1_every": 2}

# The start of a program for several devices, all of them parts of the CPU.
DEVICES = """
import sys
import numpy as np
import tensorflow as tf
sys.path.insert(0, {root!r})
cpu = tf.config.list_physical_devices("CPU")[0]
parts = {count} * [tf.config.LogicalDeviceConfiguration()]
tf.config.set_logical_device_configuration(cpu, parts)
"""

TRAIN = """
import args, data, models
from models.devices import distribute, strategy

def load(shares, mine):
    return data.load(preset, 0, shares, mine)

path = sys.argv[1]
preset, _ = args.parse(["ToyFaces", *sys.argv[2:]])
with strategy().scope():
    model = models.build(preset)
before = [weight.numpy() for network in model.networks.values() for weight in network.weights]
model.fit(distribute(load), steps_per_epoch=5, verbose=0)
after = [weight.numpy() for network in model.networks.values() for weight in network.weights]
z = strategy().run(lambda: model.sample_z(8 // strategy().num_replicas_in_sync))
z = [np.asarray(part) for part in strategy().experimental_local_results(z)]
np.savez(path, *before, *after, z=np.concatenate(z))
"""

OVERFLOW = """
import args, keras
from models import devices

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

PRETRAIN = """
import os, time
import args, gan
from models import devices

preset, _ = args.parse(["ToyFaces", *sys.argv[2:]])
replace = os.replace

def slow_replace(old, new):
    if str(new).endswith("pretrain/generator.weights.h5") and devices.machine() == 0:
        time.sleep(3)
    replace(old, new)

os.replace = slow_replace
gan.pretrain_gen(preset)
trained = gan.train_gan(preset)
np.savez(sys.argv[1], *(weight.numpy() for weight in trained.generator.trainable_weights))
"""


def program(code, devices, *more):
    """Returns the command that runs `code` on several devices."""
    code = DEVICES.format(root=str(ROOT), count=devices) + code
    return ["-c", code, *map(str, more)]


def start(command, **environment):
    return subprocess.Popen([sys.executable, *map(str, command)], env=os.environ | environment,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(*processes):
    printed = [process.communicate(timeout=600)[0] for process in processes]
    failed = any(process.returncode for process in processes)
    assert not failed, "\n".join(printed)[-3000:]


def start_cluster(commands):
    """Starts a process for each of two machines that train together, both of them this one."""
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("localhost", 0))
        workers = [f"localhost:{one.getsockname()[1]}" for one in (first, second)]
    processes = []
    for index, command in enumerate(commands):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        processes.append(start(command, TF_CONFIG=json.dumps(config)))
    return processes


# ---- one process

@pytest.mark.parametrize("config", [
    "", "[]", '{"cluster": {"worker": ["localhost:1"', '{"cluster": {}}',
    '{"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 1}}'])
def test_tf_config_that_does_not_name_this_machine_is_refused(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="TF_CONFIG.*Received: "):
        devices.strategy.__wrapped__()


def test_one_device_needs_no_strategy():
    assert devices.strategy() is tf.distribute.get_strategy()
    assert devices.machine() == 0
    assert devices.reduced("SUM", 3) == devices.reduced("MEAN", 3) == 3
    assert devices.logs({"g_loss": 1.0}) == {"g_loss": 1.0}
    assert devices.distribute(lambda shares, mine: (shares, list(mine))) == (1, [0])


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


def test_machine_gets_the_shares_of_its_devices(monkeypatch):
    """The second of three machines with two devices each."""
    context = types.SimpleNamespace(
        num_replicas_in_sync=6, num_input_pipelines=3, input_pipeline_id=1)
    strategy = types.SimpleNamespace(
        num_replicas_in_sync=6,
        distribute_datasets_from_function=lambda load: load(context))
    monkeypatch.setattr(devices, "strategy", lambda: strategy)
    assert devices.distribute(lambda shares, mine: (shares, list(mine))) == (6, [2, 3])


def test_losing_another_machine_is_one_clear_error():
    with pytest.raises(ConnectionError, match="TF_CONFIG.*\nConnection reset$"):
        with devices.watched():
            raise tf.errors.UnavailableError(None, None, "Connection reset\nand much more")
    with pytest.raises(RuntimeError):
        with devices.watched():
            raise RuntimeError


def test_gradients_are_applied_once_on_one_device():
    weight = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.build([weight])
    devices.apply(optimizer, [tf.constant([1.0, -1.0])], [weight])
    assert weight.numpy().tolist() == [0.5, 2.5]


def test_batch_must_be_a_multiple_of_the_devices(toys, tiny):
    with pytest.raises(ValueError, match="`batch_size`.*batch_size=8"):
        data.load(tiny(), 0, 3, [0])
    whole = next(data.iterate(tiny(), 3))
    halves = data.iterate(tiny(), 3, shares=2, mine=[0, 1])
    assert (np.concatenate([next(halves), next(halves)]) == whole).all()


# ---- several devices and machines

@pytest.mark.slow
def test_two_devices_and_two_machines_learn_what_one_does(here):
    data.make(constants.override(constants.ToyFaces, **CHANGES))

    def train(devices, name):
        return program(TRAIN, devices, here / name, *arguments(CHANGES))

    finish(start(train(1, "one.npz")))
    finish(start(train(2, "two.npz")))
    finish(*start_cluster([train(1, "first.npz"), train(1, "second.npz")]))
    one, two, first, second = (
        np.load(here / f"{name}.npz") for name in ("one", "two", "first", "second"))
    names = [name for name in one.files if name != "z"]
    before, after = names[:len(names) // 2], names[len(names) // 2:]
    learned = max(np.abs(one[old] - one[new]).max() for old, new in zip(before, after))
    assert learned > 0.01
    for name in names:
        tolerance = 1e-5 if name in after else 0
        for other in (two, first):
            np.testing.assert_allclose(other[name], one[name], rtol=0, atol=tolerance)
        np.testing.assert_array_equal(first[name], second[name])
    # Each device samples its rows of the same z.
    np.testing.assert_array_equal(one["z"], two["z"])
    np.testing.assert_array_equal(one["z"], np.concatenate([first["z"], second["z"]]))
    assert (first["z"] != second["z"]).all()


@pytest.mark.slow
def test_overflow_on_any_device_is_skipped_on_all(here):
    """Keras asks the first device alone whether its gradients are finite."""
    finish(start(program(OVERFLOW, 2)))


@pytest.mark.slow
def test_training_waits_for_the_pretrained_generator_on_every_machine(here):
    changes = TINY | {"batches": 2, "pretrain_batches": 2}
    data.make(constants.override(constants.ToyFaces, **changes))
    commands = [program(PRETRAIN, 1, here / f"{name}.npz", *arguments(changes))
                for name in ("first", "second")]
    finish(*start_cluster(commands))
    first, second = (np.load(here / f"{name}.npz") for name in ("first", "second"))
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.slow
def test_two_machines_resume_bit_for_bit_after_one_was_killed(here):
    changes = TINY | {"batches": 12}
    data.make(constants.override(constants.ToyFaces, **changes))

    def machines(name):
        command = [ROOT / "gan.py", "ToyFaces", f"name={name}", *arguments(changes)]
        return start_cluster([command, command])

    finish(*machines("whole"))
    chief, other = machines("killed")
    deadline = time.monotonic() + 300
    while not list(here.glob("runs/killed/weights/000004")) and time.monotonic() < deadline:
        time.sleep(0.05)
    other.kill()
    printed, _ = chief.communicate(timeout=600)
    assert chief.returncode == 1 and "Another machine of TF_CONFIG was lost" in printed
    assert not list(here.glob("runs/killed/weights/000012"))
    finish(*machines("killed"))
    whole, killed = here / "runs/whole", here / "runs/killed"
    assert (whole / "loss.csv").read_text() == (killed / "loss.csv").read_text()
    arrays = []

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            arrays.append(name)

    path = "weights/000012/generator.weights.h5"
    with h5py.File(whole / path) as one, h5py.File(killed / path) as resumed:
        one.visititems(collect)
        assert arrays and all((one[name][()] == resumed[name][()]).all() for name in arrays)
    # The chief's files alone.
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["killed", "whole"]
