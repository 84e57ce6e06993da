"""Keras callbacks: the loss log, sample grids, checkpoints, TensorBoard, stopping on a signal.

Those that write files take `(args, folder)`: the constants, and the folder to write to. Images and
checkpoints appear whole or not at all, as they are written under a temporary name and then renamed.
What takes long is written by another thread, in the order of the callbacks, while training
continues: see `Dump.write`.
"""
import csv
import importlib.util
import json
import os
import shutil
import signal

import keras
import matplotlib.figure
import matplotlib.ticker
import numpy as np
import tensorflow as tf
from PIL import Image

import data
from models import devices, layers
from models.randomness import Purpose
from training import checkpoints, evaluation, watch
from training.dump import Dump

ANIMATION_FRAMES = 100  # of progress.webp at most: ten seconds [guess]
PLOTTED_ROWS = 1000     # of loss.csv at most: the plot has fewer pixels, and its time does not grow
#                         with the run


def evenly_chosen(items, count):
    """Returns `count` evenly spaced items, including the first and the last.

    If there are not more than `count`, returns all of them.
    """
    indices = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[index] for index in np.rint(indices).astype(int)]


class LossLog(Dump):
    """Writes the losses of each dump to loss.csv, and plots them in loss.png.

    When a run is resumed, rows beyond the batch that training starts from are cut: those batches
    will be trained again.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.path = self.folder / "loss.csv"
        self.rows = []
        if self.path.exists():
            self.rows = self._read_rows()
            temporary = self.folder / ".loss.csv"
            self._write_rows(temporary, "w", self.rows)
            os.replace(temporary, self.path)

    def _read_rows(self):
        """Returns the rows up to the batch that training starts from."""
        if self.start == 0:
            return []
        with open(self.path, newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        columns = ["batch", *self.model.logged]
        if rows and reader.fieldnames != columns:
            raise ValueError(f"{self.path} must have the columns {','.join(columns)}. Restore it, "
                             "or remove it to log the batches from here on. Received: "
                             f"{','.join(reader.fieldnames)}")
        kept = []
        for row in rows:
            is_complete = None not in row.values()  # a kill may have cut the last one short
            if is_complete and int(row["batch"]) <= self.start:
                kept.append(row)
        return kept

    def _write_rows(self, path, mode, rows):
        with open(path, mode, newline="") as file:
            writer = csv.DictWriter(file, ["batch", *self.model.logged], lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerows(rows)

    def dump(self, batch, logs):
        row = {"batch": str(batch)}
        for name in self.model.logged:
            row[name] = f"{float(logs[name]):.9g}"  # nine digits distinguish any two float32
        self.rows.append(row)
        self._write_rows(self.path, "a", [row])
        self.write(self._plot, evenly_chosen(self.rows, PLOTTED_ROWS))

    def _plot(self, rows):
        norms = [name for name in self.model.logged if name.endswith("_norm")]
        losses = [name for name in self.model.logged if name not in norms]
        figure = matplotlib.figure.Figure(figsize=(8, 5), dpi=80, layout="constrained")
        panels = figure.subplots(2 if norms else 1, squeeze=False)[:, 0]
        self._plot_curves(panels[0], rows, losses, "losses")
        self._shade_healthy_zones(panels[0])
        if norms:
            self._plot_curves(panels[1], rows, norms, "gradient norms")
            panels[1].set_yscale("log")
            # Ticks such as 20, where the default would be 2 x 10^1.
            minor = matplotlib.ticker.LogFormatter(minor_thresholds=(2, 0.5))
            panels[1].yaxis.set_major_formatter(matplotlib.ticker.LogFormatter())
            panels[1].yaxis.set_minor_formatter(minor)
        panels[-1].set_xlabel("batches")
        figure.savefig(self.folder / ".loss.png", format="png")
        os.replace(self.folder / ".loss.png", self.folder / "loss.png")

    def _plot_curves(self, axes, rows, names, title):
        batches = [int(row["batch"]) for row in rows]
        for name in names:
            values = [float(row[name]) for row in rows]
            axes.plot(batches, values, label=name, linewidth=1)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right", fontsize="small")

    def _shade_healthy_zones(self, axes):
        zones = watch.healthy_zones(self.args)
        for line in axes.lines:
            if line.get_label() in zones:
                low, high = zones[line.get_label()]
                axes.axhspan(low, high, color=line.get_color(), alpha=0.2, linewidth=0)


class GenerateSamples(Dump):
    """Generates the sample grid for the callbacks after it, which read it from `model.samples`.

    The z are the same at every dump; where G translates photos, the input is photos that training
    never sees, which are written to photos.png. Samples are float32 [count, rows, columns,
    channels] in [-1, 1].
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        rows, columns = self.args.grid
        if self.args.photos:
            self.z = data.photos(self.args, rows * columns)
            data.save_grid(self.z, self.folder / "photos.png", columns)
        else:
            self.z = self.model.sample_z(rows * columns, Purpose.GRID, 0)

    def dump(self, batch, logs):
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


