"""A photo as a simple drawing: flat areas of few tones, outlines, ink. Nothing here learns."""
import math

import numpy as np
import tensorflow as tf

from models.cartoon.networks import change, reflect

# All values: [guess: inspected visually]. Sizes are in pixels of images with 64 rows, colors in
# [-1, 1].
SQUARE = 4            # rows and columns of a square of `flatten`
SATURATION = 2.0      # factor of the distance of a color from gray
GAMMA = 0.65          # power of the brightness in [0, 1]: below 1 it lightens shadows
TONES = 5             # brightnesses that remain, black and white among them
SHARPNESS = 8.0       # of the borders between tones
OUTLINE = (0.1, 0.35)  # differences of color at which an outline begins, and at which it is black
GRAIN = 0.7           # standard deviation of the blur that removes grain
DETAIL = (1.2, 1.9)   # standard deviations of the two blurs whose difference shows details
INK = (0.03, 0.07)    # their differences at which ink begins, and at which it is black


def draw(photos):
    """Returns photos as drawings: outlined areas of few tones, and details in ink.

    Args:
        photos: float32 [batch, rows, columns, 3] in [-1, 1].

    Returns:
        Images of the same shape and range.

    References: Wang 2020, whose structure is areas of superpixels, without lines; Winnemoeller
        2006, "Real-Time Video Abstraction", for the tones and the ink
    """
    photos = blur(photos, GRAIN)
    areas = outline(posterize(color(flatten(photos))))
    return change(areas, -ink(color(photos)))


def flatten(images):
    """Makes areas flat and keeps their edges, as a painter does: two passes of Kuwahara's filter.

    Each pixel is a corner of four squares, and becomes the mean of the square whose brightness
    varies least.

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


def posterize(images):
    """Reduces the brightness to a few tones, with soft borders. Shapes as in `draw`."""
    gray = tf.reduce_mean(images, 3, keepdims=True)
    level = (gray + 1) / 2 * (TONES - 1)  # a tone is a whole number
    border = tf.floor(level) + 0.5
    tone = border + 0.5 * tf.tanh(SHARPNESS * (level - border)) / math.tanh(SHARPNESS / 2)
    new_gray = 2 * tone / (TONES - 1) - 1
    return tf.clip_by_value(images + new_gray - gray, -1.0, 1.0)


def outline(images):
    """Blackens the darker side of the borders of areas. Shapes as in `draw`."""
    size = 2 * pixel_size(images) + 1
    brightest = tf.nn.max_pool2d(images, size, 1, "SAME")
    darkest = -tf.nn.max_pool2d(-images, size, 1, "SAME")
    strength = ramp(tf.reduce_max(brightest - darkest, 3, keepdims=True), OUTLINE)
    is_darker = tf.reduce_mean(2 * images - brightest - darkest, 3, keepdims=True) <= 0
    return tf.where(is_darker, change(images, -strength), images)


def ink(images):
    """Returns the strength of the ink: a difference of Gaussians, on the dark side of edges.

    Args:
        images: float32 [batch, rows, columns, 3] in [-1, 1].

    Returns:
        float32 [batch, rows, columns, 1] in [0, 1].
    """
    gray = tf.reduce_mean(images, 3, keepdims=True)
    narrow, wide = DETAIL
    return ramp(blur(gray, wide) - blur(gray, narrow), INK)


def ramp(values, limits):
    """Maps values to [0, 1]: 0 up to the first limit, 1 from the second on."""
    low, high = limits
    return tf.clip_by_value((values - low) / (high - low), 0.0, 1.0)


def blur(images, sigma):
    """Applies a Gaussian filter, of standard deviation `sigma`, to images of any channels.

    Keras' `gaussian_blur` pads with zeros, and its single 2D filter is slower than two 1D filters.
    """
    sigma *= pixel_size(images)
    radius = math.ceil(2.5 * sigma)
    weights = np.exp(-np.arange(-radius, radius + 1) ** 2 / (2 * sigma ** 2))
    weights = np.float32(weights / weights.sum())
    column = np.tile(weights[:, None, None, None], [1, 1, images.shape[3], 1])
    row = column.swapaxes(0, 1)
    images = reflect(images, radius)
    images = tf.nn.depthwise_conv2d(images, column, [1, 1, 1, 1], "VALID")
    return tf.nn.depthwise_conv2d(images, row, [1, 1, 1, 1], "VALID")


def pixel_size(images):
    """Returns how many pixels of images make a pixel of images with 64 rows."""
    return max(1, images.shape[1] // 64)
