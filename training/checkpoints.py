"""The run folder runs/<name>: its lock, its args.json and its checkpoints.

TensorFlow is imported by functions, so that `preparation` can look at a run without it.
"""
import contextlib
import csv
import json
import os
import pathlib
import re
import tempfile
import warnings

import h5py

import args as constants
import data
import models

try:
    import fcntl
except ImportError:  # Windows: there two processes on one run are not kept apart
    fcntl = None

KEPT = 3  # newest checkpoints to keep: one to resume from, others if it is damaged [guess]

# Constants that may change when a run is resumed: they do not change what is learned. The run
# folder and `data` may be renamed: the fingerprint identifies the images.
MAY_DIFFER = {"name", "data", "batches", "dump_every", "keep_every", "generate_count", "checkpoint",
              "generate_class", "generate_from", "evaluate_count", "features"}
# Constants that may also differ for `generate` and `evaluate`.
MAY_DIFFER_AFTER_TRAINING = MAY_DIFFER | {"weights", "seed", "grid", "jit_compile", "images"}
# Constants that the images of a checkpoint depend on, besides its weights.
SAMPLED_WITH = ("network", "latent", "image_shape", "upsampling", "output_blur", "g_leaky_slope",
                "g_dropout", "conditional")
# The original's names of its weights, which Keras 2 wrote [forcecore].
LEGACY_NAMES = {"generator": "gen.hdf5", "discriminator": "disc.hdf5"}

# weights=pretrained: the networks of `Small` [notebooks/pretrained.ipynb].
PRETRAINED = pathlib.Path(models.__file__).parent / "pretrained.weights.h5"

ADVICE_ON_WEIGHTS = ("Use the constants they were trained with: those of Small for pretrained, "
                     "else those in the args.json of their run.")


# ---- the run folder


def run_folder(args):
    """Returns the folder of the run, runs/<name>, as a Path.

    Raises:
        ValueError: if `name` is not the name of a single folder.
    """
    if args.name in ("", "..") or pathlib.Path(args.name).name != args.name:
        raise ValueError("`name` must be the name of a single folder, which will be in runs. "
                         f"Received: name={args.name!r}")
    return pathlib.Path("runs") / args.name


@contextlib.contextmanager
def open_run(args, record):
    """Opens the run for this process alone and writes its args.json.

    Args:
        args: the constants, a class of args.py.
        record: what args.json holds, see `gan.run_record`.

    Yields:
        The folder to write to, a Path. On machines other than the chief it is a temporary one.

    Raises:
        ValueError: if the run was begun with other constants or images, is in use, or has lost its
            checkpoints.
    """
    from models import devices

    run = run_folder(args)
    check_record(run, record)
    check_resumable(run)
    if devices.machine() > 0:  # it writes to a folder that nobody keeps
        with tempfile.TemporaryDirectory() as folder:
            yield pathlib.Path(folder)
        return
    run.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        with data.whole_file(run / "args.json") as temporary:
            temporary.write_text(json.dumps(record, indent=1))
        yield run


@contextlib.contextmanager
def _locked(run):
    """Holds the lock of a run. It is released when the process ends, however it ends."""
    with open(run / ".lock", "a") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{run} is in use by another process. Wait for it, or choose "
                             f"another `name`. Received: name={run.name}") from None
        except OSError as error:  # some network file systems have no locks
            print(f"{run} cannot be locked ({error.strerror}): do not start a second training of "
                  "this run.")
        yield


