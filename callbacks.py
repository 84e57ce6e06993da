"""Memory: what fit does on the side, and the run folder it fills: grids, snapshots, losses, and a watch for failure.

A dump happens when `batch % dump_every == 0` and at the last batch. Pictures and snapshots appear whole or not at all;
loss.csv and health.log grow by a line.
"""
import collections
import concurrent.futures
import contextlib
import csv
import errno
import hashlib
import importlib.util
import itertools
import json
import os
import pathlib
import re
import shutil
import signal

import h5py
import keras
import matplotlib.figure
import matplotlib.ticker
import numpy as np
import tensorflow as tf
from PIL import Image

import data
from models import devices, losses, metrics
from models.adversarial import GRID

# What may differ when a run goes on, because it doesn't touch the mathematics.
MAY_DIFFER = {"batches", "dump_every", "keep_snapshots", "archive_every", "generate_count", "generate_class",
              "generate_from", "evaluate_count", "features"}
# What the images that a snapshot draws depend on, beside its weights.
DRAWN_WITH = ("network", "latent", "image_shape", "upsampling", "g_leaky_slope", "bn_epsilon", "g_dropout",
              "conditional")
FRAMES = 100  # of film.webp at the most: ten seconds
SUMS = "SHA256SUMS"  # of a snapshot's files, as the command sha256sum writes and checks them
LAST = "training.weights.h5"  # of its lines, sorted: without it, the end is missing
WRITER = concurrent.futures.ThreadPoolExecutor(1)  # of snapshots, one after the other


# ---- the run folder

