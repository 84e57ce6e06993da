"""Feature maps of frozen networks, for losses and discriminators."""
import pathlib

import keras
import tensorflow as tf

from models import features

SHIFT = 4  # pixels, so that offsets differ by up to 8, the stride of VGG19's block 4

DEFAULT_LAYERS = {
    "vgg19": ["block4_conv4"],                 # [Chen 2018 s3.2.2]
    "random": ["scale1", "scale2", "scale4"],  # all of its layers
}


class FeatureMaps:
    """Computes feature maps of images.

    A plain class instead of a Keras layer, so that checkpoints do not contain its networks.

    Args:
        constant: name of the constant, such as "content_features", for error messages.
        text: its value: the name of a network, a colon, and the names of its layers separated by
            commas, such as "vgg19:block4_conv4"; vgg19 and random have default layers. The networks
            are "vgg19", Keras' VGG19 with the weights of ImageNet, downloaded once; "random", see
            `features.feature_network`; and .keras files that take images in [0, 255].

    Raises:
        ValueError: if the text or a file is invalid, a layer does not exist, or the download fails.
    """

    def __init__(self, constant, text):
        name, layers = split(constant, text)
        network = _load(name)
        try:
            maps = [network.get_layer(layer).output for layer in layers]
        except ValueError as error:  # Keras names the layers that exist
            raise ValueError(f"`{constant}` names a layer that the network does not have. "
                             f"Received: {constant}={text}. {error}") from None
        self.network = keras.Model(network.inputs[0], maps, trainable=False)

    def __call__(self, images, seed):
        """Returns the feature maps of images, a list of the maps of each layer.

        Args:
            images: float32 [batch, rows, columns, 3] in [-1, 1].
            seed: int tensor [2], of the shift. Strides weigh some pixels more than others. Without
                shifts G would reproduce that grid: the kernel distance of a CartoonGAN was a third
                larger after 500 batches [measured].
        """
        pixels = (shift(images, seed) + 1) * 127.5
        return keras.tree.flatten(self.network(pixels, training=False))  # Keras unpacks [map]


def shift(images, seed):
    """Shifts all images by the same random offset of up to `SHIFT` pixels. Edges are reflected."""
    _, rows, columns, _ = images.shape
    top, left = tf.unstack(tf.random.stateless_uniform([2], seed, 0, 2 * SHIFT + 1, "int32"))
    margins = [(0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)]
    padded = keras.ops.pad(images, margins, mode="reflect")
    return padded[:, top:top + rows, left:left + columns]


def split(constant, text):
    """Splits a text such as "vgg19:block1_conv1,block2_conv1" into a network and its layers.

    Raises:
        ValueError: if the text names no network, or a file without layers.
    """
    name, _, layers = text.partition(":")
    names = layers.split(",") if layers else DEFAULT_LAYERS.get(name)
    is_file = name.endswith(".keras") and pathlib.Path(name).is_file()
    if not names or not (is_file or name in DEFAULT_LAYERS):
        raise ValueError(
            f"`{constant}` must be vgg19, random, or an existing .keras file and names of its "
            f"layers, as in file.keras:layer,layer. Received: {constant}={text}")
    return name, names


def _load(name):
    """Loads a network whose input is images in [0, 255]."""
    if name != "vgg19":
        return features.feature_network(name)
    images = keras.Input([None, None, 3])
    x = keras.applications.vgg19.preprocess_input(images)
    try:
        return keras.applications.VGG19(include_top=False, input_tensor=x)
    except Exception as error:  # a failed download raises errors of many types
        raise ValueError(
            "The weights of vgg19 could not be downloaded. Name layers of a .keras file instead, "
            f"as in file.keras:layer, or random. Received: vgg19. {error}") from None
