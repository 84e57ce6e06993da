import pathlib
import types

import numpy as np
import pytest
from conftest import tiny_preset
from fake_gan import FakeGAN, fit

import data
from models import devices
from training import callbacks, checkpoints, swap

ARGS = {"dump_every": 4, "swap_every": 8, "swap_for": 3, "keep_checkpoints": 4, "keep_every": 0}
# What a run of 48 batches with these constants and seed 0 swaps in: (network, its batch).
RECORDED = [("generator", 4), ("generator", 12), ("discriminator", 16), ("generator", 20),
            ("generator", 32)]


class Recorder(callbacks.Dump):
    """Notes all that training moves before and after each batch, and at each dump."""

    def __init__(self, args, folder):
        super().__init__(args, folder)
        self.before, self.after, self.dumped = {}, {}, {}

    def on_train_batch_begin(self, step, logs=None):
        self.before[self.start + step] = self.model.values()

    def on_train_batch_end(self, step, logs=None):
        super().on_train_batch_end(step, logs)
        self.after[self.batch] = self.model.values()

    def dump(self, batch, logs):
        self.dumped[batch] = self.model.values()


def train(args, folder, batches):
    """Trains a FakeGAN, from the newest checkpoint if there is one; returns it and a Recorder."""
    model = FakeGAN()
    found = checkpoints.checkpoints(folder)
    if found:
        checkpoints.load_checkpoint(model, found[-1])
    recorder = Recorder(args, folder)
    fit(model, [swap.SwapCheckpoints(args, folder), recorder,
                callbacks.DumpWeights(args, folder)], batches)
    return model, recorder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The FakeGAN and the Recorder of a run of 48 batches, with a swap at every 8th."""
    args = tiny_preset(**ARGS)
    return train(args, tmp_path_factory.mktemp("run"), 48)


def changed(before, after, part):
    """Returns whether the trainable weights (the first two) of a network differ."""
    return any(not np.array_equal(before[f"{part}/{index}"], after[f"{part}/{index}"])
               for index in (0, 1))


def swapped_network(recorder, batch):
    """Returns which network is replaced when `batch` begins, None where neither is."""
    for part in ("generator", "discriminator"):
        if changed(recorder.after[batch], recorder.before[batch], part):
            return part
    return None


def test_checkpoint_is_swapped_in_frozen_and_the_current_weights_come_back(run):
    model, recorder = run
    parts = []
    for start in range(8, 48, 8):
        part = swapped_network(recorder, start)
        other = "discriminator" if part == "generator" else "generator"
        parts.append(part)
        old = [recorder.dumped[batch] for batch in range(4, start, 4)]
        first = recorder.before[start]
        assert any(not changed(first, values, part) for values in old)
        for batch in range(start, start + 3):
            # It is the checkpoint, moving averages included, at each batch ...
            for index in range(4):
                name = f"{part}/{index}"
                assert np.array_equal(recorder.before[batch][name], first[name])
            # ... while the other network learns.
            assert changed(recorder.before[batch], recorder.after[batch + 1], other)
        # All that was replaced is back: weights, the averaged generator, the optimizer.
        prefixes = (part, f"{part[0]}_optimizer")
        for name, value in recorder.after[start + 3].items():
            if name.startswith(prefixes):
                assert np.array_equal(value, recorder.after[start][name]), name
        # And it learns again.
        assert changed(recorder.before[start + 3], recorder.after[start + 4], part)
    assert set(parts) == {"generator", "discriminator"}
    assert float(model.g_optimizer.learning_rate) == 1.0
    assert float(model.d_optimizer.learning_rate) == 1.0


def test_no_checkpoint_is_swapped_in_at_other_batches(run):
    _, recorder = run
    for batch in range(1, 48):
        is_swap = batch >= 8 and batch % 8 == 0
        assert (swapped_network(recorder, batch) is not None) == is_swap


def test_without_swap_every_nothing_is_replaced(here, tiny):
    _, with_callback = train(tiny(**ARGS | {"swap_every": 0}), here, 12)
    alone = FakeGAN()
    fit(alone, [], 12)
    for name, value in alone.values().items():
        assert np.array_equal(with_callback.after[12][name], value), name


def choices(recorder, batches):
    """Returns (network, batch of the checkpoint) of each swap of a run."""
    found = []
    for start in range(8, batches, 8):
        part = swapped_network(recorder, start)
        same = [batch for batch in range(4, start, 4)
                if not changed(recorder.before[start], recorder.dumped[batch], part)]
        found.append((part, same[0]))
    return found


def test_same_seed_chooses_the_same_checkpoints_in_every_version(run):
    """The choices were recorded: other versions must reproduce the runs of this one."""
    assert choices(run[1], 48) == RECORDED


def test_another_seed_chooses_other_checkpoints(here, tiny):
    _, recorder = train(tiny(**ARGS, seed=1), here, 32)
    assert choices(recorder, 32) != RECORDED[:3]


def test_swap_goes_on_after_a_dump_in_the_middle_of_it(here, tiny):
    """The dump is of the current weights, and the same checkpoint is swapped in again."""
    args = tiny(**ARGS | {"swap_every": 6, "keep_checkpoints": 3})
    _, recorder = train(args, here, 36)
    for start in (18, 30):  # dumps are at 20, 32
        part = swapped_network(recorder, start)
        assert part is not None
        assert not changed(recorder.after[start], recorder.dumped[start + 2], part)
        assert not changed(recorder.before[start], recorder.before[start + 2], part)


def test_run_stopped_in_a_swap_resumes_bit_for_bit(here, tiny):
    args = tiny(**ARGS | {"keep_checkpoints": 2})
    whole, _ = train(args, here / "whole", 28)
    for stop in (9, 10, 17, 28):  # the first three within a swap
        resumed, _ = train(args, here / "stopped", stop)
    for name, value in whole.values().items():
        assert np.array_equal(resumed.values()[name], value), name


def found_by(args, batches, at, monkeypatch):
    paths = [pathlib.Path(f"weights/{batch:06d}") for batch in batches]
    monkeypatch.setattr(checkpoints, "checkpoints", lambda folder: paths)
    return [checkpoints.batch_of(path) for path in swap.candidates(None, at, args)]


def test_candidates_are_older_and_of_regular_dumps(tiny, monkeypatch):
    args = tiny(**ARGS)
    assert found_by(args, [4, 7, 8], 8, monkeypatch) == [4]
    assert found_by(args, [8, 12, 13, 16, 20], 16, monkeypatch) == [8, 12]


def test_candidates_exist_until_the_swap_ends(tiny, monkeypatch):
    args = tiny(**ARGS | {"swap_every": 6, "keep_checkpoints": 3})
    # The swap of the batches 18, 19 and 20 has a dump at 20, which leaves 12, 16 and 20.
    assert found_by(args, [8, 12, 16], 18, monkeypatch) == [12, 16]
    # That of 24, 25 and 26 has none: 24 is written before.
    assert found_by(args, [16, 20, 24], 24, monkeypatch) == [16, 20]
    args = tiny(**ARGS | {"swap_every": 6, "keep_checkpoints": 3, "keep_every": 8})
    assert found_by(args, [8, 12, 16], 18, monkeypatch) == [8, 12, 16]


def test_checkpoint_that_cannot_be_read_is_named(here, tiny):
    args = tiny(**ARGS)
    train(args, here, 8)
    for name in ("generator", "discriminator"):
        (here / f"weights/000004/{name}.weights.h5").write_text("no weights")
    with pytest.raises(ValueError, match="000004"):
        train(args, here, 12)


def test_swaps_on_several_machines_are_refused(here, tiny, monkeypatch):
    cluster = types.SimpleNamespace(cluster_resolver=object())
    monkeypatch.setattr(devices, "strategy", lambda: cluster)
    with pytest.raises(ValueError, match="`swap_every`.*Received: swap_every=8"):
        train(tiny(**ARGS), here, 8)
    train(tiny(**ARGS | {"swap_every": 0}), here, 4)


@pytest.mark.slow
def test_training_stopped_in_a_swap_resumes_bit_for_bit(toys, tiny):
    import gan
    args = {"dump_every": 4, "swap_every": 8, "swap_for": 3, "d_dropout": 0.3,
            "keep_checkpoints": 4}
    gan.train_gan(tiny(name="whole", batches=20, **args))
    gan.train_gan(tiny(name="stopped", batches=17, **args))
    gan.train_gan(tiny(name="stopped", batches=20, **args))
    whole, resumed = (toys / "runs" / name for name in ("whole", "stopped"))
    rows = (resumed / "loss.csv").read_text().splitlines()
    assert set((whole / "loss.csv").read_text().splitlines()) <= set(rows)
    for path in (whole / "weights/000020").iterdir():
        one, other = arrays(path), arrays(resumed / "weights/000020" / path.name)
        assert one.keys() == other.keys() and one
        for name, value in one.items():
            assert np.array_equal(other[name], value), (path.name, name)


def arrays(path):
    """Returns {name: array} of an HDF5 file."""
    found = {}

    def add(name, item):
        if isinstance(item, data.h5py.Dataset):
            found[name] = item[()]

    with data.h5py.File(path) as file:
        file.visititems(add)
    return found
