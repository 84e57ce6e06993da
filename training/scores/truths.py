"""Toy scenes: comparison of translated photos with the true drawings of the same scenes."""
import numpy as np

from training.scores import table
from training.scores.drawing import slopes


def truth_scores(args, images, drawings):
    """Compares images with the true drawings of the same scenes.

    Args:
        args: the constants, a class of args.py.
        images: uint8 [evaluate_count, rows, columns, 3]: photos, or their translations.
        drawings: uint8, of the same shape.

    Returns:
        {column: value} of error_truth and edge_correlation. No network is part of these names.
    """
    count = table.count_text(args)
    return {
        f"error_truth_{count}": error(images, drawings),
        f"edge_correlation_{count}": edge_correlation(images, drawings),
    }


def error(images, truths):
    """Returns the mean absolute difference of uint8 images, in [0, 255]."""
    return float(np.mean(np.abs(np.float64(images) - truths)))


def edge_correlation(images, truths):
    """Returns the correlation of the slopes of images and truths, over all of their pixels.

    The slope is the length of the gradient of the gray values: it is large along an edge. Binary
    edges would not do: at any threshold, noise matches the drawings nearly as well as photos do
    [measured: F1 .60 for noise and .61 for photos, at 40 gray levels; correlation .00 and .44].

    Args:
        images, truths: uint8 [count, rows, columns, channels].

    Returns:
        1 if all edges are the same, about 0 for drawings of other scenes.
    """
    found = slopes(images)
    expected = slopes(truths)
    if np.std(found) == 0 or np.std(expected) == 0:
        return 0.0
    return float(np.corrcoef(found.ravel(), expected.ravel())[0, 1])
