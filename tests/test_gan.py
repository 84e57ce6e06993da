"""gan.py: training and resuming, generate, evaluate, the data of a run, and the command line."""
import csv
import os
import pathlib
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time

import compare_runs
import h5py
import keras
import numpy as np
import pytest
from conftest import ROOT, TINY, arguments, tiny_preset
from PIL import Image

import args as constants
import data
import gan
import models
from models import cartoongan, features, toyfaces
from training import callbacks, checkpoints, evaluation

RUN = pathlib.Path("runs/toyfaces")


@pytest.fixture
def untrained_fit(monkeypatch):
    """Makes gan.fit leave the model as it is, so that only what surrounds it happens."""
    fitted = []

    def fit(args, model, folder, batches, callback_classes, hint=""):
        fitted.append((folder, batches))

    monkeypatch.setattr(gan, "fit", fit)
    return fitted


def save_run(args, *batches):
    """Begins a run whose checkpoints hold the initial weights, without training."""
    with checkpoints.open_run(args, gan.run_record(args)) as run:
        model = models.build(args, len(gan.class_names(args)))
        for batch in batches:
            model.batch.assign(batch)
            target = run / "weights" / f"{batch:06d}"
            checkpoints.save_checkpoint(target, model.networks, model.state)
            for weight in model.weights:
                weight.assign(weight + 0.01)  # another checkpoint, other images
    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_same_weights(one, other):
    for weight, expected in zip(one.weights, other.weights, strict=True):
        assert (weight.numpy() == expected.numpy()).all()


def image(path):
    return np.asarray(Image.open(path))


# ---- training and resuming

def test_resume_skips_a_corrupt_checkpoint_and_continues_bit_for_bit(
        trained, trained_folder, tiny, capsys):
    os.truncate(RUN / "weights/000004/training.h5", 1000)
    trained_gan = gan.train_gan(tiny())
    printed = capsys.readouterr().out
    assert "weights/000004 cannot be loaded" in printed and "batch 3 to 4" in printed
    assert int(trained_gan.batch) == 4
    whole, resumed = trained_folder / RUN, trained / RUN
    held = [compare_runs.contents(run / "weights/000004") for run in (whole, resumed)]
    assert len(held[0]) > 50 and compare_runs.differences(*held) == []
    for name in ("loss.csv", "dump.png"):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes()


def test_finished_run_is_left_as_it_is(trained, tiny, capsys):
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    assert int(gan.train_gan(tiny()).batch) == 4
    assert "already been trained on all 4 batches. To train" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before


def test_if_all_checkpoints_are_corrupt_none_is_overwritten(trained, tiny):
    for batch in ("000002", "000004"):
        os.truncate(RUN / f"weights/{batch}/generator.weights.h5", 1000)
    before = (RUN / "loss.csv").read_text()
    for verb in (gan.train_gan, gan.generate):
        with pytest.raises(ValueError, match="None of these checkpoints"):
            verb(tiny(batches=6))
    assert (RUN / "loss.csv").read_text() == before
    assert names(RUN / "weights") == ["000002", "000004"]


def test_file_that_the_user_put_into_a_checkpoint_stays(trained, tiny):
    mine = RUN / "weights/000004/mine.txt"
    mine.write_text("notes")
    gan.train_gan(tiny())
    assert mine.read_text() == "notes"


def test_run_is_resumed_with_its_own_images_only(trained, tiny):
    before = (RUN / "args.json").read_text()
    data.make(tiny(seed=1))
    with pytest.raises(ValueError, match="images.*data=toyfaces.hdf5"):
        gan.train_gan(tiny())
    assert (RUN / "args.json").read_text() == before
    data.make(tiny())  # the same, made anew
    gan.train_gan(tiny())


# ---- where training starts

def test_weights_start_a_new_run(trained, tiny, untrained_fit):
    started = gan.train_gan(tiny(name="new", weights=str(RUN / "weights/000002")))
    expected = models.build(tiny())
    checkpoints.load_networks(expected, RUN / "weights/000002")
    for name, network in started.networks.items():
        assert_same_weights(network, expected.networks[name])
    assert int(started.batch) == 0
    assert untrained_fit == [(pathlib.Path("runs/new"), 4)]


def test_run_has_checkpoints_of_its_own_to_resume_from(trained, tiny, untrained_fit):
    args = tiny(name="new", weights=str(RUN / "weights/000002"))
    gan.train_gan(args)
    shutil.copytree(RUN / "weights/000004", "runs/new/weights/000004")
    shutil.rmtree(RUN)  # the weights that it started from
    assert int(gan.train_gan(args).batch) == 4


def test_pretrained_generator_starts_the_training(toys, tiny):
    args = tiny(pretrain_batches=3, d_learning_rate=0.0, g_learning_rate=0.0, batches=1)
    gan.pretrain_gen(args)
    folder = RUN / "pretrain"
    assert {"originals.png", "reconstructions.png", "loss.csv", "generator.weights.h5"} \
        <= set(names(folder))
    assert [name for name in names(folder) if name.startswith(".")] == []
    with open(folder / "loss.csv", newline="") as file:
        assert [row["batch"] for row in csv.DictReader(file)] == ["2", "3"]
    assert Image.open(folder / "reconstructions.png").size == (4 * 64, 2 * 64)

    initial, pretrained = models.build(args), models.build(args)
    checkpoints.load_weights(pretrained.generator, folder / "generator.weights.h5")
    kernels = (initial.generator.weights[0], pretrained.generator.weights[0])
    assert (kernels[0].numpy() != kernels[1].numpy()).any()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan, "fit", lambda *arguments, **options: None)
        started = gan.train_gan(args)
    assert_same_weights(started.generator, pretrained.generator)
    assert_same_weights(started.generator_ema, pretrained.generator)
    assert int(started.batch) == 0


