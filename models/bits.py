"""Numbers as images of one row whose pixels are bits, the highest first: white is 1, black is 0."""
import numpy as np


def bits(numbers, columns):
    """Writes numbers as images.

    Args:
        numbers: int [count], each below 2 ** columns.
        columns: number of bits.

    Returns:
        uint8 [count, 1, columns, 1], of 0 and 255.
    """
    place_values = 2 ** np.arange(columns)[::-1]
    digits = np.asarray(numbers)[:, None] // place_values % 2
    return np.uint8(255 * digits)[:, None, :, None]


def numbers(images):
    """Reads images as numbers; a pixel above 127 is a 1.

    Args:
        images: uint8 [count, 1, columns, 1].

    Returns:
        int64 [count].
    """
    place_values = 2 ** np.arange(images.shape[2])[::-1]
    digits = images[:, 0, :, 0] > 127
    return digits @ place_values
