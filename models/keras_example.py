"""The networks of the Keras example "DCGAN to generate face images", for comparison with dcgan.py.

There is no batch norm, a dense layer leads into 1/8 of the image, and D has a single dropout. The
images of the example lie in [0, 1] behind a sigmoid, here they lie in [-1, 1]: a rescaling layer on
either side makes the networks the same.

Reference: keras.io/examples/generative/dcgan_overriding_train_step
"""
import keras
from keras import layers


def build_generator(args, classes=0):
    """Builds G, which maps z [batch, latent_dim] to images [batch, *image_shape] in [-1, 1].

    There are no classes, here and below.
    """
    rows, columns, channels = args.image_shape
    scale = 2 ** len(args.generator_filters)
    first_shape = (rows // scale, columns // scale, args.generator_filters[0])
    z = keras.Input([args.latent_dim], name="z")
    x = layers.Dense(first_shape[0] * first_shape[1] * first_shape[2])(z)
    x = layers.Reshape(first_shape)(x)                                       # 8x8
    for filters in args.generator_filters:
        x = layers.Conv2DTranspose(filters, args.kernel_size, strides=2, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=args.g_leaky_slope)(x)           # 16x16, 32x32, 64x64
    x = layers.Conv2D(channels, 5, padding="same", activation="sigmoid")(x)  # 64x64
    images = layers.Rescaling(2.0, offset=-1.0)(x)
    return keras.Model(z, images, name="generator")


def build_discriminator(args, classes=0):
    """Builds D, which maps images [batch, *image_shape] in [-1, 1] to logits [batch, 1]."""
    images = keras.Input(args.image_shape, name="images")
    x = layers.Dropout(args.d_dropout)(_extract_features(images, args))
    logits = layers.Dense(1)(x)
    return keras.Model(images, logits, name="discriminator")


def build_encoder(args, classes=0):
    """Builds the encoder of the pretraining: D's layers, then G's input in [-1, 1]."""
    images = keras.Input(args.image_shape, name="images")
    z = layers.Dense(args.latent_dim, activation="tanh")(_extract_features(images, args))
    return keras.Model(images, z, name="encoder")


def _extract_features(images, args):
    """Applies the strided convolutions that D and the encoder share."""
    x = layers.Rescaling(0.5, offset=0.5)(images)
    for filters in args.discriminator_filters:
        x = layers.Conv2D(filters, args.kernel_size, strides=2, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)           # 32x32, 16x16, 8x8
    return layers.Flatten(name="features")(x)
