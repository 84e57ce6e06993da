"""The pretraining: an encoder before the generator learns to reproduce images [forcecore gan.py].
"""
import keras
import tensorflow as tf

from models import devices, randomness
from models.adversarial import counter


class Autoencoder(keras.Model):
    """An encoder and a generator that learn to reproduce images.

    Adversarial training then starts with a generator that can already make images.

    Args:
        args: the constants, a class of args.py.
        encoder: maps images [batch, *image_shape] in [-1, 1] to z [batch, latent_dim (+ classes)].
        generator: maps z to images.

    Attributes:
        batch: int64 variable, the number of batches trained so far.
        networks: {name: network}, those a checkpoint holds.
        state: {name: variables}, what a checkpoint holds beside the networks.
        logged: names of what a step returns.
    """
    logged = ("mse",)

    def __init__(self, args, encoder, generator):
        super().__init__()
        self.args = args
        self.encoder = encoder
        self.generator = generator
        self.networks = {"generator": generator, "encoder": encoder}
        self.batch = counter()
        self.built = True

    def compile(self, optimizer, jit_compile="auto"):
        """Sets the optimizer and builds it at once: unbuilt optimizers cannot be restored."""
        super().compile(optimizer=optimizer, jit_compile=jit_compile)
        optimizer.build(self.trainable_variables)

    @property
    def state(self):
        return {
            "batch": [self.batch],
            "optimizer": self.optimizer.variables,
            "seeds": randomness.seed_states(self.networks.values()),
        }

    def call(self, images, training=False):
        """Returns the reconstructions of `images`, float32 in [-1, 1]."""
        z = self.encoder(images, training=training)
        return tf.cast(self.generator(z, training=training), "float32")

    def train_step(self, images):
        """Learns one batch of images, float32 [batch, *image_shape] in [-1, 1].

        Returns:
            {"mse"}: the mean squared error of the pixels.
        """
        with tf.GradientTape() as tape:
            mse = tf.reduce_mean(tf.square(self(images, training=True) - images))
            loss = self.optimizer.scale_loss(mse)
        return self.finish_step({"mse": mse}, tape.gradient(loss, self.trainable_variables))

    def finish_step(self, logs, gradients):
        """Applies the gradients, counts the batch, and returns `logs`."""
        devices.apply(self.optimizer, gradients, self.trainable_variables)
        self.batch.assign_add(1)
        return devices.logs(logs)
