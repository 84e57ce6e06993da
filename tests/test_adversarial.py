"""models/adversarial.py: the training step, its terms, and sampling."""
import csv
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import data
import models
from models import adversarial, losses
from models.randomness import Purpose

REAL = tf.constant(
    np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)).astype("float32"))


def values(variables):
    return [variable.numpy() for variable in variables]


def equal(before, after):
    return all((one == other).all() for one, other in zip(before, after, strict=True))


def all_differ(before, after):
    """Returns whether every kernel differs. Biases may start with a gradient of 0."""
    pairs = zip(before, after, strict=True)
    return not any((one == other).all() for one, other in pairs if one.ndim > 1)


def copy_of(network):
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def record_views(gan):
    """Returns a list that gets every batch of images that D sees.

    In a step these are real images and fakes in D's update, fakes and real images in G's.
    """
    views = []
    call = gan.discriminator.call

    def recording_call(images, *args, **options):
        views.append(np.array(images))
        return call(images, *args, **options)

    gan.discriminator.call = recording_call
    return views


def frozen(**changes):
    """Returns constants with which no update moves a weight."""
    return {"d_optimizer": "sgd", "g_optimizer": "sgd", "d_learning_rate": 0.0,
            "g_learning_rate": 0.0} | changes


def change_of_weights(args, network, batch=0):
    """Returns by how much a step moves the weights of a network, and the logs of the step."""
    gan = models.build(args)
    gan.batch.assign(batch)
    weights = gan.networks[network].trainable_weights
    before = values(weights)
    logs = gan.train_step(REAL)
    return [old - new for old, new in zip(before, values(weights))], logs


# ---- two updates

def test_update_of_d_leaves_g_untouched(tiny):
    gan = models.build(tiny(g_learning_rate=0.0, ema_decay=0.0))
    generator = values(gan.generator.trainable_weights)
    discriminator = values(gan.discriminator.trainable_weights)
    gan.train_step(REAL)
    assert equal(generator, values(gan.generator.trainable_weights))
    assert all_differ(discriminator, values(gan.discriminator.trainable_weights))


def test_update_of_g_leaves_d_untouched_even_its_moving_averages(tiny):
    gan = models.build(tiny(d_learning_rate=0.0))
    before = values(gan.generator.trainable_weights)
    expected = copy_of(gan.discriminator)
    fake = copy_of(gan.generator)(gan.sample_z(8), training=True)
    gan.train_step(REAL)
    # What D's own update shows it: real images, then fakes, and no more.
    expected(REAL, training=True)
    expected(fake, training=True)
    for one, other in zip(gan.discriminator.weights, expected.weights, strict=True):
        assert one.numpy() == pytest.approx(other.numpy(), abs=1e-6)
    assert all_differ(before, values(gan.generator.trainable_weights))


def test_real_and_fake_images_pass_d_in_batches_of_their_own(tiny):
    """Fakes cannot change D's loss on real images by way of batch norm [ganhacks 4]."""
    one, other = models.build(tiny()), models.build(tiny())
    for weight in other.generator.trainable_weights:
        weight.assign(weight + 0.1)
    logs, other_logs = one.train_step(REAL), other.train_step(REAL)
    assert float(logs["d_loss_real"]) == float(other_logs["d_loss_real"])
    assert float(logs["d_loss_fake"]) != float(other_logs["d_loss_fake"])


