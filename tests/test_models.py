"""models.build: networks, steps, optimizers, precision and XLA by name."""
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import REAL, ROOT, equal

import args as constants
import models
from args import Even, KerasExample, override
from models import autoencoder, dcgan

NARROW = {"generator_filters": (8, 8), "discriminator_filters": (8, 8)}

# ---- networks and steps


@pytest.mark.parametrize("preset, changes", [
    (KerasExample, {**NARROW, "image_shape": (16, 16, 3)}),
    (Even, {}),
], ids=["keras_example", "even"])
def test_network_is_chosen_by_name(preset, changes):
    args = override(preset, **changes)
    gan = models.build(args)
    images = gan.sample(gan.sample_z(2))
    assert images.shape == (2, *args.image_shape)
    assert gan.discriminator(images).shape == (2, 1)
    pretraining = models.build_pretraining(args)
    assert type(pretraining) is autoencoder.Autoencoder
    assert pretraining(images).shape == (2, *args.image_shape)


@pytest.mark.parametrize("build", [
    models.build, models.build_sampler, models.build_pretraining])
def test_invalid_constants_are_refused(small, build):
    with pytest.raises(ValueError, match="`spectral_norm`"):
        build(small(spectral_norm=True))


# ---- initial weights


@pytest.mark.parametrize("build", [models.build, models.build_pretraining])
def test_seed_decides_the_initial_weights(small, build):
    one, same, other = (build(small(seed=seed)).get_weights() for seed in (0, 0, 1))
    assert equal(one, same) and not equal(one, other)


def test_seed_decides_the_dropout_when_sampling(small):
    weights = models.build_sampler(small()).generator.get_weights()
    images = []
    for seed in (0, 0, 1):
        sampler = models.build_sampler(small(seed=seed, g_dropout=0.5))
        sampler.generator.set_weights(weights)
        images.append(sampler.sample(tf.ones([1, small().latent_dim])).numpy())
    one, same, other = images
    assert equal([one], [same]) and not equal([one], [other])


# ---- optimizers, precision and XLA


def test_optimizers_and_learning_rates(small):
    gan = models.build(small(
        d_optimizer="adam", g_optimizer="adam", d_learning_rate=4e-4, g_learning_rate=1e-4,
        beta_1=0.1))
    for optimizer, rate in ((gan.d_optimizer, 4e-4), (gan.g_optimizer, 1e-4)):
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert float(optimizer.learning_rate) == pytest.approx(rate)
        assert optimizer.beta_1 == 0.1


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_the_norm_of_gradients_of_g_is_clipped(small, kind):
    gan = models.build(small(g_optimizer=kind, g_clip_norm=2.0))
    assert gan.g_optimizer.global_clipnorm == 2.0
    assert gan.d_optimizer.global_clipnorm is None
    assert models.build(small()).g_optimizer.global_clipnorm is None
    assert models.build_pretraining(small(g_clip_norm=2.0)).optimizer.global_clipnorm == 2.0


def test_precision_is_set_back_after_an_error(small, monkeypatch):
    def fail(args, classes):
        raise RuntimeError

    monkeypatch.setattr(dcgan, "build_generator", fail)
    with pytest.raises(RuntimeError):
        models.build(small(precision="mixed_bfloat16"))
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("changes, expected", [
    ({"jit_compile": "on"}, True),
    ({"jit_compile": "off"}, False),
])
def test_jit_compile(small, changes, expected):
    assert models.build(small(**changes)).jit_compile is expected


@pytest.mark.slow
def test_xla_takes_the_same_step(small):
    """XLA has other random numbers: only D's loss on real images, without random targets, is equal.
    """
    def fit(jit_compile):
        gan = models.build(small(jit_compile=jit_compile, real_labels=(0.9, 0.9)))
        batches = tf.data.Dataset.from_tensors(REAL).repeat()
        return gan.fit(batches, steps_per_epoch=1, verbose=0, shuffle=False).history

    without, compiled = fit("off"), fit("on")
    assert without["d_loss_real"] == pytest.approx(compiled["d_loss_real"], rel=1e-5)
    assert all(np.isfinite(values).all() for values in compiled.values())


@pytest.mark.slow
def test_default_step_is_compiled_by_xla(deep):
    """With augmentation, the averaged generator, and R1 in the second batch."""
    changes = {name: getattr(constants.Args, name) for name in ("augment", "r1_weight")}
    gan = models.build(deep(jit_compile="on", r1_every=2, **changes))
    batches = tf.data.Dataset.from_tensors(np.zeros([8, 64, 64, 3], "float32")).repeat()
    losses = gan.fit(batches, steps_per_epoch=2, verbose=0, shuffle=False).history
    assert gan.jit_compile is True and gan.batch.numpy() == 2
    assert all(np.isfinite(values).all() for values in losses.values())
    assert gan.means["r1"].count.numpy() == 1 and losses["r1"] > [0.0]


# ---- what is outside of the project


def run_code(code, **environment):
    """Runs code in a new process, in the folder of the project, and returns what it prints."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment,
                          capture_output=True, text=True, check=True).stdout


def test_environment_is_set_by_models_alone():
    """As in a notebook, without gan.py."""
    names = ["KERAS_BACKEND", "HDF5_USE_FILE_LOCKING", "TF_CPP_MIN_LOG_LEVEL",
             "TF_FORCE_GPU_ALLOW_GROWTH", "TF_ENABLE_ONEDNN_OPTS"]
    code = f"""
import os
for name in {names}:
    os.environ.pop(name, None)
os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "false"
import models
print(*map(os.environ.get, {names}))
"""
    assert run_code(code).split() == ["tensorflow", "FALSE", "3", "false", "1"]
