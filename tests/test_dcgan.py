"""models/dcgan.py: the networks have the layers that the constants name."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from args import Args, PyTorchExample, override
from models import dcgan

IMAGES = np.float32(np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)))


def kinds(network):
    """Returns the names of the classes of all layers, and of Keras' operations between them."""
    return [type(operation).__name__ for operation in network.operations]


def settings(network, name):
    """Returns the values of an attribute of all layers that have it."""
    return [getattr(layer, name) for layer in network.layers if hasattr(layer, name)]


def trainable_count(network):
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


# ---- as in the sources

def test_default_networks_have_the_weights_of_the_original():
    assert dcgan.build_generator(Args).count_params() == 3_616_771
    assert dcgan.build_discriminator(Args).count_params() == 2_768_321


def test_networks_of_pytorch_examples_have_its_weights():
    assert trainable_count(dcgan.build_generator(PyTorchExample)) == 3_576_704
    assert trainable_count(dcgan.build_discriminator(PyTorchExample)) == 2_765_568


def test_networks_follow_the_guidelines_of_the_paper(deep):
    generator, discriminator = dcgan.build_generator(deep()), dcgan.build_discriminator(deep())
    assert generator.layers[-1].activation is keras.activations.tanh
    assert kinds(discriminator)[1:5] == ["Conv2D", "LeakyReLU", "Conv2D", "BatchNormalization"]
    assert kinds(discriminator).count("Conv2D") == 4
    assert kinds(discriminator).count("BatchNormalization") == 3  # none on the first layer
    assert kinds(generator).count("BatchNormalization") == 5      # none on the last layer
    assert not any("Pooling" in kind for kind in kinds(discriminator))


# ---- shapes

@pytest.mark.parametrize("shape, filters", [
    ((64, 64, 3), (8, 8, 8, 8)),
    ((28, 28, 1), (8, 8)),
    ((96, 64, 3), (8, 8, 8, 8, 8)),
    ((32, 48, 1), (8, 8, 8)),
])
def test_generator_makes_any_multiple_of_its_upsampling(shape, filters):
    args = override(Args, image_shape=shape, generator_filters=filters,
                    discriminator_filters=(8, 8))
    images = dcgan.build_generator(args)(tf.random.stateless_normal([2, 100], [0, 0]))
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
    ("transpose", "Conv2DTranspose"), ("pixel_shuffle", "DepthToSpace"),
    ("nearest", "UpSampling2D"), ("bilinear", "UpSampling2D")])
def test_upsampling(deep, upsampling, kind):
    generator = dcgan.build_generator(deep(upsampling=upsampling))
    # The first layer, whose input is a single pixel, is always a transposed convolution.
    expected = {"Conv2DTranspose": 1, "DepthToSpace": 0, "UpSampling2D": 0}
    expected[kind] += 4
    assert {name: kinds(generator).count(name) for name in expected} == expected
    assert set(settings(generator, "interpolation")) <= {upsampling}
    images = generator(tf.random.stateless_normal([2, 100], [0, 0]))
    assert images.shape == (2, 64, 64, 3)
    assert float(tf.reduce_max(tf.abs(images))) <= 1


