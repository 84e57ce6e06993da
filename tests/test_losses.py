"""models/losses.py: losses, targets, penalties and feature matching, against values by hand."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from models import losses

LOGITS = tf.constant([[-2.0], [1.0]])
TARGETS = tf.constant([[0.5], [1.0]])


# ---- losses


def test_cross_entropy_by_hand():
    assert float(losses.cross_entropy(tf.constant([[0.0]]), 0.9)) == pytest.approx(np.log(2))
    # -(0.9 ln sigmoid(1) + 0.1 ln(1 - sigmoid(1))) = 0.9 * 0.31326 + 0.1 * 1.31326
    loss = float(losses.cross_entropy(tf.constant([[1.0]]), 0.9))
    assert loss == pytest.approx(0.41326, abs=1e-5)


def test_cross_entropy_of_logits_does_not_saturate():
    """Behind a sigmoid it would stop at 16.1."""
    assert float(losses.cross_entropy(tf.constant([[-50.0]]), 1.0)) == pytest.approx(50)


# softplus(-2) = 0.126928, softplus(-1) = 0.313262; G's targets are 1.
@pytest.mark.parametrize("name, d_real, d_fake, g", [
    ("cross_entropy", (0.126928 + 0.5 * 2 + 0.313262) / 2, (0.126928 + 0.5 * 2 + 0.313262) / 2,
     (2.126928 + 0.313262) / 2),
    ("least_squares", (2.5 ** 2 + 0) / 2 / 2, (2.5 ** 2 + 0) / 2 / 2, (3 ** 2 + 0) / 2 / 2),
    ("hinge", (3 + 0) / 2, (0 + 2) / 2, 0.5),
    ("wasserstein", 0.5, -0.5, 0.5),
])
def test_losses_by_hand(name, d_real, d_fake, g):
    d_loss_real, d_loss_fake, g_loss = losses.LOSSES[name]
    assert float(d_loss_real(LOGITS, TARGETS)) == pytest.approx(d_real, abs=1e-5)
    assert float(d_loss_fake(LOGITS, TARGETS)) == pytest.approx(d_fake, abs=1e-5)
    assert float(g_loss(LOGITS, 1.0)) == pytest.approx(g, abs=1e-5)


def test_saturating_objective_by_hand():
    # log(1 - sigmoid(-2)) = -0.126928, log(1 - sigmoid(1)) = -1.313262
    loss = float(losses.saturating(LOGITS, 1.0))
    assert loss == pytest.approx(-(0.126928 + 1.313262) / 2, abs=1e-5)


def test_saturating_objective_has_no_gradient_where_d_is_sure():
    logits = tf.Variable([[-20.0]])  # D is sure that the image is fake
    with tf.GradientTape(persistent=True) as tape:
        saturating = losses.saturating(logits, 1.0)
        non_saturating = losses.cross_entropy(logits, 1.0)
    assert tape.gradient(saturating, logits).numpy() == pytest.approx(0, abs=1e-8)
    assert tape.gradient(non_saturating, logits).numpy() == pytest.approx(-1, abs=1e-6)


def test_class_cross_entropy_by_hand():
    logits = np.log(np.float32([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    loss = losses.class_cross_entropy(logits, np.int32([0, 2]))
    assert float(loss) == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2)


# ---- targets


def test_targets_are_uniform_between_their_limits():
    soft = losses.sample_targets((0.7, 1.2), 10000, [0, 0]).numpy()
    assert soft.shape == (10000, 1)
    assert 0.7 <= soft.min() < 0.71 and 1.19 < soft.max() < 1.2
    assert soft.mean() == pytest.approx(0.95, abs=0.01)


def test_flipped_targets_are_those_of_the_other_kind():
    targets = losses.sample_targets(
        (0.9, 1.0), 10000, [0, 0], others=(0.0, 0.1), flip=0.25).numpy()
    is_flipped = targets < 0.5
    assert is_flipped.mean() == pytest.approx(0.25, abs=0.02)
    assert targets[is_flipped].max() <= 0.1
    assert targets[~is_flipped].min() >= 0.9
    assert targets[is_flipped].std() == pytest.approx(0.1 / 12 ** 0.5, rel=0.1)


@pytest.mark.parametrize("limits, others, flip, entropy", [
    ((0.8, 1.0), (0.0, 0.0), 0.0, 0.325083),
    ((1.0, 1.0), (0.0, 0.0), 0.0, 0.0),
    ((1.0, 1.0), (0.0, 0.0), 0.5, np.log(2)),
])
def test_label_entropy_is_the_entropy_of_the_mean_target(limits, others, flip, entropy):
    assert losses.label_entropy(limits, others, flip) == pytest.approx(entropy, abs=1e-6)


# ---- penalties


class LinearDiscriminator(keras.Model):
    """D(x) = 3 times one value of x and 4 times another: its gradient norm is 5. It has a class."""

    def call(self, images, training=False):
        logits = 3 * images[:, 0, 0, :1] + 4 * images[:, 0, 1, :1]
        return tf.concat([logits, 100 * logits], 1)


IMAGES = tf.constant(np.float32(np.random.default_rng(0).uniform(-1, 1, (8, 4, 4, 3))))


def test_r1_by_hand():
    assert float(losses.r1(LinearDiscriminator(), IMAGES)) == pytest.approx(5 ** 2 / 2)


@pytest.mark.parametrize("is_due", [True, False])
def test_r1_now_and_then_has_the_gradients_of_r1_where_it_is_due(is_due):
    """In a graph, where it is a tf.cond, its gradients are computed within the branch."""
    keras.utils.set_random_seed(0)
    discriminator = keras.Sequential([
        keras.Input([4, 4, 3]), keras.layers.Conv2D(5, 3, activation="tanh"),
        keras.layers.Flatten(), keras.layers.Dense(1)])

    def loss_and_gradients(penalty):
        with tf.GradientTape() as tape:
            loss = 3 * penalty()
        return loss, tape.gradient(loss, discriminator.trainable_variables)

    @tf.function
    def lazy(is_due):
        return loss_and_gradients(lambda: losses.r1_now_and_then(discriminator, IMAGES, is_due))

    loss, gradients = lazy(tf.constant(is_due))
    expected_loss, expected = loss_and_gradients(lambda: losses.r1(discriminator, IMAGES))
    expected[-1] = tf.zeros([1])  # R1 does not depend on the last bias
    assert float(loss) == pytest.approx(is_due * float(expected_loss))
    for one, other in zip(gradients, expected, strict=True):
        assert one.numpy() == pytest.approx(is_due * other.numpy(), abs=1e-6)


def test_small_gradients_of_r1_are_scaled_in_float16():
    def gradient(dtype, scale):
        initializer = keras.initializers.RandomNormal(stddev=0.002, seed=0)
        options = {"kernel_initializer": initializer, "dtype": dtype}
        discriminator = keras.Sequential([
            keras.Input([4, 4, 3]), keras.layers.Conv2D(5, 3, activation="tanh", **options),
            keras.layers.Flatten(), keras.layers.Dense(1, **options)])
        with tf.GradientTape() as tape:
            penalty = losses.r1_now_and_then(discriminator, IMAGES, tf.constant(True), scale)
        return tape.gradient(penalty, discriminator.weights[0].value).numpy()

    expected = gradient("float32", 1.0)
    largest = np.abs(expected).max()
    unscaled = gradient("mixed_float16", 1.0)
    scaled = gradient("mixed_float16", 2.0 ** 15)
    assert np.abs(unscaled - expected).max() > 0.1 * largest
    assert np.abs(scaled - expected).max() < 0.02 * largest


def test_gradient_penalty_by_hand():
    penalty = losses.gradient_penalty(LinearDiscriminator(), IMAGES, -IMAGES, [0, 0])
    assert float(penalty) == pytest.approx((5 - 1) ** 2)


def test_gradient_penalty_is_taken_between_real_and_fake_images():
    points = []

    def discriminator(images, training):
        points.append(images.numpy())
        return tf.reduce_sum(images, [1, 2, 3])[:, None]

    real, fake = tf.ones([64, 2, 2, 1]), tf.zeros([64, 2, 2, 1])
    losses.gradient_penalty(discriminator, real, fake, [0, 0])
    shares = points[0][:, 0, 0, 0]
    assert (points[0] == shares[:, None, None, None]).all()  # one share for the whole image
    assert 0 <= shares.min() < 0.1 and 0.9 < shares.max() <= 1


def test_gradient_penalty_of_a_constant_discriminator_has_a_finite_gradient():
    weight = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        penalty = losses.gradient_penalty(
            lambda images, training: weight * images[:, 0, 0, :1], IMAGES, -IMAGES, [0, 0])
    assert float(penalty) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(tape.gradient(penalty, weight))


# ---- feature matching


def test_feature_distance_by_hand():
    real, fake = np.float32([[1, 0], [3, 2]]), np.float32([[0, 0], [0, 2]])
    # The means are (2, 1) and (0, 1).
    assert float(losses.feature_distance(real, fake)) == pytest.approx((2 ** 2 + 0 ** 2) / 2)
