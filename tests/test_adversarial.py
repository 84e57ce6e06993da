"""models/adversarial.py: the training step, the terms of both losses, and sampling."""
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import REAL, equal, small_preset, values

import data
import models
from models import adversarial, ema, losses
from models.randomness import Purpose

# At a learning rate of 1, gradient descent moves the weights by minus the gradient.
DESCENT = {"d_learning_rate": 1.0, "g_learning_rate": 1.0}
FROZEN = {"d_learning_rate": 0.0, "g_learning_rate": 0.0}
# With weights from N(0, 0.02) and no batch norm, D's gradient at an image is tiny.
STEEP = DESCENT | {"batch_norm": "generator", "kernel_initializer": "glorot_uniform"}


def kernels_differ(before, after):
    """Returns whether every kernel differs. Biases may start with a gradient of 0."""
    pairs = zip(before, after, strict=True)
    return not any((one == other).all() for one, other in pairs if one.ndim > 1)


def gradient_of_step(args, network, batch=0):
    """Returns by how much a step at batch number `batch` lowers the weights of a network."""
    gan = models.build(args)
    gan.batch.assign(batch)
    weights = getattr(gan, network).trainable_weights
    before = values(weights)
    gan.train_step(REAL)
    return [old - new for old, new in zip(before, values(weights))]


# ---- two updates


def test_step_equals_the_textbook_with_a_second_generator_pass(small):
    args = small(real_labels=(0.9, 0.9), fake_labels=(0.1, 0.1),
                 d_learning_rate=0.1, g_learning_rate=0.1)
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
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_update_of_d_leaves_g_untouched(small):
    gan = models.build(small(g_learning_rate=0.0))
    generator = values(gan.generator.trainable_weights)
    discriminator = values(gan.discriminator.trainable_weights)
    gan.train_step(REAL)
    assert equal(generator, values(gan.generator.trainable_weights))
    assert kernels_differ(discriminator, values(gan.discriminator.trainable_weights))


