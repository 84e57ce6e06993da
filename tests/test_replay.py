"""models/replay.py: the buffer of earlier fakes."""
import numpy as np
import pytest
import tensorflow as tf

import data
from models.replay import ReplayBuffer

SHAPE = (2, 2, 3)


def fakes(batch):
    return np.float32(np.random.default_rng(batch).uniform(-1, 1, (8, *SHAPE)))


def mix(buffer, fake, fraction, batch):
    return buffer.mix(tf.constant(fake), fraction, tf.constant(batch, "int64"), [0, batch]).numpy()


def as_bytes(images):
    return sorted(image.tobytes() for image in images)


@pytest.mark.parametrize("fraction, replaced", [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_a_fraction_is_replaced_by_earlier_fakes_to_the_byte(fraction, replaced):
    buffer = ReplayBuffer(16, SHAPE)
    first = mix(buffer, fakes(0), fraction, 0)
    assert (first == fakes(0)).all()  # there is nothing earlier yet
    mixed = mix(buffer, fakes(1), fraction, 1)
    earlier = as_bytes(data.denormalize(fakes(0)))
    assert (mixed[replaced:] == fakes(1)[replaced:]).all()
    for image in mixed[:replaced]:
        assert data.denormalize(image).tobytes() in earlier


def test_buffer_holds_the_newest_fakes():
    buffer = ReplayBuffer(12, SHAPE)
    seen = []
    for batch in range(5):
        mix(buffer, fakes(batch), 0.5, batch)
        seen.extend(data.denormalize(fakes(batch)))
        stored = buffer.images.numpy()[:len(seen)]
        assert as_bytes(stored) == as_bytes(seen[-12:])


def test_every_stored_fake_can_be_chosen():
    buffer = ReplayBuffer(16, SHAPE)
    chosen = set()
    for batch in range(60):
        mixed = mix(buffer, fakes(batch % 2), 1.0, batch)
        if batch > 2:
            chosen |= set(as_bytes(data.denormalize(mixed)))
    assert chosen == set(as_bytes(data.denormalize(np.concatenate([fakes(0), fakes(1)]))))
