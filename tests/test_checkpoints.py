"""Tests of the run folder: its lock, its args.json, its checkpoints, and what loads them."""
import errno
import json
import os
import pathlib
import re
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from compare_runs import differences
from conftest import names, same_weights

import args as constants
import models
from models import devices
from training import checkpoints

RUN = pathlib.Path("runs/even")


def record_of(args, **more):
    record = {
        "preset": constants.preset_name(args),
        "overrides": constants.overrides(args),
        "constants": constants.constants(args),
        "fingerprint": "of these images",
    }
    return record | more


def open_run(args, **more):
    return checkpoints.open_run(args, record_of(args, **more))


def begin(args, *batches, **more):
    """Begins a run, with empty files for checkpoints. Returns its folder."""
    with open_run(args, **more) as run:
        for batch in batches:
            path = checkpoints.checkpoint_path(run, batch)
            path.parent.mkdir(exist_ok=True)
            path.touch()
    return run


def saved(args, folder, *batches):
    """Saves a GAN with initial weights at some batches. Returns the GAN."""
    model = models.build(args)
    for batch in batches:
        model.batch.assign(batch)
        checkpoints.save(model, folder, args)
    return model


def randomize(network):
    """Sets random weights, so that none is taken for another."""
    random = np.random.default_rng(0)
    network.set_weights([random.uniform(0.1, 1.0, weight.shape) for weight in network.weights])


# ---- the run folder

@pytest.mark.parametrize("name", ["", "..", "../elsewhere", "a/b", "/tmp"])
def test_name_must_be_the_name_of_a_single_folder(tiny, name):
    with pytest.raises(ValueError, match="`name`"):
        checkpoints.run_folder(tiny(name=name))


def test_run_that_lost_its_checkpoints_is_not_begun_again(here, even):
    run = begin(even(), 2)
    (run / "generator.keras").touch()
    shutil.rmtree(run / "weights")
    with pytest.raises(ValueError, match="no checkpoint.*name=even"):
        with open_run(even()):
            pass


def test_run_is_opened_by_one_process_alone(here, even):
    with open_run(even()) as run:
        assert run == RUN
        with pytest.raises(ValueError, match="in use.*name=even"):
            with open_run(even()):
                pass
        with open_run(even(name="other")):
            pass
    with pytest.raises(RuntimeError):
        with open_run(even()):
            raise RuntimeError
    with open_run(even()):  # it was released
        pass


def test_file_system_without_locks_is_reported_and_used(here, even, monkeypatch, capsys):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(checkpoints.fcntl, "flock", flock)
    with open_run(even()) as run:
        assert (run / "args.json").exists()
    printed = capsys.readouterr().out
    assert os.strerror(errno.ENOLCK) in printed and printed.count("\n") == 1


def test_machines_beside_the_chief_write_to_a_temporary_folder(here, even, monkeypatch):
    monkeypatch.setattr(devices, "machine", lambda: 1)
    with open_run(even()) as folder:
        (folder / "loss.csv").touch()
    assert not folder.exists() and names(here) == []


# ---- args.json

def test_record_is_kept_in_args_json(here, even):
    run = begin(even(batches=7), 2, classes=["odd"])
    with_lists = json.loads(json.dumps(record_of(even(batches=7), classes=["odd"])))
    assert checkpoints.read_record(run) == with_lists


def test_run_without_checkpoints_may_begin_otherwise(here, even):
    begin(even())
    run = begin(even(beta_1=0.9))
    assert json.loads((run / "args.json").read_text())["constants"]["beta_1"] == 0.9
    assert checkpoints.read_record(run) == {}


def test_other_constants_are_refused_with_each_difference(here, even):
    run = begin(even(), 2)
    before = (run / "args.json").read_text()
    with pytest.raises(ValueError) as error:
        begin(even(seed=1, beta_1=0.9, jit_compile="off", batches=9))
    message = str(error.value)
    assert "  seed: 0 in runs/even/args.json, 1 now" in message
    assert "  beta_1: 0.5 in" in message
    assert "  jit_compile: 'auto' in" in message  # XLA has other random numbers
    assert "batches:" not in message
    assert (run / "args.json").read_text() == before


def test_checkpoint_of_the_pretraining_counts_too(here, even):
    folder = begin(even()) / "pretrain/weights"
    folder.mkdir(parents=True)
    (folder / "000002.weights.h5").touch()
    with pytest.raises(ValueError, match="beta_1"):
        begin(even(beta_1=0.9))


