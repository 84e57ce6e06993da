"""Runs that are compared bit for bit: random combinations of constants, and what differs."""
import random

import h5py
import numpy as np
from conftest import TINY

import args as constants
import gan
from training import checkpoints

# What `combination` chooses from: the constants of the DCGAN with few values each.
OPTIONS = {name: list(choices) for name, choices in constants.CHOICES.items()}
OPTIONS |= {
    "network": ["dcgan"],
    "crop": ["center"],
    "kernel_initializer": ["normal", "glorot_uniform", "orthogonal"],
    "conditional": [False, True],
    "flip": [False, True],
    "kernel_size": [3, 4, 5],
    "g_leaky_slope": [0.0, 0.2],
    "g_dropout": [0.0, 0.5],
    "d_dropout": [0.0, 0.3],
    "minibatch_kernels": [0, 5],
    "spectral_norm": [False, True],
    "d_features": ["", "random"],
    "g_step_moves_d": [False, True],
    "warmup_batches": [0, 3],
    "augment": ["", "color", "color,translation,cutout"],
    "instance_noise": [0.0, 0.1],
    "instance_noise_batches": [0, 3],
    "replay_size": [0, 12],
    "replay_fraction": [0.25, 0.5],
    "swap_every": [0, 4],
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
    # A text as the seed: neighboring numbers would choose alike.
    choose = random.Random(f"combination {number}").choice
    while True:
        chosen = {name: choose(options) for name, options in OPTIONS.items()}
        chosen["name"] = f"combination{number}"
        args = constants.override(constants.ToyFaces, **(TINY | chosen))
        try:
            constants.check(args)
        except ValueError:
            continue
        return args


def arrays(path):
    """Returns {name: array} of an HDF5 file."""
    found = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(collect)
    return found


def differences(path, other_path):
    """Returns the names of the arrays in which two HDF5 files differ."""
    one, other = arrays(path), arrays(other_path)
    names = sorted(one.keys() | other.keys())
    return [name for name in names if not np.array_equal(one.get(name), other.get(name))]


def train(args, name, *lengths):
    """Trains a run to each of `lengths` in turn. Returns its newest checkpoint."""
    args = constants.override(args, name=f"{args.name}-{name}")
    for batches in lengths:
        gan.main(constants.override(args, batches=batches))
    return checkpoints.checkpoints(checkpoints.run_folder(args))[-1]


def differences_of_resumed(args):
    """Returns in which arrays a run that was stopped twice differs from one that was not."""
    return differences(train(args, "whole", 6), train(args, "resumed", 3, 5, 6))
