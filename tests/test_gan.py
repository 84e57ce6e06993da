"""Tests of gan.py: training and resuming, generate, verbs, and the command line."""
import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys

import keras
import numpy as np
import pytest
from compare_runs import differences
from conftest import ROOT, names, same_weights, save_run, tiny_preset
from PIL import Image

import args as constants
import data
import gan
import models
from models import dcgan
from models.randomness import Purpose
from models.toys import faces
from training import callbacks, checkpoints, sampling, scores

RUN = pathlib.Path("runs/toyfaces")
NEWEST = "weights/000004.weights.h5"


@pytest.fixture
def untrained_fit(monkeypatch):
    """Makes gan.fit leave the model as it is, so that only what surrounds it happens."""
    fitted = []

    def fit(args, model, folder, batches, callback_classes, hint=""):
        fitted.append((folder, batches))

    monkeypatch.setattr(gan, "fit", fit)
    return fitted


@pytest.fixture(scope="module")
def untrained_folder(tmp_path_factory):
    """A folder with toyfaces.hdf5 and a run of two checkpoints. Do not change it."""
    folder = tmp_path_factory.mktemp("untrained")
    with contextlib.chdir(folder):
        data.make(tiny_preset())
        save_run(tiny_preset(), 2, 4)
    return folder


@pytest.fixture
def untrained(untrained_folder, here):
    """The current folder, with a copy of that."""
    shutil.copytree(untrained_folder, here, dirs_exist_ok=True)
    return here


def image(path):
    return np.asarray(Image.open(path))


# ---- training and resuming

def test_resume_skips_a_corrupt_checkpoint_and_continues_bit_for_bit(
        trained, trained_folder, tiny, capsys):
    os.truncate(RUN / NEWEST, 1000)
    gan.train_gan(tiny())
    printed = capsys.readouterr().out
    assert f"{NEWEST} cannot be loaded" in printed and "batch 3 to 4" in printed
    assert differences(trained_folder / RUN / NEWEST, RUN / NEWEST) == []
    for name in ("loss.csv", "dump.png"):
        assert (trained_folder / RUN / name).read_bytes() == (RUN / name).read_bytes()


def test_trained_run_is_left_as_it_is(numbers, even, capsys):
    save_run(even(), 4)
    before = {path: path.read_bytes() for path in numbers.rglob("*") if path.is_file()}
    assert int(gan.train_gan(even()).batch.numpy()) == 4
    assert "already been trained on all 4 batches. To train" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in numbers.rglob("*") if path.is_file()} == before


def test_if_all_checkpoints_are_corrupt_none_is_overwritten(numbers, even):
    run = save_run(even(), 2, 4)
    for path in checkpoints.checkpoints(run):
        path.write_text("corrupt")
    for verb in (gan.train_gan, gan.generate):
        with pytest.raises(ValueError, match="weights"):
            verb(even(batches=6))
    assert {path.read_text() for path in (run / "weights").iterdir()} == {"corrupt"}


def test_run_is_resumed_with_its_own_images_only(numbers, even, untrained_fit):
    save_run(even(), 2)
    data.make(even(seed=1))
    with pytest.raises(ValueError, match="images.*data=even.hdf5"):
        gan.train_gan(even())
    data.make(even())  # the same, made anew
    gan.train_gan(even())
    assert len(untrained_fit) == 1


def test_signal_saves_the_batch_and_says_how_to_resume(numbers, even, capsys):
    class CtrlC(keras.callbacks.Callback):
        def __init__(self, args, folder):
            super().__init__()

        def on_train_batch_begin(self, step, logs=None):
            if int(self.model.batch.numpy()) == 2:
                os.kill(os.getpid(), signal.SIGINT)

    args = even(batches=100000, dump_every=1000)
    with pytest.raises(SystemExit) as exit:
        gan.fit(args, models.build(args), numbers, args.batches,
                (CtrlC, callbacks.SaveCheckpoint))
    assert exit.value.code == 128 + signal.SIGINT
    assert names(numbers / "weights") == ["000003.weights.h5"]
    assert "SIGINT after batch 3" in capsys.readouterr().out


