"""Random numbers that depend on (seed, batch, purpose) alone, so that a run can resume anywhere."""
import enum

import numpy as np
import tensorflow as tf


class Purpose(enum.IntEnum):
    """What a random number is for. Each purpose has a stream of its own; keep the numbers."""
    Z = 0             # G's input in the training step
    REAL_LABELS = 1   # targets of D on real images
    FAKE_LABELS = 2   # targets of D on fakes
    STATISTICS = 3    # z for the batch-norm statistics of samples
    GRID = 4          # z of the sample grid
    GENERATE = 5      # z of `generate` and `evaluate`
    REAL_VIEW = 6     # augmentation and noise of real images
    FAKE_VIEW = 7     # augmentation and noise of fakes in D's update
    SECOND_VIEW = 8   # augmentation and noise of fakes in G's update
    REPLAY = 9        # choice of earlier fakes
    PENALTY = 10      # points between real and fake images
    G_LABELS = 11     # targets of fakes in G's update
    CONTENT = 12      # shifts of photos and cartoons before their contents are compared
    DEGRADE = 13      # how cartoons are degraded, for G to restore them
    AID = 14          # shifts of images before their pretrained features are judged
    INTERPOLATE = 15  # z between which `generate` interpolates


def seed(args, purpose, batch):
    """Returns the seed of a batch's random numbers for a purpose, an int tensor [2].

    Args:
        args: the constants; only `seed` is used.
        purpose: a `Purpose`.
        batch: int, the number of batches trained so far.
    """
    return tf.random.fold_in([args.seed, int(purpose)], tf.cast(batch, "int64"))


def normal(shape, seed):
    """Returns float32 numbers from N(0, 1). The first axis of `shape` is the batch."""
    return _rows_of_replica(tf.random.stateless_normal, shape, seed)


def uniform(shape, seed, low=0.0, high=1.0):
    """Returns float32 numbers from U(low, high). The first axis of `shape` is the batch."""
    def sample(shape, seed):
        return tf.random.stateless_uniform(shape, seed, minval=low, maxval=high)

    return _rows_of_replica(sample, shape, seed)


def _rows_of_replica(sample, shape, seed):
    """Samples for the whole batch and returns the rows of this replica.

    So several devices together get the numbers that one device would get.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return sample(shape, seed)
    count, *others = shape
    first = replica.replica_id_in_sync_group * count
    everything = sample([count * replica.num_replicas_in_sync, *others], seed)
    return everything[first:first + count]


def sample_z(kind, shape, seed):
    """Samples z, the input of the generator.

    Args:
        kind: "normal", N(0, 1) [ganhacks 3]; "uniform", U(-1, 1) [Radford 2015 s4]; or "binary",
            -1 or 1 with a jitter of U(-0.1, 0.1) [forcecore gan.py].
        shape: [batch, latent_dim].
        seed: int tensor [2].

    Returns:
        float32 tensor of `shape`.
    """
    if kind == "normal":
        return normal(shape, seed)
    if kind == "uniform":
        return uniform(shape, seed, -1.0, 1.0)
    jitter = 0.1 * uniform(shape, seed, -1.0, 1.0)
    return tf.sign(uniform(shape, tf.random.fold_in(seed, 1), -1.0, 1.0)) + jitter


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

    Normal z lie near a sphere. A straight line between two of them passes inside the sphere,
    halfway at about .7 of its radius, where the generator has seen no z. The great circle stays on
    the sphere [ganhacks 3].

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


def seed_states(networks):
    """Returns the seed states of layers such as Dropout. Keras does not save them as weights."""
    layers = [layer for network in networks for layer in network.layers]
    return [layer.seed_generator.state for layer in layers if hasattr(layer, "seed_generator")]
