"""Several devices and several machines. Each has processes of its own, as a process has one strategy alone."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from conftest import DEEP, TINY, words

import args as constants
import data
from models import devices

ROOT = pathlib.Path(constants.__file__).parent
# Without batch norm, whose statistics each device takes of its own images.
CHANGES = TINY | DEEP | {"batch_norm": "none", "augment": "color,translation,cutout", "instance_noise": 0.1,
                         "label_flip": 0.1, "warmup_batches": 2, "d_optimizer": "sgd", "g_optimizer": "sgd",
                         "d_learning_rate": 1.0, "g_learning_rate": 1.0}
TRAIN = """
import sys
import numpy as np
import tensorflow as tf
sys.path.insert(0, ROOT)
devices, path, changes = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
import args, gan, models
from models.devices import distribute, strategy
preset = args.parse(["ToyFaces", *changes])
with strategy().scope():
    model = models.build(preset)
before = [weight.numpy() for network in model.networks.values() for weight in network.weights]
model.fit(distribute(lambda shares, mine: gan.data.load(preset, 0, shares, mine)), steps_per_epoch=5, verbose=0)
after = [weight.numpy() for network in model.networks.values() for weight in network.weights]
z = strategy().run(lambda: model.draw(8 // strategy().num_replicas_in_sync))
z = [np.asarray(one) for one in strategy().experimental_local_results(z)]
np.savez(path, *before, *after, z=np.concatenate(z))
"""


def start(command, **environment):
    return subprocess.Popen([sys.executable, *map(str, command)], env=os.environ | environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(processes):
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert not any(process.returncode for process in processes), "\n".join(said)[-3000:]


def start_cluster(commands):
    """Starts a process for each of two machines that train together, both of them this one."""
    with socket.socket() as first, socket.socket() as second:
        for one in first, second:
            one.bind(("localhost", 0))
        workers = [f"localhost:{one.getsockname()[1]}" for one in (first, second)]
    return [start(command, TF_CONFIG=json.dumps({"cluster": {"worker": workers},
                                                 "task": {"type": "worker", "index": index}}))
            for index, command in enumerate(commands)]


def test_two_devices_and_two_machines_learn_what_one_does_from_other_noise_each(here):
    data.make(constants.override(constants.ToyFaces, **CHANGES))

    def train(devices, name):
        return ["-c", f"ROOT = {str(ROOT)!r}\n{TRAIN}", devices, here / name, *words(CHANGES)]

    finish([start(train(1, "one.npz"))])
    finish([start(train(2, "two.npz"))])
    finish(start_cluster([train(1, "first.npz"), train(1, "second.npz")]))
    one, two, first, second = (np.load(here / f"{name}.npz") for name in ("one", "two", "first", "second"))
    names = [name for name in one.files if name != "z"]
    before, after = names[:len(names) // 2], names[len(names) // 2:]
    assert max(np.abs(one[a] - one[b]).max() for a, b in zip(before, after)) > 0.01  # they have learned
    for name in names:
        for other in two, first:
            np.testing.assert_allclose(other[name], one[name], rtol=0, atol=1e-5 if name in after else 0)
        np.testing.assert_array_equal(first[name], second[name])
    # Each device draws its rows of the same z.
    np.testing.assert_array_equal(one["z"], two["z"])
    np.testing.assert_array_equal(one["z"], np.concatenate([first["z"], second["z"]]))
    assert (first["z"] != second["z"]).all()


def test_a_memory_of_old_fakes_is_refused_on_several_devices(here):
    process = start(["-c", f"""
import sys
import tensorflow as tf
sys.path.insert(0, {str(ROOT)!r})
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import args, models
from models.devices import strategy
with strategy().scope():
    models.build(args.override(args.ToyFaces, replay_size=64))
"""])
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and "ValueError: `replay_size` is for one device alone" in said


def test_an_overflow_on_any_device_is_skipped_on_all(here):
    """Keras asks the first device alone whether its gradients are finite."""
    finish([start(["-c", f"""
import sys
import tensorflow as tf
sys.path.insert(0, {str(ROOT)!r})
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import args, keras, numpy
from models import devices
with devices.strategy().scope():
    weight = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=4.0)
    optimizer.build([weight])
@tf.function
def step(gradients):
    def learn():
        here = tf.distribute.get_replica_context().replica_id_in_sync_group
        devices.apply(optimizer, [tf.gather(gradients, here)], [weight])
    devices.strategy().run(learn)
for gradients in [[1.0, 1.0], [float("inf"), 1.0]], [[float("nan"), 1.0], [1.0, 1.0]]:
    step(tf.constant(gradients))
    assert numpy.allclose(weight.numpy(), [1.0, 2.0]), weight.numpy()
assert optimizer.dynamic_scale.numpy() == 1.0  # halved by each
step(tf.constant([[1.0, 0.0], [0.0, 3.0]]))
assert numpy.allclose(weight.numpy(), [0.5, 0.5]), weight.numpy()  # less the mean
"""])])


@pytest.mark.parametrize("config", ["", "[]", '{"cluster": {"worker": ["localhost:1"', '{"cluster": {}}',
                                    '{"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 1}}'])
def test_a_tf_config_that_names_no_machine_of_its_own_is_refused(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="TF_CONFIG must be JSON such as .*Received: "):
        devices.strategy.__wrapped__()


def test_a_batch_that_cannot_be_shared_is_refused(tiny, here):
    args = tiny()
    data.make(args)
    with pytest.raises(ValueError, match="`batch_size` must be a multiple of 3.*batch_size=8"):
        data.load(args, 0, 3, [0])
    whole, halves = next(data.batches(args, 3)), data.batches(args, 3, shares=2, mine=[0, 1])
    assert (np.concatenate([next(halves), next(halves)]) == whole).all()


def test_no_machine_begins_the_game_before_the_pretrained_generator_is_there(here):
    changes = TINY | {"batches": 2, "pretrain_batches": 2}
    data.make(constants.override(constants.ToyFaces, **changes))
    story = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
import args, gan
from models import devices
preset, replace = args.parse(["ToyFaces", *sys.argv[2:]]), os.replace
def slowly(old, new):
    time.sleep(3 * (str(new).endswith("pretrain/generator.weights.h5") and not devices.machine()))
    replace(old, new)
os.replace = slowly
gan.pretrain_gen(preset)
np.savez(sys.argv[1], *(weight.numpy() for weight in gan.train_gan(preset).generator.trainable_weights))
"""
    finish(start_cluster([["-c", story, here / f"{name}.npz", *words(changes)] for name in ("first", "second")]))
    first, second = (np.load(here / f"{name}.npz") for name in ("first", "second"))
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])


