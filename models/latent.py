"""z: what the generator draws from, and straight and great-circle ways between two of them; and chance itself."""
import numpy as np
import tensorflow as tf


def _rows(draw, shape, seed, **options):
    """Draws for the whole batch, of which a replica takes its rows: several devices then draw what one would."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return draw(shape, seed, **options)
    count, *others = shape
    first = replica.replica_id_in_sync_group * count
    return draw([count * replica.num_replicas_in_sync, *others], seed, **options)[first:first + count]


def normal(shape, seed):
    """Draws from N(0, 1), stateless: float32 of `shape`, whose first axis is the batch."""
    return _rows(tf.random.stateless_normal, shape, seed)


def uniform(shape, seed, low=0.0, high=1.0):
    """Draws from U(low, high), stateless: float32 of `shape`, whose first axis is the batch."""
    return _rows(tf.random.stateless_uniform, shape, seed, minval=low, maxval=high)


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
        return normal(shape, seed)
    evenly = uniform(shape, seed, -1.0, 1.0)
    if kind == "uniform":
        return evenly
    if kind == "binary":
        return tf.sign(uniform(shape, tf.random.fold_in(seed, 1), -1.0, 1.0)) + 0.1 * evenly
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