class DumpSamples(Dump):
    """Writes the sample grid as dump.png and samples/<batch>.png.

    Grids beyond the batch that training starts from are removed, as in LossLog.

    At the start it writes reals.png and, where D sees images changed by `augment` or
    `instance_noise`, augmented.png: the same images, changed as those of the first batch are.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.columns = self.args.grid[1]
        self.samples_folder = self.folder / "samples"
        self.samples_folder.mkdir(exist_ok=True)
        for path in grids(self.folder):
            if int(path.stem) > self.start:
                path.unlink()
        reals = data.reals(self.args)
        data.save_grid(reals, self.folder / "reals.png", self.columns)
        is_changed = self.args.augment or self.args.instance_noise
        if is_changed and self.start == 0:
            augmented = self.model.view(tf.convert_to_tensor(reals), Purpose.REAL_VIEW)
            data.save_grid(augmented.numpy(), self.folder / "augmented.png", self.columns)

    def dump(self, batch, logs):
        self.write(self._write_grid, batch, self.model.samples)

    def _write_grid(self, batch, samples):
        path = self.samples_folder / f"{batch:06d}.png"
        data.save_grid(samples, path, self.columns)
        shutil.copyfile(path, self.folder / ".dump.png")
        os.replace(self.folder / ".dump.png", self.folder / "dump.png")


class DumpReconstructions(Dump):
    """Writes originals.png at the start, and their reconstructions as reconstructions.png."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        rows, self.columns = self.args.grid
        self.originals = data.pretraining_images(self.args)[:rows * self.columns]
        data.save_grid(self.originals, self.folder / "originals.png", self.columns)

    def dump(self, batch, logs):
        images = np.asarray(self.model(self.originals))
        self.write(data.save_grid, images, self.folder / "reconstructions.png", self.columns)


# ---- checkpoints

class DumpWeights(Dump):
    """Saves a checkpoint at each dump, and removes those that are superseded.

    It is written from copies, as training continues meanwhile. Scores of checkpoints beyond the
    batch that training starts from are removed, as in LossLog.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        evaluation.remove_later_scores(self.folder, self.start)
        self.copies = {}
        for name, network in self.model.networks.items():
            self.copies[name] = keras.models.clone_model(network)

    def dump(self, batch, logs):
        for name, network in self.model.networks.items():
            self.copies[name].set_weights(network.get_weights())
        state = {}
        for name, variables in self.model.state.items():
            state[name] = [variable.numpy() for variable in variables]
        target = self.folder / "weights" / f"{batch:06d}"
        self.write(self._write_checkpoint, target, state)

    def _write_checkpoint(self, target, state):
        checkpoints.save_checkpoint(target, self.copies, state)
        # A resumed run may have skipped later, corrupt checkpoints. Training will replace them.
        found = []
        for checkpoint in checkpoints.checkpoints(self.folder):
            if checkpoints.batch_of(checkpoint) <= checkpoints.batch_of(target):
                found.append(checkpoint)
        for checkpoint in checkpoints.superseded(found, self.args):
            checkpoints.remove_checkpoint(checkpoint)


class DumpGenerator(Dump):
    """Saves the newest generator, the averaged one if there is one, as generator.keras.

    `keras.models.load_model` opens the file without this project, unless it needs layers that Keras
    does not have. Nothing here reads the file.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.path = self.folder / "generator.keras"
        self.copy = layers.with_keras_layers(self.model.generator)
        if self.args.g_dropout and not self.path.exists():
            print(f"{self.path} will need this project, for AlwaysDropout: import models.layers "
                  "before keras.models.load_model.")

    def dump(self, batch, logs):
        generator = self.model.generator_ema or self.model.generator
        self.copy.set_weights(generator.get_weights())
        self.write(checkpoints.save_network, self.copy, self.path)


