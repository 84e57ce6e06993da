"""A photo as a simple drawing: flat areas, strong colors, outlines. Nothing here learns."""
import tensorflow as tf

from models.cartoon.networks import reflect

# All values: [guess: inspected visually]. Sizes are in pixels of images with 64 rows.
SQUARE = 4           # rows and columns of a square of `flatten`
SATURATION = 1.4     # factor of the distance of a color from gray
GAMMA = 0.7          # power of the brightness in [0, 1]: below 1 it lightens shadows
STEP = (0.15, 0.45)  # an outline begins at the first contrast, and is darkest from the second on
BLACK = -0.95        # the color of an outline


def draw(photos):
    """Returns photos as drawings, float32 [batch, rows, columns, 3] in [-1, 1].

    Reference: Wang 2020, whose structure is areas of superpixels, without outlines
    """
    return outline(color(flatten(photos)))


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


def outline(images):
    """Draws outlines on the darker side of edges. Shapes as in `draw`."""
    size = 2 * pixel_size(images) + 1
    brightest = tf.nn.max_pool2d(images, size, 1, "SAME")
    darkest = -tf.nn.max_pool2d(-images, size, 1, "SAME")
    step = tf.reduce_max(brightest - darkest, 3, keepdims=True)
    strength = tf.clip_by_value((step - STEP[0]) / (STEP[1] - STEP[0]), 0.0, 1.0)
    is_darker = tf.reduce_mean(2 * images - brightest - darkest, 3, keepdims=True) <= 0
    return tf.where(is_darker, images + strength * (BLACK - images), images)


def pixel_size(images):
    """Returns how many pixels of images make a pixel of images with 64 rows."""
    return max(1, images.shape[1] // 64)
