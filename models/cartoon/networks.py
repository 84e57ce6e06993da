"""The networks of CartoonGAN [Chen 2018 fig. 2], and a U-Net as another generator [Wang 2020]."""
import keras
from keras import layers

from models.dcgan import initializer, upsample
from models.layers import SpectralNormalization

BLOCKS = 8        # residual blocks in the middle of G [Chen 2018 s3.1]
U_NET_BLOCKS = 4  # the same in the U-Net [Wang 2020]


def multiple(args):
    """Returns what the rows and columns of G's images must be a multiple of."""
    return 2 ** (len(args.generator_filters) - 1)


def build_generator(args, classes=0):
    """Builds G: two strided convolutions, residual blocks, two upsamplings.

    It maps photos [batch, rows, columns, 3] in [-1, 1] to cartoons of the same shape and range.
    Rows and columns are any multiples of `multiple(args)`. With `u_net` G starts as the identity.
    """
    first_filters, *other_filters = args.generator_filters
    photos = keras.Input([None, None, 3], name="photos")
    x = _convolve(photos, args, first_filters, kernel_size=7)
    x = _normalize_and_activate(x, args)                                    # 64x64
    skips = []
    for filters in other_filters:
        skips.append(x)
        x = _convolve(x, args, filters, stride=2)
        x = _convolve(x, args, filters)
        x = _normalize_and_activate(x, args)                                # 32x32, 16x16
    for _ in range(U_NET_BLOCKS if args.u_net else BLOCKS):
        x = _residual_block(x, args)                                        # 16x16
    for filters in reversed(args.generator_filters[:-1]):
        x = upsample(x, args, filters)
        if args.u_net:
            x = layers.Add()([x, skips.pop()])
        x = _convolve(x, args, filters)
        x = _normalize_and_activate(x, args)                                # 32x32, 64x64
    if args.u_net:
        x = _convolve(x, args, 3, kernel_size=7, kernel_initializer="zeros")
        cartoons = change(photos, layers.Activation("tanh")(x))
    else:
        x = _convolve(x, args, 3, kernel_size=7)
        cartoons = layers.Activation("tanh")(x)
    return keras.Model(photos, cartoons, name="generator")


def build_discriminator(args, classes=0):
    """Builds D, which judges patches, as edges are local.

    It maps images [batch, *image_shape] in [-1, 1] to logits [batch, patches], high for cartoons.
    """
    first_filters, *other_filters = args.discriminator_filters
    images = keras.Input(args.image_shape, name="images")
    x = _layer_of_d(images, args, first_filters)                            # 64x64
    for filters in other_filters:
        x = _layer_of_d(x, args, filters, stride=2)                         # 32x32, 16x16
        x = _layer_of_d(x, args, 2 * filters, normalize=True)
    x = _layer_of_d(x, args, x.shape[-1], normalize=True)
    x = _convolve(x, args, 1, spectral_norm=args.spectral_norm)
    return keras.Model(images, layers.Flatten()(x), name="discriminator")


def change(photos, changes):
    """Moves each value of photos towards 1, white, or -1, black, by a fraction of its distance.

    Unlike a sum, the result stays in [-1, 1] without clipping, which would have no gradient.

    Args:
        photos: [batch, rows, columns, 3] in [-1, 1].
        changes: of the same shape: 0 leaves a value as it is, 1 makes it white and -1 black.
    """
    return photos + changes - keras.ops.absolute(changes) * photos


def reflect(x, size):
    """Pads rows and columns by `size` reflected pixels, which leave no dark rim as zeros do."""
    return keras.ops.pad(x, [(0, 0), (size, size), (size, size), (0, 0)], mode="reflect")


def _convolve(x, args, filters, kernel_size=3, stride=1, kernel_initializer=None,
              spectral_norm=False):
    convolution = layers.Conv2D(
        filters, kernel_size, strides=stride,
        kernel_initializer=kernel_initializer or initializer(args))
    if spectral_norm:
        convolution = SpectralNormalization(convolution)
    return convolution(reflect(x, kernel_size // 2))


def _layer_of_d(x, args, filters, stride=1, normalize=False):
    x = _convolve(x, args, filters, stride=stride, spectral_norm=args.spectral_norm)
    if normalize and not args.spectral_norm:
        x = _instance_norm(x)
    x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
    if args.d_dropout:
        x = layers.Dropout(args.d_dropout)(x)
    return x


def _residual_block(x, args):
    filters = x.shape[-1]
    residual = _convolve(x, args, filters)
    residual = _normalize_and_activate(residual, args)
    if args.u_net:
        # Each block starts as the identity, which stabilizes the training as a norm does
        # [Zhang 2019, arXiv:1901.09321].
        residual = _convolve(residual, args, filters, kernel_initializer="zeros")
    else:
        residual = _convolve(residual, args, filters)
        residual = _instance_norm(residual)
    return layers.Add()([x, residual])


def _normalize_and_activate(x, args):
    if not args.u_net:
        x = _instance_norm(x)
    return layers.LeakyReLU(negative_slope=args.g_leaky_slope)(x)


def _instance_norm(x):
    """Normalizes each channel of each image [Ulyanov 2016, arXiv:1607.08022].

    The layers behind it do not know the image's contrast and colors, and the noise of flat areas is
    amplified.
    """
    return layers.GroupNormalization(groups=-1, epsilon=1e-5)(x)