def test_constants_that_do_not_change_what_is_learned_may_change(here, even):
    os.rename(begin(even(), 2), "runs/renamed")
    changes = {"name": "renamed", "data": "other.hdf5", "batches": 9, "dump_every": 1,
               "keep_every": 5, "generate_count": 1, "generate_class": "x", "evaluate_count": 20,
               "features": "random", "checkpoint": "best"}
    assert changes.keys() == checkpoints.MAY_DIFFER - {"generate_from"}
    run = begin(even(**changes))
    assert json.loads((run / "args.json").read_text())["constants"]["batches"] == 9


@pytest.mark.parametrize("name", ["dump_every", "keep_every"])
def test_with_swaps_the_checkpoints_that_are_kept_may_not_change_in_a_training(here, even, name):
    begin(even(swap_every=4, swap_for=1), 2)
    args = even(swap_every=4, swap_for=1, **{name: 4})
    with pytest.raises(ValueError, match=f"{name}:"):
        begin(args)
    assert len(checkpoints.chosen_checkpoints(args)) == 1  # to generate and to evaluate


@pytest.mark.parametrize("content", [None, "{"])
def test_run_without_a_readable_record_is_refused(here, even, content):
    path = begin(even(), 2) / "args.json"
    path.unlink()
    if content:
        path.write_text(content)
    with pytest.raises(ValueError, match="args.json"):
        begin(even())


@pytest.mark.parametrize("folder", ["weights/000050", "pretrain/weights/000050"])
def test_run_of_an_earlier_version_is_neither_resumed_nor_overwritten(here, even, folder):
    (RUN / folder).mkdir(parents=True)
    for use in (begin, checkpoints.chosen_checkpoints):
        with pytest.raises(ValueError, match=f"earlier.*weights=runs/even/{folder}") as error:
            use(even())
        assert "\n" not in str(error.value)
    assert not (RUN / "args.json").exists()


# ---- checkpoints

def test_checkpoints_are_in_the_order_of_their_batches(here):
    (here / "weights").mkdir()
    for name in ("1000000.weights.h5", "999999.weights.h5", "000050.weights.h5",
                 ".000070.weights.h5", "mine.weights.h5", "000050-good.weights.h5", "000060.txt"):
        (here / "weights" / name).touch()
    found = checkpoints.checkpoints(here)
    assert [checkpoints.batch_of(path) for path in found] == [50, 999999, 1000000]


@pytest.mark.parametrize("newest, keep_every, expected", [
    (30, 0, [10, 20, 30]),
    (50, 0, [30, 40, 50]),
    (53, 0, [30, 40, 50, 53]),  # a run that was stopped: 53 does not displace a whole epoch
    (60, 20, [20, 40, 50, 60]),
    (63, 25, [25, 40, 50, 60, 63]),
])
def test_newest_whole_epochs_and_each_keep_every_are_kept(tiny, newest, keep_every, expected):
    args = tiny(dump_every=10, keep_every=keep_every)
    batches = [batch for batch in range(1, newest + 1) if batch in (25, 53, 63) or batch % 10 == 0]
    kept = [batch for batch in batches if checkpoints.is_kept(batch, newest, args)]
    assert kept == expected


def test_superseded_checkpoints_are_removed_but_not_later_ones(here, even):
    (here / "weights").mkdir()
    (here / "weights/000023.weights.h5").write_text("damaged, so the run resumed before it")
    saved(even(keep_every=6), here, *range(2, 18, 2))
    assert names(here / "weights") == [
        f"{batch:06d}.weights.h5" for batch in (6, 12, 14, 16, 23)]


def test_checkpoint_appears_whole_or_not_at_all(here, even, monkeypatch):
    model = saved(even(), here, 2)
    before = (here / "weights/000002.weights.h5").read_bytes()

    def save_half(path):
        path.write_bytes(before[:1000])
        raise OSError("the disk is full")

    monkeypatch.setattr(model, "save_weights", save_half)
    with pytest.raises(OSError):
        checkpoints.save(model, here, even())
    assert [path.name for path in checkpoints.checkpoints(here)] == ["000002.weights.h5"]
    assert (here / "weights/000002.weights.h5").read_bytes() == before


def test_checkpoint_that_does_not_fit_on_the_disk_is_not_begun(here, even, monkeypatch):
    """HDF5 crashes on a full disk."""
    usage = shutil.disk_usage(here)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=100_000))
    with pytest.raises(OSError, match="No space left.*000002.weights.h5"):
        saved(even(), here, 2)
    assert names(here / "weights") == []


