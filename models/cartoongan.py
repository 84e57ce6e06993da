"""CartoonGAN: a generator that turns photos into cartoons, learned without pairs of them.

D tells cartoons from generated images, and also from cartoons whose edges are blurred, so G must
learn clear edges. G preserves the content of a photo: the features that a fixed network computes of
the photo and of the generated image must be alike.

With the networks and the losses of the paper photos become softer, and their style changes little
[measured]. So there is a second G, a U-Net that begins as the identity, a D that sees contrast and
colors, and further losses. The one that helps most needs no D: cartoons are turned into something
like photos, which is easy, and G learns to restore them.

References: Chen 2018, "CartoonGAN: Generative Adversarial Networks for Photo Cartoonization", CVPR;
    Wang 2020, "Learning to Cartoonize Using White-box Cartoon Representations", CVPR; [cartoon 5]
"""
import math

import keras
import tensorflow as tf
from keras import layers

from models import features, losses, randomness
from models.adversarial import GAN
from models.autoencoder import Autoencoder
from models.dcgan import initializer, upsample
from models.layers import SpectralNormalization
from models.randomness import Purpose

BLOCKS = 8        # residual blocks in the middle of G [Chen 2018 s3.1]
U_NET_BLOCKS = 4  # the same in a U-Net [Wang 2020]
SHIFT = 4         # pixels, so that offsets differ by up to 8, the stride of VGG19's block 4

# How cartoons are degraded for G to restore them. Distances are in pixels of images with 64 rows.
# On average, the saturation of 600 toy photos was .67 times that of 200 drawings without lines, the
# contrast 1.04 times, and the brightness .10 higher [measured]. The rest is [guess].
LINE_CONTRAST = 0.1        # by which a line is darker than what is beside it
TEXTURE = 0.15             # the largest standard deviation of spots of 2 and of 4 pixels
TINT = 0.05                # the standard deviation of the colors of spots of 16 pixels
GRAIN = 0.06               # the largest standard deviation of single pixels
SATURATION = (0.5, 0.85)   # the range of the factor
CONTRAST = (0.85, 1.2)     # the range of the factor
BRIGHTNESS = (0.0, 0.15)   # the range of the change


def build_generator(args, classes=0):
    """Builds the generator: two strided convolutions, residual blocks, two upsamplings.

    Args:
        args: the constants, a class.
        classes: not used; these networks are not conditional.

    Returns:
        A keras.Model: photos [batch, rows, columns, 3] in [-1, 1] -> cartoons of the same shape
        and range. Rows and columns may be any multiples of `CartoonGAN.multiple`. With `u_net` the
        first output is the photo itself.

    Reference: [Chen 2018 fig. 2]; of the U-Net [Wang 2020]
    """
    filters_down = args.generator_filters[1:]
    filters_up = args.generator_filters[-2::-1]  # all but the last, in reverse
    photos = keras.Input([None, None, 3], name="photos")
    x = _convolve(photos, args, args.generator_filters[0], kernel_size=7)
    x = _normalize_and_activate(x, args)                               # 64x64
    way_down = []
    for filters in filters_down:
        way_down.append(x)
        x = _convolve(x, args, filters, stride=2)
        x = _convolve(x, args, filters)
        x = _normalize_and_activate(x, args)                           # 32x32, 16x16
    for _ in range(U_NET_BLOCKS if args.u_net else BLOCKS):
        x = _residual_block(x, args)                                   # 16x16
    for filters in filters_up:
        x = upsample(x, args, filters)
        if args.u_net:
            x = layers.Add()([x, way_down.pop()])
        x = _convolve(x, args, filters)
        x = _normalize_and_activate(x, args)                           # 32x32, 64x64
    if args.u_net:
        x = _convolve(x, args, 3, kernel_size=7, kernel_initializer="zeros")
        cartoons = _change(photos, layers.Activation("tanh")(x))
    else:
        x = _convolve(x, args, 3, kernel_size=7)
        cartoons = layers.Activation("tanh")(x)
    return keras.Model(photos, cartoons, name="generator")