# ---- where training starts

def test_weights_start_a_new_run(numbers, even, untrained_fit):
    weights = save_run(even(name="old", seed=5), 2) / "weights/000002.weights.h5"
    args = even(weights=str(weights))
    started = gan.train_gan(args)
    expected = models.build(even())
    checkpoints.load_networks(expected, weights)
    for name in ("generator", "discriminator", "generator_ema"):
        assert same_weights(getattr(started, name), getattr(expected, name)), name
    assert int(started.batch.numpy()) == 0
    assert untrained_fit == [(pathlib.Path("runs/even"), 4)]

    save_run(args, 3)
    shutil.rmtree("runs/old")  # the run has checkpoints of its own now
    assert int(gan.train_gan(args).batch.numpy()) == 3


def test_pretrained_generator_starts_the_training(numbers, even, monkeypatch):
    args = even(pretrain_batches=3)
    gan.pretrain_gen(args)
    folder = numbers / "runs/even/pretrain"
    assert names(folder) == ["loss.csv", "loss.png", "originals.png", "reconstructions.png",
                             "weights"]
    assert names(folder / "weights") == ["000002.weights.h5", "000003.weights.h5"]
    pretraining = models.build_pretraining(args)
    initial = pretraining.generator.get_weights()
    checkpoints.load_newest(pretraining, folder)
    assert (pretraining.generator.get_weights()[0] != initial[0]).any()

    monkeypatch.setattr(gan, "fit", lambda *arguments, **options: None)
    started = gan.train_gan(args)
    assert same_weights(started.generator, pretraining.generator)
    assert same_weights(started.generator_ema, pretraining.generator)
    assert int(started.batch.numpy()) == 0


def test_pretraining_needs_a_number_of_batches(numbers, even):
    with pytest.raises(ValueError, match="`pretrain_batches`"):
        gan.pretrain_gen(even())


def test_diverged_pretraining_saves_no_checkpoint(numbers, even):
    args = even(pretrain_batches=4, pretrain_learning_rate=float("inf"))
    with pytest.raises(callbacks.Diverged):
        gan.pretrain_gen(args)
    assert not (numbers / "runs/even/pretrain/weights").exists()


# ---- generate

def test_generate_writes_images_a_grid_and_an_interpolation(untrained, tiny):
    folder = gan.generate(tiny(generate_count=19))  # no multiple of the batch of 8
    assert folder == RUN / "generated/000004"
    numbered = [f"{number:05d}.png" for number in range(19)]
    assert names(folder) == numbered + ["grid.png", "interpolation.png"]
    images = [image(folder / name) for name in numbered]
    assert len({pixels.tobytes() for pixels in images}) == 19
    assert Image.open(folder / "grid.png").size == (4 * 64, 2 * 64)
    assert (image(folder / "grid.png")[:64, 64:128] == images[1]).all()
    # Each row begins with an image of its own.
    interpolation = np.int16(image(folder / "interpolation.png"))
    assert interpolation.shape == (2 * 64, 4 * 64, 3)
    args = tiny()
    sampler = models.build_sampler(args)
    checkpoints.load_generator(sampler, scores.chosen_checkpoint(args))
    first, second = data.denormalize(sampler.sample(sampler.sample_z(2, Purpose.INTERPOLATE)))
    assert np.abs(interpolation[:64, :64] - first).max() <= 1
    assert np.abs(interpolation[64:, :64] - second).max() <= 1