def test_step_equals_the_textbook_with_a_second_generator_pass(tiny):
    args = tiny(real_labels=(0.9, 0.9), fake_labels=(0.1, 0.1), ema_decay=0.0,
                d_optimizer="sgd", g_optimizer="sgd", d_learning_rate=0.1, g_learning_rate=0.1)
    gan, plain = models.build(args), models.build(args)
    g, d, z = plain.generator, plain.discriminator, plain.sample_z(8)
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    def descend(tape, loss, weights):
        for weight, gradient in zip(weights, tape.gradient(loss, weights)):
            weight.assign(weight - 0.1 * gradient)

    with tf.GradientTape() as tape:
        real_loss = cross_entropy(0.9 * tf.ones([8, 1]), d(REAL, training=True))
        fake_loss = cross_entropy(0.1 * tf.ones([8, 1]), d(g(z, training=True), training=True))
        loss = (real_loss + fake_loss) / 2
    descend(tape, loss, d.trainable_weights)
    with tf.GradientTape() as tape:
        g_loss = cross_entropy(tf.ones([8, 1]), d(g(z, training=True), training=True))
    descend(tape, g_loss, g.trainable_weights)

    logs = gan.train_step(REAL)
    assert float(logs["d_loss_real"]) == pytest.approx(float(real_loss), rel=1e-5)
    assert float(logs["d_loss_fake"]) == pytest.approx(float(fake_loss), rel=1e-5)
    assert float(logs["g_loss"]) == pytest.approx(float(g_loss), rel=1e-5)
    for network, expected in ((gan.generator, g), (gan.discriminator, d)):
        for one, other in zip(network.trainable_weights, expected.trainable_weights):
            assert one.numpy() == pytest.approx(other.numpy(), abs=1e-6)


def test_gradient_norms_are_those_of_the_updates(tiny):
    gan = models.build(tiny(
        d_optimizer="sgd", g_optimizer="sgd", d_learning_rate=1.0, g_learning_rate=1.0))
    networks = {"d_gradient_norm": gan.discriminator, "g_gradient_norm": gan.generator}
    before = {name: values(network.trainable_weights) for name, network in networks.items()}
    logs = gan.train_step(REAL)
    for name, network in networks.items():
        after = values(network.trainable_weights)
        square = sum(np.square(new - old).sum() for old, new in zip(before[name], after))
        assert float(logs[name]) == pytest.approx(float(np.sqrt(square)), rel=1e-3)


def test_a_graph_learns_what_eager_steps_learn(trained, tiny):
    gan = models.build(tiny())
    batches = data.iterate(tiny())
    with open("runs/toyfaces/loss.csv", newline="") as file:
        rows = {int(row["batch"]): row for row in csv.DictReader(file)}
    for batch in (1, 2, 3, 4):
        logs = gan.train_step(next(batches))
        for name in gan.logged:
            if batch in rows:
                assert float(logs[name]) == pytest.approx(float(rows[batch][name]), rel=0.02)
    assert list(rows) == [2, 4]
    assert int(gan.batch) == 4
    assert int(gan.d_optimizer.iterations) == int(gan.g_optimizer.iterations) == 4


# ---- options of the step

def test_updates_apart_learn_on_real_and_then_on_fake_images(tiny):
    args = tiny(d_updates="apart", d_optimizer="sgd", d_learning_rate=0.1, real_labels=(0.9, 0.9),
                fake_labels=(0.1, 0.1))
    gan, plain = models.build(args), models.build(args)
    d = plain.discriminator
    fake = plain.generator(plain.sample_z(8), training=True)
    for images, target in ((REAL, 0.9), (fake, 0.1)):
        with tf.GradientTape() as tape:
            loss = losses.cross_entropy(d(images, training=True), target)
        for weight, gradient in zip(d.trainable_weights, tape.gradient(loss, d.trainable_weights)):
            weight.assign(weight - 0.1 * gradient)
    logs = gan.train_step(REAL)
    assert float(logs["d_loss_fake"]) == pytest.approx(float(loss), rel=1e-5)
    for one, other in zip(gan.discriminator.trainable_weights, d.trainable_weights):
        assert one.numpy() == pytest.approx(other.numpy(), abs=1e-6)
    assert int(gan.d_optimizer.iterations) == 2


def test_defect_of_the_original_trains_d_to_accept_fakes(tiny):
    gan = models.build(tiny(g_step_moves_d=True, d_optimizer="sgd", d_learning_rate=0.0))
    fake = gan.generator(gan.sample_z(8), training=True)
    before = values(gan.discriminator.trainable_variables)
    logit = tf.reduce_mean(gan.discriminator(fake, training=True))
    gan.train_step(REAL)
    assert all_differ(before, values(gan.discriminator.trainable_variables))
    assert tf.reduce_mean(gan.discriminator(fake, training=True)) > logit


