import json
import os
import re
import subprocess
import sys
import time
import warnings

import h5py
import numpy as np
import pytest
import tensorflow as tf
from conftest import TINY
from PIL import Image

import args as constants
import callbacks
import data
import gan
import models
from models import toyfaces


@pytest.fixture
def toys(here, tiny):
    """A folder with toyfaces.hdf5."""
    data.make(tiny())
    return here


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_fills_its_folder(toys, tiny):
    gan.train_gan(tiny(g_learning_rate=0.01))
    run = toys / "runs/toyfaces"
    assert [name for name in names(run) if name not in (".lock", "tensorboard")] == [
        "args.json", "dump.png", "film.webp", "loss.csv", "loss.png", "reals.png", "samples", "weights"]
    assert names(run / "samples") == ["000002.png", "000004.png"]
    assert names(run / "weights") == ["000002", "000004"]
    assert names(run / "weights/000004") == ["SHA256SUMS", "discriminator.weights.h5", "generator.weights.h5",
                                             "generator_ema.weights.h5", "training.weights.h5"]
    assert json.loads((run / "args.json").read_text())["generator_filters"] == [8, 8]
    rows = (run / "loss.csv").read_text().splitlines()
    assert rows[0] == "batch,d_loss_real,d_loss_fake,g_loss,d_gradient_norm,g_gradient_norm"
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "4"]
    assert (run / "dump.png").read_bytes() == (run / "samples/000004.png").read_bytes()
    assert Image.open(run / "dump.png").size == (4 * 64, 2 * 64)
    assert Image.open(run / "film.webp").n_frames == 2
    reals = np.asarray(Image.open(run / "reals.png"))[:64, :64]
    assert (reals == data.open_faces(tiny())[:]).all((1, 2, 3)).sum() == 1  # it is one of them


def test_without_an_average_none_is_kept(toys, tiny):
    gan.train_gan(tiny(ema_decay=0.0, batches=2))
    assert names(toys / "runs/toyfaces/weights/000002") == ["SHA256SUMS", "discriminator.weights.h5",
                                                            "generator.weights.h5", "training.weights.h5"]


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
        gan.train_gan(tiny(batches=2, seed=1, beta_1=0.9, jit_compile="off"))
    assert "begun with other constants" in str(error.value)
    assert "  seed: 0 in runs/toyfaces/args.json, 1 now" in str(error.value)
    assert "  jit_compile: 'auto' in" in str(error.value)  # XLA draws other random numbers
    assert "  beta_1: 0.5 in runs/toyfaces/args.json, 0.9 now" in str(error.value)
    assert "batches:" not in str(error.value)
    gan.train_gan(tiny(batches=3, dump_every=1, keep_snapshots=1))
    assert json.loads((toys / "runs/toyfaces/args.json").read_text())["batches"] == 3


def test_a_run_goes_on_with_the_images_it_was_begun_with(toys, tiny):
    gan.train_gan(tiny(batches=2))
    before = (toys / "runs/toyfaces/args.json").read_text()
    os.remove("toyfaces.hdf5")
    data.make(tiny(seed=1))
    with pytest.raises(ValueError, match="begun with other images.*Received: data=toyfaces.hdf5"):
        gan.train_gan(tiny())
    assert (toys / "runs/toyfaces/args.json").read_text() == before
    os.remove("toyfaces.hdf5")
    data.make(tiny())  # the same, made anew
    gan.train_gan(tiny())


@pytest.mark.parametrize("content, message", [
    (None, "has snapshots, but no args.json"), ("{", "must hold the constants.*as JSON"), ("[1]", "as JSON")])
