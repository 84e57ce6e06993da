"""training/watch.py: what is reported of a run, what is not, and health.log."""
import types

import h5py
import numpy as np
import pytest

import data
from training import callbacks, checkpoints, watch

IMAGES = np.random.default_rng(0).uniform(-0.9, 0.9, [8, 4, 4, 3])
BITS = np.sign(np.random.default_rng(0).normal(size=[8, 1, 10, 1]))
HEALTHY = {"d_loss_real": 0.5, "d_loss_fake": 0.2, "g_loss": 3.0, "d_gradient_norm": 10.0,
           "g_gradient_norm": 30.0}


def g_losses(*values):
    return [{"g_loss": value} for value in values]


@pytest.fixture
def reports(tiny):
    """reports(...): what the checks report after an epoch of 100 batches for each of `rows`.

    A row says what differs from HEALTHY; constants are those of `tiny`, and `changes`.
    """
    def texts(rows=({},), samples=IMAGES, reals=IMAGES, **changes):
        args = tiny(**changes)
        all_rows = []
        for index, row in enumerate(rows):
            all_rows.append({"batch": 100 * (index + 1), **HEALTHY, **row})
        state = watch.State(args, all_rows, samples, reals)
        found = [check.report(state) for check in watch.checks(args)]
        return [text for text in found if text]
    return texts


# ---- checks

@pytest.mark.parametrize("case", [
    {},
    {"rows": [{"d_loss_real": 0.35, "d_loss_fake": 0.02}]},
    {"rows": [{"d_gradient_norm": 99.0, "g_gradient_norm": 99.0}]},
    {"rows": g_losses(14.9)},
    {"rows": g_losses(3.0, 5.0, 4.6)},    # up and down
    {"rows": g_losses(0.9, 0.4, 0.5)},
    {"rows": g_losses(3.0, 3.5, 4.4)},    # by less than half
    {"rows": g_losses(0.65, 0.6, 0.5)},
    {"rows": g_losses(1.0, 2.0, 3.9)},    # not above 4
    {"rows": g_losses(1.6, 1.2, 0.9)},    # not below ln 2
    {"rows": g_losses(4.0, 6.0)},         # too short for a trend
    {"rows": g_losses(-0.6, -0.7, -1.2), "g_objective": "saturating"},
    {"samples": IMAGES[::-1] * 0.5},
    {"samples": IMAGES[:1], "reals": IMAGES[:1]},
    {"samples": BITS, "reals": np.repeat(BITS[:4], 2, 0), "image_shape": (1, 10, 1)},
    {"samples": BITS * 0.9, "reals": BITS, "image_shape": (1, 10, 1)},
])
def test_healthy_states_are_not_reported(reports, case):
    assert reports(**case) == []


@pytest.mark.parametrize("case, expected", [
    ({"samples": IMAGES * 0.05}, "0.05 of the real images' contrast"),
    ({"samples": np.repeat(IMAGES[:4], 2, 0)}, "0.00 of the real images' diversity"),
    ({"samples": np.sign(IMAGES)}, "0.00 of the real images' unsaturated values"),
    ({"reals": IMAGES[:1] + 0.001 * IMAGES}, "there is little to learn"),
    ({"rows": [{"d_gradient_norm": 101.0}]}, "D's gradient norm is 101, above 100"),
    ({"rows": [{"g_gradient_norm": 101.0}]}, "G's gradient norm is 101, above 100"),
    ({"rows": [{"g_gradient_norm": 1e-4}]}, "G's gradient norm is 0.0001, below 0.001"),
    ({"rows": g_losses(15.1)}, "A loss is 15.1, above 15"),
    ({"rows": [{"d_loss_real": 16.0}]}, "A loss is 16.0, above 15"),
    # The minima for targets of 0.9 and 0 are the entropy of 0.9, 0.3251 nats, and 0.
    ({"rows": [{"d_loss_real": 0.329, "d_loss_fake": 0.0}]}, "0.002 above the minimum"),
    ({"rows": g_losses(-0.002), "g_objective": "saturating"}, "G's loss is -0.002, near 0"),
    ({"rows": g_losses(3.0, 4.0, 4.6)}, "rising steadily, to 4.60"),
    ({"rows": g_losses(1.6, 1.2, 0.6)}, "falling steadily, to 0.60"),
])
def test_failures_are_reported_with_number_and_source(reports, case, expected):
    found = [text for text in reports(**case) if expected in text]
    assert len(found) == 1 and found[0].endswith("].")


