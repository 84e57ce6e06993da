"""models/layers.py: each layer against values by hand, or against Keras' own."""
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from args import (
    Args,
    Cartoon64,
    Even,
    KerasExample,
    Mnist28,
    Original,
    OriginalMnist28,
    PyTorchExample,
    override,
)
from models import layers


def test_always_dropout_drops_without_training_too():
    dropped = layers.AlwaysDropout(0.5)(tf.ones([100, 100]), training=False).numpy()
    assert set(np.unique(dropped)) == {0, 2}
    assert dropped.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shape", [(8, 4, 4, 6), (1, 1, 1, 3)])
def test_batch_norm_as_one_operation_equals_that_of_keras(shape):
    random = np.random.default_rng(0)
    images, output_gradients = random.normal(2.0, 3.0, (2, *shape)).astype("float32")

    def results(layer):
        layer.build(shape)
        layer.gamma.assign(layer.gamma * 0.5)
        x = tf.Variable(images)
        with tf.GradientTape() as tape:
            outputs = layer(x, training=True)
        gradients = tape.gradient(
            outputs, [x, layer.gamma, layer.beta], output_gradients=tf.constant(output_gradients))
        return [outputs, layer(x, training=False), *layer.weights, *gradients]

    ours = results(layers.BatchNormalization(momentum=0.8))
    theirs = results(keras.layers.BatchNormalization(momentum=0.8))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


def test_output_shape_of_minibatch_discrimination_is_known_before_the_call():
    assert layers.MinibatchDiscrimination(5).compute_output_shape((None, 12)) == (None, 17)


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


def test_minibatch_discrimination_of_equal_images_is_the_size_of_the_batch():
    layer = layers.MinibatchDiscrimination(kernels=7)
    features = np.float32(np.random.default_rng(0).normal(0, 10, (8, 20)))
    equal = layer(np.repeat(features[:1], 8, 0)).numpy()[:, -7:]
    assert equal == pytest.approx(np.full((8, 7), 8.0), abs=1e-4)
    assert (layer(features).numpy()[:, -7:] < 7.9).all()


# ---- spectral norm

@pytest.fixture
def normalized():
    """A normalized dense layer whose estimate of sigma has converged, and its input."""
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


# ---- copies

@pytest.mark.parametrize("layer, shape", [
    (layers.AlwaysDropout(0.0), [4, 4, 8]),
    (layers.BatchNormalization(momentum=0.3, epsilon=0.1), [4, 4, 8]),
    (layers.MinibatchDiscrimination(5, size=2), [8]),
    (layers.SpectralNormalization(keras.layers.Conv2D(2, 3)), [4, 4, 8]),
], ids=lambda value: type(value).__name__)
def test_layer_can_be_copied(layer, shape):
    """The averaged generator and checkpoints need copies of networks."""
    inputs = keras.Input(shape)
    network = keras.Model(inputs, layer(inputs))
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    images = tf.random.stateless_normal([2, *shape], [0, 0])
    np.testing.assert_allclose(copy(images), network(images), rtol=1e-5, atol=1e-6)
    assert type(copy.layers[-1]) is type(layer)


# ---- networks without these layers

SMALL = {"generator_filters": (8, 8), "generator_extra_filters": (4,)}


def randomized(network):
    """Moves all weights, moving averages included, far from their initial values."""
    random = np.random.default_rng(0)
    for weight in network.weights:
        low = 0.1 if weight.name == "moving_variance" else -0.5
        weight.assign(random.uniform(low, 0.5, weight.shape))
    return network


def modules_in(config):
    """Returns the values of all keys named "module" in a nested configuration."""
    if isinstance(config, list):
        return set().union(*[modules_in(item) for item in config])
    if not isinstance(config, dict):
        return set()
    found = set().union(*[modules_in(value) for value in config.values()])
    if isinstance(config.get("module"), str):
        found.add(config["module"])
    return found


@pytest.mark.parametrize("args", [
    override(Args, **SMALL),
    override(Args, **SMALL, upsampling="pixel_shuffle"),
    override(Args, **SMALL, upsampling="bilinear"),
    override(Args, **SMALL, conditional=True),
    override(Mnist28, **SMALL),
    override(OriginalMnist28, **SMALL),
    override(Original, **SMALL),
    override(PyTorchExample, **SMALL),
    override(KerasExample, generator_filters=(8, 8, 8)),
    Even,
    override(Cartoon64, generator_filters=(4, 4, 4)),
], ids=[
    "Args", "pixel_shuffle", "bilinear", "conditional", "Mnist28", "OriginalMnist28", "Original",
    "PyTorchExample", "KerasExample", "Even", "Cartoon64"])
def test_generator_of_a_preset_is_loaded_by_keras_alone(args, here):
    generator = randomized(models.build(args, 3 if args.conditional else 0).generator)
    copy = layers.with_keras_layers(generator)
    copy.save("generator.keras")
    with zipfile.ZipFile("generator.keras") as file:
        modules = modules_in(json.loads(file.read("config.json")))
    assert {module.split(".")[0] for module in modules} == {"keras"}
    loaded = keras.models.load_model("generator.keras")
    shape = [size or 16 for size in generator.input_shape[1:]]
    inputs = np.random.default_rng(1).normal(size=[8, *shape]).astype("float32")
    expected = generator(inputs, training=False).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(loaded(inputs), expected, atol=1e-5)


def test_networks_of_keras_layers_compute_in_float32():
    args = override(Args, **SMALL, precision="mixed_bfloat16", upsampling="pixel_shuffle")
    generator = models.build(args).generator
    assert "bfloat16" in {layer.compute_dtype for layer in generator.layers}
    copy = layers.with_keras_layers(generator)
    assert {layer.compute_dtype for layer in copy.layers} == {"float32"}
    z = np.zeros([2, 100], "float32")
    np.testing.assert_allclose(copy(z), tf.cast(generator(z), "float32"), atol=1e-2)


def test_batch_norm_of_keras_keeps_its_settings_and_statistics():
    generator = randomized(models.build(override(Args, **SMALL, bn_momentum=0.3)).generator)
    copy = layers.with_keras_layers(generator)
    norms = [layer for layer in copy.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [type(layer) for layer in norms] == 3 * [keras.layers.BatchNormalization]
    assert [layer.momentum for layer in norms] == 3 * [0.3]
    for one, other in zip(copy.weights, generator.weights, strict=True):
        assert one is not other and (one.numpy() == other.numpy()).all()


def test_dropout_that_keras_does_not_have_is_loaded_by_this_module(here):
    copy = layers.with_keras_layers(models.build(override(Args, **SMALL, g_dropout=0.5)).generator)
    copy.save("generator.keras")
    loaded = keras.models.load_model("generator.keras")
    assert "AlwaysDropout" in {type(layer).__name__ for layer in loaded.layers}
