"""models/dcgan.py: the networks have the layers that the constants name."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import args as constants
from args import Args, PyTorchExample, override
from models import dcgan

IMAGES = np.float32(np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)))
Z = np.float32(np.random.default_rng(1).normal(size=(2, 100)))


def kinds(network):
    """Returns the names of the classes of all layers, and of Keras' operations between them."""
    return [type(operation).__name__ for operation in network.operations]


def settings(network, name):
    """Returns the values of an attribute of all layers that have it."""
    return [getattr(layer, name) for layer in network.layers if hasattr(layer, name)]


# ---- the recipes


def test_networks_follow_the_guidelines_of_the_paper(deep):
    generator, discriminator = dcgan.build_generator(deep()), dcgan.build_discriminator(deep())
    assert generator.layers[-1].activation is keras.activations.tanh
    assert kinds(discriminator)[1:5] == ["Conv2D", "LeakyReLU", "Conv2D", "BatchNormalization"]
    assert kinds(discriminator).count("Conv2D") == 4
    assert kinds(discriminator).count("BatchNormalization") == 3  # none on the first layer
    assert kinds(generator).count("BatchNormalization") == 5      # none on the last layer
    assert not any("Pooling" in kind for kind in kinds(discriminator))


def test_default_networks_have_the_weights_of_the_original():
    assert dcgan.build_generator(Args).count_params() == 3_616_771
    assert dcgan.build_discriminator(Args).count_params() == 2_768_321


def test_networks_of_pytorch_examples_have_its_weights_and_biases():
    def count(network):
        shapes = [weight.shape for weight in network.trainable_weights if weight.name != "bias"]
        return sum(int(np.prod(shape)) for shape in shapes)

    assert count(dcgan.build_generator(PyTorchExample)) == 3_576_704
    assert count(dcgan.build_discriminator(PyTorchExample)) == 2_765_568


# ---- shapes


@pytest.mark.parametrize("shape, filters", [
    ((28, 28, 1), (8, 8)),
    ((96, 64, 3), (8, 8, 8, 8, 8)),
])
def test_generator_makes_any_multiple_of_its_upsampling(shape, filters):
    args = override(Args, image_shape=shape, generator_filters=filters,
                    discriminator_filters=(8, 8))
    images = dcgan.build_generator(args)(Z)
    assert images.shape == (2, *shape)
    assert float(tf.reduce_max(tf.abs(images))) <= 1
    assert dcgan.build_discriminator(args)(images).shape == (2, 1)
    z = dcgan.build_encoder(args)(images)
    assert z.shape == (2, 100)
    assert float(tf.reduce_max(tf.abs(z))) <= 1


def test_discriminator_takes_images_of_any_size():
    args = override(Args, image_shape=(50, 41, 1), discriminator_filters=(8, 8, 8))
    assert dcgan.build_discriminator(args)(tf.zeros([2, 50, 41, 1])).shape == (2, 1)


# ---- up and down


@pytest.mark.parametrize("upsampling, kind", [
    ("transpose", "Conv2DTranspose"), ("pixel_shuffle", "Permute"),
    ("nearest", "UpSampling2D"), ("bilinear", "UpSampling2D")])
def test_upsampling(small, upsampling, kind):
    generator = dcgan.build_generator(small(upsampling=upsampling))
    # The first layer, whose input is a single pixel, is always a transposed convolution.
    expected = {"Conv2DTranspose": 1, "Permute": 0, "UpSampling2D": 0}
    expected[kind] += 2
    assert {name: kinds(generator).count(name) for name in expected} == expected
    assert set(settings(generator, "interpolation")) <= {upsampling}
    images = generator(Z)
    assert images.shape == (2, 16, 16, 3)
    assert float(tf.reduce_max(tf.abs(images))) <= 1


def test_output_blur_removes_a_pattern_of_two_pixels(small):
    generator = dcgan.build_generator(small(output_blur=True))
    blur, tanh = generator.layers[-2:]
    rows, columns = np.indices((16, 16))
    dots = np.float32((rows + columns) % 2)[None, :, :, None]
    ramp = np.float32(columns)[None, :, :, None]
    np.testing.assert_allclose(blur(dots)[:, :-1, :-1], 0.5)
    np.testing.assert_allclose(blur(ramp)[:, :-1, :-1], ramp[:, :-1, :-1] + 0.5)
    assert tanh.activation is keras.activations.tanh


def test_pixel_shuffle_equals_that_of_tensorflow(small):
    inputs = keras.Input([2, 3, 12])
    args = small(kernel_size=1, upsampling="pixel_shuffle")
    network = keras.Model(inputs, dcgan.upsample(inputs, args, 3))
    network.layers[1].kernel.assign(np.eye(12).reshape(1, 1, 12, 12))
    image = np.random.default_rng(0).normal(size=(2, 2, 3, 12)).astype("float32")
    assert np.array_equal(network(image), tf.nn.depth_to_space(image, 2))


@pytest.mark.parametrize("downsampling, stride, pooling", [
    ("stride", 2, []), ("average", 1, ["AveragePooling2D"]), ("max", 1, ["MaxPooling2D"])])
def test_downsampling(small, downsampling, stride, pooling):
    discriminator = dcgan.build_discriminator(small(downsampling=downsampling))
    convolutions = [layer for layer in discriminator.layers
                    if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.strides for layer in convolutions] == 2 * [(stride, stride)]
    assert [kind for kind in kinds(discriminator) if "Pooling" in kind] == 2 * pooling
    assert discriminator.get_layer("features").output.shape == (None, 4 * 4 * 8)


