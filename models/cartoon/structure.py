"""A photo as a simple drawing: flat areas, strong colors, outlines. Nothing here learns."""
import math

import numpy as np
import tensorflow as tf

from models.cartoon.networks import reflect

# All values: [guess: inspected visually]. Sizes are in pixels of images with 64 rows.
SQUARE = 4           # rows and columns of a square of `flatten`
SATURATION = 2.0     # factor of the distance of a color from gray
GAMMA = 0.55         # power of the brightness in [0, 1]: below 1 it lightens shadows
STEPS = 4            # steps of brightness, from black to white
SHARPNESS = 8.0      # of the borders between steps
CONTRAST = (0.1, 0.35)  # an outline begins at the first difference, and is darkest from the second
GRAIN = 0.7          # deviation of the blur that removes grain
LINE, AREA = 1.2, 1.9  # deviations of two blurs, which differ beside edges
INK = (0.015, 0.035)  # ink begins at the first difference of brightness, and is black at the second


def draw(photos):
    """Returns photos as drawings: outlined areas of few tones, and details in ink.

    Args:
        photos: float32 [batch, rows, columns, 3] in [-1, 1].

    Returns:
        Images of the same shape and range.

    References: Wang 2020, whose structure is areas of superpixels, without lines; Winnemoeller
        2006, "Real-Time Video Abstraction", for tones and ink
    """
    photos = blur(photos, GRAIN)
    areas = outline(step(color(flatten(photos))))
    return areas - ink(color(photos)) * (areas + 1)


def flatten(images):
    """Makes areas flat and keeps their edges, as a painter does: two passes of Kuwahara's filter.

    Each pixel becomes the mean of one of the four squares at whose corners it is: the one whose
    brightness varies least.

    Args:
        images: float32 [batch, rows, columns, channels] in [-1, 1].

    Returns:
        Images of the same shape and range.

    Reference: Kuwahara 1976, "Processing of RI-angiocardiographic images"
    """
    _, rows, columns, _ = images.shape
    size = SQUARE * pixel_size(images)
    corners = [(0, 0), (0, size - 1), (size - 1, 0), (size - 1, size - 1)]
    for _ in range(2):
        padded = reflect(images, size - 1)
        gray = tf.reduce_mean(padded, 3, keepdims=True)
        means = tf.nn.avg_pool2d(padded, size, 1, "VALID")
        variances = (tf.nn.avg_pool2d(tf.square(gray), size, 1, "VALID")
                     - tf.square(tf.nn.avg_pool2d(gray, size, 1, "VALID")))
        means = tf.stack([means[:, y:y + rows, x:x + columns] for y, x in corners], 3)
        variances = tf.stack([variances[:, y:y + rows, x:x + columns, 0] for y, x in corners], 3)
        images = tf.gather(means, tf.argmin(variances, 3), axis=3, batch_dims=3)
    return images


def color(images):
    """Strengthens colors and lightens shadows, as drawings have them. Shapes as in `draw`."""
    gray = tf.reduce_mean(images, 3, keepdims=True)
    brightness = tf.clip_by_value((gray + 1) / 2, 0.0, 1.0)  # means may be rounded below -1
    lighter = 2 * tf.pow(brightness, GAMMA) - 1
    return tf.clip_by_value(lighter + SATURATION * (images - gray), -1.0, 1.0)


def step(images):
    """Reduces brightness to a few tones, from black to white. Shapes as in `draw`."""
    gray = tf.reduce_mean(images, 3, keepdims=True)
    level = (gray + 1) / 2 * STEPS
    border = tf.floor(level) + 0.5
    level = border + 0.5 * tf.tanh(SHARPNESS * (level - border)) / math.tanh(SHARPNESS / 2)
    return tf.clip_by_value(images + 2 * level / STEPS - 1 - gray, -1.0, 1.0)


def outline(images):
    """Draws outlines on the darker side of the borders of areas. Shapes as in `draw`."""
    size = 2 * pixel_size(images) + 1
    brightest = tf.nn.max_pool2d(images, size, 1, "SAME")
    darkest = -tf.nn.max_pool2d(-images, size, 1, "SAME")
    difference = tf.reduce_max(brightest - darkest, 3, keepdims=True)
    low, high = CONTRAST
    strength = tf.clip_by_value((difference - low) / (high - low), 0.0, 1.0)
    is_darker = tf.reduce_mean(2 * images - brightest - darkest, 3, keepdims=True) <= 0
    return tf.where(is_darker, images - strength * (images + 1), images)


def ink(images):
    """Returns how much ink the dark sides of edges get, [batch, rows, columns, 1] in [0, 1]."""
    brightness = (tf.reduce_mean(images, 3, keepdims=True) + 1) / 2
    darkness = blur(brightness, AREA) - blur(brightness, LINE)
    low, high = INK
    return tf.clip_by_value((darkness - low) / (high - low), 0.0, 1.0)


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
