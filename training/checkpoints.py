"""The run folder runs/<name>: its lock, its args.json and its checkpoints."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import tempfile

import h5py
import numpy as np

import data
from models import devices

try:
    import fcntl
except ImportError:  # Windows: there two processes on one run are not kept apart
    fcntl = None

# Constants that may change when a run is resumed: they do not change what is learned. The run
# folder and `data` may be renamed: the fingerprint identifies the images.
MAY_DIFFER = {"name", "data", "batches", "dump_every", "keep_checkpoints", "keep_every",
              "generate_count", "checkpoint", "generate_class", "generate_from", "evaluate_count",
              "features"}
# Constants that may also differ for `generate` and `evaluate`.
MAY_DIFFER_AFTER_TRAINING = MAY_DIFFER | {"weights", "seed", "grid", "jit_compile"}
# Constants that the images of a checkpoint depend on, beside its weights.
SAMPLED_WITH = ("network", "latent", "image_shape", "upsampling", "g_leaky_slope", "bn_epsilon",
                "g_dropout", "conditional")
# The original's names of its weights, which Keras 2 wrote [forcecore args.py].
LEGACY_NAMES = {"generator": "gen.hdf5", "discriminator": "disc.hdf5"}

# Writes checkpoints and other files one after the other while training goes on.
WRITER = concurrent.futures.ThreadPoolExecutor(max_workers=1)


def wait():
    """Waits until all that was submitted to WRITER is written, or has failed."""
    WRITER.submit(lambda: None).result()  # its only thread makes this call after all others


# ---- the run folder


def run_folder(args):
    """Returns the folder of the run, runs/<name>, as a Path.

    Raises:
        ValueError: if `name` is not the name of a single folder.
    """
    if not data.is_folder_name(args.name):
        raise ValueError("`name` must be the name of a single folder, which will be in runs. "
                         f"Received: name={args.name!r}")
    return pathlib.Path("runs") / args.name


@contextlib.contextmanager
def open_run(args, record):
    """Opens the run for this process alone and writes its args.json.

    Args:
        args: the constants, a class of args.py.
        record: what args.json holds: {"preset", "overrides", "constants", "fingerprint"} and, if
            conditional, "classes".

    Yields:
        The folder to write to, a Path. On machines other than the chief it is a temporary one.

    Raises:
        ValueError: if the run was begun with other constants or images, lacks its args.json, or is
            in use by another process.
        FileNotFoundError: if the run is new and `weights` does not exist.
    """
    run = run_folder(args)
    if args.weights and not checkpoints(run):
        _check_weights_exist(args)
    is_chief = devices.machine() == 0
    if not is_chief:  # it writes to a folder that nobody keeps
        check_constants(run, record)
        with tempfile.TemporaryDirectory() as folder:
            _write_record(pathlib.Path(folder), record)
            try:
                yield pathlib.Path(folder)
            finally:
                wait()
        return
    run.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        _check_record_exists(run)
        check_constants(run, record)
        _write_record(run, record)
        _remove_unfinished_checkpoints(run)
        try:
            yield run
        finally:
            wait()


@contextlib.contextmanager
def _locked(run):
    """Holds the lock of a run. It is released when the process ends, however it ends."""
    with open(run / ".lock", "a") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{run} is in use by another process. Wait for it, or choose "
                                 f"another `name`. Received: name={run.name}") from None
        yield


def _check_weights_exist(args):
    """Raises FileNotFoundError if `weights` does not name an existing folder."""
    if not os.path.isdir(args.weights):
        raise FileNotFoundError("`weights` must be an existing checkpoint folder, such as "
                                "runs/toyfaces/weights/000500. "
                                f"Received: weights={args.weights}")


def _write_record(folder, record):
    (folder / ".args.json").write_text(json.dumps(record, indent=1))
    os.replace(folder / ".args.json", folder / "args.json")


def _has_checkpoints(run):
    """Returns whether a run has checkpoints, of its training or of its pretraining."""
    return bool(checkpoints(run) or checkpoints(run / "pretrain"))


def _check_record_exists(run):
    if _has_checkpoints(run) and not (run / "args.json").exists():
        raise ValueError(f"{run} has checkpoints but no args.json with the constants they were "
                         "trained with. Restore it, or start a new run from one of them: choose "
                         f"another `name` and set `weights`. Received: name={run.name}")


def _remove_unfinished_checkpoints(run):
    """Removes checkpoint folders that a killed process left half written or half removed."""
    for weights in (run / "weights", run / "pretrain" / "weights"):
        for folder in weights.glob(".*.tmp"):
            shutil.rmtree(folder)


def read_record(run):
    """Returns the args.json of a run that has checkpoints, {} if there is none.

    Raises:
        ValueError: if the file is corrupt.
    """
    path = run / "args.json"
    if not _has_checkpoints(run) or not path.exists():
        return {}
    try:
        record = json.loads(path.read_text())
        if not isinstance(record["constants"], dict) or not isinstance(record["overrides"], dict):
            raise TypeError("constants and overrides must be JSON objects")
        if not isinstance(record["preset"], str):
            raise TypeError("preset must be a string")
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} must hold the constants that the run was begun with, as JSON. "
                         "Restore it, or start a new run from one of the checkpoints: choose "
                         f"another `name` and set `weights`. Received: {error!r}") from None
    return record


def check_constants(run, record, may_differ=MAY_DIFFER):
    """Raises ValueError, with a list of the differences, if a run was begun otherwise.

    Args:
        run: the run folder, a Path.
        record: {"constants"} and, if they matter, "overrides" and "fingerprint".
        may_differ: names of the constants that are not compared.
    """
    begun = read_record(run)
    if not begun:
        return
    constants = json.loads(json.dumps(record["constants"]))  # tuples become lists, as in the file
    if constants.get("swap_every"):
        # Which checkpoints can be swapped in depends on these.
        may_differ = may_differ - {"dump_every", "keep_checkpoints", "keep_every"}
    differences = []
    for name, value in constants.items():
        if name in may_differ:
            continue
        if name not in begun["constants"]:  # the constant is newer than the run
            if name in record.get("overrides", {}):
                differences.append(f"  {name}: not in {run}/args.json, {value!r} now")
        elif begun["constants"][name] != value:
            begun_value = begun["constants"][name]
            differences.append(f"  {name}: {begun_value!r} in {run}/args.json, {value!r} now")
    if differences:
        lines = "\n".join(differences)
        raise ValueError(f"{run} was begun with other constants. Set these back to resume it, or "
                         f"choose another `name` for a new run. Received:\n{lines}")
    if "fingerprint" in record and record["fingerprint"] != begun.get("fingerprint"):
        raise ValueError(f"{run} was begun with other images than `data` holds now. Restore them "
                         "to resume it, or choose another `name` for a new run. "
                         f"Received: data={constants['data']}")


# ---- checkpoints


def checkpoints(folder):
    """Returns the checkpoint folders in `folder`/weights, the oldest first."""
    found = [path for path in folder.glob("weights/*") if path.name.isdigit()]
    return sorted(found, key=lambda path: int(path.name))


def batch_of(checkpoint):
    """Returns the number of batches that a checkpoint, a Path, has been trained on."""
    return int(checkpoint.name)


def is_kept_for_good(checkpoint, args):
    """Returns whether a checkpoint is one of those that `keep_every` keeps."""
    return args.keep_every > 0 and batch_of(checkpoint) % args.keep_every == 0


def is_regular(checkpoint, args):
    """Returns whether a checkpoint is of a regular dump: of a multiple of `dump_every` batches.

    Others were written because training stopped there, on a signal or at the last batch.
    """
    return batch_of(checkpoint) % args.dump_every == 0


def superseded(found, args):
    """Returns the checkpoints that need not be kept any longer.

    The newest `keep_checkpoints` are kept, and those of every `keep_every`-th batch.

    With `swap_every`, a run chooses among its checkpoints, and must choose the same ones whether or
    not it was stopped and resumed. So those that were written because it stopped do not count
    towards `keep_checkpoints`, and are not kept once there is a newer one.

    Args:
        found: checkpoints, Paths, oldest first.
        args: the constants, a class.
    """
    if args.swap_every:
        regular = [checkpoint for checkpoint in found if is_regular(checkpoint, args)]
        of_stops = [checkpoint for checkpoint in found[:-1] if not is_regular(checkpoint, args)]
        old = regular[:-args.keep_checkpoints] + of_stops
    else:
        old = found[:-args.keep_checkpoints]
    return [checkpoint for checkpoint in old if not is_kept_for_good(checkpoint, args)]


def save_checkpoint(target, networks, state):
    """Writes a checkpoint folder, which appears whole or not at all.

    It holds <network>.weights.h5 for each network, and training.h5 for an exact resume. An
    existing folder of this name is replaced: a batch is learned a second time only if its
    checkpoint could not be loaded.

    Args:
        target: the folder, a Path.
        networks: {name: keras.Model}.
        state: {name: arrays}, see `GAN.state`.

    Raises:
        OSError: if the disk is full.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.mkdir(parents=True)
    _check_disk_space(temporary, networks, state)
    for name, network in networks.items():
        network.save_weights(temporary / f"{name}.weights.h5")
    with h5py.File(temporary / "training.h5", "w") as file:
        for name, arrays in state.items():
            for index, array in enumerate(arrays):
                file[f"{name}/{index}"] = array
    if target.exists():
        remove_checkpoint(target)
    os.replace(temporary, target)