# ---- animation, TensorBoard

class SamplesAnimation(keras.callbacks.Callback):
    """Writes progress.webp, an animation of the sample grids, when all batches are trained.

    Must come after DumpSamples, which then has written all of them.
    """

    def __init__(self, args, folder):
        super().__init__()
        self.args = args
        self.folder = folder

    def on_train_end(self, logs=None):
        if int(self.model.batch.numpy()) < self.args.batches:
            return
        frames = []
        for path in evenly_chosen(grids(self.folder), ANIMATION_FRAMES):
            frames.append(Image.open(path).convert("RGB"))
        temporary = self.folder / ".progress.webp"
        frames[0].save(temporary, format="webp", save_all=True, append_images=frames[1:],
                       duration=100, loop=0, quality=80)
        os.replace(temporary, self.folder / "progress.webp")


class TensorBoard(Dump):
    """Writes losses, sample grid, constants and health.log for TensorBoard, where it is installed.

    Must come after GenerateSamples and the watch, whose samples and health.log it reads.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.health = ""
        self.writer = None
        if importlib.util.find_spec("tensorboard"):
            self.writer = tf.summary.create_file_writer(str(self.folder / "tensorboard"))
            with self.writer.as_default(step=self.start):
                tf.summary.text("constants", self._table_of_constants())

    def _table_of_constants(self):
        record = json.loads((self.folder / "args.json").read_text())
        lines = ["| constant | value |", "|---|---|"]
        for name, value in record["constants"].items():
            lines.append(f"| {name} | {value} |")
        return "\n".join(lines) + "\n"

    def dump(self, batch, logs):
        if not self.writer:
            return
        losses = {name: float(logs[name]) for name in self.model.logged}
        path = self.folder / "health.log"
        # Here, as the watch may add to the file before the other thread runs.
        health = path.read_text() if path.exists() else ""
        self.write(self._write_summaries, batch, losses, self.model.samples, health)

    def _write_summaries(self, batch, losses, samples, health):
        with self.writer.as_default(step=batch):
            for name, value in losses.items():
                # d/loss_real: TensorBoard groups curves by what is before the slash.
                tf.summary.scalar(name.replace("_", "/", 1), value)
            grid = data.grid(samples, self.args.grid[1])
            tf.summary.image("samples", grid[None])
            if health != self.health:
                paragraphs = health.replace("\n", "\n\n")  # in Markdown: one for each line
                tf.summary.text("health", paragraphs)
                self.health = health
        self.writer.flush()


# ---- fit

class StopOnSignal(keras.callbacks.Callback):
    """Ends training after the current batch on Ctrl-C or SIGTERM, within a `with` statement.

    That batch is dumped like the last one of a run. A second signal ends the process at once.

    Attributes:
        received: the number of the signal, None where there was none.
    """

    def __init__(self):
        super().__init__()
        self.received = None

    def __enter__(self):
        self.handlers = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            self.handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error):
        self._restore_handlers()

    def _restore_handlers(self):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _receive(self, number, frame):
        self.received = number
        self._restore_handlers()  # so that a second signal ends the process at once

    def on_train_batch_end(self, step, logs=None):
        # All machines must stop after the same batch, whichever of them was signalled.
        if devices.reduced("SUM", bool(self.received)):
            self.received = self.received or signal.SIGTERM
            self.model.stop_training = True


class ProgressBar(keras.callbacks.ProgbarLogger):
    """A progress bar that stays at the last batch of a run that is stopped.

    Keras' own jumps to the total number of batches.
    """

    def on_epoch_end(self, epoch, logs=None):
        values = list((logs or {}).items())
        self.progbar.update(self.seen, values, finalize=True)
