"""models/augment.py: each policy does what it says, differs by image, and passes gradients."""
import numpy as np
import pytest
import tensorflow as tf

from models import augment

IMAGES = np.float32(np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3))).repeat(20, 0)


def test_color_shifts_brightness_and_scales_contrast():
    colored = augment.color(tf.constant(IMAGES), [1, 2]).numpy()
    brightness = (colored - IMAGES).mean((1, 2, 3))
    assert -0.5 <= brightness.min() < -0.45 and 0.45 < brightness.max() <= 0.5
    assert brightness.std() == pytest.approx(12 ** -0.5, rel=0.1)
    contrast = colored.std((1, 2, 3)) / IMAGES.std((1, 2, 3))
    assert contrast.min() < 0.45 and contrast.max() > 1.4


def test_color_keeps_gray_images_gray():
    gray = np.repeat(IMAGES[:, :, :, :1], 3, 3)
    colored = augment.color(tf.constant(gray), [1, 2]).numpy()
    np.testing.assert_allclose(colored, np.repeat(colored[..., :1], 3, 3), atol=1e-5)


def test_translation_shifts_by_up_to_an_eighth():
    """The two channels of an image hold the row and the column of each pixel, plus 1."""
    places = np.float32(np.indices((64, 32)).transpose(1, 2, 0) + 1)
    shifted = augment.translation(tf.constant(np.repeat(places[None], 200, 0)), [1, 2]).numpy()
    shifts = []
    for image in shifted:
        down, right = places[32, 16] - image[32, 16]
        expected = places - [down, right]
        inside = ((expected >= 1) & (expected <= [64, 32])).all(axis=2, keepdims=True)
        assert (image == np.where(inside, expected, 0)).all()
        shifts.append((down, right))
    rows, columns = zip(*shifts)
    assert set(rows) == set(range(-8, 9)) and set(columns) == set(range(-4, 5))


def test_cutout_covers_half_of_the_rows_and_columns():
    cut = augment.cutout(tf.constant(IMAGES), [1, 2]).numpy()
    covered = (cut == 0).all(3)
    assert (cut[~covered] == IMAGES[~covered]).all()
    assert covered.sum((1, 2)).max() == 32 * 32
    assert covered.sum((1, 2)).min() >= 16 * 16  # the rest lies outside of the image
    assert covered.any(0).all()                  # it may be anywhere


def test_augmentation_differs_by_image_and_seed():
    images = tf.constant(IMAGES[:4])  # four times the same
    policies = "color, translation,cutout"
    augmented = augment.apply(images, policies, [3, 4]).numpy()
    assert (augmented[0] != augmented[1]).any()
    assert (augmented == augment.apply(images, policies, [3, 4])).numpy().all()
    assert (augmented != augment.apply(images, policies, [3, 5])).numpy().any()


def test_augmentation_passes_gradients():
    images = tf.constant(IMAGES[:4])
    with tf.GradientTape() as tape:
        tape.watch(images)
        augmented = augment.apply(images, "color,translation,cutout", [3, 4])
    gradient = tape.gradient(augmented, images).numpy()
    assert np.isfinite(gradient).all()
    assert gradient.any((1, 2, 3)).all()
