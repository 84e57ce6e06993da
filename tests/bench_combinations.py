"""Random legal combinations of constants: do they train, and resume bit for bit?

    python tests/bench_combinations.py count=20

Each trains 4 batches on nets of a few filters, once in one go and once in two; losses, weights, averages, optimizers
and memories must then be equal to the last bit. Prints a line for each, with what differs from the preset.
"""
import os
import pathlib
import random
import sys
import tempfile

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import h5py  # noqa: E402
import numpy as np  # noqa: E402
from conftest import TINY  # noqa: E402

import args as constants  # noqa: E402
import callbacks  # noqa: E402
import data  # noqa: E402
import gan  # noqa: E402
import models  # noqa: E402

OPTIONS = {name: list(choices) for name, choices in models.CHOICES.items()} | {
    "network": ["dcgan"],  # the Keras example's knows few of these
    "conditional": [False, True], "flip": [False, True], "kernel_size": [3, 4, 5], "g_leaky_slope": [0.0, 0.2],
    "use_bias": [False, True], "kernel_initializer": ["normal", "glorot_uniform", "orthogonal"],
    "g_dropout": [0.0, 0.5], "d_dropout": [0.0, 0.3], "minibatch_kernels": [0, 5], "spectral_norm": [False, True],
    "warmup_batches": [0, 3], "augment": ["", "color", "color,translation,cutout"], "instance_noise": [0.0, 0.1],
    "instance_noise_batches": [0, 3], "replay_size": [0, 12], "replay_fraction": [0.25, 0.5], "swap_every": [0, 3],
    "swap_for": [1], "feature_matching": [0.0, 1.0], "gradient_penalty": [0.0, 10.0], "r1_weight": [0.0, 10.0],
    "real_labels": [(0.9, 0.9), (0.7, 1.2)], "fake_labels": [(0.0, 0.0), (0.0, 0.3)], "label_flip": [0.0, 0.1],
    "ema_decay": [0.0, 0.995], "pretrain_batches": [0, 2],
}


def combination(number):
    """Draws constants until they can go together: a preset, the same for the same number."""
    chance = random.Random(f"combination {number}")  # neighbouring numbers would draw alike
    while True:
        drawn = {name: chance.choice(options) for name, options in OPTIONS.items()}
        args = constants.override(constants.ToyFaces, **TINY | drawn | {"name": f"combination{number}"})
        try:
            models.check(args)
            return args
        except ValueError:
            pass


def contents(snapshot):
    """Returns {file and dataset: values} of all that the HDF5 files of a folder hold."""
    values = {}
    for path in sorted(snapshot.glob("*.h*5")):
        with h5py.File(path) as file:
            file.visititems(lambda name, item: values.update({f"{path.name}/{name}": item[()]})
                            if isinstance(item, h5py.Dataset) else None)
    return values


def train(args, name, *lengths):
    """Trains to each of `lengths` in turn; returns all that the last snapshot and loss.csv hold."""
    for batches in lengths:
        gan.main(constants.override(args, name=f"{args.name}-{name}", batches=batches))
    folder = pathlib.Path("runs") / f"{args.name}-{name}"
    return contents(callbacks.snapshots(folder)[-1]) | {"loss.csv": (folder / "loss.csv").read_text()}


def differences(args):
    """Returns the names of what a resumed run has otherwise than one in a single go; empty where all is equal."""
    whole, resumed = train(args, "whole", 4), train(args, "resumed", 3, 4)
    for held in whole, resumed:  # the resumed one dumped its third batch too
        held["loss.csv"] = "".join(line for line in held["loss.csv"].splitlines(True) if not line.startswith("3,"))
    return [name for name in whole | resumed if not np.array_equal(whole.get(name), resumed.get(name))]


def main(count=20):
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        data.make(combination(0))
        equal = 0
        for number in range(count):
            args = combination(number)
            found = differences(args)
            equal += not found
            changed = {name: value for name, value in constants.changes(args).items()
                       if name in OPTIONS and value != getattr(constants.ToyFaces, name)}
            print(f"\n{number}: {'equal' if not found else f'DIFFERENT in {found[:3]}'}: "
                  + " ".join(f"{name}={value}" for name, value in changed.items()), file=sys.stderr, flush=True)
    print(f"\n{equal} of {count} random combinations trained, and resumed bit for bit")
    return equal == count


if __name__ == "__main__":
    sys.exit(not main(**{name: int(number) for name, number in (word.split("=") for word in sys.argv[1:])}))
