"""The smallest GAN: dense layers that learn to write even numbers, as bits [scratch 6].

A number is an image of one row, a pixel a bit, the highest first: white is 1, black is 0. No rule says "even" anywhere:
D finds out that in real numbers the last pixel is black, and G learns it from D.
"""
import keras
import numpy as np
from keras import layers


def bits(numbers, columns):
    """Writes numbers, int [count], as uint8 [count, 1, columns, 1], a pixel a bit, the highest first."""
    places = 2 ** np.arange(columns)[::-1]
    return np.uint8(255 * (np.asarray(numbers)[:, None] // places % 2))[:, None, :, None]


def numbers(images):
    """Reads such images, bytes: a pixel above the middle is 1. Returns int64 [count]."""
    places = 2 ** np.arange(images.shape[2])[::-1]
    return (images[:, 0, :, 0] > 127) @ places


# Constants that these networks don't know, and the values they must have.
FIXED = {"conditional": False, "minibatch_kernels": 0, "spectral_norm": False, "g_dropout": 0.0, "d_dropout": 0.0,
         "batch_norm": "none", "generator_extra_filters": (), "flip": False, "augment": "", "kernel_size": 4,
         "downsampling": "stride", "upsampling": "transpose", "kernel_initializer": "glorot_uniform", "use_bias": True}


def check(args):
    """Refuses constants of which no such networks can be built.

    Raises:
        ValueError: names them.
    """
    rows, columns, channels = args.image_shape
    if rows != 1 or channels != 1 or columns > 32:
        raise ValueError(f"`image_shape` must be (1, bits, 1) for network=even, with at most 32 bits. "
                         f"Received: image_shape={args.image_shape}")


def build_generator(args, classes=0):
    """Builds G, which maps z [batch, latent_dim] to numbers [batch, 1, bits, 1] in [-1, 1]."""
    z = x = keras.Input([args.latent_dim], name="z")
    for units in args.generator_filters:
        x = layers.Dense(units)(x)
        x = layers.LeakyReLU(negative_slope=args.g_leaky_slope)(x)
    x = layers.Dense(args.image_shape[1], activation="tanh")(x)
    return keras.Model(z, layers.Reshape(args.image_shape)(x), name="generator")


def _features(images, args):
    x = layers.Flatten()(images)
    for units in args.discriminator_filters:
        x = layers.Dense(units)(x)
        x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
    return layers.Identity(name="features")(x)


def build_discriminator(args, classes=0):
    """Builds D, which maps numbers [batch, 1, bits, 1] in [-1, 1] to logits [batch, 1], high for real."""
    images = keras.Input(args.image_shape, name="images")
    return keras.Model(images, layers.Dense(1)(_features(images, args)), name="discriminator")


def build_encoder(args, classes=0):
    """Builds the encoder of the pretraining: D's layers, ending in z in [-1, 1]."""
    images = keras.Input(args.image_shape, name="images")
    return keras.Model(images, layers.Dense(args.latent_dim, activation="tanh")(_features(images, args)),
                       name="encoder")
