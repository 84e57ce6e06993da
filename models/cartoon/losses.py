"""The terms of G's loss that compare photos, cartoons and generated images. Each is a scalar."""
import tensorflow as tf


def content_distance(expected, received):
    """Returns the mean absolute difference of feature maps, relative to the expected ones.

    It is the l1 distance of [Chen 2018 s3.2.2], divided by the mean feature of the photos, so a
    weight means the same for any network: 0 if the content is the same, about 1 or more if the
    images have nothing in common.

    Args:
        expected: feature maps of photos, a list of [batch, rows, columns, channels] per layer.
        received: the same of the images that G made of them.

    Returns:
        A float32 scalar, the mean over the layers.
    """
    distances = [_relative_l1(*maps) for maps in zip(expected, received, strict=True)]
    return tf.add_n(distances) / len(distances)


def style_distance(expected, received):
    """Returns the mean absolute difference of mean Gram matrices, relative to the expected ones.

    Unlike content, style does not depend on position. The images of a batch show different things,
    so means over the batch are compared, not pairs of images.

    Args:
        expected: feature maps of cartoons, a list of [batch, rows, columns, channels] per layer.
        received: the same of generated images.

    Returns:
        A float32 scalar, the mean over the layers: 0 if the styles are the same.

    Reference: Gatys 2016, "Image Style Transfer Using Convolutional Neural Networks", CVPR
    """
    distances = []
    for expected_maps, received_maps in zip(expected, received, strict=True):
        expected_gram = tf.reduce_mean(gram(expected_maps), 0)
        received_gram = tf.reduce_mean(gram(received_maps), 0)
        distances.append(_relative_l1(expected_gram, received_gram))
    return tf.add_n(distances) / len(distances)


def gram(maps):
    """Returns how the channels of feature maps vary together, [batch, channels, channels].

    The mean of each channel of each image is subtracted first. Otherwise the brightness of an image
    outweighs its texture [AnimeGANv3].
    """
    x = maps - tf.reduce_mean(maps, [1, 2], keepdims=True)
    places = tf.shape(maps)[1] * tf.shape(maps)[2]
    return tf.einsum("brcx,brcy->bxy", x, x) / tf.cast(places, "float32")


def _relative_l1(expected, received):
    return tf.reduce_mean(tf.abs(expected - received)) / tf.reduce_mean(tf.abs(expected))
