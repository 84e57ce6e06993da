"""Whether a large dataset streams: training on 200,000 images that don't fit a batch's worth of memory.

    python tests/bench_stream.py images=200000 batches=400

Images of noise, 64x64, in one HDF5 file that is removed in the end; the default networks. It tells which share of the
time a step waits for its images, and the most memory that the process held, beside a run on 2,000 images.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import h5py  # noqa: E402
import numpy as np  # noqa: E402

import args as constants  # noqa: E402

WARM_UP = 5  # batches, in which graphs are made


def write(path, count):
    with h5py.File(path, "w") as file:
        faces = file.create_dataset("faces", (count, *constants.Args.image_shape), "uint8")
        for start in range(0, count, 1000):
            shape = min(1000, count - start), *constants.Args.image_shape
            faces[start:start + 1000] = np.random.default_rng(start).integers(0, 256, shape, "uint8")


def train(path, batches):
    """Prints the mean seconds a step waited for its images, the mean seconds of a step, and the peak memory in MiB."""
    import tensorflow as tf

    import data
    import models
    args = constants.override(constants.Args, data=path)
    gan = models.build(args)
    step, images, seconds = tf.function(gan.train_step), iter(data.load(args)), []
    for _ in range(WARM_UP + batches):
        start = time.perf_counter()
        batch = next(images)
        there = time.perf_counter()
        step(batch)["g_loss"].numpy()
        seconds.append((there - start, time.perf_counter() - there))
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(*np.mean(seconds[WARM_UP:], 0), int(peak.split()[1]) / 1024)


def main(images=200000, batches=400):
    print("| images | waits for images, of a step | seconds a step | peak memory |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for count in 2000, images:
            path = f"{folder}/{count}.hdf5"
            write(path, count)
            said = subprocess.run([sys.executable, __file__, "train", path, str(batches)], check=True, text=True,
                                  stdout=subprocess.PIPE).stdout
            waited, learned, peak = map(float, said.splitlines()[-1].split())
            print(f"| {count:,} | {waited / (waited + learned):.2%} | {learned:.2f} | {peak:.0f} MiB |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(sys.argv[2], int(sys.argv[3]))
    else:
        main(**{name: int(number) for name, number in (word.split("=") for word in sys.argv[1:])})
