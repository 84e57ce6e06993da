"""The game: one generator, one discriminator, two optimizers, and the step that trains them [Goodfellow 2014]."""
import keras
import tensorflow as tf

from models import latent, losses

# What a random number is for. All are drawn from (seed, batch, purpose), so that a run can go on from any batch.
Z, REAL_LABELS, FAKE_LABELS, STATISTICS, GRID, GENERATE = range(6)


class GAN(keras.Model):
    """A generator and a discriminator that learn from each other.

    Args:
        args: the constants, a class of args.py.
        network: the module that builds the networks, see models.NETWORKS.

    Attributes:
        generator: maps z [batch, latent_dim] to images [batch, *image_shape] in [-1, 1].
        discriminator: maps images to logits [batch, 1].
        generator_ema: where `ema_decay` > 0, the generator with averaged weights, else None.
        batch: int64 variable, the number of batches learned so far.
        losses_logged: the names of what a step returns, in the order in which they are best read.
    """
    losses_logged = "d_loss_real", "d_loss_fake", "g_loss"

    def __init__(self, args, network):
        super().__init__()
        self.args = args
        self.generator = network.build_generator(args)
        self.discriminator = network.build_discriminator(args)
        self.generator_ema = self._averaged_generator() if args.ema_decay else None
        self.batch = tf.Variable(0, dtype="int64", trainable=False)
        self.built = True  # its parts are; without this Keras would neither save nor distribute it

    def _averaged_generator(self):
        ema = keras.models.clone_model(self.generator)
        ema.set_weights(self.generator.get_weights())
        for layer in ema.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0  # its statistics are those of the last batch it saw in training, see settle()
        return ema

    def compile(self, d_optimizer, g_optimizer):
        """Sets both optimizers and builds them at once: weights restored into unbuilt ones would be lost."""
        super().compile(optimizer=None)
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        d_optimizer.build(self.discriminator.trainable_variables)
        g_optimizer.build(self.generator.trainable_variables)

    @property
    def networks(self):
        """{name: network} of what a snapshot keeps apart, for reload."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        return networks | ({"generator_ema": self.generator_ema} if self.generator_ema else {})

    @property
    def state(self):
        """{name: variables} of what the networks' weights don't hold, for exact resume."""
        return {"batch": [self.batch], "d_optimizer": self.d_optimizer.variables,
                "g_optimizer": self.g_optimizer.variables, "seeds": seeds(self.networks.values())}

    def seed(self, purpose, batch=None):
        """Returns the seed, int [2], of the random numbers that `batch` (the present one) needs for `purpose`."""
        batch = tf.cast(self.batch if batch is None else batch, "int64")  # an int32 would draw other numbers
        return tf.random.fold_in([self.args.seed, purpose], batch)

    def draw(self, count, purpose=Z, batch=None):
        """Draws G's input: z [count, latent_dim]."""
        return latent.draw(self.args.latent, [count, self.args.latent_dim], self.seed(purpose, batch))

    def train_step(self, real):
        """Learns one batch: D on real and fake images, then G on what the learned D says of the same fakes.

        Real and fake pass D apart, as batch norm must not let them see each other [ganhacks 4]. The generator runs
        once: its fakes are recorded on G's tape and mere numbers to D's.

        Args:
            real: float32 [batch, rows, columns, channels] in [-1, 1].

        Returns:
            {"d_loss_real", "d_loss_fake", "g_loss"}: scalars of this batch, in nats.
        """
        g, d, count = self.generator, self.discriminator, tf.shape(real)[0]
        with tf.GradientTape() as g_tape:
            fake = g(self.draw(count), training=True)

        # (1) D: maximize log D(x) + log(1 - D(G(z)))
        with tf.GradientTape() as d_tape:
            real_labels = losses.labels(self.args.real_labels, count, self.seed(REAL_LABELS))
            fake_labels = losses.labels(self.args.fake_labels, count, self.seed(FAKE_LABELS))
            d_loss_real = losses.cross_entropy(real_labels, d(real, training=True))
            d_loss_fake = losses.cross_entropy(fake_labels, d(fake, training=True))
            d_loss = (d_loss_real + d_loss_fake) / 2  # [scratch 1]
        self.d_optimizer.apply(d_tape.gradient(d_loss, d.trainable_variables), d.trainable_variables)

        # (2) G: maximize log D(G(z)). In this scope D judges and learns nothing, not even a moving average.
        with g_tape, keras.StatelessScope():
            logits = d(fake, training=True)
            g_loss = losses.cross_entropy(tf.ones_like(logits), logits)
        self.g_optimizer.apply(g_tape.gradient(g_loss, g.trainable_variables), g.trainable_variables)

        self.batch.assign_add(1)
        if self.generator_ema:
            self._average()
        return {"d_loss_real": d_loss_real, "d_loss_fake": d_loss_fake, "g_loss": g_loss}

    def _average(self):
        """Moves the averaged weights towards G's: ema = decay * ema + (1 - decay) * weights.

        The decay grows with the batches, (1 + batch) / (10 + batch), so that the average forgets the noise G began
        with [TensorFlow, ExponentialMovingAverage num_updates].
        """
        batch = tf.cast(self.batch, "float32")
        decay = tf.minimum(self.args.ema_decay, (1 + batch) / (10 + batch))
        for average, weight in zip(self.generator_ema.trainable_variables, self.generator.trainable_variables):
            average.assign(weight + decay * (average - weight))

    @tf.function
    def settle(self):
        """Estimates anew the batch-norm statistics of the averaged generator, which no step has trained, on 256 z."""
        if self.generator_ema:
            self.generator_ema(self.draw(256, STATISTICS), training=True)

    def sample(self, z):
        """Draws images [count, *image_shape] in [-1, 1] from z, by the averaged generator where there is one."""
        return (self.generator_ema or self.generator)(z, training=False)


def seeds(networks):
    """Returns the seed states of layers such as Dropout, which Keras keeps out of a network's weights."""
    return [variable for network in networks for variable in network.variables
            if not any(variable is weight for weight in network.weights)]
