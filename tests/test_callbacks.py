import csv
import json
import os
import pathlib
import shutil
import signal
import threading
import time

import keras
import matplotlib.figure
import numpy as np
import pytest
import tensorflow as tf
from fake_gan import HEALTHY, FakeGAN, fit
from PIL import Image

import data
import models
from models import layers
from models.randomness import Purpose
from training import callbacks, checkpoints, evaluation


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ---- Dump

class Recorder(callbacks.Dump):
    def __init__(self, args, folder=None):
        super().__init__(args, folder)
        self.dumps = []

    def dump(self, batch, logs):
        self.dumps.append((batch, logs["g_loss"]))


@pytest.mark.parametrize("start, end, expected", [
    (0, 4, [2, 4]), (0, 5, [2, 4, 5]), (3, 6, [4, 6]), (4, 5, [5]), (4, 4, [])])
def test_dump_happens_every_few_batches_and_at_the_last(tiny, start, end, expected):
    recorder = Recorder(tiny(dump_every=2))
    fit(FakeGAN(batch=start), [recorder], end)
    assert recorder.dumps == [(batch, float(batch)) for batch in expected]  # and those logs


class Writer(callbacks.Dump):
    """Gives a call to the writing thread at each dump, which takes a while or fails."""

    def __init__(self, args, name, written, fails_at=None):
        super().__init__(args, None)
        self.name = name
        self.written = written
        self.fails_at = fails_at

    def dump(self, batch, logs):
        self.write(self._note, batch)

    def _note(self, batch):
        assert threading.current_thread() is not threading.main_thread()
        time.sleep(0.02)
        if batch == self.fails_at:
            raise OSError(f"disk full at {batch}")
        self.written.append((batch, self.name))


def test_writing_thread_keeps_the_order_of_callbacks_and_is_done_when_training_ends(tiny):
    written = []
    args = tiny(dump_every=2)
    fit(FakeGAN(), [Writer(args, "first", written), Writer(args, "second", written)], 5)
    assert written == [(batch, name) for batch in (2, 4, 5) for name in ("first", "second")]


@pytest.mark.parametrize("fails_at, learned", [(2, 4), (4, 6), (6, 7), (7, 7)])
def test_error_in_the_writing_thread_is_raised_at_the_next_dump_or_at_the_end(
        tiny, fails_at, learned):
    written = []
    model = FakeGAN()
    writers = [Writer(tiny(dump_every=2), "first", written, fails_at),
               Writer(tiny(dump_every=2), "second", written)]
    with pytest.raises(OSError, match=f"disk full at {fails_at}"):
        fit(model, writers, 7)
    assert int(model.batch.numpy()) == learned
    checkpoints.wait()
    assert (2, "second") in written  # the other calls are made


def test_files_that_are_written_slowly_are_complete_when_training_ends(toys, tiny, monkeypatch):
    save_png = data.save_png

    def save_slowly(image, path):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.05)
        save_png(image, path)

    monkeypatch.setattr(data, "save_png", save_slowly)
    args = tiny(dump_every=1, batches=3)
    fit(FakeGAN(), [callbacks.LossLog(args, toys), callbacks.DumpSamples(args, toys),
                    callbacks.SamplesAnimation(args, toys)], 3)
    assert names(toys / "samples") == ["000001.png", "000002.png", "000003.png"]
    assert (toys / "dump.png").read_bytes() == (toys / "samples/000003.png").read_bytes()
    assert {"loss.png", "progress.webp"} <= set(names(toys))


# ---- a whole run

def test_training_fills_the_run_folder(trained):
    run = trained / "runs/toyfaces"
    expected = {"args.json", "dump.png", "generator.keras", "loss.csv", "loss.png",
                "progress.webp", "reals.png", "samples", "weights"}
    assert expected <= set(names(run))
    assert [name for name in names(run) if name.startswith(".") and name != ".lock"] == []
    assert names(run / "samples") == ["000002.png", "000004.png"]
    assert names(run / "weights") == ["000002", "000004"]
    assert (run / "loss.csv").read_text().startswith(
        "batch,d_loss_real,d_loss_fake,g_loss,d_gradient_norm,g_gradient_norm\n")
    assert [row["batch"] for row in rows_of(run / "loss.csv")] == ["2", "4"]
    assert (run / "dump.png").read_bytes() == (run / "samples/000004.png").read_bytes()
    assert Image.open(run / "dump.png").size == (4 * 64, 2 * 64)
    assert Image.open(run / "progress.webp").size == (4 * 64, 2 * 64)


