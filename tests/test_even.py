import pathlib
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

import models
from args import Even, override
from models import bits, even

ROOT = pathlib.Path(bits.__file__).resolve().parents[1]


def test_numbers_are_written_as_bits_with_the_highest_first():
    image = bits.bits([6], 4)
    assert image.shape == (1, 1, 4, 1) and image.dtype == np.uint8
    assert image[0, 0, :, 0].tolist() == [0, 255, 255, 0]


def test_bits_are_read_as_the_numbers_that_were_written():
    assert bits.numbers(bits.bits(np.arange(1024), 10)).tolist() == list(range(1024))


def test_the_brightest_dark_pixel_is_a_0():
    assert bits.numbers(np.uint8([127, 128])[None, None, :, None]).tolist() == [1]


def test_bits_imports_neither_tensorflow_nor_keras():
    code = ("import sys, models.bits; "
            "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_networks_are_dense():
    args = override(Even, generator_filters=(3, 4), discriminator_filters=(5, 6))
    generator = even.build_generator(args)
    discriminator = even.build_discriminator(args)
    encoder = even.build_encoder(args)
    for network, units in ((generator, [3, 4, 10]), (discriminator, [5, 6, 1]),
                           (encoder, [5, 6, 8])):
        dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
        # In the order of their application, whichever was created first.
        assert [layer.units for layer in dense] == units
    numbers = generator(5 * tf.random.normal([2, args.latent_dim]))
    assert numbers.shape == (2, 1, 10, 1) and float(tf.reduce_max(tf.abs(numbers))) <= 1
    assert discriminator(numbers).shape == (2, 1)
    z = encoder(numbers)
    assert z.shape == (2, args.latent_dim) and float(tf.reduce_max(tf.abs(z))) <= 1
    assert discriminator.get_layer("features").output.shape == (None, 6)


def test_one_step_trains_both_networks():
    gan = models.build(override(Even, batch_size=8))
    before = [network.get_weights() for network in (gan.generator, gan.discriminator)]
    images = tf.constant(np.float32(bits.bits(np.arange(0, 16, 2), 10)) / 127.5 - 1)
    logs = gan.train_step(images)
    assert all(np.isfinite(float(value)) for value in logs.values())
    after = [network.get_weights() for network in (gan.generator, gan.discriminator)]
    for old, new in zip(before, after):
        assert any((a != b).any() for a, b in zip(old, new))
