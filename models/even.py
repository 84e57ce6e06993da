"""The networks of the smallest GAN: dense layers that learn to generate even numbers, as bits.

The images are those of models/toys/numbers.py. No line of code says what "even" means: D finds out
that the last bit of real numbers is 0, and G learns it from D.

Reference: [scratch 6]
"""
import keras
from keras import layers


def build_generator(args, classes=0):
    """Builds G, which maps z [batch, latent_dim] to numbers [batch, 1, bits, 1] in [-1, 1].

    There are no classes, here and below.
    """
    z = keras.Input([args.latent_dim], name="z")
    x = z
    for units in args.generator_filters:
        x = layers.Dense(units)(x)
        x = layers.LeakyReLU(negative_slope=args.g_leaky_slope)(x)
    x = layers.Dense(args.image_shape[1], activation="tanh")(x)
    images = layers.Reshape(args.image_shape)(x)
    return keras.Model(z, images, name="generator")


def build_discriminator(args, classes=0):
    """Builds D, which maps numbers [batch, 1, bits, 1] to logits [batch, 1], high for real ones."""
    images = keras.Input(args.image_shape, name="images")
    logits = layers.Dense(1)(_extract_features(images, args))
    return keras.Model(images, logits, name="discriminator")


def build_encoder(args, classes=0):
    """Builds the encoder of the pretraining: D's layers, then G's input in [-1, 1]."""
    images = keras.Input(args.image_shape, name="images")
    z = layers.Dense(args.latent_dim, activation="tanh")(_extract_features(images, args))
    return keras.Model(images, z, name="encoder")


def _extract_features(images, args):
    """Applies the dense layers that D and the encoder share."""
    x = layers.Flatten()(images)
    for units in args.discriminator_filters:
        x = layers.Dense(units)(x)
        x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
    return layers.Identity(name="features")(x)
