"""Memory: what fit does on the side, and the run folder it fills: grids, snapshots, losses, and a watch for failure.

A dump happens when `batch % dump_every == 0` and at the last batch. Pictures and snapshots appear whole or not at all;
loss.csv and health.log grow by a line.
"""
import contextlib
import csv
import json
import os
import pathlib
import shutil
import signal

import h5py
import keras
import matplotlib.figure
import numpy as np
from PIL import Image

import data
from models.adversarial import GRID

try:
    import fcntl
except ImportError:  # Windows has no flock: two runs on one name are not refused there
    fcntl = None

# What may differ when a run goes on, because it doesn't touch the mathematics.
MAY_DIFFER = {"batches", "dump_every", "keep_snapshots", "archive_every", "generate_count"}
FRAMES = 100  # of film.webp at the most: ten seconds


# ---- the run folder

def run_folder(args):
    """Returns the folder of the run, runs/<name>, as a Path.

    Raises:
        ValueError: where `name` is no name of a single folder.
    """
    if args.name in ("", ".", "..") or pathlib.Path(args.name).name != args.name:
        raise ValueError(f"`name` must be the name of a folder, which will be in runs. Received: name={args.name!r}")
    return pathlib.Path("runs") / args.name


@contextlib.contextmanager
def open_run(args, values):
    """Opens runs/<name> for one process alone, and refuses one that was begun with other constants.

    Args:
        args: the constants, a class.
        values: them as a dict, see args.constants.

    Yields:
        The folder, a Path; its args.json holds `values`.

    Raises:
        ValueError: where args.json differs, with each difference; where another process has the run open.
    """
    folder = run_folder(args)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if fcntl:  # a lock, not a file with a process id: it vanishes with the process, however that ends
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{folder} is in use by another process. Wait for it, or choose another `name`. "
                                 f"Received: name={args.name}") from None
        refuse_other_constants(folder, values)
        (folder / ".args.json").write_text(json.dumps(values, indent=1))
        os.replace(folder / ".args.json", folder / "args.json")
        for leftover in [*folder.glob("weights/.*.tmp"), *folder.glob("pretrain/weights/.*.tmp")]:
            shutil.rmtree(leftover)  # a snapshot that a kill left half written or removed
        yield folder
    finally:
        if fcntl:
            os.close(lock)


def refuse_other_constants(folder, values, may_differ=MAY_DIFFER):
    """Raises ValueError, with each difference, where the run in `folder` has snapshots made with other constants."""
    begun, values = begun_with(folder), json.loads(json.dumps(values))
    differences = [f"  {name}: {begun[name]!r} in {folder}/args.json, {values[name]!r} now" for name in values
                   if name in begun and begun[name] != values[name] and name not in may_differ]
    if differences:
        raise ValueError("\n".join([f"{folder} was begun with other constants. Set these back to go on with it, or "
                                    "choose another `name` for a new run:", *differences]))


def begun_with(folder):
    """Returns {name: value} of the constants that the run in `folder` has snapshots of; empty where it has none."""
    path = folder / "args.json"
    begun = snapshots(folder) or snapshots(folder / "pretrain")
    return json.loads(path.read_text()) if begun and path.exists() else {}


def snapshots(folder):
    """Returns the snapshot folders below `folder`/weights, oldest first."""
    return sorted((path for path in folder.glob("weights/*") if path.name.isdigit()), key=lambda path: int(path.name))


def save_snapshot(model, folder):
    """Writes `folder`/weights/<batch>: a .weights.h5 of each of the networks, and training.weights.h5 for resume."""
    target = folder / "weights" / f"{int(model.batch):06d}"
    if target.exists():
        return
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.mkdir(parents=True)
    for name, network in model.networks.items():
        network.save_weights(temporary / f"{name}.weights.h5")
    with h5py.File(temporary / "training.weights.h5", "w") as file:
        for name, variables in model.state.items():
            for index, variable in enumerate(variables):
                file[f"{name}/{index}"] = variable.numpy()
    os.replace(temporary, target)


