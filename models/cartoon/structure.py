"""A photo as a simple drawing: flat areas, few steps of brightness, ink. Nothing here learns."""
import math

import numpy as np
import tensorflow as tf

from models.cartoon.networks import reflect

# All values: [guess: inspected visually]. Sizes are in pixels of images with 64 rows.
PASSES = 4           # of `smooth`, each along columns and along rows
RADIUS = 3           # distance of the farthest neighbors in `smooth`
DISTANCE = 2.0       # standard deviation of a neighbor's weight, in pixels
DIFFERENCE = 0.12    # standard deviation of a neighbor's weight, in color
SATURATION = 1.6     # factor of the distance of a color from gray
GAMMA = 0.65         # power of the brightness in [0, 1]: below 1 it lightens shadows
STEPS = 6            # steps of brightness, from black to white
SHARPNESS = 8.0      # of the borders between steps
GRAIN, LINE, AREA = 0.7, 1.2, 1.9  # deviations of `blur`: removes grain, keeps lines, removes lines
CONTRAST = (0.008, 0.025)  # a line begins at the first brightness, and is black from the second on


def draw(areas):
    """Returns smoothed photos as drawings.

    Args:
        areas: what `smooth` returns, float32 [batch, rows, columns, 3] in [-1, 1].

    Returns:
        Images of the same shape and range.

    Reference: Winnemoeller 2006, "Real-Time Video Abstraction", SIGGRAPH
    """
    return outline(step(color(areas)))


def smooth(photos):
    """Makes areas flat and keeps their edges: a bilateral filter, repeated along both axes.

    Each pixel becomes a weighted mean of its neighbors; those of another color count little.

    Args:
        photos: float32 [batch, rows, columns, 3] in [-1, 1].

    Returns:
        Images of the same shape and range.

    Reference: Tomasi 1998, "Bilateral Filtering for Gray and Color Images", ICCV
    """
    images = blur(photos, GRAIN)
    for _ in range(2 * PASSES):
        images = _smooth_columns(images)
        images = tf.transpose(images, [0, 2, 1, 3])
    return images


def _smooth_columns(images):
    rows = images.shape[1]
    pixel = pixel_size(images)
    padded = tf.pad(images, [[0, 0], [RADIUS * pixel] * 2, [0, 0], [0, 0]], "REFLECT")
    total = weights = 0.0
    for distance in range(-RADIUS, RADIUS + 1):
        start = (RADIUS + distance) * pixel
        neighbors = padded[:, start:start + rows]
        red, green, blue = tf.split(tf.square(neighbors - images), 3, axis=3)
        weight = tf.exp(-(red + green + blue) / (2 * DIFFERENCE ** 2)
                        - distance ** 2 / (2 * DISTANCE ** 2))
        total += weight * neighbors
        weights += weight
    return total / weights


def color(images):
    """Strengthens colors and lightens shadows, as drawings have them. Shapes as in `draw`."""
    gray = tf.reduce_mean(images, 3, keepdims=True)
    brightness = tf.clip_by_value((gray + 1) / 2, 0.0, 1.0)  # means may be rounded below -1
    lighter = 2 * tf.pow(brightness, GAMMA) - 1
    return tf.clip_by_value(lighter + SATURATION * (images - gray), -1.0, 1.0)


def step(images):
    """Reduces brightness to a few steps, from black to white. Shapes as in `draw`."""
    gray = tf.reduce_mean(images, 3, keepdims=True)
    level = (gray + 1) / 2 * STEPS
    border = tf.floor(level) + 0.5
    level = border + 0.5 * tf.tanh(SHARPNESS * (level - border)) / math.tanh(SHARPNESS / 2)
    return tf.clip_by_value(images + 2 * level / STEPS - 1 - gray, -1.0, 1.0)


def outline(images):
    """Inks the dark sides of edges. Shapes as in `draw`."""
    brightness = (tf.reduce_mean(images, 3, keepdims=True) + 1) / 2
    darkness = blur(brightness, AREA) - blur(brightness, LINE)
    ink = tf.clip_by_value((darkness - CONTRAST[0]) / (CONTRAST[1] - CONTRAST[0]), 0.0, 1.0)
    return images - ink * (images + 1)


def blur(images, deviation):
    """Applies a Gaussian filter to images, [batch, rows, columns, channels]."""
    deviation *= pixel_size(images)
    radius = math.ceil(2.5 * deviation)
    kernel = np.exp(-np.arange(-radius, radius + 1) ** 2 / (2 * deviation ** 2))
    kernel = np.repeat(np.float32(kernel / kernel.sum()), images.shape[3])
    images = reflect(images, radius)
    for shape in (-1, 1), (1, -1):
        shape = (*shape, images.shape[3], 1)
        images = tf.nn.depthwise_conv2d(images, kernel.reshape(shape), [1, 1, 1, 1], "VALID")
    return images


def pixel_size(images):
    """Returns how many pixels of images make a pixel of images with 64 rows."""
    return max(1, images.shape[1] // 64)
