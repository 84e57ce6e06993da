"""training/checkpoints.py: the run folder, its lock and args.json, checkpoints and weights."""
import json
import os
import pathlib
import shutil

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from fake_gan import FakeGAN

import args as constants
import models
from training import checkpoints


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


def save(run, batch):
    """Saves a checkpoint of a FakeGAN that has learned `batch` batches, and returns it."""
    gan = FakeGAN()
    for _ in range(batch):
        gan.train_step()
    checkpoints.save_checkpoint(run / "weights" / f"{batch:06d}", gan.networks, gan.state)
    return gan


def begin(args, batch=2, **more):
    """Begins a run that has one checkpoint, and returns its folder."""
    with open_run(args, **more) as run:
        save(run, batch)
    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name


# ---- the run folder

@pytest.mark.parametrize("name", ["", ".", "..", "../elsewhere", "a/b", "/tmp"])
def test_name_must_be_that_of_a_single_folder(here, tiny, name):
    with pytest.raises(ValueError, match="`name`"):
        checkpoints.run_folder(tiny(name=name))


def test_a_run_is_opened_by_one_process_alone(here, tiny):
    with open_run(tiny()) as run:
        assert run == pathlib.Path("runs/toyfaces")
        with pytest.raises(ValueError, match="in use.*name=toyfaces"):
            with open_run(tiny()):
                pass
        with open_run(tiny(name="other")):
            pass
    with open_run(tiny()):
        pass


def test_lock_is_released_after_an_error(here, tiny):
    with pytest.raises(RuntimeError):
        with open_run(tiny()):
            raise RuntimeError
    with open_run(tiny()):
        pass


def test_opening_a_run_removes_half_written_checkpoints_and_nothing_else(here, tiny):
    run = here / "runs/toyfaces"
    for name in ("weights/.000009.tmp", "weights/.000002.removed.tmp",
                 "pretrain/weights/.000003.tmp", ".notes.tmp", "weights/mine.tmp"):
        (run / name).mkdir(parents=True)
    assert checkpoints.checkpoints(run) == []
    with open_run(tiny()):
        assert names(run / "weights") == ["mine.tmp"]
        assert names(run / "pretrain/weights") == []
        assert (run / ".notes.tmp").exists()


def test_checkpoints_are_in_the_order_of_their_batches(here):
    for name in ("1000000", "999999", "000050", ".000060.tmp", "mine"):
        (here / "weights" / name).mkdir(parents=True)
    found = checkpoints.checkpoints(here)
    assert [path.name for path in found] == ["000050", "999999", "1000000"]


def test_new_run_needs_the_weights_it_starts_from(here, tiny):
    with pytest.raises(FileNotFoundError, match="`weights`.*weights=runs/nowhere"):
        with open_run(tiny(weights="runs/nowhere")):
            pass
    assert not (here / "runs").exists()
    args = tiny(weights="runs/old/weights/000002")
    begin(tiny(name="old"))
    begin(args)
    shutil.rmtree("runs/old")
    with open_run(args):  # it resumes from a checkpoint of its own
        pass


def test_machines_beside_the_chief_write_to_a_temporary_folder(here, tiny, monkeypatch):
    begin(tiny())
    monkeypatch.setattr(checkpoints.devices, "machine", lambda: 1)
    with open_run(tiny()) as folder:
        assert here not in folder.parents
        assert (folder / "args.json").exists()
    assert not folder.exists()
    with pytest.raises(ValueError, match="beta_1"):
        with open_run(tiny(beta_1=0.9)):
            pass


def test_closing_a_run_waits_for_its_checkpoints(here, tiny):
    written = []
    with open_run(tiny()):
        checkpoints.WRITER.submit(written.append, "a")
        checkpoints.WRITER.submit(written.append, "b")
    assert written == ["a", "b"]  # in their order


# ---- args.json

def test_record_holds_constants_preset_and_overrides(here, tiny):
    run = begin(tiny(batches=7), classes=["red", "green"])
    record = json.loads((run / "args.json").read_text())
    assert record["preset"] == "ToyFaces"
    assert record["overrides"]["batches"] == 7
    assert record["constants"]["generator_filters"] == [8, 8]
    assert record["constants"].keys() == constants.constants(constants.Args).keys()
    assert checkpoints.read_record(run) == record
    assert [name for name in names(run) if name not in (".lock", "weights")] == ["args.json"]


