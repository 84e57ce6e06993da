"""z: what the generator draws from, and straight and great-circle ways between two of them."""
import numpy as np
import tensorflow as tf


def draw(kind, shape, seed):
    """Draws z, stateless: the same `seed` gives the same numbers.

    Args:
        kind: "normal" N(0, 1) [ganhacks 3], "uniform" U(-1, 1) [Radford 2015 s4], or "binary", +-1 with a jitter of
            U(-0.1, 0.1) [forcecore gan.py].
        shape: of the result, [batch, latent_dim].
        seed: int tensor [2].

    Returns:
        float32 tensor of `shape`.
    """
    if kind == "normal":
        return tf.random.stateless_normal(shape, seed)
    uniform = tf.random.stateless_uniform(shape, seed, -1.0, 1.0)
    if kind == "uniform":
        return uniform
    if kind == "binary":
        bits = tf.random.stateless_uniform(shape, tf.random.fold_in(seed, 1), -1.0, 1.0)
        return tf.sign(bits) + 0.1 * uniform
    raise ValueError(f"`latent` must be normal, uniform or binary. Received: latent={kind}")


def lerp(start, end, fractions):
    """Interpolates straight: [steps, latent_dim] between two z of [latent_dim], at `fractions` in [0, 1]."""
    fractions = np.asarray(fractions, "float32")[:, None]
    return (1 - fractions) * start + fractions * end


def slerp(start, end, fractions):
    """Interpolates along the great circle between two z, whose lengths it interpolates straight.

    A straight line between two normal z passes near the origin, where the generator has seen nothing; the great
    circle keeps to the shell on which z lies [ganhacks 3].

    Args:
        start, end: float32 [latent_dim].
        fractions: of the way, [steps], in [0, 1].

    Returns:
        float32 [steps, latent_dim].

    Reference: White 2016, arXiv:1609.04468.
    """
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    cosine = np.clip(np.dot(start / lengths[0], end / lengths[1]), -1, 1)
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:  # the same direction, or opposite ones between which no great circle is the shortest
        return lerp(start, end, fractions)
    fractions = np.asarray(fractions, "float32")[:, None]
    directions = (np.sin((1 - fractions) * angle) * start / lengths[0]
                  + np.sin(fractions * angle) * end / lengths[1]) / np.sin(angle)
    return np.float32(directions * ((1 - fractions) * lengths[0] + fractions * lengths[1]))
