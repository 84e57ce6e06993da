"""Swaps an older checkpoint of G or D in, frozen, for a few batches [ganhacks 8]."""
import numpy as np

from models import devices
from training import checkpoints
from training.callbacks import Callback


def candidates(batch, args):
    """Returns the batches whose checkpoints a swap at `batch` may choose from, the oldest first.

    They follow from the batch and from what is kept, not from the files that are there: a run that
    was stopped and resumed chooses the same ones.
    """
    older = range(args.dump_every, batch, args.dump_every)
    return [number for number in older if checkpoints.is_kept(number, batch, args)]


class SwapCheckpoints(Callback):
    """Replaces G or D by an older checkpoint of itself, every `swap_every` batches for `swap_for`.

    A swap begins with an epoch and ends within it. If the epoch is stopped early, the resumed run
    continues the swap. `seed` and batch determine which checkpoint is swapped in. It is frozen: its
    optimizer has a learning rate of 0, and its moving averages are set back before each batch.

    Must be the first callback: it restores the current weights before they are saved.
    """

    def on_train_begin(self, logs=None):
        if self.args.swap_every and devices.strategy().cluster_resolver:
            raise ValueError("`swap_every` works on one machine only: the others have no "
                             "checkpoints to swap in. Set swap_every=0, or unset TF_CONFIG. "
                             f"Received: swap_every={self.args.swap_every}")
        self.current = []  # (variable, value) of all that the swap changed, to be restored
        self.frozen = []   # (variable, value) of the swapped-in network's moving averages

    def on_epoch_begin(self, epoch, logs=None):
        if not self.args.swap_every:
            return
        since_swap = self.batch % self.args.swap_every
        if self.batch >= self.args.swap_every and since_swap < self.args.swap_for:
            self._swap(self.batch - since_swap)
            self.remaining = self.args.swap_for - since_swap

    def on_train_batch_begin(self, step, logs=None):
        if self.current and self.remaining == 0:
            self._restore()
        elif self.current:
            assign(self.frozen)
            self.remaining -= 1

    def on_epoch_end(self, epoch, logs=None):
        self._restore()

    def _swap(self, batch):
        """Makes the swap that begins at `batch`, if there is an older checkpoint."""
        older = candidates(batch, self.args)
        if not older:
            return
        # A stream of its own: [seed, batch] alone seeds the images' order in data.py.
        random = np.random.default_rng([self.args.seed, batch, 0, 1])
        name = random.choice(["generator", "discriminator"])
        chosen = older[random.integers(len(older))]

        gan = self.model
        if name == "generator":
            network, optimizer = gan.generator, gan.g_optimizer
        else:
            network, optimizer = gan.discriminator, gan.d_optimizer
        replaced = network.weights + list(optimizer.variables)  # with the learning rate
        if name == "generator" and gan.generator_ema:
            replaced += gan.generator_ema.weights  # they follow the swapped-in G
        self.current = values_of(replaced)

        checkpoints.load_network(
            name, network, checkpoints.checkpoint_path(self.folder, chosen))
        self.frozen = values_of(network.non_trainable_weights)
        optimizer.learning_rate = 0.0

    def _restore(self):
        assign(self.current)
        self.current = []
        self.frozen = []


def values_of(variables):
    """Returns (variable, value) of each of `variables`."""
    return [(variable, variable.numpy()) for variable in variables]


def assign(values):
    """Sets each variable of (variable, value) pairs to its value."""
    for variable, value in values:
        variable.assign(value)