def build_discriminator(args, classes=0):
    """Builds the discriminator, which judges patches: edges are local.

    Args:
        args: the constants, a class.
        classes: not used; these networks are not conditional.

    Returns:
        A keras.Model: images [batch, *image_shape] in [-1, 1] -> logits [batch, patches], high for
        cartoons.

    Reference: [Chen 2018 fig. 2]
    """
    images = keras.Input(args.image_shape, name="images")
    spectral = args.spectral_norm
    x = _convolve(images, args, args.discriminator_filters[0], spectral_norm=spectral)
    x = _activate_and_drop(x, args)                                    # 64x64
    for filters in args.discriminator_filters[1:]:
        x = _convolve(x, args, filters, stride=2, spectral_norm=spectral)
        x = _activate_and_drop(x, args)                                # 32x32, 16x16
        x = _convolve(x, args, 2 * filters, spectral_norm=spectral)
        if not spectral:
            x = _instance_norm(x)
        x = _activate_and_drop(x, args)
    x = _convolve(x, args, x.shape[-1], spectral_norm=spectral)
    if not spectral:
        x = _instance_norm(x)
    x = _activate_and_drop(x, args)
    x = _convolve(x, args, 1, spectral_norm=spectral)
    logits = layers.Flatten()(x)
    return keras.Model(images, logits, name="discriminator")


