"""Reads all that runs hold, to compare them bit for bit. Tests and benches use it."""
import pathlib
import random

import h5py
import numpy as np
from conftest import TINY

import args as constants
import gan
from models import validation
from training import checkpoints

# What `combination` chooses from: the constants of the DCGAN with few values each.
OPTIONS = {name: list(choices) for name, choices in validation.CHOICES.items()}
OPTIONS |= {
    "network": ["dcgan"],
    "crop": ["center"],
    "kernel_initializer": ["normal", "glorot_uniform", "orthogonal"],
    "conditional": [False, True],
    "flip": [False, True],
    "kernel_size": [3, 4, 5],
    "g_leaky_slope": [0.0, 0.2],
    "use_bias": [False, True],
    "g_dropout": [0.0, 0.5],
    "d_dropout": [0.0, 0.3],
    "minibatch_kernels": [0, 5],
    "spectral_norm": [False, True],
    "g_step_moves_d": [False, True],
    "warmup_batches": [0, 3],
    "augment": ["", "color", "color,translation,cutout"],
    "instance_noise": [0.0, 0.1],
    "instance_noise_batches": [0, 3],
    "replay_size": [0, 12],
    "replay_fraction": [0.25, 0.5],
    "swap_every": [0, 3],
    "swap_for": [1],
    "feature_matching": [0.0, 1.0],
    "gradient_penalty": [0.0, 10.0],
    "r1_weight": [0.0, 10.0],
    "r1_every": [1, 2],
    "real_labels": [(0.9, 0.9), (0.7, 1.2)],
    "fake_labels": [(0.0, 0.0), (0.0, 0.3)],
    "label_flip": [0.0, 0.1],
    "ema_decay": [0.0, 0.995],
    "pretrain_batches": [0, 2],
}


def combination(number):
    """Returns a valid preset of random constants, the same for the same number."""
    # A text as the seed: neighbouring numbers would choose alike.
    choose = random.Random(f"combination {number}").choice
    while True:
        chosen = {name: choose(options) for name, options in OPTIONS.items()}
        chosen["name"] = f"combination{number}"
        args = constants.override(constants.ToyFaces, **(TINY | chosen))
        try:
            validation.validate(args)
        except ValueError:
            continue
        return args


def contents(folder):
    """Returns {file and dataset: array} of all HDF5 files in a folder."""
    arrays = {}
    for path in sorted(folder.glob("*.h*5")):
        def collect(name, item):
            if isinstance(item, h5py.Dataset):
                arrays[f"{path.name}/{name}"] = item[()]

        with h5py.File(path) as file:
            file.visititems(collect)
    return arrays


def differences(one, other):
    """Returns the names under which two dicts of arrays or texts differ."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if not np.array_equal(one.get(name), other.get(name))]


def train(args, name, *lengths):
    """Trains a run to each of `lengths` in turn; returns what its newest checkpoint holds.

    "loss.csv" is among it, as the set of its rows.
    """
    args = constants.override(args, name=f"{args.name}-{name}")
    for batches in lengths:
        gan.main(constants.override(args, batches=batches))
    run = pathlib.Path("runs") / args.name
    held = contents(checkpoints.checkpoints(run)[-1])
    held["loss.csv"] = (run / "loss.csv").read_text()
    return held


def differences_of_resumed(args):
    """Returns the names of what a resumed run has otherwise than one that was not stopped."""
    whole = train(args, "whole", 4)
    resumed = train(args, "resumed", 3, 4)
    for held in (whole, resumed):
        # The resumed run had a dump after its third batch too.
        rows = held["loss.csv"].splitlines()
        held["loss.csv"] = [row for row in rows if not row.startswith("3,")]
    return differences(whole, resumed)