def load_snapshot(model, snapshot):
    """Restores what save_snapshot wrote, so that training goes on as if it had never stopped."""
    for name, network in model.networks.items():
        network.load_weights(snapshot / f"{name}.weights.h5")
    with h5py.File(snapshot / "training.weights.h5", "r") as file:
        for name, variables in model.state.items():
            for index, variable in enumerate(variables):
                variable.assign(file[f"{name}/{index}"][()])


# ---- callbacks

class Dump(keras.callbacks.Callback):
    """Calls `self.dump(batch, logs)` every `dump_every` batches and at the last.

    Args:
        args: the constants, a class.
        folder: of the run, a Path; it is there.
    """

    def __init__(self, args, folder):
        super().__init__()
        self.args, self.folder = args, folder

    def on_train_begin(self, logs=None):
        self.start = self.batch = self.dumped = int(self.model.batch)

    def on_train_batch_end(self, step, logs=None):
        self.batch, self.logs = self.start + step + 1, logs
        if self.batch % self.args.dump_every == 0:
            self._dump()

    def on_train_end(self, logs=None):
        if self.batch != self.dumped:
            self._dump()

    def _dump(self):
        self.dump(self.batch, self.logs)
        self.dumped = self.batch


class LossLog(Dump):
    """Writes loss.csv, a row a dump with the losses of that batch, and draws their curves, loss.png.

    Rows beyond the batch that training starts from are cut: they belong to batches that a kill undid.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.path, self.rows = self.folder / "loss.csv", []
        if self.path.exists():
            with open(self.path, newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if None not in row.values()
                             and int(row["batch"]) <= self.start]
            self._write(self.folder / ".loss.csv", "w", self.rows)
            os.replace(self.folder / ".loss.csv", self.path)

    def _write(self, path, mode, rows):
        with open(path, mode, newline="") as file:
            writer = csv.DictWriter(file, ["batch", *self.model.losses_logged], lineterminator="\n")
            if not file.tell():
                writer.writeheader()
            writer.writerows(rows)

    def dump(self, batch, logs):
        # Nine digits: each float32 has a text of its own.
        row = {"batch": str(batch)} | {name: f"{float(logs[name]):.9g}" for name in self.model.losses_logged}
        self.rows.append(row)
        self._write(self.path, "a", [row])
        self._plot()

    def _plot(self):
        figure = matplotlib.figure.Figure(figsize=(8, 4), dpi=80)
        axes = figure.add_axes((0.08, 0.13, 0.9, 0.84))
        batches = [int(row["batch"]) for row in self.rows]
        for name in self.model.losses_logged:
            axes.plot(batches, [float(row[name]) for row in self.rows], label=name, linewidth=1)
        axes.set(xlabel="batches", ylabel="squared error" if "mse" in self.rows[0] else "nats", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(self.folder / ".loss.png", format="png")
        os.replace(self.folder / ".loss.png", self.folder / "loss.png")


class SettleAverage(Dump):
    """Gives the averaged generator its batch-norm statistics, so that it can be watched, sampled and saved."""

    def dump(self, batch, logs):
        self.model.settle()


class DumpSamples(Dump):
    """Writes a grid of samples, always of the same z: dump.png and samples/<batch>.png."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        rows, self.columns = self.args.grid
        self.z = self.model.draw(rows * self.columns, GRID, 0)
        self.samples = self.folder / "samples"
        self.samples.mkdir(exist_ok=True)
        if not (self.folder / "reals.png").exists():
            count = -(-rows * self.columns // self.args.batch_size)
            reals = [batch for _, batch in zip(range(count), data.batches(self.args))]
            data.save_grid(np.concatenate(reals)[:rows * self.columns], self.folder / "reals.png", self.columns)

    def dump(self, batch, logs):
        size = self.args.batch_size  # at a time: a grid of any size fits the memory
        images = np.concatenate([self.model.sample(self.z[i:i + size]) for i in range(0, len(self.z), size)])
        data.save_grid(images, self.samples / f"{batch:06d}.png", self.columns)
        shutil.copyfile(self.samples / f"{batch:06d}.png", self.folder / ".dump.png")
        os.replace(self.folder / ".dump.png", self.folder / "dump.png")


class DumpReconstructions(Dump):
    """Writes originals.png at the start, and reconstructions.png, the same images after encoder and generator."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        rows, self.columns = self.args.grid
        self.originals = next(data.batches(self.args))[:rows * self.columns]
        data.save_grid(self.originals, self.folder / "originals.png", self.columns)

    def dump(self, batch, logs):
        data.save_grid(self.model(self.originals), self.folder / "reconstructions.png", self.columns)


class DumpWeights(Dump):
    """Keeps snapshots: the newest `keep_snapshots`, and for good every `archive_every`-th batch's."""

    def dump(self, batch, logs):
        save_snapshot(self.model, self.folder)
        for old in snapshots(self.folder)[:-self.args.keep_snapshots]:
            if not self.args.archive_every or int(old.name) % self.args.archive_every:
                doomed = old.with_name(f".{old.name}.tmp")  # a kill in between leaves no half of a snapshot
                os.replace(old, doomed)
                shutil.rmtree(doomed)


class Film(keras.callbacks.Callback):
    """Makes film.webp of the sample grids when the run has learned all of its batches."""

    def __init__(self, args, folder):
        super().__init__()
        self.args, self.folder = args, folder

    def on_train_end(self, logs=None):
        if int(self.model.batch) < self.args.batches:
            return
        paths = sorted((self.folder / "samples").glob("*.png"), key=lambda path: int(path.stem))
        chosen = np.unique(np.linspace(0, len(paths) - 1, min(FRAMES, len(paths))).astype(int))
        frames = [Image.open(paths[index]).convert("RGB") for index in chosen]
        frames[0].save(self.folder / ".film.webp", format="webp", save_all=True, append_images=frames[1:],
                       duration=100, loop=0, quality=80)
        os.replace(self.folder / ".film.webp", self.folder / "film.webp")


class Diverged(FloatingPointError):
    """A loss or a weight is no longer a finite number; the message says which, when, and what to try."""


class FailureWatch(Dump):
    """Stops a run whose numbers are no longer finite; notes it in health.log. It stands before what dumps them.

    Raises:
        Diverged: with the batch and the remedy.
    """

    def on_train_batch_end(self, step, logs=None):
        for name, value in logs.items():
            if not np.isfinite(value):
                self._stop(self.start + step + 1, f"{name} is {float(value)}")
        super().on_train_batch_end(step, logs)

    def dump(self, batch, logs):
        for name, network in self.model.networks.items():
            if not all(np.isfinite(weight.numpy()).all() for weight in network.weights):
                self._stop(batch, f"a weight of the {name} is not finite")

    def _stop(self, batch, what):
        good = snapshots(self.folder)
        line = (f"Batch {batch}: {what}, so the run is lost. Try lower learning rates [scratch 3], "
                + (f"from weights before it diverged [forcecore 5]: name=another weights={good[-1]}" if good else
                   "in a run of another name; it had no snapshot yet"))
        with open(self.folder / "health.log", "a") as file:
            file.write(line + "\n")
        raise Diverged(line)


class StopOnSignal(keras.callbacks.Callback):
    """Within `with`, lets Ctrl-C and SIGTERM finish the batch and dump it; a second one ends the process at once.

    Attributes:
        received: the signal's number, else None.
    """
    received = None

    def __enter__(self):
        self.handlers = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.received = number
        self.__exit__()

    def on_train_batch_end(self, step, logs=None):
        if self.received:
            self.model.stop_training = True
