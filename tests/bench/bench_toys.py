"""How good are the toy faces of README's first command? Trains them, and prints their numbers.

    python tests/bench/bench_toys.py seeds=3
    python tests/bench/bench_toys.py seeds=1 batches=1000 output_blur=False

Other arguments are constants of args.py. Runs stay in the folder `toys`, and continue there. The
row "real" has the numbers of real toy faces:

- error: mean absolute difference, of 255, to the nearest of the training images. A blurred or
  dull face can have a small one, so look at the pictures, toys/runs/*/dump.png.
- Laplacian: mean absolute difference, of 255, of a pixel to its four neighbors, times four. Grain
  and dots raise it.
- modes: combinations of hair color, hair style, eye color and mood, out of 384, among 3,600 images.
- distance, recall: by the features of the network that counts the modes.
"""
import os
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import args as constants  # noqa: E402
import gan  # noqa: E402

import numpy as np  # noqa: E402

import data  # noqa: E402
import models  # noqa: E402
from training import checkpoints, sampling  # noqa: E402
from training.scores import table  # noqa: E402

COUNT = 128  # images whose nearest training images are searched
SCORES = ("modes", "fd", "recall")


def laplacian(images):
    """Returns the mean absolute Laplacian of uint8 images [count, rows, columns, channels]."""
    x = np.float32(images)
    middle, above, below = x[:, 1:-1, 1:-1], x[:, :-2, 1:-1], x[:, 2:, 1:-1]
    left, right = x[:, 1:-1, :-2], x[:, 1:-1, 2:]
    return np.abs(4 * middle - above - below - left - right).mean()


def error_to_nearest(images, others):
    """Returns the mean absolute difference of images to the nearest of `others`, both uint8."""
    others = np.int16(others)
    nearest = [np.abs(others - np.int16(image)).mean(axis=(1, 2, 3)).min() for image in images]
    return np.mean(nearest)


def training_images(args):
    """Returns the training images, uint8."""
    return data.open_images(args)[data.split(args, args.dataset_size)[0]]


def train(args):
    """Trains and scores a run.

    Returns:
        {row: numbers} of "real" and of the run: seconds, error, Laplacian, and SCORES.
    """
    start = time.monotonic()
    gan.main(args)
    seconds = time.monotonic() - start
    scores = gan.evaluate(args)
    newest = checkpoints.checkpoints(checkpoints.run_folder(args))[-1]
    sampler = models.build_sampler(args, len(gan.class_names(args)))
    checkpoints.load_generator(sampler, newest)
    batches = []
    for _, _, _, images_of_batch in sampling.generate_images(args, sampler, 1000):
        batches.append(images_of_batch)
    test_rows = data.split(args, args.dataset_size)[1]
    sources = {
        "real": ("real", 0, data.open_images(args)[test_rows]),
        str(args.seed): (checkpoints.label_of(args, newest), seconds, np.concatenate(batches)),
    }
    rows = {}
    for name, (label, seconds_of_row, images) in sources.items():
        error = error_to_nearest(images[:COUNT], training_images(args))
        values = [scores[label][table.column(args, score)] for score in SCORES]
        rows[name] = [seconds_of_row, error, laplacian(images), *values]
    return rows


def main(arguments):
    seeds = 3
    changes = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "seeds":
            seeds = int(value)
        else:
            changes.append(argument)
    os.makedirs("toys", exist_ok=True)
    os.chdir("toys")
    print("| seed | seconds | error | Laplacian | modes | distance | recall |")
    print("|---|---|---|---|---|---|---|")
    for seed in range(seeds):
        options = ["ToyFaces", f"name=toyfaces-{seed}", f"seed={seed}", "data=faces.hdf5",
                   "evaluate_count=3600", "features=classifier", "keep_every=0", *changes]
        args, _ = constants.parse(options)
        if not os.path.exists(args.data):
            data.make(args)
        rows = train(args)
        if seed > 0:
            rows.pop("real")  # the same as before
        for name, row in rows.items():
            print(f"| {name} |" + "|".join(f" {value:.4g} " for value in row) + "|", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
