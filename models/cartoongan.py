"""CartoonGAN: a generator that turns photos into cartoons, learned without pairs of them.

D tells cartoons from generated images, and also from cartoons whose edges are blurred, so G must
learn clear edges. G preserves the content of a photo: the features that a pretrained network
computes of the photo and of the generated image must be alike.

Reference: Chen 2018, "CartoonGAN: Generative Adversarial Networks for Photo Cartoonization", CVPR;
    [cartoon 5]
"""
import keras
import tensorflow as tf
from keras import layers

from models import augment, features, randomness
from models.adversarial import GAN
from models.autoencoder import Autoencoder
from models.dcgan import initializer, upsample
from models.randomness import Purpose

BLOCKS = 8  # residual blocks in the middle of G [Chen 2018 s3.1]


def build_generator(args, classes=0):
    """Builds the generator: two strided convolutions, eight residual blocks, two upsamplings.

    Args:
        args: the constants, a class.
        classes: not used; these networks are not conditional.

    Returns:
        A keras.Model: photos [batch, rows, columns, 3] in [-1, 1] -> cartoons of the same shape
        and range. Rows and columns may be any multiples of `CartoonGAN.multiple`.

    Reference: [Chen 2018 fig. 2]
    """
    slope = args.g_leaky_slope
    filters_down = args.generator_filters[1:]
    filters_up = args.generator_filters[-2::-1]  # all but the last, in reverse
    photos = keras.Input([None, None, 3], name="photos")
    x = _convolve(photos, args, args.generator_filters[0], kernel_size=7)
    x = _normalize_and_activate(x, slope)                              # 64x64
    for filters in filters_down:
        x = _convolve(x, args, filters, stride=2)
        x = _convolve(x, args, filters)
        x = _normalize_and_activate(x, slope)                          # 32x32, 16x16
    for _ in range(BLOCKS):
        x = _residual_block(x, args, slope)                            # 16x16
    for filters in filters_up:
        x = upsample(x, args, filters)
        x = _convolve(x, args, filters)
        x = _normalize_and_activate(x, slope)                          # 32x32, 64x64
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
    x = _convolve(images, args, args.discriminator_filters[0])
    x = _activate_and_drop(x, args)                                    # 64x64
    for filters in args.discriminator_filters[1:]:
        x = _convolve(x, args, filters, stride=2)
        x = _activate_and_drop(x, args)                                # 32x32, 16x16
        x = _convolve(x, args, 2 * filters)
        x = _instance_norm(x)
        x = _activate_and_drop(x, args)
    x = _convolve(x, args, x.shape[-1])
    x = _instance_norm(x)
    x = _activate_and_drop(x, args)
    x = _convolve(x, args, 1)
    logits = layers.Flatten()(x)
    return keras.Model(images, logits, name="discriminator")