def test_run_without_checkpoints_may_begin_otherwise(here, tiny):
    for args in (tiny(), tiny(beta_1=0.9)):
        with open_run(args) as run:
            record = json.loads((run / "args.json").read_text())
            assert record["constants"]["beta_1"] == args.beta_1
            assert checkpoints.read_record(run) == {}


def test_checkpoint_of_the_pretraining_counts_too(here, tiny):
    with open_run(tiny()) as run:
        save(run / "pretrain", 2)
    assert checkpoints.read_record(run)["preset"] == "ToyFaces"
    with pytest.raises(ValueError, match="beta_1"):
        begin(tiny(beta_1=0.9))


def test_other_constants_are_refused_with_each_difference(here, tiny):
    run = begin(tiny())
    before = (run / "args.json").read_text()
    with pytest.raises(ValueError) as error:
        begin(tiny(seed=1, beta_1=0.9, jit_compile="off", batches=9))
    message = str(error.value)
    assert "  seed: 0 in runs/toyfaces/args.json, 1 now" in message
    assert "  beta_1: 0.5 in runs/toyfaces/args.json, 0.9 now" in message
    assert "  jit_compile: 'auto' in" in message  # XLA has other random numbers
    assert "batches:" not in message
    assert (run / "args.json").read_text() == before


def test_constants_that_do_not_touch_the_mathematics_may_change(here, tiny):
    begin(tiny())
    changes = {"data": "other.hdf5", "batches": 9, "dump_every": 1, "keep_checkpoints": 1,
               "keep_every": 5, "generate_count": 1, "generate_class": "x", "generate_from": "x",
               "evaluate_count": 20, "features": "classifier", "checkpoint": "best"}
    assert changes.keys() == checkpoints.MAY_DIFFER - {"name"}
    with open_run(tiny(**changes)) as run:
        record = json.loads((run / "args.json").read_text())
    assert record["constants"]["batches"] == 9


def test_run_folder_may_be_renamed(here, tiny):
    begin(tiny(name="before"))
    os.rename("runs/before", "runs/after")
    with open_run(tiny(name="after")) as run:
        assert json.loads((run / "args.json").read_text())["constants"]["name"] == "after"
    assert chosen(tiny(name="after")) == ["runs/after/weights/000002"]


@pytest.mark.parametrize("name", ["dump_every", "keep_checkpoints", "keep_every"])
def test_with_swaps_the_dumps_may_not_change(here, tiny, name):
    begin(tiny(swap_every=4, swap_for=1))
    with pytest.raises(ValueError, match=f"{name}:"):
        with open_run(tiny(swap_every=4, swap_for=1, **{name: 3})):
            pass


def test_constant_newer_than_the_run_is_refused_if_it_is_set(here, tiny):
    run = begin(tiny())
    record = json.loads((run / "args.json").read_text())
    del record["constants"]["beta_1"]
    (run / "args.json").write_text(json.dumps(record))
    checkpoints.check_constants(run, record_of(tiny()))
    now = record_of(tiny(beta_1=0.9))
    now["overrides"] = {"beta_1": 0.9}
    with pytest.raises(ValueError, match="beta_1"):
        checkpoints.check_constants(run, now)


def test_other_images_are_refused(here, tiny):
    run = begin(tiny())
    with pytest.raises(ValueError, match="images.*data=toyfaces.hdf5"):
        with open_run(tiny(), fingerprint="of others"):
            pass
    without_images = record_of(tiny())
    del without_images["fingerprint"]
    checkpoints.check_constants(run, without_images)


@pytest.mark.parametrize("content", [
    None, "{", "[1]", "{}", '{"preset": "Args", "overrides": {}}',
    '{"preset": 5, "overrides": {}, "constants": {}}',
    '{"preset": "Args", "overrides": [], "constants": {}}'])
