import hashlib

import numpy as np
import pytest

from models import toyfaces


def test_a_face_depends_on_the_seed_and_its_number_alone():
    images, factors = toyfaces.sample(12, seed=3)
    assert images.shape == (12, 64, 64, 3) and images.dtype == np.uint8
    later_images, later_factors = toyfaces.sample(8, seed=3, start=4)
    assert (later_images == images[4:]).all() and (later_factors == factors[4:]).all()
    assert (toyfaces.paint(factors, seed=3) == images).all()
    assert (toyfaces.sample(12, seed=4)[0] != images).any()


def test_faces_are_the_published_ones():
    """Scores of toy faces can be compared only if everybody has the same bytes."""
    images, factors = toyfaces.sample(200, seed=1, start=10)
    digest = hashlib.sha256(images.tobytes() + factors.tobytes()).hexdigest()
    assert digest == "9deda50c397df9887e2e5f92f927587df5769057869d7a95e35c00aedce0e8b0"


def test_all_384_modes_are_equally_likely():
    factors = toyfaces._sample_factors(38400, 0, 0)
    counts = np.bincount(toyfaces.mode(factors), minlength=384)
    assert len(counts) == toyfaces.MODES == 384
    # 100 are expected of each. Chi squared / degrees of freedom is 1, with a standard deviation of
    # (2 / 383) ** 0.5 = 0.07.
    assert ((counts - 100) ** 2 / 100).sum() / 383 == pytest.approx(1, abs=0.3)


def test_modes_and_factors_are_inverse():
    modes = np.arange(384)
    assert (toyfaces.mode(toyfaces.factors_of(modes)) == modes).all()
    assert toyfaces.factors_of([0, 383]).tolist() == [[0, 0, 0, 0], [7, 3, 3, 2]]


def test_no_faces_are_an_empty_array():
    images, factors = toyfaces.sample(0)
    assert images.shape == (0, 64, 64, 3) and factors.shape == (0, 4)


def test_hair_has_the_color_that_is_asked_for():
    factors = toyfaces.factors_of(np.arange(384))
    images = toyfaces.paint(factors).astype(float)
    hair = np.median(images[:, 8:26, 22:42], axis=(1, 2))
    palette = np.array(list(toyfaces.HAIR_COLORS.values()))
    nearest = ((hair[:, None] - palette) ** 2).sum(-1).argmin(-1)
    assert (nearest == factors[:, 0]).mean() > 0.99


def test_eyes_have_the_color_that_is_asked_for():
    # Of the same number, and so with the same variations: only the color of the eyes differs.
    eyes = []
    for color in range(4):
        face = toyfaces.paint(np.uint8([[0, 0, color, 0]]))[0].astype(float)
        eyes.append(face[26:44, 16:48])
    for a in range(4):
        for b in range(a):
            assert np.abs(eyes[a] - eyes[b]).max() > 80


def test_hair_styles_and_moods_are_visible():
    faces = []
    for style in range(4):
        for mood in range(3):
            face = toyfaces.paint(np.uint8([[1, style, 0, mood]]), seed=5)[0]
            faces.append(face.astype(int))
    for index, face in enumerate(faces):
        for other in faces[:index]:
            different = np.abs(face - other).max(-1) > 40
            assert different.sum() > 60  # pixels out of 4096


@pytest.mark.parametrize("arguments, message", [
    ({"count": -1}, "`count`.*count=-1"),
    ({"count": 1, "seed": 0.5}, "`seed`.*seed=0.5"),
    ({"count": 1, "seed": -1}, "`seed`.*seed=-1"),
    ({"count": 1, "start": -3}, "`start`.*start=-3"),
])
def test_negative_and_fractional_numbers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        toyfaces.sample(**arguments)


@pytest.mark.parametrize("factors, received", [
    (np.zeros(4, int), r"factors.shape=\(4,\)"),
    (np.zeros((2, 3), int), r"factors.shape=\(2, 3\)"),
    (np.zeros((2, 4)), "factors.dtype=float64"),
    ([[8, 0, 0, 0]], r"factors=\[8, 0, 0, 0\]"),
    ([[0, 0, 0, 0], [0, 0, 0, -1]], r"factors=\[0, 0, 0, -1\]"),
])
def test_wrong_factors_are_refused(factors, received):
    for function in (toyfaces.paint, toyfaces.mode):
        with pytest.raises(ValueError, match=f"`factors`.*Received: .*{received}"):
            function(factors)


@pytest.mark.parametrize("modes", [[384], [-1], [0.0], 5])
def test_wrong_modes_are_refused(modes):
    with pytest.raises(ValueError, match="`modes`.*Received: modes="):
        toyfaces.factors_of(modes)
