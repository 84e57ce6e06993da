"""A GAN with a second discriminator, which sees the features of a pretrained network."""
import keras
import tensorflow as tf
from keras import layers

import args as constants
from models.adversarial import GAN
from models.dcgan import initializer
from models.feature_maps import FeatureMaps
from models.randomness import Purpose

HEAD_FILTERS = 64  # of each convolution of a head [guess]
HEAD_ROWS = 4      # at most so many rows are left before its dense layer [guess]


class AidedGAN(GAN):
    """A GAN whose D is aided by heads on the feature maps of a pretrained network.

    The network is frozen. Each of its feature maps has a head, a small discriminator that is
    trained with D. Fewer faces have a defect then [measured, one seed: pretrained.ipynb]. The
    losses of the heads are averaged, so together they weigh as much as D's. Penalties, spectral
    norm and dropout apply to D alone.

    Attributes:
        feature_maps: a `FeatureMaps` of the network that `d_features` names.
        heads: one keras.Model per map, from the map to logits [batch, 1].

    Raises:
        ValueError: if `d_features` is invalid, or the download fails.

    Reference: Kumari 2022, arXiv:2112.09130.
    """

    def __init__(self, args, generator, discriminator, classes=0):
        super().__init__(args, generator, discriminator, classes)
        self.feature_maps = FeatureMaps("d_features", args.d_features)
        maps = self.maps(tf.zeros([1, *args.image_shape]))
        self.heads = [build_head(args, map_.shape[1:]) for map_ in maps]

    @property
    def d_variables(self):
        variables = list(self.discriminator.trainable_variables)
        for head in self.heads:
            variables += head.trainable_variables
        return variables

    @property
    def term_names(self):
        return super().term_names + ["d_aid_real", "d_aid_fake", "g_aid"]

    def d_terms_on_real(self, real_view, labels):
        """Returns `GAN.d_terms_on_real`, and the heads' loss on real images."""
        logits = self.judge_features(real_view)
        term = ("d_aid_real", 0.5, self.d_loss_real(logits, self.real_targets(logits)))
        return super().d_terms_on_real(real_view, labels) + [term]

    def d_terms_on_fake(self, real_view, fake_view):
        """Returns `GAN.d_terms_on_fake`, and the heads' loss on fakes."""
        logits = self.judge_features(fake_view)
        term = ("d_aid_fake", 0.5, self.d_loss_fake(logits, self.fake_targets(logits)))
        return super().d_terms_on_fake(real_view, fake_view) + [term]

    def g_terms(self, real, real_view, fake, inputs, labels):
        """Returns `GAN.g_terms`, and what the heads add to G's loss."""
        logits = self.judge_features(self.view(fake, Purpose.SECOND_VIEW))  # the view that D judges
        term = ("g_aid", 1.0, self.g_loss(logits, self.g_targets(logits)))
        return super().g_terms(real, real_view, fake, inputs, labels) + [term]

    def judge_features(self, images):
        """Returns the heads' logits of images as D sees them, float32 [batch, heads]."""
        logits = [head(map_, training=True)
                  for head, map_ in zip(self.heads, self.maps(images), strict=True)]
        return tf.concat(logits, axis=1)

    def maps(self, images):
        """Returns the pretrained network's feature maps of images, shifted at random."""
        return self.feature_maps(images, self.seed(Purpose.AID))


def build_head(args, shape):
    """Builds a head, which maps feature maps [batch, *shape] to logits [batch, 1]."""
    maps = keras.Input(shape)
    x = _convolve(maps, args, kernel_size=1)
    while x.shape[1] > HEAD_ROWS:
        x = _convolve(x, args, kernel_size=3, strides=2)
    x = layers.Flatten()(x)
    logits = layers.Dense(1, kernel_initializer=initializer(args), dtype="float32")(x)
    return keras.Model(maps, logits, name="head")


def _convolve(x, args, **options):
    x = layers.Conv2D(
        HEAD_FILTERS, padding="same", kernel_initializer=initializer(args), **options)(x)
    if constants.has_batch_norm_in_d(args):
        x = layers.BatchNormalization(momentum=args.bn_momentum)(x)
    return layers.LeakyReLU(negative_slope=args.d_leaky_slope)(x)