def run_folder(args):
    """Returns the folder of the run, runs/<name>, as a Path.

    Raises:
        ValueError: where `name` is no name of a single folder.
    """
    if not data.is_folder_name(args.name):
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
        ValueError: where args.json is missing or differs, with each difference; where another process has the run
            open, with its number.
        FileNotFoundError: where `weights` names no folder.
    """
    folder = run_folder(args)
    if args.weights and not snapshots(folder) and not os.path.isdir(args.weights):  # later they may go
        raise FileNotFoundError("`weights` must be a snapshot folder to start from, such as "
                                f"runs/toyfaces/weights/000500. Received: weights={args.weights}")
    if devices.machine():
        with _shadow(folder, values) as shadow:
            yield shadow
        return
    folder.mkdir(parents=True, exist_ok=True)
    with data.locked(folder / ".lock", f"{folder} is in use by process {{}}. Wait for it, or choose another `name`. "
                                       f"Received: name={args.name}"):
        if (snapshots(folder) or snapshots(folder / "pretrain")) and not (folder / "args.json").exists():
            raise ValueError(f"{folder} has snapshots, but no args.json that says what they were trained with. Put it "
                             "back, or start a new run from one of them: choose another `name`, and set `weights`. "
                             f"Received: name={args.name}")
        refuse_other_constants(folder, values)
        (folder / ".args.json").write_text(json.dumps(values, indent=1))
        os.replace(folder / ".args.json", folder / "args.json")
        for leftover in [*folder.glob("weights/.*.tmp"), *folder.glob("pretrain/weights/.*.tmp")]:
            shutil.rmtree(leftover)  # a snapshot that a kill left half written or removed
        try:
            yield folder
        finally:
            wait_for_snapshots()  # while the run is ours


@contextlib.contextmanager
def _shadow(folder, values):
    """Opens the run on a machine that isn't the chief: a hidden folder with the run's snapshots, which goes in the end.

    All machines do the same, as reading what they share needs them all; but only what the chief writes stays.
    """
    refuse_other_constants(folder, values)
    shadow = folder.with_name(f".{folder.name}.{devices.machine()}")
    shutil.rmtree(shadow, ignore_errors=True)
    shadow.mkdir(parents=True)
    try:
        for part in ("weights", "pretrain"):
            if (folder / part).exists():
                shutil.copytree(folder / part, shadow / part, ignore=shutil.ignore_patterns(".*"))
        (shadow / "args.json").write_text(json.dumps(values))
        yield shadow
    finally:
        wait_for_snapshots()  # one may still be written into it
        shutil.rmtree(shadow)


def refuse_other_constants(folder, values, may_differ=MAY_DIFFER):
    """Raises ValueError, with each difference, where the run in `folder` has snapshots made with other constants."""
    begun, values = begun_with(folder), json.loads(json.dumps(values))
    if values.get("swap_every"):
        may_differ = may_differ - {"dump_every", "keep_snapshots", "archive_every"}  # swaps take what these kept
    if "fingerprint" in begun and "fingerprint" in values and begun["fingerprint"] != values["fingerprint"]:
        raise ValueError(f"{folder} was begun with other images than `data` holds now. Put these back to go on with "
                         f"it, or choose another `name` for a new run. Received: data={values['data']}")
    differences = [f"  {name}: {begun[name]!r} in {folder}/args.json, {values[name]!r} now" for name in values
                   if name in begun and begun[name] != values[name]
                   and name not in may_differ and not name.startswith("watch_")]
    if differences:
        raise ValueError("\n".join([f"{folder} was begun with other constants. Set these back to go on with it, or "
                                    "choose another `name` for a new run:", *differences]))


def begun_with(folder):
    """Returns {name: value} of the constants that the run in `folder` has snapshots of; empty where it has none."""
    path = folder / "args.json"
    begun = snapshots(folder) or snapshots(folder / "pretrain")
    if not begun or not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} must hold the constants that the run was begun with, as JSON. Mend it, or start a "
                         "new run from one of the snapshots: choose another `name`, and set `weights`. "
                         f"Received: {error}") from None


def snapshots(folder):
    """Returns the snapshot folders below `folder`/weights, oldest first."""
    return sorted((path for path in folder.glob("weights/*") if path.name.isdigit()), key=lambda path: int(path.name))


def damaged(snapshot):
    """Returns the name of a file of a snapshot folder that isn't as it was written, else None; one without SHA256SUMS,
    of an older version or of other people, passes, and so do files that it doesn't name.
    """
    if not (snapshot / SUMS).exists():
        return None
    lines = (snapshot / SUMS).read_text(errors="replace").splitlines()
    noted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if LAST not in noted:
        return SUMS
    return next((name for name, digest in noted.items()
                 if not (snapshot / name).is_file() or digest != _digest(snapshot / name)), None)


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def undamaged(folder):
    """Yields the snapshots below `folder`/weights that are as they were written, newest first; names those that aren't.

    Raises:
        ValueError: where all are damaged.
    """
    found, good = snapshots(folder), 0
    for snapshot in reversed(found):
        if name := damaged(snapshot):
            print(f"{snapshot / name} is damaged, so this snapshot is left out")
            continue
        good += 1
        yield snapshot
    if found and not good:
        raise ValueError(f"All snapshots in {folder} are damaged. Put one back, or choose another `name` for a new run")


def newest(folder):
    """Returns the newest of the `undamaged` snapshots, None where there is none at all."""
    return next(undamaged(folder), None)


def snapshots_of(args, values, count=None):
    """Returns the run's snapshot folders, oldest first; where nothing is to be trained and `weights` is set, that one.

    Args:
        values: the constants as a dict, see args.constants.
        count: of the newest, None = all.

    Raises:
        FileNotFoundError, ValueError: where there is none, or the run was begun with other constants.
    """
    run = run_folder(args)
    refuse_other_constants(run, values, MAY_DIFFER | {"weights", "seed", "grid", "jit_compile"})
    found = [args.weights] if args.weights and not args.batches else [*itertools.islice(undamaged(run), count)][::-1]
    for snapshot in found[:1]:  # another run's weights must be drawn from as that run does
        begun = pathlib.Path(snapshot).resolve().parent.parent
        refuse_other_constants(begun, {name: values[name] for name in DRAWN_WITH})
    if not found:
        raise FileNotFoundError(f"{run} has no snapshot to draw from. Train first, or name a snapshot folder in "
                                f"`weights`. Received: name={args.name}, weights={args.weights!r}")
    return [pathlib.Path(snapshot).resolve() for snapshot in found]


def classes_of(args, snapshot):
    """Returns the names of the classes that a snapshot's run was trained with; none where it isn't `conditional`."""
    classes = begun_with(snapshot.parent.parent).get("classes", []) if args.conditional else []
    if args.conditional and not classes:
        raise ValueError(f"The names of the classes that {snapshot} was trained with must stand in the args.json two "
                         f"folders above. Received: conditional={args.conditional}, and no such file or names")
    _check_class(args, classes, snapshot)
    return classes


def _check_class(args, classes, origin):
    if args.generate_class not in ("", *classes):
        raise ValueError(f"`generate_class` must be one of the classes of {origin}, or empty: "
                         f"{', '.join(classes) or 'none'}. Received: generate_class={args.generate_class!r}, "
                         f"conditional={args.conditional}")


def label_of(args, snapshot):
    """Returns the name under which a snapshot's images and scores are kept: its batch, or, of other runs, its path."""
    run, here = run_folder(args), pathlib.Path.cwd()
    parts = snapshot.relative_to(here).parts if snapshot.is_relative_to(here) else snapshot.parts[1:]
    own = snapshot.parent == (run / "weights").resolve()
    label = snapshot.name if own or not parts else "-".join(parts)
    other_seed = args.seed != begun_with(run).get("seed", 0)
    return f"{label}-seed{args.seed}" if other_seed else label


