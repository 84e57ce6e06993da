"""models/aided.py: a second discriminator, on the features of a pretrained network."""
import numpy as np
import pytest
import tensorflow as tf
from conftest import REAL, equal, values

import models
from models import losses
from models.aided import HEAD_ROWS
from models.randomness import Purpose


@pytest.fixture
def aided(small):
    """Returns a function that builds a GAN with heads on the maps of random filters."""
    def build(**changes):
        return models.build(small(**{"d_features": "random"} | changes))

    return build


def heads_variables(gan):
    return [variable for head in gan.heads for variable in head.trainable_variables]


def test_each_map_has_a_head(aided):
    gan = aided()
    maps = gan.maps(REAL)
    assert [head.input_shape[1:] for head in gan.heads] == [tuple(m.shape[1:]) for m in maps]
    assert gan.judge_features(REAL).shape == (8, len(maps))
    for head in gan.heads:
        shapes = [layer.output.shape for layer in head.layers if len(layer.output.shape) == 4]
        assert shapes[-1][1] <= HEAD_ROWS


def test_heads_learn_in_the_update_of_d_and_the_network_never_does(aided):
    gan = aided(g_learning_rate=0.0)
    network = gan.feature_maps.network
    # Only kernels: biases before batch norm have no gradient.
    kernels = [variable for variable in heads_variables(gan) if variable.name == "kernel"]
    frozen, before = values(network.weights), values(kernels)
    gan.train_step(REAL)
    assert all((one != other).any() for one, other in zip(before, values(kernels), strict=True))
    assert equal(frozen, values(network.weights))


def test_the_update_of_g_leaves_the_heads_as_they_are(aided):
    gan = aided(d_learning_rate=0.0)
    before = values(heads_variables(gan))
    generator = values(gan.generator.trainable_variables)
    gan.train_step(REAL)
    assert equal(before, values(heads_variables(gan)))
    assert not equal(generator, values(gan.generator.trainable_variables))


def test_terms_are_the_losses_of_the_heads_logits(aided):
    gan = aided(real_labels=(0.9, 0.9), augment="translation")
    fake = gan.generator(gan.sample_z(8), training=True)
    name, weight, loss = gan.d_terms_on_real(REAL, None)[-1]
    expected = losses.cross_entropy(gan.judge_features(REAL), 0.9)
    assert (name, weight, float(loss)) == ("d_aid_real", 0.5, pytest.approx(float(expected)))
    name, weight, loss = gan.d_terms_on_fake(REAL, fake)[-1]
    expected = losses.cross_entropy(gan.judge_features(fake), 0.0)
    assert (name, weight, float(loss)) == ("d_aid_fake", 0.5, pytest.approx(float(expected)))
    name, weight, loss = gan.g_terms(REAL, REAL, fake, None, None)[-1]
    fake_view = gan.view(fake, Purpose.SECOND_VIEW)  # the one that D judges
    expected = losses.cross_entropy(gan.judge_features(fake_view), 1.0)
    assert (name, weight, float(loss)) == ("g_aid", 1.0, pytest.approx(float(expected)))


def test_g_learns_from_the_heads(aided):
    gan = aided()
    z = gan.sample_z(8)
    with tf.GradientTape() as tape:
        fake = gan.generator(z, training=True)
        _, _, loss = gan.g_terms(REAL, REAL, fake, z, None)[-1]
    gradients = tape.gradient(loss, gan.generator.trainable_variables)
    assert all(float(tf.norm(gradient)) > 0 for gradient in gradients[-2:])


def test_checkpoint_has_the_heads_and_not_the_network(aided, here):
    gan = aided()
    gan.train_step(REAL)
    gan.save_weights("gan.weights.h5")
    other = aided(seed=1)
    other.load_weights("gan.weights.h5")
    assert equal(values(heads_variables(gan)), values(heads_variables(other)))
    frozen = {id(variable) for variable in gan.feature_maps.network.weights}
    assert not frozen & {id(variable) for variable in gan.weights}


def test_classes_are_learned_beside_it(small):
    gan = models.build(small(d_features="random", conditional=True), 3)
    logs = gan.train_step((REAL, np.arange(8) % 3))
    for name in ("d_loss_class", "d_aid_real", "d_aid_fake", "g_aid"):
        assert float(logs[name]) > 0, name


def test_unknown_features_are_refused(small):
    with pytest.raises(ValueError, match="`d_features`"):
        models.build(small(d_features="nowhere.keras:first"))