def test_checkpoint_restores_all_that_training_moves(here, small):
    """Both networks, the average, both optimizers, dropout, the replay buffer, the batch."""
    args = small(d_optimizer="adam", g_optimizer="adam", ema_decay=0.9, d_dropout=0.3,
                 g_dropout=0.5, replay_size=16)
    model = models.build(args)
    images = tf.random.stateless_uniform([8, 16, 16, 3], [0, 0], -1, 1)

    def train(name):
        model.fit(tf.data.Dataset.from_tensors(images).repeat(), steps_per_epoch=2, verbose=0)
        model.save_weights(here / f"{name}.weights.h5")

    train("start")
    train("whole")
    checkpoints.load_weights(model, here / "start.weights.h5")
    train("resumed")
    assert differences(here / "whole.weights.h5", here / "resumed.weights.h5") == []
    moved = differences(here / "start.weights.h5", here / "whole.weights.h5")
    for part in ("generator/", "discriminator/", "generator_ema/", "d_optimizer/", "g_optimizer/",
                 "layers/replay_buffer/"):
        assert any(name.startswith(part) for name in moved), part
    assert {f"vars/{index}" for index in range(5)} <= set(moved)  # the batch, four seeds of dropout


@pytest.mark.parametrize("damage", [
    lambda content: content[:len(content) // 2],
    lambda content: b"",
    lambda content: bytes(len(content)),
    lambda content: b"text",
], ids=["truncated", "empty", "zeros", "text"])
def test_resume_skips_a_damaged_checkpoint(here, even, damage, capsys):
    model = saved(even(), here, 2, 4)
    path = here / "weights/000004.weights.h5"
    path.write_bytes(damage(path.read_bytes()))
    checkpoints.load_newest(model, here)
    assert int(model.batch.numpy()) == 2
    printed = capsys.readouterr().out
    assert "000004.weights.h5 cannot be loaded" in printed and printed.count("\n") == 1


# ---- networks

@pytest.mark.parametrize("changes", [
    {"generator_filters": (32,)}, {"discriminator_filters": (32,)}])
def test_weights_that_do_not_fit_are_refused(here, even, changes):
    saved(even(**changes), here, 2)
    with pytest.raises(ValueError, match="000002.weights.h5") as error:
        checkpoints.load_networks(models.build(even()), here / "weights/000002.weights.h5")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", [
    {"batch_norm": "none"}, {"batch_norm": "generator"}, {"generator_extra_filters": ()}])
def test_weights_of_a_network_with_more_layers_are_refused(here, changes):
    model = models.build(constants.override(constants.Small, **changes))
    with pytest.raises(ValueError, match="do not fit .*(generator|discriminator) has"):
        checkpoints.load_networks(model, "pretrained")


@pytest.mark.parametrize("path", ["none.weights.h5", "."])
def test_weights_that_do_not_exist_are_named(here, even, path):
    with pytest.raises(FileNotFoundError, match="`weights`.*weights.h5"):
        checkpoints.load_networks(models.build(even()), path)


def test_networks_are_loaded_without_the_state_of_training(here, even):
    model = models.build(even())
    for network in (model.generator, model.discriminator, model.generator_ema):
        randomize(network)
    model.generator_ema.set_weights([2 * value for value in model.generator_ema.get_weights()])
    model.batch.assign(2)
    model.g_optimizer.iterations.assign(2)
    checkpoints.save(model, here, even())
    loaded = models.build(even(g_learning_rate=0.5))
    checkpoints.load_networks(loaded, here / "weights/000002.weights.h5")
    for name in ("generator", "discriminator", "generator_ema"):
        assert same_weights(getattr(loaded, name), getattr(model, name)), name
    assert int(loaded.batch.numpy()) == 0
    assert int(loaded.g_optimizer.iterations.numpy()) == 0
    assert float(loaded.g_optimizer.learning_rate.numpy()) == 0.5


def test_pretrained_weights_are_those_of_the_project(here):
    args = constants.override(constants.Small, weights="pretrained")
    assert checkpoints.chosen_checkpoints(args) == [checkpoints.PRETRAINED]
    assert checkpoints.label_of(args, checkpoints.PRETRAINED) == "pretrained"