def test_black_images_with_white_strokes_are_not_saturated(reports):
    is_stroke = np.random.default_rng(0).random([8, 8, 8, 1]) < 0.2
    strokes = np.where(is_stroke, 0.5, -1.0)
    assert reports(samples=strokes[::-1], reals=strokes) == []
    assert "unsaturated" in reports(samples=np.sign(strokes), reals=strokes)[0]


def test_losses_are_judged_for_the_cross_entropy_alone(reports):
    rows = [{"g_loss": 20.0, "d_loss_real": 0.0, "d_loss_fake": 0.0, "g_gradient_norm": 101.0}]
    assert len(reports(rows=rows)) == 3
    assert len(reports(rows=rows, loss="hinge")) == 1


def test_trend_compares_epochs_100_batches_apart(tiny):
    rows = [{"batch": batch, "g_loss": batch / 10} for batch in range(50, 301, 50)]
    state = watch.State(tiny(), rows, IMAGES, IMAGES)
    assert watch.g_loss_trend(state) == (10.0, 20.0, 30.0)


# ---- the callbacks

@pytest.fixture
def train(here, tiny, monkeypatch):
    """train(*epochs): the lines of health.log after such epochs.

    An epoch says what differs from HEALTHY, and may set "samples", "weight" and "batches", 100 if
    not set.
    """
    def lines(*epochs, callback=callbacks.Watch, **changes):
        monkeypatch.setattr(data, "reals", lambda args: IMAGES)
        watcher = callback(tiny(**changes), here)
        model = types.SimpleNamespace(batch=Number(0))
        watcher.set_model(model)
        watcher.on_train_begin()
        for index, epoch in enumerate(epochs):
            logs = HEALTHY | epoch
            model.batch = Number(int(model.batch.numpy()) + logs.pop("batches", 100))
            model.samples = logs.pop("samples", IMAGES)
            model.weights = [Number(logs.pop("weight", 1.0))]
            watcher.on_epoch_end(index, logs)
        log = here / "health.log"
        return log.read_text().splitlines() if log.exists() else []
    return lines


class Number:
    """Stands in for a keras.Variable."""
    path = "generator/dense/kernel"

    def __init__(self, value):
        self.value = value

    def numpy(self):
        return np.array(self.value)


def test_failure_is_printed_and_logged_once_while_it_lasts(train, capsys):
    failure = {"g_loss": 20.0}
    lines = train(failure, failure, {}, failure)
    assert [line.split(":")[0] for line in lines] == ["Batch 100", "Batch 400"]
    printed = capsys.readouterr().out
    assert all(printed.count(line) == 1 for line in lines)


@pytest.mark.parametrize("epochs, changes", [
    ([{"batches": 99}], {}),
    ([{}, {"batches": 9}], {}),
    ([{}], {"warmup_batches": 20}),
])
def test_first_short_and_warmup_epochs_are_not_judged(train, epochs, changes):
    epochs[-1]["g_loss"] = 20.0
    assert train(*epochs, **changes) == []


@pytest.mark.parametrize("failure, reason", [
    ({"g_loss": float("nan")}, "g_loss is nan"),
    ({"weight": float("inf")}, "generator/dense/kernel is not finite"),
])
def test_loss_or_weight_that_is_not_finite_stops_the_run(train, here, failure, reason):
    with pytest.raises(callbacks.Diverged, match=f"Batch 50: {reason}"):
        train(failure | {"batches": 50}, callback=callbacks.StopOnNonFinite)
    assert (here / "health.log").read_text().startswith(f"Batch 50: {reason}")


@pytest.mark.slow
def test_diverging_training_stops_before_anything_is_saved(toys, tiny):
    import gan
    args = tiny(batches=50, dump_every=1, g_learning_rate=1e30, d_learning_rate=0.0, ema_decay=0.0)
    with pytest.raises(callbacks.Diverged):
        gan.train_gan(args)

    def check(name, item):
        if isinstance(item, h5py.Dataset):
            assert np.isfinite(item[()]).all()

    for path in checkpoints.checkpoints(checkpoints.run_folder(args)):
        with h5py.File(path) as file:
            file.visititems(check)


# ---- zones

def test_healthy_zones_lie_above_the_minimum_for_the_targets(tiny):
    zones = watch.healthy_zones(tiny(real_labels=(1.0, 1.0), fake_labels=(0.0, 0.2)))
    assert zones["d_loss_real"] == (0.05, 0.2)
    entropy = -0.1 * np.log(0.1) - 0.9 * np.log(0.9)
    assert zones["d_loss_fake"] == pytest.approx((entropy + 0.05, entropy + 0.2))
    assert zones["g_loss"] == (1.0, 4.0)
    assert "g_loss" not in watch.healthy_zones(tiny(g_objective="saturating"))
    assert watch.healthy_zones(tiny(loss="wasserstein")) == {}