def _check_disk_space(folder, networks, state):
    """Raises OSError if a checkpoint does not fit on the disk."""
    needed = 2 ** 18  # for names and headers
    for network in networks.values():
        needed += 4 * network.count_params()
    for arrays in state.values():
        needed += sum(np.asarray(array).nbytes for array in arrays)
    data.check_free_space(folder, needed, folder)


def save_network(network, path):
    """Writes a network to a .keras file, a Path, which appears whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    network.save(temporary)
    os.replace(temporary, path)


def remove_checkpoint(checkpoint):
    """Removes a checkpoint. It is renamed first, so that a kill leaves no half of it."""
    temporary = checkpoint.with_name(f".{checkpoint.name}.removed.tmp")
    os.replace(checkpoint, temporary)
    shutil.rmtree(temporary)


def load_checkpoint(model, checkpoint):
    """Restores what `save_checkpoint` wrote, so that training continues exactly.

    Args:
        model: has `networks` and `state`, as GAN and Autoencoder have.
        checkpoint: the folder, a Path.

    Raises:
        ValueError: if it cannot be read or does not fit the model.
    """
    for name, network in model.networks.items():
        load_weights(network, checkpoint / f"{name}.weights.h5")
    try:
        with h5py.File(checkpoint / "training.h5", "r") as file:
            for name, variables in model.state.items():
                for index, variable in enumerate(variables):
                    variable.assign(file[f"{name}/{index}"][()])
    except Exception as error:  # whatever HDF5 raises on a corrupt file
        raise ValueError("training.h5 is corrupt, or does not fit these constants. "
                         f"Received: {checkpoint / 'training.h5'}. {error}") from None


def load_newest(model, folder):
    """Loads the newest checkpoint in `folder`/weights that can be read, and reports the others.

    Returns:
        Its folder, a Path; None if there are no checkpoints.

    Raises:
        ValueError: if there are some and none can be loaded.
    """
    found = checkpoints(folder)
    return first_loaded(reversed(found), lambda checkpoint: load_checkpoint(model, checkpoint))


def first_loaded(candidates, load):
    """Returns the first of the checkpoints that `load` accepts; None if there are none."""
    failed = None
    for checkpoint in candidates:
        try:
            load(checkpoint)
            return checkpoint
        except (ValueError, FileNotFoundError) as error:
            print(f"{checkpoint} cannot be loaded and is skipped. {error}")
            failed = checkpoint
    if failed:
        raise ValueError("None of these checkpoints can be loaded. Restore one, or choose another "
                         f"`name`, `weights` or `checkpoint`. Received: {failed}")
    return None


# ---- weights


def load_weights(network, path):
    """Loads the weights of one network: a .weights.h5 file, or a .hdf5 file of Keras 2.

    Args:
        network: a keras.Model.
        path: of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read or does not fit the network.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There are no weights to load for the {network.name}. "
                                f"Received: {path}")
    try:
        if path.name.endswith(".weights.h5"):
            _check_array_count(network, path)
        network.load_weights(path)
    except Exception as error:  # whatever HDF5 and Keras raise on a corrupt file
        # 200 characters, as Keras' messages contain the values of arrays.
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"The weights do not fit the {network.name} of these constants, or are "
                         "corrupt. The args.json of their run has the constants they were trained "
                         f"with. Received: {path}. {reason}") from None