def test_pretrained_weights_are_small_and_generate_faces(here):
    assert os.path.getsize(checkpoints.PRETRAINED) < 5e6
    model = models.build(constants.Small)
    checkpoints.load_networks(model, "pretrained")
    faces = model.sample(model.sample_z(16))
    assert np.std(faces, axis=0).mean() > 0.2  # no two are alike
    assert np.abs(np.diff(faces, axis=2)).mean() < 0.2  # of noise it would be 0.67


def test_average_that_is_missing_gets_the_weights_of_the_generator(here, even):
    model = saved(even(seed=5, ema_decay=0.0), here, 2)
    loaded = models.build(even())
    checkpoints.load_networks(loaded, here / "weights/000002.weights.h5")
    assert same_weights(loaded.generator_ema, model.generator)


@pytest.mark.parametrize("saved_decay, asked_decay, name", [
    (0.9, 0.9, "generator_ema"),
    (0.9, 0.0, "generator"),
    (0.0, 0.9, "generator"),
])
def test_sampler_gets_the_average_if_there_is_one_and_it_is_asked_for(
        here, even, saved_decay, asked_decay, name):
    model = models.build(even(ema_decay=saved_decay))
    randomize(getattr(model, name))
    checkpoints.save(model, here, model.args)
    sampler = models.build_sampler(even(ema_decay=asked_decay))
    checkpoints.load_generator(sampler, here / "weights/000000.weights.h5")
    assert same_weights(sampler.generator, getattr(model, name))


def test_folder_of_an_earlier_version_serves_as_weights(here, even):
    model = models.build(even(seed=5))
    randomize(model.generator_ema)
    for name in ("generator", "discriminator", "generator_ema"):
        getattr(model, name).save_weights(here / f"{name}.weights.h5")
    loaded = models.build(even())
    checkpoints.load_networks(loaded, here)
    for name in ("generator", "discriminator", "generator_ema"):
        assert same_weights(getattr(loaded, name), getattr(model, name)), name


def keras_2_generator(filters, size):
    """The original's generator in Keras 2: z is an image of one pixel [forcecore nets.py]."""
    import tf_keras
    from tf_keras import layers

    def finish(x):
        x = layers.BatchNormalization(momentum=0.3)(x)
        return layers.LeakyReLU(alpha=0.2)(x)

    z = layers.Input((1, 1, 100))
    x = finish(layers.Conv2DTranspose(filters[0], size)(z))
    for count in filters[1:]:
        x = finish(layers.Conv2DTranspose(count, 4, strides=2, padding="same")(x))
    x = finish(layers.Conv2D(filters[-1], 3, padding="same")(x))
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh")(x)
    return tf_keras.Model(z, x)


def keras_2_discriminator(filters):
    """The original's discriminator in Keras 2 [forcecore nets.py]."""
    import tf_keras
    from tf_keras import layers

    images = layers.Input((64, 64, 3))
    x = layers.Conv2D(filters[0], 4, strides=2, padding="same")(images)
    x = layers.LeakyReLU(alpha=0.2)(x)
    for count in filters[1:]:
        x = layers.Conv2D(count, 4, strides=2, padding="same")(x)
        x = layers.BatchNormalization(momentum=0.3)(x)
        x = layers.LeakyReLU(alpha=0.2)(x)
    x = layers.Flatten()(x)
    return tf_keras.Model(images, layers.Dense(1)(x))


def test_weights_of_keras_2_compute_the_same(here, tiny):
    pytest.importorskip("tf_keras")
    g_filters, d_filters = (16, 8), (8, 16)
    generator, discriminator = keras_2_generator(g_filters, 16), keras_2_discriminator(d_filters)
    for network, name in ((generator, "gen.hdf5"), (discriminator, "disc.hdf5")):
        for weight in network.weights:  # biases and statistics are equal in a new network
            weight.assign_add(tf.random.stateless_uniform(weight.shape, [0, 1], 0, 0.1))
        network.save_weights(name)
    model = models.build(tiny(generator_filters=g_filters, generator_extra_filters=(8,),
                              discriminator_filters=d_filters))
    checkpoints.load_networks(model, here)
    z = tf.random.stateless_normal([4, 100], [0, 0])
    expected = generator(z[:, None, None], training=False)
    np.testing.assert_allclose(model.sample(z), expected, atol=1e-5)
    np.testing.assert_allclose(model.discriminator(expected, training=False),
                               discriminator(expected, training=False), atol=1e-5)


# ---- generator.keras