def test_reals_png_shows_images_of_the_dataset(trained, tiny):
    first = np.asarray(Image.open(trained / "runs/toyfaces/reals.png"))[:64, :64]
    images = data.open_images(tiny())[:]
    assert (images == first).all(axis=(1, 2, 3)).sum() == 1


# ---- LossLog

def test_loss_log_keeps_every_bit_of_a_float32(here, tiny, monkeypatch):
    monkeypatch.setattr(callbacks.LossLog, "_plot", lambda self, rows: None)  # it takes a second
    losses = np.float32([0.1, 1 / 3, 1e-8, 12345.678, 16777217])
    log = callbacks.LossLog(tiny(dump_every=1), here)
    log.set_model(FakeGAN())
    log.on_train_begin()
    for step, loss in enumerate(losses):
        log.on_train_batch_end(step, dict(HEALTHY, g_loss=loss))
    written = np.float32([row["g_loss"] for row in rows_of(here / "loss.csv")])
    assert np.array_equal(written, losses)
    assert rows_of(here / "loss.csv")[1]["g_loss"] == "0.333333343"


def test_loss_log_cuts_rows_beyond_the_batch_it_resumes_from(here, tiny):
    args = tiny(dump_every=2)
    path = here / "loss.csv"
    fit(FakeGAN(), [callbacks.LossLog(args, here)], 4)
    kept = path.read_text()
    path.write_text(kept + "6,0.5,0.5,0.5,1,1\n8,0.5,0.")  # the last row is incomplete
    fit(FakeGAN(batch=4), [callbacks.LossLog(args, here)], 6)
    assert path.read_text().startswith(kept)
    rows = rows_of(path)
    assert [row["batch"] for row in rows] == ["2", "4", "6"]
    assert rows[-1]["g_loss"] == "6"
    assert names(here) == ["loss.csv", "loss.png"]
    assert Image.open(here / "loss.png").size == (640, 400)


@pytest.mark.parametrize("text", ["batch;d_loss_real\n2;0.5\n", "batch,mse\n2,0.5\n"])
def test_loss_log_refuses_a_file_of_another_format(here, tiny, text):
    (here / "loss.csv").write_text(text)
    with pytest.raises(ValueError, match="loss.csv must have the columns batch,d_loss_real"):
        fit(FakeGAN(batch=4), [callbacks.LossLog(tiny(), here)], 6)
    assert (here / "loss.csv").read_text() == text


def test_loss_plot_of_a_long_run_shows_evenly_chosen_rows(here, tiny, monkeypatch):
    monkeypatch.setattr(callbacks, "PLOTTED_ROWS", 4)
    plotted = []
    monkeypatch.setattr(callbacks.LossLog, "_plot", lambda self, rows: plotted.append(rows))
    fit(FakeGAN(), [callbacks.LossLog(tiny(dump_every=1), here)], 10)
    batches = [[int(row["batch"]) for row in rows] for rows in plotted]
    assert batches[:4] == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]
    assert batches[6] == [1, 3, 5, 7] and batches[9] == [1, 4, 7, 10]
    assert len(rows_of(here / "loss.csv")) == 10


def test_loss_log_of_a_run_without_checkpoints_starts_again(here, tiny):
    (here / "loss.csv").write_text("batch,mse\n2,0.5\n")
    model = FakeGAN()
    model.logged = ("mse",)  # pretraining has no gradient norms
    log = callbacks.LossLog(tiny(), here)
    log.set_model(model)
    log.on_train_begin()
    log.on_train_batch_end(0, {"mse": 0.25})
    log.on_train_batch_end(1, {"mse": 0.125})
    log.on_train_end()
    assert (here / "loss.csv").read_text() == "batch,mse\n2,0.125\n"
    assert (here / "loss.png").exists()


@pytest.mark.parametrize("changes, shaded", [
    ({}, 3), ({"loss": "hinge"}, 0), ({"g_objective": "saturating"}, 2)])