def test_pretraining_needs_a_number_of_batches(toys, tiny):
    with pytest.raises(ValueError, match="`pretrain_batches`"):
        gan.pretrain_gen(tiny())


def test_conditional_pretraining_has_inputs_of_all_classes(toys, tiny, untrained_fit):
    args = tiny(pretrain_batches=2, conditional=True)
    gan.pretrain_gen(args)
    model = models.build(args, classes=len(toyfaces.HAIR_COLORS))
    checkpoints.load_weights(model.generator, RUN / "pretrain/generator.weights.h5")


# ---- signals and kills

def start(*more, script="gan.py", **changes):
    """Starts python gan.py ToyFaces with tiny networks in the current folder."""
    command = [sys.executable, ROOT / script, "ToyFaces", *arguments(TINY | changes), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path, process):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.005)


class Interrupt(keras.callbacks.Callback):
    """Sends a signal to this process while batch 3 is trained."""

    def __init__(self, args, folder):
        super().__init__()

    def on_train_batch_begin(self, step, logs=None):
        if int(self.model.batch.numpy()) == 2:
            os.kill(os.getpid(), signal.SIGTERM)


def test_signal_finishes_the_batch_saves_it_and_ends_the_process(
        toys, tiny, monkeypatch, capsys):
    monkeypatch.setattr(gan, "CALLBACKS", (Interrupt, callbacks.DumpWeights))
    with pytest.raises(SystemExit) as exit:
        gan.train_gan(tiny(batches=100000, dump_every=1000))
    assert exit.value.code == 128 + signal.SIGTERM
    assert names(RUN / "weights") == ["000003"]
    assert "SIGTERM after batch 3" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_run_continues_bit_for_bit(toys, tiny):
    gan.train_gan(tiny(name="whole", batches=24, dump_every=3))
    killed = start(name="killed", batches=24, dump_every=3)
    wait_for(toys / "runs/killed/weights/000009", killed)
    killed.kill()
    killed.wait()
    assert not (toys / "runs/killed/weights/000024").exists()
    again = start("name=killed", script="gan.py", batches=24, dump_every=3)
    printed = again.communicate()[0]
    assert again.returncode == 0, printed
    whole, resumed = toys / "runs/whole", toys / "runs/killed"
    held = [compare_runs.contents(run / "weights/000024") for run in (whole, resumed)]
    assert compare_runs.differences(*held) == []
    for name in ("loss.csv", "dump.png"):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_says_how_to_resume(toys, tiny, number):
    process = start(batches=100000, dump_every=1000, keep_every=0)
    deadline = time.monotonic() + 300
    printed = ""
    while "/step" not in printed:  # the first batch is learned
        assert time.monotonic() < deadline
        printed += process.stdout.read(1)
    process.send_signal(number)
    printed += process.communicate(timeout=300)[0]
    assert process.returncode == 128 + number
    batch = re.search(rf"{number.name} after batch (\d+), .* runs/toyfaces", printed).group(1)
    assert "100000/100000" not in printed  # nor does the progress bar claim more
    assert names(RUN / "weights") == [f"{int(batch):06d}"]
    args = tiny(batches=int(batch) + 1, dump_every=1000, keep_every=0)
    assert int(gan.train_gan(args).batch) == int(batch) + 1


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_random_combination_of_constants_resumes_bit_for_bit(here, number):
    args = compare_runs.combination(number)
    data.make(args)
    assert compare_runs.differences_of_resumed(args) == []


@pytest.mark.slow
def test_same_seed_gives_the_same_losses_and_another_seed_others(toys, tiny):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        args = tiny(name=name, seed=seed, data=f"{name}.hdf5")
        data.make(args)
        gan.train_gan(args)
    one, same, other = ((toys / f"runs/{name}/loss.csv").read_text()
                        for name in ("one", "same", "other"))
    assert one == same != other


# ---- generator.keras

OPEN_WITHOUT_PROJECT = """
import importlib.util, sys
for name in ("args", "data", "gan", "models", "training"):
    assert importlib.util.find_spec(name) is None, name
{readme}
import numpy as np
np.save("by_keras.npy", generator(np.load("z.npy")))
import onnxruntime
session = onnxruntime.InferenceSession("generator.onnx")
np.save("by_onnx.npy", session.run(None, {{"z": np.load("z.npy")}})[0])
"""


