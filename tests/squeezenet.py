"""Makes squeezenet.keras, the network that README's scores look through: SqueezeNet 1.1 [Iandola 2016,
arXiv:1602.07360] without its top, with the weights of ImageNet.

    python tests/squeezenet.py squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5

The weights lie in github.com/DeepCognition/keras-squeezenet (MIT). What counts is their numbers, whose hash must be
README's; any HDF5 file will do that holds them in folders named conv1, fire2/squeeze1x1 ... fire9/expand3x3.
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

SHA256 = "4b4fd7b05f7e3aa708573b8c4c373d5f4c3655089ad202aaf52b762a5f4703c9"  # of all numbers, float32, in this order
FIRES = (16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)  # squeeze, each expand
POOL_BEFORE = 2, 4, 6  # of the fire modules 2 to 9 [SqueezeNet 1.1]
MEAN_BGR = 103.939, 116.779, 123.68  # ImageNet's, in [0, 255] [Caffe]
SIZE = 128  # rows and columns that images are resized to: twice those of the faces


def names():
    """Yields the published names of the layers that have weights, in the network's order."""
    yield "conv1"
    for number in range(2, 10):
        yield from (f"fire{number}/{part}" for part in ("squeeze1x1", "expand1x1", "expand3x3"))


def build():
    """Returns the network, its weights drawn at random: images [batch, rows, columns, 3] in [0, 255], of any size, to
    features [batch, 512], the means over places of the last layer.
    """
    def conv(filters, kernel_size, name, **options):
        return layers.Conv2D(filters, kernel_size, activation="relu", name=name.replace("/", "_"), **options)

    inputs = keras.Input((SIZE, SIZE, 3))
    x = conv(64, 3, "conv1", strides=2)(inputs)
    for number, (squeeze, expand) in enumerate(FIRES, 2):
        x = layers.MaxPooling2D(3, 2)(x) if number in POOL_BEFORE else x
        x = conv(squeeze, 1, f"fire{number}/squeeze1x1")(x)
        x = layers.Concatenate(name="concatenate" + (f"_{number - 2}" if number > 2 else ""))(
            [conv(expand, 1, f"fire{number}/expand1x1")(x),
             conv(expand, 3, f"fire{number}/expand3x3", padding="same")(x)])
    inner = keras.Model(inputs, layers.GlobalAveragePooling2D()(x), name="functional")
    to_bgr = layers.Conv2D(3, 1, name="rgb_to_caffe_bgr")
    images = keras.Input((None, None, 3))
    network = keras.Model(images, inner(to_bgr(layers.Resizing(SIZE, SIZE)(images))))
    to_bgr.set_weights([np.eye(3)[::-1].reshape(1, 1, 3, 3), -np.array(MEAN_BGR)])
    return network


def read(path):
    """Reads the published weights: kernel and bias of each of `names`.

    Raises:
        ValueError: where they aren't there.
    """
    arrays = []
    with h5py.File(path) as file:
        found = []
        file.visititems(lambda name, item: found.append((name, item[()])) if isinstance(item, h5py.Dataset) else None)
    for layer in names():
        own = [array for name, array in found if f"/{layer}/" in f"/{name}" or f"/{layer}_" in f"/{name}"]
        kernel, bias = [array for array in own if array.ndim == 4], [array for array in own if array.ndim == 1]
        if len(kernel) != 1 or len(bias) != 1:
            raise ValueError(f"A kernel and a bias of {layer} must be there. Received: {path} with {len(own)} arrays")
        arrays += kernel + bias
    return arrays


def digest(arrays):
    return hashlib.sha256(b"".join(np.asarray(array, "<f4").tobytes() for array in arrays)).hexdigest()


def main(path):
    if pathlib.Path("squeezenet.keras").exists():
        sys.exit("squeezenet.keras is there already, and stays as it is")
    try:
        arrays = read(path)
        network = build()
        network.get_layer("functional").set_weights(arrays)
    except (OSError, ValueError) as error:
        sys.exit(f"The weights must be those of SqueezeNet 1.1 without its top. Received: {path}: {error}")
    if digest(arrays) != SHA256:
        sys.exit(f"These are other weights than those of README's scores. Received: {path} of {digest(arrays)}, not "
                 f"{SHA256}")
    network.save("squeezenet.keras")
    print("squeezenet.keras: features=squeezenet.keras looks through it")


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