def test_without_that_defect_the_update_of_g_moves_g_alone(tiny):
    gan = models.build(tiny(d_optimizer="sgd", d_learning_rate=0.0))
    before = values(gan.discriminator.trainable_variables)
    gan.train_step(REAL)
    assert equal(before, values(gan.discriminator.trainable_variables))


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_d_learns_alone_in_the_warmup(tiny, precision):
    gan = models.build(tiny(warmup_batches=2, precision=precision))
    for g_learns in (False, False, True):
        generator = values(gan.generator.trainable_weights)
        discriminator = values(gan.discriminator.trainable_weights)
        logs = gan.train_step(REAL)
        assert equal(generator, values(gan.generator.trainable_weights)) != g_learns
        assert all_differ(discriminator, values(gan.discriminator.trainable_weights))
    assert int(adversarial.step_count(gan.g_optimizer)) == 1
    assert int(adversarial.step_count(gan.d_optimizer)) == 3
    if precision == "mixed_float16":
        assert float(logs["skipped"]) == 0  # a warm-up is no overflow


def test_averaged_generator_follows_g(tiny):
    gan = models.build(tiny(ema_decay=0.25))
    before = values(gan.generator_ema.trainable_weights)
    gan.train_step(REAL)
    # After one batch the decay is (1 + 1) / (10 + 1).
    averages = gan.generator_ema.trainable_weights
    for old, weight, average in zip(before, gan.generator.trainable_weights, averages):
        expected = 2 / 11 * old + 9 / 11 * weight.numpy()
        assert average.numpy() == pytest.approx(expected, abs=1e-6)


# ---- losses and targets

@pytest.mark.parametrize("changes, expected", [
    ({"loss": "least_squares"}, losses.squared_error),
    ({"loss": "hinge"}, losses.negative_mean_logit),
    ({"loss": "wasserstein", "batch_norm": "generator", "gradient_penalty": 1.0},
     losses.negative_mean_logit),
    ({"g_objective": "saturating"}, losses.saturating),
], ids=["least_squares", "hinge", "wasserstein", "saturating"])
def test_loss_is_the_one_that_is_named(tiny, changes, expected):
    gan = models.build(tiny(d_learning_rate=0.0, **changes))
    generator, discriminator = copy_of(gan.generator), copy_of(gan.discriminator)
    z = gan.sample_z(8)
    logs = gan.train_step(REAL)
    logits = discriminator(generator(z, training=True), training=True)
    assert float(logs["g_loss"]) == pytest.approx(float(expected(logits, 1.0)), abs=1e-5)


HARD = {"real_labels": (1.0, 1.0), "fake_labels": (0.0, 0.0)}


@pytest.fixture(scope="module")
def hard_losses():
    """The losses of a step with targets of 1 and 0."""
    from conftest import tiny_preset
    return models.build(tiny_preset(**HARD)).train_step(REAL)


@pytest.mark.parametrize("changes, changed", [
    ({"real_labels": (0.7, 1.2)}, ["d_loss_real"]),
    ({"fake_labels": (0.0, 0.3)}, ["d_loss_fake"]),
    ({"label_flip": 0.5}, ["d_loss_fake", "d_loss_real"]),
])
def test_targets_of_d(tiny, hard_losses, changes, changed):
    logs = models.build(tiny(**(HARD | changes))).train_step(REAL)
    differing = [name for name in ("d_loss_fake", "d_loss_real")
                 if float(logs[name]) != float(hard_losses[name])]
    assert differing == changed