def write_csv(path, columns, rows):
    """Writes a CSV file, which appears whole or not at all. A row is {column: value}."""
    with data.whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_record(run):
    """Returns the args.json of a run that has checkpoints, {} if there is none.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    if not checkpoints(run) and not checkpoints(run / "pretrain"):
        return {}
    path = run / "args.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must hold the constants that the run was begun with. Restore it, "
                         "or start a new run from one of its checkpoints: choose another `name` "
                         f"and set `weights`. Received: {error!r}") from None


def check_resumable(run):
    """Raises ValueError if a run has results, but no checkpoint that can be resumed."""
    _check_version(run)
    if (run / "generator.keras").exists() and not checkpoints(run):
        raise ValueError(f"{run} has a generator, but no checkpoint to resume from. Restore its "
                         "folder weights, or choose another `name` for a new run. "
                         f"Received: name={run.name}")


def _check_version(run):
    """Raises ValueError if a run was begun by an earlier version, whose checkpoints are folders."""
    found = list(run.glob("weights/*")) or list(run.glob("pretrain/weights/*"))
    folders = [path for path in found if path.is_dir()]
    if folders and not read_record(run):
        raise ValueError(f"{run} was begun by an earlier version, and cannot be resumed. Choose "
                         f"another `name`, and start it from weights={max(folders)}. "
                         f"Received: name={run.name}")


def check_record(run, record, trains=True):
    """Raises ValueError, with a list of the differences, if a run was begun with another record.

    Args:
        run: the run folder, a Path.
        record: {"constants"} to compare, and optionally the images' "fingerprint".
        trains: whether the run is to be trained. `generate` and `evaluate` allow more differences.
    """
    begun = read_record(run)
    if not begun:
        return
    now = record["constants"]
    may_differ = MAY_DIFFER if trains else MAY_DIFFER_AFTER_TRAINING
    if trains and now.get("swap_every"):
        # Which checkpoints can be swapped in depends on these.
        may_differ = may_differ - {"dump_every", "keep_every"}
    differences = []
    for name, value in now.items():
        before = begun["constants"].get(name, value)
        if isinstance(before, list):  # JSON has no tuples
            before = tuple(before)
        if name not in may_differ and before != value:
            differences.append(f"  {name}: {before!r} in {run}/args.json, {value!r} now")
    if differences:
        lines = "\n".join(differences)
        raise ValueError(f"{run} was begun with other constants. Set these back, or begin a new "
                         f"run under another `name`. Received:\n{lines}")
    if "fingerprint" in record and record["fingerprint"] != begun.get("fingerprint"):
        raise ValueError(f"{run} was begun with other images than `data` holds now. Restore them "
                         "to resume it, or choose another `name` for a new run. "
                         f"Received: data={now['data']}")


# ---- checkpoints


def checkpoints(folder):
    """Returns the checkpoints in `folder`/weights, Paths, the oldest first."""
    found = [path for path in folder.glob("weights/*.weights.h5")
             if re.fullmatch(r"\d{6,}\.weights\.h5", path.name)]
    return sorted(found, key=batch_of)


def checkpoint_path(folder, batch):
    """Returns the Path of the checkpoint of a batch."""
    return folder / "weights" / f"{batch:06d}.weights.h5"


def batch_of(checkpoint):
    """Returns the number of batches that a checkpoint, a Path, has been trained on."""
    return int(checkpoint.name.removesuffix(".weights.h5"))


def is_kept(batch, newest, args):
    """Returns whether the checkpoint of `batch` is kept when the newest one is of batch `newest`.

    Kept are the newest, those at the last `KEPT` multiples of `dump_every`, and those at multiples
    of `keep_every`. No file is looked at, so that a run that was stopped and resumed swaps in the
    same checkpoints.
    """
    if args.keep_every and batch % args.keep_every == 0:
        return True
    oldest = (newest // args.dump_every - (KEPT - 1)) * args.dump_every
    return batch == newest or (batch % args.dump_every == 0 and batch >= oldest)


def save(model, folder, args):
    """Saves a checkpoint, which appears whole or not at all, and removes superseded ones.

    Args:
        model: a GAN or an Autoencoder. Its `batch` names the file.
        folder: the run folder, or its pretrain folder, a Path.
        args: the constants, a class of args.py.
    """
    newest = int(model.batch.numpy())
    target = checkpoint_path(folder, newest)
    target.parent.mkdir(exist_ok=True)
    # A weight takes 12 bytes at most: float32, with Adam's moments.
    data.check_space(target, needed=12 * model.count_params())
    temporary = target.with_name(".new.weights.h5")  # the next one replaces what a kill left
    model.save_weights(temporary)
    os.replace(temporary, target)
    for checkpoint in checkpoints(folder):
        # Later ones are damaged: the resumed run skipped them, and will replace them.
        if batch_of(checkpoint) < newest and not is_kept(batch_of(checkpoint), newest, args):
            checkpoint.unlink()


def load_newest(model, folder):
    """Resumes a model from the newest checkpoint in `folder`/weights that can be loaded.

    Raises:
        ValueError: if there are checkpoints and none can be loaded.
    """
    found = checkpoints(folder)
    for checkpoint in reversed(found):
        try:
            load_weights(model, checkpoint)
            return
        except ValueError as error:
            print(f"{checkpoint} cannot be loaded and is skipped. {error}")
    if found:
        raise ValueError("No checkpoint can be loaded. Restore one, or choose another `name`. "
                         f"Received: {folder / 'weights'}")


# ---- networks


def weights_path(weights):
    """Returns the Path that `weights` names: PRETRAINED if it is "pretrained"."""
    return PRETRAINED if weights == "pretrained" else pathlib.Path(weights)


def load_network(name, network, path):
    """Loads one network: "generator", "discriminator" or "generator_ema".

    Args:
        name: of the network in a GAN.
        network: a keras.Model.
        path: a Path: a checkpoint; or a folder with one file for each network, the original's
            gen.hdf5 and disc.hdf5 or the .weights.h5 of an earlier version of this project.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read or does not fit the network.
    """
    if path.is_dir():
        file = path / f"{name}.weights.h5"
        legacy_file = path / LEGACY_NAMES.get(name, file.name)
        load_weights(network, legacy_file if legacy_file.exists() else file)
    else:
        load_weights(_holder(name, network), path)
        _check_layers(name, network, path)


def _check_layers(name, network, path):
    """Raises ValueError if a checkpoint has more weights than the network: Keras ignores them."""
    found = []

    def visit(key, item):
        if isinstance(item, h5py.Dataset) and "seed_generator" not in key:
            found.append(key)

    with h5py.File(path, "r") as file:
        file[name].visititems(visit)
    if len(found) != len(network.weights):
        raise ValueError(f"The weights do not fit these constants. {ADVICE_ON_WEIGHTS} Received: "
                         f"{path}. {name} has {len(network.weights)} arrays, the file {len(found)}")


def _holder(name, network):
    """Returns a model with a network under its name in a GAN, to load it from a GAN's checkpoint.
    """
    keras = models.import_keras()

    class Holder(keras.Model):
        def load_own_variables(self, store):
            """Loads none of the GAN's own variables, such as `batch`."""

    holder = Holder()
    setattr(holder, name, network)
    holder.built = True
    return holder


