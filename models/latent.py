"""Interpolation between two z: along a straight line, and along a great circle."""
import numpy as np


def lerp(start, end, fractions):
    """Interpolates linearly between two vectors.

    Args:
        start, end: float32 [size].
        fractions: of the way, [steps], in [0, 1].

    Returns:
        float32 [steps, size].
    """
    fractions = np.asarray(fractions, "float32")[:, None]
    return (1 - fractions) * start + fractions * end


def slerp(start, end, fractions):
    """Interpolates along the great circle between two vectors, and linearly between their lengths.

    A straight line between two normal z passes near the origin, where the generator has seen no
    z. The great circle stays on the shell where they lie [ganhacks 3].

    Args:
        start, end: float32 [size].
        fractions: of the way, [steps], in [0, 1].

    Returns:
        float32 [steps, size].

    Reference: White 2016, arXiv:1609.04468.
    """
    start_length, end_length = np.linalg.norm(start), np.linalg.norm(end)
    cosine = np.clip(np.dot(start / start_length, end / end_length), -1, 1)
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:  # same or opposite directions: the great circle is not unique
        return lerp(start, end, fractions)
    fractions = np.asarray(fractions, "float32")[:, None]
    from_start = np.sin((1 - fractions) * angle) * start / start_length
    from_end = np.sin(fractions * angle) * end / end_length
    directions = (from_start + from_end) / np.sin(angle)
    lengths = (1 - fractions) * start_length + fractions * end_length
    return np.float32(directions * lengths)
