"""The steps of recipes to compare with: forcecore's two updates of D, and D that learns first."""
import keras
import tensorflow as tf

from models.adversarial import GAN, weighted_sum
from models.randomness import Purpose


class WarmUp(GAN):
    """A GAN in which D learns alone in the first `warmup_batches` [forcecore]."""

    def update(self, optimizer, tape, loss, variables):
        """Applies gradients as `GAN.update` does, but G's are 0 in the warm-up.

        An update with gradients of 0 leaves G as it is, and Adam's moments at 0. The optimizer's
        step count is set back.
        """
        if optimizer is self.d_optimizer:
            return super().update(optimizer, tape, loss, variables)
        learns = tf.convert_to_tensor(self.batch) >= self.args.warmup_batches
        with tape:
            loss = tf.where(learns, loss, 0.0)
        norm = super().update(optimizer, tape, loss, variables)
        optimizer.iterations.assign_sub(tf.cast(~learns, optimizer.iterations.dtype))
        return norm


class Forcecore(WarmUp):
    """The original's step: two updates of D, on real images and on fakes, then one of G.

    With `g_step_moves_d`, G's update trains D too: the original compiled the stack of G and D
    before it froze D.
    """

    @property
    def g_variables(self):
        variables = self.generator.trainable_variables
        if self.args.g_step_moves_d:
            variables = variables + self.discriminator.trainable_variables
        return variables

    def train_step(self, batch):
        """Trains on one batch: an update of D on real images, one on fakes, then one of G."""
        real, labels, inputs = self.unpack(batch)
        d_variables = self.discriminator.trainable_variables

        with tf.GradientTape() as g_tape:
            fake = tf.cast(self.generator(inputs, training=True), "float32")
        real_view = self.view(real, Purpose.REAL_VIEW)
        fake_view = self.view(self.fakes_to_judge(fake, batch), Purpose.FAKE_VIEW)

        # The terms have weights of .5, for the mean of both parts. Here each part is a loss of its
        # own.
        with tf.GradientTape() as real_tape:
            real_terms = self.d_terms_on_real(real_view, labels)
            real_loss = 2.0 * weighted_sum(real_terms)
        real_norm = self.update(self.d_optimizer, real_tape, real_loss, d_variables)

        with tf.GradientTape() as fake_tape:
            fake_terms = self.d_terms_on_fake(real_view, fake_view)
            fake_loss = 2.0 * weighted_sum(fake_terms)
        fake_norm = self.update(self.d_optimizer, fake_tape, fake_loss, d_variables)

        with g_tape, keras.StatelessScope():
            g_terms = self.g_terms(real, real_view, fake, inputs, labels)
            g_loss = weighted_sum(g_terms)
        g_norm = self.update(self.g_optimizer, g_tape, g_loss, self.g_variables)

        # Of D's two updates the larger norm is logged: it tells whether gradients explode.
        return self.finish_step(
            real_terms + fake_terms + g_terms, tf.maximum(real_norm, fake_norm), g_norm)
