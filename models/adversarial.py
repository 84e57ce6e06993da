"""The game: one generator, one discriminator, two optimizers, and the step that trains them [Goodfellow 2014]."""
import keras
import tensorflow as tf

from models import augment, devices, latent, losses

# What a random number is for. All are drawn from (seed, batch, purpose), so that a run can go on from any batch.
(Z, REAL_LABELS, FAKE_LABELS, STATISTICS, GRID, GENERATE, REAL_SEEN, FAKE_SEEN, SEEN_AGAIN, REPLAY,
 PENALTY, G_LABELS, CONTENT) = range(13)


class GAN(keras.Model):
    """A generator and a discriminator that learn from each other.

    Args:
        args: the constants, a class of args.py.
        network: the module that builds the networks, see models.NETWORKS.
        classes: how many there are for G to draw and D to tell apart; 0 where it isn't `conditional`.

    Attributes:
        generator: maps z [batch, latent_dim (+ classes)] to images [batch, *image_shape] in [-1, 1].
        discriminator: maps images to logits [batch, 1 (+ classes)].
        generator_ema: where `ema_decay` > 0, the generator with averaged weights, else None.
        replay: where `replay_size` > 0, old fakes, a uint8 variable [replay_size, *image_shape], else None.
        batch: int64 variable, the number of batches learned so far.
        skipped: the same of the updates, of D and of G, that an overflow in float16 cost.
        logged: the names of what a step returns, in the order in which they are best read.
        fixed: the names of the constants that its networks don't know.
    """

    def __init__(self, args, network, classes=0):
        super().__init__()
        if args.replay_size and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError("`replay_size` is for one device alone: several would share a memory. Set it to 0, or let "
                             f"one GPU be seen (CUDA_VISIBLE_DEVICES=0). Received: replay_size={args.replay_size}")
        self.args, self.classes, self.fixed = args, classes, tuple(getattr(network, "FIXED", ()))
        self.generator = network.build_generator(args, classes)
        self.discriminator = network.build_discriminator(args, classes)
        self.generator_ema = self._averaged_generator() if args.ema_decay else None
        self.replay = tf.Variable(tf.zeros([args.replay_size, *args.image_shape], "uint8"),
                                  trainable=False) if args.replay_size else None
        self.batch, self.skipped = counter(), counter()
        self.d_loss_real, self.d_loss_fake, self.g_loss = losses.LOSSES[args.loss]
        if args.g_objective == "saturating":
            self.g_loss = losses.saturating
        if args.feature_matching:
            features = self.discriminator.get_layer("features").output
            self.judge = keras.Model(self.discriminator.input, [self.discriminator.output, features])
        self.built = True  # its parts are; without this Keras would neither save nor distribute it

    @property
    def logged(self):
        optional = {"d_loss_class": self.classes, "g_loss_class": self.classes, "r1": self.args.r1_weight,
                    "gradient_penalty": self.args.gradient_penalty, "feature_distance": self.args.feature_matching}
        return ("d_loss_real", "d_loss_fake", "g_loss", *(name for name, on in optional.items() if on),
                "d_gradient_norm", "g_gradient_norm", *(["skipped"] if self.args.precision == "mixed_float16" else []))

    def _averaged_generator(self):
        ema = keras.models.clone_model(self.generator)
        ema.set_weights(self.generator.get_weights())
        for layer in ema.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0  # its statistics are those of the last batch it saw in training, see settle()
        return ema

    def compile(self, d_optimizer, g_optimizer, jit_compile="auto"):
        """Sets both optimizers and builds them at once: weights restored into unbuilt ones would be lost."""
        super().compile(optimizer=None, jit_compile=jit_compile)
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        d_optimizer.build(self.discriminator.trainable_variables)
        g_optimizer.build(self.moved_by_g)

    @property
    def moved_by_g(self):
        """The variables that G's step moves: G's, and D's too under the original's defect."""
        moved = self.generator.trainable_variables
        return moved + self.discriminator.trainable_variables if self.args.g_step_moves_d else moved

    @property
    def networks(self):
        """{name: network} of what a snapshot keeps apart, for reload."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        return networks | ({"generator_ema": self.generator_ema} if self.generator_ema else {})

    @property
    def state(self):
        """{name: variables} of what the networks' weights don't hold, for exact resume."""
        return {"batch": [self.batch], "d_optimizer": self.d_optimizer.variables,
                "g_optimizer": self.g_optimizer.variables, "seeds": seeds(self.networks.values()),
                "replay": [self.replay] if self.args.replay_size else [],
                "skipped": [self.skipped] if self.args.precision == "mixed_float16" else []}

    def seed(self, purpose, batch=None):
        """Returns the seed, int [2], of the random numbers that `batch` (the present one) needs for `purpose`."""
        return seed(self.args, purpose, self.batch if batch is None else batch)

    def draw(self, count, purpose=Z, batch=None, labels=None):
        """Draws G's input: z [count, latent_dim], and behind it the classes `labels`, by default each in its turn."""
        z = latent.draw(self.args.latent, [count, self.args.latent_dim], self.seed(purpose, batch))
        if self.classes:
            labels = tf.range(count) % self.classes if labels is None else labels
            z = tf.concat([z, tf.one_hot(labels, self.classes)], 1)
        return z

    def walk(self, start, end, fractions):
        """Returns G's inputs on the way between two of them: z along the great circle, the classes straight."""
        split = self.args.latent_dim
        return tf.concat([latent.slerp(start[:split], end[:split], fractions),
                          latent.lerp(start[split:], end[split:], fractions)], 1)

    def train_step(self, batch):
        """Learns one batch: D on real and fake images, then G on what the learned D says of the same fakes.

        Real and fake pass D apart, as batch norm must not let them see each other [ganhacks 4]. The generator runs
        once: its fakes are recorded on G's tape and mere numbers to D's.

        Args:
            batch: real images, float32 [batch, rows, columns, channels] in [-1, 1]; where there are classes,
                (images, labels int [batch]).

        Returns:
            {name: scalar} for each of `logged`: losses in nats where `loss` is cross_entropy, and the Euclidean norms
            of both networks' gradients.
        """
        real, labels = batch if self.classes else (batch, None)
        with tf.GradientTape() as g_tape:
            fake = tf.cast(self.generator(self.draw(tf.shape(real)[0], labels=labels), training=True), "float32")
        shown = self._mix_with_replay(fake) if self.args.replay_size else fake
        return self._end(self._learn_d(real, labels, shown) | self._learn_g(real, labels, fake, g_tape))

    def _end(self, logs):
        """Counts the batch, moves the average, and returns `logs`."""
        self.batch.assign_add(1)
        if self.generator_ema:
            self._average()
        if self.args.precision == "mixed_float16":
            logs["skipped"] = tf.cast(self.skipped, "float32")
        return devices.logs(logs)

    def _learn_d(self, real, labels, fake):
        """(1) D: maximize log D(x) + log(1 - D(G(z))), in one update on their mean [scratch 1], or in two."""
        args, d, logs, count = self.args, self.discriminator, {}, tf.shape(real)[0]
        real, fake = self._as_seen(real, REAL_SEEN), self._as_seen(fake, FAKE_SEEN)

        def on_real():
            logits = d(real, training=True)
            told = losses.labels(args.real_labels, args.fake_labels, args.label_flip, count, self.seed(REAL_LABELS))
            logs["d_loss_real"] = loss = self.d_loss_real(self._verdict(logits), told)
            if self.classes:  # on reals alone: of fakes D would learn to see the class that G claims [keras.io ACGAN]
                logs["d_loss_class"] = losses.class_cross_entropy(logits[:, 1:], labels)
                loss += logs["d_loss_class"]
            if args.r1_weight:
                logs["r1"] = losses.r1(d, real)
                loss += args.r1_weight * logs["r1"]
            return loss

        def on_fake():
            logits = d(fake, training=True)
            told = losses.labels(args.fake_labels, args.real_labels, args.label_flip, tf.shape(fake)[0],
                                 self.seed(FAKE_LABELS))
            logs["d_loss_fake"] = loss = self.d_loss_fake(self._verdict(logits), told)
            if args.gradient_penalty:
                logs["gradient_penalty"] = losses.gradient_penalty(d, real, fake, self.seed(PENALTY))
                loss += args.gradient_penalty * logs["gradient_penalty"]
            return loss

        norms = []
        # A penalty is weighed against the sum of both parts, as in its paper: half of it against their mean.
        for part in (lambda: (on_real() + on_fake()) / 2,) if args.d_updates == "joint" else (on_real, on_fake):
            with tf.GradientTape() as d_tape:
                loss = self.d_optimizer.scale_loss(part())
            norms.append(self._move(self.d_optimizer, d_tape.gradient(loss, d.trainable_variables),
                                    d.trainable_variables))
        return logs | {"d_gradient_norm": tf.reduce_max(norms)}

    def _verdict(self, logits):
        """Returns D's logits, one an image or a patch of it, without those of the classes behind them, as float32."""
        return tf.cast(logits[:, :1] if self.classes else logits, "float32")

    def _learn_g(self, real, labels, fake, g_tape, also=0.0):
        """(2) G: maximize log D(G(z)). In this scope D judges and learns nothing, not even a moving average.

        `also`: what else G minimizes, of g_tape.
        """
        args, d, logs = self.args, self.discriminator, {}
        with g_tape, keras.StatelessScope():
            seen = self._as_seen(fake, SEEN_AGAIN)
            if args.feature_matching:
                logits, features = self.judge(seen, training=True)
                _, wanted = self.judge(self._as_seen(real, REAL_SEEN), training=True)
                logs["feature_distance"] = losses.feature_distance(wanted, features)
            else:
                logits = d(seen, training=True)
            told = losses.labels(args.g_labels, args.g_labels, 0.0, tf.shape(fake)[0], self.seed(G_LABELS))
            logs["g_loss"] = loss = self.g_loss(self._verdict(logits), told)
            loss += also
            if self.classes:
                logs["g_loss_class"] = losses.class_cross_entropy(logits[:, 1:], labels)
                loss += logs["g_loss_class"]
            if args.feature_matching:
                loss += args.feature_matching * logs["feature_distance"]
            loss = self.g_optimizer.scale_loss(loss)
        gradients = g_tape.gradient(loss, self.moved_by_g)
        of_g = len(self.generator.trainable_variables)
        return logs | {"g_gradient_norm": self._move(self.g_optimizer, gradients, self.moved_by_g, of_g,
                                                     args.warmup_batches)}

    def _move(self, optimizer, gradients, variables, counted=None, after=0):
        """Moves variables by the gradients of a loss that `optimizer` scaled, once `after` batches are learned.

        Returns the Euclidean norm of the first `counted` gradients, or of all; on several devices that of its own.
        """
        norm = tf.linalg.global_norm(gradients[:counted]) / optimizer.scale_loss(tf.constant(1.0))
        if self.args.precision == "mixed_float16":  # an overflow, which the optimizer skips, is no failure of the run
            norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
        if after:  # without a slope neither weights nor moments move
            learns = tf.convert_to_tensor(self.batch) >= after
            gradients = [tf.where(learns, gradient, 0.0) for gradient in gradients]
        iterations = getattr(optimizer, "inner_optimizer", optimizer).iterations
        before = tf.identity(iterations)
        devices.apply(optimizer, gradients, variables)
        self.skipped.assign_add(tf.cast(1 + before - iterations, "int64"))
        if after:  # nor does the optimizer's clock
            iterations.assign_sub(tf.cast(~learns, iterations.dtype))
        return norm

    def _as_seen(self, images, purpose):
        """Returns images as D sees them: augmented [Zhao 2020], under noise that fades [ganhacks 13; kmualim 1]."""
        args = self.args
        if args.augment:
            images = augment.apply(images, args.augment, self.seed(purpose))
        if args.instance_noise:
            faded = tf.cast(self.batch, "float32") / args.instance_noise_batches if args.instance_noise_batches else 0.0
            noise = latent.normal([tf.shape(images)[0], *images.shape[1:]], tf.random.fold_in(self.seed(purpose), -1))
            images += args.instance_noise * tf.maximum(0.0, 1.0 - faded) * noise
        return images

    def _mix_with_replay(self, fake):
        """Puts old fakes in the place of the first `replay_fraction`, and the new ones in that of the oldest.

        The ring's places follow from the batch number; until the first batch is in it there are no old ones.
        [ganhacks 8; Shrivastava 2017, arXiv:1612.07828]
        """
        args, count = self.args, tf.shape(fake)[0]
        seen = self.batch * tf.cast(count, "int64")
        held = tf.cast(tf.minimum(seen, args.replay_size), "float32")
        rows = tf.cast(tf.random.stateless_uniform([count], self.seed(REPLAY)) * held, "int32")
        old = tf.cast(tf.gather(self.replay, rows), "float32") / 127.5 - 1
        share = tf.cast(tf.round(args.replay_fraction * tf.cast(count, "float32")), "int32")
        replaced = (tf.range(count) < share) & (held > 0)
        shown = tf.where(replaced[:, None, None, None], old, fake)
        places = (seen + tf.range(tf.cast(count, "int64"))) % args.replay_size
        self.replay.scatter_nd_update(places[:, None], tf.cast(tf.round((fake + 1) * 127.5), "uint8"))
        return shown

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
        """Estimates anew the batch-norm statistics of the averaged generator, which no step has trained, on 256 z.

        However often it is called, a dropout that stays on in G starts from the same seeds.
        """
        if self.generator_ema:
            before = [(state, tf.identity(state.value)) for state in seeds([self.generator_ema])]
            self.generator_ema(self.draw(256, STATISTICS), training=True)
            for state, value in before:
                state.assign(value)

    def sample(self, z, batch=0):
        """Draws images [count, *image_shape] in [-1, 1] from z, by the averaged generator where there is one.

        It touches nothing that a training goes on from, not even the seeds of a dropout that stays on in G, which
        drops otherwise for each `batch`.
        """
        network = self.generator_ema or self.generator
        ahead = [(state, state + tf.constant([0, batch], state.dtype)) for state in seeds([network])]
        with keras.StatelessScope(state_mapping=ahead):
            return tf.cast(network(z, training=False), "float32")


def counter():
    """Returns an int64 variable that stands at 0, the same on all devices."""
    return keras.Variable(0, dtype="int64", trainable=False, aggregation="only_first_replica")


def seed(args, purpose, batch):
    """Returns the seed, int [2], of the random numbers that a batch needs for a purpose."""
    return tf.random.fold_in([args.seed, purpose], tf.cast(batch, "int64"))  # an int32 would draw other numbers


def seeds(networks):
    """Returns the seed states of layers such as Dropout, which Keras keeps out of a network's weights."""
    return [variable for network in networks for variable in network.variables
            if not any(variable is weight for weight in network.weights)]
