"""Prints what the watch reports of healthy runs and of runs that are made to fail.

    python tests/bench/bench_health.py data=data.hdf5     # real faces, ten minutes on two cores
    python tests/bench/bench_health.py runs=healthy batches=1500 folder=health

Each run has 300 batches, if not set otherwise, of the preset ToyFaces, which has a quarter of the
filters, but without classes and pretraining and with an R1 weight of 0.1. Without `data` it is
trained on toy faces. `runs` chooses those whose name contains it, and `folder` keeps the run
folders. A failure counts as found where a line of the watch has the text that is expected. To
stderr: all lines, and the range of each check's number, from which to set its limit.
"""
import collections
import contextlib
import io
import os
import pathlib
import sys
import tempfile

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402

import args as constants  # noqa: E402
import data  # noqa: E402
import gan  # noqa: E402
from training import callbacks, checkpoints, watch  # noqa: E402

# {run: (its constants, the texts that the watch must report)}
RUNS = {
    "healthy": ({}, ()),
    "D far too strong": (
        {"d_learning_rate": 4e-3, "g_learning_rate": 2e-5}, ("D is too strong",)),
    "G hardly learns": (
        {"d_learning_rate": 2e-5, "g_learning_rate": 1e-6, "r1_weight": 0.0}, ("rising steadily",)),
    "D hardly learns": (
        {"d_learning_rate": 1e-6, "g_learning_rate": 1e-4}, ("falling steadily",)),
    "one color": (
        {"batch_norm": "discriminator", "g_learning_rate": 1e-5}, ("one color",)),
    "learning rate 1": (
        {"d_learning_rate": 1.0, "g_learning_rate": 1.0}, ("unsaturated values",)),
    "no batch norm, saturating": (
        {"batch_norm": "none", "g_objective": "saturating"},
        ("mode collapse", "saturating objective hardly")),
    "D certain": (
        {"d_learning_rate": 0.1, "g_learning_rate": 1e-6, "real_labels": (1.0, 1.0),
         "r1_weight": 0.0}, ("cannot recover",)),
    "D certain, saturating": (
        {"d_learning_rate": 4e-3, "g_learning_rate": 1e-6, "real_labels": (1.0, 1.0),
         "r1_weight": 0.0, "g_objective": "saturating"}, ("G learns nothing",)),
    "learning rate 1e30": (
        {"g_learning_rate": 1e30}, ("the run cannot continue",)),
    "one image": ({"images": "copies/*.png", "data": "copies.hdf5"}, ("there is little to learn",)),
}


def train(name, changes):
    """Trains a run in the current folder.

    Returns:
        The lines of the watch, and {name of a check's number: its values}.
    """
    args = constants.override(constants.ToyFaces, name=name.replace(" ", "-").replace(",", ""),
                              **changes)
    if not os.path.exists(args.data):  # copies.hdf5
        data.make(args)
    numbers = collections.defaultdict(list)
    report = watch.Check.report

    def report_and_record(check, state):
        numbers[check.number.__name__].append(check.number(state))
        return report(check, state)

    watch.Check.report = report_and_record
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(callbacks.Diverged):
        gan.train_gan(args)
    watch.Check.report = report
    log = checkpoints.run_folder(args) / "health.log"
    return log.read_text().splitlines() if log.exists() else [], numbers


def write_copies(image, folder, count=64):
    """Writes copies of an image to a folder, with noise, as exact duplicates would be dropped."""
    os.makedirs(folder, exist_ok=True)
    random = np.random.default_rng(0)
    pixels = data.denormalize(image)[0].astype(int)
    for index in range(count):
        copy = np.clip(pixels + random.integers(-1, 2, pixels.shape), 0, 255)
        data.save_png(np.uint8(copy), f"{folder}/{index}.png")


def print_run(name, changes, expected, lines, numbers):
    """Prints a row of the table, and to stderr all lines of the watch and the ranges."""
    shown = lines
    missed = []
    if expected:
        shown = [line for line in lines if any(text in line for text in expected)]
        missed = [text for text in expected if not any(text in line for line in lines)]
    constants_set = " ".join(f"{key}={value}" for key, value in changes.items())
    recipe = constants_set or "none"
    report = " / ".join(shown + [f"MISSED: {text}" for text in missed]) or "nothing"
    print(f"| {name} | {recipe} | {report} |", flush=True)
    for line in lines:
        print("   ", line, file=sys.stderr)
    for number, values in numbers.items():
        known = [value for value in values if not np.isnan(value)]
        if known:
            print(f"    {number}: {min(known):.3g} to {max(known):.3g}", file=sys.stderr)


def main(data_path="", chosen="", batches=300, folder=""):
    path = os.path.abspath(data_path) if data_path else "toyfaces.hdf5"
    base = {
        "data": path,
        "dataset_size": 0 if data_path else 2000,
        "batches": batches,
        "dump_every": 50,
        "keep_every": 0,
        "flip": bool(data_path),  # half of the toy faces are mirrored already
        "conditional": False,
        "r1_weight": 0.1,
        "augment": "",
    }
    with tempfile.TemporaryDirectory() as temporary:
        if folder:
            os.makedirs(folder, exist_ok=True)
        os.chdir(folder or temporary)
        args = constants.override(constants.ToyFaces, **base)
        if not os.path.exists(args.data):
            data.make(args)
        write_copies(data.reals(args)[:1], "copies")
        print("| run | constants | what the watch reports |\n|---|---|---|", flush=True)
        for name, (changes, expected) in RUNS.items():
            if chosen in name:
                print_run(name, changes, expected, *train(name, base | changes))


if __name__ == "__main__":
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(options.get("data", ""), options.get("runs", ""), int(options.get("batches", 300)),
         options.get("folder", ""))