def _convolve(x, args, filters, kernel_size=3, stride=1):
    x = _pad_by_reflection(x, kernel_size // 2)
    convolution = layers.Conv2D(
        filters, kernel_size, strides=stride, kernel_initializer=initializer(args))
    return convolution(x)


def _pad_by_reflection(x, size):
    """Adds `size` pixels on each side by reflection, which leaves no dark rim as zeros do."""
    return keras.ops.pad(x, [(0, 0), (size, size), (size, size), (0, 0)], mode="reflect")


def _instance_norm(x):
    """Normalizes each channel of each image: contrast is no matter of style [Ulyanov 2016]."""
    return layers.GroupNormalization(groups=-1, epsilon=1e-5)(x)


def _normalize_and_activate(x, slope):
    x = _instance_norm(x)
    return layers.LeakyReLU(negative_slope=slope)(x)


def _residual_block(x, args, slope):
    filters = x.shape[-1]
    residual = _convolve(x, args, filters)
    residual = _normalize_and_activate(residual, slope)
    residual = _convolve(residual, args, filters)
    residual = _instance_norm(residual)
    return layers.Add()([x, residual])


def _activate_and_drop(x, args):
    x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
    if args.d_dropout:
        x = layers.Dropout(args.d_dropout)(x)
    return x


class Content:
    """The content of images, which the features of a pretrained network describe.

    Args:
        name: "vgg19", or "file.keras:layer", see `features.inner_network`.

    Attributes:
        network: maps images in [0, 255] to features; None until it is loaded.
    """

    def __init__(self, name):
        self.name = name
        self.network = None

    def load(self):
        """Loads the network, unless it is loaded already.

        Raises:
            FileNotFoundError, ValueError: if it cannot be loaded, see `features.inner_network`.
        """
        if self.network is None:
            with tf.init_scope():  # outside the graph of a training step that may call this
                self.network = features.inner_network(self.name)

    def distance(self, photos, images, seed=None):
        """Returns the mean absolute difference of the features, relative to those of the photos.

        It is the l1 distance of the paper, divided by the mean feature of the photos so that its
        scale is the same for every network: 0 if the content is the same, about 1 or more if the
        images have nothing in common.

        Args:
            photos: float32 [batch, rows, columns, 3] in [-1, 1].
            images: what G made of them, of the same shape.
            seed: int tensor [2] or None. With it both are shifted by the same random offset.
                Strides weigh some pixels more than others, and G would reproduce that grid
                [measured: a kernel distance of 428 after 500 batches, 556 without shifts].

        Returns:
            A float32 scalar.
        """
        self.load()
        if seed is not None:
            photos = augment.translation(photos, seed)
            images = augment.translation(images, seed)
        expected = self._features(photos)
        received = self._features(images)
        return tf.reduce_mean(tf.abs(expected - received)) / tf.reduce_mean(tf.abs(expected))

    def _features(self, images):
        return self.network((images + 1) * 127.5, training=False)


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

    Attributes:
        content: a `Content`. It is loaded by the first training step, as sampling does not need it,
            and is not saved with the weights.
    """

    def __init__(self, args, generator, discriminator):
        super().__init__(args, generator, discriminator)
        self.content = Content(args.content_features)

    @property
    def logged(self):
        names = super().logged
        return (*names[:3], "content_distance", *names[3:])

    @property
    def multiple(self):
        """Rows and columns of photos must be multiples of this number."""
        return 2 ** (len(self.args.generator_filters) - 1)

    def unpack(self, batch):
        """Returns the real images, no labels, and the photos, which are the inputs of G."""
        # Here, as no variables can be created in the scope in which G's loss is computed.
        self.content.load()
        images, photos, _ = batch
        return images, None, photos

    def fakes_to_judge(self, fake, batch):
        """Returns the generated images, followed by the smoothed images of the batch."""
        _, _, smoothed = batch
        return tf.concat([fake, smoothed], axis=0)

    def generator_terms(self, g_inputs, fake):
        """Returns the content distance between photos and generated images, and its weight."""
        distance = self.content.distance(g_inputs, fake, self.seed(Purpose.CONTENT))
        return [("content_distance", self.args.content_weight, distance)]

    def update_batch_norm(self):
        """Does nothing: instance norm has no statistics to estimate."""


class ContentPretraining(Autoencoder):
    """The generator alone learns to preserve the content of photos [Chen 2018 s3.3; cartoon 1].

    Args:
        args: the constants, a class.
        generator: maps photos to images.

    Attributes:
        content: a `Content`. It is loaded by the first training step, and is not saved with the
            weights.
    """
    logged = ("content_distance",)

    def __init__(self, args, generator):
        super().__init__(args, None, generator)
        self.networks = {"generator": generator}
        self.content = Content(args.content_features)

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
        with tf.GradientTape() as tape:
            distance = self.content.distance(photos, self(photos, training=True), seed)
            loss = self.optimizer.scale_loss(distance)
        gradients = tape.gradient(loss, self.trainable_variables)
        return self.finish_step({"content_distance": distance}, gradients)
