"""Tests of the epochs and of what is written at their end."""
import csv
import errno
import io
import os
import signal
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import names
from PIL import Image

import data
import gan
import models
from models import adversarial
from models.randomness import Purpose
from training import callbacks, swap


class Counter(keras.Model):
    """A model whose loss is the number of the batch, for tests of what surrounds the training.

    The term `rare` is computed in every third batch.
    """

    def __init__(self, batch=0, names=("g_loss", "rare")):
        super().__init__()
        self.batch = adversarial.counter()
        self.batch.assign(batch)
        self.means = {name: keras.metrics.Mean(name=name) for name in names}
        self.samples = np.zeros([8, 4, 4, 3], "float32")
        self.compile(run_eagerly=True)

    @property
    def metrics(self):
        return list(self.means.values())

    def train_step(self, batch):
        number = self.batch + 1
        self.batch.assign(number)
        for name, mean in self.means.items():
            mean.update_state(number, sample_weight=name != "rare" or number % 3 == 0)
        return self.get_metrics_result()


class Recorder(callbacks.Callback):
    """Notes after which batches an epoch ends, and with which means."""

    def __init__(self, args=None, folder=None):
        super().__init__(args, folder)
        self.ends = []
        self.logs = []

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(self.batch)
        self.logs.append(dict(logs))


class SendSignal(keras.callbacks.Callback):
    """Sends a signal to this process while the third batch is trained."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def on_train_batch_begin(self, step, logs=None):
        if int(self.model.batch.numpy()) == 2:
            os.kill(os.getpid(), self.number)


def train(model, args, batches, *chosen):
    """Trains as gan.fit does. Returns the callback that ends the epochs."""
    epochs = callbacks.Epochs(args, batches)
    with epochs:
        model.fit(tf.data.Dataset.from_tensors(0.0).repeat(), steps_per_epoch=args.dump_every,
                  epochs=batches, verbose=0, callbacks=list(chosen) + [epochs])
    return epochs


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def unplotted(monkeypatch):
    """Leaves out loss.png, which takes most of the time."""
    monkeypatch.setattr(callbacks.LossLog, "_plot", lambda self: None)


# ---- epochs

@pytest.mark.parametrize("start, batches, expected", [
    (0, 6, [2, 4, 6]), (0, 5, [2, 4, 5]), (3, 6, [4, 6]), (4, 5, [5])])
def test_epochs_end_at_multiples_of_dump_every_and_at_the_last_batch(
        tiny, start, batches, expected):
    recorder = Recorder()
    train(Counter(start), tiny(dump_every=2), batches, recorder)
    assert recorder.ends == expected


@pytest.fixture
def handlers():
    """Sets the usual handlers of signals, of which nohup and background jobs ignore some."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL,
             signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield usual
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_epoch_after_the_batch_and_then_the_training(tiny, handlers, number):
    recorder = Recorder()
    epochs = train(Counter(), tiny(dump_every=100), 1000, SendSignal(number), recorder)
    assert recorder.ends == [3]
    assert recorder.logs[0]["g_loss"] == 2.0  # the mean over three batches
    assert epochs.received == number
    assert signal.getsignal(number) == handlers[number]


