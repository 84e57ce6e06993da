"""Prints what the watch reports of healthy runs and of runs that fail on purpose.

    python tests/bench_health.py data=data.hdf5     # real faces, five minutes on two cores
    python tests/bench_health.py data=data.hdf5 runs=healthy batches=1500

Each run has 300 batches, if not set otherwise, of the preset ToyFaces: networks with a quarter of
the filters. Without `data` it is trained on toy faces. `runs` chooses those whose name contains it,
and `folder` keeps the run folders. A failure counts as found where one of the watch's lines has the
text that is expected of it.
"""
import contextlib
import io
import os
import pathlib
import sys
import tempfile

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import h5py  # noqa: E402
import numpy as np  # noqa: E402

import args as constants  # noqa: E402
import data  # noqa: E402
import gan  # noqa: E402
from training import checkpoints, watch  # noqa: E402

# {run: (its constants, the text that the watch must report)}
RUNS = {
    "healthy": ({}, ""),
    "D far too strong": (
        {"d_learning_rate": 4e-3, "g_learning_rate": 2e-5}, "D's loss is near 0"),
    "G collapsed to one color": (
        {"batch_norm": "discriminator", "upsampling": "bilinear", "g_learning_rate": 0.01},
        "one uniform color"),
    "learning rate 0.1": ({"d_learning_rate": 0.1, "g_learning_rate": 0.1}, "saturated"),
    "no batch norm, saturating": (
        {"batch_norm": "none", "g_objective": "saturating"}, "saturating objective hardly"),
    "one image": ({"data": "one.hdf5"}, "real images are nearly identical"),
}


def train(name, changes):
    """Trains a run in the current folder, and returns the lines of the watch."""
    folder_name = name.replace(" ", "-").replace(",", "")
    args = constants.override(constants.ToyFaces, name=folder_name, **changes)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(watch.Diverged):
        gan.train_gan(args)
    log = checkpoints.run_folder(args) / "health.log"
    return log.read_text().splitlines() if log.exists() else []


def write_copies_of_one_image(source, path, count=64):
    """Writes a dataset of `count` copies of the first image of another."""
    with h5py.File(source) as file, h5py.File(path, "w") as copies:
        copies["faces"] = np.repeat(file["faces"][:1], count, 0)


def print_run(name, changes, expected, lines):
    """Prints a row of the table, and to stderr all lines of the watch."""
    found = [line for line in lines if expected in line]
    constants_set = " ".join(f"{key}={value}" for key, value in changes.items())
    if expected and found:
        report = found[0]
    else:
        report = " / ".join(lines) or "nothing"
    if expected and not found:
        report = f"MISSED: {report}"
    print(f"| {name} | {constants_set or 'those of ToyFaces'} | {report} |", flush=True)
    for line in lines:
        print("   ", line, file=sys.stderr)


def main(data_path="", chosen="", batches=300, folder=""):
    path = os.path.abspath(data_path) if data_path else "toyfaces.hdf5"
    base = {
        "data": path,
        "batches": batches,
        "dump_every": 50,
        "keep_checkpoints": 2,
        "keep_every": 0,
        "flip": bool(data_path),  # half of the toy faces are mirrored already
        "augment": "",
    }
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(folder or temporary)
        if not data_path:
            data.make(constants.ToyFaces)
        write_copies_of_one_image(path, "one.hdf5")
        print("| run | constants | what the watch reports |\n|---|---|---|", flush=True)
        for name, (changes, expected) in RUNS.items():
            if chosen in name:
                print_run(name, changes, expected, train(name, base | changes))


if __name__ == "__main__":
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(options.get("data", ""), options.get("runs", ""), int(options.get("batches", 300)),
         options.get("folder", ""))