def check_file(path):
    """Checks that a checkpoint or folder exists, but not whether it fits a network.

    Raises:
        FileNotFoundError: if it does not exist.
        ValueError: if it is a file, but none that holds weights.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"`weights` must be a checkpoint that exists. Received: {path}")
    if not os.path.isdir(path) and not h5py.is_hdf5(path):
        raise ValueError("`weights`, like every checkpoint, must be an undamaged HDF5 file, such "
                         f"as runs/small/weights/020000.weights.h5. Received: {path}")


def load_weights(model, path):
    """Loads weights that Keras saved: .weights.h5, or .hdf5 of Keras 2. Raises: see `load_network`.
    """
    check_file(path)
    try:
        with warnings.catch_warnings():
            # Keras skips what a file lacks, and then raises.
            warnings.filterwarnings("ignore", message="Skipping nested container")
            model.load_weights(path)
    except Exception as error:  # whatever HDF5 and Keras raise on a damaged file
        reason = " ".join(str(error).split())[:200]  # Keras' messages contain arrays
        raise ValueError("The weights do not fit these constants, or are damaged. "
                         f"{ADVICE_ON_WEIGHTS} Received: {path}. {reason}") from None


def has_average(path):
    """Returns whether a checkpoint or folder, a Path, has an averaged generator."""
    if path.is_dir():
        return (path / "generator_ema.weights.h5").exists()
    with contextlib.suppress(OSError), h5py.File(path) as file:  # of a damaged file
        return "generator_ema" in file
    return False


def load_networks(gan, path):
    """Loads the networks of a GAN, without the state of training. Raises: see `load_network`.

    Args:
        gan: what `models.build` returned.
        path: of a checkpoint or folder, see `load_network`, or "pretrained".
    """
    path = weights_path(path)
    load_network("generator", gan.generator, path)
    load_network("discriminator", gan.discriminator, path)
    if gan.generator_ema:
        name = "generator_ema" if has_average(path) else "generator"
        load_network(name, gan.generator_ema, path)


def load_generator(sampler, path):
    """Loads the generator to sample from: the averaged one if any. Raises: see `load_network`.

    Args:
        sampler: what `models.build_sampler` returned.
        path: of a checkpoint or folder, see `load_network`.
    """
    path = pathlib.Path(path)
    name = "generator_ema" if sampler.args.ema_decay and has_average(path) else "generator"
    load_network(name, sampler.generator, path)


# ---- checkpoints for generate and evaluate


def chosen_checkpoints(args):
    """Returns the checkpoints to generate from or to evaluate, Paths, the oldest first.

    These are the run's own, or `weights` alone, unless the run itself was started from it.

    Raises:
        FileNotFoundError: if the run has none.
        ValueError: if its run was begun with other constants.
    """
    run = run_folder(args)
    record = {"constants": constants.constants(args)}
    check_record(run, record, trains=False)
    started_from = read_record(run).get("constants", {}).get("weights")
    if args.weights not in ("", started_from):
        found = [weights_path(args.weights)]
    else:
        found = checkpoints(run)
    if not found:
        _check_version(run)
        others = [folder.name for folder in sorted(run.parent.glob("*")) if checkpoints(folder)]
        raise FileNotFoundError(f"{run} has no checkpoint. Train first, or choose another `name` "
                                f"(with checkpoints: {', '.join(others) or 'none'}), or set "
                                f"`weights` to a checkpoint. Received: name={args.name}")
    sampled_with = {name: record["constants"][name] for name in SAMPLED_WITH}
    check_record(_run_of(found[0]), {"constants": sampled_with})
    return found


def checkpoint_of_batch(args, found):
    """Returns the checkpoint of batch `args.checkpoint` among the checkpoints `found`.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = checkpoint_path(run_folder(args), int(args.checkpoint))
    if path in found:
        return path
    names = ", ".join(checkpoint.name.removesuffix(".weights.h5") for checkpoint in found)
    raise FileNotFoundError("`checkpoint` must be newest, best, or the batch of a checkpoint that "
                            f"exists: {names}. Received: checkpoint={args.checkpoint}")


