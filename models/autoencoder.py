"""The pretraining: an encoder before the generator, and images to reproduce [forcecore gan.py]."""
import keras
import tensorflow as tf

from models import devices
from models.adversarial import counter, seeds


class Autoencoder(keras.Model):
    """An encoder and a generator that learn to reproduce images, so that the game starts with a G that can draw.

    Args:
        args: the constants, a class of args.py.
        network: the module that builds the networks, see models.NETWORKS.
        classes: how many there are, where it is `conditional`.

    Attributes:
        encoder: maps images [batch, *image_shape] in [-1, 1] to z [batch, latent_dim].
        generator: maps z to images.
        batch: int variable, the number of batches learned so far.
        networks, state, logged: as in GAN.
    """
    logged = "mse",

    def __init__(self, args, network, classes=0):
        super().__init__()
        self.encoder, self.generator = network.build_encoder(args, classes), network.build_generator(args, classes)
        self.networks = {"generator": self.generator, "encoder": self.encoder}
        self.batch = counter()
        self.built = True

    def compile(self, optimizer, jit_compile="auto"):
        """Sets the optimizer and builds it at once: weights restored into an unbuilt one would be lost."""
        super().compile(optimizer=optimizer, jit_compile=jit_compile)
        optimizer.build(self.trainable_variables)

    @property
    def state(self):
        return {"batch": [self.batch], "optimizer": self.optimizer.variables, "seeds": seeds(self.networks.values())}

    def call(self, images, training=False):
        """Returns the reconstructions of `images`, in [-1, 1]."""
        return tf.cast(self.generator(self.encoder(images, training=training), training=training), "float32")

    def train_step(self, images):
        """Learns one batch; returns {"mse"}, the mean squared error between pixels in [-1, 1]."""
        with tf.GradientTape() as tape:
            mse = tf.reduce_mean(tf.square(self(images, training=True) - images))
            loss = self.optimizer.scale_loss(mse)
        return self._learn({"mse": mse}, tape.gradient(loss, self.trainable_variables))

    def _learn(self, logs, gradients):
        devices.apply(self.optimizer, gradients, self.trainable_variables)
        self.batch.assign_add(1)
        return devices.logs(logs)
