"""The pretraining: an encoder before the generator learns to reproduce images [forcecore 3]."""
import keras
import tensorflow as tf

from models import devices, randomness
from models.adversarial import counter


class Autoencoder(keras.Model):
    """An encoder and a generator that learn to reproduce images.

    Adversarial training then starts with a generator that can already make images.

    Args:
        args: the constants, a class of args.py.
        encoder: maps images [batch, *image_shape] in [-1, 1] to z [batch, latent_dim (+ classes)];
            None for a generator whose inputs are images.
        generator: maps z to images.

    Attributes:
        batch: int64 variable, the number of batches trained so far.
        means: {name: keras.metrics.Mean} of the loss, over the epoch.
    """
    loss_name = "mse"

    def __init__(self, args, encoder, generator):
        super().__init__()
        self.args = args
        self.encoder = encoder
        self.generator = generator
        self.batch = counter()
        self.seeds = randomness.seed_states(self.layers)
        self.means = {self.loss_name: keras.metrics.Mean(name=self.loss_name)}
        self.built = True

    def compile(self, optimizer, jit_compile="auto"):
        """Sets the optimizer and builds it at once: unbuilt optimizers cannot be restored."""
        super().compile(optimizer=optimizer, jit_compile=jit_compile)
        optimizer.build(self.trainable_variables)

    @property
    def metrics(self):
        return list(self.means.values())

    def call(self, images, training=False):
        """Returns the reconstructions of `images`, float32 in [-1, 1]."""
        z = self.encoder(images, training=training)
        return tf.cast(self.generator(z, training=training), "float32")

    def loss_of(self, batch):
        """Returns the mean squared error of the pixels of images, [batch, *image_shape]."""
        return tf.reduce_mean(tf.square(self(batch, training=True) - batch))

    def train_step(self, batch):
        """Trains on one batch, and returns the mean of the loss over the epoch so far."""
        with tf.GradientTape() as tape:
            loss = self.loss_of(batch)
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        devices.apply(self.optimizer, gradients, self.trainable_variables)
        self.batch.assign_add(1)
        self.means[self.loss_name].update_state(loss)
        return devices.logs(self.get_metrics_result())
