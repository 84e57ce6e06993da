"""Whether a large dataset streams: training on 200,000 images that are never in memory together.

    python tests/bench/bench_stream.py images=200000 batches=400

The images are noise, 64x64, in an HDF5 file of 2.5 GB that is removed at the end; the networks are
the default ones. It prints which share of a step waits for images, and the peak memory of the
process, beside a run on 2,000 images.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import h5py  # noqa: E402
import numpy as np  # noqa: E402

import args as constants  # noqa: E402

WARM_UP = 5  # batches in which graphs are traced


def write(path, count):
    """Writes `count` images of noise in the layout of data.py: chunks of one image."""
    shape = constants.Args.image_shape
    with h5py.File(path, "w") as file:
        faces = file.create_dataset("faces", (count, *shape), "uint8", chunks=(1, *shape))
        for start in range(0, count, 1000):
            part = min(1000, count - start), *shape
            rng = np.random.default_rng(start)
            faces[start:start + 1000] = rng.integers(0, 256, part, "uint8")


def train(path, batches):
    """Prints the mean seconds a step waits for images, the mean seconds it takes, and the peak MiB.
    """
    import tensorflow as tf

    import data
    import models
    args = constants.override(constants.Args, data=path)
    gan = models.build(args)
    step = tf.function(gan.train_step)
    images = iter(data.load(args))
    seconds = []
    for _ in range(WARM_UP + batches):
        start = time.perf_counter()
        batch = next(images)
        loaded = time.perf_counter()
        step(batch)["g_loss"].numpy()
        seconds.append((loaded - start, time.perf_counter() - loaded))
    waiting, training = np.mean(seconds[WARM_UP:], axis=0)
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM"))
    print(waiting, training, int(peak.split()[1]) / 1024)


def main(images=200000, batches=400):
    print("| images | waits for images, of a step | seconds a step | peak memory |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for count in 2000, images:
            path = f"{folder}/{count}.hdf5"
            write(path, count)
            command = [sys.executable, __file__, "train", path, str(batches)]
            result = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
            waiting, training, peak = map(float, result.stdout.splitlines()[-1].split())
            share = waiting / (waiting + training)
            print(f"| {count:,} | {share:.2%} | {training:.2f} | {peak:.0f} MiB |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(sys.argv[2], int(sys.argv[3]))
    else:
        numbers = {}
        for argument in sys.argv[1:]:
            name, _, number = argument.partition("=")
            numbers[name] = int(number)
        main(**numbers)
