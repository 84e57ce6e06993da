"""models/keras_example.py: the networks of keras.io's DCGAN."""
import keras
import pytest
import tensorflow as tf

from args import KerasExample, override
from models import keras_example


@pytest.fixture
def small():
    """small(**changes): the preset with networks of a few filters."""
    def preset(**changes):
        filters = {"generator_filters": (8, 8, 8), "discriminator_filters": (8, 8, 8)}
        return override(KerasExample, batch_size=8, **(filters | changes))
    return preset


def test_networks_have_as_many_weights_as_published():
    generator = keras_example.build_generator(KerasExample)
    discriminator = keras_example.build_discriminator(KerasExample)
    dense = 128 * 8192 + 8192
    transposed = 4 * 4 * (128 * 128 + 128 * 256 + 256 * 512) + 128 + 256 + 512
    to_image = 5 * 5 * 512 * 3 + 3
    assert generator.count_params() == dense + transposed + to_image
    convolutions = 4 * 4 * (3 * 64 + 64 * 128 + 128 * 128) + 64 + 128 + 128
    logit = 8 * 8 * 128 + 1
    assert discriminator.count_params() == convolutions + logit


def test_shapes_and_ranges(small):
    shape = (24, 32, 1)
    args = small(image_shape=shape)
    z = 5 * tf.random.stateless_normal([2, args.latent_dim], [1, 2])
    images = keras_example.build_generator(args)(z)
    assert images.shape == (2, *shape)
    assert -1 <= float(tf.reduce_min(images)) < 0 < float(tf.reduce_max(images)) <= 1
    assert keras_example.build_discriminator(args)(images).shape == (2, 1)
    encoded = keras_example.build_encoder(args)(images)
    assert encoded.shape == (2, args.latent_dim)
    assert float(tf.reduce_max(tf.abs(encoded))) <= 1


def test_constants_reach_the_layers(small):
    args = small(g_leaky_slope=0.1, d_leaky_slope=0.3, d_dropout=0.4, kernel_size=6)
    generator = keras_example.build_generator(args)
    discriminator = keras_example.build_discriminator(args)
    for network, slope in ((generator, 0.1), (discriminator, 0.3)):
        relus = [layer for layer in network.layers if isinstance(layer, keras.layers.LeakyReLU)]
        assert [layer.negative_slope for layer in relus] == 3 * [slope]
    dropouts = [layer for layer in discriminator.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in dropouts] == [0.4]
    assert discriminator.layers[2].kernel_size == (6, 6)