def test_generator_file_is_opened_and_exported_as_in_the_readme_without_the_project(trained, tiny):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    readme = (ROOT / "README.md").read_text()
    code, = re.findall(r"```python\n(.*?load_model.*?)```", readme, re.S)
    model = models.build(tiny())
    gan.load_networks(model, RUN / "weights/000004")
    z = model.sample_z(8)
    np.save("z.npy", z)
    script = OPEN_WITHOUT_PROJECT.format(readme=code.replace("anime64", "toyfaces"))
    # -I: neither the current folder nor PYTHONPATH is searched for modules.
    finished = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=trained, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    expected = model.generator_ema(z, training=False).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(np.load("by_keras.npy"), expected, atol=1e-5)
    np.testing.assert_allclose(np.load("by_onnx.npy"), expected, atol=1e-4)
    assert image("face.png").shape == (64, 64, 3)


# ---- generate

def test_generate_writes_images_a_grid_and_an_interpolation(trained, tiny):
    folder = gan.generate(tiny(generate_count=19))  # no multiple of the batch of 8
    assert folder == RUN / "generated/000004"
    numbers = [f"{number:05d}.png" for number in range(19)]
    assert names(folder) == [*numbers, "grid.png", "interpolation.png"]
    images = [image(folder / name) for name in numbers]
    assert len({pixels.tobytes() for pixels in images}) == 19
    assert Image.open(folder / "grid.png").size == (4 * 64, 2 * 64)
    assert (image(folder / "grid.png")[:64, 64:128] == images[1]).all()
    # Each row begins with an image of its own.
    interpolation = np.int16(image(folder / "interpolation.png"))
    assert interpolation.shape == (2 * 64, 4 * 64, 3)
    assert np.abs(interpolation[:64, :64] - images[0]).max() <= 1
    assert np.abs(interpolation[64:, :64] - images[1]).max() <= 1


def test_images_do_not_depend_on_their_count(trained, tiny):
    folder = gan.generate(tiny(generate_count=10))
    first = {name: (folder / name).read_bytes() for name in names(folder)}
    shutil.rmtree(folder)
    gan.generate(tiny(generate_count=1))
    assert names(folder) == ["00000.png", "grid.png", "interpolation.png"]
    for name in ("00000.png", "interpolation.png"):
        assert (folder / name).read_bytes() == first[name]


def test_scored_images_are_those_that_generate_writes(trained, tiny):
    folder = gan.generate(tiny(generate_count=11))
    model = models.build(tiny())
    gan.load_networks(model, RUN / "weights/000004")
    batches = list(gan.generate_images(tiny(), model, 11))
    assert [len(numbers) for numbers, *_ in batches] == [8, 3]
    generated = np.concatenate([images for *_, images in batches])
    written = np.stack([image(folder / f"{number:05d}.png") for number in range(11)])
    assert np.array_equal(generated, written)


def test_generate_takes_the_weights_that_are_named(trained, tiny):
    newest = gan.generate(tiny(generate_count=1))
    older = gan.generate(tiny(generate_count=1, weights=str(RUN / "weights/000002")))
    assert (older.name, newest.name) == ("000002", "000004")
    assert (older / "00000.png").read_bytes() != (newest / "00000.png").read_bytes()
    other = gan.generate(
        tiny(name="other", generate_count=1, weights=str(RUN / "weights/000002")))
    assert other == pathlib.Path("runs/other/generated/runs-toyfaces-weights-000002")
    assert (other / "00000.png").read_bytes() == (older / "00000.png").read_bytes()


def test_generate_takes_the_checkpoint_that_is_best_or_named(untrained, capsys):
    scores = gan.evaluate(scored_preset())
    distances = {label: scores[label]["fd_colors_20"] for label in ("000002", "000004")}
    best = min(distances, key=distances.get)
    assert f"is {distances[best]:.4g}: {RUN}/weights/{best}\n" in capsys.readouterr().out
    other, = distances.keys() - {best}
    assert gan.generate(scored_preset(checkpoint="best", generate_count=1)).name == best
    assert gan.generate(scored_preset(checkpoint=other, generate_count=1)).name == other
    # The other one becomes the best.
    evaluation.write_scores(RUN, {other: {"fd_colors_20": distances[best] / 2}})
    assert gan.generate(scored_preset(checkpoint="best", generate_count=1)).name == other


def test_weights_and_a_named_checkpoint_are_not_combined(trained, tiny):
    args = tiny(weights=str(RUN / "weights/000002"), checkpoint="best")
    with pytest.raises(ValueError, match="`checkpoint` is incompatible with `weights`"):
        gan.generate(args)


@pytest.mark.parametrize("verbs", [
    ["train_gan", "generate"], ["train_gan", "generate", "evaluate"]])
def test_best_checkpoint_without_scores_is_refused_before_training(toys, tiny, called, verbs):
    with pytest.raises(FileNotFoundError, match="run evaluate first"):
        gan.main(tiny(checkpoint="best"), verbs)
    assert called == []


def test_another_seed_has_images_in_a_folder_of_their_own(trained, tiny):
    own = gan.generate(tiny(generate_count=1))
    others = gan.generate(tiny(generate_count=1, seed=1))
    assert (own.name, others.name) == ("000004", "000004-seed1")
    assert (own / "00000.png").read_bytes() != (others / "00000.png").read_bytes()


def test_generate_takes_the_newest_checkpoint_that_can_be_read(trained, tiny, capsys):
    os.truncate(RUN / "weights/000004/generator.weights.h5", 1000)
    assert gan.generate(tiny(generate_count=1)).name == "000002"
    assert "weights/000004 cannot be loaded" in capsys.readouterr().out


