import re
import warnings

import numpy as np
import pytest
from fake_gan import HEALTHY, FakeGAN

import data
from models import toyfaces
from training import checkpoints, watch

FACES = data.normalize(toyfaces.sample(8)[0])


@pytest.fixture
def watched(here, tiny, monkeypatch):
    """watched(samples, *losses, real=FACES, **constants): the lines of health.log.

    They are of a run of 100 batches for each of `losses`, which say what differs from HEALTHY. Its
    samples are `samples`.
    """
    def lines(samples, *losses, real=FACES, **changes):
        monkeypatch.setattr(data, "reals", lambda args: real)
        callback = watch.FailureWatch(tiny(**{"dump_every": 100} | changes), here)
        model = FakeGAN()
        callback.set_model(model)
        callback.on_train_begin()
        model.samples = np.float32(samples)
        for step in range(100 * len(losses)):
            callback.on_train_batch_end(step, HEALTHY | losses[step // 100])
        log = here / "health.log"
        return log.read_text().splitlines() if log.exists() else []
    return lines


def alarms(lines):
    good_news = "No alarm|healthy zone|catching up"
    return [line for line in lines if not re.search(good_news, line)]


# ---- what is not finite

def test_loss_that_is_not_finite_stops_the_run(here, tiny):
    callback = watch.StopOnNonFinite(tiny(), here)
    callback.set_model(FakeGAN())
    callback.on_train_begin()
    callback.on_train_batch_end(0, {"d_loss_real": 0.1, "g_loss": 15.0})
    with pytest.raises(watch.Diverged, match="Batch 2: g_loss is nan.*learning rates.*`name`"):
        callback.on_train_batch_end(1, {"d_loss_real": 0.1, "g_loss": float("nan")})
    assert (here / "health.log").read_text().startswith("Batch 2: g_loss is nan")


def test_weight_that_is_not_finite_stops_the_run_at_a_dump(here, tiny):
    model = FakeGAN()
    callback = watch.StopOnNonFinite(tiny(dump_every=2), here)
    callback.set_model(model)
    callback.on_train_begin()
    model.generator.weights[0].assign([1.0, float("inf")])
    callback.on_train_batch_end(0, {"g_loss": 1.0})
    with pytest.raises(watch.Diverged, match="Batch 2: a weight of the generator is not finite"):
        callback.on_train_batch_end(1, {"g_loss": 1.0})


def test_advice_names_the_newest_checkpoint_before_the_failure(here, tiny):
    callback = watch.StopOnNonFinite(tiny(), here)
    model = FakeGAN()
    callback.set_model(model)
    assert callback._new_start(500) == "start a new run under another `name`"
    for batch in ("000100", "000200", "000300"):
        (here / "weights" / batch).mkdir(parents=True)
    assert callback._new_start(200).endswith(f"name=another weights={here}/weights/000200")
    assert callback._new_start(299).endswith("000200")
    assert callback._new_start(99) == "start a new run under another `name`"
    del model.networks["discriminator"]  # pretraining: nothing starts from its checkpoints
    assert callback._new_start(500) == "start a new run under another `name`"


def test_advice_waits_for_the_checkpoint_that_is_being_written(here, tiny):
    callback = watch.StopOnNonFinite(tiny(), here)
    callback.set_model(FakeGAN())
    (here / "weights").mkdir()
    checkpoints.WRITER.submit((here / "weights/000100").mkdir)
    assert callback._new_start(100).endswith("000100")


def test_health_log_is_cut_at_the_batch_that_training_starts_from(here, tiny):
    log = here / "health.log"
    log.write_text("a line of mine\nBatch 2: one\nBatch 12: g_loss is nan\n")
    callback = watch.StopOnNonFinite(tiny(), here)
    callback.set_model(FakeGAN(batch=2))
    callback.on_train_begin()
    assert log.read_text() == "a line of mine\nBatch 2: one\n"


@pytest.mark.slow
def test_diverging_training_stops_before_anything_is_saved(toys, tiny):
    import gan
    import models
    args = tiny(batches=50, dump_every=1, g_learning_rate=1e30, keep_checkpoints=99,
                d_learning_rate=0.0, ema_decay=0.0)
    with pytest.raises(watch.Diverged, match=r"Batch \d+: .*weights/000001"):
        gan.train_gan(args)
    run = toys / "runs/toyfaces"
    assert (run / "health.log").read_text().startswith("Batch ")
    model = models.build(args)
    for checkpoint in checkpoints.checkpoints(run):
        checkpoints.load_checkpoint(model, checkpoint)
        for weight in model.weights:
            assert np.isfinite(weight.numpy()).all()


# ---- healthy runs

def test_healthy_run_is_reported_once(watched, capsys):
    lines = watched(FACES, {}, {}, {})
    assert lines == [
        "Batch 100: No alarm. Noise before batch 1000 is normal [forcecore 5].",
        "Batch 100: G's loss is 3.00, in its healthy zone of 1 to 4 [forcecore 5]."]
    printed = capsys.readouterr().out
    assert all(printed.count(line) == 1 for line in lines)


def test_no_alarm_is_only_reported_before_batch_1000(watched):
    lines = watched(FACES, *9 * [{"g_loss": 20.0}], {}, {})
    assert lines[-1].startswith("Batch 1000: G's loss is 3.00")


def test_d_catching_up_is_good_news(watched):
    assert watched(FACES, {"g_loss": 0.9})[-1].endswith("D is catching up [forcecore 5].")


@pytest.mark.parametrize("losses", [
    [{"g_loss": 3.0}, {"g_loss": 4.0}, {"g_loss": 3.9}],     # up and down
    [{"g_loss": 3.0}, {"g_loss": 3.5}, {"g_loss": 4.4}],     # less than half as much again
    [{"g_loss": 1.0}, {"g_loss": 1.5}, {"g_loss": 2.9}],     # below 3
    [{"g_loss": 8.0}, {"g_loss": 5.0}, {"g_loss": 2.0}],     # falls to where it is healthy
    [{"g_loss": 1.6}, {"g_loss": 1.2}, {"g_loss": 0.9}],     # to where D catches up
    [{"d_loss_real": 0.23, "d_loss_fake": 0.23}],
    [{"g_loss": 14.9}],
    [{"g_gradient_norm": 99.0}],
])
def test_healthy_losses_raise_no_alarm(watched, losses):
    assert alarms(watched(FACES, *losses)) == []


def test_windows_shorter_than_100_batches_are_not_examined(watched):
    assert watched(FACES, {"g_loss": 20.0}, dump_every=99) == []


def test_while_d_warms_up_it_may_win(watched):
    losses = {"d_loss_real": 0.2, "d_loss_fake": 0.2}
    assert watched(FACES, losses, warmup_batches=100) == []


# ---- failures

@pytest.mark.parametrize("samples, expected", [
    (np.full([8, 64, 64, 3], 0.3), "one uniform color: they have 0.00 of the contrast"),
    (np.full([8, 64, 64, 3], -0.94), "samples are black"),
    (np.repeat(FACES[:1], 8, 0), "similar, 0.00 times as diverse .*feature_matching=100.0"),
    (np.repeat(FACES[:4], 2, 0), "similar, 0.00 times as diverse"),  # four modes
    (np.sign(FACES), "samples are saturated: 100% of their values"),
])
def test_failures_of_samples_are_reported(watched, samples, expected):
    lines = watched(samples, {})
    assert len(lines) == 1 and re.search(expected, lines[0])


@pytest.mark.parametrize("losses, expected", [
    # The minima with labels of 0.9 and 0 are the entropy of 0.9, 0.3251 nats, and 0.
    ([{"d_loss_real": 0.329, "d_loss_fake": 0.0}],
     "D's loss is near 0, 0.002 above the minimum"),
    ([{"g_loss": 15.1}], "g_loss is 15.1, above 15: the run cannot recover"),
    ([{"g_loss": 16.0, "d_loss_real": 17.0}], "d_loss_real is 17.0 and g_loss is 16.0, above 15"),
    ([{"g_loss": 3.0}, {"g_loss": 4.0}, {"g_loss": 4.6}], "rising, 4.60, from 3.00 200 batches"),
    ([{"g_loss": 1.6}, {"g_loss": 1.2}, {"g_loss": 0.6}], "falling steadily, 0.60, from 1.60"),
    ([{"d_gradient_norm": 101.0}], "D's gradient norm is 101, above 100. Lower d_learning_rate"),
    ([{"g_gradient_norm": 101.0}], "G's gradient norm is 101, above 100. Lower g_learning_rate"),
    ([{"g_gradient_norm": 1e-4}], "G's gradient norm is 0.0001, below 0.001: G learns nothing"),
])
def test_failures_of_losses_are_reported(watched, losses, expected):
    found = alarms(watched(FACES, *losses))
    assert len(found) == 1 and re.search(expected, found[0])


def test_every_line_has_a_source_and_a_sentence(watched):
    lines = watched(np.sign(FACES), {"g_loss": 20.0, "d_gradient_norm": 200.0,
                                     "g_gradient_norm": 1e-9})
    assert len(lines) == 4
    for line in lines:
        assert re.fullmatch(r"Batch 100: .*[A-Za-z].* \[.*\]\.", line)


def test_single_batches_do_not_matter(here, tiny, monkeypatch):
    monkeypatch.setattr(data, "reals", lambda args: FACES)
    callback = watch.FailureWatch(tiny(dump_every=100), here)
    model = FakeGAN()
    callback.set_model(model)
    callback.on_train_begin()
    model.samples = FACES
    for step in range(100):
        g_loss = 1000.0 if step % 3 == 0 else 3.0
        callback.on_train_batch_end(step, dict(HEALTHY, g_loss=g_loss))
    assert alarms((here / "health.log").read_text().splitlines()) == []


def test_alarm_is_not_repeated_while_it_lasts_and_comes_again(watched):
    failure = {"g_loss": 20.0}
    lines = alarms(watched(FACES, failure, failure, {}, failure))
    assert [line.split(":")[0] for line in lines] == ["Batch 100", "Batch 400"]


def test_thresholds_of_losses_are_those_of_the_cross_entropy(watched):
    losses = {"g_loss": 20.0, "d_loss_real": 0.0, "d_loss_fake": 0.0}
    assert alarms(watched(FACES, losses, loss="hinge")) == []
    assert len(alarms(watched(FACES, {"g_gradient_norm": 101.0}, loss="hinge"))) == 1


def test_saturating_objective_near_0_is_reported_with_its_remedy(watched):
    lines = alarms(watched(FACES, {"g_loss": -0.6}, {"g_loss": -0.1}, g_objective="saturating"))
    assert len(lines) == 1
    expected = "Batch 200: G's loss is near 0, -0.10.*g_objective=non_saturating"
    assert re.match(expected, lines[0])


# ---- real images

def test_identical_real_images_are_reported(watched):
    lines = watched(FACES, {}, real=np.repeat(FACES[:1], 8, 0))
    assert "real images are nearly identical" in lines[0] and "0.0000" in lines[0]


def test_real_images_of_one_row_may_be_identical(watched):
    bits = np.sign(np.random.default_rng(0).normal(size=[4, 1, 10, 1]))
    assert alarms(watched(bits, {}, real=np.repeat(bits, 2, 0), image_shape=(1, 10, 1))) == []


def test_real_images_with_duplicates_cause_no_division_by_zero(watched):
    bits = np.sign(np.random.default_rng(0).normal(size=[8, 1, 10, 1]))
    changes = {"real": np.repeat(bits[:4], 2, 0), "image_shape": (1, 10, 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert alarms(watched(bits, {}, **changes)) == []
        assert "mode collapse" in watched(np.repeat(bits[:1], 8, 0), {}, **changes)[-1]


def test_one_sample_or_few_images_raise_no_alarm(watched):
    assert alarms(watched(FACES[:1], {}, real=FACES[:1], grid=(1, 1))) == []
    samples = data.normalize(toyfaces.sample(64)[0])
    real = data.normalize(toyfaces.sample(32, 1)[0])
    assert alarms(watched(samples, {}, real=real, grid=(8, 8))) == []


def test_black_images_with_white_strokes_are_not_saturated(watched):
    is_stroke = np.random.default_rng(0).random([8, 64, 64, 3]) < 0.2
    strokes = np.float32(np.where(is_stroke, 0.5, -1))
    assert alarms(watched(strokes[::-1], {}, real=strokes)) == []
    assert "saturated: 100%" in watched(np.sign(strokes), {}, real=strokes)[-1]


# ---- remedies

@pytest.mark.parametrize("network, names_them", [("dcgan", True), ("keras_example", False)])
def test_remedies_that_the_networks_do_not_support_are_not_named(watched, network, names_them):
    copies = np.repeat(FACES[:1], 8, 0)
    collapse, vanishing = watched(copies, {"g_gradient_norm": 0.0}, network=network,
                                  batch_norm="none")
    assert ("minibatch_kernels=100" in collapse) == names_them
    assert ("batch_norm=both" in vanishing) == names_them


@pytest.mark.parametrize("changes, remedy", [
    ({"batch_norm": "none"}, "batch_norm=both"),
    ({"batch_norm": "discriminator"}, "batch_norm=both"),
    ({"batch_norm": "none", "r1_weight": 10.0}, "batch_norm=generator"),
    ({"g_objective": "saturating"}, "g_objective=non_saturating"),
    ({}, "instance_noise=0.1"),
])
def test_remedies_of_vanishing_gradients_fit_the_run(watched, changes, remedy):
    lines = alarms(watched(FACES, {"g_gradient_norm": 0.0, "g_loss": -0.5}, **changes))
    assert remedy in [line for line in lines if "gradient norm" in line][0]


@pytest.mark.parametrize("losses", [
    {"d_gradient_norm": 101.0}, {"g_gradient_norm": 101.0}, {"g_gradient_norm": 0.0},
    {"d_loss_real": 0.329, "d_loss_fake": 0.0}, {"g_loss": 20.0}])
def test_remedies_need_a_new_run_as_a_run_keeps_its_constants(watched, losses):
    line = alarms(watched(np.sign(FACES), losses))[-1]
    assert "start a new run" in line.lower()


def test_minibatch_discrimination_is_no_remedy_beside_a_penalty(watched):
    line = watched(np.repeat(FACES[:1], 8, 0), {}, r1_weight=10.0, batch_norm="generator")[0]
    assert "minibatch_kernels" not in line and "feature_matching" in line


# ---- zones

def test_healthy_zones_lie_above_the_minimum_of_the_labels(tiny):
    zones = watch.healthy_zones(tiny(real_labels=(1.0, 1.0), fake_labels=(0.0, 0.2)))
    assert zones["d_loss_real"] == (0.05, 0.2)
    entropy = -0.1 * np.log(0.1) - 0.9 * np.log(0.9)
    assert zones["d_loss_fake"] == pytest.approx((entropy + 0.05, entropy + 0.2))
    assert zones["g_loss"] == (1.0, 4.0)
    assert "g_loss" not in watch.healthy_zones(tiny(g_objective="saturating"))
    assert watch.healthy_zones(tiny(loss="wasserstein")) == {}
