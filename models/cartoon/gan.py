"""The training steps: a GAN whose generator gets photos, and the pretraining of its generator."""
import tensorflow as tf

from models import randomness
from models.adversarial import GAN, weighted_sum
from models.autoencoder import Autoencoder
from models.cartoon import losses
from models.cartoon.restoration import degrade
from models.cartoon.structure import draw
from models.feature_maps import FeatureMaps
from models.randomness import Purpose

# {weight: term}, the terms of G's loss besides the adversarial one
TERMS = {
    "content_weight": "content_distance",
    "style_weight": "style_distance",
    "structure_weight": "structure_distance",
    "restoration_weight": "restoration_error",
}


class CartoonGAN(GAN):
    """A GAN whose generator gets photos instead of z.

    A batch is (cartoons, photos, cartoons with blurred edges), each float32 [batch, rows, columns,
    3] in [-1, 1]. D's fakes are generated and blurred images in equal numbers. The paper weighs all
    three kinds alike [Chen 2018 eq. 3]; here real images weigh as much as both kinds of fakes.

    Attributes:
        content_maps, style_maps: `FeatureMaps`, where `content_weight` or `style_weight` is not 0.
    """

    def compile(self, d_optimizer, g_optimizer, jit_compile="auto"):
        """Sets the optimizers and loads the networks for content and style.

        They are loaded here, not in `__init__`, because `models.build` calls `compile` outside the
        scope of `precision`: so they compute in float32.
        """
        super().compile(d_optimizer, g_optimizer, jit_compile)
        args = self.args
        if args.content_weight:
            self.content_maps = FeatureMaps("content_features", args.content_features)
        if args.style_weight:
            self.style_maps = FeatureMaps("style_features", args.style_features)

    @property
    def term_names(self):
        chosen = [term for weight, term in TERMS.items() if getattr(self.args, weight)]
        return super().term_names + chosen

    def unpack(self, batch):
        """Returns the cartoons, no labels, and the photos, which are G's inputs."""
        cartoons, photos, _ = batch
        return cartoons, None, photos

    def fakes_to_judge(self, fake, batch):
        """Returns the generated images, followed by the cartoons with blurred edges."""
        _, _, blurred = batch
        return tf.concat([fake, blurred], axis=0)

    def g_terms(self, real, real_view, fake, inputs, labels):
        """Returns the terms whose weights are not 0: [(name, weight, value)].

        Args:
            real: cartoons, float32 [batch, rows, columns, 3] in [-1, 1].
            fake: the images that G made of the photos, of the same shape and range.
            inputs: the photos, of the same shape and range.
        """
        args = self.args
        # A single term, as there are neither classes nor feature matching.
        [(name, _, g_loss)] = super().g_terms(real, real_view, fake, inputs, labels)
        terms = [(name, args.adversarial_weight, g_loss)]
        seed = self.seed(Purpose.CONTENT)
        if args.content_weight:
            distance = losses.content_distance(
                self.content_maps(inputs, seed), self.content_maps(fake, seed))
            terms.append(("content_distance", args.content_weight, distance))
        if args.style_weight:
            distance = losses.style_distance(
                self.style_maps(real, seed), self.style_maps(fake, seed))
            terms.append(("style_distance", args.style_weight, distance))
        seed = self.seed(Purpose.DEGRADE)
        terms += drawing_terms(args, self.generator, real, inputs, fake, seed)
        return terms

    def update_batch_norm(self):
        """Does nothing: these networks have no moving statistics."""


def drawing_terms(args, generator, cartoons, photos, images, seed):
    """Returns the terms that teach G to draw without another network: [(name, weight, value)].

    With `structure_weight`, the degraded cartoons also get the texture of the photos.

    Args:
        args: the constants, a class of args.py.
        generator: maps photos to images.
        cartoons, photos: float32 [batch, rows, columns, 3] in [-1, 1].
        images: the generator's output for the photos, of the same shape.
        seed: int tensor [2].
    """
    terms = []
    if args.structure_weight:
        distance = tf.reduce_mean(tf.abs(draw(photos) - images))
        terms.append(("structure_distance", args.structure_weight, distance))
    if args.restoration_weight:
        degraded = degrade(cartoons, seed, photos if args.structure_weight else None)
        restored = tf.cast(generator(degraded, training=True), "float32")
        error = tf.reduce_mean(tf.abs(restored - cartoons))
        terms.append(("restoration_error", args.restoration_weight, error))
    return terms


class PhotoPretraining(Autoencoder):
    """Pretrains G alone, which learns to keep the content of photos [Chen 2018 s3.3; cartoon 1].

    With `structure_weight` it learns to draw instead, see `drawing_terms`.

    Args:
        args: the constants, a class of args.py.
        generator: maps photos to images.
    """
    loss_name = "loss"

    def __init__(self, args, generator):
        super().__init__(args, None, generator)

    def compile(self, optimizer, jit_compile="auto"):
        """Sets the optimizer and, if needed, loads the network for the content, in float32."""
        super().compile(optimizer, jit_compile)
        if not self.args.structure_weight:
            self.content_maps = FeatureMaps("content_features", self.args.content_features)

    def call(self, photos, training=False):
        """Returns the images that G makes of photos, float32 in [-1, 1]."""
        return tf.cast(self.generator(photos, training=training), "float32")

    def loss_of(self, batch):
        """Returns the content distance of the photos of a batch, or the sum of `drawing_terms`."""
        cartoons, photos, _ = batch
        images = self(photos, training=True)
        if self.args.structure_weight:
            seed = randomness.seed(self.args, Purpose.DEGRADE, self.batch)
            terms = drawing_terms(self.args, self.generator, cartoons, photos, images, seed)
            return weighted_sum(terms)
        seed = randomness.seed(self.args, Purpose.CONTENT, self.batch)
        return losses.content_distance(
            self.content_maps(photos, seed), self.content_maps(images, seed))
