"""The networks of the smallest GAN: dense layers that learn to generate even numbers, as bits.

The images are those of models/toys/numbers.py. No line of code says what "even" means: D finds out
that the last bit of real numbers is 0, and G learns it from D.

Reference: [scratch 6]
"""
import keras
from keras import layers


def build_generator(args, classes=0):
    """Builds the generator.

    Args:
        args: the constants, a class.
        classes: not used; these networks are not conditional.

    Returns:
        A keras.Model: z [batch, latent_dim] -> numbers [batch, 1, bits, 1] in [-1, 1].
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
    """Builds the discriminator.

    Args:
        args: the constants, a class.
        classes: not used; these networks are not conditional.

    Returns:
        A keras.Model: numbers [batch, 1, bits, 1] in [-1, 1] -> logits [batch, 1], high for real.
    """
    images = keras.Input(args.image_shape, name="images")
    head = layers.Dense(1)  # created first: initial weights depend on the order of creation
    logits = head(_extract_features(images, args))
    return keras.Model(images, logits, name="discriminator")


def build_encoder(args, classes=0):
    """Builds the encoder of the pretraining, which has the layers of the discriminator.

    Args:
        args: the constants, a class.
        classes: not used; these networks are not conditional.

    Returns:
        A keras.Model: numbers [batch, 1, bits, 1] in [-1, 1] -> z [batch, latent_dim] in [-1, 1].
    """
    images = keras.Input(args.image_shape, name="images")
    head = layers.Dense(args.latent_dim, activation="tanh")  # created first, as above
    z = head(_extract_features(images, args))
    return keras.Model(images, z, name="encoder")


def _extract_features(images, args):
    """Applies the dense layers that D and the encoder share."""
    x = layers.Flatten()(images)
    for units in args.discriminator_filters:
        x = layers.Dense(units)(x)
        x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
    return layers.Identity(name="features")(x)