def _run_of(checkpoint):
    """Returns the folder of the run that a checkpoint belongs to."""
    return checkpoint.resolve().parent.parent


def class_names_of(args, checkpoint):
    """Returns the names of the classes that a checkpoint was trained with; [] if not conditional.

    Raises:
        ValueError: if the args.json of its run does not have them, or lacks `generate_class`.
    """
    names = []
    if args.conditional:
        names = read_record(_run_of(checkpoint)).get("classes", [])
        if not names:
            raise ValueError("`weights` must be a checkpoint in the folder of its run, whose "
                             "args.json has the names of the classes. "
                             f"Received: weights={checkpoint}")
    check_generate_class(args, names)
    return names


def check_generate_class(args, names):
    """Raises ValueError if `generate_class` is neither empty nor one of the names."""
    if args.generate_class not in ("", *names):
        raise ValueError("`generate_class` must be empty, or one of the classes if `conditional`: "
                         f"{', '.join(names) or 'none'}. Received: "
                         f"generate_class={args.generate_class}, conditional={args.conditional}")


def label_of(args, checkpoint):
    """Returns the name under which the images and scores of a checkpoint are kept.

    It is the number of its batch; for any other checkpoint its path with dashes, and weights-000002
    for a file 000002.weights.h5. A `seed` other than the run's is appended.
    """
    run = run_folder(args)
    if checkpoint.parent == run / "weights" or checkpoint == PRETRAINED:
        label = checkpoint.name.removesuffix(".weights.h5")
    else:
        parts = checkpoint.parts[1:] if checkpoint.is_absolute() else checkpoint.parts
        label = "-".join(part for part in parts if part != "..").removesuffix(".weights.h5")
        if label.isdigit():
            label = f"weights-{label}"
    begun = read_record(run)
    if args.seed != begun.get("constants", {}).get("seed", 0):
        label += f"-seed{args.seed}"
    return label
