"""Makes models/pretrained.weights.h5, the networks of weights=pretrained, from a checkpoint.

    python tests/bench/make_pretrained.py runs/pretrained/weights/033500.weights.h5

The file holds the averaged generator and the discriminator, their largest kernels in half
precision. So it is smaller than 5 MB, and its samples differ from the run's by less than .001.
Keras converts the numbers when it loads them.
"""
import os
import sys

import h5py
import numpy as np

OUTPUT = "models/pretrained.weights.h5"
LARGE = 500_000  # numbers; of 400,000 and more: 4.2 MB, but samples that differ by .0014 [measured]
NETWORKS = {"generator_ema": "generator", "discriminator": "discriminator"}  # old and new names


def make(checkpoint, output):
    """Writes the networks of the file `checkpoint` to the file `output`."""
    with h5py.File(checkpoint) as source, h5py.File(output, "w") as target:
        for old_name, new_name in NETWORKS.items():
            copy(source[old_name], target.create_group(new_name))


def copy(source, target):
    """Copies an HDF5 group, compressed, with its large kernels in half precision."""
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            copy(item, target.create_group(name))
        else:
            dtype = np.float16 if item.size > LARGE else np.float32
            target.create_dataset(name, data=item[()].astype(dtype), compression="gzip")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(sys.argv[1], OUTPUT)
    print(f"{OUTPUT}: {os.path.getsize(OUTPUT) / 1e6:.1f} MB")
