"""A stand-in for GAN: networks of a few weights that training moves by known steps."""
import keras
import numpy as np

NAMES = ("d_loss_real", "d_loss_fake", "g_loss", "d_gradient_norm", "g_gradient_norm")
HEALTHY = dict(zip(NAMES, (0.5, 0.2, 3.0, 10.0, 30.0)))


def network():
    """Returns a network with trainable weights and with moving averages."""
    return keras.Sequential([keras.Input([2]), keras.layers.BatchNormalization()])


class FakeGAN:
    """Has what callbacks use of a GAN, and trains in microseconds.

    Args:
        batch: the number of batches trained so far.
    """

    def __init__(self, batch=0, ema=True):
        self.batch = keras.Variable(batch, dtype="int64", trainable=False)
        self.generator = network()
        self.discriminator = network()
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.generator_ema = None
        if ema:
            self.generator_ema = network()
            self.networks["generator_ema"] = self.generator_ema
        self.g_optimizer = keras.optimizers.SGD(1.0)
        self.d_optimizer = keras.optimizers.SGD(1.0)
        self.g_optimizer.build(self.generator.trainable_variables)
        self.d_optimizer.build(self.discriminator.trainable_variables)
        self.logged = NAMES
        self.samples = np.zeros([8, 4, 4, 3], "float32")
        self.stop_training = False

    @property
    def state(self):
        return {"batch": [self.batch], "g_optimizer": self.g_optimizer.variables,
                "d_optimizer": self.d_optimizer.variables}

    def train_step(self):
        """Learns one batch: every weight moves by the learning rate times the batch's number.

        Returns:
            {name: float} of each of `logged`.
        """
        step = float(self.batch.numpy() + 1)
        for network, optimizer in ((self.generator, self.g_optimizer),
                                   (self.discriminator, self.d_optimizer)):
            learning_rate = float(optimizer.learning_rate.numpy())
            for weight in network.trainable_weights:
                weight.assign(weight.numpy() - learning_rate * step)
            for average in network.non_trainable_weights:
                average.assign(average.numpy() + step)
            optimizer.iterations.assign(optimizer.iterations.numpy() + 1)
        if "generator_ema" in self.networks:
            for average, weight in zip(self.networks["generator_ema"].weights,
                                       self.generator.weights):
                average.assign((average.numpy() + weight.numpy()) / 2)
        self.batch.assign(self.batch.numpy() + 1)
        return dict(HEALTHY, g_loss=step)

    def values(self):
        """Returns {name: array} of all that training moves."""
        found = {}
        for name, network in self.networks.items():
            for index, weight in enumerate(network.weights):
                found[f"{name}/{index}"] = weight.numpy()
        for name, variables in self.state.items():
            for index, variable in enumerate(variables):
                found[f"{name}/{index}"] = variable.numpy()
        return found


def fit(model, callbacks, batches):
    """Trains a FakeGAN until it has learned `batches`, and calls the callbacks as Keras does."""
    for callback in callbacks:
        callback.set_model(model)
    for callback in callbacks:
        callback.on_train_begin()
    for step in range(batches - int(model.batch.numpy())):
        for callback in callbacks:
            callback.on_train_batch_begin(step)
        logs = model.train_step()
        for callback in callbacks:
            callback.on_train_batch_end(step, logs)
        if model.stop_training:
            break
    for callback in callbacks:
        callback.on_train_end()