def test_targets_of_g(tiny):
    hard = models.build(tiny(**frozen(g_labels=(1.0, 1.0))))
    soft = models.build(tiny(**frozen(g_labels=(0.9, 0.9))))
    fake = hard.generator(hard.sample_z(8), training=True)
    logits = hard.discriminator(fake, training=True)
    difference = soft.train_step(REAL)["g_loss"] - hard.train_step(REAL)["g_loss"]
    # The loss is softplus(-x) + (1 - target) x, so a tenth of each logit is added.
    assert float(difference) == pytest.approx(0.1 * float(tf.reduce_mean(logits)), abs=1e-5)


def test_subclass_may_compare_the_logits_of_both_kinds(tiny):
    """A relativistic loss gets the logits of real images in both updates."""
    received = []

    class Relativistic(adversarial.GAN):
        g_compares_both = True

        def discriminator_loss(self, real_logits, fake_logits):
            received.append((real_logits, fake_logits))
            loss = losses.cross_entropy(real_logits - fake_logits, 1.0)
            return loss, loss

        def generator_loss(self, real_logits, fake_logits):
            received.append((real_logits, fake_logits))
            return losses.cross_entropy(fake_logits - real_logits, 1.0)

        def generator_terms(self, real, g_inputs, fake):
            return [("brightness", 2.0, tf.reduce_mean(fake))]

    built = models.build(tiny(**frozen()))
    gan = Relativistic(built.args, built.generator, built.discriminator)
    gan.compile(built.d_optimizer, built.g_optimizer)
    logs = gan.train_step(REAL)
    (d_real, d_fake), (g_real, g_fake) = received
    assert (d_real.numpy() == g_real.numpy()).all() and (d_fake.numpy() == g_fake.numpy()).all()
    assert d_real.shape == d_fake.shape == (8, 1)
    expected = losses.cross_entropy(d_fake - d_real, 1.0)
    assert float(logs["g_loss"]) == pytest.approx(float(expected))
    assert "brightness" in logs


# ---- terms of the losses

def test_feature_matching_is_in_the_loss_of_g_with_its_weight(tiny):
    """D learns nothing here, so the gradient of G is linear in the weight."""
    changes = []
    for weight in (0.0, 1.0, 2.0):
        args = tiny(**frozen(feature_matching=weight, g_learning_rate=1.0))
        change, logs = change_of_weights(args, "generator")
        changes.append(change)
    assert float(logs["feature_distance"]) > 0
    for none, once, twice in zip(*changes):
        assert twice - once == pytest.approx(once - none, abs=1e-5)
    assert any(np.abs(once - none).max() > 1e-4 for none, once, _ in zip(*changes))


def test_the_adversarial_loss_of_g_has_its_weight(tiny):
    changes = []
    for weight in (0.0, 1.0, 3.0):
        args = tiny(**frozen(adversarial_weight=weight, g_learning_rate=1.0))
        change, logs = change_of_weights(args, "generator")
        changes.append(change)
    for none, once, thrice in zip(*changes):
        assert np.abs(none).max() == 0
        assert thrice == pytest.approx(3 * once, abs=1e-5)
    assert max(np.abs(once).max() for once in changes[1]) > 1e-4


@pytest.mark.parametrize("name, logged", [
    ("r1_weight", "r1"), ("gradient_penalty", "gradient_penalty")])
