"""What D is told, and the losses of both sides. Logits everywhere: sigmoid and cross-entropy apart saturate at
-ln 1e-7 = 16.1, which is the "loss stuck at 16" of old tutorials."""
import tensorflow as tf


def labels(limits, count, seed):
    """Draws float32 labels [count, 1] from U(low, high), stateless in `seed` [Salimans 2016 s3.4; ganhacks 6]."""
    low, high = limits
    return low + (high - low) * tf.random.stateless_uniform([count, 1], seed)


def cross_entropy(labels, logits):
    """Returns the mean binary cross-entropy, in nats, of `logits` [batch, 1] against `labels` [batch, 1] in [0, 1]."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))
