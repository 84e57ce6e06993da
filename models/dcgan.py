"""The DCGAN [Radford 2015]: the networks of the anime-face original and of pytorch/examples.

The paper's guidelines, all of them defaults: strided convolutions (`_downsample`) and transposed
ones (`upsample`) instead of pooling; batch norm in both networks, but neither on D's first layer
nor on G's last; no hidden dense layers; tanh at the end of G; leaky ReLU in D. One default
differs: G's ReLU is leaky too [forcecore; ganhacks 5].
"""
import keras
from keras import layers

from models.layers import AlwaysDropout, MinibatchDiscrimination, SpectralNormalization


def initializer(args):
    """Returns a new initializer, as named by `kernel_initializer`. "normal" is N(0, 0.02)."""
    if args.kernel_initializer == "normal":
        return keras.initializers.RandomNormal(stddev=0.02)
    return keras.initializers.get(args.kernel_initializer)


def build_generator(args, classes=0):
    """Builds G, which maps z [batch, latent_dim] to images [batch, *image_shape] in [-1, 1].

    With classes, z is [batch, latent_dim + classes]: the class is one-hot behind z, and z is
    multiplied by an embedding of the class [Odena 2017, arXiv:1610.09585; mnist_acgan].
    """
    rows, columns, channels = args.image_shape
    scale = 2 ** len(args.generator_filters)
    first_filters, *other_filters = args.generator_filters
    z = keras.Input([args.latent_dim + classes], name="z")
    x = _embed_class(z, args) if classes else z
    x = layers.Reshape([1, 1, -1])(x)
    # A transposed convolution of a single pixel is a dense layer with an image as its output.
    x = layers.Conv2DTranspose(
        first_filters, (rows // scale, columns // scale), kernel_initializer=initializer(args))(x)
    x = _normalize_and_activate(x, args, "generator")                       # 4x4
    for filters in other_filters:
        x = upsample(x, args, filters)
        x = _normalize_and_activate(x, args, "generator")                   # 8x8, 16x16, 32x32
    for filters in args.generator_extra_filters:
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer(args))(x)
        x = _normalize_and_activate(x, args, "generator")                   # 32x32
    x = upsample(x, args, channels, dtype="float32")                       # 64x64
    if args.output_blur:
        x = layers.AveragePooling2D(2, strides=1, padding="same", dtype="float32")(x)
    images = layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(z, images, name="generator")


def build_discriminator(args, classes=0):
    """Builds D, which maps images [batch, *image_shape] in [-1, 1] to logits [batch, 1].

    Logits are high for real images. With classes they are [batch, 1 + classes]: the logits of the
    classes follow [Odena 2017]. `image_shape` may have any number of rows and columns.
    """
    images = keras.Input(args.image_shape, name="images")
    x = _convolutions(images, args)
    if args.minibatch_kernels:
        x = MinibatchDiscrimination(args.minibatch_kernels)(x)
    head = layers.Dense(1 + classes, kernel_initializer=initializer(args), dtype="float32")
    if args.spectral_norm:
        head = SpectralNormalization(head)
    return keras.Model(images, head(x), name="discriminator")


def build_encoder(args, classes=0):
    """Builds the pretraining's encoder, which maps images to z in [-1, 1], with D's layers."""
    images = keras.Input(args.image_shape, name="images")
    head = layers.Dense(
        args.latent_dim + classes, activation="tanh", kernel_initializer=initializer(args))
    return keras.Model(images, head(_convolutions(images, args)), name="encoder")


def upsample(x, args, filters, dtype=None):
    """Doubles rows and columns.

    Transposed convolutions and pixel shuffle can leave checkerboards [cartoon 3; measured].

    Args:
        x: feature maps, [batch, rows, columns, channels].
        args: the constants, a class of args.py.
        filters: channels of the output.
        dtype: of the layers, by default the global one.
    """
    options = {"padding": "same", "kernel_initializer": initializer(args), "dtype": dtype}
    if args.upsampling == "transpose":
        return layers.Conv2DTranspose(filters, args.kernel_size, strides=2, **options)(x)
    if args.upsampling == "pixel_shuffle":
        x = layers.Conv2D(4 * filters, args.kernel_size, **options)(x)
        return _pixel_shuffle(x, dtype)
    x = layers.UpSampling2D(2, interpolation=args.upsampling)(x)
    return layers.Conv2D(filters, args.kernel_size, **options)(x)


def _pixel_shuffle(x, dtype):
    """Turns each pixel of 4 x channels into 2x2 pixels [Shi 2016, arXiv:1609.05158].

    As `keras.ops.depth_to_space`, which Keras 3.13 lacks.
    """
    rows, columns, channels = x.shape[1:]
    x = layers.Reshape([rows, columns, 2, 2, channels // 4], dtype=dtype)(x)
    x = layers.Permute([1, 3, 2, 4, 5], dtype=dtype)(x)
    return layers.Reshape([2 * rows, 2 * columns, channels // 4], dtype=dtype)(x)


def _embed_class(z, args):
    """Multiplies z by an embedding of the class behind it, and appends the one-hot class again.

    With the one-hot class alone, G learned to ignore z: one face per hair color [measured: toy
    faces, 600 batches].
    """
    z_alone, one_hot = z[:, :args.latent_dim], z[:, args.latent_dim:]
    embedding = layers.Dense(
        args.latent_dim, use_bias=False, name="embedding",
        kernel_initializer=keras.initializers.RandomNormal(stddev=1.0))
    return layers.Concatenate()([z_alone * embedding(one_hot), one_hot])


def _convolutions(images, args):
    """Applies the convolutions that D and the encoder share. Returns features [batch, features].

    Feature matching finds the last layer by its name.
    """
    first_filters, *other_filters = args.discriminator_filters
    # No batch norm on the first layer, as training became unstable with it [Radford 2015 s3].
    x = _downsample(images, args, first_filters)
    x = _activate(x, args, "discriminator")                                 # 32x32
    for filters in other_filters:
        x = _downsample(x, args, filters)
        x = _normalize_and_activate(x, args, "discriminator")               # 16x16, 8x8, 4x4
    return layers.Flatten(name="features")(x)


def _downsample(x, args, filters):
    """Halves rows and columns.

    Max pooling is here for comparison only: its gradients are sparse [ganhacks 5].
    """
    stride = 2 if args.downsampling == "stride" else 1
    convolution = layers.Conv2D(
        filters, args.kernel_size, strides=stride, padding="same",
        kernel_initializer=initializer(args))
    if args.spectral_norm:
        convolution = SpectralNormalization(convolution)
    x = convolution(x)
    if args.downsampling == "average":
        x = layers.AveragePooling2D(2, padding="same")(x)
    if args.downsampling == "max":
        x = layers.MaxPooling2D(2, padding="same")(x)
    return x


def _normalize_and_activate(x, args, network):
    if args.batch_norm in (network, "both"):
        x = layers.BatchNormalization(momentum=args.bn_momentum)(x)
    return _activate(x, args, network)


def _activate(x, args, network):
    if network == "generator":
        x = layers.LeakyReLU(negative_slope=args.g_leaky_slope)(x)
        if args.g_dropout:
            x = AlwaysDropout(args.g_dropout)(x)
    else:
        x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
        if args.d_dropout:
            x = layers.Dropout(args.d_dropout)(x)
    return x
