"""models/even.py: the dense networks, and that they learn even numbers."""
import keras
import numpy as np
import tensorflow as tf

import data
import models
from args import Even, override
from models import even
from models.toys import numbers


def test_the_networks_are_dense():
    args = override(Even, generator_filters=(3, 4), discriminator_filters=(5, 6),
                    image_shape=(1, 7, 1))
    generator = even.build_generator(args)
    discriminator = even.build_discriminator(args)
    encoder = even.build_encoder(args)
    for network, units in ((generator, [3, 4, 7]), (discriminator, [5, 6, 1]),
                           (encoder, [5, 6, args.latent_dim])):
        dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
        # In the order of their application, whichever was created first.
        assert [layer.units for layer in dense] == units
    images = generator(5 * tf.random.normal([2, args.latent_dim]))
    assert images.shape == (2, 1, 7, 1) and float(tf.reduce_max(tf.abs(images))) <= 1
    assert discriminator(images).shape == (2, 1)
    z = encoder(images)
    assert z.shape == (2, args.latent_dim) and float(tf.reduce_max(tf.abs(z))) <= 1
    assert discriminator.get_layer("features").output.shape == (None, 6)


def test_the_gan_learns_to_generate_even_numbers():
    args = Even
    bits = args.image_shape[1]
    gan = models.build(args)
    step = tf.function(gan.train_step)
    z = gan.sample_z(1000)
    before = numbers.to_numbers(data.denormalize(gan.sample(z).numpy()))
    real = data.normalize(numbers.sample(500 * args.batch_size, bits=bits))
    for batch in np.split(real, 500):
        step(tf.constant(batch))
    after = numbers.to_numbers(data.denormalize(gan.sample(z).numpy()))
    assert (before % 2 == 0).mean() < 0.9
    assert (after % 2 == 0).mean() > 0.99
    assert len(set(after)) > 2 ** bits / 2 * 0.8  # most of the even numbers
