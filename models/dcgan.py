"""The DCGAN [Radford 2015], as the anime-face example wrote it and as pytorch/examples did: one builder a network.

The paper's guidelines, and where they are: no pooling, strided convolutions (`_down`) and fractionally strided
ones (`_up`); batch norm in both, but not on D's first layer nor on G's last; no fully connected hidden layers; tanh
at the end of G; leaky ReLU in D. G's ReLU is leaky too here, as [forcecore] and [ganhacks 5] have it.
"""
import keras
from keras import layers


def _initializer(args):
    """Returns the initializer named by `args.kernel_initializer`; "normal" is N(0, 0.02) [Radford 2015 s4]."""
    if args.kernel_initializer == "normal":
        return keras.initializers.RandomNormal(stddev=0.02)
    try:
        return keras.initializers.get(args.kernel_initializer)
    except ValueError:
        raise ValueError(f"`kernel_initializer` must be normal or a name of Keras', such as glorot_uniform. "
                         f"Received: kernel_initializer={args.kernel_initializer}") from None


def _normalize_and_activate(x, args, slope):
    x = layers.BatchNormalization(momentum=args.bn_momentum, epsilon=args.bn_epsilon)(x)
    return layers.LeakyReLU(negative_slope=slope)(x)


def _up(x, args, filters, **options):
    return layers.Conv2DTranspose(filters, args.kernel_size, strides=2, padding="same",
                                  kernel_initializer=_initializer(args), **options)(x)


def _down(x, args, filters, **options):
    return layers.Conv2D(filters, args.kernel_size, strides=2, padding="same",
                         kernel_initializer=_initializer(args), **options)(x)


def build_generator(args):
    """Builds G, which maps z [batch, latent_dim] to images [batch, *image_shape] in [-1, 1].

    Raises:
        ValueError: where `image_shape` is no multiple of the upsampling, 2 for each of `generator_filters`.
    """
    rows, columns, channels = args.image_shape
    scale = 2 ** len(args.generator_filters)
    if rows % scale or columns % scale or channels not in (1, 3):
        raise ValueError(f"`image_shape` must be a multiple of {scale} rows and columns, 2 for each of "
                         f"generator_filters={args.generator_filters}, with 1 or 3 channels. "
                         f"Received: image_shape={args.image_shape}")
    first, *rest = args.generator_filters
    z = keras.Input([args.latent_dim], name="z")
    x = layers.Reshape([1, 1, args.latent_dim])(z)
    # A transposed convolution over a single pixel: a dense layer with the shape of an image.
    x = layers.Conv2DTranspose(first, (rows // scale, columns // scale), use_bias=args.use_bias,
                               kernel_initializer=_initializer(args))(x)
    x = _normalize_and_activate(x, args, args.g_leaky_slope)                          # 4x4
    for filters in rest:
        x = _up(x, args, filters, use_bias=args.use_bias)
        x = _normalize_and_activate(x, args, args.g_leaky_slope)                      # 8x8, 16x16, 32x32
    for filters in args.generator_extra_filters:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=args.use_bias,
                          kernel_initializer=_initializer(args))(x)
        x = _normalize_and_activate(x, args, args.g_leaky_slope)                      # 32x32
    images = _up(x, args, channels, activation="tanh", use_bias=args.use_bias)        # 64x64
    return keras.Model(z, images, name="generator")


def _features(images, args):
    """Stacks the strided convolutions that D and the encoder share."""
    first, *rest = args.discriminator_filters
    # No batch norm on the first: D must see the colours of an image as they are [Radford 2015 s3].
    x = _down(images, args, first, use_bias=args.use_bias)
    x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)                        # 32x32
    for filters in rest:
        x = _down(x, args, filters, use_bias=args.use_bias)
        x = _normalize_and_activate(x, args, args.d_leaky_slope)                      # 16x16, 8x8, 4x4
    return x


def build_discriminator(args):
    """Builds D, which maps images [batch, *image_shape] in [-1, 1] of any size to logits [batch, 1], high for real."""
    images = keras.Input(args.image_shape, name="images")
    x = layers.Flatten()(_features(images, args))
    logits = layers.Dense(1, use_bias=args.use_bias, kernel_initializer=_initializer(args))(x)
    return keras.Model(images, logits, name="discriminator")


def build_encoder(args):
    """Builds the encoder of the pretraining: D's layers, ending in z [batch, latent_dim] in [-1, 1] [forcecore]."""
    images = keras.Input(args.image_shape, name="images")
    x = layers.Flatten()(_features(images, args))
    z = layers.Dense(args.latent_dim, activation="tanh", kernel_initializer=_initializer(args))(x)
    return keras.Model(images, z, name="encoder")