def save_snapshot(target, networks, state):
    """Writes the snapshot folder `target`: a .weights.h5 of each network, and training.weights.h5 for resume.

    Args:
        networks: {name: network}.
        state: {name: arrays} of what they don't hold, see GAN.state.

    Raises:
        OSError: where the disk is full.
    """
    if target.exists() and not damaged(target):
        return
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.mkdir(parents=True)
    # Asked before, as HDF5 crashes the process at its end where it finds no room: 4 bytes a number, and some for names.
    needed = 4 * sum(network.count_params() for network in networks.values()) + 2 ** 18 \
        + sum(np.asarray(array).nbytes for arrays in state.values() for array in arrays)
    if shutil.disk_usage(temporary).free < needed:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: a snapshot takes {needed / 2 ** 20:.1f} MiB",
                      str(temporary))
    for name, network in networks.items():
        network.save_weights(temporary / f"{name}.weights.h5")
    with h5py.File(temporary / LAST, "w") as file:
        for name, arrays in state.items():
            for index, array in enumerate(arrays):
                file[f"{name}/{index}"] = array
    (temporary / SUMS).write_text("".join(f"{_digest(path)}  {path.name}\n" for path in sorted(temporary.glob("*.h5"))))
    if target.exists():
        shutil.rmtree(target)  # a damaged one, now that there is a good one of the same batch
    os.replace(temporary, target)


def wait_for_snapshots():
    """Waits until those are there, or have failed, whose batches are learned."""
    WRITER.submit(int).result()


def load_snapshot(model, snapshot):
    """Restores what save_snapshot wrote, so that training goes on as if it had never stopped.

    Raises:
        ValueError: where it can't be read, or is of other networks.
    """
    try:
        for name, network in model.networks.items():
            network.load_weights(snapshot / f"{name}.weights.h5")
        with h5py.File(snapshot / LAST, "r") as file:
            for name, variables in model.state.items():
                for index, variable in enumerate(variables):
                    variable.assign(file[f"{name}/{index}"][()])
    except Exception as error:  # whatever HDF5 and Keras make of a broken file
        raise ValueError(f"{snapshot} can't be gone on from. Remove it, to go on from the one before. "
                         f"Received: {error}") from None


def check_ahead(args):
    """Refuses what can't be drawn or scored in the end, before anything is trained.

    Raises:
        FileNotFoundError, ValueError: names the constants.
    """
    if args.generate_count and args.photos:
        data.to_be_turned(args)
    if args.generate_count and args.batches:
        _check_class(args, data.open_labels(args)[1] if args.conditional else [], args.data)
    if args.evaluate_count:
        check_scores(args)
        if args.batches and args.features != "classifier":
            metrics.feature_network(args.features)  # which may have to be downloaded


# ---- scores

def check_scores(args):
    """Refuses what can't be scored, before anything is trained.

    Raises:
        FileNotFoundError, ValueError: names the constants.
    """
    faces = data.open_faces(args)
    train, test = data.split(args, len(faces))
    if len(test) < 10:
        raise ValueError(f"Scores need images that training has not seen. Raise `held_out`, or find more images. "
                         f"Received: held_out={args.held_out}, {len(faces)} images")
    if not 10 <= args.evaluate_count <= len(train):
        raise ValueError(f"`evaluate_count` must be at least 10, and at most the number of training images, as many of "
                         f"which are the floor. Received: evaluate_count={args.evaluate_count}, {len(train)} of them")
    photos = len(data.split(args, len(data.open_faces(args, "photos")))[1]) if args.photos else args.evaluate_count
    if args.evaluate_count > photos:
        raise ValueError(f"`evaluate_count` must be at most the number of photos that training never sees. "
                         f"Received: evaluate_count={args.evaluate_count}, {photos} of them")
    if args.features == "classifier":
        data.classes(args)
    elif args.features != "inception":
        metrics.check_network(args.features)


def look_at_real(args):
    """Looks at the real images through the network named by `features`, which it trains where it is `classifier`.

    Returns:
        The network; what metrics.look saw of the training images, and of those held out; and, where it names classes,
        the true ones of all, int [count, factors], else None.
    """
    check_scores(args)
    faces = data.open_faces(args)
    faces = faces if faces.dtype == np.uint8 else data.denormalize(faces[:])
    train, test = data.split(args, len(faces))
    path = args.features
    if path == "classifier":
        # It stays beside the data; other images, another `held_out` or `dataset_size` have one of their own.
        path, true = data.files(args)[0].removesuffix(".hdf5"), data.classes(args)
        path = f"{path}.classifier-{data.fingerprint(args)}-{len(train)}.keras"
        if not os.path.exists(path):
            print(f"Training a classifier on the labels of {args.data}")
            temporary = path.replace(".keras", f".{os.getpid()}.tmp.keras")
            metrics.train_classifier(faces[train], true[train], true.max(0) + 1).save(temporary)
            os.replace(temporary, path)
    network = metrics.feature_network(path)
    seen, unseen = metrics.look(network, faces[train]), metrics.look(network, faces[test])
    if unseen.classes is None:
        return network, seen, unseen, None
    right = (unseen.classes == data.classes(args)[test]).all(1).mean()
    print(f"{path} is right about {right:.1%} of the {len(test)} images that were held out")
    return network, seen, unseen, data.classes(args)


def read_scores(folder):
    """Returns what scores.csv in `folder` holds: {snapshot, or "real": {score: value}}; empty where there is none."""
    path = folder / "scores.csv"
    if not path.exists():
        return {}
    with open(path, newline="") as file:
        return {row.pop("snapshot"): {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)}


