"""Differentiable augmentation of whatever D sees, real and fake, in both steps [Zhao 2020, arXiv:2006.10738].

D can't learn a small dataset by heart when it never sees the same picture twice, and G gets gradients through it all,
so that it needn't learn to draw shifted or bleached faces. Random numbers are stateless: a seed gives the same picture.
"""
import tensorflow as tf

from models import latent

SHIFT, CUT = 1 / 8, 1 / 2  # of the rows and columns: the paper's, for 32x32


def color(images, seed):
    """Moves brightness by up to 0.5 (of a range of 2), scales saturation by 0..2 and contrast by 0.5..1.5."""
    brightness, saturation, contrast = (
        latent.uniform([tf.shape(images)[0], 1, 1, 1], tf.random.fold_in(seed, part)) for part in range(3))
    images = images + brightness - 0.5
    grey = tf.reduce_mean(images, 3, keepdims=True)
    images = grey + (images - grey) * saturation * 2
    mean = tf.reduce_mean(images, [1, 2, 3], keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def _places(images, seed, low, high):
    """Draws whole numbers in [low, high], a pair each for rows and columns, for each image: int32 2 x [batch, 1]."""
    share = latent.uniform([tf.shape(images)[0], 2, 1], seed)
    return [start + tf.cast(part * (end - start + 1), "int32")
            for part, start, end in zip(tf.unstack(share, axis=1), low, high)]


def translation(images, seed):
    """Shifts by up to an eighth of the rows and columns; what comes in from outside is 0, grey."""
    rows, columns = images.shape[1:3]
    most = round(rows * SHIFT), round(columns * SHIFT)
    top, left = _places(images, seed, (0, 0), (2 * most[0], 2 * most[1]))
    padded = tf.pad(images, [[0, 0], [most[0]] * 2, [most[1]] * 2, [0, 0]])
    padded = tf.gather(padded, tf.range(rows) + top, axis=1, batch_dims=1)
    return tf.gather(padded, tf.range(columns) + left, axis=2, batch_dims=1)


def cutout(images, seed):
    """Covers a rectangle of half the rows and columns, somewhere, even partly outside, with 0, grey."""
    rows, columns = images.shape[1:3]
    half = round(rows * CUT / 2), round(columns * CUT / 2)
    middle = _places(images, seed, (0, 0), (rows, columns))
    covered = [tf.abs(2 * tf.range(size) + 1 - 2 * place) < 2 * reach
               for size, place, reach in zip((rows, columns), middle, half)]
    hidden = covered[0][:, :, None, None] & covered[1][:, None, :, None]
    return tf.where(hidden, 0.0, images)


POLICIES = {"color": color, "translation": translation, "cutout": cutout}


def policies(text):
    """Splits "color,translation" into names.

    Raises:
        ValueError: on a name that isn't one of POLICIES.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not set(names) <= POLICIES.keys():
        raise ValueError(f"`augment` must be out of {', '.join(POLICIES)}, separated by commas. "
                         f"Received: augment={text}")
    return names


def apply(images, text, seed):
    """Augments images [batch, rows, columns, channels] by the policies that `text` names, each in its turn."""
    for index, name in enumerate(policies(text)):
        images = POLICIES[name](images, tf.random.fold_in(seed, index))
    return images
