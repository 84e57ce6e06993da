"""The base class of the callbacks that act at every dump."""
import keras


class Dump(keras.callbacks.Callback):
    """Calls `self.dump(batch, logs)` every `dump_every` batches and at the last batch.

    Args:
        args: the constants, a class.
        folder: Path of the existing folder that the callback writes to.

    Attributes:
        start: the number of batches that were trained before training started.
        batch: the number of batches trained so far.
    """

    def __init__(self, args, folder):
        super().__init__()
        self.args = args
        self.folder = folder

    def on_train_begin(self, logs=None):
        self.start = int(self.model.batch.numpy())
        self.batch = self.start
        self.last_dump = self.start

    def on_train_batch_end(self, step, logs=None):
        self.batch = self.start + step + 1
        self.logs = logs
        if self.batch % self.args.dump_every == 0:
            self._dump()

    def on_train_end(self, logs=None):
        if self.batch != self.last_dump:
            self._dump()

    def _dump(self):
        self.dump(self.batch, self.logs)
        self.last_dump = self.batch
