import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import args as constants
import callbacks
import data
import gan
import models


@pytest.fixture
def toys(here, tiny):
    """A folder with toyfaces.hdf5."""
    data.make(tiny())
    return here


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_fills_its_folder(toys, tiny):
    gan.train_gan(tiny(pretrain_batches=0))
    run = toys / "runs/toyfaces"
    assert names(run) == ["args.json", "dump.png", "film.webp", "loss.csv", "loss.png", "reals.png", "samples",
                          "weights"]
    assert names(run / "samples") == ["000002.png", "000004.png"]
    assert names(run / "weights") == ["000002", "000004"]
    assert names(run / "weights/000004") == ["discriminator.weights.h5", "generator.weights.h5",
                                             "generator_ema.weights.h5", "training.weights.h5"]
    assert json.loads((run / "args.json").read_text())["generator_filters"] == [16, 16, 8, 8]
    rows = (run / "loss.csv").read_text().splitlines()
    assert rows[0] == "batch,d_loss_real,d_loss_fake,g_loss" and [row.split(",")[0] for row in rows[1:]] == ["2", "4"]
    assert (run / "dump.png").read_bytes() == (run / "samples/000004.png").read_bytes()
    assert Image.open(run / "dump.png").size == (4 * 64, 2 * 64)
    assert Image.open(run / "film.webp").n_frames == 2
    reals = np.asarray(Image.open(run / "reals.png"))[:64, :64]
    assert (reals == data.denormalize(next(data.batches(tiny()))[0])).all()


def test_without_an_average_none_is_kept(toys, tiny):
    gan.train_gan(tiny(ema_decay=0.0, batches=2))
    assert names(toys / "runs/toyfaces/weights/000002") == ["discriminator.weights.h5", "generator.weights.h5",
                                                            "training.weights.h5"]


def test_the_last_batch_is_dumped_though_it_is_none_of_the_many(toys, tiny):
    gan.train_gan(tiny(batches=3))
    assert names(toys / "runs/toyfaces/weights") == ["000002", "000003"]


def test_the_newest_snapshots_stay_and_the_archived_for_good(toys, tiny):
    gan.train_gan(tiny(batches=8, dump_every=1, keep_snapshots=2, archive_every=3))
    assert names(toys / "runs/toyfaces/weights") == ["000003", "000006", "000007", "000008"]  # and no leftover


def test_a_half_written_snapshot_is_no_snapshot_and_is_swept_away(toys, tiny):
    args = tiny()
    torn = toys / "runs/toyfaces/weights/.000009.tmp"
    torn.mkdir(parents=True)
    assert callbacks.snapshots(toys / "runs/toyfaces") == []
    with callbacks.open_run(args, constants.constants(args)) as run:
        assert names(run / "weights") == []


@pytest.mark.parametrize("name", ["", ".", "..", "../elsewhere", "a/b", "/tmp"])
def test_a_name_is_that_of_one_folder(here, tiny, name):
    with pytest.raises(ValueError, match="`name` must be the name of a folder"):
        callbacks.run_folder(tiny(name=name))


def test_opening_a_run_sweeps_away_nothing_else(toys, tiny):
    args = tiny()
    (toys / "runs/toyfaces/.notes.tmp").mkdir(parents=True)
    with callbacks.open_run(args, constants.constants(args)) as run:
        assert (run / ".notes.tmp").exists()


def test_a_run_that_never_came_to_a_snapshot_may_begin_otherwise(toys, tiny):
    for args in tiny(), tiny(beta_1=0.9):
        with callbacks.open_run(args, constants.constants(args)) as run:
            assert json.loads((run / "args.json").read_text())["beta_1"] == args.beta_1


def test_snapshots_are_in_the_order_of_their_batches(here):
    for name in ("1000000", "999999", "000050", ".000060.tmp"):
        (here / "weights" / name).mkdir(parents=True)
    assert [path.name for path in callbacks.snapshots(here)] == ["000050", "999999", "1000000"]


def test_other_constants_are_refused_with_each_difference(toys, tiny):
    gan.train_gan(tiny(batches=2))
    with pytest.raises(ValueError) as error:
        gan.train_gan(tiny(batches=2, seed=1, beta_1=0.9))
    assert "begun with other constants" in str(error.value)
    assert "  seed: 0 in runs/toyfaces/args.json, 1 now" in str(error.value)
    assert "  beta_1: 0.5 in runs/toyfaces/args.json, 0.9 now" in str(error.value)
    assert "batches:" not in str(error.value)
    gan.train_gan(tiny(batches=3, dump_every=1, keep_snapshots=1))
    assert json.loads((toys / "runs/toyfaces/args.json").read_text())["batches"] == 3


def test_two_runs_on_one_name_are_refused(toys, tiny):
    args = tiny()
    code = ("import sys, args, callbacks\n"
            "with callbacks.open_run(args.ToyFaces, {}):\n    print('open', flush=True); sys.stdin.read()")
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=os.environ | {"PYTHONPATH": os.path.dirname(constants.__file__)})
    assert other.stdout.readline() == b"open\n"
    with pytest.raises(ValueError, match="runs/toyfaces is in use by another process.*name=toyfaces"):
        gan.train_gan(args)
    other.kill()
    other.wait()
    with callbacks.open_run(args, constants.constants(args)):
        pass


def test_rows_that_a_kill_undid_are_cut(toys, tiny):
    gan.train_gan(tiny(batches=4))
    path = toys / "runs/toyfaces/loss.csv"
    whole = path.read_text()
    path.write_text(whole + "6,0.5,0.5,0.5\n8,0.5,0.")  # what followed the snapshot, the last line torn
    gan.train_gan(tiny(batches=6))
    rows = path.read_text().splitlines()
    assert path.read_text().startswith(whole)
    assert [row.split(",")[0] for row in rows] == ["batch", "2", "4", "6"] and rows[3] != "6,0.5,0.5,0.5"


def test_what_is_not_finite_stops_the_run_before_it_is_saved(toys, tiny):
    with pytest.raises(callbacks.Diverged, match=r"Batch \d+: .*lower learning rates.*weights/000001"):
        gan.train_gan(tiny(name="sick", batches=50, dump_every=1, g_learning_rate=1e30, keep_snapshots=99,
                           d_learning_rate=0.0, ema_decay=0.0))
    run = toys / "runs/sick"
    assert (run / "health.log").read_text().startswith("Batch ")
    for snapshot in callbacks.snapshots(run):
        model = models.build(tiny(ema_decay=0.0))
        callbacks.load_snapshot(model, snapshot)
        assert all(np.isfinite(weight.numpy()).all() for weight in model.weights)


def test_a_loss_that_is_nan_names_itself(toys, tiny):
    watch = callbacks.FailureWatch(tiny(), toys)
    watch.set_model(models.build(tiny()))
    watch.on_train_begin()
    watch.on_train_batch_end(0, {"d_loss_real": 0.1, "g_loss": 15.0})
    with pytest.raises(callbacks.Diverged, match="Batch 2: g_loss is nan.*it had no snapshot yet"):
        watch.on_train_batch_end(1, {"d_loss_real": 0.1, "g_loss": float("nan")})
