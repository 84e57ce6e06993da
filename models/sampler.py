"""Sampling from a trained generator, without a discriminator."""
import keras
import tensorflow as tf

from models import randomness
from models.randomness import Purpose


class Sampler:
    """Samples images from a generator.

    Args:
        args: the constants, a class of args.py.
        generator: a keras.Model, see models/dcgan.py.
        classes: number of classes if `conditional`, else 0.
    """

    def __init__(self, args, generator, classes=0):
        self.args = args
        self.generator = generator
        self.classes = classes

    def sample_z(self, count, purpose=Purpose.GENERATE, batch=0, labels=None):
        """Samples G's inputs: z, and behind it the one-hot classes if there are any.

        Args:
            count: number of rows.
            purpose: a `Purpose`.
            batch: int, for other z of the same purpose.
            labels: int [count]; the classes in turn by default.

        Returns:
            float32 [count, latent_dim (+ classes)].
        """
        seed = randomness.seed(self.args, purpose, batch)
        z = randomness.sample_z(self.args.latent, [count, self.args.latent_dim], seed)
        if self.classes:
            if labels is None:
                labels = tf.range(count) % self.classes
            z = tf.concat([z, tf.one_hot(labels, self.classes)], 1)
        return z

    def sample(self, z, batch=0):
        """Returns the images of z: float32 [count, *image_shape] in [-1, 1].

        Changes no state, so training is not affected. If G has dropout that is active when
        sampling, `batch`, an int, selects its random numbers.
        """
        states = randomness.seed_states([self.generator])
        # A seed state is (seed, number of draws so far).
        moved = [(state, state + tf.constant([0, batch], state.dtype)) for state in states]
        with keras.StatelessScope(state_mapping=moved):
            return tf.cast(self.generator(z, training=False), "float32")

    def interpolate(self, start, end, fractions):
        """Interpolates between two of G's inputs: z on the great circle, classes linearly.

        Args:
            start, end: float32 [latent_dim (+ classes)].
            fractions: of the way, [steps], in [0, 1].

        Returns:
            float32 [steps, latent_dim (+ classes)].
        """
        size = self.args.latent_dim
        z = randomness.slerp(start[:size], end[:size], fractions)
        classes = randomness.lerp(start[size:], end[size:], fractions)
        return tf.concat([z, classes], 1)
