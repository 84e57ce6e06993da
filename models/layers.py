"""Layers that Keras does not have."""
import keras
import tensorflow as tf


# So that keras.models.load_model finds it once this module is imported.
@keras.saving.register_keras_serializable(package="dcgan")
class AlwaysDropout(keras.layers.Dropout):
    """Dropout that is active at sampling time too: noise for G [ganhacks 17; Isola 2017]."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch norm of [batch, rows, columns, channels], as a single operation in training.

    Keras' layer takes about a dozen operations, each of which reads the images again. Statistics
    are float32 in any precision.
    """

    def call(self, inputs, training=False):
        if not training:
            return super().call(inputs)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta),
            epsilon=self.epsilon)
        # The operation's variance divides by count - 1, Keras' moving variance by count.
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], "float32")
        variance *= (count - 1) / count
        self.moving_mean.assign(mean + self.momentum * (self.moving_mean - mean))
        self.moving_variance.assign(variance + self.momentum * (self.moving_variance - variance))
        return outputs


class MinibatchDiscrimination(keras.layers.Layer):
    """Appends to the features of each image how close the other images of its batch are.

    A learned matrix gives each image `kernels` rows of `size` numbers. The closeness of two images
    in a kernel is exp(-L1 distance of their rows). The output is its sum over the batch, the image
    itself included, as in eq. 1 of the paper. Computed in float32: sums of small exponentials.

    Args:
        kernels: number of kernels; 100 in the authors' code.
        size: numbers in a row; 5 in the authors' code.

    Input shape: [batch, features]. Output shape: [batch, features + kernels].

    Reference: Salimans 2016 s3.2.
    """

    def __init__(self, kernels, size=5, **options):
        options["dtype"] = "float32"
        super().__init__(**options)
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

    def compute_output_shape(self, shape):
        return *shape[:-1], shape[-1] + self.kernels

    def get_config(self):
        return {**super().get_config(), "kernels": self.kernels, "size": self.size}


class SpectralNormalization(keras.layers.Wrapper):
    """Divides the kernel of a layer by its largest singular value, sigma.

    Sigma is estimated by one step of the power method per training pass, kept in `u`, and the
    gradient passes through it. Keras' own layer overwrites the kernel instead, so that its
    gradient ignores sigma. Sigma is computed in float32.

    Args:
        layer: a Conv2D or Dense layer.

    Reference: Miyato 2018, arXiv:1802.05957.
    """

    def __init__(self, layer, **options):
        options["dtype"] = "float32"
        super().__init__(layer, **options)

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
        sigma = tf.reduce_sum(v @ matrix * u)
        with keras.StatelessScope(state_mapping=[(self.layer.kernel, kernel / sigma)]):
            return self.layer(inputs)

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape(shape)


# ---- networks without these layers


def with_keras_layers(network):
    """Returns a copy of a network that needs as few layers of this module as possible.

    Our batch norm becomes Keras' own, which has the same weights and, outside training, the same
    outputs. All layers compute in float32, whatever `precision` is: Keras exports no others to
    ONNX. AlwaysDropout stays.

    Args:
        network: a Functional keras.Model.
    """
    copy = keras.models.clone_model(network, clone_function=_copy_of_layer)
    copy.set_weights(network.get_weights())
    return copy


def _copy_of_layer(layer):
    """Returns a new layer like `layer`, or a new operation such as a slice of z."""
    kind, config = type(layer), layer.get_config()
    if isinstance(layer, keras.layers.Layer):
        config["dtype"] = "float32"
    if kind is BatchNormalization:
        kind = keras.layers.BatchNormalization
    return kind.from_config(config)
