"""CartoonGAN [Chen 2018, CVPR]: a generator that turns a photo into a cartoon, and needs no pairs of them.

D tells cartoons from G's images, and from cartoons whose edges are blurred: clear edges are what G must learn. What
keeps the photo in the picture is its content: the features a pretrained network sees in both [cartoon 5].
"""
import functools

import keras
import tensorflow as tf
from keras import layers

from models import adversarial, augment, metrics
from models.autoencoder import Autoencoder
from models.dcgan import initializer, up
from models.layers import ReflectionPadding2D

BLOCKS = 8  # residual ones in the middle of G [Chen 2018 s3.1]
# Constants that these networks don't know, and the values they must have.
FIXED = {"conditional": False, "batch_norm": "none", "minibatch_kernels": 0, "spectral_norm": False,
         "feature_matching": 0.0, "gradient_penalty": 0.0, "r1_weight": 0.0, "replay_size": 0, "g_dropout": 0.0,
         "generator_extra_filters": (), "downsampling": "stride", "use_bias": True}


def check(args):
    """Refuses constants of which these networks can't be built.

    Raises:
        ValueError: names them.
    """
    scale = 2 ** (len(args.generator_filters) - 1)
    if args.image_shape[0] % scale or args.image_shape[1] % scale or args.image_shape[2] != 3:
        raise ValueError(f"`image_shape` must be a multiple of {scale} rows and columns, 2 for each but the first of "
                         f"generator_filters={args.generator_filters}, with 3 channels. "
                         f"Received: image_shape={args.image_shape}")
    if args.content_features != "vgg19" and ".keras:" not in args.content_features:
        raise ValueError("`content_features` must be vgg19, or a .keras file and the name of a layer in it, as "
                         f"file.keras:layer. Received: content_features={args.content_features}")