def test_run_without_a_readable_record_is_refused(here, tiny, content):
    run = begin(tiny())
    if content is None:
        (run / "args.json").unlink()
    else:
        (run / "args.json").write_text(content)
    with pytest.raises(ValueError, match="args.json"):
        with open_run(tiny()):
            pass


# ---- checkpoints

def test_checkpoint_restores_every_number(here):
    saved = save(here, 3)
    assert names(here / "weights/000003") == [
        "discriminator.weights.h5", "generator.weights.h5", "generator_ema.weights.h5",
        "training.h5"]
    restored = FakeGAN()
    checkpoints.load_checkpoint(restored, here / "weights/000003")
    assert_equal(restored.values(), saved.values())
    restored.train_step()
    saved.train_step()
    assert_equal(restored.values(), saved.values())


def test_checkpoint_of_a_gan_holds_optimizers_seeds_and_buffer(here, tiny):
    args = tiny(replay_size=8, g_dropout=0.5, precision="mixed_float16")
    gan, restored = models.build(args), models.build(args)
    assert set(gan.state) == {"batch", "skipped", "d_optimizer", "g_optimizer", "seeds", "replay"}
    assert len(gan.state["seeds"]) == 4  # the dropout of G and of the averaged generator

    def variables(model):
        found = []
        for network in model.networks.values():
            found.extend(network.weights)
        for group in model.state.values():
            found.extend(group)
        return found

    for variable in variables(gan):
        variable.assign(variable + tf.ones_like(variable))
    checkpoints.save_checkpoint(here / "weights/000001", gan.networks, gan.state)
    checkpoints.load_checkpoint(restored, here / "weights/000001")
    for one, other in zip(variables(gan), variables(restored), strict=True):
        assert (one.numpy() == other.numpy()).all()


def test_checkpoint_appears_whole_or_not_at_all(here, monkeypatch):
    gan = FakeGAN()

    def fail(path):
        assert not (here / "weights/000001").exists()
        raise OSError("the disk is gone")

    monkeypatch.setattr(gan.discriminator, "save_weights", fail)
    with pytest.raises(OSError):
        checkpoints.save_checkpoint(here / "weights/000001", gan.networks, gan.state)
    assert checkpoints.checkpoints(here) == []


def test_older_checkpoint_of_the_same_batch_is_replaced(here):
    (here / "weights/000003").mkdir(parents=True)
    (here / "weights/000003/generator.weights.h5").write_text("corrupt")
    saved = save(here, 3)
    restored = FakeGAN()
    checkpoints.load_checkpoint(restored, here / "weights/000003")
    assert_equal(restored.values(), saved.values())
    assert names(here / "weights") == ["000003"]


def test_checkpoint_that_does_not_fit_on_the_disk_is_not_begun(here, monkeypatch):
    save(here, 1)
    size = sum(path.stat().st_size for path in (here / "weights/000001").iterdir())
    usage = shutil.disk_usage(here)._replace(free=size)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match="No space left.*bytes needed"):
        save(here, 2)
    assert [path.name for path in checkpoints.checkpoints(here)] == ["000001"]


def remove(path):
    path.unlink()


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def overwrite(path):
    path.write_bytes(bytes(path.stat().st_size))


FILES = ("generator.weights.h5", "generator_ema.weights.h5", "training.h5")


@pytest.mark.parametrize("damage", [remove, truncate, empty, overwrite])
@pytest.mark.parametrize("name", FILES)
def test_newest_checkpoint_that_can_be_read_is_loaded(here, damage, name, capsys):
    expected = save(here, 2)
    save(here, 4)
    damage(here / "weights/000004" / name)
    gan = FakeGAN()
    assert checkpoints.load_newest(gan, here) == here / "weights/000002"
    assert_equal(gan.values(), expected.values())
    printed = capsys.readouterr().out
    assert "weights/000004 cannot be loaded" in printed and name in printed


def test_if_no_checkpoint_can_be_read_an_error_says_so(here):
    save(here, 2)
    truncate(here / "weights/000002/training.h5")
    with pytest.raises(ValueError, match="None of these checkpoints .*000002"):
        checkpoints.load_newest(FakeGAN(), here)