def test_penalty_is_in_the_loss_of_d_with_its_weight(tiny, name, logged):
    """Gradient descent moves D by the gradient of half the penalty, as the loss is a mean."""
    args = {"batch_norm": "generator"} | frozen(d_learning_rate=1.0)
    without, _ = change_of_weights(tiny(**args), "discriminator")
    args[name] = 3.0
    with_penalty, logs = change_of_weights(tiny(**args), "discriminator")

    gan = models.build(tiny(**args))
    with tf.GradientTape() as tape:
        if name == "r1_weight":
            penalty = losses.r1(gan.discriminator, REAL)
        else:
            fake = gan.generator(gan.sample_z(8), training=True)
            penalty = losses.gradient_penalty(
                gan.discriminator, REAL, fake, gan.seed(Purpose.PENALTY))
    gradients = tape.gradient(penalty, gan.discriminator.trainable_weights)
    assert float(logs[logged]) == pytest.approx(float(penalty), rel=1e-4)
    assert logged in gan.logged
    for one, other, gradient in zip(with_penalty, without, gradients):
        if gradient is not None:  # the last bias
            expected = 3.0 / 2 * gradient.numpy()
            tolerance = 1e-3 * np.abs(expected).max() + 1e-6
            np.testing.assert_allclose(one - other, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("batch, weight", [(0, 0.0), (1, 0.0), (2, 6.0), (3, 0.0), (5, 6.0)])
def test_r1_every_third_batch_counts_three_times(tiny, batch, weight):
    args = {"batch_norm": "generator"} | frozen(d_learning_rate=1.0)
    lazy, logs = change_of_weights(
        tiny(r1_weight=2.0, r1_every=3, **args), "discriminator", batch)
    expected, _ = change_of_weights(tiny(r1_weight=weight, **args), "discriminator", batch)
    assert (float(logs["r1"]) > 0) == (weight > 0)
    for one, other in zip(lazy, expected):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)


# ---- what D sees

@pytest.mark.parametrize("batches, shares", [
    (4, {0: 1.0, 1: 0.75, 3: 0.25, 4: 0.0, 9: 0.0}),
    (0, {0: 1.0, 1000: 1.0}),
])
def test_instance_noise_fades(tiny, batches, shares):
    gan = models.build(tiny(**frozen(instance_noise=0.5, instance_noise_batches=batches)))
    views = record_views(gan)
    for batch, share in shares.items():
        gan.batch.assign(batch)
        real, fake = REAL.numpy(), gan.generator(gan.sample_z(8), training=True).numpy()
        views.clear()
        gan.train_step(REAL)
        for view, images in zip(views, (real, fake, fake), strict=True):
            assert (view - images).std() == pytest.approx(0.5 * share, rel=0.02)
        if share:
            assert not (views[1] == views[2]).any()  # G's update has other noise


def test_all_images_are_augmented_in_both_updates(tiny):
    gan = models.build(tiny(augment="cutout"))
    views = record_views(gan)
    gan.train_step(REAL)
    assert len(views) == 3
    for view in views:
        assert (view == 0).all(3).sum((1, 2)).min() >= 16 * 16
    assert ((views[1] == 0) != (views[2] == 0)).any()


def test_d_sees_earlier_fakes_in_its_update_alone(tiny):
    gan = models.build(tiny(replay_size=16, replay_fraction=0.5))
    views = record_views(gan)
    gan.train_step(REAL)
    first_fakes = views[2]
    assert (views[1] == first_fakes).all()  # there is nothing earlier yet
    views.clear()
    gan.train_step(REAL)
    assert (views[1][4:] == views[2][4:]).all()
    earlier = [image.tobytes() for image in data.denormalize(first_fakes)]
    assert all(image.tobytes() in earlier for image in data.denormalize(views[1][:4]))
    assert not any(image.tobytes() in earlier for image in data.denormalize(views[2]))


def test_replay_buffer_is_refused_on_several_devices(tiny, monkeypatch):
    two_devices = types.SimpleNamespace(num_replicas_in_sync=2)
    gan = models.build(tiny())
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: two_devices)
    with pytest.raises(ValueError, match="`replay_size`"):
        adversarial.GAN(tiny(replay_size=64), gan.generator, gan.discriminator)


# ---- classes

@pytest.fixture(scope="module")
def conditional():
    from conftest import tiny_preset
    return models.build(tiny_preset(conditional=True), classes=3)


def test_z_of_classes_has_them_one_hot(conditional):
    z = conditional.sample_z(6).numpy()
    assert z.shape == (6, 103)
    assert (z[:, 100:] == np.eye(3)[[0, 1, 2, 0, 1, 2]]).all()
    z = conditional.sample_z(2, labels=[2, 2]).numpy()
    assert (z[:, 100:] == np.eye(3)[[2, 2]]).all()