def test_generate_works_while_the_run_is_trained(trained, tiny):
    with checkpoints.open_run(tiny(), gan.run_record(tiny())):
        folder = gan.generate(tiny(generate_count=1))
    assert (folder / "00000.png").exists()


def test_generate_needs_neither_data_nor_training(trained, tiny):
    os.remove("toyfaces.hdf5")
    gan.main(tiny(generate_count=1), ["generate"])
    assert (RUN / "generated/000004/00000.png").exists()


def test_generate_with_other_constants_is_refused(trained, tiny):
    with pytest.raises(ValueError, match="beta_1"):
        gan.generate(tiny(beta_1=0.9))


def test_generate_without_a_checkpoint_is_refused(here, tiny):
    with pytest.raises(FileNotFoundError, match="name=toyfaces"):
        gan.generate(tiny())


def test_images_of_each_class_are_in_a_folder_of_their_own(toys, tiny):
    args = tiny(conditional=True, generate_count=10)
    save_run(args, 2)
    folder = gan.generate(args)
    assert names(folder / "red") == ["00000.png", "00008.png"]
    assert names(folder / "green") == ["00002.png"]
    gan.generate(constants.override(args, generate_class="blue", generate_count=3))
    assert {"00000.png", "00001.png", "00002.png"} <= set(names(folder / "blue"))
    with pytest.raises(ValueError, match="`generate_class`.*ginger"):
        gan.generate(constants.override(args, generate_class="ginger"))


# ---- evaluate

def scored_preset(**changes):
    """Returns a preset whose images are scored by their mean colours."""
    defaults = {"dataset_size": 120, "features": "colors.keras", "evaluate_count": 20}
    return tiny_preset(**(defaults | changes))


@pytest.fixture(scope="module")
def untrained_folder(tmp_path_factory):
    """A folder with toyfaces.hdf5, colors.keras, and a run of two checkpoints. Do not change it."""
    folder = tmp_path_factory.mktemp("untrained")
    network = keras.Sequential(
        [keras.Input([None, None, 3]), keras.layers.GlobalAveragePooling2D()])
    network.save(folder / "colors.keras")
    before = os.getcwd()
    os.chdir(folder)
    try:
        data.make(scored_preset())
        save_run(scored_preset(), 2, 4)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def untrained(untrained_folder, here, monkeypatch):
    """The current folder, with a copy of that run. Scores are not plotted, which takes long."""
    shutil.copytree(untrained_folder, here, dirs_exist_ok=True)
    monkeypatch.setattr(evaluation, "_plot_scores", lambda *arguments: None)
    return here


def test_evaluate_scores_every_checkpoint_beside_real_images(untrained, capsys):
    scores = gan.evaluate(scored_preset())
    assert list(scores) == ["real", "000002", "000004"]
    assert scores == evaluation.read_scores(RUN)
    assert "fd_colors_20" in scores["real"]
    assert scores["real"]["fd_colors_20"] < scores["000002"]["fd_colors_20"]
    assert scores["000002"] != scores["000004"]
    printed = capsys.readouterr().out
    assert "000002: fd_colors_20" in printed and "(real " in printed
    assert Image.open(RUN / "neighbours.png").size == (8 * 64, 4 * 64)  # 16 pairs, four a row


def test_scores_that_exist_stay_and_those_of_other_counts_are_added(untrained):
    shutil.rmtree(RUN / "weights/000004")
    first = gan.evaluate(scored_preset())["000002"]
    table = RUN / "scores.csv"
    table.write_text(table.read_text().replace(f"{first['fd_colors_20']:.6g}", "12.5"))
    both = gan.evaluate(scored_preset(evaluate_count=30))["000002"]
    assert both["fd_colors_20"] == 12.5
    assert (first | {"fd_colors_20": 12.5}).items() <= both.items()
    assert len(both) == 2 * len(first)
    assert gan.evaluate(scored_preset())["000002"] == both


def test_checkpoint_that_cannot_be_read_is_skipped(untrained, capsys):
    os.truncate(RUN / "weights/000004/generator.weights.h5", 1000)
    assert list(gan.evaluate(scored_preset())) == ["real", "000002"]
    assert "weights/000004 cannot be loaded" in capsys.readouterr().out
    os.truncate(RUN / "weights/000002/generator.weights.h5", 1000)
    (RUN / "scores.csv").unlink()
    with pytest.raises(ValueError, match="None of these checkpoints .*weights/000004"):
        gan.evaluate(scored_preset())


def test_run_is_scored_on_its_own_images_and_weights_on_any(untrained):
    data.make(scored_preset(seed=1))
    with pytest.raises(ValueError, match="images.*data=toyfaces.hdf5"):
        gan.evaluate(scored_preset())
    elsewhere = scored_preset(name="elsewhere", weights=str(RUN / "weights/000002"))
    assert list(gan.evaluate(elsewhere)) == ["real", "runs-toyfaces-weights-000002"]
    assert not (RUN / "scores.csv").exists()


def test_real_features_may_be_those_of_another_run(untrained, monkeypatch):
    real = evaluation.real_features(scored_preset())
    monkeypatch.setattr(evaluation, "real_features", None)
    assert list(gan.evaluate(scored_preset(), real)) == ["real", "000002", "000004"]