def _convolve(x, args, filters, kernel_size=3, stride=1, kernel_initializer=None,
              spectral_norm=False):
    if kernel_initializer is None:
        kernel_initializer = initializer(args)
    x = _pad_by_reflection(x, kernel_size // 2)
    convolution = layers.Conv2D(
        filters, kernel_size, strides=stride, kernel_initializer=kernel_initializer)
    if spectral_norm:
        convolution = SpectralNormalization(convolution)
    return convolution(x)


def _instance_norm(x):
    """Normalizes each channel of each image [Ulyanov 2016].

    So no layer behind it knows the contrast and the colors of an image, and the noise of a flat
    area is amplified.
    """
    return layers.GroupNormalization(groups=-1, epsilon=1e-5)(x)


def _normalize_and_activate(x, args):
    if not args.u_net:
        x = _instance_norm(x)
    return layers.LeakyReLU(negative_slope=args.g_leaky_slope)(x)


def _residual_block(x, args):
    filters = x.shape[-1]
    residual = _convolve(x, args, filters)
    residual = _normalize_and_activate(residual, args)
    if args.u_net:
        # Each block begins as the identity, which replaces the stabilizing effect of a norm
        # [Zhang 2019, arXiv:1901.09321].
        residual = _convolve(residual, args, filters, kernel_initializer="zeros")
    else:
        residual = _convolve(residual, args, filters)
        residual = _instance_norm(residual)
    return layers.Add()([x, residual])


def _pad_by_reflection(x, size):
    """Adds `size` pixels on each side by reflection, which leaves no dark rim as zeros do."""
    return keras.ops.pad(x, [(0, 0), (size, size), (size, size), (0, 0)], mode="reflect")


def _change(photos, changes):
    """Moves each value by a fraction of its distance to 1, white, or to -1, black.

    Unlike a sum, the result stays in [-1, 1], and needs no clipping, which would leave G without a
    gradient.

    Args:
        photos: [batch, rows, columns, 3] in [-1, 1].
        changes: of the same shape: 0 leaves a pixel as it is, 1 is white and -1 is black.

    Returns:
        Images of the same shape in [-1, 1].
    """
    return photos + changes - keras.ops.absolute(changes) * photos


def _activate_and_drop(x, args):
    x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
    if args.d_dropout:
        x = layers.Dropout(args.d_dropout)(x)
    return x


class FeatureMaps:
    """Feature maps of images, of networks that do not learn.

    Args:
        names: {constant: text}, of `content_features` and `style_features`, see
            `features.inner_network`.

    Attributes:
        network: a keras.Model; None until it is loaded. It is not saved with the weights.
    """

    def __init__(self, names):
        self.names = names
        self.network = None

    def load(self):
        """Loads the networks, unless they are loaded already.

        Raises:
            FileNotFoundError, ValueError: if one cannot be loaded, see `features.inner_network`.
        """
        if self.network is None:
            with tf.init_scope():  # outside the graph of a training step that may call this
                self.network = features.inner_network(self.names)

    def __call__(self, images, seed=None):
        """Returns the feature maps of images, {constant: [maps of each layer]}.

        Args:
            images: float32 [batch, rows, columns, 3] in [-1, 1].
            seed: int tensor [2] or None. With it the images are shifted by a random offset that
                depends on the seed alone. Strides weigh some pixels more than others, and G would
                reproduce that grid [measured: a kernel distance of 428 after 500 batches, 556
                without shifts].
        """
        self.load()
        if seed is not None:
            images = shift(images, seed)
        return self.network((images + 1) * 127.5, training=False)


def shift(images, seed):
    """Shifts all images by the same random offset of up to `SHIFT` pixels. Edges are reflected."""
    _, rows, columns, _ = images.shape
    size = [SHIFT, SHIFT]
    padded = tf.pad(images, [[0, 0], size, size, [0, 0]], "REFLECT")
    top, left = tf.unstack(tf.random.stateless_uniform([2], seed, 0, 2 * SHIFT + 1, "int32"))
    return padded[:, top:top + rows, left:left + columns]


def degrade(cartoons, seed):
    """Makes cartoons more like photos: no outlines, but texture, pale colors, blur and grain.

    Args:
        cartoons: float32 [batch, rows, columns, 3] in [-1, 1].
        seed: int tensor [2]. The strength of each step is random for each image.

    Returns:
        Images of the same shape and range.
    """
    pixel = max(1, cartoons.shape[1] // 64)

    def strength(number, low, high):
        shape = [tf.shape(cartoons)[0], 1, 1, 1]
        return randomness.uniform(shape, tf.random.fold_in(seed, number), low, high)

    def spots(number, size, channels=1):
        return _spots(cartoons, size, channels, tf.random.fold_in(seed, number))

    x = without_thin_lines(cartoons, 2 * pixel + 1)
    x += strength(0, 0.0, TEXTURE) * spots(1, 2 * pixel)
    x += strength(2, 0.0, TEXTURE) * spots(3, 4 * pixel)
    x += TINT * spots(4, 16 * pixel, channels=3)
    soft = tf.nn.avg_pool2d(_pad_by_reflection(x, pixel), 2 * pixel + 1, 1, "VALID")
    x += strength(10, 0.0, 1.0) * (soft - x)
    gray = tf.reduce_mean(x, 3, keepdims=True)
    x = gray + strength(5, *SATURATION) * (x - gray)
    mean = tf.reduce_mean(x, [1, 2, 3], keepdims=True)
    x = mean + strength(6, *CONTRAST) * (x - mean) + strength(7, *BRIGHTNESS)
    x += strength(8, 0.0, GRAIN) * spots(9, 1)
    return tf.clip_by_value(x, -1.0, 1.0)


def without_thin_lines(images, size):
    """Replaces dark lines thinner than `size` pixels by the mean of what is beside them.

    So the border of two areas stays in the middle of the line that was between them.

    Args:
        images: float32 [batch, rows, columns, channels] in [-1, 1].
        size: an odd number of pixels.

    Returns:
        Images of the same shape and range.
    """
    gray = tf.reduce_mean(images, 3, keepdims=True)
    brightest = tf.nn.max_pool2d(gray, size, 1, "SAME")
    closed = -tf.nn.max_pool2d(-brightest, size, 1, "SAME")  # a morphological closing
    is_line = closed - gray > LINE_CONTRAST
    beside = tf.cast(~is_line, images.dtype)
    total = tf.nn.avg_pool2d(images * beside, size + 2, 1, "SAME")
    share = tf.nn.avg_pool2d(beside, size + 2, 1, "SAME")
    return tf.where(is_line & (share > 0), tf.math.divide_no_nan(total, share), images)


def _spots(images, size, channels, seed):
    """Returns noise from N(0, 1) for images, enlarged so that a spot is `size` pixels wide."""
    rows, columns = images.shape[1:3]
    shape = [tf.shape(images)[0], math.ceil(rows / size), math.ceil(columns / size), channels]
    return tf.image.resize(randomness.normal(shape, seed), [rows, columns], "bicubic")


class CartoonGAN(GAN):
    """A GAN whose generator gets photos instead of z.

    Args:
        args: the constants, a class.
        generator: maps photos to images.
        discriminator: maps images to logits [batch, patches].

    A batch is (images, photos, smoothed images), each float32 [batch, rows, columns, 3] in [-1, 1].
    D learns from real images, and from fake ones that are generated and smoothed images in equal
    numbers. The paper weighs all three alike [Chen 2018 eq. 1 to 4]; here real images weigh as much
    as both others.

    The loss of G has up to five terms beside the adversarial one, each with a weight of its own: of
    content, style, colors, variation and restoration.

    Attributes:
        feature_maps: a `FeatureMaps`. It is loaded by the first training step, as sampling does not
            need it.
    """

    def __init__(self, args, generator, discriminator):
        super().__init__(args, generator, discriminator)
        names = {}
        if args.content_weight:
            names["content_features"] = args.content_features
        if args.style_weight:
            names["style_features"] = args.style_features
        self.feature_maps = FeatureMaps(names)

    @property
    def logged(self):
        args = self.args
        terms = []
        if args.content_weight:
            terms.append("content_distance")
        if args.style_weight:
            terms.append("style_distance")
        if args.color_weight:
            terms.append("color_distance")
        if args.variation_weight:
            terms.append("total_variation")
        if args.restoration_weight:
            terms.append("restoration_error")
        names = super().logged
        return (*names[:3], *terms, *names[3:])

    @property
    def multiple(self):
        """Rows and columns of photos must be multiples of this number."""
        return 2 ** (len(self.args.generator_filters) - 1)

    def unpack(self, batch):
        """Returns the real images, no labels, and the photos, which are the inputs of G."""
        # Here, as no variables can be created in the scope in which G's loss is computed.
        if self.feature_maps.names:
            self.feature_maps.load()
        images, photos, _ = batch
        return images, None, photos

    def fakes_to_judge(self, fake, batch):
        """Returns the generated images, followed by the smoothed images of the batch."""
        _, _, smoothed = batch
        return tf.concat([fake, smoothed], axis=0)

    def generator_terms(self, real, g_inputs, fake):
        """Returns the terms whose weights are not 0, see the class.

        Args:
            real: cartoons, float32 [batch, rows, columns, 3] in [-1, 1].
            g_inputs: photos, and `fake` what G made of them, of the same shape and range.
        """
        args = self.args
        seed = self.seed(Purpose.CONTENT)
        terms = []
        if args.content_weight or args.style_weight:
            maps_of_fake = self.feature_maps(fake, seed)
        if args.content_weight:
            maps_of_photos = self.feature_maps(g_inputs, seed)
            distance = losses.content_distance(
                maps_of_photos["content_features"], maps_of_fake["content_features"])
            terms.append(("content_distance", args.content_weight, distance))
        if args.style_weight:
            maps_of_cartoons = self.feature_maps(real, seed)
            distance = losses.style_distance(
                maps_of_cartoons["style_features"], maps_of_fake["style_features"])
            terms.append(("style_distance", args.style_weight, distance))
        if args.color_weight:
            distance = losses.color_distance(g_inputs, fake)
            terms.append(("color_distance", args.color_weight, distance))
        if args.variation_weight:
            variation = losses.total_variation(fake)
            terms.append(("total_variation", args.variation_weight, variation))
        if args.restoration_weight:
            degraded = degrade(real, self.seed(Purpose.DEGRADE))
            restored = tf.cast(self.generator(degraded, training=True), "float32")
            error = tf.reduce_mean(tf.abs(restored - real))
            terms.append(("restoration_error", args.restoration_weight, error))
        return terms

    def update_batch_norm(self):
        """Does nothing: these networks have no moving statistics."""


class ContentPretraining(Autoencoder):
    """The generator alone learns to preserve the content of photos [Chen 2018 s3.3; cartoon 1].

    Args:
        args: the constants, a class.
        generator: maps photos to images.

    Attributes:
        feature_maps: a `FeatureMaps`. It is loaded by the first training step.
    """
    logged = ("content_distance",)

    def __init__(self, args, generator):
        super().__init__(args, None, generator)
        self.networks = {"generator": generator}
        self.feature_maps = FeatureMaps({"content_features": args.content_features})

    def call(self, photos, training=False):
        """Returns the images that G makes of photos, float32 in [-1, 1]."""
        return tf.cast(self.generator(photos, training=training), "float32")

    def train_step(self, batch):
        """Learns one batch of (images, photos, smoothed images), of which only photos are used.

        Returns:
            {"content_distance"}: a scalar.
        """
        _, photos, _ = batch
        seed = randomness.seed(self.args, Purpose.CONTENT, self.batch)
        expected = self.feature_maps(photos, seed)["content_features"]
        with tf.GradientTape() as tape:
            received = self.feature_maps(self(photos, training=True), seed)["content_features"]
            distance = losses.content_distance(expected, received)
            loss = self.optimizer.scale_loss(distance)
        gradients = tape.gradient(loss, self.trainable_variables)
        return self.finish_step({"content_distance": distance}, gradients)
