"""models/randomness.py: z, interpolation between two z, and seeds."""
import numpy as np
import pytest

from models import randomness
from models.randomness import Purpose

# ---- z


def test_normal_z():
    z = randomness.sample_z("normal", [200, 100], [1, 2]).numpy()
    assert z.shape == (200, 100)
    assert z.std() == pytest.approx(1, abs=0.02) and z.mean() == pytest.approx(0, abs=0.02)


def test_uniform_z():
    z = randomness.sample_z("uniform", [200, 100], [1, 2]).numpy()
    assert z.std() == pytest.approx(1 / 3 ** 0.5, abs=0.01)
    assert -1 <= z.min() < -0.99 and 0.99 < z.max() < 1


def test_binary_z_has_a_jitter():
    z = randomness.sample_z("binary", [200, 100], [1, 2]).numpy()
    assert 0.9 <= np.abs(z).min() < 0.91 and 1.09 < np.abs(z).max() <= 1.1
    assert (z > 0).mean() == pytest.approx(0.5, abs=0.02)
    jitter = z - np.sign(z)
    assert jitter.std() == pytest.approx(0.1 / 3 ** 0.5, rel=0.05)
    correlation = np.corrcoef(jitter.flat, np.sign(z).flat)[0, 1]
    assert abs(correlation) < 0.05


# ---- interpolation


def test_great_circle_keeps_the_length_and_the_ends():
    start, end = np.float32([1, 0]), np.float32([0, 1])
    steps = randomness.slerp(start, end, [0, 0.5, 1])
    assert steps.dtype == np.float32
    assert steps == pytest.approx(np.float32([[1, 0], [0.5 ** 0.5, 0.5 ** 0.5], [0, 1]]), abs=1e-6)


def test_great_circle_interpolates_lengths():
    steps = randomness.slerp(np.float32([2, 0]), np.float32([0, 6]), [0.5])
    assert np.linalg.norm(steps) == pytest.approx(4)


@pytest.mark.parametrize("factor, middle", [(3, [2, 0]), (-1, [0, 0])])
def test_great_circle_of_equal_or_opposite_directions_is_a_straight_line(factor, middle):
    start = np.float32([1, 0])
    assert randomness.slerp(start, factor * start, [0.5])[0] == pytest.approx(middle, abs=1e-6)


def test_straight_line():
    steps = randomness.lerp(np.float32([1, 0]), np.float32([0, 1]), [0, 0.25, 1])
    assert steps == pytest.approx(np.float32([[1, 0], [0.75, 0.25], [0, 1]]))


# ---- seeds


def test_each_seed_purpose_and_batch_has_numbers_of_its_own(tiny):
    seeds = set()
    for seed in (0, 1):
        for purpose in Purpose.__members__.values():
            for batch in (0, 1, 2 ** 40):
                first, second = (
                    tuple(randomness.seed(tiny(seed=seed), purpose, batch).numpy().tolist())
                    for _ in range(2))
                assert first == second
                seeds.add(first)
    assert len(seeds) == 2 * len(Purpose.__members__) * 3