def test_classes_are_interpolated_linearly(conditional):
    start, end = conditional.sample_z(2).numpy()
    steps = conditional.interpolate(start, end, [0.0, 0.25]).numpy()
    assert steps[0] == pytest.approx(start, abs=1e-6)
    assert steps[1, 100:] == pytest.approx([0.75, 0.25, 0])
    lengths = np.linalg.norm([start[:100], end[:100]], axis=1)
    expected = 0.75 * lengths[0] + 0.25 * lengths[1]
    assert np.linalg.norm(steps[1, :100]) == pytest.approx(expected, rel=1e-5)


def test_both_networks_learn_the_classes(conditional):
    logs = conditional.train_step((REAL, np.arange(8, dtype="int32") % 3))
    assert tuple(logs) != () and set(logs) == set(conditional.logged)
    for name in ("d_loss_class", "g_loss_class"):
        assert float(logs[name]) == pytest.approx(np.log(3), abs=0.5)


@pytest.mark.slow
def test_g_learns_the_hair_color_it_is_asked_for_and_many_faces_of_each(here):
    import args as constants
    from models import metrics, toyfaces

    def hair_color(images):
        """Returns the hair color nearest to the median of what lies above the eyes."""
        colors = np.array(list(toyfaces.HAIR_COLORS.values()))
        seen = np.median(images[:, 8:26, 22:42].reshape(len(images), -1, 3), 1)
        return np.argmin(np.square(seen[:, None] - colors).sum(2), 1)

    args = constants.override(
        constants.ToyFaces, conditional=True, dataset_size=2000, generator_filters=(64, 32, 16, 8),
        generator_extra_filters=(), discriminator_filters=(8, 16, 32, 64))
    data.make(args)
    images, factors = toyfaces.sample(500, seed=1)
    assert (hair_color(images) == factors[:, 0]).all()
    gan = models.build(args, classes=8)
    gan.fit(data.load(args), steps_per_epoch=400, verbose=0, shuffle=False)
    gan.update_batch_norm()
    asked = np.arange(500) % 8
    generated = gan.sample(gan.sample_z(500, Purpose.GENERATE, 0, asked)).numpy()
    assert (hair_color(data.denormalize(generated)) == asked).mean() >= 0.9
    blue, real_blue = generated[asked == 3], data.normalize(images[factors[:, 0] == 3])
    assert metrics.distances(blue).mean() > 0.5 * metrics.distances(real_blue).mean()


# ---- randomness and sampling

def test_z_depends_on_seed_batch_and_purpose_alone(tiny):
    gan, other = models.build(tiny()), models.build(tiny(seed=1))
    z = gan.sample_z(8).numpy()
    assert (gan.sample_z(8).numpy() == z).all()
    gan.batch.assign(1)
    assert (gan.sample_z(8).numpy() != z).all()
    assert (gan.sample_z(8, batch=0).numpy() == z).all()
    assert (gan.sample_z(8, Purpose.GRID, 0).numpy() != z).all()
    assert (other.sample_z(8).numpy() != z).all()


def test_samples_are_those_of_the_averaged_generator(tiny):
    gan = models.build(tiny())
    for weight in gan.generator.trainable_weights:
        weight.assign(weight + 0.1)
    z = gan.sample_z(4)
    expected = gan.generator_ema(z, training=False)
    assert (gan.sample(z).numpy() == expected.numpy()).all()
    without = models.build(tiny(ema_decay=0.0))
    assert without.generator_ema is None
    expected = without.generator(z, training=False)
    assert (without.sample(z).numpy() == expected.numpy()).all()


def test_averaged_generator_gets_batch_norm_statistics_of_its_own_images(tiny):
    gan = models.build(tiny())
    gan.update_batch_norm()
    z = gan.sample_z(256, Purpose.STATISTICS)
    expected = gan.generator(z, training=True).numpy()
    assert np.abs(gan.sample(z) - expected).max() < 1e-5


