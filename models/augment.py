"""Differentiable augmentation of all images D sees, real and fake, in both updates.

D can hardly memorize a small dataset if it rarely sees an image twice in the same way. Real and
fake images are augmented alike, so G gains nothing by making shifted or discolored images. Its
gradients pass through the augmentation.

Reference: Zhao 2020, arXiv:2006.10738.
"""
import tensorflow as tf

import args as constants
from models import randomness

SHIFT = 1 / 8  # the largest translation, as a share of rows and columns [Zhao 2020]
CUT = 1 / 2    # the size of the cutout, as a share of rows and columns [Zhao 2020]


def color(images, seed):
    """Shifts brightness by up to 0.5, scales saturation by 0 to 2 and contrast by 0.5 to 1.5."""
    shape = [tf.shape(images)[0], 1, 1, 1]
    brightness = randomness.uniform(shape, tf.random.fold_in(seed, 0))
    saturation = randomness.uniform(shape, tf.random.fold_in(seed, 1))
    contrast = randomness.uniform(shape, tf.random.fold_in(seed, 2))
    images = images + brightness - 0.5
    gray = tf.reduce_mean(images, 3, keepdims=True)
    images = gray + (images - gray) * saturation * 2
    mean = tf.reduce_mean(images, [1, 2, 3], keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def translation(images, seed):
    """Shifts by up to an eighth of the rows and columns. Pixels from outside are 0, gray."""
    rows, columns = images.shape[1:3]
    row_limit, column_limit = round(rows * SHIFT), round(columns * SHIFT)
    top, left = _random_places(images, seed, 2 * row_limit, 2 * column_limit)
    paddings = [[0, 0], [row_limit, row_limit], [column_limit, column_limit], [0, 0]]
    padded = tf.pad(images, paddings)
    padded = tf.gather(padded, tf.range(rows) + top, axis=1, batch_dims=1)
    return tf.gather(padded, tf.range(columns) + left, axis=2, batch_dims=1)


def cutout(images, seed):
    """Covers a rectangle of half the rows and columns with 0, gray. It may reach outside."""
    rows, columns = images.shape[1:3]
    middle_row, middle_column = _random_places(images, seed, rows, columns)
    covered_rows = _is_within(rows, middle_row, round(rows * CUT / 2))
    covered_columns = _is_within(columns, middle_column, round(columns * CUT / 2))
    covered = covered_rows[:, :, None, None] & covered_columns[:, None, :, None]
    return tf.where(covered, 0.0, images)


def _random_places(images, seed, row_limit, column_limit):
    """Returns a random row and column per image, in [0, limit]: two int32 [batch, 1]."""
    share = randomness.uniform([tf.shape(images)[0], 2, 1], seed)
    row_share, column_share = tf.unstack(share, axis=1)
    return (tf.cast(row_share * (row_limit + 1), "int32"),
            tf.cast(column_share * (column_limit + 1), "int32"))


def _is_within(size, middle, reach):
    """Returns which of `size` pixels lie less than `reach` from the middle: [batch, size]."""
    # In half pixels, as the center of pixel i is at i + 1/2.
    return tf.abs(2 * tf.range(size) + 1 - 2 * middle) < 2 * reach


POLICIES = {"color": color, "translation": translation, "cutout": cutout}


def apply(images, policies, seed):
    """Augments images by each policy in turn.

    Args:
        images: float32 [batch, rows, columns, channels] in [-1, 1].
        policies: names out of POLICIES, separated by commas.
        seed: int tensor [2]. The same seed gives the same augmentation.

    Returns:
        float32 [batch, rows, columns, channels]. Values may leave [-1, 1].
    """
    for index, name in enumerate(constants.augment_policies(policies)):
        images = POLICIES[name](images, tf.random.fold_in(seed, index))
    return images