def test_images_depend_neither_on_their_count_nor_on_the_verb(untrained, tiny):
    folder = gan.generate(tiny(generate_count=11))
    first = {name: (folder / name).read_bytes() for name in names(folder)}
    shutil.rmtree(folder)
    gan.generate(tiny(generate_count=1))
    assert names(folder) == ["00000.png", "grid.png", "interpolation.png"]
    for name in ("00000.png", "interpolation.png"):
        assert (folder / name).read_bytes() == first[name]

    sampler = models.build_sampler(tiny())
    checkpoints.load_generator(sampler, RUN / NEWEST)
    batches = list(sampling.generate_images(tiny(), sampler, 11))  # as evaluate does
    assert [len(numbers) for numbers, *_ in batches] == [8, 3]
    for numbers, _, _, images in batches:
        for number, pixels in zip(numbers, images):
            data.save_png(pixels, "expected.png")
            assert pathlib.Path("expected.png").read_bytes() == first[f"{number:05d}.png"]


def test_generate_needs_neither_a_discriminator_nor_data(untrained, tiny, monkeypatch):
    monkeypatch.setattr(dcgan, "build_discriminator", None)
    os.remove("toyfaces.hdf5")
    gan.main(tiny(generate_count=1), ["generate"])
    assert (RUN / "generated/000004/00000.png").exists()


def test_generate_works_while_the_run_is_trained(untrained, tiny):
    with checkpoints.open_run(tiny(), gan.run_record(tiny())):
        gan.generate(tiny(generate_count=1))


def test_generate_takes_the_checkpoint_or_the_weights_that_are_named(untrained, tiny):
    newest = gan.generate(tiny(generate_count=1))
    older = gan.generate(tiny(generate_count=1, checkpoint="2"))
    assert (older.name, newest.name) == ("000002", "000004")
    assert (older / "00000.png").read_bytes() != (newest / "00000.png").read_bytes()
    weights = str(RUN / "weights/000002.weights.h5")
    other = gan.generate(tiny(name="other", generate_count=1, weights=weights))
    assert other == pathlib.Path("runs/other/generated/runs-toyfaces-weights-000002")
    assert (other / "00000.png").read_bytes() == (older / "00000.png").read_bytes()
    with pytest.raises(FileNotFoundError, match="`checkpoint`.*000002.*000004"):
        gan.generate(tiny(checkpoint="3"))


def test_images_of_each_class_are_in_a_folder_of_their_own(toys, tiny):
    args = tiny(conditional=True, generate_count=10, pretrain_batches=1)
    gan.pretrain_gen(args)  # without the labels
    save_run(args, 2)
    folder = gan.generate(args)
    assert names(folder / "red") == ["00000.png", "00008.png"]
    assert names(folder / "green") == ["00002.png"]
    gan.generate(constants.override(args, generate_class="blue", generate_count=3))
    assert {"00000.png", "00001.png", "00002.png"} <= set(names(folder / "blue"))


# ---- verbs

@pytest.fixture
def called(monkeypatch):
    """The names of the verbs that main calls, none of which does anything."""
    names = []
    for name in constants.VERBS:
        monkeypatch.setattr(gan, name, lambda args, name=name: names.append(name))
    return names


def test_verbs_run_in_the_order_given(numbers, even, called):
    args = even(pretrain_batches=5)
    save_run(args, 2)
    gan.main(args, ["generate", "train_gan"])
    assert called == ["generate", "train_gan"]


@pytest.mark.parametrize("pretrain_batches, is_begun, expected", [
    (0, False, ["train_gan"]),
    (5, False, ["pretrain_gen", "train_gan"]),
    (5, True, ["train_gan"]),  # the pretrained generator would not be used
])
def test_without_verbs_it_trains(numbers, even, called, pretrain_batches, is_begun, expected):
    args = even(pretrain_batches=pretrain_batches)
    if is_begun:
        save_run(args, 2)
    gan.main(args)
    assert called == expected


def test_pretrained_weights_need_no_data_and_no_run(here):
    """README's second command, but for the number of images."""
    gan.main(constants.override(
        constants.Small, weights="pretrained", generate_count=1), ["generate"])
    assert (here / "runs/small/generated/pretrained/00000.png").exists()


