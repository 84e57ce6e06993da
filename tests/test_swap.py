"""Tests of swaps to an older checkpoint of G or D."""
import os
import signal
import types

import numpy as np
import pytest
import tensorflow as tf
from compare_runs import differences
from conftest import tiny_preset

import data
import gan
import models
from training import callbacks, checkpoints, swap

CHANGES = {"dump_every": 4, "swap_every": 8, "swap_for": 3, "keep_every": 0, "batches": 24}


class Recorder(callbacks.Callback):
    """Notes all that training moves, before and after each batch and at the end of each epoch."""

    def on_train_begin(self, logs=None):
        self.before, self.after, self.saved = {}, {}, {}

    def on_train_batch_begin(self, step, logs=None):
        self.before[self.batch] = values_of(self.model)

    def on_train_batch_end(self, step, logs=None):
        self.after[self.batch] = values_of(self.model)

    def on_epoch_end(self, epoch, logs=None):
        self.saved[self.batch] = values_of(self.model)


def values_of(model):
    """Returns {name: array} of both networks, the averaged generator and both optimizers."""
    parts = {"generator": model.generator.weights, "discriminator": model.discriminator.weights,
             "generator_ema": model.generator_ema.weights,
             "generator_optimizer": model.g_optimizer.variables,
             "discriminator_optimizer": model.d_optimizer.variables}
    return {f"{name} {index}": weight.numpy() for name, weights in parts.items()
            for index, weight in enumerate(weights)}


def changed(before, after, name):
    """Returns whether a part, such as "generator", differs."""
    return any(not np.array_equal(value, after[key])
               for key, value in before.items() if key.split()[0] == name)