def write_scores(folder, table):
    """Adds {snapshot: {score: value}} to scores.csv in `folder`, and draws scores.png: each score over the batches,
    dashed what real images score."""
    held = read_scores(folder)
    table = {label: held.get(label, {}) | table.get(label, {}) for label in [*held, *table]}
    labels = ["real", *sorted((label for label in table if label != "real"), key=lambda label: label.zfill(9))]
    columns = list(dict.fromkeys(name for scores in table.values() for name in scores))
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".scores.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["snapshot", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"snapshot": label} | {name: f"{value:.6g}" for name, value in table[label].items()}
                         for label in labels)
    os.replace(folder / ".scores.csv", folder / "scores.csv")

    names = [name for name in columns if not name.startswith("of_")]
    figure = matplotlib.figure.Figure(figsize=(10, 2.2 * -(-len(names) // 3)), dpi=80, layout="constrained")
    curve = [label for label in labels if label.isdigit()]
    for index, name in enumerate(names):
        axes = figure.add_subplot(-(-len(names) // 3), 3, index + 1, title=name)
        points = [(int(label), table[label][name]) for label in curve if name in table[label]]
        axes.plot(*zip(*points) if points else ([], []), marker=".")
        if name in table["real"]:
            axes.axhline(table["real"][name], linestyle="--", color="gray")
        axes.grid(alpha=0.3)
    figure.savefig(folder / ".scores.png", format="png")
    os.replace(folder / ".scores.png", folder / "scores.png")


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
        self.start = self.batch = self.dumped = int(self.model.batch.numpy())

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


def label_costs(args):
    """Returns the least, in nats, that labels allow for each part of D's loss: {"d_loss_real", "d_loss_fake"}."""
    return {"d_loss_real": losses.cost_of_labels(args.real_labels, args.fake_labels, args.label_flip),
            "d_loss_fake": losses.cost_of_labels(args.fake_labels, args.real_labels, args.label_flip)}


class LossLog(Dump):
    """Writes loss.csv, a row a dump with the losses of that batch, and draws their curves, loss.png.

    Rows beyond the batch that training starts from are cut: they belong to batches that a kill undid.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.path, self.rows = self.folder / "loss.csv", []
        if self.path.exists():
            with open(self.path, newline="") as file:
                self.rows = [{"batch": row["batch"]} | {name: row.get(name, "nan") for name in self.model.logged}
                             for row in csv.DictReader(file) if None not in row.values()
                             and int(row["batch"]) <= self.start]  # nan: a column that an older version hadn't
            self._write(self.folder / ".loss.csv", "w", self.rows)
            os.replace(self.folder / ".loss.csv", self.path)

    def _write(self, path, mode, rows):
        with open(path, mode, newline="") as file:
            writer = csv.DictWriter(file, ["batch", *self.model.logged], lineterminator="\n")
            if not file.tell():
                writer.writeheader()
            writer.writerows(rows)

    def dump(self, batch, logs):
        # Nine digits: each float32 has a text of its own.
        row = {"batch": str(batch)} | {name: f"{float(logs[name]):.9g}" for name in self.model.logged}
        self.rows.append(row)
        self._write(self.path, "a", [row])
        self._plot()

    def _plot(self):
        norms = [name for name in self.model.logged if name.endswith("_norm")]
        panels = {"losses": [name for name in self.model.logged if name not in norms]}
        panels |= {"gradient norms": norms} if norms else {}
        figure = matplotlib.figure.Figure(figsize=(8, 5), dpi=80, layout="constrained")
        batches = [int(row["batch"]) for row in self.rows]
        for index, (title, names) in enumerate(panels.items()):
            axes = figure.add_subplot(len(panels), 1, index + 1, ylabel=title)
            for name in names:
                axes.plot(batches, [float(row[name]) for row in self.rows], label=name, linewidth=1)
            if norms and names != norms and self.args.loss == "cross_entropy":
                self._shade(axes)
            if names == norms:
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(matplotlib.ticker.LogFormatter())  # 20 rather than 2 x 10^1
                axes.yaxis.set_minor_formatter(matplotlib.ticker.LogFormatter(minor_thresholds=(2, 0.5)))
            axes.grid(alpha=0.3)
            axes.legend(loc="upper right", fontsize="small")
        axes.set_xlabel("batches")
        figure.savefig(self.folder / ".loss.png", format="png")
        os.replace(self.folder / ".loss.png", self.folder / "loss.png")

    def _shade(self, axes):
        """Shades the zones in which the losses of a healthy run lie [forcecore 5], each in its curve's colour."""
        args, (low, high) = self.args, self.args.watch_d_zone
        zones = {name: (cost + low, cost + high) for name, cost in label_costs(args).items()}
        if args.g_objective == "non_saturating":
            zones["g_loss"] = args.watch_g_zone
        for line in axes.lines:
            if line.get_label() in zones:
                axes.axhspan(*zones[line.get_label()], color=line.get_color(), alpha=0.2, linewidth=0)


class SwapCheckpoints(keras.callbacks.Callback):
    """Puts an older snapshot of G or D, frozen, in its place for `swap_for` batches, every `swap_every` [ganhacks 8].

    Which, follows from (seed, batch). The own weights, the average's and the optimizer's are back before each dump,
    so that a run goes on in the middle of a swap as if it had never stopped. It stands first of all. What of the
    swapped one isn't trained, such as moving averages, is as in its snapshot for each batch.
    """

    def __init__(self, args, folder):
        super().__init__()
        self.args, self.folder = args, folder

    def on_train_begin(self, logs=None):
        self.start, self.own = int(self.model.batch.numpy()), []

    def on_train_batch_begin(self, step, logs=None):
        batch, every = self.start + step, self.args.swap_every
        if self.own:
            for variable, value in self.frozen:
                variable.assign(value)
        elif every and batch >= every and batch % every < self.args.swap_for:
            self._swap(batch - batch % every)

    def on_train_batch_end(self, step, logs=None):
        batch = self.start + step + 1
        if self.own and (batch % self.args.swap_every == self.args.swap_for or batch % self.args.dump_every == 0):
            self._restore()

    def on_train_end(self, logs=None):
        self._restore()

    def _swap(self, batch):
        wait_for_snapshots()
        args = self.args
        # Those that are there until the swap ends, though a dump within it removes the oldest.
        first = (batch + args.swap_for - 1) // args.dump_every - args.keep_snapshots + 1
        older = [path for path in snapshots(self.folder) if int(path.name) < batch
                 and int(path.name) % args.dump_every == 0  # not one that was saved because the user stopped
                 and (int(path.name) >= first * args.dump_every
                      or args.archive_every and int(path.name) % args.archive_every == 0)
                 and not damaged(path)]
        if not older:
            return
        chance = np.random.default_rng([args.seed, batch])
        name = chance.choice(["generator", "discriminator"])
        optimizer = self.model.d_optimizer if name == "discriminator" else self.model.g_optimizer
        networks = [network for key, network in self.model.networks.items() if key.startswith(name)]
        self.own = [(variable, variable.numpy()) for part in (*networks, optimizer)
                    for variable in (part.variables if part is optimizer else part.weights)]
        networks[0].load_weights(older[chance.integers(len(older))] / f"{name}.weights.h5")
        self.frozen = [(weight, weight.numpy()) for weight in networks[0].non_trainable_weights]
        optimizer.learning_rate = 0.0

    def _restore(self):
        for variable, value in self.own:
            variable.assign(value)
        self.own = []


class DrawSamples(Dump):
    """Draws the sample grid for the callbacks behind it, always of the same z, or photos that training never sees:
    `model.samples`, [count, *image_shape].

    Before that it gives the averaged generator its batch-norm statistics, so that it can be sampled and saved.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        count = self.args.grid[0] * self.args.grid[1]
        self.z = data.photos(self.args, count) if self.args.photos else self.model.draw(count, GRID, 0)

    def dump(self, batch, logs):
        self.model.settle()
        size = self.args.batch_size  # at a time: a grid of any size fits the memory
        self.model.samples = np.concatenate([self.model.sample(self.z[i:i + size], i // size)
                                             for i in range(0, len(self.z), size)])


def reals(args):
    """Returns as many real images as a grid has, or all, float32 [count, *image_shape] in [-1, 1]; always the same."""
    faces = data.open_faces(args)
    rows = np.random.default_rng(args.seed).permutation(len(faces))[:args.grid[0] * args.grid[1]]
    return data.normalize(faces[rows]) if faces.dtype == np.uint8 else faces[rows]


class DumpSamples(Dump):
    """Writes the sample grid as dump.png and samples/<batch>.png, and at the start, for comparison, reals.png."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.samples = self.folder / "samples"
        self.samples.mkdir(exist_ok=True)
        data.save_grid(reals(self.args), self.folder / "reals.png", self.args.grid[1])

    def dump(self, batch, logs):
        data.save_grid(self.model.samples, self.samples / f"{batch:06d}.png", self.args.grid[1])
        shutil.copyfile(self.samples / f"{batch:06d}.png", self.folder / ".dump.png")
        os.replace(self.folder / ".dump.png", self.folder / "dump.png")


class DumpReconstructions(Dump):
    """Writes originals.png at the start, and reconstructions.png, the same images after encoder and generator."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        rows, self.columns = self.args.grid
        self.originals = data.reproduced(self.args)[:rows * self.columns]
        data.save_grid(self.originals, self.folder / "originals.png", self.columns)

    def dump(self, batch, logs):
        data.save_grid(self.model(self.originals), self.folder / "reconstructions.png", self.columns)


class DumpWeights(Dump):
    """Keeps snapshots: the newest `keep_snapshots`, and for good every `archive_every`-th batch's.

    A thread writes them, from copies, while training goes on. Each dump waits for the one before, and raises what went
    wrong with it; the end of training waits for the last.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.writing = None
        self.copies = {name: keras.models.clone_model(network) for name, network in self.model.networks.items()}

    def dump(self, batch, logs):
        self._wait()
        for name, network in self.model.networks.items():
            self.copies[name].set_weights(network.get_weights())
        state = {name: [variable.numpy() for variable in variables] for name, variables in self.model.state.items()}
        self.writing = WRITER.submit(self._write, self.folder / "weights" / f"{batch:06d}", state)

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        self._wait()

    def _wait(self):
        if self.writing:
            self.writing.result()

    def _write(self, target, state):
        save_snapshot(target, self.copies, state)
        # None beyond it: such are damaged, as the run would have gone on from them, and will be written anew.
        *older, _ = kept = [path for path in snapshots(self.folder) if int(path.name) <= int(target.name)]
        if self.args.swap_every:  # what a stop left must not push out what a swap would take
            stops = [path for path in kept if int(path.name) % self.args.dump_every]
            kept = [path for path in kept if path not in stops]
            doomed = kept[:-self.args.keep_snapshots] + [path for path in stops if path in older]
        else:
            doomed = kept[:-self.args.keep_snapshots]
        for old in doomed:
            if not self.args.archive_every or int(old.name) % self.args.archive_every:
                temporary = old.with_name(f".{old.name}.tmp")  # a kill in between leaves no half of a snapshot
                os.replace(old, temporary)
                shutil.rmtree(temporary)


class Film(keras.callbacks.Callback):
    """Makes film.webp of the sample grids when the run has learned all of its batches."""

    def __init__(self, args, folder):
        super().__init__()
        self.args, self.folder = args, folder

    def on_train_end(self, logs=None):
        if int(self.model.batch.numpy()) < self.args.batches:
            return
        paths = sorted((self.folder / "samples").glob("*.png"), key=lambda path: int(path.stem))
        chosen = np.unique(np.linspace(0, len(paths) - 1, min(FRAMES, len(paths))).astype(int))
        frames = [Image.open(paths[index]).convert("RGB") for index in chosen]
        frames[0].save(self.folder / ".film.webp", format="webp", save_all=True, append_images=frames[1:],
                       duration=100, loop=0, quality=80)
        os.replace(self.folder / ".film.webp", self.folder / "film.webp")


class TensorBoard(Dump):
    """Writes what a dump tells for TensorBoard too, where that is installed: losses, grid, constants, health."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.told, self.writer = None, None
        if importlib.util.find_spec("tensorboard"):
            self.writer = tf.summary.create_file_writer(str(self.folder / "tensorboard"))
            rows = "".join(f"| {name} | {value} |\n" for name, value in
                           json.loads((self.folder / "args.json").read_text()).items())
            with self.writer.as_default(step=self.start):
                tf.summary.text("constants", f"| constant | value |\n|---|---|\n{rows}")

    def dump(self, batch, logs):
        if not self.writer:
            return
        with self.writer.as_default(step=batch):
            for name in self.model.logged:
                tf.summary.scalar(name.replace("_", "/", 1), logs[name])
            tf.summary.image("samples", np.asarray(Image.open(self.folder / "dump.png").convert("RGB"))[None])
            log = self.folder / "health.log"
            if log.exists() and log.read_text() != self.told:
                self.told = log.read_text()
                tf.summary.text("health", self.told.replace("\n", "\n\n"))
        self.writer.flush()


class Diverged(FloatingPointError):
    """A loss or a weight is no longer a finite number; the message says which, when, and what to try."""


class StopWhereNotFinite(Dump):
    """Stops a run whose numbers are no longer finite; notes it in health.log. It stands before what dumps them.

    Lines beyond the batch that training starts from are cut, as in loss.csv.

    Raises:
        Diverged: with the batch and the remedy.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.log = self.folder / "health.log"
        if self.log.exists():
            lines = self.log.read_text().splitlines(keepends=True)
            batches = [re.match(r"Batch (\d+):", line) for line in lines]
            kept = [line for line, batch in zip(lines, batches) if not batch or int(batch[1]) <= self.start]
            (self.folder / ".health.log").write_text("".join(kept))
            os.replace(self.folder / ".health.log", self.log)

    def on_train_batch_end(self, step, logs=None):
        for name, value in logs.items():
            if not np.isfinite(value):
                self._stop(self.start + step + 1, f"{name} is {float(value)}")
        super().on_train_batch_end(step, logs)

    def dump(self, batch, logs):
        for name, network in self.model.networks.items():
            if not all(np.isfinite(weight.numpy()).all() for weight in network.weights):
                self._stop(batch, f"a weight of the {name} is not finite")

    def _start_anew(self, batch):
        """Returns how to start anew from the newest snapshot that is no later than `batch`."""
        wait_for_snapshots()
        older = [path for path in snapshots(self.folder)[::-1] if int(path.name) <= batch]
        good = next((path for path in older if not damaged(path)), None)
        if not good or "discriminator" not in self.model.networks:
            return "a new start under another name"
        return f"a new start from weights before it, name=another weights={good}"

    def _start_before(self, batch):
        """Returns the same for a failure that was on its way for the last three windows."""
        return self._start_anew(batch - 3 * self.args.watch_batches)

    def _stop(self, batch, what):
        line = (f"Batch {batch}: {what}, so the run is lost. Try lower learning rates and {self._start_anew(batch)} "
                "[scratch 3; forcecore 5]")
        self._note(line)
        raise Diverged(line)

    def _note(self, line):
        with open(self.log, "a") as file:
            file.write(line + "\n")


class FailureWatch(StopWhereNotFinite):
    """Tells a sick run from a healthy one, at each dump: a line with the number, its meaning, a remedy, and the tip.

    A line is printed and written to health.log, and not again while it holds, unless the run was stopped meanwhile.
    The thresholds are those of args.py named watch_*; losses and norms are medians of `watch_batches`, which a
    resumed run gathers anew. Only what is not finite stops a run [kmualim 9].
    """
    GOOD = {"noise", "catching up", "healthy"}  # news that are told once; all others may come again

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.told, self.recent = set(), collections.deque(maxlen=3 * self.args.watch_batches)
        self.real = self._look(reals(self.args))

    def on_train_batch_end(self, step, logs=None):
        if self.start + step >= self.args.warmup_batches:  # before that D is meant to win
            self.recent.append([float(logs[name]) for name in self.model.logged])
        super().on_train_batch_end(step, logs)

    def dump(self, batch, logs):
        super().dump(batch, logs)
        if len(self.recent) < self.args.watch_batches:
            return
        size, rows = self.args.watch_batches, np.array(self.recent)
        windows = rows[len(rows) % size:].reshape(-1, size, rows.shape[1])
        medians = dict(zip(self.model.logged, np.median(windows, 1).T))  # {name: of each window, the newest last}
        news = (self.sick_images(batch, self.model.samples) | self.sick_gradients(medians)
                | self.sick_losses(batch, medians)
                or self.good_news(batch, medians))
        for name, line in news.items():
            if name not in self.told:
                print(f"\nBatch {batch}: {line}")
                self._note(f"Batch {batch}: {line}")
        self.told = self.told & self.GOOD | news.keys()

    @staticmethod
    def _look(images):
        """Returns (contrast, saturation, mean distance of two, median distance to the next), 0 where there is one."""
        distances = metrics.distances(images) if len(images) > 1 else np.zeros([1, 1])
        return (metrics.contrast(images), metrics.saturation(images), np.mean(distances),
                np.median(np.min(distances, 1)))

    def sick_images(self, batch, images):
        """Returns {alarm: its line} of a sample grid, each number beside that of real images."""
        args, alarms = self.args, {}
        contrast, ends, spread, nearest = self._look(images)
        real_contrast, real_ends, real_spread, real_nearest = self.real
        if len(images) > 1 and real_nearest < args.watch_alike:
            alarms["data"] = (f"the real images are alike: each is {real_nearest:.4f} from another, in [-1, 1]. There "
                              f"is little to learn from {args.data}. Find more images [forcecore 5]")
        if contrast < args.watch_contrast * real_contrast:
            color = "black" if np.mean(images) < -0.9 else "one uniform colour"
            alarms["uniform"] = (f"samples are {color}, with {contrast / real_contrast:.2f} of the contrast of real "
                                 "images: G tricks D with garbage. Try lower learning rates and "
                                 f"{self._start_before(batch)}, or a deeper D (discriminator_filters) and a new run "
                                 "[forcecore 5; cartoon 4]")
        ratios = [drawn / real for drawn, real in ((spread, real_spread), (nearest, real_nearest)) if real]
        if len(images) > 1 and not alarms and (alike := min(ratios, default=1.0)) < args.watch_diversity:
            remedies = [f"lower learning rates and {self._start_before(batch)}", *self._known(
                feature_matching="feature_matching=100.0", minibatch_kernels="minibatch_kernels=100 in a new run")]
            alarms["collapse"] = (f"samples are alike, by {alike:.2f} as different as real images: modes are lost. Try "
                                  f"{', or '.join(remedies)} [scratch 3]")
        if ends - real_ends > args.watch_saturated * (1 - real_ends):
            alarms["saturated"] = (f"samples are saturated: {ends:.0%} of their values are near -1 or 1, of real "
                                   f"images' {real_ends:.0%}, and tanh has no slope there. Lower g_learning_rate "
                                   "[forcecore 5]")
        return alarms

    def _known(self, **remedies):
        """Returns the remedies, {constant: what to try}, whose constants the networks know and the others allow."""
        penalty = self.args.r1_weight or self.args.gradient_penalty
        refused = {*self.model.fixed, *(["minibatch_kernels"] if penalty else [])}
        return [remedy for constant, remedy in remedies.items() if constant not in refused]

    def sick_gradients(self, medians):
        """Returns {alarm: its line} of the gradients' norms."""
        args, alarms = self.args, {}
        for side in "d", "g":
            norm = medians[f"{side}_gradient_norm"][-1]
            if norm > args.watch_gradient_norm:
                alarms[f"{side} explodes"] = (f"{side.upper()}'s gradient norm is {norm:.0f}, over "
                                              f"{args.watch_gradient_norm:.0f}: it is screwing up. Lower "
                                              f"{side}_learning_rate [ganhacks 10]")
        norm = medians["g_gradient_norm"][-1]
        if norm < args.watch_vanished:
            penalty = args.r1_weight or args.gradient_penalty or args.spectral_norm
            remedies = ["g_objective=non_saturating [ganhacks 2]"] if args.g_objective == "saturating" else []
            if args.batch_norm in ("none", "discriminator"):
                remedies += self._known(batch_norm=f"batch_norm={'generator' if penalty else 'both'} in a new run "
                                                   "[kmualim 10]")
            remedies.append("a lower d_learning_rate, instance_noise=0.1 [ganhacks 13]")
            alarms["g vanishes"] = f"G's gradient norm is {norm:.1g}: it learns nothing. Try {', '.join(remedies)}"
        return alarms

    def sick_losses(self, batch, medians):
        """Returns {alarm: its line} of the losses, whose zones are those of the cross-entropy."""
        args, alarms = self.args, {}
        if args.loss != "cross_entropy":
            return alarms
        names = "d_loss_real", "d_loss_fake", "g_loss"
        lost = [f"{name} {medians[name][-1]:.1f}" for name in names if medians[name][-1] > args.watch_lost]
        if lost:
            alarms["lost"] = (f"{' and '.join(lost)} stays over {args.watch_lost:.0f}: the run is lost. Try lower "
                              f"learning rates and {self._start_before(batch)} [forcecore 5]")
        ahead = np.mean([medians[name][-1] - cost for name, cost in label_costs(args).items()])
        if ahead < args.watch_d_loss:
            alarms["d wins"] = (f"D's loss is near 0, {ahead:.3f} above what its labels cost: it is too strong, and G "
                                "learns little. Lower d_learning_rate, soften or flip its labels (real_labels, "
                                "label_flip), add instance_noise [ganhacks 10; cartoon 2]")
        if args.g_objective == "saturating":
            if medians["g_loss"][-1] > -args.watch_sure:
                alarms["g saturates"] = (f"G's loss is near 0, {medians['g_loss'][-1]:.2f}: D is sure of its images, "
                                         "and there this objective has hardly a slope. Set "
                                         "g_objective=non_saturating [ganhacks 2]")
        else:
            g_loss, steps = medians["g_loss"], np.diff(medians["g_loss"])
            trend = f"{g_loss[-1]:.2f}, from {g_loss[0]:.2f} {2 * args.watch_batches} batches ago"
            bad = max(args.watch_g_rising, g_loss[0] * args.watch_trend)
            if len(steps) > 1 and (steps > 0).all() and g_loss[-1] > bad:
                alarms["g rises"] = (f"G's loss rises, {trend}: such runs diverged. Try a higher g_learning_rate, "
                                     "never above D's, or a lower d_learning_rate, and "
                                     f"{self._start_before(batch)} [forcecore 5]")
            bad = min(args.watch_g_fooled, g_loss[0] / args.watch_trend)
            if len(steps) > 1 and (steps < 0).all() and g_loss[-1] < bad:
                alarms["g falls"] = (f"G's loss falls steadily, {trend}: it fools D with garbage. A deeper D "
                                     "(discriminator_filters), or a higher d_learning_rate [ganhacks 10; forcecore 5]")
        return alarms

    def good_news(self, batch, medians):
        """Returns {news: its line} of a run without alarms."""
        args, news = self.args, {}
        if batch < args.watch_noise_batches:
            news["noise"] = f"no alarm. Noise before batch {args.watch_noise_batches} is normal [forcecore 5]"
        if args.loss == "cross_entropy" and args.g_objective == "non_saturating":
            low, high = args.watch_g_zone
            worst = max(medians[name][-1] for name in ("d_loss_real", "d_loss_fake", "g_loss"))
            if worst < low:
                news["catching up"] = f"all losses are under {low:g}: D is catching up [forcecore 5]"
            elif low <= medians["g_loss"][-1] <= high:
                news["healthy"] = (f"G's loss is {medians['g_loss'][-1]:.2f}, in its healthy zone of {low:g} to "
                                   f"{high:g} [forcecore 5]")
        return news


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
        if devices.reduced("SUM", bool(self.received)):  # all machines stop after the same batch
            self.received = self.received or signal.SIGTERM
            self.model.stop_training = True


class ProgressBar(keras.callbacks.ProgbarLogger):
    """Keras' bar, but one that stays, where a run is stopped, at the batch it came to: Keras' jumps to the last."""

    def on_epoch_end(self, epoch, logs=None):
        self.progbar.update(self.seen, list((logs or {}).items()), finalize=True)