def test_the_chief_alone_generates_and_evaluates(numbers, even, called, monkeypatch):
    monkeypatch.setattr(gan.devices, "machine", lambda: 1)
    gan.main(even(), ["train_gan", "generate"])
    assert called == ["train_gan"]


def test_scores_that_cannot_be_computed_are_refused_before_the_training(toys, tiny, called):
    with pytest.raises(ValueError, match="`test_fraction`"):
        gan.main(tiny(test_fraction=0.0), ["train_gan", "evaluate"])
    assert called == []


# ---- the command line

def run_script(*arguments, **environment):
    """Runs a script of the project as a user does, and returns the finished process."""
    return subprocess.run([sys.executable, ROOT / arguments[0], *arguments[1:]], timeout=300,
                          capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.parametrize("arguments, received", [
    (["gan.py", "bathces=5"], "`batches`"),
    (["gan.py", "network=dcgn"], "`network`"),
    (["gan.py", "images=nosuch"], "`images`"),
    (["gan.py", "Even", "weights=nosuch"], "`weights`"),
    (["gan.py", "Even", "weights=text.h5"], "`weights`"),
    (["gan.py", "Even", "generate", "weights=text.h5"], "`weights`"),
    (["gan.py", "Even", "generate"], "name=even"),
    (["data.py", "images=nosuch"], "`images`"),
])
def test_mistakes_are_one_line_before_tensorflow_is_loaded(here, arguments, received):
    """A module that cannot be imported stands in for TensorFlow."""
    (here / "tensorflow.py").write_text("raise AssertionError('TensorFlow is loaded')")
    (here / "text.h5").write_text("no weights")
    done = run_script(*arguments, PYTHONPATH=str(here))
    assert done.returncode == 1
    message = done.stderr.strip()
    assert message.startswith(f"{arguments[0]}: ") and received in message
    assert "\n" not in message


def test_only_the_own_lines_of_a_training_are_printed(here):
    done = run_script("gan.py", "Even", "batches=4", "dump_every=2", "dataset_size=200",
                      TF_CPP_MIN_LOG_LEVEL=models.QUIET)
    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == [
        "runs/even:", "2/4", "4/4"]


def test_tensorflow_that_cannot_be_imported_says_why(here):
    (here / "tensorflow.py").write_text(
        "import os; os.write(2, b'a library is missing'); raise ImportError('no TensorFlow')")
    done = run_script("gan.py", "Even", PYTHONPATH=str(here))
    assert "a library is missing" in done.stderr and "no TensorFlow" in done.stderr


# ---- generator.keras

OPEN_WITHOUT_PROJECT = """
import importlib.util
for name in ("args", "data", "gan", "models", "training"):
    assert importlib.util.find_spec(name) is None, name
{readme}
import numpy as np
np.save("by_keras.npy", generator(np.load("z.npy")))
import onnxruntime
session = onnxruntime.InferenceSession("generator.onnx")
np.save("by_onnx.npy", session.run(None, {{"z": np.load("z.npy")}})[0])
"""


@pytest.mark.slow
def test_generator_file_is_opened_and_exported_as_in_the_readme_without_the_project(trained, tiny):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    readme = (ROOT / "README.md").read_text()
    code, = re.findall(r"```python\n(.*?load_model.*?)```", readme, re.S)
    sampler = models.build_sampler(tiny())
    checkpoints.load_generator(sampler, RUN / NEWEST)
    z = sampler.sample_z(8)
    np.save("z.npy", z)
    script = OPEN_WITHOUT_PROJECT.format(readme=code.replace("small", "toyfaces"))
    # -I: neither the current folder nor PYTHONPATH is searched for modules.
    finished = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=trained, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    expected = sampler.generator(z, training=False).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(np.load("by_keras.npy"), expected, atol=1e-5)
    np.testing.assert_allclose(np.load("by_onnx.npy"), expected, atol=1e-4)
    assert image("face.png").shape == (64, 64, 3)


# ---- other images and networks

def readme_sizes():
    """Returns the constants of each row of the README's table of sizes, as arguments."""
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\|.*`(\"image_shape=.*)` \|$", readme, re.M)
    return [shlex.split(row) for row in rows]


@pytest.mark.slow
def test_sizes_of_the_readme_are_trained(here):
    os.mkdir("my-faces")
    for index, pixels in enumerate(faces.sample(16, 0)[0]):
        Image.fromarray(pixels).save(f"my-faces/{index}.jpg")
    assert len(readme_sizes()) >= 3
    for index, arguments in enumerate(readme_sizes()):
        args, _ = constants.parse(
            ["images=my-faces", f"name={index}", f"data={index}.hdf5", *arguments])
        narrow = constants.override(
            args, generator_filters=(4,) * len(args.generator_filters),
            discriminator_filters=(4,) * len(args.discriminator_filters),
            generator_extra_filters=(4,), r1_weight=0.0, batch_size=4, batches=2, dump_every=2,
            grid=(2, 3))
        gan.main(narrow)
        rows, columns, channels = args.image_shape
        with Image.open(f"runs/{index}/dump.png") as grid:
            assert grid.size == (3 * columns, 2 * rows)
            assert grid.mode == ("L" if channels == 1 else "RGB")
        generator = keras.models.load_model(f"runs/{index}/generator.keras")
        assert generator.output_shape == (None, *args.image_shape)


@pytest.mark.slow
def test_digits_are_trained_generated_and_scored(here):
    keras.Sequential([keras.Input([28, 28, 1]), keras.layers.Flatten()]).save("pixels.keras")
    random = np.random.default_rng(0)
    os.mkdir("mnist")
    pathlib.Path("mnist/train-images-idx3-ubyte").write_bytes(
        struct.pack(">4I", 0x803, 200, 28, 28)
        + random.integers(0, 256, 200 * 784, "uint8").tobytes())
    pathlib.Path("mnist/train-labels-idx1-ubyte").write_bytes(
        struct.pack(">2I", 0x801, 200) + (np.arange(200, dtype="uint8") % 10).tobytes())
    args = constants.override(
        constants.Mnist28, generator_filters=(8, 8), discriminator_filters=(8, 8), batch_size=8,
        dump_every=2, batches=4, generate_count=3, evaluate_count=20, features="pixels.keras")
    gan.main(args, ["train_gan", "generate", "evaluate"])
    run = here / "runs/mnist28"
    assert image(run / "generated/000004/2/00002.png").shape == (28, 28)
    assert "kid_pixels_20" in scores.read_scores(run)["000004"]


# ---- photos to cartoons

SCENES = {"image_shape": (32, 32, 3), "generator_filters": (4, 8), "discriminator_filters": (4, 4),
          "dataset_size": 60, "batch_size": 4, "batches": 2, "dump_every": 2, "grid": (2, 2)}


def test_photos_of_any_size_are_translated(here):
    args = constants.override(constants.Cartoon64, **SCENES, generate_from="mine")
    data.make(args)
    save_run(args, 2)
    (here / "mine").mkdir()
    sizes = [(33, 21), (100, 7)]
    for number, size in enumerate(sizes):
        Image.new("RGB", size, "red").save(f"mine/{number}.jpg")
    folder = gan.generate(args)
    assert folder == pathlib.Path("runs/cartoon64/generated/000002")
    for number, size in enumerate(sizes):
        assert Image.open(folder / f"{number}.png").size == size

    sampler = models.build_sampler(args)  # for evaluate: photos that training never sees
    _, photos, labels, images = next(sampling.generate_images(args, sampler, 4))
    assert labels is None
    assert np.array_equal(photos, data.photos(args, 4))
    assert np.array_equal(images, data.denormalize(sampler.sample(photos)))
