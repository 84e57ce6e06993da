"""What D is told, and the losses of both sides: scalars, means over the batch, of logits [batch, 1].

Logits everywhere: sigmoid and cross-entropy apart saturate at -ln 1e-7 = 16.1, which is the "loss stuck at 16" of old
tutorials. D's loss is given in two parts, that of real and that of fake images, which pass D apart [ganhacks 4].
"""
import math

import tensorflow as tf

from models import latent


# ---- what D is told

def labels(limits, others, flip, count, seed):
    """Draws labels for D [Salimans 2016 s3.4; ganhacks 6].

    Args:
        limits: (low, high), of which a label is drawn uniformly.
        others: those of the other kind of images, which are told with probability `flip` instead.
        count: of labels.
        seed: int tensor [2].

    Returns:
        float32 tensor [count, 1].
    """
    def uniform(low, high, seed):
        return low + (high - low) * latent.uniform([count, 1], seed)

    told = uniform(*limits, seed)
    if flip:
        flipped = uniform(0.0, 1.0, tf.random.fold_in(seed, 1)) < flip
        told = tf.where(flipped, uniform(*others, tf.random.fold_in(seed, 2)), told)
    return told


def cost_of_labels(limits, others, flip):
    """Returns the least cross-entropy, in nats, that D can reach under such labels: the entropy of their mean."""
    mean = (1 - flip) * sum(limits) / 2 + flip * sum(others) / 2
    return -sum(share * math.log(share) for share in (mean, 1 - mean) if share > 0)


# ---- losses: {name: (of D on real, of D on fake, of G)}, each of (logits, labels)

def cross_entropy(logits, labels):
    """Returns the mean binary cross-entropy in nats [Goodfellow 2014]."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels + tf.zeros_like(logits), logits))


def squared_error(logits, labels):
    """Returns half the mean squared distance to the labels [Mao 2017, arXiv:1611.04076, eq. 2]."""
    return tf.reduce_mean(tf.square(logits - labels)) / 2


LOSSES = {
    # G maximizes log D(G(z)) instead of minimizing log(1 - D(G(z))): its gradient stays where D is sure [ganhacks 2]
    "cross_entropy": (cross_entropy, cross_entropy, cross_entropy),
    "least_squares": (squared_error, squared_error, squared_error),
    # arXiv:1705.02894 [Lim 2017]; no labels
    "hinge": (lambda logits, labels: tf.reduce_mean(tf.nn.relu(1 - logits)),
              lambda logits, labels: tf.reduce_mean(tf.nn.relu(1 + logits)),
              lambda logits, labels: -tf.reduce_mean(logits)),
    # arXiv:1701.07875 [Arjovsky 2017], whose slope the gradient penalty bounds; no labels
    "wasserstein": (lambda logits, labels: -tf.reduce_mean(logits),
                    lambda logits, labels: tf.reduce_mean(logits),
                    lambda logits, labels: -tf.reduce_mean(logits)),
}


def saturating(logits, labels):
    """Returns the paper's first loss of G, the mean of log(1 - D(G(z))), at most 0 [Goodfellow 2014, eq. 1]."""
    return -cross_entropy(logits, 1.0 - labels)


def class_cross_entropy(class_logits, labels):
    """Returns the mean cross-entropy, in nats, of class logits [batch, classes] against labels, int [batch]."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, class_logits))


# ---- penalties on D's slope: the gradient of its logit by each single image

def _squared_slopes(discriminator, images):
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = discriminator(images, training=True)[:, :1]
    return tf.reduce_sum(tf.square(tape.gradient(logits, images)), [1, 2, 3])


def r1(discriminator, real):
    """Returns half the mean squared slope of D at real images [Mescheder 2018, arXiv:1801.04406, eq. 9]."""
    return tf.reduce_mean(_squared_slopes(discriminator, real)) / 2


def gradient_penalty(discriminator, real, fake, seed):
    """Returns the mean squared distance of D's slope to 1, between real and fake [Gulrajani 2017, arXiv:1704.00028]."""
    share = latent.uniform([tf.shape(real)[0], 1, 1, 1], seed)
    between = share * real + (1 - share) * fake
    slopes = tf.sqrt(_squared_slopes(discriminator, between) + 1e-12)  # the root of 0 has no gradient
    return tf.reduce_mean(tf.square(slopes - 1))


# ---- feature matching

def feature_distance(real, fake):
    """Returns the mean squared difference between the batch means of D's features [Salimans 2016 s3.1].

    The paper sums over the features; the mean lets a weight mean the same whatever D's width.
    """
    real, fake = tf.cast(real, "float32"), tf.cast(fake, "float32")
    return tf.reduce_mean(tf.square(tf.reduce_mean(real, 0) - tf.reduce_mean(fake, 0)))
