"""models/toys: faces, scenes and numbers that are painted by code."""
import hashlib

import numpy as np
import pytest

from models.toys import faces, numbers, scenes


# ---- faces

@pytest.fixture(scope="module")
def portraits():
    """Images uint8 [400, 64, 64, 3] and factors uint8 [400, 4] of toy faces."""
    return faces.sample(400)


def test_a_face_depends_on_the_seed_and_its_number_alone():
    images, factors = faces.sample(12, seed=3)
    assert images.shape == (12, 64, 64, 3) and images.dtype == np.uint8
    later_images, later_factors = faces.sample(8, seed=3, start=4)
    assert (later_images == images[4:]).all() and (later_factors == factors[4:]).all()
    assert (faces.sample(12, seed=4)[0] != images).any()


def test_faces_are_the_published_ones():
    """Scores of toy faces can be compared only if everybody has the same bytes."""
    images, factors = faces.sample(200, seed=1, start=10)
    digest = hashlib.sha256(images.tobytes() + factors.tobytes()).hexdigest()
    assert digest == "9deda50c397df9887e2e5f92f927587df5769057869d7a95e35c00aedce0e8b0"


def test_factors_are_uniform_and_independent(portraits):
    _, factors = portraits
    for column, size in enumerate(faces.SIZES):
        shares = np.bincount(factors[:, column], minlength=size) / len(factors)
        assert shares == pytest.approx(1 / size, abs=0.08)  # 3.4 standard deviations
    correlation = np.corrcoef(factors.T)
    assert np.abs(correlation - np.eye(4)).max() < 0.15


def test_hair_and_eyes_have_the_colors_of_the_factors(portraits):
    images, factors = portraits
    hair = np.median(images[:, 8:26, 22:42], axis=(1, 2))
    palette = np.array(list(faces.HAIR_COLORS.values()))
    nearest = ((hair[:, None] - palette) ** 2).sum(-1).argmin(-1)
    assert (nearest == factors[:, 0]).mean() > 0.98
    # The most colorful pixels of the eyes.
    eyes = images[:, 30:44, 18:46].reshape(len(images), -1, 3).astype(int)
    order = np.argsort(np.ptp(eyes, axis=-1), axis=1)[:, -20:, None]
    colors = np.take_along_axis(eyes, order, axis=1).mean(axis=1)
    palette = np.array(list(faces.EYE_COLORS.values()))
    nearest = ((colors[:, None] - palette) ** 2).sum(-1).argmin(-1)
    assert (nearest == factors[:, 2]).mean() > 0.8  # 0.25 by chance


@pytest.mark.parametrize("column", [1, 3], ids=["hair_style", "mood"])
def test_hair_styles_and_moods_are_visible(portraits, column):
    images, factors = portraits
    means = [images[factors[:, column] == value].mean(axis=0)
             for value in range(faces.SIZES[column])]
    for index, mean in enumerate(means):
        for other in means[:index]:
            assert (np.abs(mean - other).max(axis=-1) > 20).sum() > 300  # pixels of 4,096


# ---- scenes

@pytest.fixture(scope="module")
def landscapes():
    """Photos and drawings of 60 scenes, uint8 [60, 64, 64, 3] each."""
    return scenes.sample(60, seed=3)


def gray(images):
    """Returns gray images of mean 0 and variance 1, float64 [count, rows * columns]."""
    values = images.mean(axis=-1).reshape(len(images), -1)
    values -= values.mean(axis=1, keepdims=True)
    return values / values.std(axis=1, keepdims=True)


def flatness(images):
    """Returns the share of pixels that nearly equal the pixels below and to the right: [count]."""
    values = images.astype(int)
    below = np.abs(values[:, 1:, :-1] - values[:, :-1, :-1]).max(axis=-1)
    right = np.abs(values[:, :-1, 1:] - values[:, :-1, :-1]).max(axis=-1)
    return (np.maximum(below, right) <= 2).mean(axis=(1, 2))


def test_a_scene_depends_on_the_seed_and_its_number_alone(landscapes):
    for images, later in zip(landscapes, scenes.sample(5, seed=3, start=4)):
        assert images.shape == (60, 64, 64, 3) and images.dtype == np.uint8
        assert (later == images[4:9]).all()
    for images, others in zip(landscapes, scenes.sample(5, seed=4)):
        assert (images[:5] != others).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("size", [32, 48, 256])
def test_a_scene_is_the_same_at_any_size(landscapes, size):
    for images, resized in zip(landscapes, scenes.sample(2, seed=3, size=size)):
        assert resized.shape == (2, size, size, 3)
        # The means of 8 x 8 parts.
        means = images[:2].reshape(2, 8, 8, 8, 8, 3).mean(axis=(2, 4))
        part = size // 8
        resized_means = resized.reshape(2, 8, part, 8, part, 3).mean(axis=(2, 4))
        assert np.abs(means - resized_means).mean() < 6


def test_photo_and_drawing_show_the_same_regions(landscapes):
    photos, drawings = map(gray, landscapes)
    correlation = photos @ drawings.T / photos.shape[1]
    own = np.diag(correlation)
    others = correlation.sum(axis=1) - own
    assert own.min() > 0.1
    assert own.mean() > others.mean() / 59 + 0.3
    assert (correlation.argmax(axis=1) == np.arange(60)).mean() > 0.6  # 0.017 by chance


def test_drawings_are_flat_with_dark_outlines_and_photos_are_not(landscapes):
    photos, drawings = landscapes
    assert flatness(photos).max() < 0.1
    assert flatness(drawings).min() > 0.25
    is_line = (np.abs(drawings - np.float32(scenes.LINE)) < 30).all(axis=-1)
    assert is_line.mean(axis=(1, 2)).min() > 0.01
    assert photos[is_line].mean() > drawings[is_line].mean() + 30


def test_drawn_colors_are_more_saturated():
    for color in (200, 120, 90), (60, 130, 70), (90, 100, 180):
        drawn = scenes.in_drawing(np.float64(color)).astype(int)
        assert drawn.argmax() == np.argmax(color) and drawn.argmin() == np.argmin(color)
        assert np.ptp(drawn) / drawn.max() > np.ptp(color) / max(color)


@pytest.mark.parametrize("paint", scenes.KINDS)
def test_each_kind_of_scene_varies(paint, monkeypatch):
    monkeypatch.setattr(scenes, "KINDS", [paint])
    photos, drawings = scenes.sample(16, seed=2, size=32)
    for images in photos, drawings:
        assert images.std(axis=(1, 2)).min() > 5
        distances = np.abs(images[:, None] - np.float32(images)).mean(axis=(2, 3, 4))
        assert distances[~np.eye(16, dtype=bool)].min() > 5


# ---- numbers

def test_numbers_are_written_as_bits_with_the_highest_first():
    image = numbers.to_images([6], 4)
    assert image.shape == (1, 1, 4, 1) and image.dtype == np.uint8
    assert image[0, 0, :, 0].tolist() == [0, 255, 255, 0]


def test_bits_are_read_as_the_numbers_that_were_written():
    assert numbers.to_numbers(numbers.to_images(np.arange(128), 7)).tolist() == list(range(128))
    assert numbers.to_numbers(np.uint8([127, 128])[None, None, :, None]).tolist() == [1]