@pytest.mark.parametrize("upsampling", constants.CHOICES["upsampling"])
def test_generator_file_does_not_need_this_project(here, tiny, upsampling):
    models.build_sampler(tiny(upsampling=upsampling)).generator.save("generator.keras")
    with zipfile.ZipFile("generator.keras") as archive:
        config = archive.read("config.json").decode()
    assert set(re.findall(r'"module": "(\w+)', config)) == {"keras"}


def test_generator_file_computes_the_same(here, tiny):
    model = models.build(tiny())
    model.update_batch_norm()
    model.generator_ema.save(here / "generator.keras")
    loaded = keras.models.load_model(here / "generator.keras")
    z = model.sample_z(8)
    np.testing.assert_allclose(loaded(z, training=False), model.sample(z), atol=1e-6)


# ---- checkpoints for generate and evaluate

def test_checkpoints_are_those_of_the_run_or_of_weights(here, even):
    begin(even(), 2, 4)
    own = [RUN / "weights/000002.weights.h5", RUN / "weights/000004.weights.h5"]
    assert checkpoints.chosen_checkpoints(even()) == own
    for name in ("even", "other"):
        args = even(name=name, weights=str(own[0]))
        assert checkpoints.chosen_checkpoints(args) == own[:1]


def test_run_that_began_with_weights_has_checkpoints_of_its_own(here, even):
    begin(even(name="old"), 2, 4)
    args = even(weights="runs/old/weights/000002.weights.h5")
    begin(args, 3)
    assert checkpoints.chosen_checkpoints(args) == [RUN / "weights/000003.weights.h5"]
    other = even(weights="runs/old/weights/000004.weights.h5")
    assert checkpoints.chosen_checkpoints(other) == [pathlib.Path(other.weights)]


def test_run_without_checkpoints_is_refused_with_the_names_of_others(here, even):
    begin(even(name="other"), 2)
    with pytest.raises(FileNotFoundError, match="with checkpoints: other.*name=even"):
        checkpoints.chosen_checkpoints(even())


def test_more_may_differ_after_the_training(here, even):
    begin(even(), 2)
    for changes in ({"seed": 1}, {"grid": (1, 1)}, {"jit_compile": "off"}, {"batches": 9}):
        assert len(checkpoints.chosen_checkpoints(even(**changes))) == 1
    for changes in ({"beta_1": 0.9}, {"latent": "uniform"}, {"g_leaky_slope": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(changes))}: "):
            checkpoints.chosen_checkpoints(even(**changes))


def test_weights_of_a_run_that_samples_otherwise_are_refused(here, even):
    begin(even(name="first", beta_1=0.9), 2)
    weights = "runs/first/weights/000002.weights.h5"
    assert len(checkpoints.chosen_checkpoints(even(weights=weights))) == 1
    for changes in ({"latent": "uniform"}, {"output_blur": True}):
        with pytest.raises(ValueError, match=f"{next(iter(changes))}: .*first/args.json"):
            checkpoints.chosen_checkpoints(even(weights=weights, **changes))


def test_class_names_are_those_that_the_checkpoint_was_trained_with(here, tiny):
    run = begin(tiny(conditional=True), 2, classes=["red", "green"])
    checkpoint, = checkpoints.checkpoints(run)
    assert checkpoints.class_names_of(tiny(), checkpoint) == []
    assert checkpoints.class_names_of(tiny(conditional=True), checkpoint) == ["red", "green"]
    with pytest.raises(ValueError, match="`generate_class`.*red, green.*ginger"):
        checkpoints.class_names_of(tiny(conditional=True, generate_class="ginger"), checkpoint)
    with pytest.raises(ValueError, match="`generate_class`.*none"):
        checkpoints.class_names_of(tiny(generate_class="red"), checkpoint)
    shutil.copy(checkpoint, "elsewhere.weights.h5")  # without its args.json
    with pytest.raises(ValueError, match="`weights`.*elsewhere"):
        checkpoints.class_names_of(
            tiny(conditional=True), pathlib.Path("elsewhere.weights.h5"))


def test_label_tells_checkpoint_and_seed(here, even):
    begin(even(), 2)
    own = RUN / "weights/000002.weights.h5"
    assert checkpoints.label_of(even(), own) == "000002"
    assert checkpoints.label_of(even(seed=1), own) == "000002-seed1"
    assert checkpoints.label_of(even(name="other"), own) == "runs-even-weights-000002"
    assert checkpoints.label_of(even(), pathlib.Path("/a/../mine.weights.h5")) == "a-mine"
    copied = pathlib.Path("000002.weights.h5")  # not the run's own
    assert checkpoints.label_of(even(), copied) == "weights-000002"
