"""The averaged generator: an exponential moving average of G's weights [Karras 2018 appendix A]."""
import keras
import tensorflow as tf
from keras import layers

from models import randomness


def copy(generator):
    """Returns a copy of the generator for its averaged weights."""
    average = keras.models.clone_model(generator)
    average.set_weights(generator.get_weights())
    return average


def update(average, generator, decay, batch):
    """Moves the averaged weights towards G's: average = decay * average + (1 - decay) * weight.

    The decay is at most (1 + batch) / (10 + batch), so that the average soon forgets the initial
    weights [TensorFlow, ExponentialMovingAverage].

    Args:
        average: the averaged generator, from `copy`.
        generator: the generator that is trained.
        decay: in [0, 1).
        batch: int, the number of batches trained so far.
    """
    batch = tf.cast(batch, "float32")
    decay = tf.minimum(decay, (1 + batch) / (10 + batch))
    pairs = zip(average.trainable_variables, generator.trainable_variables, strict=True)
    for averaged, weight in pairs:
        averaged.assign(weight + decay * (averaged - weight))  # the formula above, rearranged


def update_batch_norm(generator, z):
    """Sets a generator's batch-norm statistics to those of one batch, `z`.

    A momentum of 0 replaces the moving mean and variance by the batch's. The seeds of G's dropout
    are restored.

    Args:
        generator: a keras.Model.
        z: float32 [batch, latent_dim (+ classes)].
    """
    norms = [layer for layer in generator.layers if isinstance(layer, layers.BatchNormalization)]
    momentums = [norm.momentum for norm in norms]
    states = randomness.seed_states([generator])
    before = [tf.identity(state.value) for state in states]
    for norm in norms:
        norm.momentum = 0.0
    generator(z, training=True)
    for norm, momentum in zip(norms, momentums):
        norm.momentum = momentum
    for state, value in zip(states, before):
        state.assign(value)