def _convolution(x, args, filters, size=3, stride=1):
    x = ReflectionPadding2D(size // 2)(x)
    return layers.Conv2D(filters, size, strides=stride, kernel_initializer=initializer(args))(x)


def _normalize_and_activate(x, slope):
    """Instance norm: each image has statistics of its own, as contrast is no matter of style [Ulyanov 2016]."""
    x = layers.GroupNormalization(groups=-1, epsilon=1e-5)(x)
    return layers.LeakyReLU(negative_slope=slope)(x)


def build_generator(args, classes=0):
    """Builds G, which maps photos [batch, rows, columns, 3] in [-1, 1], of any size that is a multiple of 4, to
    cartoons of the same size: two strides down, eight residual blocks, two up [Chen 2018 fig. 2].
    """
    slope = args.g_leaky_slope
    first, *rest = args.generator_filters
    photos = keras.Input([None, None, 3], name="photos")
    x = _normalize_and_activate(_convolution(photos, args, first, 7), slope)             # 64x64
    for filters in rest:
        x = _convolution(_convolution(x, args, filters, stride=2), args, filters)
        x = _normalize_and_activate(x, slope)                                            # 32x32, 16x16
    for _ in range(BLOCKS):
        inner = _normalize_and_activate(_convolution(x, args, x.shape[-1]), slope)
        inner = layers.GroupNormalization(groups=-1, epsilon=1e-5)(_convolution(inner, args, x.shape[-1]))
        x = layers.Add()([x, inner])                                                     # 16x16
    for filters in args.generator_filters[-2::-1]:
        x = _convolution(up(x, args, filters), args, filters)
        x = _normalize_and_activate(x, slope)                                            # 32x32, 64x64
    cartoons = layers.Activation("tanh")(_convolution(x, args, 3, 7))
    return keras.Model(photos, cartoons, name="generator")


def build_discriminator(args, classes=0):
    """Builds D, which maps images [batch, *image_shape] in [-1, 1] to logits [batch, patches], high for cartoons: an
    edge is a matter of a patch, not of the whole [Chen 2018 fig. 2].
    """
    def activate(x):
        x = layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
        return layers.Dropout(args.d_dropout)(x) if args.d_dropout else x

    first, *rest = args.discriminator_filters
    images = keras.Input(args.image_shape, name="images")
    x = activate(_convolution(images, args, first))                                      # 64x64
    for filters in rest:
        x = activate(_convolution(x, args, filters, stride=2))                           # 32x32, 16x16
        x = activate(layers.GroupNormalization(groups=-1, epsilon=1e-5)(_convolution(x, args, 2 * filters)))
    x = activate(layers.GroupNormalization(groups=-1, epsilon=1e-5)(_convolution(x, args, x.shape[-1])))
    return keras.Model(images, layers.Flatten()(_convolution(x, args, 1)), name="discriminator")


class Content:
    """What a photo shows, and how far a cartoon is from it.

    Args:
        name: "vgg19", or "file.keras:layer", see metrics.inner_network.
    """

    def __init__(self, name):
        self.network = metrics.inner_network(name)

    def distance(self, photos, images, seed=None):
        """Returns the mean absolute difference of their features, as a share of the photos' mean feature.

        0 where both show the same; about 1 and more where they have nothing in common. The paper's l1 distance, on a
        scale that is the same for any network. With a `seed` both are shifted alike: strides see some pixels better
        than others, and G would draw their grid [measured: the kernel distance is 428 after 500 batches, else 556].
        """
        if seed is not None:
            photos, images = (augment.translation(x, seed) for x in (photos, images))
        wanted, found = (self.network((x + 1) * 127.5, training=False) for x in (photos, images))
        return tf.reduce_mean(tf.abs(wanted - found)) / tf.reduce_mean(tf.abs(wanted))


class Game(adversarial.GAN):
    """The GAN whose G turns photos into images: a batch is (images, photos, the images smoothed)."""

    @property
    def logged(self):
        return *super().logged[:3], "content_distance", *super().logged[3:]

    @property
    def scale(self):
        """G's rows and columns must be a multiple of it."""
        return 2 ** (len(self.args.generator_filters) - 1)

    @functools.cached_property
    def content(self):  # drawing needs none, and it is no part of the weights
        return Content(self.args.content_features)

    def settle(self):
        """Instance norm has no statistics to estimate."""

    def train_step(self, batch):
        """Learns one batch: D on cartoons, on G's, and on smoothed ones; then G to be taken for a cartoon, and to keep
        the content of its photo [Chen 2018 eq. 1 to 4; for its D all three weigh the same, here cartoons as much as
        both others].

        Args:
            batch: real images, photos, and the images smoothed, float32 [batch, rows, columns, 3] in [-1, 1].

        Returns:
            {name: scalar} for each of `logged`.
        """
        real, photos, smoothed = batch
        with tf.init_scope():
            content = self.content
        with tf.GradientTape() as g_tape:
            fake = tf.cast(self.generator(photos, training=True), "float32")
            distance = content.distance(photos, fake, self.seed(adversarial.CONTENT))
            also = self.args.content_weight * distance
        logs = self._learn_d(real, None, tf.concat([fake, smoothed], 0))
        logs |= self._learn_g(real, None, fake, g_tape, also) | {"content_distance": distance}
        return self._end(logs)


class Pretraining(Autoencoder):
    """G learns to keep the content of its photos, and no more: no D, no adversarial term [Chen 2018 s3.3; cartoon 1].

    Attributes:
        batch, networks, state, logged: as in Autoencoder, which has an encoder beside the generator.
    """
    logged = "content_distance",

    def __init__(self, args, network, classes=0):
        keras.Model.__init__(self)
        self.args, self.generator = args, network.build_generator(args)
        self.networks = {"generator": self.generator}
        self.batch = adversarial.counter()
        self.built = True

    @functools.cached_property
    def content(self):
        return Content(self.args.content_features)

    def call(self, photos, training=False):
        """Returns what G makes of photos, in [-1, 1]."""
        return tf.cast(self.generator(photos, training=training), "float32")

    def train_step(self, batch):
        """Learns one batch of (images, photos, smoothed images), of which it looks at the photos alone."""
        _, photos, _ = batch
        with tf.init_scope():
            content = self.content
        with tf.GradientTape() as tape:
            distance = content.distance(photos, self(photos, training=True), adversarial.seed(
                self.args, adversarial.CONTENT, self.batch))
            loss = self.optimizer.scale_loss(distance)
        return self._learn({"content_distance": distance}, tape.gradient(loss, self.trainable_variables))
