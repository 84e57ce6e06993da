"""What images are like, as numbers; all take images in [-1, 1] as arrays [count, rows, columns, channels]."""
import numpy as np


def contrast(images):
    """Returns the mean deviation of an image's pixels: 0 for one colour."""
    return float(np.mean(np.std(images, (1, 2))))


def saturation(images):
    """Returns the share of values that lie near the ends of [-1, 1], where tanh has hardly a slope."""
    return float(np.mean(np.abs(images) > 0.95))


def distances(images):
    """Returns the root mean square difference of every two of images [count, ...]: [count, count - 1]."""
    count = len(images)
    images = np.reshape(np.float64(images), [count, -1])
    squares = np.mean(np.square(images), 1)
    all_pairs = np.sqrt(np.maximum(0, squares[:, None] + squares - 2 * images @ images.T / images.shape[1]))
    return all_pairs[~np.eye(count, dtype=bool)].reshape(count, count - 1)
