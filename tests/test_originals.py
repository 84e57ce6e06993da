"""models/originals.py: two updates of D, the original's defect, and D that learns first."""
import numpy as np
import pytest
import tensorflow as tf
from conftest import REAL, equal, values

import models
from models import losses


def test_d_is_updated_on_real_images_and_then_on_fakes(small):
    args = small(d_updates="apart", d_learning_rate=0.1, real_labels=(0.9, 0.9),
                 fake_labels=(0.1, 0.1))
    gan, plain = models.build(args), models.build(args)
    d = plain.discriminator
    fake = plain.generator(plain.sample_z(8), training=True)
    for images, target in ((REAL, 0.9), (fake, 0.1)):
        with tf.GradientTape() as tape:
            loss = losses.cross_entropy(d(images, training=True), target)
        for weight, gradient in zip(d.trainable_weights, tape.gradient(loss, d.trainable_weights)):
            weight.assign(weight - 0.1 * gradient)
    expected = values(d.weights)  # G's update leaves even the moving averages alone
    g_loss = losses.cross_entropy(d(fake, training=True), 1.0)
    logs = gan.train_step(REAL)
    assert float(logs["d_loss_fake"]) == pytest.approx(float(loss), rel=1e-5)
    assert float(logs["g_loss"]) == pytest.approx(float(g_loss), rel=1e-5)
    for one, other in zip(gan.discriminator.weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert int(gan.d_optimizer.iterations) == 2


def test_gradient_penalty_counts_in_the_second_of_two_updates_of_d(small):
    changes = {"d_updates": "apart", "batch_norm": "generator", "d_learning_rate": 0.1}
    without = models.build(small(**changes))
    gan = models.build(small(gradient_penalty=10.0, **changes))
    one, other = without.train_step(REAL), gan.train_step(REAL)
    assert float(one["d_loss_fake"]) == float(other["d_loss_fake"])  # after the first update
    assert not equal(values(without.discriminator.weights), values(gan.discriminator.weights))


def test_defect_of_the_original_trains_d_to_accept_fakes(small):
    gan = models.build(small(d_updates="apart", g_step_moves_d=True, d_learning_rate=0.0))
    fake = gan.generator(gan.sample_z(8), training=True)
    logit = tf.reduce_mean(gan.discriminator(fake, training=True))
    gan.train_step(REAL)
    assert tf.reduce_mean(gan.discriminator(fake, training=True)) > logit


@pytest.mark.parametrize("d_updates", ["joint", "apart"])
def test_d_learns_alone_in_the_warmup(small, d_updates):
    gan = models.build(small(warmup_batches=2, d_updates=d_updates, g_optimizer="adam"))
    for g_learns in (False, False, True):
        generator = values(gan.generator.trainable_weights + gan.g_optimizer.variables)
        discriminator = values(gan.discriminator.trainable_weights)
        gan.train_step(REAL)
        after = values(gan.generator.trainable_weights + gan.g_optimizer.variables)
        assert equal(generator, after) != g_learns
        assert not equal(discriminator, values(gan.discriminator.trainable_weights))
    assert int(gan.g_optimizer.iterations) == 1
    assert int(gan.d_optimizer.iterations) == (6 if d_updates == "apart" else 3)


def test_warmup_in_float16_counts_no_updates_of_g(small):
    gan = models.build(small(warmup_batches=1, precision="mixed_float16"))
    gan.train_step(REAL)
    assert int(gan.g_optimizer.inner_optimizer.iterations) == 0
    assert int(gan.d_optimizer.inner_optimizer.iterations) == 1
    gan.train_step(REAL)
    assert int(gan.g_optimizer.inner_optimizer.iterations) == 1