def test_a_run_without_its_constants_is_refused(toys, tiny, content, message):
    gan.train_gan(tiny(batches=2))
    path = toys / "runs/toyfaces/args.json"
    path.write_text(content) if content else path.unlink()
    with pytest.raises(ValueError, match=message):
        gan.train_gan(tiny())


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a flipped bit": lambda snapshot: flip_a_bit(snapshot / "generator_ema.weights.h5"),
    "a truncated file": lambda snapshot: os.truncate(snapshot / "training.weights.h5", 1000),
    "a file that is missing": lambda snapshot: (snapshot / "discriminator.weights.h5").unlink(),
    "no checksums in their file": lambda snapshot: os.truncate(snapshot / "SHA256SUMS", 0),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_the_newest_snapshot_that_is_whole_is_gone_on_from(toys, tiny, damage, capsys):
    gan.train_gan(tiny(name="whole", batches=6))
    gan.train_gan(tiny())
    damage(toys / "runs/toyfaces/weights/000004")
    gan.train_gan(tiny(batches=6))
    printed = capsys.readouterr().out
    assert "runs/toyfaces/weights/000004/" in printed and "is damaged" in printed and "batch 3 to 6" in printed
    whole, resumed = (toys / "runs" / name for name in ("whole", "toyfaces"))
    assert (whole / "loss.csv").read_text() == (resumed / "loss.csv").read_text()
    assert not callbacks.damaged(resumed / "weights/000004")  # it was written anew


def test_where_all_snapshots_are_damaged_none_is_overwritten(toys, tiny):
    gan.train_gan(tiny(batches=2))
    flip_a_bit(toys / "runs/toyfaces/weights/000002/generator.weights.h5")
    before = (toys / "runs/toyfaces/loss.csv").read_text()
    for run in gan.train_gan, gan.generate:
        with pytest.raises(ValueError, match="All snapshots in runs/toyfaces are damaged"):
            run(tiny())
    assert (toys / "runs/toyfaces/loss.csv").read_text() == before
    with pytest.raises(ValueError, match="000002/generator.weights.h5 isn't"):
        gan.load_networks(models.build(tiny()), "runs/toyfaces/weights/000002")


def test_damaged_snapshots_push_no_whole_ones_out(toys, tiny):
    gan.train_gan(tiny(dump_every=1))
    for batch in "000003", "000004":
        flip_a_bit(toys / f"runs/toyfaces/weights/{batch}/generator.weights.h5")
    gan.train_gan(tiny(batches=3, dump_every=1, keep_snapshots=2, archive_every=0))
    assert names(toys / "runs/toyfaces/weights") == ["000002", "000003", "000004"]
    assert callbacks.newest(toys / "runs/toyfaces").name == "000003"


def test_nothing_is_started_from_a_damaged_snapshot(toys, tiny):
    gan.train_gan(tiny(dump_every=1))
    run = toys / "runs/toyfaces"
    flip_a_bit(run / "weights/000003/discriminator.weights.h5")
    watch = callbacks.FailureWatch(tiny(), run)
    watch.set_model(models.build(tiny()))
    assert watch._start_anew(3).endswith("/runs/toyfaces/weights/000002")


def test_a_file_that_the_user_put_beside_a_snapshot_stays(toys, tiny):
    gan.train_gan(tiny(batches=2))
    own = toys / "runs/toyfaces/weights/000002/mine.h5"
    own.write_text("notes")
    gan.train_gan(tiny())
    assert own.read_text() == "notes"


def test_checksums_are_those_of_sha256sum(toys, tiny):
    gan.train_gan(tiny(batches=2))
    snapshot = toys / "runs/toyfaces/weights/000002"
    assert subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=snapshot).returncode == 0


def test_two_runs_on_one_name_are_refused(toys, tiny):
    args = tiny()
    code = ("import sys, args, callbacks\n"
            "with callbacks.open_run(args.ToyFaces, {}):\n    print('open', flush=True); sys.stdin.read()")
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=os.environ | {"PYTHONPATH": os.path.dirname(constants.__file__)})
    assert other.stdout.readline() == b"open\n"
    with pytest.raises(ValueError, match=f"runs/toyfaces is in use by process {other.pid}.*name=toyfaces"):
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
    watch = callbacks.StopWhereNotFinite(tiny(), toys)
    watch.set_model(models.build(tiny()))
    watch.on_train_begin()
    watch.on_train_batch_end(0, {"d_loss_real": 0.1, "g_loss": 15.0})
    with pytest.raises(callbacks.Diverged, match="Batch 2: g_loss is nan.*a new start under another name"):
        watch.on_train_batch_end(1, {"d_loss_real": 0.1, "g_loss": float("nan")})