def test_classes_are_scored_in_their_true_shares(untrained, monkeypatch):
    args = scored_preset(name="classes", conditional=True, evaluate_count=100)
    with h5py.File("toyfaces.hdf5", "r+") as file:
        # One in ten is of class 3, all others are of class 0.
        file["labels"][:] = 3 * (np.arange(120) % 10 == 0)
        for name in file:
            file[name].attrs.pop("digest", None)
    save_run(args, 2)
    asked = []
    generate_images = gan.generate_images

    def recording(*arguments):
        for numbers, z, labels, images in generate_images(*arguments):
            asked.extend(labels[:len(numbers)])
            yield numbers, z, labels, images

    monkeypatch.setattr(gan, "generate_images", recording)
    gan.evaluate(args)
    counts = np.bincount(asked, minlength=4)
    assert counts[0] + counts[3] == 100
    assert 4 <= counts[3] <= 17


# ---- what would fail after hours is refused at once

@pytest.mark.parametrize("changes", [
    {"evaluate_count": 3}, {"evaluate_count": 500}, {"features": "no.keras"},
    {"features": "broken.keras"}, {"test_fraction": 0.0}])
def test_evaluation_that_is_impossible_is_refused_before_training(untrained, changes):
    pathlib.Path("broken.keras").write_bytes(b"no network")
    with pytest.raises((ValueError, FileNotFoundError), match=f"{next(iter(changes))}"):
        gan.main(scored_preset(name="new", **changes), ["train_gan", "evaluate"])
    assert os.listdir("runs") == ["toyfaces"]


@pytest.mark.parametrize("changes", [
    {"generate_class": "ginger", "conditional": True}, {"generate_class": "red"}])
def test_class_that_does_not_exist_is_refused_before_training(toys, tiny, changes):
    with pytest.raises(ValueError, match="`generate_class`"):
        gan.main(tiny(**changes), ["train_gan", "generate"])
    assert not os.path.exists("runs")


def test_labels_that_are_missing_are_refused_before_training(here, tiny):
    with h5py.File("none.hdf5", "w") as file:
        file["faces"] = np.zeros((32, 64, 64, 3), "uint8")
    with pytest.raises(ValueError, match="`conditional`.*data=none.hdf5"):
        gan.main(tiny(conditional=True, data="none.hdf5"))
    assert not os.path.exists("runs")


def test_photos_that_are_missing_are_refused_before_training(sketch):
    args = constants.override(sketch, generate_from="none/*")
    with pytest.raises(FileNotFoundError, match="`generate_from`"):
        gan.main(args, ["train_gan", "generate"])
    assert not os.path.exists("runs")


def test_invalid_constants_are_refused_before_anything_is_made(here, tiny):
    with pytest.raises(ValueError, match="`spectral_norm`"):
        gan.main(tiny(spectral_norm=True))
    assert os.listdir() == []


def test_warnings_are_printed(here, tiny, capsys, monkeypatch):
    monkeypatch.setattr(gan, "train_gan", lambda args: None)
    gan.main(tiny(r1_weight=10.0))
    assert "r1_weight" in capsys.readouterr().out


# ---- the data of a run

def test_without_any_images_toy_faces_are_trained_on(here, capsys):
    args, _ = constants.parse(["batches=7", "batch_size=64"])
    chosen = gan.choose_data(args)
    assert constants.preset_name(chosen) == "ToyFaces"
    assert (chosen.name, chosen.data) == ("toyfaces", "toyfaces.hdf5")
    assert (chosen.batches, chosen.batch_size) == (7, 64)  # as they were set, as Args has it
    printed = capsys.readouterr().out
    assert "toy faces" in printed and "python data.py images=" in printed
    assert printed.count("\n") == 1


def test_another_preset_keeps_its_constants_on_toy_faces(here):
    args, _ = constants.parse(["KerasExample", "seed=3"])
    chosen = gan.choose_data(args)
    assert constants.preset_name(chosen) == "KerasExample"
    assert (chosen.network, chosen.seed) == ("keras_example", 3)
    assert (chosen.images, chosen.data) == ("toyfaces", "toyfaces.hdf5")


@pytest.mark.parametrize("argument", ["images=mine/*.jpg", "data=mine.hdf5"])
def test_images_that_were_named_are_not_replaced_by_toy_faces(here, argument):
    args, _ = constants.parse([argument])
    assert gan.choose_data(args) is args
    with pytest.raises(FileNotFoundError, match="`images`"):
        gan.main(args)
    assert os.listdir() == []


def test_images_that_exist_are_not_replaced_by_toy_faces(here):
    folder = pathlib.Path("animeface-character-dataset/thumb/a")
    folder.mkdir(parents=True)
    (folder / "face.png").touch()
    assert gan.choose_data(constants.Args) is constants.Args


def test_embedded_dataset_is_made_anew_if_another_is_asked_for(here, tiny):
    for changes in ({}, {"dataset_size": 40}, {"dataset_size": 40, "seed": 1}):
        args = constants.override(constants.ToyFaces, **({"dataset_size": 32} | changes))
        gan.prepare_data(args)
        made = os.stat("toyfaces.hdf5").st_ino
        origin = data.attributes(args)
        assert (origin["dataset_size"], origin["seed"]) == (args.dataset_size, args.seed)
        gan.prepare_data(args)
        assert os.stat("toyfaces.hdf5").st_ino == made  # it was left as it is