def test_pixel_shuffle_by_hand(tiny):
    inputs = keras.Input([1, 1, 4])
    outputs = dcgan.upsample(
        inputs, tiny(upsampling="pixel_shuffle", kernel_size=1, kernel_initializer="orthogonal"), 1)
    network = keras.Model(inputs, outputs)
    network.layers[1].kernel.assign(np.eye(4).reshape(1, 1, 4, 4))
    image = np.float32([[[[1, 2, 3, 4]]]])  # one pixel of four channels: four pixels of one
    assert network(image).numpy()[0, :, :, 0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("downsampling, stride, pooling", [
    ("stride", 2, None), ("average", 1, "AveragePooling2D"), ("max", 1, "MaxPooling2D")])
def test_downsampling(deep, downsampling, stride, pooling):
    discriminator = dcgan.build_discriminator(deep(downsampling=downsampling))
    convolutions = [layer for layer in discriminator.layers
                    if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.strides for layer in convolutions] == 4 * [(stride, stride)]
    pools = [kind for kind in kinds(discriminator) if "Pooling" in kind]
    assert pools == (4 * [pooling] if pooling else [])
    assert discriminator.get_layer("features").output.shape == (None, 4 * 4 * 16)


# ---- layers

def test_leaky_slopes(deep):
    args = deep(g_leaky_slope=0.0, d_leaky_slope=0.3)
    assert set(settings(dcgan.build_generator(args), "negative_slope")) == {0.0}
    assert set(settings(dcgan.build_discriminator(args), "negative_slope")) == {0.3}


@pytest.mark.parametrize("size", [3, 4, 5])
def test_kernel_size(deep, size):
    args = deep(kernel_size=size, generator_extra_filters=())
    # The first kernel of G is as large as the image behind it.
    assert settings(dcgan.build_generator(args), "kernel_size")[1:] == 4 * [(size, size)]
    assert settings(dcgan.build_discriminator(args), "kernel_size") == 4 * [(size, size)]


def test_filters(deep):
    args = deep(discriminator_filters=(12, 12, 12, 12), generator_filters=(24, 16, 8))
    assert settings(dcgan.build_discriminator(args), "filters") == [12, 12, 12, 12]
    assert settings(dcgan.build_generator(args), "filters") == [24, 16, 8, 8, 3]


@pytest.mark.parametrize("batch_norm, in_g, in_d", [
    ("both", 5, 3), ("generator", 5, 0), ("discriminator", 0, 3), ("none", 0, 0)])
def test_batch_norm(deep, batch_norm, in_g, in_d):
    args = deep(batch_norm=batch_norm)
    assert kinds(dcgan.build_generator(args)).count("BatchNormalization") == in_g
    assert kinds(dcgan.build_discriminator(args)).count("BatchNormalization") == in_d


def test_momentum_epsilon_and_biases(deep):
    args = deep(bn_momentum=0.3, bn_epsilon=0.01, use_bias=False)
    for network in (dcgan.build_generator(args), dcgan.build_discriminator(args)):
        assert set(settings(network, "momentum")) == {0.3}
        assert set(settings(network, "epsilon")) == {0.01}
        assert set(settings(network, "use_bias")) == {False}


def test_dropout_of_g_is_always_on_and_that_of_d_in_training_alone(deep):
    args = deep(g_dropout=0.5, d_dropout=0.4)
    generator, discriminator = dcgan.build_generator(args), dcgan.build_discriminator(args)
    assert kinds(generator).count("AlwaysDropout") == 5
    assert set(settings(generator, "rate")) == {0.5}
    assert settings(discriminator, "rate") == 4 * [0.4]
    z = tf.random.stateless_normal([2, 100], [0, 0])
    assert (generator(z).numpy() != generator(z).numpy()).any()
    assert (discriminator(IMAGES).numpy() == discriminator(IMAGES).numpy()).all()
    first, second = (discriminator(IMAGES, training=True).numpy() for _ in range(2))
    assert (first != second).all()


def test_minibatch_discrimination_compares_the_images_of_a_batch(deep):
    alone = dcgan.build_discriminator(deep(batch_norm="none"))
    assert alone(IMAGES[:1]).numpy() == pytest.approx(alone(IMAGES).numpy()[:1], abs=1e-5)
    together = dcgan.build_discriminator(deep(batch_norm="none", minibatch_kernels=7))
    assert together.layers[-1].kernel.shape == (4 * 4 * 16 + 7, 1)
    assert together(IMAGES[:1]).numpy() != pytest.approx(together(IMAGES).numpy()[:1], abs=1e-5)


def test_spectral_norm_is_on_every_layer_of_d(deep):
    discriminator = dcgan.build_discriminator(deep(spectral_norm=True, batch_norm="none"))
    assert kinds(discriminator).count("SpectralNormalization") == 5
    assert kinds(discriminator).count("Conv2D") == kinds(discriminator).count("Dense") == 0


# ---- initial weights

@pytest.mark.parametrize("name, deviation", [
    ("normal", 0.02),
    ("random_uniform", 0.05 / 3 ** 0.5),
    ("glorot_uniform", (2 / (9 * 2 * 64)) ** 0.5),
])
def test_kernel_initializer(deep, name, deviation):
    keras.utils.set_random_seed(0)
    args = deep(kernel_initializer=name, kernel_size=3, discriminator_filters=(64, 64))
    kernel = dcgan.build_discriminator(args).layers[3].kernel.numpy()
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    assert kernel.mean() == pytest.approx(0, abs=deviation / 50)


def test_orthogonal_kernels_are_orthogonal(deep):
    discriminator = dcgan.build_discriminator(deep(kernel_initializer="orthogonal"))
    matrix = discriminator.layers[3].kernel.numpy().reshape(-1, 8)
    assert matrix.T @ matrix == pytest.approx(np.eye(8), abs=1e-5)


# ---- classes

def test_classes_follow_z_and_the_logit(tiny):
    args = tiny()
    generator, discriminator = dcgan.build_generator(args, 3), dcgan.build_discriminator(args, 3)
    assert generator.input_shape == (None, 103)
    assert discriminator.output_shape == (None, 1 + 3)
    assert dcgan.build_encoder(args, 3).output_shape == (None, 103)
    z = np.repeat(np.random.default_rng(0).normal(size=(1, 100)), 3, 0)
    images = generator(np.concatenate([z, np.eye(3)], 1), training=True).numpy()
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(images[one] - images[other]).max() > 1e-3


def test_class_is_embedded_in_z(tiny):
    """Of a z of zeros only the one-hot class is left."""
    generator = dcgan.build_generator(tiny(), 3)
    assert generator.get_layer("embedding").kernel.shape == (3, 100)
    concatenated = keras.Model(
        generator.input, next(layer for layer in generator.layers
                              if isinstance(layer, keras.layers.Concatenate)).output)
    z = np.concatenate([np.zeros([3, 100]), np.eye(3)], 1)
    assert (concatenated(z).numpy() == z).all()
