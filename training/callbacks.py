"""Keras callbacks: progress, losses, health, sample grids, checkpoints, TensorBoard.

An epoch is `dump_every` batches; what is written is written at its end. No callback defines
`on_train_batch_end`: Keras would wait for the means of each batch, to pass them as `logs`. What
happens after a batch happens at the beginning of the next. Callbacks that write take
`(args, folder)`: the constants, and the folder to write to. A file appears whole or not at all, as
it is written under a temporary name and then renamed. A resumed run removes what was written about
batches after its checkpoint, as it trains these again. Neither holds for tensorboard/, or for
health.log: lines are added to it, and a resumed run may repeat some.
"""
import csv
import importlib.util
import os
import shutil
import signal
import sys
import time

import keras
import matplotlib.figure
import numpy as np
import tensorflow as tf
from PIL import Image

import data
from models import devices
from models.randomness import Purpose
from training import checkpoints, watch

ANIMATION_FRAMES = 100  # of progress.webp at most: ten seconds [guess]


def report(text, end="\n"):
    """Prints text about a training, which continues if the terminal or the pipe is closed."""
    try:
        print(text, end=end, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")


class Callback(keras.callbacks.Callback):
    """A callback that has the constants and a folder to write to."""

    def __init__(self, args, folder):
        super().__init__()
        self.args = args
        self.folder = folder

    @property
    def batch(self):
        """The number of batches trained so far."""
        return int(self.model.batch.numpy())


# ---- epochs and progress


class Epochs(keras.callbacks.Callback):
    """Ends an epoch at each multiple of `dump_every`, and the training at the last batch.

    Ctrl-C, SIGTERM and a closed terminal end the epoch after the next batch at the latest. The
    epoch is saved, and the training ends. A second signal ends the process at once. A context
    manager: signals are handled within the `with` statement.

    Args:
        args: the constants, a class of args.py.
        batches: number of batches to train in total.

    Attributes:
        received: the number of the signal, None if there was none.
    """

    def __init__(self, args, batches):
        super().__init__()
        self.args = args
        self.batches = batches
        self.received = None

    def __enter__(self):
        self.handlers = {}
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                self.handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error):
        self._restore_handlers()

    def _receive(self, number, frame):
        self.received = number
        self._restore_handlers()  # the next signal has its usual effect

    def _restore_handlers(self):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def on_train_begin(self, logs=None):
        self.batch = int(self.model.batch.numpy())

    def on_train_batch_begin(self, step, logs=None):
        self.batch += 1
        is_last = self._was_signalled() or self.batch == self.batches
        # Within an epoch, `stop_training` ends the epoch.
        self.model.stop_training = is_last or self.batch % self.args.dump_every == 0

    def on_epoch_end(self, epoch, logs=None):
        # After an epoch, it ends the training.
        self.model.stop_training = self._was_signalled() or self.batch == self.batches

    def _was_signalled(self):
        """Returns whether any machine received a signal: all must stop after the same batch."""
        was_signalled = devices.any_machine(bool(self.received))
        if was_signalled:
            self.received = self.received or signal.SIGTERM
        return was_signalled


class Progress(keras.callbacks.Callback):
    """Prints batch, losses and time left: a line per epoch, updated in place on a terminal.

    A line is plain ASCII of less than 100 columns, or less than the terminal has. Terms that do not
    fit are in loss.csv.
    """

    SECONDS = 0.5  # between updates of the live line [guess]

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_train_begin(self, logs=None):
        self.first = self.batch = int(self.model.batch.numpy())
        self.begun = self.shown = time.monotonic()
        # On several machines, a mean can only be read by all of them at once.
        self.is_live = sys.stdout.isatty() and not devices.strategy().cluster_resolver

    def on_train_batch_begin(self, step, logs=None):
        is_due = time.monotonic() - self.shown > self.SECONDS
        if self.is_live and is_due and self.batch > self.first:
            self.shown = time.monotonic()
            self._print(end="")
        self.batch += 1

    def on_epoch_end(self, epoch, logs=None):
        self._print(end="\n")

    def _print(self, end):
        columns = min(100, shutil.get_terminal_size((100, 24)).columns) - 1
        line = self._line(columns)
        if sys.stdout.isatty():
            line = f"\r{line:{columns}}"  # covers the line before
        report(line, end)

    def _line(self, columns):
        seconds = (time.monotonic() - self.begun) / (self.batch - self.first)
        minutes, rest = divmod(round(seconds * (self.batches - self.batch)), 60)
        line = (f"{self.batch}/{self.batches}  {1000 * seconds:.0f} ms a batch, "
                f"{minutes}:{rest:02d} left")[:columns]
        for name, mean in means_of(self.model).items():
            part = f"  {name} {mean:.3f}"
            if len(line) + len(part) <= columns:
                line += part
        return line