def test_embedded_dataset_that_is_made_is_announced(here, tiny, capsys):
    gan.prepare_data(tiny())
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "There is no toyfaces.hdf5: making it of toyfaces."
    args = constants.override(constants.Cartoon64, dataset_size=16, image_shape=(32, 32, 3))
    gan.prepare_data(args)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("There is no cartoon64.hdf5: making it of toyscenes. ")
    # The command that it recommends is one.
    _, command = first.split("gan.py ")
    own, verbs = constants.parse(shlex.split(command))
    assert (own.images, own.photos) == ("my-cartoons/*", "my-photos/*") and not verbs
    assert constants.preset_name(own) == "CartoonPhotos"
    assert own.data != args.data and own.name != args.name
    gan.prepare_data(args)
    assert "There is no" not in capsys.readouterr().out


def test_data_that_was_named_is_used_as_it_is(here, tiny, capsys):
    gan.prepare_data(tiny())
    made = os.stat("toyfaces.hdf5").st_ino
    gan.prepare_data(constants.override(constants.Args, data="toyfaces.hdf5"))
    gan.prepare_data(tiny(data="toyfaces.hdf5", dataset_size=50))
    assert os.stat("toyfaces.hdf5").st_ino == made
    assert "toyfaces.hdf5, made from toyfaces" in capsys.readouterr().out


def test_data_of_other_images_is_neither_used_nor_overwritten(here):
    os.mkdir("mine")
    Image.new("RGB", (64, 64)).save("mine/face.png")
    data.make(constants.override(constants.Args, images="mine/*"))
    before = pathlib.Path("data.hdf5").read_bytes()
    for changes in ({"images": "toyfaces"}, {"images": "theirs/*"}, {"photos": "photos/*"}):
        with pytest.raises(ValueError, match="`data`.*made from mine/"):
            gan.prepare_data(constants.override(constants.Args, **changes))
    assert pathlib.Path("data.hdf5").read_bytes() == before
    gan.prepare_data(constants.Args)


def test_another_crop_than_that_of_data_is_reported(here, capsys):
    os.mkdir("mine")
    Image.new("RGB", (64, 64)).save("mine/face.png")
    data.make(constants.override(constants.Args, images="mine/*"))
    gan.prepare_data(constants.Args)
    assert "crop" not in capsys.readouterr().out
    gan.prepare_data(constants.override(constants.Args, crop="squash"))
    assert "was made with crop=center" in capsys.readouterr().out


def test_data_of_unknown_images_is_not_overwritten(here, tiny):
    with h5py.File("toyfaces.hdf5", "w") as file:
        file["faces"] = np.zeros((32, 64, 64, 3), "uint8")
    args = constants.override(constants.ToyFaces, dataset_size=32)
    with pytest.raises(ValueError, match="`data`.*unknown"):
        gan.prepare_data(args)


# ---- what a run remembers

def resumed(*command_line):
    args, _ = constants.parse(command_line)
    return gan.resume_constants(args)


def test_run_is_resumed_with_the_preset_and_overrides_it_was_begun_with(toys, tiny, capsys):
    save_run(tiny(name="soft", real_labels=(0.7, 1.2)), 2)
    args = resumed("name=soft", "batches=9")
    assert constants.preset_name(args) == "ToyFaces"
    assert (args.name, args.batches) == ("soft", 9)
    assert args.real_labels == (0.7, 1.2) and args.generator_filters == (8, 8)
    printed = capsys.readouterr().out
    assert printed.startswith("runs/soft: ") and "begun with: ToyFaces " in printed
    assert "real_labels=(0.7, 1.2)" in printed and printed.count("\n") == 1


def test_nothing_is_said_of_a_run_that_is_resumed_by_the_same_command(toys, tiny, capsys):
    args = tiny(name="soft")
    save_run(args, 2)
    assert constants.constants(gan.resume_constants(args)) == constants.constants(args)
    assert capsys.readouterr().out == ""


def test_constants_given_on_top_are_compared_with_those_of_the_run(toys, tiny):
    save_run(tiny(name="soft"), 2)
    for argument in ("beta_1=0.9", "real_labels=(0.7, 1.2)", "latent=uniform"):
        name = argument.partition("=")[0]
        with pytest.raises(ValueError, match=f"  {name}: "):
            gan.main(resumed("name=soft", argument))


def test_another_preset_is_compared_with_that_of_the_run(toys, tiny):
    save_run(tiny(name="soft"), 2)
    args, _ = constants.parse(
        ["KerasExample", "name=soft", "batch_size=8", "data=toyfaces.hdf5"])
    assert gan.resume_constants(args) is args
    with pytest.raises(ValueError, match="  network: 'dcgan' in"):
        gan.main(args)


def test_preset_that_is_gone_is_named(toys, tiny):
    run = save_run(tiny(name="soft"), 2)
    record = (run / "args.json").read_text()
    (run / "args.json").write_text(record.replace('"preset": "ToyFaces"', '"preset": "Mine"'))
    with pytest.raises(ValueError, match="preset.*Received: Mine"):
        resumed("name=soft")


