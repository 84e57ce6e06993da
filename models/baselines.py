"""The networks of the Keras example "DCGAN to generate face images", for comparison; the original's are in dcgan.py.

No batch norm, a dense layer into 1/8 of the image, one dropout in D [keras.io, dcgan_overriding_train_step]. Its images
lie in [0, 1] behind a sigmoid, ours in [-1, 1]: a linear map on either side makes the same networks of them.
"""
import keras
from keras import layers


# Constants that these networks don't know, and the values they must have.
FIXED = {"conditional": False, "minibatch_kernels": 0, "spectral_norm": False, "g_dropout": 0.0,
         "batch_norm": "none", "downsampling": "stride", "upsampling": "transpose", "generator_extra_filters": (),
         "kernel_initializer": "glorot_uniform", "use_bias": True}


def check(args):
    """Refuses constants of which these networks can't be built.

    Raises:
        ValueError: names them.
    """
    scale = 2 ** len(args.generator_filters)
    if args.image_shape[0] % scale or args.image_shape[1] % scale:
        raise ValueError(f"`image_shape` must be a multiple of {scale} rows and columns, 2 for each of "
                         f"generator_filters={args.generator_filters}. Received: image_shape={args.image_shape}")


def build_generator(args, classes=0):
    """Builds G, which maps z [batch, latent_dim] to images [batch, *image_shape] in [-1, 1]."""
    rows, columns, channels = args.image_shape
    scale = 2 ** len(args.generator_filters)
    first = args.generator_filters[0]
    z = keras.Input([args.latent_dim], name="z")
    x = layers.Dense(rows // scale * (columns // scale) * first)(z)
    x = layers.Reshape([rows // scale, columns // scale, first])(x)                      # 8x8
    for filters in args.generator_filters:
        x = layers.Conv2DTranspose(filters, args.kernel_size, strides=2, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=args.g_leaky_slope)(x)                       # 16x16, 32x32, 64x64
    x = layers.Conv2D(channels, 5, padding="same", activation="sigmoid")(x)              # 64x64
    return keras.Model(z, layers.Rescaling(2.0, -1.0)(x), name="generator")


def _features(images, args):
    x = layers.Rescaling(0.5, 0.5)(images)
    for filters in args.discriminator_filters:
        x = layers.Conv2D(filters, args.kernel_size, strides=2, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)                       # 32x32, 16x16, 8x8
    return layers.Flatten(name="features")(x)


def build_discriminator(args, classes=0):
    """Builds D, which maps images [batch, *image_shape] in [-1, 1] to logits [batch, 1], high for real."""
    images = keras.Input(args.image_shape, name="images")
    x = layers.Dropout(args.d_dropout)(_features(images, args))
    return keras.Model(images, layers.Dense(1)(x), name="discriminator")


def build_encoder(args, classes=0):
    """Builds the encoder of the pretraining: D's layers, ending in z in [-1, 1]."""
    images = keras.Input(args.image_shape, name="images")
    return keras.Model(images, layers.Dense(args.latent_dim, activation="tanh")(_features(images, args)),
                       name="encoder")