def _check_array_count(network, path):
    """Raises ValueError if a file has more or fewer arrays: Keras ignores those it has no use for.
    """
    count = 0

    def count_arrays(name, item):
        nonlocal count
        count += isinstance(item, h5py.Dataset)

    with h5py.File(path) as file:
        file.visititems(count_arrays)
    if count != len(network.weights):
        raise ValueError(f"It has {count} arrays, the network {len(network.weights)}.")


def load_networks(gan, folder):
    """Loads the networks of a GAN from a checkpoint folder, without the state of training.

    The folder may hold the original's gen.hdf5 and disc.hdf5 instead. An averaged generator that
    is not there gets the generator's weights.

    Args:
        gan: what `models.build` returned.
        folder: a path.

    Raises:
        FileNotFoundError, ValueError: see `load_weights`.
    """
    folder = pathlib.Path(folder)
    for name, legacy_name in LEGACY_NAMES.items():
        path = folder / f"{name}.weights.h5"
        if (folder / legacy_name).exists():
            path = folder / legacy_name
        load_weights(gan.networks[name], path)
    if gan.generator_ema:
        path = folder / "generator_ema.weights.h5"
        if path.exists():
            load_weights(gan.generator_ema, path)
        else:
            gan.generator_ema.set_weights(gan.generator.get_weights())


