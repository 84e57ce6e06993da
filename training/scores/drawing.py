"""Do images look drawn? Numbers that see areas and edges rather than colors."""
import numpy as np

from training.scores import table

NEIGHBORHOOD = 5  # rows and columns in which an area is flat [guess]
FLAT = 3.0        # largest standard deviation of a flat area, of gray values in [0, 255] [guess]
STEEPEST = 0.05   # share of the pixels that are edges [guess]


def drawing_scores(args, images):
    """Measures how much images look like drawings.

    Args:
        args: the constants, a class of args.py.
        images: uint8 [evaluate_count, rows, columns, 3]: photos, cartoons or translations.

    Returns:
        {column: value} of flat and edges. No network is part of these names.
    """
    count = table.count_text(args)
    return {f"flat_{count}": flat_share(images), f"edges_{count}": edge_contrast(images)}


def flat_share(images):
    """Returns the share of pixels in flat areas.

    Args:
        images: uint8 [count, rows, columns, channels].

    Returns:
        1 if each image has one color.
    """
    shares = []
    for image in images:
        gray = np.mean(image, axis=-1, dtype="float64")
        areas = np.lib.stride_tricks.sliding_window_view(gray, (NEIGHBORHOOD, NEIGHBORHOOD))
        shares.append(np.mean(np.std(areas, axis=(2, 3)) < FLAT))
    return float(np.mean(shares))


def edge_contrast(images):
    """Returns the mean slope of the steepest pixels, relative to the mean slope of all pixels.

    Args:
        images: uint8 [count, rows, columns, channels].

    Returns:
        1 / STEEPEST if all slopes but the steepest are 0, 1 if all are equal, or all are 0.
    """
    ratios = []
    for image in images:
        steepness = np.sort(slopes(image[None]).ravel())
        steepest = steepness[-round(STEEPEST * len(steepness)):]
        if steepness[-1] == 0:  # one color
            ratios.append(1.0)
        else:
            ratios.append(np.mean(steepest) / np.mean(steepness))
    return float(np.mean(ratios))


def slopes(images):
    """Returns the length of the gradient of the gray values, large along an edge.

    Args:
        images: uint8 [count, rows, columns, channels].

    Returns:
        float64 [count, rows - 1, columns - 1].
    """
    gray = np.mean(images, axis=-1, dtype="float64")
    to_the_right = gray[:, :-1, 1:] - gray[:, :-1, :-1]
    below = gray[:, 1:, :-1] - gray[:, :-1, :-1]
    return np.hypot(to_the_right, below)
