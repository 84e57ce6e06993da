"""models/autoencoder.py: the pretraining of the generator."""
import numpy as np
import pytest

import models
from models import autoencoder

# The same vertical gradient eight times.
IMAGES = np.float32(np.linspace(-1, 1, 64)[None, :, None, None] * np.ones((8, 64, 64, 3)))


@pytest.fixture(scope="module")
def model():
    from conftest import tiny_preset
    return models.build_pretraining(tiny_preset())


def test_encoder_stands_before_the_generator(model):
    assert isinstance(model, autoencoder.Autoencoder)
    z = model.encoder(IMAGES)
    assert z.shape == (8, 100)
    assert np.abs(z).max() <= 1
    assert (model(IMAGES).numpy() == model.generator(z).numpy()).all()


def test_checkpoints_hold_both_networks_and_the_optimizer(model):
    assert model.networks == {"generator": model.generator, "encoder": model.encoder}
    assert {"batch", "optimizer", "seeds"} == set(model.state)
    assert len(model.state["optimizer"]) > 2 * len(model.trainable_variables)  # Adam's moments


def test_it_learns_to_reproduce_images(model):
    reconstructions = model(IMAGES, training=True).numpy()
    first = model.train_step(IMAGES)
    assert tuple(first) == model.logged == ("mse",)
    expected = np.square(reconstructions - IMAGES).mean()
    assert float(first["mse"]) == pytest.approx(expected, rel=1e-4)
    for _ in range(14):
        last = model.train_step(IMAGES)
    assert float(last["mse"]) < 0.5 * float(first["mse"])
    assert int(model.batch) == 15


def test_pretraining_has_a_learning_rate_of_its_own(tiny):
    model = models.build_pretraining(tiny(pretrain_learning_rate=0.5, beta_1=0.1))
    assert float(model.optimizer.learning_rate) == 0.5
    assert model.optimizer.beta_1 == 0.9  # an autoencoder does not oscillate as a GAN does


def test_classes_are_part_of_z(tiny):
    model = models.build_pretraining(tiny(conditional=True), classes=3)
    assert model.encoder(IMAGES).shape == (8, 103)
    assert np.isfinite(float(model.train_step(IMAGES)["mse"]))


def test_losses_are_float32_in_any_precision(tiny):
    model = models.build_pretraining(tiny(precision="mixed_float16"))
    before = model.generator.get_weights()
    mse = model.train_step(IMAGES)["mse"]
    assert mse.dtype == "float32" and np.isfinite(mse)
    assert model(IMAGES).dtype == "float32"
    pairs = zip(before, model.generator.get_weights())
    assert any((old != new).any() for old, new in pairs)
