"""Layers that Keras hasn't, or has otherwise."""
import keras
import tensorflow as tf


class AlwaysDropout(keras.layers.Dropout):
    """Dropout that stays on when images are drawn: noise for G at training and test time [ganhacks 17; Isola 2017]."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch norm of [batch, rows, columns, channels]; training takes TensorFlow's one operation instead of
    a dozen, each of which would read the images again. Its statistics are float32 where the images are shorter.
    """

    def call(self, inputs, training=False):
        if not training:
            return super().call(inputs)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta), epsilon=self.epsilon)
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], "float32")
        variance *= (count - 1) / count  # the operation's is of a sample, over count - 1; Keras keeps that over count
        for moving, found in (self.moving_mean, mean), (self.moving_variance, variance):
            moving.assign(found + self.momentum * (moving - found))
        return outputs


class PixelShuffle(keras.layers.Layer):
    """Rearranges [batch, rows, columns, 4 n] into [batch, 2 rows, 2 columns, n] [Shi 2016, arXiv:1609.05158]."""

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, 2)

    def compute_output_shape(self, shape):
        batch, rows, columns, channels = shape
        return batch, rows and 2 * rows, columns and 2 * columns, channels // 4


class ReflectionPadding2D(keras.layers.Layer):
    """Pads [batch, rows, columns, channels] by its mirror image, `size` pixels each side: no dark rim as of zeros."""

    def __init__(self, size, **options):
        super().__init__(**options)
        self.size = size

    def call(self, inputs):
        return tf.pad(inputs, [[0, 0], [self.size] * 2, [self.size] * 2, [0, 0]], "REFLECT")

    def compute_output_shape(self, shape):
        batch, rows, columns, channels = shape
        return batch, rows and rows + 2 * self.size, columns and columns + 2 * self.size, channels

    def get_config(self):
        return super().get_config() | {"size": self.size}


class MinibatchDiscrimination(keras.layers.Layer):
    """Appends to each image's features how close the batch's others are to it [Salimans 2016 s3.2].

    M = features @ T gives each image `kernels` rows of `size` numbers; the closeness of two images, for each kernel,
    is exp(-|their rows' L1 distance|), and the output the sum over the batch, itself included as in the paper's
    eq. 1. In float32, as a sum of small exponentials must be.

    Input: [batch, features]. Output: [batch, features + kernels].

    Args:
        kernels: how many; 100 in the authors' code.
        size: of each; 5 in the authors' code.
    """

    def __init__(self, kernels, size=5, **options):
        super().__init__(**(options | {"dtype": "float32"}))
        self.kernels, self.size = kernels, size

    def build(self, shape):
        self.kernel = self.add_weight([shape[-1], self.kernels * self.size], name="kernel",
                                      initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, inputs):
        rows = tf.reshape(inputs @ self.kernel, [-1, self.kernels, self.size])
        distances = tf.reduce_sum(tf.abs(rows[:, None] - rows[None]), 3)  # [batch, batch, kernels]
        return tf.concat([inputs, tf.reduce_sum(tf.exp(-distances), 1)], 1)

    def compute_output_shape(self, shape):
        return *shape[:-1], shape[-1] + self.kernels

    def get_config(self):
        return super().get_config() | {"kernels": self.kernels, "size": self.size}


class SpectralNormalization(keras.layers.Wrapper):
    """Divides a layer's kernel by its largest singular value sigma, as one matrix [Miyato 2018, arXiv:1802.05957].

    Sigma comes from one step of the power method a training pass, kept in `u`, and is differentiated through: Keras'
    own layer overwrites the kernel instead, so that its gradient knows nothing of sigma.

    Args:
        layer: a Conv2D or Dense.
    """

    def __init__(self, layer, **options):  # sigma in float32
        super().__init__(layer, **(options | {"dtype": "float32"}))

    def build(self, shape):
        super().build(shape)
        self.u = self.add_weight([1, self.layer.kernel.shape[-1]], name="u", trainable=False,
                                 initializer=keras.initializers.RandomNormal(stddev=1.0))

    def call(self, inputs, training=False):
        kernel = tf.convert_to_tensor(self.layer.kernel)
        matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
        v = tf.math.l2_normalize(tf.stop_gradient(self.u @ tf.transpose(matrix)))
        u = tf.math.l2_normalize(tf.stop_gradient(v @ matrix))
        if training:
            self.u.assign(u)
        sigma = tf.reduce_sum(v @ matrix * u)
        with keras.StatelessScope(state_mapping=[(self.layer.kernel, kernel / sigma)]):
            return self.layer(inputs)

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape(shape)
