"""Makes squeezenet.keras, the feature network of the published scores: SqueezeNet 1.1 without top.

    python tests/bench/make_squeezenet.py squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5
    python tests/bench/make_squeezenet.py squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5 96

The second command makes squeezenet96.keras for `d_features`: it resizes images to 96x96, which is
faster.

The weights, those of ImageNet, lie in github.com/DeepCognition/keras-squeezenet (MIT). Any HDF5
file will do that has groups named conv1, fire2/squeeze1x1, ..., fire9/expand3x3 with the same
numbers, which are checked by their hash.

Reference: Iandola 2016, arXiv:1602.07360
"""
import hashlib
import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import h5py  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

# Of all weights as float32, in the order of `layer_names`, each kernel before its bias.
SHA256 = "4b4fd7b05f7e3aa708573b8c4c373d5f4c3655089ad202aaf52b762a5f4703c9"
# Filters of the fire modules 2 to 9: of the squeeze layer, and of each expand layer.
FIRE_FILTERS = [
    (16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
FIRES_AFTER_POOLING = (2, 4, 6)  # [SqueezeNet 1.1]
MEAN_BGR = (103.939, 116.779, 123.68)  # of ImageNet, in [0, 255] [Caffe]
SIZE = 128  # rows and columns that the scores resize images to: twice those of the faces


def layer_names():
    """Returns the published names of the layers that have weights, in the order of the network."""
    names = ["conv1"]
    for number in range(2, 10):
        for part in ("squeeze1x1", "expand1x1", "expand3x3"):
            names.append(f"fire{number}/{part}")
    return names


def build(size=SIZE):
    """Builds the network with random weights.

    Args:
        size: rows and columns that images are resized to.

    Returns:
        A keras.Model: images [batch, rows, columns, 3] in [0, 255], of any size -> features
        [batch, 512], the means over places of the last layer.
    """
    images = keras.Input((None, None, 3))
    resized = layers.Resizing(size, size)(images)
    to_bgr = layers.Conv2D(3, 1, name="rgb_to_caffe_bgr")
    x = _convolve(to_bgr(resized), 64, 3, "conv1", strides=2)
    for number, (squeeze_filters, expand_filters) in enumerate(FIRE_FILTERS, start=2):
        if number in FIRES_AFTER_POOLING:
            x = layers.MaxPooling2D(3, strides=2)(x)
        x = _fire_module(x, number, squeeze_filters, expand_filters)
    network = keras.Model(images, layers.GlobalAveragePooling2D()(x))
    reversed_channels = np.eye(3)[::-1].reshape(1, 1, 3, 3)
    to_bgr.set_weights([reversed_channels, -np.array(MEAN_BGR)])
    return network


def _convolve(x, filters, kernel_size, name, **options):
    layer = layers.Conv2D(
        filters, kernel_size, activation="relu", name=name.replace("/", "_"), **options)
    return layer(x)


def _fire_module(x, number, squeeze_filters, expand_filters):
    x = _convolve(x, squeeze_filters, 1, f"fire{number}/squeeze1x1")
    expanded_1x1 = _convolve(x, expand_filters, 1, f"fire{number}/expand1x1")
    expanded_3x3 = _convolve(x, expand_filters, 3, f"fire{number}/expand3x3", padding="same")
    return layers.Concatenate(name=f"fire{number}_concatenate")([expanded_1x1, expanded_3x3])


def read_weights(path):
    """Reads the published weights.

    Args:
        path: an HDF5 file.

    Returns:
        The kernel and the bias of each of `layer_names`, in a flat list of arrays.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the kernel or the bias of a layer is missing.
    """
    datasets = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            datasets[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(collect)
    weights = []
    for layer in layer_names():
        kernels = []
        biases = []
        for name, array in datasets.items():
            # The dataset is in a group of the layer's name, or has that name with an ending.
            if f"/{layer}/" not in f"/{name}" and f"/{layer}_" not in f"/{name}":
                continue
            if array.ndim == 4:
                kernels.append(array)
            if array.ndim == 1:
                biases.append(array)
        if len(kernels) != 1 or len(biases) != 1:
            raise ValueError(
                f"The file must have one kernel and one bias of {layer}. "
                f"Received: {len(kernels)} kernels and {len(biases)} biases")
        weights += [kernels[0], biases[0]]
    return weights


def digest(weights):
    """Returns the SHA-256 of a list of arrays, as float32."""
    numbers = b"".join(np.asarray(array, "<f4").tobytes() for array in weights)
    return hashlib.sha256(numbers).hexdigest()


def set_weights(network, weights):
    """Sets the weights of what `build` returned to those that `read_weights` returned."""
    for number, name in enumerate(layer_names()):
        layer = network.get_layer(name.replace("/", "_"))
        layer.set_weights(weights[2 * number:2 * number + 2])


def main(path, size=SIZE):
    """Writes squeezenet.keras, or squeezenet96.keras, into the current folder.

    Args:
        path: an HDF5 file with the published weights.
        size: rows and columns that images are resized to.

    Raises:
        SystemExit: if `path` has other weights, or if the file to write exists.
    """
    output = "squeezenet.keras" if size == SIZE else f"squeezenet{size}.keras"
    if pathlib.Path(output).exists():
        sys.exit(f"{output} exists already and is not overwritten")
    try:
        weights = read_weights(path)
        network = build(size)
        set_weights(network, weights)
    except (OSError, ValueError) as error:
        sys.exit(
            "The weights must be those of SqueezeNet 1.1 without its top. "
            f"Received: {path}. {error}")
    if digest(weights) != SHA256:
        sys.exit(
            f"The weights must have the SHA-256 {SHA256}, as others give other scores. "
            f"Received: {path} with {digest(weights)}")
    network.save(output)
    print(f"{output} is written")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