# ---- layers


def test_filters_kernels_slopes_and_momentum(deep):
    args = deep(discriminator_filters=(12, 8, 8, 4), generator_filters=(24, 16, 8),
                generator_extra_filters=(), kernel_size=5, g_leaky_slope=0.0, d_leaky_slope=0.3,
                bn_momentum=0.3)
    generator, discriminator = dcgan.build_generator(args), dcgan.build_discriminator(args)
    assert settings(generator, "filters") == [24, 16, 8, 3]
    assert settings(discriminator, "filters") == [12, 8, 8, 4]
    # The first kernel of G is as large as the image behind it.
    assert settings(generator, "kernel_size") == [(8, 8), (5, 5), (5, 5), (5, 5)]
    assert settings(discriminator, "kernel_size") == 4 * [(5, 5)]
    assert set(settings(generator, "negative_slope")) == {0.0}
    assert set(settings(discriminator, "negative_slope")) == {0.3}
    assert settings(generator, "momentum") == settings(discriminator, "momentum") == 3 * [0.3]


@pytest.mark.parametrize("batch_norm, in_g, in_d", [
    ("generator", 2, 0), ("discriminator", 0, 1), ("none", 0, 0)])
def test_batch_norm(small, batch_norm, in_g, in_d):
    args = small(batch_norm=batch_norm)
    assert kinds(dcgan.build_generator(args)).count("BatchNormalization") == in_g
    assert kinds(dcgan.build_discriminator(args)).count("BatchNormalization") == in_d


def test_dropout_is_always_on_in_g_and_on_in_d_in_training(small):
    args = small(g_dropout=0.5, d_dropout=0.4, batch_norm="none")
    generator, discriminator = dcgan.build_generator(args), dcgan.build_discriminator(args)
    assert kinds(generator).count("AlwaysDropout") == 2
    assert set(settings(generator, "rate")) == {0.5}
    assert settings(discriminator, "rate") == 2 * [0.4]
    assert (generator(Z).numpy() != generator(Z).numpy()).any()
    images = IMAGES[:, :16, :16]
    assert (discriminator(images).numpy() == discriminator(images).numpy()).all()
    first, second = (discriminator(images, training=True).numpy() for _ in range(2))
    assert (first != second).all()


def test_minibatch_discrimination_compares_the_images_of_a_batch(small):
    images = IMAGES[:, :16, :16]
    alone = dcgan.build_discriminator(small(batch_norm="none"))
    assert alone(images[:1]).numpy() == pytest.approx(alone(images).numpy()[:1], abs=1e-5)
    together = dcgan.build_discriminator(small(batch_norm="none", minibatch_kernels=7))
    assert together.layers[-1].kernel.shape == (4 * 4 * 8 + 7, 1)
    assert together(images[:1]).numpy() != pytest.approx(together(images).numpy()[:1], abs=1e-5)


def test_spectral_norm_is_on_every_layer_of_d(small):
    discriminator = dcgan.build_discriminator(small(spectral_norm=True, batch_norm="none"))
    assert kinds(discriminator).count("SpectralNormalization") == 3
    assert kinds(discriminator).count("Conv2D") == kinds(discriminator).count("Dense") == 0


# ---- initial weights


@pytest.mark.parametrize("name, deviation", [
    ("normal", 0.02),
    ("random_uniform", 0.05 / 3 ** 0.5),
    ("glorot_uniform", (2 / (9 * 2 * 64)) ** 0.5),
])
def test_kernel_initializer(small, name, deviation):
    keras.utils.set_random_seed(0)
    args = small(kernel_initializer=name, kernel_size=3, discriminator_filters=(64, 64))
    kernel = dcgan.build_discriminator(args).layers[3].kernel.numpy()
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    assert kernel.mean() == pytest.approx(0, abs=deviation / 50)


def test_every_initializer_exists():
    for name in constants.CHOICES["kernel_initializer"]:
        initializer = dcgan.initializer(override(Args, kernel_initializer=name))
        assert initializer((4, 4)).shape == (4, 4)


# ---- classes


def test_classes_follow_z_and_the_logit(small):
    args = small()
    generator, discriminator = dcgan.build_generator(args, 3), dcgan.build_discriminator(args, 3)
    assert generator.input_shape == (None, 103)
    assert discriminator.output_shape == (None, 1 + 3)
    assert dcgan.build_encoder(args, 3).output_shape == (None, 103)
    z = np.concatenate([np.repeat(Z[:1], 3, 0), np.eye(3)], 1)
    first, second, third = generator(z, training=True).numpy()
    assert np.abs(first - second).max() > 1e-3 < np.abs(second - third).max()


def test_z_is_multiplied_by_an_embedding_of_the_class(small):
    generator = dcgan.build_generator(small(), 3)
    kernel = generator.get_layer("embedding").kernel.numpy()
    joined, = (layer.output for layer in generator.layers
               if isinstance(layer, keras.layers.Concatenate))
    z = np.concatenate([Z, np.eye(3)[[2, 0]]], 1)
    expected = np.concatenate([Z * kernel[[2, 0]], np.eye(3)[[2, 0]]], 1)
    assert keras.Model(generator.input, joined)(z).numpy() == pytest.approx(expected, abs=1e-6)
