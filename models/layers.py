"""Layers that Keras does not have."""
import keras
import tensorflow as tf


# So that keras.models.load_model finds it once this module is imported.
@keras.saving.register_keras_serializable(package="dcgan")
class AlwaysDropout(keras.layers.Dropout):
    """Dropout that is active at sampling time too: noise for G [ganhacks 17; Isola 2017]."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


class MinibatchDiscrimination(keras.layers.Layer):
    """Appends to the features of each image how close the other images of its batch are.

    A learned matrix gives each image `kernels` rows of `size` numbers. The closeness of two images
    in a kernel is exp(-L1 distance of their rows). The output is its sum over the batch, the image
    itself included. Computed in float32: sums of small exponentials.

    Args:
        kernels: number of kernels; 100 in the authors' code.
        size: numbers in a row; 5 in the authors' code.

    Input shape: [batch, features]. Output shape: [batch, features + kernels].

    Reference: Salimans 2016 s3.2.
    """

    def __init__(self, kernels, size=5, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.kernels = kernels
        self.size = size

    def build(self, shape):
        self.kernel = self.add_weight(
            [shape[-1], self.kernels * self.size], name="kernel",
            initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, inputs):
        rows = tf.reshape(inputs @ self.kernel, [-1, self.kernels, self.size])
        distances = tf.reduce_sum(tf.abs(rows[:, None] - rows[None]), 3)  # [batch, batch, kernels]
        closeness = tf.reduce_sum(tf.exp(-distances), 1)                  # [batch, kernels]
        return tf.concat([inputs, closeness], 1)


class SpectralNormalization(keras.layers.Wrapper):
    """Divides the kernel of a layer by its largest singular value, sigma.

    Sigma is estimated by one step of the power method per training pass, kept in `u`, and the
    gradient passes through it. Keras' own layer overwrites the kernel instead, so that its
    gradient ignores sigma. Sigma is computed in float32.

    Args:
        layer: a Conv2D or Dense layer.

    Reference: Miyato 2018, arXiv:1802.05957.
    """

    def __init__(self, layer, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(layer, **kwargs)

    def build(self, shape):
        super().build(shape)
        self.u = self.add_weight(
            [1, self.layer.kernel.shape[-1]], name="u", trainable=False,
            initializer=keras.initializers.RandomNormal(stddev=1.0))

    def call(self, inputs, training=False):
        kernel = tf.convert_to_tensor(self.layer.kernel)
        matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
        v = tf.math.l2_normalize(tf.stop_gradient(self.u @ tf.transpose(matrix)))
        u = tf.math.l2_normalize(tf.stop_gradient(v @ matrix))
        if training:
            self.u.assign(u)
        sigma = tf.squeeze(v @ matrix @ tf.transpose(u))
        with keras.StatelessScope(state_mapping=[(self.layer.kernel, kernel / sigma)]):
            return self.layer(inputs)
