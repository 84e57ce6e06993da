"""The GAN: a generator, a discriminator, and the step that trains both [Goodfellow 2014]."""
import keras
import tensorflow as tf

from models import augment, devices, ema, latent, losses, randomness
from models.randomness import Purpose
from models.replay import ReplayBuffer


class GAN(keras.Model):
    """A generator G and a discriminator D that are trained against each other.

    Another kind of GAN is a subclass: it overrides `unpack`, `fakes_to_judge`,
    `discriminator_loss`, `generator_loss` or `generator_terms`, and inherits the step.

    Args:
        args: the constants, a class of args.py.
        generator: maps z [batch, latent_dim (+ classes)] to images [batch, *image_shape] in
            [-1, 1].
        discriminator: maps images to logits [batch, 1 (+ classes)], high for real images. For
            `feature_matching` it has a layer named "features".
        classes: number of classes if `conditional`, else 0.

    Attributes:
        g_compares_both: class attribute, whether `generator_loss` needs D's logits of real images.
        generator_ema: the averaged generator if `ema_decay` > 0, else None.
        replay: a `ReplayBuffer` if `replay_size` > 0, else None.
        batch: int64 variable, the number of batches trained so far.
        skipped: int64 variable, the number of updates skipped after an overflow in float16.

    Raises:
        ValueError: if a replay buffer is asked for on several devices.
    """

    g_compares_both = False

    def __init__(self, args, generator, discriminator, classes=0):
        super().__init__()
        if args.replay_size and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError("`replay_size` works on one device only. Set it to 0, or make one GPU "
                             "visible with CUDA_VISIBLE_DEVICES=0. Received: "
                             f"replay_size={args.replay_size}")
        self.args = args
        self.classes = classes
        self.generator = generator
        self.discriminator = discriminator
        self.generator_ema = ema.copy(generator) if args.ema_decay else None
        self.replay = ReplayBuffer(args.replay_size, args.image_shape) if args.replay_size else None
        self.batch = counter()
        self.skipped = counter()
        self.d_loss_real, self.d_loss_fake, self.g_loss = losses.LOSSES[args.loss]
        if args.g_objective == "saturating":
            self.g_loss = losses.saturating
        if args.feature_matching:
            features = discriminator.get_layer("features").output
            self.d_with_features = keras.Model(
                discriminator.input, [discriminator.output, features])
        self.built = True  # all parts are built: without this Keras refuses to save and distribute

    def compile(self, d_optimizer, g_optimizer, jit_compile="auto"):
        """Sets both optimizers and builds them at once: unbuilt optimizers cannot be restored."""
        super().compile(optimizer=None, jit_compile=jit_compile)
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        d_optimizer.build(self.discriminator.trainable_variables)
        g_optimizer.build(self.g_step_variables)

    @property
    def g_step_variables(self):
        """The variables that G's update moves: G's, and with the original's defect D's too."""
        variables = self.generator.trainable_variables
        if self.args.g_step_moves_d:
            variables = variables + self.discriminator.trainable_variables
        return variables

    @property
    def logged(self):
        """Names of what `train_step` returns, in reading order."""
        args = self.args
        names = ["d_loss_real", "d_loss_fake", "g_loss"]
        if self.classes:
            names += ["d_loss_class", "g_loss_class"]
        if args.r1_weight:
            names.append("r1")
        if args.gradient_penalty:
            names.append("gradient_penalty")
        if args.feature_matching:
            names.append("feature_distance")
        names += ["d_gradient_norm", "g_gradient_norm"]
        if args.precision == "mixed_float16":
            names.append("skipped")
        return tuple(names)

    @property
    def networks(self):
        """{name: network}, the files of a checkpoint that can be loaded one by one."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        if self.generator_ema:
            networks["generator_ema"] = self.generator_ema
        return networks

    @property
    def state(self):
        """{name: variables}, what an exact resume needs beside the networks' weights."""
        state = {
            "batch": [self.batch],
            "d_optimizer": self.d_optimizer.variables,
            "g_optimizer": self.g_optimizer.variables,
            "seeds": randomness.seed_states(self.networks.values()),
        }
        if self.replay:
            state["replay"] = [self.replay.images]
        if self.args.precision == "mixed_float16":
            state["skipped"] = [self.skipped]
        return state

    # ---- the training step

    def train_step(self, batch):
        """Learns one batch: one update of D, then one of G.

        Args:
            batch: real images, float32 [batch, rows, columns, channels] in [-1, 1]; if there are
                classes, (images, labels int [batch]).

        Returns:
            {name: scalar} for each of `logged`: losses (in nats if `loss` is cross_entropy), and
            the Euclidean norms of the gradients.
        """
        args, d = self.args, self.discriminator
        real, labels, g_inputs = self.unpack(batch)

        # G runs once for both updates. Its tape records how the images were made, D's does not.
        with tf.GradientTape() as g_tape:
            fake = tf.cast(self.generator(g_inputs, training=True), "float32")

        # (1) Update D: maximize log D(x) + log(1 - D(G(z))).
        # Real and fake images pass D in separate batches, as batch norm must not mix them
        # [ganhacks 4].
        real_view = self.view(real, Purpose.REAL_VIEW)
        fake_view = self.view(self.fakes_to_judge(fake, batch), Purpose.FAKE_VIEW)
        if args.d_updates == "apart":
            logs = self._update_d_apart(real_view, labels, fake_view)
        else:
            logs = {}
            with tf.GradientTape() as d_tape:
                real_logits = d(real_view, training=True)
                real_terms = self._terms_on_real(real_logits, labels, real_view)
                fake_logits = d(fake_view, training=True)
                fake_terms = self._terms_on_fake(real_view, fake_view)
                real_loss, fake_loss = self.discriminator_loss(
                    self.image_logits(real_logits), self.image_logits(fake_logits))
                logs.update(d_loss_real=real_loss, d_loss_fake=fake_loss)
                real_loss = add_terms(real_loss, real_terms, logs)
                fake_loss = add_terms(fake_loss, fake_terms, logs)
                d_loss = self.d_optimizer.scale_loss((real_loss + fake_loss) / 2)
            logs["d_gradient_norm"] = self._update(
                self.d_optimizer, d_tape.gradient(d_loss, d.trainable_variables),
                d.trainable_variables)

        # (2) Update G: maximize log D(G(z)).
        # G's tape goes on recording. The scope discards changes of D's state, such as its moving
        # averages.
        with g_tape, keras.StatelessScope():
            fake_view = self.view(fake, Purpose.SECOND_VIEW)  # augmented anew
            if args.feature_matching:
                fake_logits, fake_features = self.d_with_features(fake_view, training=True)
                _, real_features = self.d_with_features(real_view, training=True)
                distance = losses.feature_distance(real_features, fake_features)
                matching_terms = [("feature_distance", args.feature_matching, distance)]
            else:
                fake_logits = d(fake_view, training=True)
                matching_terms = []
            real_logits = None
            if self.g_compares_both:
                real_logits = self.image_logits(d(real_view, training=True))
            g_loss = self.generator_loss(real_logits, self.image_logits(fake_logits))
            logs["g_loss"] = g_loss
            g_loss *= args.adversarial_weight
            g_loss = add_terms(g_loss, self.generator_terms(real, g_inputs, fake), logs)
            if self.classes:
                class_loss = losses.class_cross_entropy(fake_logits[:, 1:], labels)
                g_loss = add_terms(g_loss, [("g_loss_class", 1.0, class_loss)], logs)
            g_loss = add_terms(g_loss, matching_terms, logs)
            g_loss = self.g_optimizer.scale_loss(g_loss)
        logs["g_gradient_norm"] = self._update_g(g_tape.gradient(g_loss, self.g_step_variables))

        self.batch.assign_add(1)
        if self.generator_ema:
            ema.update(self.generator_ema, self.generator, args.ema_decay, self.batch)
        if args.precision == "mixed_float16":
            logs["skipped"] = tf.cast(self.skipped, "float32")
        return devices.logs(logs)

    # ---- what a subclass may override

    def unpack(self, batch):
        """Returns real images, their labels or None, and G's inputs."""
        if self.classes:
            real, labels = batch
        else:
            real, labels = batch, None
        return real, labels, self.sample_z(tf.shape(real)[0], labels=labels)

    def fakes_to_judge(self, fake, batch):
        """Returns the fakes for D's update, some of them earlier ones if there is a buffer."""
        if not self.replay:
            return fake
        return self.replay.mix(
            fake, self.args.replay_fraction, self.batch, self.seed(Purpose.REPLAY))

    def discriminator_loss(self, real_logits, fake_logits):
        """Returns the two parts of D's loss, on real images and on fakes.

        With `d_updates=apart` each part has an update of its own, and this method is not used.
        """
        return self._loss_on_real(real_logits), self._loss_on_fake(fake_logits)

    def generator_loss(self, real_logits, fake_logits):
        """Returns G's loss. `real_logits` is None unless `g_compares_both`."""
        targets = losses.sample_targets(
            self.args.g_labels, tf.shape(fake_logits)[0], self.seed(Purpose.G_LABELS))
        return self.g_loss(fake_logits, targets)

    def generator_terms(self, real, g_inputs, fake):
        """Returns further terms of G's loss: [(name in the logs, weight, value)].

        Args:
            real, fake: float32 [batch, rows, columns, channels] in [-1, 1].
            g_inputs: z, or photos of the same shape and range.
        """
        return []

    # ---- parts of the step

    def view(self, images, purpose):
        """Returns images as D sees them: augmented, with noise that fades.

        References: Zhao 2020, arXiv:2006.10738; ganhacks 13; kmualim 1.
        """
        args = self.args
        seed = self.seed(purpose)
        if args.augment:
            images = augment.apply(images, args.augment, seed)
        if args.instance_noise:
            faded = 0.0
            if args.instance_noise_batches:
                faded = tf.cast(self.batch, "float32") / args.instance_noise_batches
            shape = [tf.shape(images)[0], *images.shape[1:]]
            noise = randomness.normal(shape, tf.random.fold_in(seed, -1))
            images += args.instance_noise * tf.maximum(0.0, 1.0 - faded) * noise
        return images

    def image_logits(self, logits):
        """Returns D's logits of images, or of their patches, without those of classes."""
        if self.classes:
            logits = logits[:, :1]
        return tf.cast(logits, "float32")

    def _loss_on_real(self, logits):
        args = self.args
        targets = losses.sample_targets(
            args.real_labels, tf.shape(logits)[0], self.seed(Purpose.REAL_LABELS),
            others=args.fake_labels, flip=args.label_flip)
        return self.d_loss_real(logits, targets)

    def _loss_on_fake(self, logits):
        args = self.args
        targets = losses.sample_targets(
            args.fake_labels, tf.shape(logits)[0], self.seed(Purpose.FAKE_LABELS),
            others=args.real_labels, flip=args.label_flip)
        return self.d_loss_fake(logits, targets)

    def _terms_on_real(self, logits, labels, real):
        """Returns further terms of D's loss on real images.

        D learns classes on real images alone: on fakes it would learn to recognize the class that
        G was asked for [keras.io ACGAN].
        """
        terms = []
        if self.classes:
            class_loss = losses.class_cross_entropy(logits[:, 1:], labels)
            terms.append(("d_loss_class", 1.0, class_loss))
        if self.args.r1_weight:
            weight = self.args.r1_weight * self.args.r1_every
            terms.append(("r1", weight, self._r1(real)))
        return terms

    def _r1(self, real):
        """Returns the R1 penalty in every `r1_every`-th batch, and 0 in the others.

        Its second derivatives are costly, and D changes little from batch to batch [Karras 2019].
        """
        every = self.args.r1_every
        if every == 1:
            return losses.r1(self.discriminator, real)
        is_due = (tf.convert_to_tensor(self.batch) + 1) % every == 0
        return tf.cond(
            is_due,
            lambda: losses.r1(self.discriminator, real),
            lambda: tf.constant(0.0))

    def _terms_on_fake(self, real, fake):
        """Returns further terms of D's loss on fakes.

        Papers add up the two parts of D's loss, here D minimizes their mean. A penalty belongs to
        one part, so it is halved too.
        """
        if not self.args.gradient_penalty:
            return []
        penalty = losses.gradient_penalty(
            self.discriminator, real, fake, self.seed(Purpose.PENALTY))
        return [("gradient_penalty", self.args.gradient_penalty, penalty)]

    def _update_d_apart(self, real_view, labels, fake_view):
        """Updates D twice, on real images and then on fakes [forcecore gan.py]; returns the logs.

        The logged gradient norm is the greater one.
        """
        d, logs = self.discriminator, {}
        with tf.GradientTape() as tape:
            logits = d(real_view, training=True)
            loss = logs["d_loss_real"] = self._loss_on_real(self.image_logits(logits))
            loss = add_terms(loss, self._terms_on_real(logits, labels, real_view), logs)
            loss = self.d_optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, d.trainable_variables)
        real_norm = self._update(self.d_optimizer, gradients, d.trainable_variables)

        with tf.GradientTape() as tape:
            logits = d(fake_view, training=True)
            loss = logs["d_loss_fake"] = self._loss_on_fake(self.image_logits(logits))
            loss = self.d_optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, d.trainable_variables)
        fake_norm = self._update(self.d_optimizer, gradients, d.trainable_variables)

        logs["d_gradient_norm"] = tf.maximum(real_norm, fake_norm)
        return logs

    def _update_g(self, gradients):
        """Applies the gradients of G's update; returns the norm of those of G's own weights.

        In the first `warmup_batches` D learns alone. Gradients of 0 then leave G as it is, and the
        moments of its optimizer at 0. The step count of the optimizer is set back.
        """
        variables = self.g_step_variables
        norm = self._gradient_norm(
            self.g_optimizer, gradients[:len(self.generator.trainable_variables)])
        if not self.args.warmup_batches:
            self._apply(self.g_optimizer, gradients, variables)
            return norm
        learns = tf.convert_to_tensor(self.batch) >= self.args.warmup_batches
        gradients = [tf.where(learns, gradient, 0.0) for gradient in gradients]
        self._apply(self.g_optimizer, gradients, variables)
        iterations = step_count(self.g_optimizer)
        iterations.assign_sub(tf.cast(~learns, iterations.dtype))
        return norm

    def _update(self, optimizer, gradients, variables):
        """Applies gradients and returns their Euclidean norm."""
        norm = self._gradient_norm(optimizer, gradients)
        self._apply(optimizer, gradients, variables)
        return norm

    def _gradient_norm(self, optimizer, gradients):
        """Returns the norm of gradients of a loss that `optimizer` scaled.

        With several devices it is the norm of this device's gradients. An overflow in float16,
        which the optimizer skips, counts as 0.
        """
        norm = tf.linalg.global_norm(gradients) / optimizer.scale_loss(tf.constant(1.0))
        if self.args.precision == "mixed_float16":
            norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
        return norm

    def _apply(self, optimizer, gradients, variables):
        """Applies gradients, in every update of D and G, and counts those the optimizer skipped."""
        iterations = step_count(optimizer)
        before = tf.identity(iterations)
        devices.apply(optimizer, gradients, variables)
        self.skipped.assign_add(tf.cast(1 + before - iterations, "int64"))

    # ---- sampling

    def seed(self, purpose, batch=None):
        """Returns the seed for a purpose in `batch`, by default the current one: int [2]."""
        return randomness.seed(self.args, purpose, self.batch if batch is None else batch)

    def sample_z(self, count, purpose=Purpose.Z, batch=None, labels=None):
        """Samples G's input: z, and behind it the one-hot classes if there are any.

        Args:
            count: number of rows.
            purpose: a `Purpose`.
            batch: int; the current batch by default.
            labels: int [count]; the classes in turn by default.

        Returns:
            float32 [count, latent_dim (+ classes)].
        """
        shape = [count, self.args.latent_dim]
        z = randomness.sample_z(self.args.latent, shape, self.seed(purpose, batch))
        if self.classes:
            if labels is None:
                labels = tf.range(count) % self.classes
            z = tf.concat([z, tf.one_hot(labels, self.classes)], 1)
        return z

    def interpolate(self, start, end, fractions):
        """Interpolates between two of G's inputs: z on the great circle, classes linearly.

        Args:
            start, end: float32 [latent_dim (+ classes)].
            fractions: of the way, [steps], in [0, 1].

        Returns:
            float32 [steps, latent_dim (+ classes)].
        """
        size = self.args.latent_dim
        z = latent.slerp(start[:size], end[:size], fractions)
        classes = latent.lerp(start[size:], end[size:], fractions)
        return tf.concat([z, classes], 1)

    def sample(self, z, batch=0):
        """Returns the images of z: float32 [count, *image_shape] in [-1, 1].

        The averaged generator makes them if there is one. Nothing that training depends on
        changes. Dropout that is active in G drops differently in each `batch`.
        """
        network = self.generator_ema or self.generator
        states = randomness.seed_states([network])
        moved = [(state, state + tf.constant([0, batch], state.dtype)) for state in states]
        with keras.StatelessScope(state_mapping=moved):
            return tf.cast(network(z, training=False), "float32")

    @tf.function
    def update_batch_norm(self):
        """Estimates the batch-norm statistics of the averaged generator on 256 z."""
        if self.generator_ema:
            ema.update_batch_norm(self.generator_ema, self.sample_z(256, Purpose.STATISTICS))


def counter():
    """Returns an int64 variable of value 0, equal on all devices."""
    return keras.Variable(0, dtype="int64", trainable=False, aggregation="only_first_replica")


def step_count(optimizer):
    """Returns the step count of an optimizer, which a LossScaleOptimizer keeps in its inner one."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer.iterations
    return optimizer.iterations


def add_terms(loss, terms, logs):
    """Adds terms, [(name, weight, value)], to a loss; notes their values in `logs`."""
    for name, weight, value in terms:
        logs[name] = value
        loss = loss + weight * value
    return loss
