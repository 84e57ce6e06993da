"""Tests of make_pretrained.py: the file that it makes holds what `weights=pretrained` loads."""
import make_pretrained
import numpy as np

import models
from training import checkpoints


def test_file_has_the_average_and_the_discriminator(here, tiny, monkeypatch):
    monkeypatch.setattr(make_pretrained, "LARGE", 100)
    model = models.build(tiny())
    random = np.random.default_rng(0)
    for network in (model.discriminator, model.generator_ema):
        network.set_weights([random.uniform(0.1, 1.0, weight.shape) for weight in network.weights])
    checkpoints.save(model, here, tiny())
    make_pretrained.make(here / "weights/000000.weights.h5", here / "made.weights.h5")
    loaded = models.build(tiny())
    checkpoints.load_networks(loaded, here / "made.weights.h5")
    for name, source in (("generator", "generator_ema"), ("generator_ema", "generator_ema"),
                         ("discriminator", "discriminator")):
        weights, expected = getattr(loaded, name).weights, getattr(model, source).weights
        for one, two in zip(weights, expected, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3)  # half precision
