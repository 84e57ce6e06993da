"""The GAN: a generator, a discriminator, and the step that trains both [Goodfellow 2014]."""
import keras
import tensorflow as tf

from models import augment, devices, ema, losses, randomness
from models.randomness import Purpose
from models.replay import ReplayBuffer
from models.sampler import Sampler


class GAN(keras.Model):
    """A generator G and a discriminator D that are trained against each other.

    A loss is a list of terms (name, weight, value). Another kind of GAN is a subclass that
    overrides `g_terms` or `d_terms`, names its own terms in `term_names`, and inherits the step.

    Args:
        args: the constants, a class of args.py.
        generator: maps z [batch, latent_dim (+ classes)] to images [batch, *image_shape] in
            [-1, 1].
        discriminator: maps images to logits [batch, 1 (+ classes)], high for real images. For
            `feature_matching` it has a layer named "features".
        classes: number of classes if `conditional`, else 0.

    Attributes:
        generator_ema: the averaged generator if `ema_decay` > 0, else None.
        replay: a `ReplayBuffer` if `replay_size` > 0, else None.
        batch: int64 variable, the number of batches trained so far.
        means: {name: keras.metrics.Mean} of each term and of both gradient norms, over the epoch.

    Raises:
        ValueError: if a replay buffer is asked for on several devices.
    """

    def __init__(self, args, generator, discriminator, classes=0):
        super().__init__()
        if args.replay_size and devices.count() > 1:
            raise ValueError("`replay_size` works on one device only. Set it to 0, or make one GPU "
                             "visible with CUDA_VISIBLE_DEVICES=0. Received: "
                             f"replay_size={args.replay_size}")
        self.args = args
        self.classes = classes
        self.generator = generator
        self.discriminator = discriminator
        self.generator_ema = ema.copy(generator) if args.ema_decay else None
        self.sampler = Sampler(args, self.generator_ema or generator, classes)
        self.replay = ReplayBuffer(args.replay_size, args.image_shape) if args.replay_size else None
        self.batch = counter()
        # Keras saves the seeds of layers such as Dropout only where a model refers to them.
        self.seeds = randomness.seed_states([generator, discriminator])
        self.d_loss_real, self.d_loss_fake, self.g_loss = losses.LOSSES[args.loss]
        if args.g_objective == "saturating":
            self.g_loss = losses.saturating
        if args.feature_matching:
            self.features = keras.Model(
                discriminator.input, discriminator.get_layer("features").output)
        names = (*self.term_names, "d_gradient_norm", "g_gradient_norm")
        self.means = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True  # all parts are built: without this Keras refuses to save and distribute

    def compile(self, d_optimizer, g_optimizer, jit_compile="auto"):
        """Sets both optimizers and builds them at once: unbuilt optimizers cannot be restored."""
        super().compile(optimizer=None, jit_compile=jit_compile)
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        d_optimizer.build(self.d_variables)
        g_optimizer.build(self.g_variables)

    @property
    def d_variables(self):
        """The variables that D's update trains."""
        return self.discriminator.trainable_variables

    @property
    def g_variables(self):
        """The variables that G's update trains."""
        return self.generator.trainable_variables

    @property
    def metrics(self):
        return list(self.means.values())

    # ---- the training step

    def train_step(self, batch):
        """Trains on one batch: one update of D, then one of G.

        Args:
            batch: real images, float32 [batch, rows, columns, channels] in [-1, 1]; if there are
                classes, (images, labels int [batch]).

        Returns:
            {name: scalar}: the terms of both losses (in nats if `loss` is cross_entropy) and the
            Euclidean norms of the gradients, as means over the epoch so far.
        """
        real, labels, inputs = self.unpack(batch)

        # G runs once for both updates. Its tape records how the images were made, D's does not.
        with tf.GradientTape() as g_tape:
            fake = tf.cast(self.generator(inputs, training=True), "float32")

        # (1) Update D: maximize log D(x) + log(1 - D(G(z))).
        real_view = self.view(real, Purpose.REAL_VIEW)
        fake_view = self.view(self.fakes_to_judge(fake, batch), Purpose.FAKE_VIEW)
        with tf.GradientTape() as d_tape:
            d_terms = self.d_terms(real_view, fake_view, labels)
            d_loss = weighted_sum(d_terms)
        d_norm = self.update(self.d_optimizer, d_tape, d_loss, self.d_variables)

        # (2) Update G: maximize log D(G(z)).
        # G's tape resumes recording. The scope discards what this pass changes in D, such as the
        # moving averages of batch norm.
        with g_tape, keras.StatelessScope():
            g_terms = self.g_terms(real, real_view, fake, inputs, labels)
            g_loss = weighted_sum(g_terms)
        g_norm = self.update(self.g_optimizer, g_tape, g_loss, self.g_variables)

        return self.finish_step(d_terms + g_terms, d_norm, g_norm)

    def d_terms(self, real_view, fake_view, labels):
        """Returns the terms of D's loss: [(name, weight, value)].

        D gets real and fake images in separate batches, as batch norm must not mix them
        [ganhacks 4]. D minimizes the mean of both losses [scratch 1]: hence the factor 0.5 in all
        weights.

        Args:
            real_view, fake_view: images as D sees them, float32 [batch, rows, columns, channels].
            labels: int [batch], None without classes.
        """
        return self.d_terms_on_real(real_view, labels) + self.d_terms_on_fake(real_view, fake_view)

    def d_terms_on_real(self, real_view, labels):
        """Returns the terms that need real images alone. See `d_terms`."""
        args, d = self.args, self.discriminator
        logits = d(real_view, training=True)
        loss = self.d_loss_real(self.image_logits(logits), self.real_targets(logits))
        terms = [("d_loss_real", 0.5, loss)]
        if self.classes:
            # Not on fakes: D would learn to recognize what G makes for a class, right or wrong
            # [mnist_acgan].
            class_loss = losses.class_cross_entropy(logits[:, 1:], labels)
            terms.append(("d_loss_class", 0.5, class_loss))
        if args.r1_weight:
            # Every `r1_every` batches, with `r1_every` times the weight, so that its mean over the
            # batches is the same: second derivatives are costly, and D changes little from batch to
            # batch [Karras 2019 appendix B].
            if args.r1_every == 1:
                penalty = losses.r1(d, real_view)
            else:
                scale = self.d_optimizer.scale_loss(tf.constant(1.0))  # 1, except in float16
                penalty = losses.r1_now_and_then(d, real_view, self.is_due("r1"), scale)
            terms.append(("r1", 0.5 * args.r1_weight * args.r1_every, penalty))
        return terms

    def d_terms_on_fake(self, real_view, fake_view):
        """Returns the terms that need fakes; the gradient penalty needs real images, too."""
        args, d = self.args, self.discriminator
        logits = d(fake_view, training=True)
        loss = self.d_loss_fake(self.image_logits(logits), self.fake_targets(logits))
        terms = [("d_loss_fake", 0.5, loss)]
        if args.gradient_penalty:
            penalty = losses.gradient_penalty(d, real_view, fake_view, self.seed(Purpose.PENALTY))
            terms.append(("gradient_penalty", 0.5 * args.gradient_penalty, penalty))
        return terms

    def g_terms(self, real, real_view, fake, inputs, labels):
        """Returns the terms of G's loss: [(name, weight, value)].

        Args:
            real, real_view: real images, and as D sees them, float32 [batch, rows, columns,
                channels] in [-1, 1].
            fake: G's images of the same shape.
            inputs: G's inputs, [batch, latent_dim (+ classes)].
            labels: int [batch], None without classes.
        """
        args = self.args
        fake_view = self.view(fake, Purpose.SECOND_VIEW)  # augmented anew
        logits = self.discriminator(fake_view, training=True)
        loss = self.g_loss(self.image_logits(logits), self.g_targets(logits))
        terms = [("g_loss", 1.0, loss)]
        if self.classes:
            class_loss = losses.class_cross_entropy(logits[:, 1:], labels)
            terms.append(("g_loss_class", 1.0, class_loss))
        if args.feature_matching:
            distance = losses.feature_distance(
                self.features(real_view, training=True), self.features(fake_view, training=True))
            terms.append(("feature_distance", args.feature_matching, distance))
        return terms

    @property
    def term_names(self):
        """Names of the terms of both losses, in reading order."""
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
        return names

    def update(self, optimizer, tape, loss, variables):
        """Applies the gradients of a loss to variables, and returns their Euclidean norm.

        In float16 the loss and its gradients are scaled; `optimizer.apply` removes the scale. On
        several devices the logged norm is the mean over the devices, each of its own share of the
        batch.
        """
        with tape:  # records the scaling, too
            scaled_loss = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, variables)
        scale = optimizer.scale_loss(tf.constant(1.0))  # 1, except in float16
        norm = tf.linalg.global_norm(gradients) / scale
        devices.apply(optimizer, gradients, variables)
        return tf.where(tf.math.is_finite(norm), norm, 0.0)  # after an overflow of float16

    def finish_step(self, terms, d_norm, g_norm):
        """Updates the averaged generator, the number of batches and the means; returns the means.
        """
        for name, _, value in terms:
            weight = tf.cast(self.is_due(name), "float32")  # 0 skips batches without the term
            self.means[name].update_state(value, sample_weight=weight)
        self.means["d_gradient_norm"].update_state(d_norm)
        self.means["g_gradient_norm"].update_state(g_norm)
        self.batch.assign_add(1)
        if self.generator_ema:
            ema.update(self.generator_ema, self.generator, self.args.ema_decay, self.batch)
        return devices.logs(self.get_metrics_result())

    # ---- parts of the step

    def unpack(self, batch):
        """Returns a batch's real images, their labels or None, and newly sampled inputs of G."""
        if self.classes:
            real, labels = batch
        else:
            real, labels = batch, None
        return real, labels, self.sample_z(tf.shape(real)[0], labels=labels)

    def fakes_to_judge(self, fake, batch):
        """Returns the fakes for D's update, some from the replay buffer if there is one.

        A subclass may take others from `batch`, what `train_step` received.
        """
        if not self.replay:
            return fake
        return self.replay.mix(
            fake, self.args.replay_fraction, self.batch, self.seed(Purpose.REPLAY))

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
        """Returns the real-or-fake logits, of images or of their patches, without the classes'."""
        if self.classes:
            logits = logits[:, :1]
        return tf.cast(logits, "float32")

    def real_targets(self, logits):
        """Samples D's targets of real images, some of them flipped: float32 [batch, 1]."""
        args = self.args
        return losses.sample_targets(
            args.real_labels, tf.shape(logits)[0], self.seed(Purpose.REAL_LABELS),
            args.fake_labels, args.label_flip)

    def fake_targets(self, logits):
        """Samples D's targets of fakes, some of them flipped: float32 [batch, 1]."""
        args = self.args
        return losses.sample_targets(
            args.fake_labels, tf.shape(logits)[0], self.seed(Purpose.FAKE_LABELS),
            args.real_labels, args.label_flip)

    def g_targets(self, logits):
        """Samples the targets of fakes in G's loss: float32 [batch, 1]."""
        return losses.sample_targets(
            self.args.g_labels, tf.shape(logits)[0], self.seed(Purpose.G_LABELS))

    def is_due(self, name):
        """Returns whether a term is computed in the current batch, a bool tensor."""
        every = self.args.r1_every if name == "r1" else 1
        return (tf.convert_to_tensor(self.batch) + 1) % every == 0

    # ---- sampling

    def seed(self, purpose):
        """Returns the seed for a purpose in the current batch: int [2]."""
        return randomness.seed(self.args, purpose, self.batch)

    def sample_z(self, count, purpose=Purpose.Z, batch=None, labels=None):
        """Samples G's inputs, by default of the current batch. See `Sampler.sample_z`."""
        return self.sampler.sample_z(
            count, purpose, self.batch if batch is None else batch, labels)

    def sample(self, z, batch=0):
        """Returns the images of z, by the averaged generator if any. See `Sampler.sample`."""
        return self.sampler.sample(z, batch)

    @tf.function
    def update_batch_norm(self):
        """Estimates, from 256 z, the batch-norm statistics of the generator that samples.

        Moving averages would lag behind the weights. pytorch/examples samples with the statistics
        of a batch, too.
        """
        ema.update_batch_norm(self.sampler.generator, self.sample_z(256, Purpose.STATISTICS))


def weighted_sum(terms):
    """Returns the sum of weight * value of terms, [(name, weight, value)]."""
    return sum(weight * value for _, weight, value in terms)


def counter():
    """Returns an int64 variable of value 0, equal on all devices."""
    return keras.Variable(0, dtype="int64", trainable=False, aggregation="only_first_replica")
