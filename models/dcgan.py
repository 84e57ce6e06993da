"""The DCGAN [Radford 2015], as the anime-face example wrote it and as pytorch/examples did: one builder a network.

The paper's guidelines, and where they are by default: no pooling, strided convolutions (`_down`) and fractionally
strided ones (`up`); batch norm in both, but not on D's first layer nor on G's last; no fully connected hidden layers;
tanh at the end of G; leaky ReLU in D. G's ReLU is leaky too here, as [forcecore] and [ganhacks 5] have it.
"""
import keras
from keras import layers

from models.layers import (AlwaysDropout, BatchNormalization, MinibatchDiscrimination, PixelShuffle,
                           SpectralNormalization)


def initializer(args):
    """Returns the initializer named by `args.kernel_initializer`; "normal" is N(0, 0.02) [Radford 2015 s4]."""
    if args.kernel_initializer == "normal":
        return keras.initializers.RandomNormal(stddev=0.02)
    try:
        return keras.initializers.get(args.kernel_initializer)
    except ValueError:
        raise ValueError(f"`kernel_initializer` must be normal or a name of Keras', such as glorot_uniform. "
                         f"Received: kernel_initializer={args.kernel_initializer}") from None


def _normalize_and_activate(x, args, network):
    if args.batch_norm in (network, "both"):
        x = BatchNormalization(momentum=args.bn_momentum, epsilon=args.bn_epsilon)(x)
    return _activate(x, args, network)


def _activate(x, args, network):
    if network == "generator":
        x = layers.LeakyReLU(negative_slope=args.g_leaky_slope)(x)
        return AlwaysDropout(args.g_dropout)(x) if args.g_dropout else x
    x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
    return layers.Dropout(args.d_dropout)(x) if args.d_dropout else x


def up(x, args, filters, **options):
    """Doubles rows and columns; all but the transposed convolution are free of its checkerboards [cartoon 3]."""
    options |= {"padding": "same", "kernel_initializer": initializer(args)}
    if args.upsampling == "transpose":
        return layers.Conv2DTranspose(filters, args.kernel_size, strides=2, **options)(x)
    if args.upsampling == "pixel_shuffle":
        return PixelShuffle()(layers.Conv2D(4 * filters, args.kernel_size, **options)(x))
    x = layers.UpSampling2D(2, interpolation=args.upsampling)(x)  # nearest, bilinear
    return layers.Conv2D(filters, args.kernel_size, **options)(x)


def _down(x, args, filters):
    """Halves rows and columns; max pooling gives sparse gradients, and is here to be compared [ganhacks 5]."""
    stride = 2 if args.downsampling == "stride" else 1
    convolution = layers.Conv2D(filters, args.kernel_size, strides=stride, padding="same", use_bias=args.use_bias,
                                kernel_initializer=initializer(args))
    x = (SpectralNormalization(convolution) if args.spectral_norm else convolution)(x)
    if args.downsampling == "stride":
        return x
    return {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}[args.downsampling](2, padding="same")(x)


def check(args):
    """Refuses constants of which no networks can be built.

    Raises:
        ValueError: where `image_shape` is no multiple of the upsampling, 2 for each of `generator_filters`, or the
            initializer is unknown.
    """
    rows, columns, channels = args.image_shape
    scale = 2 ** len(args.generator_filters)
    if rows % scale or columns % scale or channels not in (1, 3):
        raise ValueError(f"`image_shape` must be a multiple of {scale} rows and columns, 2 for each of "
                         f"generator_filters={args.generator_filters}, with 1 or 3 channels. "
                         f"Received: image_shape={args.image_shape}")
    initializer(args)


def build_generator(args, classes=0):
    """Builds G, which maps z [batch, latent_dim] to images [batch, *image_shape] in [-1, 1].

    Where there are `classes`, z is [batch, latent_dim + classes], the class one-hot behind z, which is multiplied by
    an embedding of the class [Odena 2017; keras.io's first ACGAN].
    """
    check(args)
    rows, columns, channels = args.image_shape
    scale = 2 ** len(args.generator_filters)
    first, *rest = args.generator_filters
    z = x = keras.Input([args.latent_dim + classes], name="z")
    if classes:
        z_alone, one_hot = z[:, :args.latent_dim], z[:, args.latent_dim:]
        embedding = layers.Dense(args.latent_dim, use_bias=False, name="embedding",
                                 kernel_initializer=keras.initializers.RandomNormal(stddev=1.0))
        # Only beside z, the class let G forget z: one face for each hair colour [measured: toy faces, 600 batches].
        x = layers.Concatenate()([z_alone * embedding(one_hot), one_hot])
    x = layers.Reshape([1, 1, -1])(x)
    # A transposed convolution over a single pixel: a dense layer with the shape of an image.
    x = layers.Conv2DTranspose(first, (rows // scale, columns // scale), use_bias=args.use_bias,
                               kernel_initializer=initializer(args))(x)
    x = _normalize_and_activate(x, args, "generator")                                 # 4x4
    for filters in rest:
        x = up(x, args, filters, use_bias=args.use_bias)
        x = _normalize_and_activate(x, args, "generator")                             # 8x8, 16x16, 32x32
    for filters in args.generator_extra_filters:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=args.use_bias,
                          kernel_initializer=initializer(args))(x)
        x = _normalize_and_activate(x, args, "generator")                             # 32x32
    images = up(x, args, channels, activation="tanh", use_bias=args.use_bias, dtype="float32")  # 64x64
    return keras.Model(z, images, name="generator")


def _features(images, args):
    """Stacks the strided convolutions that D and the encoder share."""
    first, *rest = args.discriminator_filters
    # No batch norm on the first: D must see the colours of an image as they are [Radford 2015 s3].
    x = _down(images, args, first)
    x = _activate(x, args, "discriminator")                                           # 32x32
    for filters in rest:
        x = _down(x, args, filters)
        x = _normalize_and_activate(x, args, "discriminator")                         # 16x16, 8x8, 4x4
    return layers.Flatten(name="features")(x)


def build_discriminator(args, classes=0):
    """Builds D, which maps images [batch, *image_shape] in [-1, 1] of any size to logits [batch, 1], high for real.

    Where there are `classes`, it gives [batch, 1 + classes]: behind the first the logits of the class [Odena 2017].
    """
    images = keras.Input(args.image_shape, name="images")
    x = _features(images, args)
    if args.minibatch_kernels:
        x = MinibatchDiscrimination(args.minibatch_kernels)(x)
    head = layers.Dense(1 + classes, use_bias=args.use_bias, kernel_initializer=initializer(args), dtype="float32")
    logits = (SpectralNormalization(head) if args.spectral_norm else head)(x)
    return keras.Model(images, logits, name="discriminator")


def build_encoder(args, classes=0):
    """Builds the encoder of the pretraining: D's layers, ending in G's input, of [-1, 1] [forcecore]."""
    images = keras.Input(args.image_shape, name="images")
    z = layers.Dense(args.latent_dim + classes, activation="tanh",
                     kernel_initializer=initializer(args))(_features(images, args))
    return keras.Model(images, z, name="encoder")