# ---- checkpoints for generate and evaluate


def chosen_checkpoints(args, record):
    """Returns the checkpoints to generate from or to evaluate, the oldest first.

    They are those of the run. If `weights` is set, it is that folder alone, unless the run itself
    was begun with these `weights`.

    Args:
        args: the constants, a class of args.py.
        record: as for `check_constants`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if its run was begun with other constants.
    """
    run = run_folder(args)
    check_constants(run, record, MAY_DIFFER_AFTER_TRAINING)
    if weights_are_chosen(args):
        _check_weights_exist(args)
        found = [pathlib.Path(args.weights)]
    else:
        found = checkpoints(run)
    if not found:
        others = [folder.name for folder in sorted(run.parent.glob("*")) if checkpoints(folder)]
        raise FileNotFoundError(f"{run} has no checkpoint. Train first, or choose another `name` "
                                f"(with checkpoints: {', '.join(others) or 'none'}), or set "
                                f"`weights` to a checkpoint folder. Received: name={args.name}")
    sampled_with = {name: record["constants"][name] for name in SAMPLED_WITH}
    run_of_weights = found[0].resolve().parent.parent
    check_constants(run_of_weights, {"constants": sampled_with})
    return [checkpoint.resolve() for checkpoint in found]


def weights_are_chosen(args):
    """Returns whether `weights` is set, and is not what the run itself was begun with."""
    return args.weights not in ("", _begun_with(args, "weights"))


def _begun_with(args, name):
    """Returns the value of a constant that the run was begun with; None if it is not known."""
    begun = read_record(run_folder(args))
    return begun["constants"].get(name) if begun else None


def class_names_of(args, checkpoint):
    """Returns the names of the classes that a checkpoint was trained with; [] if not conditional.

    Raises:
        ValueError: if the args.json of its run does not have them, or lacks `generate_class`.
    """
    if not args.conditional:
        names = []
    else:
        names = read_record(checkpoint.parent.parent).get("classes", [])
        if not names:
            raise ValueError("The args.json two folders above a conditional checkpoint must have "
                             "the names of its classes. Received: "
                             f"conditional=True, {checkpoint}")
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

    It is the number of its batch; for a checkpoint of another run, its path. A `seed` other than
    the run's is appended.
    """
    run = run_folder(args)
    here = pathlib.Path.cwd()
    is_own = checkpoint.parent == (run / "weights").resolve()
    if is_own:
        label = checkpoint.name
    elif checkpoint.is_relative_to(here) and checkpoint != here:
        label = "-".join(checkpoint.relative_to(here).parts)
    else:
        label = "-".join(checkpoint.parts[1:])
    run_seed = _begun_with(args, "seed") or 0
    if args.seed != run_seed:
        label += f"-seed{args.seed}"
    return label
