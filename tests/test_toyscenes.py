import hashlib

import numpy as np
import pytest

from models import toyscenes


@pytest.fixture(scope="module")
def scenes():
    """Photos and drawings of 60 scenes, uint8 [60, 64, 64, 3] each."""
    return toyscenes.sample(60, seed=3)


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


def test_a_scene_depends_on_the_seed_and_its_number_alone(scenes):
    for images, later in zip(scenes, toyscenes.sample(5, seed=3, start=4)):
        assert images.shape == (60, 64, 64, 3) and images.dtype == np.uint8
        assert later.shape == (5, 64, 64, 3) and later.dtype == np.uint8
        assert (later == images[4:9]).all()
    for images, others in zip(scenes, toyscenes.sample(5, seed=4)):
        assert (images[:5] != others).any(axis=(1, 2, 3)).all()


def test_scenes_are_the_published_ones():
    """Scores of toy scenes can be compared only if everybody has the same bytes."""
    photos, drawings = toyscenes.sample(100, seed=1, start=10)
    digest = hashlib.sha256(photos.tobytes() + drawings.tobytes()).hexdigest()
    assert digest == "684e485f4aa4f75fc7b3d60f06181cee06380243eddb983ee73bb5844131b7b0"


def test_no_scenes_are_empty_arrays():
    for images in toyscenes.sample(0, size=32):
        assert images.shape == (0, 32, 32, 3)


@pytest.mark.parametrize("size", [32, 48, 112, 256])
def test_a_scene_is_the_same_at_any_size(scenes, size):
    for images, resized in zip(scenes, toyscenes.sample(2, seed=3, size=size)):
        assert resized.shape == (2, size, size, 3)
        # The means of 8 x 8 parts.
        means = images[:2].reshape(2, 8, 8, 8, 8, 3).mean(axis=(2, 4))
        part = size // 8
        resized_means = resized.reshape(2, 8, part, 8, part, 3).mean(axis=(2, 4))
        assert np.abs(means - resized_means).mean() < 6


def test_photo_and_drawing_show_the_same_scene(scenes):
    photos, drawings = map(gray, scenes)
    correlation = photos @ drawings.T / photos.shape[1]
    own = np.diag(correlation)
    others = correlation.sum(axis=1) - own
    assert own.min() > 0.1
    assert own.mean() > others.mean() / 59 + 0.3
    assert (correlation.argmax(axis=1) == np.arange(60)).mean() > 0.7  # 0.017 by chance


def test_drawings_are_flat_and_photos_are_not(scenes):
    photos, drawings = scenes
    assert flatness(photos).max() < 0.1
    assert flatness(drawings).min() > 0.25
    assert flatness(drawings).mean() > 0.5


def test_drawings_have_dark_outlines(scenes):
    photos, drawings = scenes
    is_line = (np.abs(drawings - np.float32(toyscenes.LINE)) < 30).all(axis=-1)
    assert is_line.mean(axis=(1, 2)).min() > 0.01
    assert is_line.mean() > 0.05
    # Outlines are not in the photos, which are brighter there.
    assert photos[is_line].mean() > drawings[is_line].mean() + 30


def test_colors_of_drawings_are_a_function_of_those_of_photos():
    drawn_colors = {}
    for number in range(40):
        scene = toyscenes._scene(0, number, 32)
        pixels = np.asarray(scene.map)
        drawing = toyscenes._draw(scene, 32)
        assert pixels.shape == (128, 128)
        assert len(scene.regions) <= 256  # the map is uint8
        for region in scene.regions:
            key = tuple(np.rint(region["color"]))
            color = toyscenes._drawn(region["color"]).tolist()
            assert drawn_colors.setdefault(key, color) == color
        # The corner of the sky is drawn in its color, unless something is in front of it.
        corner = pixels[:4, :4]
        if (corner == 0).all() and not toyscenes._lines(scene, pixels)[:4, :4].any():
            sky = toyscenes._drawn(scene.regions[0]["color"])
            assert (drawing[0, 0] == sky).all()


def test_drawn_colors_are_brighter_and_more_saturated():
    for color in (200, 120, 90), (60, 130, 70), (90, 100, 180):
        drawn = toyscenes._drawn(np.array(color)).astype(int)
        assert drawn.argmax() == np.argmax(color) and drawn.argmin() == np.argmin(color)
        assert np.ptp(drawn) / drawn.max() > np.ptp(color) / max(color)
    assert toyscenes._drawn(np.zeros(3)).tolist() == [42, 42, 42]  # the lowest level
    assert toyscenes._drawn(np.full(3, 255)).tolist() == [255, 255, 255]


def test_scenes_vary(scenes):
    photos, drawings = scenes
    assert len({drawing.tobytes() for drawing in drawings}) == 60
    distances = np.abs(drawings[:, None, ::4, ::4].astype(int) - drawings[None, :, ::4, ::4])
    between = distances.mean(axis=(2, 3, 4))[~np.eye(60, dtype=bool)]
    assert between.min() > 5
    times = {toyscenes._scene(0, number, 32).time for number in range(60)}
    assert times == set(toyscenes.TIMES)


@pytest.mark.parametrize("kind", toyscenes.KINDS)
def test_each_kind_can_be_painted(kind, monkeypatch):
    monkeypatch.setattr(toyscenes, "KINDS", {kind: toyscenes.KINDS[kind]})
    photos, drawings = toyscenes.sample(8, seed=2, size=32)
    assert photos.std(axis=(1, 2)).min() > 5
    assert len({drawing.tobytes() for drawing in drawings}) == 8


@pytest.mark.parametrize("arguments, message", [
    ({"count": -1}, "`count`.*Received: count=-1"),
    ({"count": 1.5}, "`count`.*Received: count=1.5"),
    ({"count": 1, "seed": 0.5}, "`seed`.*Received: seed=0.5"),
    ({"count": 1, "seed": -1}, "`seed`.*Received: seed=-1"),
    ({"count": 1, "start": -3}, "`start`.*Received: start=-3"),
    ({"count": 1, "size": 16}, "`size`.*Received: size=16"),
    ({"count": 1, "size": 72}, "`size`.*Received: size=72"),
    ({"count": 1, "size": 528}, "`size`.*Received: size=528"),
])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        toyscenes.sample(**arguments)
