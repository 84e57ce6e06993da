"""Swaps an older checkpoint of G or D in, frozen, for a few batches [ganhacks 8]."""
import keras
import numpy as np

from models import devices
from training import checkpoints
from training.checkpoints import batch_of, is_kept_for_good, is_regular


def exists_until_swap_ends(checkpoint, batch, args):
    """Returns whether a checkpoint is still there when the swap that begins at `batch` ends.

    A dump within the swap removes the oldest of the newest `keep_checkpoints`. A run that is
    resumed behind that dump must choose the same checkpoint again, so it must not be that one.
    """
    dumps = (batch + args.swap_for - 1) // args.dump_every  # before the last batch of the swap
    oldest = (dumps - args.keep_checkpoints + 1) * args.dump_every
    return batch_of(checkpoint) >= oldest or is_kept_for_good(checkpoint, args)


def candidates(folder, batch, args):
    """Returns the checkpoints in `folder` that a swap at `batch` may choose, oldest first.

    They are the same whether or not the run was stopped and resumed: those which were written
    because it stopped are not among them.
    """
    found = []
    for checkpoint in checkpoints.checkpoints(folder):
        is_older = batch_of(checkpoint) < batch
        if (is_older and is_regular(checkpoint, args)
                and exists_until_swap_ends(checkpoint, batch, args)):
            found.append(checkpoint)
    return found


class SwapCheckpoints(keras.callbacks.Callback):
    """Replaces G or D by an older checkpoint of itself, every `swap_every` batches for `swap_for`.

    Which one follows from (seed, batch). It is frozen: its optimizer has a learning rate of 0, and
    what is updated otherwise, such as moving averages, is set back before the next batch.
    Before each dump the current weights, those of the averaged generator too, and the optimizer are
    restored, so that a run can be resumed in the middle of a swap.

    Must be the first callback.

    Args:
        args: the constants, a class.
        folder: Path of the run folder.

    Raises:
        ValueError: at the start of training on several machines. Only the chief keeps checkpoints.
    """

    def __init__(self, args, folder):
        super().__init__()
        self.args = args
        self.folder = folder

    def on_train_begin(self, logs=None):
        if self.args.swap_every and devices.strategy().cluster_resolver:
            raise ValueError("`swap_every` works on one machine only: the others have no "
                             "checkpoints to swap in. Set swap_every=0, or unset TF_CONFIG. "
                             f"Received: swap_every={self.args.swap_every}")
        self.start = int(self.model.batch.numpy())
        self.current = []  # (variable, value) of all that the swap replaced, to be restored
        self.frozen = []   # (variable, value) of the swapped-in network's moving averages

    def on_train_batch_begin(self, step, logs=None):
        if not self.args.swap_every:
            return
        batch = self.start + step
        since_swap = batch % self.args.swap_every
        is_swapped = len(self.current) > 0
        if is_swapped:
            assign(self.frozen)
        elif batch >= self.args.swap_every and since_swap < self.args.swap_for:
            # Where since_swap is not 0, a dump has put the current weights back, or the run was
            # resumed: the swap goes on.
            self._swap(batch - since_swap)

    def on_train_batch_end(self, step, logs=None):
        if not self.current:
            return
        batch = self.start + step + 1
        swap_ends = batch % self.args.swap_every == self.args.swap_for
        will_dump = batch % self.args.dump_every == 0
        if swap_ends or will_dump:
            self._restore()

    def on_train_end(self, logs=None):
        self._restore()

    def _swap(self, batch):
        """Makes the swap that begins at `batch`; none where there is no older checkpoint."""
        checkpoints.wait()
        older = candidates(self.folder, batch, self.args)
        if not older:
            return
        random = np.random.default_rng([self.args.seed, batch])
        name = random.choice(["generator", "discriminator"])
        chosen = older[random.integers(len(older))]

        if name == "generator":
            optimizer = self.model.g_optimizer
        else:
            optimizer = self.model.d_optimizer
        replaced = list(optimizer.variables)
        for key, network in self.model.networks.items():
            if key.startswith(name):  # the averaged generator's too: it follows the swapped-in G
                replaced.extend(network.weights)
        self.current = values_of(replaced)

        network = self.model.networks[name]
        checkpoints.load_weights(network, chosen / f"{name}.weights.h5")
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