def test_dropout_of_g_is_on_in_samples_and_sampling_leaves_its_seeds(tiny):
    gan = models.build(tiny(g_dropout=0.5))
    gan.update_batch_norm()
    seeds = values(gan.state["seeds"])
    z = np.repeat(gan.sample_z(1), 2, 0)
    first, second = gan.sample(z).numpy()
    assert np.abs(first - second).max() > 1e-3                      # the same z, another image
    assert (gan.sample(z).numpy() == [first, second]).all()         # and again the same
    assert np.abs(gan.sample(z, batch=1) - [first, second]).max() > 1e-3
    assert equal(seeds, values(gan.state["seeds"]))


# ---- logs and precision

@pytest.mark.parametrize("changes", [
    {},
    {"r1_weight": 1.0, "gradient_penalty": 1.0, "feature_matching": 1.0, "batch_norm": "none",
     "precision": "mixed_float16"},
    {"d_updates": "apart", "feature_matching": 1.0},
])
def test_step_returns_what_is_logged(tiny, changes):
    gan = models.build(tiny(**changes))
    logs = gan.train_step(REAL)
    assert set(logs) == set(gan.logged)
    assert gan.logged[:3] == ("d_loss_real", "d_loss_fake", "g_loss")
    assert all(np.isfinite(float(value)) for value in logs.values())


@pytest.mark.parametrize("precision, changes", [
    ("mixed_float16",
     {"minibatch_kernels": 5, "feature_matching": 1.0, "conditional": True}),
    ("mixed_float16",
     {"batch_norm": "generator", "spectral_norm": True, "r1_weight": 1.0}),
    ("mixed_bfloat16",
     {"batch_norm": "generator", "spectral_norm": True, "minibatch_kernels": 5}),
    ("mixed_bfloat16",
     {"network": "keras_example", "batch_norm": "none",
      "kernel_initializer": "glorot_uniform"}),
], ids=["conditional", "r1", "spectral_norm", "keras_example"])
def test_losses_images_and_weights_stay_float32_in_any_precision(tiny, precision, changes):
    args = tiny(precision=precision, **changes)
    gan = models.build(args, 3 if args.conditional else 0)
    batch = (REAL, np.arange(8) % 3) if args.conditional else REAL
    before = values(gan.generator.trainable_weights)
    for _ in range(2):
        logs = gan.train_step(batch)
    assert all(value.dtype == "float32" and np.isfinite(value) for value in logs.values())
    layers = [layer for network in gan.networks.values() for layer in network.layers]
    assert {weight.dtype for layer in layers for weight in layer.weights} == {"float32"}
    assert precision.removeprefix("mixed_") in {layer.compute_dtype for layer in layers}
    assert gan.sample(gan.sample_z(2)).dtype == "float32"
    assert not equal(before, values(gan.generator.trainable_weights))


def test_less_precision_takes_nearly_the_same_step(tiny):
    found = []
    for precision in ("float32", "mixed_bfloat16", "mixed_float16"):
        logs = models.build(tiny(precision=precision)).train_step(REAL)
        names = ("d_loss_real", "d_loss_fake", "g_loss", "d_gradient_norm")
        found.append([float(logs[name]) for name in names])
    full, bfloat16, float16 = found
    assert bfloat16 == pytest.approx(full, rel=0.05) and bfloat16 != full
    assert float16 == pytest.approx(full, rel=0.01) and float16 != full


def test_overflow_in_float16_is_skipped_and_counted(tiny):
    gan = models.build(tiny(precision="mixed_float16", ema_decay=0.0))
    gan.train_step(REAL)
    before = values(gan.generator.trainable_weights)
    gan.g_optimizer.dynamic_scale.assign(1e38)
    logs = gan.train_step(REAL)
    assert equal(before, values(gan.generator.trainable_weights))
    assert float(logs["skipped"]) == 1 and float(logs["g_gradient_norm"]) == 0
    gan.g_optimizer.dynamic_scale.assign(1024.0)
    logs = gan.train_step(REAL)
    assert float(logs["skipped"]) == 1 and float(logs["g_gradient_norm"]) > 0
    assert not equal(before, values(gan.generator.trainable_weights))