def test_loss_plot_shades_the_zones_of_healthy_losses(here, tiny, changes, shaded):
    log = callbacks.LossLog(tiny(**changes), here)
    axes = matplotlib.figure.Figure().add_subplot()
    for name in ("d_loss_real", "d_loss_fake", "g_loss", "r1"):
        axes.plot([0, 1], label=name)
    log._shade_healthy_zones(axes)
    assert len(axes.patches) == shaded
    colors = [line.get_color() for line in axes.lines]
    for patch, color in zip(axes.patches, colors):
        assert patch.get_facecolor()[:3] == matplotlib.colors.to_rgb(color)


# ---- samples

class Sampler(FakeGAN):
    """Its samples tell which z they are of, and in which part of the grid."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def sample_z(self, count, purpose, batch):
        assert (purpose, batch) == (Purpose.GRID, 0)
        return np.arange(count, dtype="float32")

    def update_batch_norm(self):
        self.calls.append("update_batch_norm")

    def sample(self, z, index):
        self.calls.append(index)
        return tf.reshape(z, [-1, 1, 1, 1]) + 100.0 * index


def test_samples_are_generated_in_parts_of_a_batch_from_the_same_z(tiny):
    model = Sampler()
    fit(model, [callbacks.GenerateSamples(tiny(grid=(3, 4), batch_size=8), None)], 4)
    # Batch norm is updated first; both dumps sample 8 and then 4 images.
    assert model.calls == 2 * ["update_batch_norm", 0, 1]
    assert model.samples.shape == (12, 1, 1, 1)
    assert model.samples.ravel().tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 108, 109, 110, 111]


def test_samples_of_a_translation_are_of_photos_that_training_never_sees(
        here, tiny, monkeypatch):
    photos = np.linspace(-1, 1, 8, dtype="float32").reshape([8, 1, 1, 1])
    monkeypatch.setattr(data, "photos", lambda args, count: photos[:count])
    model = Sampler()
    fit(model, [callbacks.GenerateSamples(tiny(grid=(1, 2), photos="photos/*"), here)], 2)
    assert (model.samples == photos[:2]).all()
    assert np.asarray(Image.open(here / "photos.png")).tolist() == [[0, 36]]


def test_what_will_be_trained_again_is_removed(toys, tiny):
    (toys / "samples").mkdir()
    for name in ("000002.png", "000004.png", "mine.png"):
        (toys / "samples" / name).write_text("of an earlier run")
    evaluation.write_scores(toys, {"real": {"fd": 0.0}, "000002": {"fd": 1.0}})
    for callback in (callbacks.DumpSamples, callbacks.DumpWeights):
        log = callback(tiny(), toys)
        log.set_model(FakeGAN(batch=2))
        log.on_train_begin()
    assert names(toys / "samples") == ["000002.png", "mine.png"]
    assert list(evaluation.read_scores(toys)) == ["real", "000002"]
    log.model.batch.assign(1)
    log.on_train_begin()
    assert list(evaluation.read_scores(toys)) == ["real"]


def test_samples_are_dumped_twice_and_real_images_once(toys, tiny):
    (toys / "reals.png").write_bytes(b"of other images")
    fit(FakeGAN(), [callbacks.DumpSamples(tiny(), toys)], 4)
    assert names(toys / "samples") == ["000002.png", "000004.png"]
    assert (toys / "dump.png").read_bytes() == (toys / "samples/000004.png").read_bytes()
    assert Image.open(toys / "dump.png").size == (4 * 4, 2 * 4)
    assert Image.open(toys / "reals.png").size == (4 * 64, 2 * 64)
    assert not (toys / ".dump.png").exists()


@pytest.mark.parametrize("changes", [
    {"augment": "color,translation"},
    {"instance_noise": 0.1, "instance_noise_batches": 4},
    {"augment": "cutout", "instance_noise": 0.1},
])
def test_augmented_png_has_the_real_images_as_the_discriminator_sees_them(toys, tiny, changes):
    args = tiny(**changes)
    gan = models.build(args)
    seen = gan.view(tf.constant(data.reals(args)), Purpose.REAL_VIEW)
    data.save_grid(seen.numpy(), "expected.png", 4)
    callback = callbacks.DumpSamples(args, toys)
    callback.set_model(gan)
    callback.on_train_begin()
    augmented = (toys / "augmented.png").read_bytes()
    assert augmented == (toys / "expected.png").read_bytes() != (toys / "reals.png").read_bytes()
    gan.batch.assign(2)  # resumed: the noise has faded, but the file is of the first batch
    callback.on_train_begin()
    assert (toys / "augmented.png").read_bytes() == augmented


def test_images_that_the_discriminator_sees_unchanged_are_not_written_twice(toys, tiny):
    fit(FakeGAN(), [callbacks.DumpSamples(tiny(), toys)], 2)
    assert (toys / "reals.png").exists() and not (toys / "augmented.png").exists()


def test_reconstructions_are_dumped_beside_their_originals(here, tiny, monkeypatch):
    class Autoencoder(FakeGAN):
        def __call__(self, images):
            return -images

    images = np.full([9, 4, 4, 3], -1.0, "float32")
    monkeypatch.setattr(data, "pretraining_images", lambda args: images)
    fit(Autoencoder(), [callbacks.DumpReconstructions(tiny(grid=(2, 4)), here)], 2)
    assert np.unique(Image.open(here / "originals.png")).tolist() == [0]
    assert np.unique(Image.open(here / "reconstructions.png")).tolist() == [255]
    assert Image.open(here / "originals.png").size == (4 * 4, 2 * 4)


def write_grids(folder, batches):
    (folder / "samples").mkdir()
    for batch in batches:
        color = (batch % 256, 0, 0)
        Image.new("RGB", (8, 8), color).save(folder / f"samples/{batch:06d}.png")


def test_animation_is_written_once_all_batches_are_trained(here, tiny):
    write_grids(here, [2, 4])
    args = tiny(batches=4)
    fit(FakeGAN(), [callbacks.SamplesAnimation(args, here)], 3)  # a run that was stopped
    assert names(here) == ["samples"]
    fit(FakeGAN(batch=3), [callbacks.SamplesAnimation(args, here)], 4)
    assert names(here) == ["progress.webp", "samples"]


def test_animation_has_a_limited_number_of_frames_in_order(here, tiny, monkeypatch):
    monkeypatch.setattr(callbacks, "ANIMATION_FRAMES", 3)
    write_grids(here, [50, 100, 150, 200, 250, 1000000])  # in the order of batches, not of names
    fit(FakeGAN(), [callbacks.SamplesAnimation(tiny(batches=1), here)], 1)
    animation = Image.open(here / "progress.webp")
    assert animation.n_frames == 3
    reds = []
    for frame in range(3):
        animation.seek(frame)
        reds.append(int(np.asarray(animation.convert("RGB"))[0, 0, 0]))
    assert np.abs(np.subtract(reds, [50, 150, 1000000 % 256])).max() < 10  # WebP is lossy


# ---- DumpWeights

@pytest.mark.parametrize("ema", [False, True])
def test_checkpoint_holds_every_network_and_the_state(here, tiny, ema):
    fit(FakeGAN(ema=ema), [callbacks.DumpWeights(tiny(), here)], 2)
    expected = ["discriminator.weights.h5", "generator.weights.h5", "training.h5"]
    if ema:
        expected.append("generator_ema.weights.h5")
    assert names(here / "weights/000002") == sorted(expected)


def test_newest_checkpoints_stay_and_some_for_good(here, tiny):
    args = tiny(dump_every=1, keep_checkpoints=2, keep_every=3)
    fit(FakeGAN(), [callbacks.DumpWeights(args, here)], 8)
    assert names(here / "weights") == ["000003", "000006", "000007", "000008"]


def kept(args, batches):
    found = [pathlib.Path(f"weights/{batch:06d}") for batch in batches]
    old = checkpoints.superseded(found, args)
    return [checkpoints.batch_of(path) for path in found if path not in old]


def test_without_swaps_every_checkpoint_counts(tiny):
    args = tiny(dump_every=10, keep_checkpoints=2, keep_every=0)
    assert kept(args, [10, 20, 23]) == [20, 23]
    assert kept(args, [10, 20, 23, 30]) == [23, 30]


def test_with_swaps_checkpoints_of_stops_do_not_count(tiny):
    args = tiny(dump_every=10, keep_checkpoints=2, keep_every=0, swap_every=20)
    assert kept(args, [10, 20, 23]) == [10, 20, 23]  # the newest, from which the run resumes
    assert kept(args, [10, 20, 23, 24]) == [10, 20, 24]
    assert kept(args, [10, 20, 23, 30]) == [20, 30]
    args = tiny(dump_every=10, keep_checkpoints=2, keep_every=4, swap_every=20)
    assert kept(args, [10, 20, 24, 30, 40, 50]) == [20, 24, 40, 50]


def test_corrupt_later_checkpoints_neither_count_nor_are_removed(here, tiny):
    args = tiny(dump_every=1, keep_checkpoints=2, keep_every=0)
    fit(FakeGAN(), [callbacks.DumpWeights(args, here)], 2)
    for batch in ("000003", "000004"):
        shutil.copytree(here / "weights/000002", here / "weights" / batch)
        os.truncate(here / "weights" / batch / "generator.weights.h5", 100)
    resumed = FakeGAN()
    checkpoints.load_checkpoint(resumed, here / "weights/000002")
    fit(resumed, [callbacks.DumpWeights(args, here)], 3)
    assert names(here / "weights") == ["000002", "000003", "000004"]
    again = FakeGAN()
    checkpoints.load_checkpoint(again, here / "weights/000003")  # it has been replaced
    assert int(again.batch.numpy()) == 3


def test_checkpoint_is_of_its_batch_though_training_continues_meanwhile(here, tiny, monkeypatch):
    save = checkpoints.save_checkpoint
    batch_3_is_trained = threading.Event()

    def slowly(target, networks, state):
        assert batch_3_is_trained.wait(timeout=30)
        save(target, networks, state)

    class Signal(Recorder):
        def on_train_batch_end(self, step, logs=None):
            if step + 1 == 3:
                batch_3_is_trained.set()

    expected = FakeGAN()
    fit(expected, [], 2)
    args = tiny(dump_every=2, batches=3)
    monkeypatch.setattr(checkpoints, "save_checkpoint", slowly)
    fit(FakeGAN(), [Signal(args), callbacks.DumpWeights(args, here)], 3)
    loaded = FakeGAN()
    checkpoints.load_checkpoint(loaded, here / "weights/000002")
    for name, value in expected.values().items():
        assert np.array_equal(loaded.values()[name], value), name


@pytest.mark.parametrize("batches, learned", [(5, 4), (2, 2)])
def test_error_of_the_writing_thread_ends_training(here, tiny, batches, learned):
    """It is raised at the next dump, or at the end of training where there is none."""
    (here / "weights").write_text("a file where a folder should be")
    model = FakeGAN()
    with pytest.raises(OSError, match="weights"):
        fit(model, [callbacks.DumpWeights(tiny(dump_every=2), here)], batches)
    assert int(model.batch.numpy()) == learned


# ---- DumpGenerator

def test_newest_averaged_generator_is_in_one_file(here, tiny):
    model = FakeGAN()
    fit(model, [callbacks.DumpGenerator(tiny(), here)], 3)
    assert names(here) == ["generator.keras"]
    loaded = keras.models.load_model(here / "generator.keras")
    for one, other in zip(loaded.weights, model.networks["generator_ema"].weights, strict=True):
        assert np.array_equal(one, other)
    fit(model, [callbacks.DumpGenerator(tiny(), here)], 5)
    renewed = keras.models.load_model(here / "generator.keras")
    assert not np.array_equal(renewed.weights[0], loaded.weights[0])
    assert np.array_equal(renewed.weights[0], model.networks["generator_ema"].weights[0])


def test_generator_without_an_average_is_saved_itself(here, tiny):
    model = FakeGAN(ema=False)
    fit(model, [callbacks.DumpGenerator(tiny(), here)], 2)
    loaded = keras.models.load_model(here / "generator.keras")
    assert np.array_equal(loaded.weights[0], model.generator.weights[0])


def test_file_of_the_generator_is_replaced_only_when_the_new_one_is_whole(
        here, tiny, monkeypatch):
    def save_half(self, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    (here / "generator.keras").write_bytes(b"whole")
    monkeypatch.setattr(keras.Sequential, "save", save_half)
    with pytest.raises(OSError, match="disk full"):
        fit(FakeGAN(), [callbacks.DumpGenerator(tiny(), here)], 2)
    assert (here / "generator.keras").read_bytes() == b"whole"


def test_layers_that_need_this_project_are_printed_once_per_run(here, tiny, capsys):
    model = FakeGAN(ema=False)
    model.generator = keras.Sequential([keras.Input([2]), layers.AlwaysDropout(0.5)])
    model.g_optimizer = keras.optimizers.SGD(1.0)
    fit(model, [callbacks.DumpGenerator(tiny(g_dropout=0.5), here)], 2)
    printed = capsys.readouterr().out
    assert "AlwaysDropout" in printed and printed.count("\n") == 1
    fit(model, [callbacks.DumpGenerator(tiny(g_dropout=0.5), here)], 4)
    assert capsys.readouterr().out == ""


# ---- TensorBoard

def test_tensorboard_gets_losses_grid_constants_and_health(here, tiny):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    record = {"preset": "ToyFaces", "overrides": {}, "constants": {"batch_size": 8}}
    (here / "args.json").write_text(json.dumps(record))
    (here / "health.log").write_text("Batch 1: one line\nBatch 2: another\n")
    model = FakeGAN()
    model.samples = np.ones([8, 4, 4, 1], "float32")
    fit(model, [callbacks.TensorBoard(tiny(), here)], 4)

    events = EventAccumulator(str(here / "tensorboard"), {"tensors": 0}).Reload()

    def steps(tag):
        return [event.step for event in events.Tensors(tag)]

    def first_string(tag):
        return events.Tensors(tag)[0].tensor_proto.string_val[0].decode()

    assert steps("d/loss_real") == steps("g/gradient_norm") == steps("samples") == [2, 4]
    losses = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("g/loss")]
    assert losses == [2.0, 4.0]
    assert "| batch_size | 8 |\n" in first_string("constants")
    assert steps("health") == [2]  # and not again while it is the same
    assert first_string("health") == "Batch 1: one line\n\nBatch 2: another\n\n"
    width, height, png = events.Tensors("samples")[0].tensor_proto.string_val[:3]
    assert (width, height) == (b"16", b"8") and png.startswith(b"\x89PNG")


# ---- StopOnSignal, ProgressBar

class SendSignal(Recorder):
    """Sends a signal to this process while the second batch is trained."""
    number = signal.SIGINT

    def on_train_batch_begin(self, step, logs=None):
        if step == 1:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_training_after_the_batch_which_is_dumped(tiny, number):
    handler = signal.getsignal(number)
    recorder = SendSignal(tiny(dump_every=100))
    recorder.number = number
    model = FakeGAN()
    with callbacks.StopOnSignal() as stop:
        assert signal.getsignal(number) != handler
        fit(model, [recorder, stop], 1000)
        assert signal.getsignal(number) == handler  # a second signal ends the process at once
    assert stop.received == number
    assert recorder.dumps == [(2, 2.0)]


def test_handlers_of_signals_are_back_after_training():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with callbacks.StopOnSignal() as stop:
        fit(FakeGAN(), [stop], 3)
    assert stop.received is None
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_signal_to_another_machine_ends_training_here(monkeypatch):
    monkeypatch.setattr(callbacks.devices, "reduced", lambda how, number: number + 1)
    model = FakeGAN()
    with callbacks.StopOnSignal() as stop:
        fit(model, [stop], 1000)
    assert (int(model.batch.numpy()), stop.received) == (1, signal.SIGTERM)


def test_progress_bar_of_a_stopped_run_stays_at_its_batch(capsys):
    progress = callbacks.ProgressBar()
    progress.set_params({"verbose": 1, "epochs": 1, "steps": 100})
    progress.on_train_begin()
    progress.on_epoch_begin(0)
    for step in range(3):
        progress.on_train_batch_end(step, {"g_loss": 1.0})
    progress.on_epoch_end(0, {"g_loss": 1.0})
    printed = capsys.readouterr().out
    assert "3/100" in printed and "100/100" not in printed
