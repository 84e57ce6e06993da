"""models.build and models.build_pretraining: networks, optimizers, precision and XLA by name."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models import adversarial, autoencoder, cartoongan, dcgan, validation

REAL = np.float32(np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)))
# What the networks other than the DCGAN need.
NEEDS = {
    "dcgan": {},
    "keras_example": {"batch_norm": "none", "kernel_initializer": "glorot_uniform"},
    "even": {"batch_norm": "none", "kernel_initializer": "glorot_uniform", "flip": False,
             "image_shape": (1, 8, 1)},
    "cartoongan": {"batch_norm": "none", "photos": "photos/*", "generator_filters": (4, 4, 4)},
}


# ---- networks

def test_every_network_has_a_builder():
    assert set(NEEDS) == set(validation.CHOICES["network"])


@pytest.mark.parametrize("network", NEEDS)
def test_network_is_built_by_name(tiny, network, monkeypatch):
    monkeypatch.setattr(cartoongan, "BLOCKS", 1)
    args = tiny(network=network, **NEEDS[network])
    gan = models.build(args)
    is_cartoon = network == "cartoongan"
    assert type(gan) is (cartoongan.CartoonGAN if is_cartoon else adversarial.GAN)
    inputs = REAL if is_cartoon else gan.sample_z(8)
    images = gan.sample(inputs)
    assert images.shape == (8, *args.image_shape)
    assert gan.discriminator(images).shape[0] == 8

    pretraining = models.build_pretraining(args)
    expected = cartoongan.ContentPretraining if is_cartoon else autoencoder.Autoencoder
    assert type(pretraining) is expected
    assert pretraining(images).shape == (8, *args.image_shape)


def test_classes_reach_the_networks(tiny):
    gan = models.build(tiny(conditional=True), classes=3)
    assert gan.classes == 3
    assert gan.sample_z(2).shape == (2, 103)


@pytest.mark.parametrize("changes", [{"network": "dcgen"}, {"kernel_initializer": "glorot"},
                                     {"image_shape": (64, 66, 3)}, {"spectral_norm": True}])
def test_invalid_constants_are_refused(tiny, changes):
    for build in (models.build, models.build_pretraining):
        with pytest.raises(ValueError, match=f"`{next(iter(changes))}`"):
            build(tiny(**changes))


@pytest.mark.parametrize("number", range(len(validation.CHOICES["kernel_initializer"])))
def test_every_choice_builds(tiny, number):
    """Each number takes one value of every constant that has choices; together they take all."""
    changes = {}
    for name, choices in validation.CHOICES.items():
        if name not in ("network", "loss", "g_objective"):  # these have tests of their own
            changes[name] = choices[number % len(choices)]
    gan = models.build(tiny(**changes))
    assert gan.sample(gan.sample_z(2)).shape == (2, 64, 64, 3)
    assert int(gan.batch) == 0


# ---- initial weights

def test_seed_decides_the_initial_weights(tiny):
    one, same, other = (models.build(tiny(seed=seed)).get_weights() for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert not all((a == b).all() for a, b in zip(one, other, strict=True))


def test_pretraining_starts_from_weights_of_its_seed(tiny):
    one, same = (models.build_pretraining(tiny(seed=3)).get_weights() for _ in range(2))
    assert all((a == b).all() for a, b in zip(one, same, strict=True))


# ---- optimizers

def test_optimizers_and_learning_rates(tiny):
    gan = models.build(tiny(
        d_optimizer="sgd", d_learning_rate=4e-4, g_learning_rate=1e-4, beta_1=0.1))
    assert isinstance(gan.d_optimizer, keras.optimizers.SGD)
    assert isinstance(gan.g_optimizer, keras.optimizers.Adam)
    assert float(gan.d_optimizer.learning_rate) == pytest.approx(4e-4)
    assert float(gan.g_optimizer.learning_rate) == pytest.approx(1e-4)
    assert gan.g_optimizer.beta_1 == 0.1


def test_gradient_descent_is_linear_in_its_rate(tiny):
    changes = []
    for rate in (4e-4, 8e-4):
        gan = models.build(tiny(d_optimizer="sgd", d_learning_rate=rate))
        before = gan.discriminator.get_weights()
        gan.train_step(REAL)
        after = gan.discriminator.trainable_weights
        trainable = [weight.numpy() for weight in after]
        names = [weight.path for weight in gan.discriminator.weights]
        old = [before[names.index(weight.path)] for weight in after]
        changes.append([new - start for new, start in zip(trainable, old)])
    for once, twice in zip(*changes):
        assert twice == pytest.approx(2 * once, abs=1e-6)


# ---- precision and XLA

@pytest.mark.parametrize("precision, dtype", [
    ("float32", "float32"), ("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")])
def test_precision(tiny, precision, dtype):
    gan = models.build(tiny(precision=precision))
    convolution = gan.discriminator.layers[1]
    assert (convolution.compute_dtype, convolution.dtype) == (dtype, "float32")
    # Only float16 needs losses to be scaled.
    scales = isinstance(gan.g_optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (precision == "mixed_float16")
    assert keras.config.dtype_policy().name == "float32"  # as before


def test_precision_is_set_back_after_an_error(tiny, monkeypatch):
    def fail(args, classes):
        raise RuntimeError

    monkeypatch.setattr(dcgan, "build_generator", fail)
    with pytest.raises(RuntimeError):
        models.build(tiny(precision="mixed_bfloat16"))
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("changes, expected", [
    ({"jit_compile": "on"}, True),
    ({"jit_compile": "off"}, False),
    ({"upsampling": "bilinear", "precision": "mixed_float16"}, False),  # fails under XLA
    ({"upsampling": "bilinear", "precision": "mixed_float16", "jit_compile": "on"}, True),
])
def test_jit_compile(tiny, changes, expected):
    assert models.build(tiny(**changes)).jit_compile is expected


@pytest.mark.slow
def test_xla_takes_the_same_step(tiny):
    """XLA has other random numbers: only D's loss on real images, without random targets, is equal.
    """
    def fit(jit_compile):
        gan = models.build(tiny(jit_compile=jit_compile, real_labels=(0.9, 0.9)))
        batches = tf.data.Dataset.from_tensors(REAL).repeat()
        return gan.fit(batches, steps_per_epoch=1, verbose=0, shuffle=False).history

    without, compiled = fit("off"), fit("on")
    assert without["d_loss_real"] == pytest.approx(compiled["d_loss_real"], rel=1e-5)
    assert all(np.isfinite(values).all() for values in compiled.values())
