"""The replay buffer: D sees earlier fakes again [ganhacks 8; Shrivastava 2017, arXiv:1612.07828].
"""
import keras
import tensorflow as tf


class ReplayBuffer(keras.layers.Layer):
    """A ring buffer of the newest fakes: a layer with one weight, so that checkpoints contain it.

    Args:
        size: number of images it holds.
        image_shape: (rows, columns, channels).

    Attributes:
        images: uint8 variable [size, *image_shape].
    """

    def __init__(self, size, image_shape):
        super().__init__()
        self.size = size
        self.images = self.add_weight(
            [size, *image_shape], dtype="uint8", initializer="zeros", trainable=False,
            name="images")
        self.built = True

    def mix(self, fake, fraction, batch, seed):
        """Replaces the first `fraction` of fakes by earlier ones, and stores the new fakes.

        In the first batch there are no earlier ones.

        Args:
            fake: float32 [batch, *image_shape] in [-1, 1].
            fraction: share in [0, 1].
            batch: int64, the number of batches trained so far.
            seed: int tensor [2].

        Returns:
            float32 [batch, *image_shape] in [-1, 1].
        """
        count = tf.shape(fake)[0]
        stored = batch * tf.cast(count, "int64")
        available = tf.cast(tf.minimum(stored, self.size), "float32")
        chosen = tf.cast(tf.random.stateless_uniform([count], seed) * available, "int32")
        earlier = tf.cast(tf.gather(self.images, chosen), "float32") / 127.5 - 1

        replaced_count = tf.cast(tf.round(fraction * tf.cast(count, "float32")), "int32")
        is_replaced = (tf.range(count) < replaced_count) & (available > 0)
        mixed = tf.where(is_replaced[:, None, None, None], earlier, fake)

        places = (stored + tf.range(tf.cast(count, "int64"))) % self.size
        as_bytes = tf.cast(tf.round((fake + 1) * 127.5), "uint8")
        self.images.value.scatter_nd_update(places[:, None], as_bytes)
        return mixed
