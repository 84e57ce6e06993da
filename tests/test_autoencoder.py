"""models/autoencoder.py: the pretraining of the generator."""
import numpy as np
import pytest

import models
from conftest import small_preset

# The same vertical gradient eight times.
IMAGES = np.float32(np.linspace(-1, 1, 16)[None, :, None, None] * np.ones((8, 16, 16, 3)))


@pytest.fixture(scope="module")
def model():
    """An autoencoder that a test may train."""
    return models.build_pretraining(small_preset(pretrain_learning_rate=0.02))


def test_encoder_stands_before_the_generator(model):
    z = model.encoder(IMAGES)
    assert z.shape == (8, 100)
    assert np.abs(z).max() <= 1
    assert (model(IMAGES).numpy() == model.generator(z).numpy()).all()


def test_optimizer_has_a_learning_rate_and_momentum_of_its_own(model):
    assert float(model.optimizer.learning_rate) == pytest.approx(0.02)
    assert model.optimizer.beta_1 == 0.9  # an autoencoder does not oscillate as a GAN does


def test_it_learns_to_reproduce_images_and_logs_the_mean_error_of_the_epoch(model):
    errors = []
    for _ in range(5):
        errors.append(np.square(model(IMAGES, training=True) - IMAGES).mean())
        logs = model.train_step(IMAGES)
    assert errors[-1] < 0.5 * errors[0]
    assert logs.keys() == {"mse"}
    assert float(logs["mse"]) == pytest.approx(np.mean(errors), rel=1e-3)
    assert int(model.batch) == 5


def test_losses_are_float32_in_any_precision_and_with_classes(small):
    model = models.build_pretraining(
        small(precision="mixed_float16", conditional=True), classes=3)
    assert model.encoder(IMAGES).shape == (8, 103)
    before = model.generator.get_weights()
    model.train_step(IMAGES)
    mse = model.means["mse"].result()
    assert mse.dtype == model(IMAGES).dtype == "float32"
    assert np.isfinite(mse)
    pairs = zip(before, model.generator.get_weights())
    assert any((old != new).any() for old, new in pairs)
