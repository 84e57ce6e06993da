"""Degrades cartoons, so that G learns to restore them: pairs whose truth is known."""
import math

import tensorflow as tf

from models import randomness
from models.cartoon.networks import reflect
from models.cartoon.structure import flatten, pixel_size

# Sizes are in pixels of images with 64 rows. On average, 600 toy photos had .67 times the
# saturation of 200 drawings without lines, 1.04 times the contrast, and a brightness .10 higher
# [measured]. The rest is [guess].
LINE_CONTRAST = 0.1        # by which a line is darker than the pixels beside it
TEXTURE = 0.15             # largest standard deviation of spots of 2 and of 4 pixels
TINT = 0.05                # standard deviation of the colors of spots of 16 pixels
GRAIN = 0.06               # largest standard deviation of single pixels
SATURATION = (0.5, 0.85)   # range of the factor
CONTRAST = (0.85, 1.2)     # range of the factor
BRIGHTNESS = (0.0, 0.15)   # range of the change
PHOTO_TEXTURE = (0.5, 1.5)  # range of the factor, of a photo's texture


def degrade(cartoons, seed, photos=None):
    """Makes cartoons more like photos: no outlines, but texture, pale colors, blur and grain.

    Args:
        cartoons: float32 [batch, rows, columns, 3] in [-1, 1].
        seed: int tensor [2]. The strength of each step is random for each image.
        photos: photos of the same shape, whose texture is added.

    Returns:
        Images of the same shape and range.
    """
    pixel = pixel_size(cartoons)

    # `number` selects a stream of random numbers.
    def strength(number, low, high):
        shape = [tf.shape(cartoons)[0], 1, 1, 1]
        return randomness.uniform(shape, tf.random.fold_in(seed, number), low, high)

    def noise(number, size, channels=1):
        return spots(cartoons, size, channels, tf.random.fold_in(seed, number))

    x = without_thin_lines(cartoons)
    if photos is not None:
        x += strength(12, *PHOTO_TEXTURE) * (photos - flatten(photos))
    x += strength(0, 0.0, TEXTURE) * noise(1, 2 * pixel)
    x += strength(2, 0.0, TEXTURE) * noise(3, 4 * pixel)
    x += TINT * noise(4, 16 * pixel, channels=3)
    soft = tf.nn.avg_pool2d(reflect(x, pixel), 2 * pixel + 1, 1, "VALID")
    x += strength(10, 0.0, 1.0) * (soft - x)
    gray = tf.reduce_mean(x, 3, keepdims=True)
    x = gray + strength(5, *SATURATION) * (x - gray)
    mean = tf.reduce_mean(x, [1, 2, 3], keepdims=True)
    x = mean + strength(6, *CONTRAST) * (x - mean) + strength(7, *BRIGHTNESS)
    x += strength(8, 0.0, GRAIN) * noise(9, 1)
    return tf.clip_by_value(x, -1.0, 1.0)


def without_thin_lines(images):
    """Replaces dark lines of one or two pixels by the mean of the pixels beside them.

    These are pixels of images with 64 rows. The border between two areas stays in the middle of
    the removed line.

    Args:
        images: float32 [batch, rows, columns, channels] in [-1, 1].

    Returns:
        Images of the same shape and range.
    """
    size = 2 * pixel_size(images) + 1
    gray = tf.reduce_mean(images, 3, keepdims=True)
    brightest = tf.nn.max_pool2d(gray, size, 1, "SAME")
    closed = -tf.nn.max_pool2d(-brightest, size, 1, "SAME")  # a morphological closing
    is_line = closed - gray > LINE_CONTRAST
    beside = tf.cast(~is_line, images.dtype)
    total = tf.nn.avg_pool2d(images * beside, size + 2, 1, "SAME")
    share = tf.nn.avg_pool2d(beside, size + 2, 1, "SAME")
    return tf.where(is_line & (share > 0), tf.math.divide_no_nan(total, share), images)


def spots(images, size, channels, seed):
    """Returns noise from N(0, 1) for images, enlarged so that a spot is `size` pixels wide."""
    rows, columns = images.shape[1:3]
    shape = [tf.shape(images)[0], math.ceil(rows / size), math.ceil(columns / size), channels]
    return tf.image.resize(randomness.normal(shape, seed), [rows, columns], "bicubic")