# ---- the watch

HEALTHY = {"d_loss_real": 0.5, "d_loss_fake": 0.2, "g_loss": 3.0, "d_gradient_norm": 10.0, "g_gradient_norm": 30.0}
FACES = data.normalize(toyfaces.sample(8)[0])


@pytest.fixture
def watched(toys, tiny):
    """watched(images, *losses, **constants): what the watch says of a run that is 100 batches long for each of
    `losses`, what differs from HEALTHY, and whose samples are `images`."""
    def lines(images, *losses, **constants):
        args = tiny(**({"name": "watched", "dump_every": 100} | constants))
        model = models.build(args)
        watch = callbacks.FailureWatch(args, toys)
        watch.set_model(model)
        watch.on_train_begin()
        model.samples = images
        for step in range(100 * len(losses)):
            watch.on_train_batch_end(step, HEALTHY | losses[step // 100])
        log = toys / "health.log"
        return log.read_text().splitlines() if log.exists() else []
    return lines


def alarms(lines):
    return [line for line in lines if not re.search("no alarm|healthy zone|catching up", line)]


def test_a_healthy_run_is_told_so_once(watched):
    lines = watched(FACES, {}, {}, {})
    assert len(lines) == 2 and alarms(lines) == []
    assert lines[0] == "Batch 100: no alarm. Noise before batch 1000 is normal [forcecore 5]"
    assert lines[1] == "Batch 100: G's loss is 3.00, in its healthy zone of 1 to 4 [forcecore 5]"


@pytest.mark.parametrize("images, said", [
    (np.full([8, 64, 64, 3], 0.3), "one uniform colour, with 0.00 of the contrast"),
    (np.full([8, 64, 64, 3], -0.94), "samples are black"),
    (np.repeat(FACES[:1], 8, 0), "samples are alike, by 0.00 as different .*feature_matching"),
    (np.repeat(FACES[:4], 2, 0), "samples are alike, by 0.00 as different"),  # four modes
    (np.sign(FACES), "samples are saturated: 100% of their values"),
])
def test_sick_images_are_named(watched, images, said):
    lines = watched(np.float32(images), {})
    assert re.search(said, lines[0]) and len(lines) == 1


@pytest.mark.parametrize("losses, said", [
    # The least that labels in (0.9, 1) and (0, 0.1) allow is the entropy of 0.05, 0.1985 nats.
    ([{"d_loss_real": 0.2, "d_loss_fake": 0.2}], "D's loss is near 0, 0.00[12] above what its labels cost"),
    ([{"g_loss": 15.1}], "g_loss 15.1 stays over 15"),
    ([{"g_loss": 3.0}, {"g_loss": 4.0}, {"g_loss": 4.6}], "G's loss rises, 4.60, from 3.00 200 batches ago"),
    ([{"g_loss": 1.6}, {"g_loss": 1.2}, {"g_loss": 0.6}], "G's loss falls steadily, 0.60, from 1.60"),
    ([{"d_gradient_norm": 101.0}], "D's gradient norm is 101, over 100.*d_learning_rate"),
    ([{"g_gradient_norm": 101.0}], "G's gradient norm is 101, over 100.*g_learning_rate"),
    ([{"g_gradient_norm": 1e-4}], "G's gradient norm is 0.0001: it learns nothing"),
])
def test_sick_losses_are_named(watched, losses, said):
    found = alarms(watched(FACES, *losses))
    assert len(found) == 1 and re.search(said, found[0])


@pytest.mark.parametrize("losses", [
    [{"g_loss": 3.0}, {"g_loss": 4.0}, {"g_loss": 3.9}],     # up and down
    [{"g_loss": 3.0}, {"g_loss": 3.5}, {"g_loss": 4.4}],     # less than half as much again
    [{"g_loss": 1.0}, {"g_loss": 1.5}, {"g_loss": 2.9}],     # below 3
    [{"g_loss": 8.0}, {"g_loss": 5.0}, {"g_loss": 2.0}],     # falls, to where it is healthy
    [{"g_loss": 1.6}, {"g_loss": 1.2}, {"g_loss": 0.9}],     # to where D catches up
    [{"d_loss_real": 0.23, "d_loss_fake": 0.23}], [{"g_loss": 14.9}], [{"g_gradient_norm": 99.0}],
])
def test_what_is_not_sick_raises_no_alarm(watched, losses):
    assert alarms(watched(FACES, *losses)) == []


def test_an_alarm_is_not_repeated_while_it_lasts_and_comes_again(watched):
    far, well = {"g_loss": 20.0}, {}
    lines = alarms(watched(FACES, far, far, well, far))
    assert [line.split(":")[0] for line in lines] == ["Batch 100", "Batch 400"]


def test_d_catching_up_is_good_news(watched):
    assert watched(FACES, {"g_loss": 0.9})[-1].endswith("all losses are under 1: D is catching up [forcecore 5]")


def test_the_zones_of_losses_are_those_of_the_cross_entropy(watched):
    assert alarms(watched(FACES, {"g_loss": 20.0, "d_loss_real": 0.0, "d_loss_fake": 0.0}, loss="hinge")) == []
    assert len(alarms(watched(FACES, {"g_gradient_norm": 101.0}, loss="hinge"))) == 1


def test_a_saturating_objective_near_0_is_named_and_its_remedy(watched):
    lines = alarms(watched(FACES, {"g_loss": -0.6}, {"g_loss": -0.1}, g_objective="saturating"))
    assert len(lines) == 1 and re.match("Batch 200: G's loss is near 0, -0.10.*g_objective=non_saturating", lines[0])


def test_images_that_are_all_the_same_are_named(here, watched, monkeypatch):
    monkeypatch.setattr(callbacks, "reals", lambda args: np.repeat(FACES[:1], 8, 0))
    assert "the real images are alike: each is 0.0000 from another" in watched(FACES, {})[0]


def test_one_sample_or_little_data_raise_no_alarm(watched):
    assert alarms(watched(FACES[:1], {}, grid=(1, 1))) == []
    assert alarms(watched(data.normalize(toyfaces.sample(64)[0]), {}, grid=(8, 8))) == []  # of 32 images


def test_real_images_that_have_twins_are_no_division_by_0(watched, monkeypatch):
    bits = np.sign(FACES)
    monkeypatch.setattr(callbacks, "reals", lambda args: np.repeat(bits[:4], 2, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert alarms(watched(bits, {}, watch_alike=0.0)) == []
        assert "samples are alike" in watched(np.repeat(bits[:1], 8, 0), {}, watch_alike=0.0)[-1]


def test_no_remedy_is_named_that_the_networks_refuse(watched):
    keras_example = {name: value for name, value in vars(constants.KerasExample).items()
                     if name in constants.constants(constants.Args) and name not in TINY and name != "name"}
    assert "minibatch_kernels=100" in watched(np.repeat(FACES[:1], 8, 0), {})[0]
    lines = watched(np.repeat(FACES[:1], 8, 0), {"g_gradient_norm": 0.0}, name="other", **keras_example)
    assert len(lines) == 2 and not re.search("minibatch_kernels|batch_norm", "".join(lines))


def test_what_a_start_left_that_came_to_no_snapshot_goes(toys, tiny):
    run = toys / "runs/toyfaces"
    run.mkdir(parents=True)
    (run / "reals.png").write_bytes(b"of other images")
    (run / "health.log").write_text("a line of mine\nBatch 12: g_loss is nan, so the run is lost\n")
    gan.train_gan(tiny(batches=2))
    assert Image.open(run / "reals.png").size == (256, 128)
    assert (run / "health.log").read_text() == "a line of mine\n"


def test_black_images_with_white_strokes_are_not_saturated(here, watched, monkeypatch):
    strokes = np.float32(np.where(np.random.default_rng(0).random([8, 64, 64, 3]) < 0.2, 0.5, -1))
    monkeypatch.setattr(callbacks, "reals", lambda args: strokes)
    assert alarms(watched(strokes[::-1], {})) == []
    assert "saturated: 100%" in watched(np.sign(strokes), {})[-1]


def test_while_d_warms_up_it_may_win(watched):
    assert watched(FACES, {"d_loss_real": 0.2, "d_loss_fake": 0.2}, warmup_batches=100) == []


def test_thresholds_and_their_change_leave_the_run_as_it_is(toys, tiny):
    gan.train_gan(tiny(batches=2))
    gan.train_gan(tiny(batches=4, watch_batches=7, watch_lost=3.0))
    with pytest.raises(ValueError, match="dump_every: 2 in"):
        for batches, dump_every in (2, 2), (4, 3):
            gan.train_gan(tiny(name="swaps", batches=batches, swap_every=2, swap_for=1, dump_every=dump_every))


# ---- TensorBoard

def test_tensorboard_gets_losses_grid_constants_and_health(toys, tiny):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    gan.train_gan(tiny(watch_batches=1))
    events = EventAccumulator(str(toys / "runs/toyfaces/tensorboard"), {"tensors": 0}).Reload()
    steps = {tag: [event.step for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}
    assert {tag: steps[tag] for tag in ("d/loss_real", "g/gradient_norm", "samples")} == {
        "d/loss_real": [2, 4], "g/gradient_norm": [2, 4], "samples": [2, 4]}
    assert b"| batch_size | 8 |" in events.Tensors("constants")[0].tensor_proto.string_val[0]
    rows = (toys / "runs/toyfaces/loss.csv").read_text().splitlines()
    assert tf.make_ndarray(events.Tensors("g/loss")[1].tensor_proto) == pytest.approx(float(rows[2].split(",")[3]))
    health = (toys / "runs/toyfaces/health.log").read_text()
    assert events.Tensors("health")[-1].tensor_proto.string_val[0].decode().replace("\n\n", "\n") == health
    width, height, png, *_ = events.Tensors("samples")[0].tensor_proto.string_val
    assert (width, height) == (b"256", b"128") and png.startswith(b"\x89PNG")


def test_a_snapshot_is_of_its_batch_whatever_is_learned_while_it_is_written(toys, tiny, monkeypatch):
    """Slow writing: each snapshot still holds what was there when it was asked for, and they come in their order."""
    save, order = callbacks.save_snapshot, []

    def slowly(target, networks, state):
        time.sleep(0.5)
        order.append(target.name)
        save(target, networks, state)

    gan.train_gan(tiny(name="quick", dump_every=1))
    monkeypatch.setattr(callbacks, "save_snapshot", slowly)
    gan.train_gan(tiny(name="slow", dump_every=1))
    assert order == [f"{batch:06d}" for batch in range(1, 5)]
    for batch in order:
        paths = [toys / f"runs/{name}/weights/{batch}/training.weights.h5" for name in ("quick", "slow")]
        with h5py.File(paths[0]) as one, h5py.File(paths[1]) as other:
            arrays = [f"{name}/{index}" for name in one for index in one[name]]
            assert len(arrays) > 10 and all((one[name][()] == other[name][()]).all() for name in arrays)


def test_a_snapshot_that_cannot_be_written_ends_the_run(toys, tiny):
    (toys / "runs/toyfaces").mkdir(parents=True)
    (toys / "runs/toyfaces/weights").write_text("not a folder")
    with pytest.raises(OSError, match="weights"):
        gan.train_gan(tiny(dump_every=1))