def means_of(model):
    """Returns {name: mean over the epoch so far} of the terms that were computed in it.

    A term such as R1 is computed in some batches only.
    """
    return {name: float(mean.result()) for name, mean in model.means.items()
            if mean.count.numpy() > 0}


# ---- the loss log


class LossLog(Callback):
    """Writes the means of each epoch to loss.csv, and plots them in loss.png.

    The cell of a term that was not computed in the epoch, such as R1, is empty.
    """

    def on_train_begin(self, logs=None):
        self.path = self.folder / "loss.csv"
        self.rows = []
        if self.path.exists():
            self.rows = [row for row in self._read() if int(row["batch"]) <= self.batch]
            self._write()

    def _read(self):
        with open(self.path, newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            if set(row) != {"batch", *self.model.means} or not row["batch"].isdigit():
                raise ValueError(f"{self.path} is not as this run wrote it. Restore it, or remove "
                                 "it to begin a new one.")
        return rows

    def _write(self):
        checkpoints.write_csv(self.path, ["batch", *self.model.means], self.rows)

    def on_epoch_end(self, epoch, logs=None):
        means = means_of(self.model)
        row = {"batch": str(self.batch)}
        for name in self.model.means:
            row[name] = f"{means[name]:.9g}" if name in means else ""
        self.rows.append(row)
        self._write()
        self._plot()

    def _plot(self):
        norms = [name for name in self.model.means if name.endswith("_norm")]
        losses = [name for name in self.model.means if name not in norms]
        figure = matplotlib.figure.Figure(figsize=(8, 5), dpi=80)
        panels = figure.subplots(2 if norms else 1, squeeze=False)[:, 0]
        self._plot_curves(panels[0], losses, "losses")
        zones = watch.healthy_zones(self.args)
        for line in panels[0].lines:
            if line.get_label() in zones:
                low, high = zones[line.get_label()]
                panels[0].axhspan(low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        if norms:
            self._plot_curves(panels[1], norms, "gradient norms")
            panels[1].set_yscale("log")
        panels[-1].set_xlabel("batches")
        with data.whole_file(self.folder / "loss.png") as temporary:
            figure.savefig(temporary)

    def _plot_curves(self, axes, names, title):
        for name in names:
            rows = [row for row in self.rows if row[name]]
            batches = [int(row["batch"]) for row in rows]
            values = [float(row[name]) for row in rows]
            axes.plot(batches, values, label=name, linewidth=1, marker=".", markersize=2)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right", fontsize="small")


# ---- health


def note(folder, batch, text):
    """Adds a line to health.log, and returns it."""
    line = f"Batch {batch}: {text}"
    with open(folder / "health.log", "a") as file:
        file.write(f"{line}\n")
    return line


class Diverged(FloatingPointError):
    """A loss or a weight is no longer finite. The message tells which, when, and what to try."""


class StopOnNonFinite(Callback):
    """Stops a run in which a loss or a weight is no longer finite, and notes it in health.log.

    Must come before the callbacks that save anything.

    Raises:
        Diverged: with the batch and a remedy.
    """

    def on_epoch_end(self, epoch, logs=None):
        for name, mean in logs.items():
            if not np.isfinite(mean):
                self._stop(f"{name} is {mean}")
        for weight in self.model.weights:
            if not np.isfinite(weight.numpy()).all():
                self._stop(f"{weight.path} is not finite")

    def _stop(self, reason):
        line = note(
            self.folder, self.batch, f"{reason}, so the run cannot continue. Lower both learning "
            "rates, and start from an earlier checkpoint [scratch 3; forcecore 5].")
        raise Diverged(line)


class Watch(Callback):
    """Makes the checks of watch.py, prints new failures, and notes them in health.log.

    A failure is reported once while it lasts, and does not stop the run [kmualim 9]. Must come
    after the callback that sets `model.samples`.
    """

    def on_train_begin(self, logs=None):
        self.reals = data.reals(self.args)
        self.epoch_start = self.batch
        self.rows = []     # of this process: a resumed run has none at first
        self.failing = []  # checks

    def on_epoch_end(self, epoch, logs=None):
        start, self.epoch_start = self.epoch_start, self.batch
        if start < self.args.warmup_batches:  # until then D trains alone, and may win
            return
        if self.batch < watch.FIRST_BATCH or self.batch - start < watch.SHORT_EPOCH:
            return
        self.rows.append({"batch": self.batch, **logs})
        state = watch.State(self.args, self.rows, self.model.samples, self.reals)
        failing = []
        for check in watch.checks(self.args):
            text = check.report(state)
            if text:
                failing.append(check)
                if check not in self.failing:
                    line = note(self.folder, self.batch, text)
                    report(f"\n{line}")
        self.failing = failing


# ---- sample grids


class GenerateSamples(Callback):
    """Generates the sample grid for the callbacks after it, which read it from `model.samples`.

    The z are the same in all epochs. If G translates photos, its inputs are test photos instead,
    which are written to photos.png. Samples are float32 [count, rows, columns, channels] in
    [-1, 1].
    """

    def on_train_begin(self, logs=None):
        rows, columns = self.args.grid
        if self.args.photos:
            self.z = data.photos(self.args, rows * columns)
            data.save_grid(self.z, self.folder / "photos.png", columns)
        else:
            self.z = self.model.sample_z(rows * columns, Purpose.GRID, 0)

    def on_epoch_end(self, epoch, logs=None):
        self.model.update_batch_norm()
        parts = []
        for index, start in enumerate(range(0, len(self.z), self.args.batch_size)):
            z = self.z[start:start + self.args.batch_size]
            parts.append(self.model.sample(z, index))
        self.model.samples = np.concatenate(parts)


def grids(folder):
    """Returns the paths of the sample grids of a run, the oldest first."""
    found = [path for path in folder.glob("samples/*.png") if path.stem.isdigit()]
    return sorted(found, key=lambda path: int(path.stem))


class DumpSamples(Callback):
    """Writes the sample grid as dump.png and samples/<batch>.png.

    At the start it writes reals.png and, if `augment` or `instance_noise` is on, augmented.png: the
    same images, augmented as D's images are.
    """

    def on_train_begin(self, logs=None):
        (self.folder / "samples").mkdir(exist_ok=True)
        for path in grids(self.folder):
            if int(path.stem) > self.batch:
                path.unlink()
        columns = self.args.grid[1]
        reals = data.reals(self.args)
        data.save_grid(reals, self.folder / "reals.png", columns)
        is_changed = self.args.augment or self.args.instance_noise
        if is_changed and self.batch == 0:
            augmented = self.model.view(tf.convert_to_tensor(reals), Purpose.REAL_VIEW)
            data.save_grid(augmented.numpy(), self.folder / "augmented.png", columns)

    def on_epoch_end(self, epoch, logs=None):
        path = self.folder / "samples" / f"{self.batch:06d}.png"
        data.save_grid(self.model.samples, path, self.args.grid[1])
        with data.whole_file(self.folder / "dump.png") as temporary:
            shutil.copyfile(path, temporary)


class DumpReconstructions(Callback):
    """Writes originals.png at the start, and their reconstructions as reconstructions.png."""

    def on_train_begin(self, logs=None):
        rows, self.columns = self.args.grid
        if self.args.photos:
            self.originals = data.photos(self.args, rows * self.columns)
        else:
            self.originals = data.reals(self.args)
        data.save_grid(self.originals, self.folder / "originals.png", self.columns)

    def on_epoch_end(self, epoch, logs=None):
        with keras.StatelessScope():  # dropout in G must not use the random numbers of training
            images = np.asarray(self.model(self.originals))
        data.save_grid(images, self.folder / "reconstructions.png", self.columns)


class SamplesAnimation(Callback):
    """Writes progress.webp, an animation of the sample grids, when all batches are trained."""

    def on_train_end(self, logs=None):
        if self.batch < self.args.batches:
            return
        paths = grids(self.folder)
        chosen = np.linspace(0, len(paths) - 1, min(len(paths), ANIMATION_FRAMES)).round()
        frames = [Image.open(paths[int(index)]).convert("RGB") for index in chosen]
        with data.whole_file(self.folder / "progress.webp") as temporary:
            frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=100,
                           loop=0, quality=80)


# ---- weights


class SaveCheckpoint(Callback):
    """Saves a checkpoint after each epoch, and removes those that are superseded."""

    def on_epoch_end(self, epoch, logs=None):
        checkpoints.save(self.model, self.folder, self.args)


class SaveGenerator(Callback):
    """Saves the newest generator, the averaged one if there is one, as generator.keras.

    `keras.models.load_model` opens the file without this project, but with `g_dropout` it needs
    `import models.layers` first.
    """

    def on_epoch_end(self, epoch, logs=None):
        generator = self.model.generator_ema or self.model.generator
        with data.whole_file(self.folder / "generator.keras") as temporary:
            generator.save(temporary)


# ---- TensorBoard


class TensorBoard(Callback):
    """Writes the means of each epoch and the sample grid for TensorBoard, if it is installed."""

    def on_train_begin(self, logs=None):
        self.writer = None
        if importlib.util.find_spec("tensorboard"):
            self.writer = tf.summary.create_file_writer(str(self.folder / "tensorboard"))

    def on_epoch_end(self, epoch, logs=None):
        if not self.writer:
            return
        with self.writer.as_default(step=self.batch):
            for name, value in means_of(self.model).items():
                # d/loss_real: TensorBoard groups curves by what is before the slash.
                tf.summary.scalar(name.replace("_", "/", 1), value)
            grid = data.grid(self.model.samples, self.args.grid[1])
            tf.summary.image("samples", grid[None])
        self.writer.flush()
