"""The losses of both networks, and their targets. A loss is a scalar, the mean over the batch.

Adversarial losses take logits, [batch, 1] or [batch, patches]. A sigmoid followed by a
cross-entropy saturates at -log(1e-7) = 16.1, the "loss stuck at 16" of old tutorials. D's loss has
two parts, as real and fake images pass D in batches of their own [ganhacks 4].
"""
import math

import keras
import tensorflow as tf

from models import randomness

# ---- targets


def sample_targets(limits, count, seed, others=None, flip=0.0):
    """Samples targets for the cross-entropy or squared error [Salimans 2016 s3.4; ganhacks 6].

    Args:
        limits: (low, high), the range of the uniform distribution.
        count: number of targets.
        seed: int tensor [2].
        others: the range of the other kind of images, used with probability `flip`.
        flip: probability in [0, 1].

    Returns:
        float32 tensor [count, 1].
    """
    def uniform(low, high, seed):
        return low + (high - low) * randomness.uniform([count, 1], seed)

    targets = uniform(*limits, seed)
    if flip:
        is_flipped = uniform(0.0, 1.0, tf.random.fold_in(seed, 1)) < flip
        flipped_targets = uniform(*others, tf.random.fold_in(seed, 2))
        targets = tf.where(is_flipped, flipped_targets, targets)
    return targets


def label_entropy(limits, others, flip):
    """Returns the minimum of the cross-entropy for such targets, in nats: their mean's entropy."""
    mean = (1 - flip) * sum(limits) / 2 + flip * sum(others) / 2
    return -sum(share * math.log(share) for share in (mean, 1 - mean) if share > 0)


# ---- adversarial losses, functions of (logits, targets)


def cross_entropy(logits, targets):
    """Returns the mean binary cross-entropy, in nats [Goodfellow 2014]."""
    targets = targets + tf.zeros_like(logits)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))


def saturating(logits, targets):
    """Returns the mean of log(1 - D(G(z))), G's first loss in the paper [Goodfellow 2014 eq. 1]."""
    return -cross_entropy(logits, 1.0 - targets)


def squared_error(logits, targets):
    """Returns half the mean squared error [Mao 2017, arXiv:1611.04076 eq. 2]."""
    return tf.reduce_mean(tf.square(logits - targets)) / 2


def hinge_real(logits, targets):
    """Returns the hinge loss of D on real images [Lim 2017, arXiv:1705.02894]. No targets."""
    return tf.reduce_mean(tf.nn.relu(1 - logits))


def hinge_fake(logits, targets):
    """Returns the hinge loss of D on fakes [Lim 2017, arXiv:1705.02894]. No targets."""
    return tf.reduce_mean(tf.nn.relu(1 + logits))


def mean_logit(logits, targets):
    """Returns the mean logit: the Wasserstein critic on fakes. No targets."""
    return tf.reduce_mean(logits)


def negative_mean_logit(logits, targets):
    """Returns minus the mean logit, which raises D's logits. No targets."""
    return -tf.reduce_mean(logits)


# {`loss`: (of D on real images, of D on fakes, of G)}
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
    """Returns the squared norms of D's gradients at images, [batch]."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = discriminator(images, training=True)[:, :1]
    return tf.reduce_sum(tf.square(tape.gradient(logits, images)), [1, 2, 3])


def r1(discriminator, real):
    """Returns half the mean squared gradient norm at real images [Mescheder 2018 eq. 9]."""
    return tf.reduce_mean(_squared_gradient_norms(discriminator, real)) / 2


def r1_now_and_then(discriminator, real, is_due):
    """Returns `r1` where `is_due`, a bool tensor, else 0, without computing it.

    Its gradients are computed in the branch that computes R1. TensorFlow would differentiate a
    tf.cond in an order that depends on Python's string hashes, so that two equal runs differ.
    """
    weights = [weight.value for weight in discriminator.trainable_variables]

    def compute():
        with tf.GradientTape() as tape:
            penalty = r1(discriminator, real)
        return penalty, tape.gradient(
            penalty, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def skip():
        return tf.constant(0.0), [tf.zeros(weight.shape) for weight in weights]

    penalty, gradients = tf.cond(is_due, compute, skip)

    @tf.custom_gradient
    def penalty_of(*weights):
        return penalty, lambda upstream: [upstream * gradient for gradient in gradients]

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

    The paper sums over the features. With the mean, a weight means the same for any width of D.

    Reference: Salimans 2016 s3.1.
    """
    real_mean = tf.reduce_mean(tf.cast(real, "float32"), 0)
    fake_mean = tf.reduce_mean(tf.cast(fake, "float32"), 0)
    return tf.reduce_mean(tf.square(real_mean - fake_mean))