def test_two_machines_go_on_after_one_is_killed_as_if_it_had_never_happened(here):
    changes = TINY | {"batches": 12}
    data.make(constants.override(constants.ToyFaces, **changes))

    def machines(name):
        return start_cluster(2 * [[ROOT / "gan.py", "ToyFaces", f"name={name}", *words(changes)]])

    finish(machines("whole"))
    processes = machines("killed")
    until = time.time() + 120
    while not list(here.glob("runs/killed/weights/000004")) and time.time() < until:
        time.sleep(0.05)
    processes[1].kill()
    said, _ = processes[0].communicate(timeout=300)
    assert processes[0].returncode == 1 and "Another machine of TF_CONFIG was lost" in said
    assert not list(here.glob("runs/killed/weights/000012"))
    finish(machines("killed"))
    assert (here / "runs/whole/loss.csv").read_text() == (here / "runs/killed/loss.csv").read_text()
    ends = [here / "runs" / name / "weights/000012/generator.weights.h5" for name in ("whole", "killed")]
    with h5py.File(ends[0]) as whole, h5py.File(ends[1]) as killed:
        arrays = []
        whole.visititems(lambda name, item: arrays.append(name) if isinstance(item, h5py.Dataset) else None)
        assert arrays and all((whole[name][()] == killed[name][()]).all() for name in arrays)
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["killed", "whole"]  # the chief's files alone