def test_second_signal_ends_the_process_at_once(tiny, handlers):
    epochs = callbacks.Epochs(tiny(), 4)
    with epochs:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_signal_that_is_ignored_stays_ignored(tiny, handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    assert train(Counter(), tiny(), 4, SendSignal(signal.SIGHUP)).received is None


def test_closed_terminal_ends_the_epoch_although_printing_fails(tiny, handlers, monkeypatch):
    class ClosedTerminal(io.StringIO):
        def isatty(self):
            return True

        def write(self, text):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdout", ClosedTerminal())
    monkeypatch.setattr(callbacks.Progress, "SECONDS", 0.0)
    recorder = Recorder()
    epochs = train(Counter(), tiny(dump_every=100), 1000, SendSignal(signal.SIGHUP),
                   callbacks.Progress(1000), recorder)
    print("This is lost, and raises nothing.")
    assert recorder.ends == [3] and epochs.received == signal.SIGHUP


def test_signal_to_another_machine_ends_the_training_here(tiny, monkeypatch):
    monkeypatch.setattr(callbacks.devices, "any_machine", lambda flag: True)
    recorder = Recorder()
    assert train(Counter(), tiny(dump_every=100), 1000, recorder).received == signal.SIGTERM
    assert recorder.ends == [1]


# ---- progress

def test_progress_is_a_line_an_epoch_in_a_file(tiny, capsys):
    """A term that no batch of the epoch had, such as `rare` in the first, is left out."""
    train(Counter(), tiny(dump_every=2), 6, callbacks.Progress(6))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["2/6", "4/6", "6/6"]
    assert lines[-1].split("a batch, ")[1].startswith("0:00 left")
    assert [line.split("left  ")[1] for line in lines] == [
        "g_loss 1.500", "g_loss 3.500  rare 3.000", "g_loss 5.500  rare 6.000"]


def test_progress_is_a_live_line_on_a_terminal(tiny, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(callbacks.Progress, "SECONDS", 0.0)
    train(Counter(), tiny(dump_every=2), 2, callbacks.Progress(2))
    live, last = capsys.readouterr().out.split("\r")[1:]
    assert live.startswith("1/2 ") and "g_loss 1.000" in live and "\n" not in live
    assert last.startswith("2/2 ") and last.endswith("\n")


@pytest.mark.parametrize("on_terminal, columns, expected", [
    (False, 200, 99), (True, 200, 99), (True, 80, 79), (True, 20, 19)])
def test_progress_fits_into_100_columns_and_into_the_terminal(
        tiny, capsys, monkeypatch, on_terminal, columns, expected):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
    monkeypatch.setattr(callbacks.Progress, "SECONDS", 60.0)  # no live line, however slow it is
    monkeypatch.setenv("COLUMNS", str(columns))
    names = ["d_loss_real", "d_loss_fake", "g_loss", "d_loss_class", "g_loss_class", "r1",
             "gradient_penalty", "feature_distance"]
    model = Counter(99998, names)
    train(model, tiny(), 100000, callbacks.Progress(100000))
    line = capsys.readouterr().out.strip("\r\n")
    assert line.startswith("100000/100000") and line.isascii()
    assert len(line) <= expected
    assert ("d_loss_real 99999.500" in line) == (columns > 20)


# ---- the loss log

def test_loss_log_has_the_means_of_each_epoch(here, tiny, unplotted):
    train(Counter(), tiny(dump_every=2), 5, callbacks.LossLog(tiny(), here))
    assert (here / "loss.csv").read_text().splitlines() == [
        "batch,g_loss,rare",
        "2,1.5,",     # no batch of this epoch had the term `rare`
        "4,3.5,3",    # g_loss: the mean of 3 and 4; rare: in batch 3 alone
        "5,5,"]       # the last epoch is shorter


def test_loss_log_cuts_rows_beyond_the_batch_it_resumes_from(here, tiny):
    path = here / "loss.csv"
    train(Counter(), tiny(), 4, callbacks.LossLog(tiny(), here))
    kept = path.read_text()
    path.write_text(kept + "6,0.5,0.5\n8,0.5,0.5\n")
    train(Counter(4), tiny(), 6, callbacks.LossLog(tiny(), here))
    assert path.read_text() == kept + "6,5.5,6\n"
    assert names(here) == ["loss.csv", "loss.png"]
    assert Image.open(here / "loss.png").size == (640, 400)


@pytest.mark.parametrize("text", ["batch;g_loss\n2;0.5\n", "batch,g_loss,rare\nx,0.5,1\n"])
def test_loss_log_of_other_columns_is_refused_and_kept(here, tiny, text):
    (here / "loss.csv").write_text(text)
    with pytest.raises(ValueError, match="loss.csv"):
        train(Counter(4), tiny(), 6, callbacks.LossLog(tiny(), here))
    assert (here / "loss.csv").read_text() == text


# ---- sample grids

def test_samples_are_of_the_same_z_at_every_epoch(even):
    args = even(batch_size=3)  # three parts: 3, 3 and 2 samples
    model = models.build(args)
    z = model.sample_z(8, Purpose.GRID, 0)
    callback = callbacks.GenerateSamples(args, None)
    callback.set_model(model)
    callback.on_train_begin()
    for _ in range(2):
        callback.on_epoch_end(0)
        np.testing.assert_allclose(model.samples, model.sample(z), atol=1e-6)
        model.batch.assign(7)
        model.generator_ema.set_weights([0.5 * value for value in model.generator.get_weights()])


def test_samples_of_a_translation_are_of_photos_that_training_never_sees(
        here, tiny, monkeypatch):
    photos = np.linspace(-1, 1, 8, dtype="float32").reshape([8, 1, 1, 1])
    monkeypatch.setattr(data, "photos", lambda args, count: photos[:count])
    model = Counter()
    model.update_batch_norm = lambda: None
    model.sample = lambda photos, batch: -photos
    train(model, tiny(), 2, callbacks.GenerateSamples(tiny(grid=(1, 2), photos="photos"), here))
    assert (model.samples == -photos[:2]).all()
    assert np.asarray(Image.open(here / "photos.png")).tolist() == [[0, 36]]


def test_grids_are_written_and_those_of_later_batches_are_removed(toys, tiny):
    (toys / "samples").mkdir()
    for name in ("000002.png", "000006.png", "mine.png"):
        (toys / "samples" / name).write_text("of an earlier run")
    (toys / "reals.png").write_text("of other images")
    train(Counter(2), tiny(), 4, callbacks.DumpSamples(tiny(), toys))
    assert names(toys / "samples") == ["000002.png", "000004.png", "mine.png"]
    assert (toys / "dump.png").read_bytes() == (toys / "samples/000004.png").read_bytes()
    assert Image.open(toys / "dump.png").size == (4 * 4, 2 * 4)
    assert not (toys / "augmented.png").exists()  # D sees reals.png unchanged

    reals = np.asarray(Image.open(toys / "reals.png"))
    assert reals.shape == (2 * 64, 4 * 64, 3)
    images = data.open_images(tiny())[:]
    assert (images == reals[:64, :64]).all(axis=(1, 2, 3)).sum() == 1  # one of the dataset


def test_augmented_png_has_the_real_images_as_the_discriminator_sees_them(toys, tiny):
    args = tiny(augment="color", instance_noise=0.1, instance_noise_batches=4)
    model = models.build(args)
    seen = model.view(tf.constant(data.reals(args)), Purpose.REAL_VIEW)
    data.save_grid(seen.numpy(), toys / "expected.png", 4)
    callback = callbacks.DumpSamples(args, toys)
    callback.set_model(model)
    callback.on_train_begin()
    expected = (toys / "expected.png").read_bytes()
    assert (toys / "augmented.png").read_bytes() == expected != (toys / "reals.png").read_bytes()
    model.batch.assign(2)  # a resumed run, where the noise has faded: it is of the first batch
    callback.on_train_begin()
    assert (toys / "augmented.png").read_bytes() == expected


def test_reconstructions_are_written_beside_their_originals(here, tiny, monkeypatch):
    class Autoencoder(Counter):
        def call(self, images):
            return -images

    images = np.full([8, 4, 4, 3], -1.0, "float32")
    monkeypatch.setattr(data, "reals", lambda args: images)
    train(Autoencoder(), tiny(), 2, callbacks.DumpReconstructions(tiny(), here))
    for name, value in ("originals.png", 0), ("reconstructions.png", 255):
        image = Image.open(here / name)
        assert image.size == (4 * 4, 2 * 4)
        assert np.unique(image).tolist() == [value]


def test_reconstructions_use_no_random_numbers_of_the_training(toys, tiny):
    args = tiny(g_dropout=0.5)
    model = models.build_pretraining(args)
    before = [seed.numpy().tolist() for seed in model.seeds]
    callback = callbacks.DumpReconstructions(args, toys)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0)
    assert before and before == [seed.numpy().tolist() for seed in model.seeds]
    rows, columns = args.grid
    assert Image.open(toys / "reconstructions.png").size == (64 * columns, 64 * rows)


# ---- the animation

def test_animation_is_written_once_all_batches_are_trained(here, tiny, monkeypatch):
    monkeypatch.setattr(callbacks, "ANIMATION_FRAMES", 3)
    (here / "samples").mkdir()
    for batch in (50, 100, 150, 200, 250, 1000000):  # in the order of batches, not of names
        color = (batch % 256, 0, 0)
        Image.new("RGB", (8, 8), color).save(here / f"samples/{batch:06d}.png")
    callback = callbacks.SamplesAnimation(tiny(batches=4), here)
    train(Counter(), tiny(), 2, callback)  # a run that was stopped
    assert names(here) == ["samples"]
    train(Counter(2), tiny(), 4, callback)
    animation = Image.open(here / "progress.webp")
    assert animation.n_frames == 3
    for frame, red in enumerate((50, 150, 1000000 % 256)):
        animation.seek(frame)
        found = int(np.asarray(animation.convert("RGB"))[0, 0, 0])
        assert abs(found - red) < 10  # WebP is lossy


# ---- generator.keras

@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_newest_generator_is_saved_the_averaged_one_if_any(here, even, ema_decay):
    model = models.build(even(ema_decay=ema_decay))
    callback = callbacks.SaveGenerator(model.args, here)
    callback.set_model(model)
    callback.on_epoch_end(0)
    newest = model.generator_ema or model.generator
    newest.set_weights([value + 1 for value in newest.get_weights()])
    callback.on_epoch_end(1)
    loaded = keras.models.load_model(here / "generator.keras")
    assert np.array_equal(loaded.get_weights()[0], newest.get_weights()[0])
    assert names(here) == ["generator.keras"]


# ---- TensorBoard

def test_tensorboard_gets_means_and_the_grid(here, tiny):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    train(Counter(), tiny(), 4, callbacks.TensorBoard(tiny(), here))
    events = EventAccumulator(str(here / "tensorboard"), {"tensors": 0}).Reload()
    losses = events.Tensors("g/loss")
    assert [event.step for event in losses] == [2, 4]
    assert [float(tf.make_ndarray(event.tensor_proto)) for event in losses] == [1.5, 3.5]
    width, height, png = events.Tensors("samples")[0].tensor_proto.string_val[:3]
    assert (width, height) == (b"16", b"8") and png.startswith(b"\x89PNG")


# ---- a whole run

def test_swapped_networks_are_put_back_before_anything_is_saved():
    order = [swap.SwapCheckpoints, callbacks.GenerateSamples, callbacks.StopOnNonFinite,
             callbacks.Watch, callbacks.DumpSamples, callbacks.SaveCheckpoint]
    assert gan.CALLBACKS[0] is swap.SwapCheckpoints
    assert [callback for callback in gan.CALLBACKS if callback in order] == order


def test_no_callback_makes_training_wait_for_the_losses_of_each_batch():
    """Keras passes floats to `on_train_batch_end`, for which it waits if any callback has one."""
    usual = keras.callbacks.Callback
    for callback in (*gan.CALLBACKS, *gan.PRETRAINING_CALLBACKS, callbacks.Epochs,
                     callbacks.Progress):
        assert callback.on_train_batch_end is usual.on_train_batch_end, callback
        assert callback.on_batch_end is usual.on_batch_end, callback


def test_training_fills_the_run_folder(trained):
    run = trained / "runs/toyfaces"
    assert names(run) == sorted([
        ".lock", "args.json", "dump.png", "generator.keras", "loss.csv", "loss.png",
        "progress.webp", "reals.png", "samples", "weights",
        *(["tensorboard"] if (run / "tensorboard").exists() else [])])
    assert names(run / "samples") == ["000002.png", "000004.png"]
    assert names(run / "weights") == ["000002.weights.h5", "000004.weights.h5"]
    assert list(rows_of(run / "loss.csv")[0]) == [
        "batch", "d_loss_real", "d_loss_fake", "g_loss", "d_gradient_norm", "g_gradient_norm"]
    assert [row["batch"] for row in rows_of(run / "loss.csv")] == ["2", "4"]
    for name in ("dump.png", "progress.webp"):
        assert Image.open(run / name).size == (4 * 64, 2 * 64)
    generator = keras.models.load_model(run / "generator.keras")
    norm = next(layer for layer in generator.layers if "batch_norm" in layer.name)
    assert np.abs(norm.moving_mean).max() > 0  # estimated after the epoch: it begins at 0
