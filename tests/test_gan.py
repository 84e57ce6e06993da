import csv
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import TINY, words
from PIL import Image

import args as constants
import bench_combinations
import callbacks
import data
import gan
import models
from models import cartoon, metrics, toyfaces

ROOT = pathlib.Path(gan.__file__).parent


@pytest.fixture
def toys(here, tiny):
    """A folder with toyfaces.hdf5."""
    data.make(tiny())
    return here


def start(*more, **changes):
    """Starts python gan.py ToyFaces with tiny nets in the current folder."""
    return subprocess.Popen([sys.executable, ROOT / "gan.py", "ToyFaces", *words(TINY | changes), *more],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.005)


def assert_same_run(one, other, batch):
    assert (one / "loss.csv").read_bytes() == (other / "loss.csv").read_bytes()
    a, b = (bench_combinations.contents(run / "weights" / batch) for run in (one, other))
    assert a.keys() == b.keys() and len(a) > 50
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert (one / "dump.png").read_bytes() == (other / "dump.png").read_bytes()


def test_a_killed_run_goes_on_bit_for_bit(toys, tiny):
    gan.train_gan(tiny(name="whole", batches=24, dump_every=3))
    killed = start(name="killed", batches=24, dump_every=3)
    wait_for(toys / "runs/killed/weights/000009", killed)
    killed.kill()
    killed.wait()
    assert not (toys / "runs/killed/weights/000024").exists()
    again = start(name="killed", batches=24, dump_every=3)
    assert again.wait() == 0, again.communicate()[0]
    assert_same_run(toys / "runs/whole", toys / "runs/killed", "000024")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_batch_saves_and_says_how_to_go_on(toys, tiny, number):
    run = toys / "runs/toyfaces"
    process = start(batches=100000, dump_every=1000, archive_every=0)
    deadline = time.monotonic() + 60
    said = ""
    while "/step" not in said:  # the first batch is learned
        assert time.monotonic() < deadline
        said += process.stdout.read(1)
    process.send_signal(number)
    said += process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number
    batch = re.search(rf"Stopped by {number.name} after batch (\d+), which is saved in runs/toyfaces", said).group(1)
    assert "100000/100000" not in said  # nor does the bar claim more
    assert [snapshot.name for snapshot in callbacks.snapshots(run)] == [f"{int(batch):06d}"]
    model = gan.train_gan(tiny(batches=int(batch) + 1, dump_every=1000, archive_every=0))
    assert int(model.batch) == int(batch) + 1


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(toys, tiny):
    for name, seed in ("one", 0), ("same", 0), ("other", 1):
        data.make(tiny(seed=seed, data=f"{name}.hdf5"))
        gan.train_gan(tiny(name=name, seed=seed, data=f"{name}.hdf5"))
    one, same, other = ((toys / f"runs/{name}/loss.csv").read_text() for name in ("one", "same", "other"))
    assert one == same != other


def test_a_finished_run_is_left_as_it_is(toys, tiny, capsys):
    gan.train_gan(tiny())
    before = (toys / "runs/toyfaces/loss.csv").read_bytes()
    assert int(gan.train_gan(tiny()).batch) == 4
    assert "has learned 4 batches, all that were asked for" in capsys.readouterr().out
    assert (toys / "runs/toyfaces/loss.csv").read_bytes() == before


# ---- weights

def test_weights_start_a_new_run_from_an_older_one(toys, tiny):
    old = gan.train_gan(tiny(name="old"))
    args = tiny(name="new", weights="runs/old/weights/000004", d_learning_rate=0.0, g_learning_rate=0.0, batches=1)
    new = gan.train_gan(args)
    assert int(new.batch) == 1
    for a, b in zip(old.generator.trainable_weights, new.generator.trainable_weights):
        assert (a.numpy() == b.numpy()).all()
    for a, b in zip(old.discriminator.trainable_weights, new.discriminator.trainable_weights):
        assert (a.numpy() == b.numpy()).all()


@pytest.mark.parametrize("make, said", [
    (lambda path: None, "There are no weights, or no more, to load for the generator. Received: .*bad"),
    (lambda path: path.write_text("text"), "doesn't fit the generator"),
    (lambda path: models.build(constants.override(constants.Args, generator_filters=(8, 8, 8, 8)))
     .generator.save_weights(path), "doesn't fit the generator"),
    (lambda path: models.build(constants.override(constants.ToyFaces, **TINY | {"generator_extra_filters": (8,)}))
     .generator.save_weights(path), "doesn't fit the generator"),
])
def test_weights_that_do_not_fit_are_refused(here, tiny, make, said):
    make(here / "bad.weights.h5")
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        gan.load_weights(models.build(tiny()).generator, here / "bad.weights.h5")