def test_run_without_checkpoints_remembers_nothing(toys, tiny):
    with checkpoints.open_run(tiny(name="soft"), gan.run_record(tiny())):
        pass
    args, _ = constants.parse(["name=soft"])
    assert gan.resume_constants(args) is args


def test_toy_faces_are_resumed_by_the_same_command_without_arguments(toys, tiny, untrained_fit):
    save_run(tiny(), 2)
    gan.main(*constants.parse(["batches=9"]))
    assert untrained_fit == [(RUN, 9)]
    # It is the run of the preset ToyFaces, with the overrides it was begun with.
    constants_of_run = checkpoints.read_record(RUN)["constants"]
    assert (constants_of_run["batches"], constants_of_run["batch_size"]) == (9, 8)


def test_run_on_real_images_is_not_resumed_on_toy_faces(toys, tiny):
    """Its data is missing, and it has no images at their default place."""
    args = constants.override(constants.Args, name="real", **(TINY | {"data": "toyfaces.hdf5"}))
    save_run(args, 2)
    os.rename("toyfaces.hdf5", "elsewhere.hdf5")
    with pytest.raises(FileNotFoundError, match="`images`"):
        gan.main(*constants.parse(["name=real"]))


# ---- verbs

@pytest.fixture
def called(monkeypatch):
    """The names of the verbs that main calls, none of which does anything."""
    names = []

    def record(name):
        monkeypatch.setattr(gan, name, lambda args: names.append(name))

    for name in constants.VERBS:
        record(name)
    return names


@pytest.mark.parametrize("verbs, pretrain_batches, expected", [
    ([], 0, ["train_gan"]),
    ([], 5, ["pretrain_gen", "train_gan"]),
    (["train_gan"], 5, ["train_gan"]),
    (["generate"], 0, ["generate"]),
    (["generate", "train_gan"], 0, ["generate", "train_gan"]),
    (["pretrain_gen", "train_gan", "generate"], 5, ["pretrain_gen", "train_gan", "generate"]),
])
def test_verbs_run_in_the_order_given(toys, tiny, called, verbs, pretrain_batches, expected):
    gan.main(tiny(pretrain_batches=pretrain_batches), verbs)
    assert called == expected


def test_only_training_and_evaluation_make_the_data(here, tiny, called, monkeypatch):
    gan.main(tiny(), ["generate"])
    assert os.listdir() == []
    monkeypatch.setattr(evaluation, "check_scores", lambda args: None)
    gan.main(tiny(), ["evaluate"])
    assert os.listdir() == ["toyfaces.hdf5"]


def test_the_chief_alone_generates_and_evaluates(toys, tiny, called, monkeypatch):
    monkeypatch.setattr(gan.devices, "machine", lambda: 1)
    gan.main(tiny(), ["train_gan", "generate"])
    assert called == ["train_gan"]


@pytest.mark.slow
def test_mistake_is_one_line_and_exit_status_1(here):
    process = start("bathces=5")
    printed = process.communicate()[0].splitlines()[-1]
    assert process.returncode == 1
    assert printed.startswith("gan.py: `bathces`")


# ---- other images and networks

def readme_sizes():
    """Returns the constants of each row of the README's table of sizes, as arguments."""
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\|.*`(\"image_shape=.*)` \|$", readme, re.M)
    return [shlex.split(row) for row in rows]


@pytest.mark.parametrize("arguments", readme_sizes(), ids=lambda arguments: arguments[0])
def test_sizes_of_the_readme_are_trained(here, arguments):
    os.mkdir("my-faces")
    for index, pixels in enumerate(toyfaces.sample(16, 0)[0]):
        Image.fromarray(pixels).save(f"my-faces/{index}.jpg")
    args, _ = constants.parse(
        ["images=my-faces/*.jpg", "name=other", "data=other.hdf5", *arguments])
    # Each of them fits: G begins with 4x4 pixels, and D ends there.
    rows, columns, channels = args.image_shape
    assert rows == columns == 4 * 2 ** len(args.generator_filters)
    assert rows == 4 * 2 ** len(args.discriminator_filters)
    narrow = constants.override(
        args, generator_filters=(4,) * len(args.generator_filters),
        discriminator_filters=(4,) * len(args.discriminator_filters),
        generator_extra_filters=(4,), r1_weight=0.0, batch_size=4, batches=2, dump_every=2,
        grid=(2, 3))
    gan.main(narrow)
    run = here / "runs/other"
    assert names(run / "weights") == ["000002"]
    with Image.open(run / "dump.png") as grid:
        assert grid.size == (3 * columns, 2 * rows)
        assert grid.mode == ("L" if channels == 1 else "RGB")
    generator = keras.models.load_model(run / "generator.keras")
    assert generator.output_shape == (None, *args.image_shape)


def test_readme_shows_color_images_of_two_other_sizes_and_gray_ones():
    shapes = {arguments[0] for arguments in readme_sizes()}
    assert shapes == {
        "image_shape=(32,32,3)", "image_shape=(128,128,3)", "image_shape=(64,64,1)"}