def fit(model, folder, *more):
    """Trains a model, with a swap at every 8th batch, until it has learned its batches."""
    gan.fit(model.args, model, folder, model.args.batches,
            (swap.SwapCheckpoints, callbacks.SaveCheckpoint, *more))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with checkpoints from 0 to 24, its GAN, and what a Recorder has noted."""
    folder = tmp_path_factory.mktemp("run")
    args = tiny_preset(**CHANGES, data=str(folder / "toyfaces.hdf5"))
    data.make(args)
    model = models.build(args)
    recorder = Recorder(args, folder)
    model.save_weights(folder / "first.weights.h5")
    fit(model, folder, lambda args, folder: recorder)
    model.save_weights(folder / "last.weights.h5")
    return types.SimpleNamespace(folder=folder, model=model, recorder=recorder)


def swapped_network(recorder, batch):
    """Returns which network is changed when `batch` begins, None where neither is."""
    for name in ("generator", "discriminator"):
        if batch and changed(recorder.after[batch], recorder.before[batch], name):
            return name
    return None


def test_swaps_begin_at_every_8th_batch(run):
    """Before the next two batches the moving averages are set back, and then all of the network."""
    changed_before = [batch for batch in range(24) if swapped_network(run.recorder, batch)]
    assert changed_before == [8, 9, 10, 11, 16, 17, 18, 19]


@pytest.mark.parametrize("start", [8, 16])
def test_swapped_in_network_is_an_older_one_frozen_while_the_other_learns(run, start):
    recorder, name = run.recorder, swapped_network(run.recorder, start)
    other = "discriminator" if name == "generator" else "generator"
    first = recorder.before[start]
    older = [recorder.saved[batch] for batch in range(4, start, 4)]
    assert any(not changed(first, values, name) for values in older)
    for batch in range(start, start + 3):
        assert not changed(first, recorder.before[batch], name)  # moving averages, too
        assert changed(recorder.before[batch], recorder.after[batch + 1], other)


@pytest.mark.parametrize("start", [8, 16])
def test_current_weights_come_back_and_learn_again(run, start):
    recorder, name = run.recorder, swapped_network(run.recorder, start)
    parts = [name, f"{name}_optimizer"]
    if name == "generator":
        parts.append("generator_ema")
    for part in parts:
        assert not changed(recorder.after[start], recorder.before[start + 3], part), part
        assert changed(recorder.before[start + 3], recorder.after[start + 4], part), part


def test_run_that_is_stopped_in_a_swap_resumes_bit_for_bit(run):
    """By Ctrl-C after the batches 9 and 18, each within a swap."""
    class CtrlC(callbacks.Callback):
        def on_train_batch_begin(self, step, logs=None):
            if self.batch in (8, 17):
                os.kill(os.getpid(), signal.SIGINT)

    folder = run.folder / "stopped"
    folder.mkdir()
    run.model.load_weights(run.folder / "first.weights.h5")
    for batch in (9, 18):
        with pytest.raises(SystemExit):
            fit(run.model, folder, CtrlC)
        newest = checkpoints.checkpoints(folder)[-1]
        assert checkpoints.batch_of(newest) == batch
        run.model.load_weights(run.folder / "first.weights.h5")  # what is in memory is lost
        checkpoints.load_newest(run.model, folder)
    fit(run.model, folder)
    newest = checkpoints.checkpoints(folder)[-1]
    assert differences(newest, run.folder / "last.weights.h5") == []


@pytest.mark.parametrize("batch, keep_every, expected", [
    (4, 0, []), (8, 0, [4]), (16, 0, [8, 12]), (24, 0, [16, 20]), (24, 8, [8, 16, 20])])
def test_candidates_are_what_an_unstopped_run_keeps(tiny, batch, keep_every, expected):
    args = tiny(dump_every=4, keep_every=keep_every)
    assert swap.candidates(batch, args) == expected


@pytest.mark.parametrize("keep_every", [0, 8, 6])
def test_candidates_exist_wherever_the_run_was_stopped(tiny, keep_every):
    args = tiny(dump_every=4, swap_every=8, swap_for=3, keep_every=keep_every)
    for number in range(50):
        stops = np.random.default_rng(number).choice(np.arange(1, 48), 6, replace=False)
        existing = []
        for batch in range(1, 49):
            if batch % 4 and batch not in stops:
                continue
            existing.append(batch)
            existing = [kept for kept in existing if checkpoints.is_kept(kept, batch, args)]
            if batch % 8 < 3:  # the next epoch begins with a swap, or within one
                needed = swap.candidates(batch - batch % 8, args)
                assert set(needed) <= set(existing), (stops, batch)


def test_seed_decides_what_is_swapped_in(run, monkeypatch):
    def chosen(seed):
        found = []
        monkeypatch.setattr(checkpoints, "load_network",
                            lambda name, network, path: found.append((name, path.name)))
        callback = swap.SwapCheckpoints(tiny_preset(**CHANGES, seed=seed), run.folder)
        callback.set_model(run.model)
        for batch in range(16, 80, 8):
            callback.on_train_begin()
            run.model.batch.assign(batch)
            callback.on_epoch_begin(0)
            callback.on_epoch_end(0)
        return found

    assert chosen(0) == chosen(0) != chosen(1)
    assert {name for name, _ in chosen(0)} == {"generator", "discriminator"}


def test_swaps_have_a_random_stream_of_their_own(run, monkeypatch):
    seeds = []
    default_rng = np.random.default_rng

    def record(seed):
        seeds.append(seed)
        return default_rng(seed)

    monkeypatch.setattr(np.random, "default_rng", record)
    monkeypatch.setattr(checkpoints, "load_network", lambda *arguments: None)
    callback = swap.SwapCheckpoints(tiny_preset(**CHANGES), run.folder)
    callback.set_model(run.model)
    callback.on_train_begin()
    run.model.batch.assign(16)
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0)
    of_swap = np.random.SeedSequence(*seeds).generate_state(4)
    of_order = np.random.SeedSequence([0, 16]).generate_state(4)  # of the images in pass 16
    assert (of_swap != of_order).any()


def test_swaps_on_several_machines_are_refused(tiny, monkeypatch):
    cluster = types.SimpleNamespace(cluster_resolver=tf)
    monkeypatch.setattr(swap.devices, "strategy", lambda: cluster)
    with pytest.raises(ValueError, match="`swap_every`"):
        swap.SwapCheckpoints(tiny(**CHANGES), None).on_train_begin()