def keras_2_generator():
    """The original's generator as its users have it, in Keras 2: z is an image of one pixel [forcecore nets.py]."""
    import tf_keras
    from tf_keras import layers

    def finish(x):
        return layers.LeakyReLU(alpha=0.2)(layers.BatchNormalization(momentum=0.3)(x))

    z = layers.Input((1, 1, 100))
    x = finish(layers.Conv2DTranspose(512, 4)(z))
    for filters in (256, 128, 64):
        x = finish(layers.Conv2DTranspose(filters, 4, strides=2, padding="same")(x))
    x = finish(layers.Conv2D(64, 3, padding="same")(x))
    return tf_keras.Model(z, layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh")(x))


def test_weights_of_the_original_draw_the_same_images(here):
    original = keras_2_generator()
    # Statistics and offsets other than those of an untrained network, so that none can be mixed up unseen.
    rng = np.random.default_rng(0)
    original.set_weights([weight + np.abs(rng.normal(0, 0.1, weight.shape)) if weight.ndim == 1 else weight
                          for weight in original.get_weights()])
    original.save_weights("gen.hdf5")
    generator = models.build(constants.Args).generator
    gan.load_weights(generator, "gen.hdf5")
    z = tf.random.stateless_normal([4, 100], [0, 0])
    difference = np.abs(generator(z, training=False) - original(z[:, None, None], training=False))
    assert difference.max() < 1e-5


# ---- pretraining

def test_the_pretrained_generator_starts_the_game(toys, tiny):
    args = tiny(pretrain_batches=6, d_learning_rate=0.0, g_learning_rate=0.0, batches=1)
    gan.main(args)
    folder = toys / "runs/toyfaces/pretrain"
    assert {"originals.png", "reconstructions.png", "loss.csv", "generator.weights.h5"} \
        <= {path.name for path in folder.iterdir()}
    rows = (folder / "loss.csv").read_text().splitlines()
    assert rows[0] == "batch,mse" and [row.split(",")[0] for row in rows[1:]] == ["2", "4", "6"]
    pretrained, played = models.build(args), models.build(args)
    fresh = pretrained.generator.trainable_weights[0].numpy()
    gan.load_weights(pretrained.generator, folder / "generator.weights.h5")
    callbacks.load_snapshot(played, callbacks.snapshots(toys / "runs/toyfaces")[-1])
    for a, b in zip(pretrained.generator.trainable_weights, played.generator.trainable_weights):
        assert (a.numpy() == b.numpy()).all()
    assert (fresh != played.generator.trainable_weights[0].numpy()).any()


# ---- generate

def test_generate_writes_any_number_of_images_a_grid_and_a_walk(toys, tiny, capsys):
    gan.train_gan(tiny())
    folder = gan.generate(tiny(generate_count=19))  # no multiple of the batch of 8
    assert sorted(path.name for path in folder.iterdir()) \
        == [*(f"{index:05d}.png" for index in range(19)), "grid.png", "walk.png"]
    assert folder == pathlib.Path("runs/toyfaces/generated/000004")
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    gan.generate(tiny(generate_count=3))
    assert all((folder / name).read_bytes() == first[name] for name in first if name != "grid.png")
    images = [np.asarray(Image.open(folder / f"{index:05d}.png")) for index in range(19)]
    assert len({image.tobytes() for image in images}) == 19
    walk = np.asarray(Image.open(folder / "walk.png"))
    assert walk.shape == (2 * 64, 4 * 64, 3)
    assert np.abs(np.int16(walk[:64, :64]) - images[0]).max() <= 1  # it starts at the first image, and
    assert np.abs(np.int16(walk[64:, :64]) - images[1]).max() <= 1  # its second row at the second


def test_generate_alone_takes_the_weights_that_are_named(toys, tiny):
    gan.train_gan(tiny())
    older = gan.generate(tiny(batches=0, weights="runs/toyfaces/weights/000002", generate_count=1))
    newest = gan.generate(tiny(batches=0, generate_count=1))
    assert (older.name, newest.name) == ("000002", "000004")
    assert (older / "00000.png").read_bytes() != (newest / "00000.png").read_bytes()
    other = gan.generate(tiny(name="other", batches=0, generate_count=1, weights="runs/toyfaces/weights/000002"))
    assert other == pathlib.Path("runs/other/generated/runs-toyfaces-weights-000002")
    assert (other / "00000.png").read_bytes() == (older / "00000.png").read_bytes()


def test_another_seed_draws_other_images_into_a_folder_of_their_own(toys, tiny):
    gan.train_gan(tiny(batches=2))
    own, others = gan.generate(tiny(generate_count=1)), gan.generate(tiny(generate_count=1, seed=1))
    assert (own.name, others.name) == ("000002", "000002-seed1")
    assert (own / "00000.png").read_bytes() != (others / "00000.png").read_bytes()


def test_generate_may_draw_while_the_run_goes_on(toys, tiny):
    args = tiny()
    gan.train_gan(args)
    with callbacks.open_run(args, constants.constants(args)):
        assert (gan.generate(tiny(generate_count=1)) / "00000.png").exists()
    with pytest.raises(ValueError, match="beta_1"):
        gan.generate(tiny(generate_count=1, beta_1=0.9))


def test_generate_without_anything_to_draw_from_says_so(here, tiny):
    with pytest.raises(FileNotFoundError, match="no snapshot to draw from.*name=toyfaces"):
        gan.generate(tiny(generate_count=1))


# ---- evaluate

@pytest.fixture
def quick_classifier(monkeypatch):
    """A classifier of ten batches: what it says is wrong, but it says something."""
    train = metrics.train_classifier
    monkeypatch.setattr(metrics, "train_classifier", lambda *args: train(*args, batches=10))


def scored(tiny, **changes):
    return tiny(**{"dataset_size": 200, "features": "classifier", "evaluate_count": 20} | changes)


def test_evaluate_scores_every_snapshot_beside_what_real_images_score(here, tiny, quick_classifier, capsys):
    gan.main(scored(tiny))
    run = here / "runs/toyfaces"
    with open(run / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["snapshot"] for row in rows] == ["real", "000002", "000004"]
    names = ["fd", "kid", "precision", "recall", "density", "coverage", "diversity", "memorization", "checkerboard",
             "modes", "kl"]
    assert list(rows[0]) == ["snapshot", *(f"{name}_classifier_20" for name in (*names, "of"))]
    real, untrained = ({name: float(row[f"{name}_classifier_20"]) for name in names} for row in rows[:2])
    assert real["fd"] < untrained["fd"] and real["recall"] > untrained["recall"] and real["memorization"] == 0.5
    assert f"(real {real['fd']:.4g})" in capsys.readouterr().out
    assert Image.open(run / "scores.png").size[0] == 800
    assert Image.open(run / "neighbours.png").size == (8 * 64, 4 * 64)  # 16 pairs, four a row


def test_scores_that_are_there_stay_and_those_of_other_counts_stand_beside_them(here, tiny, quick_classifier):
    gan.main(scored(tiny, batches=2))
    first = callbacks.read_scores(here / "runs/toyfaces")
    gan.evaluate(constants.override(scored(tiny), evaluate_count=30))
    both = callbacks.read_scores(here / "runs/toyfaces")
    assert first["000002"].items() <= both["000002"].items() and len(both["000002"]) == 2 * len(first["000002"])
    table = here / "runs/toyfaces/scores.csv"
    table.write_text(table.read_text().replace(f"{first['000002']['fd_classifier_20']:.6g}", "12.5"))
    assert gan.evaluate(scored(tiny))["000002"]["fd_classifier_20"] == 12.5


@pytest.mark.parametrize("changed", ["snapshot", "data"])
def test_scores_of_another_snapshot_or_of_other_images_are_replaced(here, tiny, quick_classifier, changed):
    gan.main(scored(tiny, batches=2))
    first = callbacks.read_scores(here / "runs/toyfaces")
    if changed == "snapshot":
        shutil.rmtree("runs/toyfaces/weights")
        gan.main(scored(tiny, batches=2, g_learning_rate=0.01, evaluate_count=0, name="other"))
        shutil.move("runs/other/weights", "runs/toyfaces/weights")
    else:
        with h5py.File("toyfaces.hdf5", "r+") as file:
            file["faces"][:] = file["faces"][()][::-1]
    assert gan.evaluate(scored(tiny))["000002"]["fd_classifier_20"] != first["000002"]["fd_classifier_20"]


def test_a_run_is_scored_on_its_own_images_and_its_weights_on_any(here, tiny, quick_classifier):
    gan.main(scored(tiny, batches=2))
    before = (here / "runs/toyfaces/scores.csv").read_text()
    data.make(scored(tiny, seed=1))
    with pytest.raises(ValueError, match="runs/toyfaces was begun with other images than `data` holds now"):
        gan.evaluate(scored(tiny))
    assert (here / "runs/toyfaces/scores.csv").read_text() == before
    gan.evaluate(scored(tiny, name="elsewhere", batches=0, weights="runs/toyfaces/weights/000002"))
    assert len(callbacks.read_scores(here / "runs/elsewhere")) == 2


def test_a_run_goes_on_though_the_weights_it_began_with_are_gone(toys, tiny):
    gan.train_gan(tiny(name="old", batches=2))
    gan.train_gan(tiny(name="new", weights="runs/old/weights/000002", batches=2))
    shutil.rmtree("runs/old")
    assert int(gan.train_gan(tiny(name="new", weights="runs/old/weights/000002")).batch) == 4


def test_weights_that_are_no_folder_are_named_and_leave_none(here, tiny):
    with pytest.raises(FileNotFoundError, match="`weights` must be a snapshot folder.*weights=runs/nowhere"):
        gan.main(tiny(weights="runs/nowhere"))
    assert not (here / "runs").exists()


def test_classes_are_scored_in_their_true_shares(here, tiny, quick_classifier, monkeypatch):
    args = scored(tiny, conditional=True, batches=2, evaluate_count=100)
    data.make(args)
    with h5py.File("toyfaces.hdf5", "r+") as file:
        file["labels"][:] = 3 * (np.arange(200) % 10 == 0)  # one in ten is of class 3, all others of class 0
    gan.train_gan(args)
    asked, draw = [], gan.draw
    monkeypatch.setattr(gan, "draw", lambda *args: (asked.append(batch[2]) or batch for batch in draw(*args)))
    gan.evaluate(args)
    counts = np.bincount(np.concatenate(asked)[:100], minlength=4)
    assert counts[0] + counts[3] == 100 and 4 <= counts[3] <= 17


def test_what_cannot_be_scored_is_refused_before_training(here, tiny):
    for changes, said in (({"evaluate_count": 3}, "evaluate_count=3"), ({"evaluate_count": 500}, "180 of them"),
                          ({"features": "no.keras"}, "features=no.keras"), ({"held_out": 0.0}, "held_out=0.0")):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            gan.main(scored(tiny, **changes))
    assert not os.path.exists("runs")


@pytest.mark.parametrize("changes, said", [
    ({"generate_class": "ginger", "conditional": True}, "`generate_class` must be one of the classes of toyfaces.hdf5"),
    ({"generate_class": "red"}, "`generate_class` must be one of .* or empty: none"),
])
def test_what_cannot_be_drawn_is_refused_before_training(toys, tiny, changes, said):
    with pytest.raises(ValueError, match=said):
        gan.main(tiny(generate_count=1, **changes))
    assert not (toys / "runs").exists()


def test_photos_that_are_not_there_and_networks_that_do_not_load_are_refused_before_training(sketch, here):
    with pytest.raises(FileNotFoundError, match="`generate_from` must be a glob"):
        gan.main(constants.override(sketch, generate_count=1, generate_from="none/*"))
    (here / "broken.keras").write_bytes(b"no network")
    with pytest.raises(ValueError, match="a .keras file that Keras can load"):
        gan.main(constants.override(sketch, evaluate_count=10, held_out=0.5, features="broken.keras"))
    assert not (here / "runs").exists()


def test_weights_of_a_run_that_draws_otherwise_are_refused(toys, tiny):
    gan.train_gan(tiny(batches=2, name="first"))
    with pytest.raises(ValueError, match="latent: 'normal' in .*first/args.json, 'uniform' now"):
        gan.generate(tiny(batches=0, weights="runs/first/weights/000002", latent="uniform", generate_count=1))


def test_scored_images_are_those_that_generate_writes(toys, tiny):
    gan.train_gan(tiny())
    folder = gan.generate(tiny(generate_count=11))
    model = models.build(tiny())
    gan.load_networks(model, "runs/toyfaces/weights/000004")
    drawn = np.concatenate([images for *_, images in gan.draw(tiny(), model, 11)])
    written = np.stack([np.asarray(Image.open(folder / f"{index:05d}.png")) for index in range(11)])
    assert np.array_equal(drawn, written)


def test_a_classifier_of_other_images_is_not_taken(here, tiny, quick_classifier, capsys):
    gan.main(scored(tiny, batches=2))
    assert "Training a classifier" in capsys.readouterr().out
    gan.evaluate(scored(tiny, batches=2))
    assert "Training a classifier" not in capsys.readouterr().out
    os.remove("toyfaces.hdf5")
    data.make(scored(tiny, seed=1))
    with pytest.raises(ValueError, match="begun with other images"):
        gan.evaluate(scored(tiny, batches=2))
    gan.main(scored(tiny, batches=2, name="other", seed=1))
    assert "Training a classifier" in capsys.readouterr().out


def test_scores_need_images_that_were_held_out(toys, tiny):
    gan.train_gan(tiny(held_out=0.0))
    with pytest.raises(ValueError, match="Raise `held_out`.*Received: held_out=0.0, 32 images"):
        gan.evaluate(tiny(held_out=0.0, evaluate_count=20))


def test_training_sees_none_of_the_images_held_out(toys, tiny):
    args = tiny(batch_size=7, held_out=0.1, flip=False)  # 32 images: 29 to see, in four batches, and 3 held out
    faces = data.open_faces(args)
    seen, unseen = data.split(args, 32)
    assert sorted([*seen, *unseen]) == list(range(32)) and len(unseen) == 3
    assert np.array_equal(unseen, data.split(constants.override(args, seed=5), 32)[1])
    stream = data.batches(args)
    shown = {image.tobytes() for _ in range(40) for image in data.denormalize(next(stream))}
    assert shown == {image.tobytes() for image in faces[seen]}


# ---- what to train on

def test_with_nothing_to_train_on_it_takes_toy_faces_and_says_so(here, capsys):
    chosen = gan.choose(constants.parse(["batches=7", "batch_size=64"]))  # 64 is what Args has, and ToyFaces has not
    assert (chosen.name, chosen.data, chosen.batches, chosen.batch_size) == ("toyfaces", "toyfaces.hdf5", 7, 64)
    said = capsys.readouterr().out
    assert "training on toy faces" in said and "python data.py images=" in said and said.count("\n") == 1


def test_toys_go_on_with_the_same_command_also_under_another_name(toys, tiny):
    gan.train_gan(tiny(name="mine", batches=2))
    assert gan.choose(constants.parse(["name=mine"])).images == "toyfaces"
    real = constants.override(constants.Args, name="real", **TINY | {"data": "toyfaces.hdf5"})
    gan.train_gan(real)
    assert gan.choose(constants.parse(["name=real"])).images == constants.DEFAULT_IMAGES  # no toys in a run on faces


def test_nobody_trains_on_toys_unawares(here, tiny):
    with pytest.raises(FileNotFoundError, match=r"images=mine/\*.jpg.*data=data.hdf5|data=data.hdf5.*images=mine"):
        gan.main(constants.parse(["images=mine/*.jpg"]))
    with pytest.raises(FileNotFoundError, match=f"images={re.escape(constants.DEFAULT_IMAGES)}.*data=mine.hdf5"):
        gan.main(constants.parse(["data=mine.hdf5"]))
    assert os.listdir() == []


def test_an_embedded_dataset_is_made_anew_where_another_is_asked_for(here, tiny):
    for changes in {}, {"dataset_size": 40}, {"dataset_size": 40, "seed": 1}:
        gan.prepare(tiny(**changes))
        made = os.stat("toyfaces.hdf5").st_ino
        assert data.attributes(tiny())["dataset_size"] == changes.get("dataset_size", 32)
        gan.prepare(tiny(**changes))
        assert os.stat("toyfaces.hdf5").st_ino == made  # it was left as it is
    gan.prepare(constants.override(constants.Args, data="toyfaces.hdf5"))
    assert os.stat("toyfaces.hdf5").st_ino == made


def test_data_of_other_images_is_neither_used_nor_overwritten(here, tiny):
    os.mkdir("mine")
    Image.new("RGB", (64, 64)).save("mine/face.png")
    data.make(constants.override(constants.Args, images="mine/*"))
    before = (here / "data.hdf5").read_bytes()
    with pytest.raises(ValueError, match=r"`data` was made from other images.*images=toyfaces.*made from mine/\*"):
        gan.main(tiny(data="data.hdf5"))
    assert (here / "data.hdf5").read_bytes() == before
    with h5py.File("theirs.hdf5", "w") as file:
        file["faces"] = np.zeros((32, 64, 64, 3), "uint8")
    with pytest.raises(ValueError, match="images=toyfaces.*made from images unknown"):
        gan.main(tiny(data="theirs.hdf5"))


def test_a_user_s_mistake_is_one_line_and_exit_status_1(here):
    process = start("bathces=5")
    said = process.communicate()[0].splitlines()[-1]
    assert process.returncode == 1 and said.startswith("gan.py: `bathces` is no constant of args.py; the nearest is")


# ---- the family

def test_digits_are_drawn_scored_and_resumed_as_faces_are(here, quick_classifier):
    random = np.random.default_rng(0)
    os.mkdir("mnist")
    pathlib.Path("mnist/train-images-idx3-ubyte").write_bytes(
        struct.pack(">4I", 0x803, 200, 28, 28) + random.integers(0, 256, 200 * 784, "uint8").tobytes())
    pathlib.Path("mnist/train-labels-idx1-ubyte").write_bytes(
        struct.pack(">2I", 0x801, 200) + (np.arange(200, dtype="uint8") % 10).tobytes())
    words = {"generator_filters": (8, 8), "discriminator_filters": (8, 8), "batch_size": 8, "dump_every": 2}
    args = constants.override(constants.Mnist28, **words, batches=4, generate_count=3, evaluate_count=20)
    gan.main(args)
    run = here / "runs/mnist28"
    assert np.asarray(Image.open(run / "generated/000004/00002.png")).shape == (28, 28)
    assert {"kl_classifier_20", "modes_classifier_20"} <= callbacks.read_scores(run)["000004"].keys()


@pytest.fixture
def sketch(here, monkeypatch):
    """A tiny CartoonGAN with 24 cartoons and photos, and a network of two convolutions to see content."""
    monkeypatch.setattr(cartoon, "BLOCKS", 2)  # of eight, most of the time is their graph
    keras.utils.set_random_seed(0)
    images, _ = toyfaces.sample(48, 0)
    for index, image in enumerate(images):
        folder = here / ("cartoons" if index % 2 else "photos")
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    keras.Sequential([keras.Input([None, None, 3]), keras.layers.Rescaling(1 / 255),
                      keras.layers.Conv2D(4, 3, name="first")]).save("net.keras")
    return constants.override(
        constants.Cartoon64, image_shape=(16, 16, 3), generator_filters=(4, 8, 8), discriminator_filters=(4, 4),
        content_features="net.keras:first", pretrain_batches=4, batches=4, dump_every=2, batch_size=4, grid=(2, 2))


def test_photos_become_cartoons_by_the_same_four_verbs(sketch, here, capsys):
    Image.new("RGB", (33, 21), "red").save("mine.jpg")
    gan.main(constants.override(sketch, generate_count=5, generate_from="mine.jpg", features="net.keras",
                                evaluate_count=10, held_out=0.5))
    run = here / "runs/cartoon64"
    assert Image.open(run / "pretrain/reconstructions.png").size == Image.open(run / "dump.png").size == (32, 32)
    with open(run / "loss.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["batch"] for row in rows] == ["2", "4"] and float(rows[1]["content_distance"]) > 0
    assert Image.open(run / "generated/000004/mine.png").size == (33, 21)
    assert "fd_net_10" in callbacks.read_scores(run)["000004"]


def test_a_cartoon_run_that_was_stopped_goes_on_bit_for_bit(sketch):
    data.make(sketch)
    assert bench_combinations.differences(constants.override(sketch, pretrain_batches=0)) == []


# ---- any combination of tips

@pytest.mark.parametrize("number", range(5))
def test_a_random_combination_of_tips_trains_and_resumes_bit_for_bit(here, number):
    args = bench_combinations.combination(number)
    data.make(args)
    assert bench_combinations.differences(args) == []


def test_a_run_stopped_within_a_swap_goes_on_bit_for_bit(here, tiny):
    data.make(tiny())
    args = tiny(dump_every=4, swap_every=8, swap_for=3, d_dropout=0.3, keep_snapshots=4)
    whole = bench_combinations.train(args, "whole", 20)
    resumed = bench_combinations.train(args, "resumed", 17, 20)
    for name in whole.keys() - {"loss.csv"}:
        assert np.array_equal(whole[name], resumed[name]), name
    assert set(whole["loss.csv"].splitlines()) <= set(resumed["loss.csv"].splitlines())