@pytest.mark.slow
def test_digits_are_trained_generated_and_scored(here, monkeypatch):
    train_classifier = features.train_classifier

    def train_briefly(images, labels, sizes):
        return train_classifier(images, labels, sizes, batches=10)

    monkeypatch.setattr(features, "train_classifier", train_briefly)
    random = np.random.default_rng(0)
    os.mkdir("mnist")
    pathlib.Path("mnist/train-images-idx3-ubyte").write_bytes(
        struct.pack(">4I", 0x803, 200, 28, 28)
        + random.integers(0, 256, 200 * 784, "uint8").tobytes())
    pathlib.Path("mnist/train-labels-idx1-ubyte").write_bytes(
        struct.pack(">2I", 0x801, 200) + (np.arange(200, dtype="uint8") % 10).tobytes())
    args = constants.override(
        constants.Mnist28, generator_filters=(8, 8), discriminator_filters=(8, 8), batch_size=8,
        dump_every=2, batches=4, generate_count=3, evaluate_count=20)
    gan.main(args, ["train_gan", "generate", "evaluate"])
    run = here / "runs/mnist28"
    assert image(run / "generated/000004/2/00002.png").shape == (28, 28)
    scores = evaluation.read_scores(run)["000004"]
    assert {"kl_classifier_20", "modes_classifier_20"} <= scores.keys()


@pytest.fixture
def sketch(here, monkeypatch):
    """A tiny CartoonGAN with 24 cartoons and photos, and a content network of one convolution."""
    monkeypatch.setattr(cartoongan, "U_NET_BLOCKS", 2)  # of four: most of the time is their graph
    keras.utils.set_random_seed(0)
    images, _ = toyfaces.sample(48, 0)
    for index, pixels in enumerate(images):
        folder = here / ("cartoons" if index % 2 else "photos")
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    keras.Sequential([
        keras.Input([None, None, 3]), keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, name="first")]).save("net.keras")
    return constants.override(
        constants.Cartoon64, images="cartoons/*", photos="photos/*", image_shape=(16, 16, 3),
        generator_filters=(4, 8, 8),
        discriminator_filters=(4, 4), content_weight=1.0, content_features="net.keras:first",
        pretrain_batches=4, batches=4, dump_every=2, batch_size=4, grid=(2, 2))


def test_photos_of_any_size_are_translated(sketch, here):
    (here / "mine").mkdir()
    sizes = np.random.default_rng(0).integers(1, 100, [100, 2]).tolist()
    for number, size in enumerate(sizes):
        Image.new("RGB", size, "red").save(f"mine/{number:03d}.jpg")
    data.make(sketch)
    save_run(sketch, 2)
    args = constants.override(sketch, generate_count=100, generate_from="mine/*.jpg")
    folder = gan.generate(args)
    assert folder == pathlib.Path("runs/cartoon64/generated/000002")
    for number, (columns, rows) in enumerate(sizes):
        assert Image.open(folder / f"{number:03d}.png").size == (columns, rows)


def test_scored_images_of_a_translation_are_of_test_photos(sketch):
    data.make(sketch)
    save_run(sketch, 2)
    model = models.build(sketch)
    _, z, labels, images = next(gan.generate_images(sketch, model, 4))
    assert labels is None
    assert np.array_equal(z, data.photos(sketch, 4))
    assert np.array_equal(images, data.denormalize(model.sample(z)))


@pytest.mark.slow
def test_cartoons_are_trained_generated_and_scored(sketch, here):
    Image.new("RGB", (33, 21), "red").save("mine.jpg")
    args = constants.override(
        sketch, generate_count=5, generate_from="mine.jpg", features="net.keras",
        evaluate_count=10, test_fraction=0.5)
    gan.main(args, constants.VERBS)
    run = here / "runs/cartoon64"
    assert Image.open(run / "pretrain/reconstructions.png").size == (32, 32)
    assert Image.open(run / "dump.png").size == (32, 32)
    with open(run / "loss.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["batch"] for row in rows] == ["2", "4"]
    assert float(rows[1]["content_distance"]) > 0
    assert Image.open(run / "generated/000004/mine.png").size == (33, 21)
    assert "fd_net_10" in evaluation.read_scores(run)["000004"]


@pytest.mark.slow
def test_toy_scenes_are_translated_and_compared_with_the_truth(here, monkeypatch, capsys):
    """The preset needs nothing but itself: no images, and no download."""
    monkeypatch.setattr(cartoongan, "U_NET_BLOCKS", 1)
    args = constants.override(
        constants.Cartoon64, image_shape=(32, 32, 3), generator_filters=(4, 8),
        discriminator_filters=(4, 4), dataset_size=60, batch_size=4, batches=2, dump_every=2,
        grid=(2, 2), evaluate_count=12)
    gan.main(args, ["train_gan", "evaluate"])
    scores = evaluation.read_scores(pathlib.Path("runs/cartoon64"))
    assert set(scores["photos"]) == {"error_truth_12", "edge_correlation_12"}
    assert set(scores["photos"]) < set(scores["000002"])
    # After two batches G still returns the photos, as it began with them.
    for name, value in scores["photos"].items():
        assert scores["000002"][name] == pytest.approx(value, rel=0.05)
    assert "error_truth_12" in capsys.readouterr().out


@pytest.mark.slow
def test_cartoon_run_resumes_bit_for_bit(sketch):
    data.make(sketch)
    # The uninterrupted run pretrains, so it builds more networks than the one that resumes.
    args = constants.override(sketch, pretrain_batches=2, color_weight=1.0)
    assert compare_runs.differences_of_resumed(args) == []
