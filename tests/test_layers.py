"""models/layers.py: each layer against values by hand."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from models import layers


# ---- minibatch discrimination


def test_minibatch_discrimination_by_hand():
    layer = layers.MinibatchDiscrimination(kernels=1, size=2)
    features = np.float32([[0, 0], [1, 0], [0, 3]])
    layer.build((None, 2))
    layer.kernel.assign([[1, 0], [0, 1]])
    # L1 distances: 1 from the first to the second, 3 from the first to the third, 4 between the
    # second and the third, and 0 of each to itself.
    closeness = [1 + np.exp(-1) + np.exp(-3), 1 + np.exp(-1) + np.exp(-4),
                 1 + np.exp(-3) + np.exp(-4)]
    expected = np.column_stack([features, closeness])
    assert layer(features).numpy() == pytest.approx(expected, abs=1e-6)


def test_minibatch_discrimination_counts_equal_images():
    layer = layers.MinibatchDiscrimination(kernels=7)
    features = np.float32(np.random.default_rng(0).normal(0, 10, (8, 20)))
    equal = layer(np.repeat(features[:1], 8, 0)).numpy()[:, -7:]
    assert equal == pytest.approx(np.full((8, 7), 8.0), abs=1e-4)
    assert (layer(features).numpy()[:, -7:] < 7.9).all()


# ---- spectral norm


@pytest.fixture
def normalized():
    """A normalized dense layer whose estimate of sigma has converged, and its input."""
    keras.utils.set_random_seed(0)
    layer = layers.SpectralNormalization(keras.layers.Dense(4, use_bias=False))
    x = np.float32(np.random.default_rng(0).normal(size=(5, 3)))
    for _ in range(50):
        layer(x, training=True)
    return layer, x


def sigma_of(kernel):
    return np.linalg.svd(kernel, compute_uv=False)[0]


def test_spectral_norm_divides_by_the_largest_singular_value(normalized):
    layer, x = normalized
    kernel = layer.layer.kernel.numpy()
    assert layer(x).numpy() == pytest.approx(x @ kernel / sigma_of(kernel), abs=1e-5)
    assert (layer.layer.kernel.numpy() == kernel).all()  # it is not overwritten
    assert layer.u.numpy() @ layer.u.numpy().T == pytest.approx(1, abs=1e-5)


def test_spectral_norm_learns_its_estimate_in_training_alone(normalized):
    layer, x = normalized
    layer.layer.kernel.assign(np.random.default_rng(1).normal(size=(3, 4)))
    before = layer.u.numpy()
    layer(x)
    assert (layer.u.numpy() == before).all()
    layer(x, training=True)
    assert (layer.u.numpy() != before).any()


def test_gradient_of_spectral_norm_includes_sigma(normalized):
    layer, x = normalized
    kernel = layer.layer.kernel.numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(x)))
    gradient = tape.gradient(loss, layer.trainable_weights)[0].numpy()
    # The output is the same for any multiple of the kernel, so the gradient along the kernel is 0.
    assert np.sum(gradient * kernel) == pytest.approx(0, abs=1e-3)
    by_differences = np.zeros_like(kernel)
    for index in np.ndindex(*kernel.shape):
        values = []
        for step in (1e-4, -1e-4):
            moved = np.float64(kernel)
            moved[index] += step
            values.append(np.sum(np.square(x @ moved / sigma_of(moved))))
        by_differences[index] = (values[0] - values[1]) / 2e-4
    assert gradient == pytest.approx(by_differences, abs=2e-3)


# ---- dropout and copies


def test_saved_generator_with_dropout_is_loaded(tmp_path):
    inputs = keras.Input([4])
    keras.Model(inputs, layers.AlwaysDropout(0.5)(inputs)).save(tmp_path / "generator.keras")
    loaded = keras.models.load_model(tmp_path / "generator.keras")
    assert set(loaded(np.ones([20, 4])).numpy().flat) == {0, 2}