def test_without_checkpoints_none_is_loaded(here):
    assert checkpoints.load_newest(FakeGAN(), here) is None


def test_checkpoint_of_another_state_is_refused(here):
    save(here, 2)
    gan = FakeGAN()
    gan.g_optimizer = keras.optimizers.Adam()
    gan.g_optimizer.build(gan.generator.trainable_variables)
    with pytest.raises(ValueError, match="training.h5"):
        checkpoints.load_checkpoint(gan, here / "weights/000002")


# ---- weights

@pytest.fixture(scope="module")
def gan():
    from conftest import tiny_preset
    return models.build(tiny_preset())


def test_weights_that_are_missing_are_named(here, gan):
    with pytest.raises(FileNotFoundError, match="generator.*bad.weights.h5"):
        checkpoints.load_weights(gan.generator, here / "bad.weights.h5")


@pytest.mark.parametrize("changes", [
    {"generator_filters": (8, 8, 8)}, {"generator_filters": (16, 16)},
    {"generator_extra_filters": (8,)}, {"batch_norm": "none"}, None])
def test_weights_that_do_not_fit_are_refused(here, tiny, gan, changes):
    path = here / "bad.weights.h5"
    if changes is None:
        path.write_text("text")
    else:
        models.build(tiny(ema_decay=0.0, **changes)).generator.save_weights(path)
    with pytest.raises(ValueError, match="generator.*bad.weights.h5"):
        checkpoints.load_weights(gan.generator, path)


def test_networks_are_loaded_without_the_state_of_training(trained, tiny):
    gan, expected = models.build(tiny(seed=5)), models.build(tiny())
    checkpoints.load_networks(gan, "runs/toyfaces/weights/000004")
    checkpoints.load_checkpoint(expected, trained / "runs/toyfaces/weights/000004")
    for name, network in gan.networks.items():
        weights = zip(network.weights, expected.networks[name].weights, strict=True)
        assert all((one.numpy() == other.numpy()).all() for one, other in weights)
    assert int(gan.batch) == 0


def test_averaged_generator_that_is_missing_gets_the_weights_of_g(here, tiny):
    old = models.build(tiny(seed=5, ema_decay=0.0))
    checkpoints.save_checkpoint(here / "weights/000001", old.networks, old.state)
    gan = models.build(tiny())
    checkpoints.load_networks(gan, here / "weights/000001")
    for weight, average in zip(old.generator.weights, gan.generator_ema.weights, strict=True):
        assert (weight.numpy() == average.numpy()).all()


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


def randomize(network):
    """Moves biases and statistics, which are all equal in a new network, so that none is mixed up.
    """
    random = np.random.default_rng(0)
    weights = network.get_weights()
    for weight in weights:
        if weight.ndim == 1:
            weight += np.abs(random.normal(0, 0.1, weight.shape))
    network.set_weights(weights)


def test_weights_of_keras_2_compute_the_same(here, tiny):
    pytest.importorskip("tf_keras")
    g_filters, d_filters = (16, 8), (8, 16)
    generator, discriminator = keras_2_generator(g_filters, 16), keras_2_discriminator(d_filters)
    for network, name in ((generator, "gen.hdf5"), (discriminator, "disc.hdf5")):
        randomize(network)
        network.save_weights(name)
    gan = models.build(tiny(generator_filters=g_filters, generator_extra_filters=(8,),
                            discriminator_filters=d_filters))
    checkpoints.load_networks(gan, here)
    z = tf.random.stateless_normal([4, 100], [0, 0])
    expected = generator(z[:, None, None], training=False)
    assert np.abs(gan.sample(z) - expected).max() < 1e-5
    logits = gan.discriminator(expected, training=False)
    assert np.abs(logits - discriminator(expected, training=False)).max() < 1e-5


def test_weights_of_keras_2_that_are_corrupt_are_refused(here, gan):
    (here / "gen.hdf5").write_text("text")
    with pytest.raises(ValueError, match="gen.hdf5"):
        checkpoints.load_networks(gan, here)


# ---- checkpoints for generate and evaluate

def chosen(args):
    record = {"constants": constants.constants(args)}
    found = checkpoints.chosen_checkpoints(args, record)
    return [str(path.relative_to(pathlib.Path.cwd())) for path in found]


