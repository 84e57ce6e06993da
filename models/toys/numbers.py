"""Even numbers as images of one row whose pixels are bits, the highest first: white 1, black 0."""
import numpy as np


def sample(count, seed=0, bits=7):
    """Returns random even numbers from 0 to 2 ** `bits` - 2, uint8 [count, 1, bits, 1]."""
    random = np.random.default_rng(seed)
    return to_images(2 * random.integers(2 ** (bits - 1), size=count), bits)


def to_images(numbers, bits):
    """Writes numbers below 2 ** `bits`, int [count], as images uint8 [count, 1, bits, 1]."""
    place_values = 2 ** np.arange(bits)[::-1]
    digits = np.asarray(numbers)[:, None] // place_values % 2
    return np.uint8(255 * digits)[:, None, :, None]


def to_numbers(images):
    """Reads images, uint8 [count, 1, bits, 1], as numbers, int64 [count]. Above 127 is a 1."""
    place_values = 2 ** np.arange(images.shape[2])[::-1]
    digits = images[:, 0, :, 0] > 127
    return digits @ place_values
