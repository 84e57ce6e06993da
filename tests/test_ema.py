"""models/ema.py: the averaged generator."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import equal, values

from models import ema, randomness
from models.layers import AlwaysDropout


@pytest.fixture
def generator():
    keras.utils.set_random_seed(0)
    return keras.Sequential([
        keras.Input([4]), keras.layers.Reshape([1, 1, 4]), keras.layers.Conv2DTranspose(3, 2),
        keras.layers.BatchNormalization(momentum=0.8), keras.layers.LeakyReLU(),
        AlwaysDropout(0.5)])


@pytest.mark.parametrize("batch, decay", [
    (1, 2 / 11),   # (1 + batch) / (10 + batch) is below 0.25
    (20, 0.25),
])
def test_average_moves_as_its_formula_says(generator, batch, decay):
    average = ema.copy(generator)
    before = values(average.trainable_weights)
    for weight in generator.trainable_weights:
        weight.assign(weight + tf.random.stateless_normal(weight.shape, [1, 2]))
    ema.update(average, generator, 0.25, batch)
    new = values(generator.trainable_weights)
    for old, weight, averaged in zip(before, new, average.trainable_weights, strict=True):
        expected = decay * old + (1 - decay) * weight
        np.testing.assert_allclose(averaged, expected, rtol=0, atol=1e-6)


def test_statistics_leave_weights_and_seeds_alone(generator):
    average = ema.copy(generator)
    state, = randomness.seed_states([average])
    before = values(average.trainable_weights + [state])
    ema.update_batch_norm(average, tf.random.stateless_normal([16, 4], [1, 2]))
    assert equal(before, values(average.trainable_weights + [state]))
    assert average.layers[2].momentum == 0.8