def test_checkpoints_are_those_of_the_run_or_of_weights(here, tiny):
    run = begin(tiny())
    save(run, 4)
    own = ["runs/toyfaces/weights/000002", "runs/toyfaces/weights/000004"]
    assert chosen(tiny()) == own
    assert chosen(tiny(weights=own[0])) == own[:1]
    assert chosen(tiny(name="other", weights=own[0])) == own[:1]


def test_run_that_began_with_weights_has_checkpoints_of_its_own(here, tiny):
    begin(tiny(name="old"))
    args = tiny(name="new", weights="runs/old/weights/000002")
    begin(args, batch=3)
    assert chosen(args) == ["runs/new/weights/000003"]
    other = tiny(name="new", weights="runs/old/weights/000002/.")
    assert chosen(other) == ["runs/old/weights/000002"]


def test_run_without_checkpoints_has_none_to_choose(here, tiny):
    with pytest.raises(FileNotFoundError, match="name=toyfaces"):
        chosen(tiny())
    with pytest.raises(FileNotFoundError, match="`weights`.*weights=nowhere"):
        chosen(tiny(weights="nowhere"))


def test_more_may_differ_after_training(here, tiny):
    begin(tiny())
    for changes in ({"seed": 1}, {"grid": (1, 1)}, {"jit_compile": "off"}, {"batches": 9}):
        assert len(chosen(tiny(**changes))) == 1
    for changes in ({"beta_1": 0.9}, {"latent": "uniform"}, {"g_leaky_slope": 0.0}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            chosen(tiny(**changes))


def test_weights_of_a_run_that_samples_otherwise_are_refused(here, tiny):
    begin(tiny(name="first", beta_1=0.9))
    args = tiny(weights="runs/first/weights/000002")
    assert len(chosen(args)) == 1  # how it was trained does not matter
    for changes in ({"latent": "uniform"}, {"bn_epsilon": 0.01}, {"conditional": True}):
        with pytest.raises(ValueError, match=f"{next(iter(changes))}: .*first/args.json"):
            chosen(constants.override(args, **changes))


def test_class_names_are_those_that_the_checkpoint_was_trained_with(here, tiny):
    begin(tiny(conditional=True), classes=["red", "green"])
    checkpoint = here / "runs/toyfaces/weights/000002"
    assert checkpoints.class_names_of(tiny(), checkpoint) == []
    assert checkpoints.class_names_of(tiny(conditional=True), checkpoint) == ["red", "green"]
    with pytest.raises(ValueError, match="`generate_class`.*red, green.*ginger"):
        checkpoints.class_names_of(tiny(conditional=True, generate_class="ginger"), checkpoint)
    with pytest.raises(ValueError, match="`generate_class`.*none"):
        checkpoints.class_names_of(tiny(generate_class="red"), checkpoint)


def test_conditional_checkpoint_without_class_names_is_refused(here, tiny):
    begin(tiny(conditional=True))
    with pytest.raises(ValueError, match="conditional"):
        checkpoints.class_names_of(
            tiny(conditional=True), here / "runs/toyfaces/weights/000002")


def test_label_tells_checkpoint_and_seed(here, tiny):
    begin(tiny())
    own = here / "runs/toyfaces/weights/000002"
    assert checkpoints.label_of(tiny(), own) == "000002"
    assert checkpoints.label_of(tiny(seed=1), own) == "000002-seed1"
    others = checkpoints.label_of(tiny(name="other"), own)
    assert others == "runs-toyfaces-weights-000002"
    elsewhere = here.parent / "elsewhere/000002"
    label = checkpoints.label_of(tiny(), elsewhere)
    assert label == "-".join(elsewhere.parts[1:])
    assert checkpoints.label_of(tiny(), here) == "-".join(here.parts[1:])


def test_weights_files_are_those_of_hdf5(here):
    """Other programs can read a checkpoint."""
    save(here, 1)
    with h5py.File(here / "weights/000001/training.h5") as file:
        assert file["batch/0"][()] == 1
        assert set(file) == {"batch", "d_optimizer", "g_optimizer"}
