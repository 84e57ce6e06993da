"""The base class of the callbacks that act at every dump."""
import keras

from training import checkpoints


class Dump(keras.callbacks.Callback):
    """Calls `self.dump(batch, logs)` every `dump_every` batches and at the last batch.

    `dump` passes slow work to `self.write`.

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
        self.writing = []  # futures of what was given to `write`

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
        self.finish_writing()

    def _dump(self):
        self.finish_writing()
        self.dump(self.batch, self.logs)
        self.last_dump = self.batch

    def write(self, function, *arguments):
        """Calls `function(*arguments)` in the thread that writes files, while training continues.

        All callbacks share the thread: it makes their calls one after the other, in order. An error
        is raised at the next dump, or at the end of training. Training must not change the
        arguments until then.
        """
        self.writing.append(checkpoints.WRITER.submit(function, *arguments))

    def finish_writing(self):
        """Waits until all calls given to `write` have been made, and raises their first error."""
        for call in self.writing:
            call.result()
        self.writing = []
