"""The losses of both networks, and their targets. A loss is a scalar, the mean over the batch.

Adversarial losses take logits, [batch, 1] or [batch, patches]. A sigmoid followed by a
cross-entropy saturates at -log(1e-7) = 16.1, the "loss stuck at 16" of old tutorials. D has one
loss for real images and one for fakes, which D gets in separate batches [ganhacks 4].
"""
import math

import tensorflow as tf

from models import randomness

# ---- targets


def sample_targets(limits, count, seed, others=None, flip=0.0):
    """Samples targets for the cross-entropy or squared error [Salimans 2016 s3.4; ganhacks 6].

    Args:
        limits: (low, high), the range of the uniform distribution.
        count: number of targets.
        seed: int tensor [2].
        others: the range to sample from instead if a target is flipped.
        flip: probability that a target is flipped, in [0, 1].

    Returns:
        float32 tensor [count, 1].
    """
    targets = randomness.uniform([count, 1], seed, *limits)
    if flip:
        is_flipped = randomness.uniform([count, 1], tf.random.fold_in(seed, 1)) < flip
        flipped_targets = randomness.uniform([count, 1], tf.random.fold_in(seed, 2), *others)
        targets = tf.where(is_flipped, flipped_targets, targets)
    return targets


def label_entropy(limits, others, flip):
    """Returns the lowest mean cross-entropy with targets of `sample_targets`, in nats.

    The cross-entropy is linear in the target, so it is the entropy of the mean target.
    """
    mean = (1 - flip) * sum(limits) / 2 + flip * sum(others) / 2
    return -sum(share * math.log(share) for share in (mean, 1 - mean) if share > 0)


# ---- adversarial losses, functions of (logits, targets)


def cross_entropy(logits, targets):
    """Returns the mean binary cross-entropy, in nats [Goodfellow 2014]."""
    targets = targets + tf.zeros_like(logits)  # to the shape of the logits
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))


def saturating(logits, targets):
    """Returns the mean of log(1 - D(G(z))), G's first loss in the paper [Goodfellow 2014 eq. 1]."""
    return -cross_entropy(logits, 1.0 - targets)


def squared_error(logits, targets):
    """Returns half the mean squared error [Mao 2017, arXiv:1611.04076 eq. 2]."""
    return tf.reduce_mean(tf.square(logits - targets)) / 2


def hinge_real(logits, targets):
    """Returns the hinge loss of D on real images [Lim 2017, arXiv:1705.02894]; ignores targets."""
    return tf.reduce_mean(tf.nn.relu(1 - logits))


def hinge_fake(logits, targets):
    """Returns the hinge loss of D on fakes [Lim 2017, arXiv:1705.02894]; ignores targets."""
    return tf.reduce_mean(tf.nn.relu(1 + logits))


def mean_logit(logits, targets):
    """Returns the mean logit: the Wasserstein critic's loss on fakes; ignores targets."""
    return tf.reduce_mean(logits)


def negative_mean_logit(logits, targets):
    """Returns minus the mean logit: to minimize it raises D's logits; ignores targets."""
    return -tf.reduce_mean(logits)


# {`loss`: (of D on real images, of D on fakes, of G)}. Where the three are the same function, the
# targets differ: by default 0.9, 0 and 1.
LOSSES = {
    # G maximizes log D(G(z)): unlike log(1 - D(G(z))) it keeps a gradient where D is sure
    # [ganhacks 2].
    "cross_entropy": (cross_entropy, cross_entropy, cross_entropy),
    "least_squares": (squared_error, squared_error, squared_error),
    "hinge": (hinge_real, hinge_fake, negative_mean_logit),
    # arXiv:1701.07875 [Arjovsky 2017]; needs `gradient_penalty` or `spectral_norm`
    "wasserstein": (negative_mean_logit, mean_logit, negative_mean_logit),
}


def class_cross_entropy(class_logits, labels):
    """Returns the mean cross-entropy, in nats, of class logits [batch, classes] and int labels."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, class_logits))


# ---- penalties on the gradient of D's logit with respect to its input image


def _squared_gradient_norms(discriminator, images):
    """Returns the squared norms of D's gradients at images, [batch].

    With batch norm in D, the gradient at an image is that of all logits of the batch.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = discriminator(images, training=True)[:, :1]
    return tf.reduce_sum(tf.square(tape.gradient(logits, images)), [1, 2, 3])


def r1(discriminator, real):
    """Returns half the mean squared gradient norm at real images [Mescheder 2018 eq. 9]."""
    return tf.reduce_mean(_squared_gradient_norms(discriminator, real)) / 2


def r1_now_and_then(discriminator, real, is_due, scale=1.0):
    """Returns `r1` if `is_due`, a bool tensor, else 0 without computing it.

    The gradients for D's weights are computed within the tf.cond. TensorFlow would differentiate
    through it in an order that depends on Python's string hashes, so that two equal runs differ.
    There the penalty is multiplied by `scale`, as small gradients would be 0 in float16.
    """
    weights = [weight.value for weight in discriminator.trainable_variables]

    def compute():
        with tf.GradientTape() as tape:
            penalty = r1(discriminator, real)
            scaled_penalty = scale * penalty
        gradients = tape.gradient(
            scaled_penalty, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return penalty, [gradient / scale for gradient in gradients]

    def skip():
        return tf.constant(0.0), [tf.zeros(weight.shape) for weight in weights]

    penalty, gradients = tf.cond(is_due, compute, skip)

    @tf.custom_gradient
    def penalty_of(*_):  # for TensorFlow, a function of the weights with these gradients
        def gradients_of_weights(upstream):
            return [upstream * gradient for gradient in gradients]

        return penalty, gradients_of_weights

    return penalty_of(*weights)


def gradient_penalty(discriminator, real, fake, seed):
    """Returns the mean of (gradient norm - 1)^2 at points between real and fake images.

    Reference: Gulrajani 2017, arXiv:1704.00028.
    """
    share = randomness.uniform([tf.shape(real)[0], 1, 1, 1], seed)
    between = share * real + (1 - share) * fake
    squared_norms = _squared_gradient_norms(discriminator, between)
    norms = tf.sqrt(squared_norms + 1e-12)  # the square root of 0 has no gradient
    return tf.reduce_mean(tf.square(norms - 1))


# ---- feature matching


def feature_distance(real, fake):
    """Returns the mean squared difference of the batch means of D's features [batch, features].

    The paper sums over the features, and replaces G's loss by the distance; here it is added. With
    the mean, a weight means the same for any width of D. Batch norm in D hides a part of the
    distance: it gives real and fake batches the same mean per channel before the last activation.

    Reference: Salimans 2016 s3.1.
    """
    real_mean = tf.reduce_mean(tf.cast(real, "float32"), 0)
    fake_mean = tf.reduce_mean(tf.cast(fake, "float32"), 0)
    return tf.reduce_mean(tf.square(real_mean - fake_mean))