# ---- photos to cartoons


def content_distance(expected, received):
    """Returns the mean absolute difference of feature maps, relative to the expected ones.

    It is the l1 distance of [Chen 2018 s3.2.2], divided by the mean feature of the photos, so that
    a weight means the same for any network: 0 if the content is the same, about 1 or more if the
    images have nothing in common.

    Args:
        expected: feature maps of photos, a list of [batch, rows, columns, channels] per layer.
        received: the same of the images that were made of them.

    Returns:
        A float32 scalar, the mean over the layers.
    """
    distances = [_relative_l1(*maps) for maps in zip(expected, received, strict=True)]
    return tf.add_n(distances) / len(distances)


def style_distance(expected, received):
    """Returns the mean absolute difference of mean Gram matrices, relative to the expected ones.

    Unlike the content, a style has no places. The images of a batch show different things, so the
    means over the batch are compared rather than one image with another.

    Args:
        expected: feature maps of cartoons, a list of [batch, rows, columns, channels] per layer.
        received: the same of generated images.

    Returns:
        A float32 scalar, the mean over the layers: 0 if the styles are the same.

    Reference: Gatys 2016, "Image Style Transfer Using Convolutional Neural Networks", CVPR
    """
    distances = []
    for maps in zip(expected, received, strict=True):
        expected_gram, received_gram = [tf.reduce_mean(gram(part), 0) for part in maps]
        distances.append(_relative_l1(expected_gram, received_gram))
    return tf.add_n(distances) / len(distances)


def gram(maps):
    """Returns how the channels of feature maps vary together, [batch, channels, channels].

    The mean of each channel of each image is subtracted first. Otherwise the brightness of an image
    outweighs its texture [AnimeGANv3, TachibanaYoshino].
    """
    maps = tf.cast(maps, "float32")
    shape = tf.shape(maps)
    places = shape[1] * shape[2]
    x = tf.reshape(maps, [shape[0], places, maps.shape[-1]])
    x -= tf.reduce_mean(x, 1, keepdims=True)
    return tf.matmul(x, x, transpose_a=True) / tf.cast(places, "float32")


def color_distance(photos, images):
    """Returns the difference of colors in YUV: L1 of the luminance, Huber's loss of both others.

    Args:
        photos, images: float32 [batch, rows, columns, 3] in [-1, 1].

    Returns:
        A float32 scalar, 1 for black and white.

    Reference: AnimeGANv2
    """
    photos = tf.image.rgb_to_yuv((photos + 1) / 2)
    images = tf.image.rgb_to_yuv((images + 1) / 2)
    luminance = tf.reduce_mean(tf.abs(photos[..., 0] - images[..., 0]))
    u = tf.reduce_mean(keras.losses.huber(photos[..., 1:2], images[..., 1:2]))
    v = tf.reduce_mean(keras.losses.huber(photos[..., 2:], images[..., 2:]))
    return luminance + u + v


def total_variation(images):
    """Returns the mean absolute difference of vertical neighbors plus that of horizontal ones."""
    vertical = images[:, 1:] - images[:, :-1]
    horizontal = images[:, :, 1:] - images[:, :, :-1]
    return tf.reduce_mean(tf.abs(vertical)) + tf.reduce_mean(tf.abs(horizontal))


def _relative_l1(expected, received):
    expected = tf.cast(expected, "float32")
    received = tf.cast(received, "float32")
    return tf.reduce_mean(tf.abs(expected - received)) / tf.reduce_mean(tf.abs(expected))