def test_update_of_g_leaves_d_untouched_even_its_moving_averages(small):
    gan = models.build(small(d_learning_rate=0.0))
    before = values(gan.generator.trainable_weights)
    expected = ema.copy(gan.discriminator)
    fake = ema.copy(gan.generator)(gan.sample_z(8), training=True)
    gan.train_step(REAL)
    # D's own update shows it real images, then fakes, and no more.
    expected(REAL, training=True)
    expected(fake, training=True)
    for one, other in zip(gan.discriminator.weights, expected.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert kernels_differ(before, values(gan.generator.trainable_weights))


def test_real_and_fake_images_pass_d_in_batches_of_their_own(small):
    """Fakes cannot change D's loss on real images by way of batch norm [ganhacks 4]."""
    one, other = models.build(small()), models.build(small())
    for weight in other.generator.trainable_weights:
        weight.assign(weight + 0.1)
    logs, other_logs = one.train_step(REAL), other.train_step(REAL)
    assert float(logs["d_loss_real"]) == float(other_logs["d_loss_real"])
    assert float(logs["d_loss_fake"]) != float(other_logs["d_loss_fake"])


def test_gradient_norms_are_the_lengths_of_the_gradients(small):
    gan = models.build(small(**DESCENT))
    networks = {"d_gradient_norm": gan.discriminator, "g_gradient_norm": gan.generator}
    before = {name: values(network.trainable_weights) for name, network in networks.items()}
    logs = gan.train_step(REAL)
    for name, network in networks.items():
        after = values(network.trainable_weights)
        square = sum(np.square(new - old).sum() for old, new in zip(before[name], after))
        assert float(logs[name]) == pytest.approx(float(np.sqrt(square)), rel=1e-3)


def test_averaged_generator_follows_g(small):
    gan = models.build(small(ema_decay=0.25))
    before = values(gan.generator_ema.trainable_weights)
    gan.train_step(REAL)
    # After one batch the decay is (1 + 1) / (10 + 1).
    averages = gan.generator_ema.trainable_weights
    for old, weight, average in zip(before, gan.generator.trainable_weights, averages):
        expected = 2 / 11 * old + 9 / 11 * weight.numpy()
        np.testing.assert_allclose(average, expected, rtol=0, atol=1e-6)


# ---- the terms of both losses


def test_terms_have_the_weights_of_the_constants(small):
    """The penalties count half, as D's loss is the mean of its losses on real and fake images."""
    gan = models.build(small(
        conditional=True, batch_norm="generator", r1_weight=3.0, r1_every=4, gradient_penalty=5.0,
        feature_matching=7.0), classes=3)
    labels = tf.range(8) % 3
    z = gan.sample_z(8)
    fake = gan.generator(z, training=True)
    d_terms = gan.d_terms(REAL, fake, labels)
    g_terms = gan.g_terms(REAL, REAL, fake, z, labels)
    assert {name: weight for name, weight, _ in d_terms} == {
        "d_loss_real": 0.5, "d_loss_class": 0.5, "r1": 0.5 * 3 * 4, "d_loss_fake": 0.5,
        "gradient_penalty": 0.5 * 5}
    assert {name: weight for name, weight, _ in g_terms} == {
        "g_loss": 1.0, "g_loss_class": 1.0, "feature_distance": 7.0}
    assert gan.term_names[:3] == ["d_loss_real", "d_loss_fake", "g_loss"]
    assert set(gan.term_names) == {name for name, _, _ in d_terms + g_terms}


def test_penalty_adds_its_gradient_to_the_loss_of_d(small):
    without = gradient_of_step(small(**STEEP), "discriminator")
    for name in ("r1_weight", "gradient_penalty"):
        gan = models.build(small(**STEEP, **{name: 3.0}))
        d = gan.discriminator
        with tf.GradientTape() as tape:
            if name == "r1_weight":
                penalty = losses.r1(d, REAL)
            else:
                fake = gan.generator(gan.sample_z(8), training=True)
                penalty = losses.gradient_penalty(d, REAL, fake, gan.seed(Purpose.PENALTY))
        gradients = tape.gradient(penalty, d.trainable_weights)
        assert np.abs(gradients[0]).max() > 0.01
        before = values(d.trainable_weights)
        gan.train_step(REAL)
        for old, new, other, gradient in zip(
                before, values(d.trainable_weights), without, gradients):
            expected = 0 if gradient is None else 3.0 / 2 * gradient  # None: the last bias
            np.testing.assert_allclose(old - new - other, expected, rtol=1e-3, atol=1e-5)


def test_feature_matching_adds_its_gradient_to_the_loss_of_g(small):
    """D learns nothing here, so both steps differ by that gradient alone."""
    args = STEEP | {"d_learning_rate": 0.0}
    without = gradient_of_step(small(**args), "generator")
    gan = models.build(small(feature_matching=2.0, **args))
    weights, z = gan.generator.trainable_weights, gan.sample_z(8)
    with tf.GradientTape() as tape:
        fake = gan.generator(z, training=True)
        distance = losses.feature_distance(
            gan.features(REAL, training=True), gan.features(fake, training=True))
    gradients = tape.gradient(distance, weights)
    assert np.abs(gradients[0]).max() > 0.001
    before = values(weights)
    gan.train_step(REAL)
    for old, new, other, gradient in zip(before, values(weights), without, gradients):
        np.testing.assert_allclose(old - new - other, 2.0 * gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("batch, weight", [(1, 0.0), (2, 6.0)])
def test_r1_every_third_batch_counts_three_times(small, batch, weight):
    lazy = gradient_of_step(small(r1_weight=2.0, r1_every=3, **STEEP), "discriminator", batch)
    expected = gradient_of_step(small(r1_weight=weight, **STEEP), "discriminator", batch)
    for one, other in zip(lazy, expected):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("changes, d_real, d_fake, g", [
    ({"loss": "least_squares"}, losses.squared_error, losses.squared_error, losses.squared_error),
    ({"loss": "hinge"}, losses.hinge_real, losses.hinge_fake, losses.negative_mean_logit),
    ({"g_objective": "saturating"},
     losses.cross_entropy, losses.cross_entropy, losses.saturating),
], ids=["least_squares", "hinge", "saturating"])
def test_loss_is_chosen_by_name(small, changes, d_real, d_fake, g):
    gan = models.build(small(real_labels=(1.0, 1.0), **FROZEN, **changes))
    fake = gan.generator(gan.sample_z(8), training=True)
    real_logits = gan.discriminator(REAL, training=True)
    fake_logits = gan.discriminator(fake, training=True)
    logs = gan.train_step(REAL)
    assert float(logs["d_loss_real"]) == pytest.approx(float(d_real(real_logits, 1.0)), abs=1e-5)
    assert float(logs["d_loss_fake"]) == pytest.approx(float(d_fake(fake_logits, 0.0)), abs=1e-5)
    assert float(logs["g_loss"]) == pytest.approx(float(g(fake_logits, 1.0)), abs=1e-5)


class Relativistic(adversarial.GAN):
    """D tells whether a real image looks more real than a fake, or less [arXiv:1807.00734]."""

    term_names = ("d_loss", "g_loss", "brightness")

    def d_terms(self, real_view, fake_view, labels):
        real = self.discriminator(real_view, training=True)
        fake = self.discriminator(fake_view, training=True)
        return [("d_loss", 1.0, losses.cross_entropy(real - fake, 1.0))]

    def g_terms(self, real, real_view, fake, inputs, labels):
        real_logits = self.discriminator(real_view, training=True)
        fake_logits = self.discriminator(self.view(fake, Purpose.SECOND_VIEW), training=True)
        return [("g_loss", 1.0, losses.cross_entropy(fake_logits - real_logits, 1.0)),
                ("brightness", 0.1, tf.reduce_mean(fake))]


def test_subclass_has_other_terms_and_the_same_step(small):
    built = models.build(small(**DESCENT))
    gan = Relativistic(built.args, built.generator, built.discriminator)
    gan.compile(built.d_optimizer, built.g_optimizer)
    d, weights = ema.copy(gan.discriminator), gan.discriminator.trainable_weights
    before, g_before = values(weights), values(gan.generator.trainable_weights)
    fake = ema.copy(gan.generator)(gan.sample_z(8), training=True)
    with tf.GradientTape() as tape:
        loss = losses.cross_entropy(d(REAL, training=True) - d(fake, training=True), 1.0)
    gradients = tape.gradient(loss, d.trainable_weights)

    logs = gan.train_step(REAL)
    assert float(logs["d_loss"]) == pytest.approx(float(loss), rel=1e-5)
    assert float(logs["brightness"]) == pytest.approx(float(tf.reduce_mean(fake)), abs=1e-5)
    for old, new, gradient in zip(before, values(weights), gradients):
        np.testing.assert_allclose(old - new, gradient, rtol=0, atol=1e-6)
    assert kernels_differ(g_before, values(gan.generator.trainable_weights))


# ---- targets


def test_flipped_targets_are_those_of_d_alone(small):
    gan = models.build(small(
        real_labels=(0.9, 0.9), fake_labels=(0.1, 0.1), g_labels=(0.8, 0.8), label_flip=1.0))
    logits = tf.zeros([8, 1])
    assert gan.real_targets(logits).numpy() == pytest.approx(0.1)
    assert gan.fake_targets(logits).numpy() == pytest.approx(0.9)
    assert gan.g_targets(logits).numpy() == pytest.approx(0.8)


# ---- what D sees


def record_views(gan):
    """Returns a list that gets every batch of images that D sees.

    In a step these are real images and fakes in D's update, then fakes in G's.
    """
    views = []
    call = gan.discriminator.call

    def recording_call(images, *args, **options):
        views.append(np.array(images))
        return call(images, *args, **options)

    gan.discriminator.call = recording_call
    return views


def test_all_images_are_augmented_in_both_updates(small):
    gan = models.build(small(augment="cutout"))
    views = record_views(gan)
    gan.train_step(REAL)
    assert len(views) == 3
    for view in views:
        assert (view == 0).all(3).sum((1, 2)).min() >= 4 * 4
    assert ((views[1] == 0) != (views[2] == 0)).any()  # G's update augments the fakes anew


@pytest.mark.parametrize("batches, shares", [
    (4, {0: 1.0, 1: 0.75, 3: 0.25, 4: 0.0, 9: 0.0}),
    (0, {0: 1.0, 1000: 1.0}),
])
def test_instance_noise_fades(small, batches, shares):
    gan = models.build(small(instance_noise=0.5, instance_noise_batches=batches))
    for batch, share in shares.items():
        gan.batch.assign(batch)
        noise = gan.view(REAL, Purpose.REAL_VIEW) - REAL
        assert noise.numpy().std() == pytest.approx(0.5 * share, rel=0.05)
        if share:
            assert not (noise == gan.view(REAL, Purpose.FAKE_VIEW) - REAL).numpy().any()


def test_d_sees_earlier_fakes_in_its_update_alone(small):
    gan = models.build(small(replay_size=16, replay_fraction=0.5))
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


def test_replay_buffer_is_refused_on_several_devices(small, monkeypatch):
    two_devices = types.SimpleNamespace(num_replicas_in_sync=2)
    gan = models.build(small())
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: two_devices)
    with pytest.raises(ValueError, match="`replay_size`"):
        adversarial.GAN(small(replay_size=64), gan.generator, gan.discriminator)


# ---- classes


@pytest.fixture(scope="module")
def conditional():
    return models.build(small_preset(conditional=True), classes=3)


def test_classes_are_one_hot_behind_z(conditional):
    z = conditional.sample_z(6).numpy()
    assert z.shape == (6, 103)
    assert (z[:, 100:] == np.eye(3)[[0, 1, 2, 0, 1, 2]]).all()
    z = conditional.sample_z(2, labels=[2, 2]).numpy()
    assert (z[:, 100:] == np.eye(3)[[2, 2]]).all()


def test_classes_are_interpolated_linearly(conditional):
    start, end = conditional.sample_z(2).numpy()
    steps = conditional.sampler.interpolate(start, end, [0.0, 0.25]).numpy()
    assert steps[0] == pytest.approx(start, abs=1e-6)
    assert steps[1, 100:] == pytest.approx([0.75, 0.25, 0])
    lengths = np.linalg.norm([start[:100], end[:100]], axis=1)
    expected = 0.75 * lengths[0] + 0.25 * lengths[1]
    assert np.linalg.norm(steps[1, :100]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("latent, smallest, largest", [
    ("normal", (0.0, 0.1), (2.0, 6.0)),
    ("uniform", (0.0, 0.1), (0.9, 1.0)),
    ("binary", (0.9, 1.0), (1.0, 1.1)),
])
def test_latent_chooses_the_distribution_of_z(small, latent, smallest, largest):
    z = np.abs(models.build(small(latent=latent)).sample_z(8))
    assert smallest[0] <= z.min() <= smallest[1]
    assert largest[0] <= z.max() <= largest[1]


def test_labels_of_the_batch_reach_z_and_a_term_of_both_losses(conditional):
    labels = np.array([2, 2, 0, 1, 0, 2, 1, 1], "int32")
    _, received, z = conditional.unpack((REAL, labels))
    assert (received == labels).all()
    assert (z[:, 100:].numpy() == np.eye(3)[labels]).all()  # G is asked for the same classes
    logs = conditional.train_step((REAL, labels))
    for name in ("d_loss_class", "g_loss_class"):
        assert float(logs[name]) == pytest.approx(np.log(3), abs=0.5)


@pytest.mark.slow
def test_g_learns_the_hair_color_it_is_asked_for_and_many_faces_of_each(here):
    import args as constants
    from models.toys import faces
    from training.scores import metrics

    def hair_color(images):
        """Returns the hair color nearest to the median of what lies above the eyes."""
        colors = np.array(list(faces.HAIR_COLORS.values()))
        seen = np.median(images[:, 8:26, 22:42].reshape(len(images), -1, 3), 1)
        return np.argmin(np.square(seen[:, None] - colors).sum(2), 1)

    args = constants.override(
        constants.ToyFaces, conditional=True, dataset_size=2000, generator_filters=(64, 32, 16, 8),
        generator_extra_filters=(), discriminator_filters=(8, 16, 32, 64))
    data.make(args)
    images, factors = faces.sample(500, seed=1)
    assert (hair_color(images) == factors[:, 0]).all()
    gan = models.build(args, classes=8)
    gan.fit(data.load(args), steps_per_epoch=400, verbose=0, shuffle=False)
    gan.update_batch_norm()
    asked = np.arange(500) % 8
    generated = gan.sample(gan.sample_z(500, Purpose.GENERATE, 0, asked)).numpy()
    assert (hair_color(data.denormalize(generated)) == asked).mean() >= 0.9
    blue, real_blue = generated[asked == 3], data.normalize(images[factors[:, 0] == 3])
    assert metrics.distances(blue).mean() > 0.5 * metrics.distances(real_blue).mean()


# ---- sampling


def test_z_is_another_in_each_batch(small):
    gan = models.build(small())
    z = gan.sample_z(8).numpy()
    assert (gan.sample_z(8).numpy() == z).all()
    gan.batch.assign(1)
    assert (gan.sample_z(8).numpy() != z).all()
    assert (gan.sample_z(8, batch=0).numpy() == z).all()
    assert (gan.sample_z(8, Purpose.GRID, 0).numpy() != z).all()


def test_samples_come_from_the_averaged_generator(small):
    for ema_decay in (0.9, 0.0):
        gan = models.build(small(ema_decay=ema_decay))
        for weight in gan.generator.trainable_weights:
            weight.assign(weight + 0.1)
        expected = gan.generator_ema if ema_decay else gan.generator
        z = gan.sample_z(4)
        assert (gan.sample(z).numpy() == expected(z, training=False).numpy()).all()
    assert gan.generator_ema is None


@pytest.mark.parametrize("ema_decay", [0.9, 0.0])
def test_samples_have_the_batch_norm_statistics_of_generated_images(small, ema_decay):
    gan = models.build(small(image_shape=(8, 8, 3), generator_filters=(8,), ema_decay=ema_decay))
    gan.update_batch_norm()
    z = gan.sample_z(256, Purpose.STATISTICS)
    samples = gan.sample(z).numpy()
    expected = gan.generator(z, training=True).numpy()
    assert np.abs(samples - expected).max() < 1e-5


def test_dropout_of_g_is_on_in_samples_and_sampling_leaves_its_seeds(small):
    gan = models.build(small(g_dropout=0.5))
    seeds = values(gan.seeds)
    z = np.repeat(gan.sample_z(1), 2, 0)
    first, second = gan.sample(z).numpy()
    assert np.abs(first - second).max() > 1e-3                      # the same z, another image
    assert (gan.sample(z).numpy() == [first, second]).all()         # and again the same
    assert np.abs(gan.sample(z, batch=1) - [first, second]).max() > 1e-3
    assert len(seeds) == 2 and equal(seeds, values(gan.seeds))


# ---- logs, graphs and precision


def test_logs_are_means_over_the_epoch_and_over_the_batches_that_had_a_term(small):
    gan = models.build(small(r1_weight=1.0, r1_every=3))
    for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        loss = tf.constant(value)
        logs = gan.finish_step([("g_loss", 1.0, loss), ("r1", 1.0, loss)], loss, loss)
    assert int(gan.batch) == 6
    assert float(logs["g_loss"]) == float(logs["d_gradient_norm"]) == 3.5
    assert float(logs["r1"]) == (3 + 6) / 2
    gan.reset_metrics()
    logs = gan.finish_step([("g_loss", 1.0, tf.constant(7.0))], loss, loss)
    assert float(logs["g_loss"]) == 7.0


def test_graph_learns_what_eager_steps_learn(small):
    args = small(image_shape=(8, 8, 3), generator_filters=(8,), r1_weight=0.1, r1_every=2,
                 ema_decay=0.9, g_optimizer="adam")
    eager, graph = models.build(args), models.build(args)
    real = REAL[:, :8, :8]
    for _ in range(2):
        logs = eager.train_step(real)
    batches = tf.data.Dataset.from_tensors(real).repeat()
    history = graph.fit(batches, steps_per_epoch=2, verbose=0).history
    assert history.keys() == logs.keys()
    for name, value in logs.items():
        assert history[name] == [pytest.approx(float(value), rel=1e-3)]
    for network in ("generator", "discriminator", "generator_ema"):
        for one, other in zip(getattr(eager, network).weights, getattr(graph, network).weights):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)
    assert int(graph.batch) == int(graph.d_optimizer.iterations) == 2
    assert logs["r1"] > 0


@pytest.mark.parametrize("precision, changes", [
    ("mixed_float16",
     {"minibatch_kernels": 5, "feature_matching": 1.0, "conditional": True}),
    ("mixed_bfloat16",
     {"batch_norm": "generator", "spectral_norm": True, "r1_weight": 1.0, "r1_every": 2}),
], ids=["float16", "bfloat16"])
def test_losses_images_and_weights_stay_float32_in_any_precision(small, precision, changes):
    args = small(precision=precision, **changes)
    gan = models.build(args, 3 if args.conditional else 0)
    batch = (REAL, np.arange(8) % 3) if args.conditional else REAL
    before = values(gan.generator.trainable_weights)
    for _ in range(2):
        gan.train_step(batch)
    losses = [mean.result() for mean in gan.means.values()]
    assert all(loss.dtype == "float32" and np.isfinite(loss) for loss in losses)
    layers = gan.generator.layers + gan.discriminator.layers
    assert {weight.dtype for layer in layers for weight in layer.weights} == {"float32"}
    assert precision.removeprefix("mixed_") in {layer.compute_dtype for layer in layers}
    assert gan.sample(gan.sample_z(2)).dtype == "float32"
    # Only float16 needs losses to be scaled.
    scales = isinstance(gan.g_optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (precision == "mixed_float16")
    assert not equal(before, values(gan.generator.trainable_weights))


def test_less_precision_takes_nearly_the_same_step(small):
    found = []
    for precision in ("float32", "mixed_bfloat16", "mixed_float16"):
        logs = models.build(small(precision=precision)).train_step(REAL)
        names = ("d_loss_real", "d_loss_fake", "g_loss", "d_gradient_norm")
        found.append([float(logs[name]) for name in names])
    full, bfloat16, float16 = found
    assert bfloat16 == pytest.approx(full, rel=0.05) and bfloat16 != full
    assert float16 == pytest.approx(full, rel=0.01) and float16 != full


def test_update_that_overflows_in_float16_is_skipped(small):
    gan = models.build(small(precision="mixed_float16"))
    before = values(gan.generator.trainable_weights)
    gan.g_optimizer.dynamic_scale.assign(1e38)
    logs = gan.train_step(REAL)
    assert equal(before, values(gan.generator.trainable_weights))
    assert float(logs["g_gradient_norm"]) == 0 < float(logs["d_gradient_norm"])
    gan.g_optimizer.dynamic_scale.assign(1024.0)
    gan.train_step(REAL)
    assert not equal(before, values(gan.generator.trainable_weights))
