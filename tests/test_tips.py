"""Every tip of the sources, in their order: each test fails where its constant does nothing."""
import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import args as constants
import callbacks
import data
import gan as story
import models
from models import adversarial, augment, dcgan, layers, losses, metrics, toyfaces

REAL = np.float32(np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)))
LOGITS = tf.constant([[-2.0], [1.0]])


def weights(variables):
    return [variable.numpy() for variable in variables]


def equal(before, after):
    return all((a == b).all() for a, b in zip(before, after, strict=True))


def kinds(network):
    return [type(layer).__name__ for layer in network.layers]


def eyes(model, shown):
    """Makes `model`'s D note in `shown` every batch of images it is shown, in order: real, fake, fake in G's step."""
    judge = model.discriminator.call

    def look(images, *args, **kwargs):
        shown.append(np.array(images))
        return judge(images, *args, **kwargs)
    model.discriminator.call = look


# ---- ganhacks 2: the objective; the losses beyond it

def test_the_losses_by_hand():
    labels = tf.constant([[0.5], [1.0]])
    # softplus(-2) = 0.126928, softplus(-1) = 0.313262
    by_hand = {"cross_entropy": (((0.126928 + 0.5 * 2) + 0.313262) / 2, (2.126928 + 0.313262) / 2),
               "least_squares": ((2.5 ** 2 + 0) / 2 / 2, (3 ** 2 + 0) / 2 / 2),
               "hinge": ((3 + 0) / 2, 0.5), "wasserstein": (0.5, 0.5)}
    for name, (d_real, g) in by_hand.items():
        assert float(losses.LOSSES[name][0](LOGITS, labels)) == pytest.approx(d_real, abs=1e-5)
        assert float(losses.LOSSES[name][2](LOGITS, 1.0)) == pytest.approx(g, abs=1e-5)
    assert float(losses.LOSSES["least_squares"][1](LOGITS, labels)) == pytest.approx(6.25 / 4)
    assert float(losses.LOSSES["hinge"][1](LOGITS, labels)) == pytest.approx((0 + 2) / 2)
    assert float(losses.LOSSES["wasserstein"][1](LOGITS, labels)) == pytest.approx(-0.5)


def test_the_saturating_objective_by_hand_and_where_it_saturates():
    # log(1 - sigmoid(-2)) = -0.126928, log(1 - sigmoid(1)) = -1.313262
    assert float(losses.saturating(LOGITS, 1.0)) == pytest.approx(-(0.126928 + 1.313262) / 2, abs=1e-5)
    sure = tf.Variable([[-20.0]])  # D is sure that it is a fake: one objective has no gradient there, the other has
    with tf.GradientTape(persistent=True) as tape:
        saturating, not_saturating = losses.saturating(sure, 1.0), losses.LOSSES["cross_entropy"][2](sure, 1.0)
    assert tape.gradient(saturating, sure).numpy() == pytest.approx(0, abs=1e-8)
    assert tape.gradient(not_saturating, sure).numpy() == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("loss", ["least_squares", "hinge", "wasserstein", "saturating"])
def test_the_step_uses_the_loss_that_is_named(deep, loss):
    changes = {"g_objective": "saturating"} if loss == "saturating" else {"loss": loss}
    changes |= {"batch_norm": "generator", "gradient_penalty": 1.0} if loss == "wasserstein" else {}
    logs = models.build(deep(d_learning_rate=0.0, **changes)).train_step(REAL)
    plain = models.build(deep(d_learning_rate=0.0, batch_norm=changes.get("batch_norm", "both")))
    logits = plain.discriminator(plain.generator(plain.draw(8), training=True), training=True)
    expected = losses.saturating(logits, 1.0) if loss == "saturating" else losses.LOSSES[loss][2](logits, 1.0)
    assert float(logs["g_loss"]) == pytest.approx(float(expected), abs=1e-5)


# ---- ganhacks 5: down and up without sparse gradients; cartoon 3

@pytest.mark.parametrize("upsampling, kind", [("transpose", "Conv2DTranspose"), ("pixel_shuffle", "PixelShuffle"),
                                              ("nearest", "UpSampling2D"), ("bilinear", "UpSampling2D")])
def test_the_generator_goes_up_as_named(deep, upsampling, kind):
    g = dcgan.build_generator(deep(upsampling=upsampling))
    assert kinds(g).count(kind) == (5 if kind == "Conv2DTranspose" else 4)  # the first, over one pixel, is always one
    assert kinds(g).count("Conv2DTranspose") == (5 if upsampling == "transpose" else 1)
    assert {layer.interpolation for layer in g.layers if hasattr(layer, "interpolation")} <= {upsampling}
    images = g(tf.random.normal([2, 100]))
    assert images.shape == (2, 64, 64, 3) and float(tf.reduce_max(tf.abs(images))) <= 1


@pytest.mark.parametrize("downsampling, kind", [("average", "AveragePooling2D"), ("max", "MaxPooling2D")])
def test_the_discriminator_goes_down_as_named(deep, downsampling, kind):
    d = dcgan.build_discriminator(deep(downsampling=downsampling))
    assert kinds(d).count(kind) == 4
    assert {layer.strides for layer in d.layers if isinstance(layer, keras.layers.Conv2D)} == {(1, 1)}
    assert d.get_layer("features").output.shape == (None, 4 * 4 * 16)
    assert kinds(dcgan.build_discriminator(deep())).count(kind) == 0


def test_pixel_shuffle_by_hand():
    image = np.float32([[[[1, 2, 3, 4]]]])  # one pixel of four channels becomes four pixels of one
    assert (layers.PixelShuffle()(image).numpy()[0, :, :, 0] == [[1, 2], [3, 4]]).all()
    assert layers.PixelShuffle().compute_output_shape((None, 8, 4, 12)) == (None, 16, 8, 3)


def test_slopes_are_those_of_the_constants(deep):
    args = deep(g_leaky_slope=0.0, d_leaky_slope=0.3)
    for build, slope in (dcgan.build_generator, 0.0), (dcgan.build_discriminator, 0.3):
        assert {layer.negative_slope for layer in build(args).layers if hasattr(layer, "negative_slope")} == {slope}


# ---- ganhacks 6: what D is told

def test_flipped_labels_are_those_of_the_other_kind():
    told = losses.labels((0.9, 1.0), (0.0, 0.1), 0.25, 10000, [0, 0]).numpy()
    flipped = told < 0.5
    assert flipped.mean() == pytest.approx(0.25, abs=0.02) and told[flipped].max() <= 0.1
    assert told[~flipped].min() >= 0.9 and told[flipped].std() == pytest.approx(0.1 / 12 ** 0.5, rel=0.1)
    assert (losses.labels((0.9, 1.0), (0.0, 0.1), 1.0, 100, [0, 0]).numpy() <= 0.1).all()


@pytest.mark.parametrize("changes", [{"real_labels": (0.7, 1.2)}, {"fake_labels": (0.0, 0.3)}, {"label_flip": 0.5}])
def test_labels_change_what_d_learns_and_nothing_before(deep, changes):
    plain, told = (models.build(deep(real_labels=(1.0, 1.0), fake_labels=(0.0, 0.0)) if not one else
                                deep(**({"real_labels": (1.0, 1.0), "fake_labels": (0.0, 0.0)} | one))).train_step(REAL)
                   for one in ({}, changes))
    for name in "d_loss_real", "d_loss_fake":
        touched = name[7:] + "_labels" in changes or "label_flip" in changes
        assert (float(plain[name]) != float(told[name])) == touched


def test_what_labels_cost_is_the_entropy_of_their_mean():
    assert losses.cost_of_labels((0.9, 0.9), (0.0, 0.0), 0.0) == pytest.approx(0.325083, abs=1e-6)
    assert losses.cost_of_labels((1.0, 1.0), (0.0, 0.0), 0.0) == 0
    assert losses.cost_of_labels((1.0, 1.0), (0.0, 0.0), 0.5) == pytest.approx(np.log(2))


# ---- ganhacks 8: replay, checkpoints swapped in

def test_d_is_shown_old_fakes_and_the_oldest_leave(deep):
    model, shown = models.build(deep(replay_size=16, replay_fraction=0.5)), []
    eyes(model, shown)
    memory = []
    for step in range(4):
        del shown[:]
        model.train_step(REAL)
        _, fake, fresh = shown[:3]
        if not step:
            assert (fake == fresh).all()  # there is nothing old yet
        else:
            assert (fake[4:] == fresh[4:]).all()
            for image in fake[:4]:  # one of those in memory, to the byte
                assert any((data.denormalize(image) == old).all() for old in memory)
        memory = [*memory, *data.denormalize(fresh)][-16:]
        held = model.replay.numpy()[:8 * (step + 1)]
        assert sorted(map(bytes, held)) == sorted(map(bytes, np.array(memory)))  # the 16 newest, no older one


@pytest.fixture
def toys(here, tiny):
    data.make(tiny())
    return here


class Watch(keras.callbacks.Callback):
    """Notes the weights of both networks before and after each batch."""

    def __init__(self):
        super().__init__()
        self.before, self.after = [], []

    def look(self):
        return [weights(network.trainable_weights) for network in self.model.networks.values()]

    def on_train_batch_begin(self, step, logs=None):
        self.before.append(self.look())

    def on_train_batch_end(self, step, logs=None):
        self.after.append(self.look())


def test_a_snapshot_is_swapped_in_frozen_and_the_own_weights_come_back(toys, tiny, monkeypatch):
    args = tiny(batches=24, dump_every=4, swap_every=8, swap_for=3, keep_snapshots=99)
    watch = Watch()
    monkeypatch.setattr(story, "DUMPS", (story.DUMPS[0], lambda args, folder: watch, *story.DUMPS[1:]))
    story.train_gan(args)
    swapped = []
    for start in 8, 16:
        which = [index for index in range(3) if not equal(watch.before[start][index], watch.after[start - 1][index])]
        swapped.append(which[0])
        assert which in ([0, 2], [0], [1])  # G, with it its average where that is another by then, or D
        name = ("generator", "discriminator")[which[0]]
        old = [weights(network.trainable_weights) for path in callbacks.snapshots(toys / "runs/toyfaces")
               if int(path.name) < start for network in [models.build(args).networks[name]]
               if not network.load_weights(path / f"{name}.weights.h5")]
        for step in range(start, start + 3):  # frozen, as it was then
            assert any(equal(watch.before[step][which[0]], one) for one in old)
            if step < start + 2:
                assert equal(watch.after[step][which[0]], watch.before[step][which[0]])
                assert not equal(watch.after[step][1 - which[0]], watch.before[step][1 - which[0]])  # the other learns
        assert equal(watch.after[start + 2][which[0]], watch.after[start - 1][which[0]])  # back again
        assert not equal(watch.after[start + 3][which[0]], watch.before[start + 3][which[0]])  # and it learns again
    assert float(models.build(args).g_optimizer.learning_rate) == pytest.approx(args.g_learning_rate)


def test_one_snapshot_stays_for_the_whole_swap_though_a_dump_within_removes_the_oldest(toys, tiny, monkeypatch):
    args = tiny(batches=48, dump_every=4, swap_every=6, swap_for=3, keep_snapshots=3, ema_decay=0.0)
    watch = Watch()
    monkeypatch.setattr(story, "DUMPS", (story.DUMPS[0], lambda args, folder: watch, *story.DUMPS[1:]))
    story.train_gan(args)
    for start in 18, 30, 42:  # the dump is at 20, 32, 44
        assert [index for index in range(2) if not equal(watch.before[start][index], watch.after[start - 1][index])]
        same = [index for index in range(2)
                if all(equal(watch.before[start][index], watch.before[step][index]) for step in (start + 1, start + 2))]
        assert len(same) == 1  # the other one has learned


# ---- ganhacks 9, scratch 5: the optimizers

def test_optimizers_and_learning_rates_are_those_of_the_constants(deep):
    model = models.build(deep(d_optimizer="sgd", d_learning_rate=4e-4, g_learning_rate=1e-4))
    assert isinstance(model.d_optimizer, keras.optimizers.SGD) and isinstance(model.g_optimizer, keras.optimizers.Adam)
    assert float(model.d_optimizer.learning_rate) == pytest.approx(4e-4)
    assert float(model.g_optimizer.learning_rate) == pytest.approx(1e-4) and model.g_optimizer.beta_1 == 0.5
    before = weights(model.discriminator.trainable_weights)
    twin = models.build(deep(d_optimizer="sgd", d_learning_rate=8e-4))
    model.train_step(REAL)
    twin.train_step(REAL)
    for old, new, double in zip(before, weights(model.discriminator.trainable_weights),
                                weights(twin.discriminator.trainable_weights)):
        assert double - old == pytest.approx(2 * (new - old), abs=1e-6)  # plain gradient descent is linear in its rate


# ---- ganhacks 12: labels

def test_each_class_has_an_input_of_g_and_a_logit_of_d(deep):
    model = models.build(deep(), classes=3)
    z = model.draw(6)
    assert z.shape == (6, 103) and (z.numpy()[:, 100:] == np.eye(3)[[0, 1, 2, 0, 1, 2]]).all()
    same = np.concatenate([np.repeat(z[:1, :100], 3, 0), np.eye(3)], 1)
    a, b, c = model.generator(same, training=True)
    assert np.abs(a - b).max() > 1e-3 and np.abs(b - c).max() > 1e-3  # it draws another image for another class
    assert model.discriminator(REAL).shape == (8, 4)
    logs = model.train_step((REAL, np.arange(8, dtype="int32") % 3))
    assert float(logs["d_loss_class"]) == pytest.approx(np.log(3), abs=0.3) and "g_loss_class" in model.logged


def hair_color(images):
    """Judges toy faces by their pixels: the hair colour nearest to the middle of what lies above the eyes."""
    colors = np.array(list(toyfaces.HAIR_COLORS.values()))
    seen = np.median(images[:, 8:26, 22:42].reshape(len(images), -1, 3), 1)
    return np.argmin(np.square(seen[:, None] - colors).sum(2), 1)


def test_g_draws_the_hair_colour_it_is_asked_for_and_many_faces_of_each(here):
    args = constants.override(constants.ToyFaces, conditional=True, dataset_size=2000,
                              generator_filters=(64, 32, 16, 8), generator_extra_filters=(),
                              discriminator_filters=(8, 16, 32, 64))
    data.make(args)
    images, factors = toyfaces.sample(500, seed=1)
    assert (hair_color(images) == factors[:, 0]).mean() == 1
    model = models.build(args, classes=8)
    model.fit(data.load(args), steps_per_epoch=400, verbose=0, shuffle=False)
    model.settle()
    asked = np.arange(500) % 8
    drawn = model.sample(model.draw(500, adversarial.GENERATE, 0, asked)).numpy()
    assert (hair_color(data.denormalize(drawn)) == asked).mean() >= 0.9
    blue, real_blue = drawn[asked == 3], data.normalize(images[factors[:, 0] == 3])
    assert metrics.distances(blue).mean() > 0.5 * metrics.distances(real_blue).mean()


def test_images_of_each_class_are_drawn_into_a_folder_of_their_own(toys, tiny):
    args = tiny(conditional=True, batches=2, generate_count=10)
    story.main(args)
    run = toys / "runs/toyfaces"
    drawn = run / "generated/000002"
    assert sorted(path.name for path in drawn.glob("red/*")) == ["00000.png", "00008.png"]
    assert sorted(path.name for path in drawn.glob("green/*")) == ["00002.png"]
    story.main(constants.override(args, generate_class="blue", generate_count=3))
    assert sorted(path.name for path in drawn.glob("blue/*")) == ["00000.png", "00001.png", "00002.png", "00003.png"]
    with pytest.raises(ValueError, match="`generate_class` must be one of .*red, .*generate_class='ginger'"):
        story.main(constants.override(args, generate_class="ginger"))


def test_labels_are_needed_where_they_are_asked_for(here, tiny):
    with h5py.File("none.hdf5", "w") as file:
        file["faces"] = np.zeros((32, 64, 64, 3), "uint8")
    with pytest.raises(ValueError, match="`conditional` and features=classifier need.*data=none.hdf5 without labels"):
        story.train_gan(tiny(conditional=True, data="none.hdf5"))


# ---- ganhacks 13, kmualim 1: instance noise

@pytest.mark.parametrize("batches, after, share", [(4, 0, 1.0), (4, 1, 0.75), (4, 3, 0.25), (4, 4, 0.0), (4, 9, 0.0),
                                                   (0, 1000, 1.0)])
def test_noise_on_all_that_d_sees_fades_to_none(deep, batches, after, share):
    model, shown = models.build(deep(instance_noise=0.5, instance_noise_batches=batches)), []
    eyes(model, shown)
    model.batch.assign(after)
    fake = model.generator(model.draw(8), training=True).numpy()
    model.train_step(REAL)
    assert (shown[0] - REAL).std() == pytest.approx(0.5 * share, rel=0.02)
    assert (shown[1] - fake).std() == pytest.approx(0.5 * share, rel=0.02)
    assert (shown[2] - fake).std() == pytest.approx(0.5 * share, rel=0.02)
    if share:
        assert not (shown[1] == shown[2]).any()  # drawn anew for G's step


# ---- ganhacks 17, kmualim 6: dropout

def test_dropout_stays_on_in_g_and_when_it_draws(deep):
    model = models.build(deep(g_dropout=0.5))
    model.settle()
    assert kinds(model.generator).count("AlwaysDropout") == 5
    z = np.repeat(model.draw(1), 2, 0)
    first, second = model.sample(z).numpy()
    assert np.abs(first - second).max() > 1e-3                          # the same z, drawn otherwise
    assert (model.sample(z).numpy() == [first, second]).all()           # and again
    assert np.abs(model.sample(z, batch=1).numpy() - [first, second]).max() > 1e-3
    dropped = layers.AlwaysDropout(0.5)(tf.ones([100, 100]), training=False).numpy()
    assert set(np.unique(dropped)) == {0, 2} and dropped.mean() == pytest.approx(1, abs=0.05)


def test_dropout_in_d_is_on_in_training_alone(deep):
    model = models.build(deep(d_dropout=0.5))
    d = model.discriminator
    assert kinds(d).count("Dropout") == 4 and {layer.rate for layer in d.layers if hasattr(layer, "rate")} == {0.5}
    assert (d(REAL).numpy() == d(REAL).numpy()).all()
    assert (d(REAL, training=True).numpy() != d(REAL, training=True).numpy()).all()


# ---- kmualim 2: warm-up

def test_d_learns_alone_while_it_warms_up(tiny):
    model = models.build(tiny(warmup_batches=2))
    for learns in False, False, True:
        before = weights(model.generator.trainable_weights), weights(model.discriminator.trainable_weights)
        tf.function(model.train_step)(REAL)
        assert equal(before[0], weights(model.generator.trainable_weights)) != learns
        assert not equal(before[1], weights(model.discriminator.trainable_weights))
    assert int(model.g_optimizer.iterations) == 1


# ---- kmualim 3 to 8: the networks

@pytest.mark.parametrize("size", [3, 4, 5])
def test_kernels_are_of_their_size(deep, size):
    model = models.build(deep(kernel_size=size, generator_extra_filters=()))
    for network, first in (model.generator, 1), (model.discriminator, 0):
        sizes = [layer.kernel_size for layer in network.layers if hasattr(layer, "kernel_size")]
        assert len(sizes) == 5 - (not first) and set(sizes[first:]) == {(size, size)}


def test_filters_are_those_of_the_constants(deep):
    args = deep(discriminator_filters=(12, 12, 12, 12), generator_filters=(24, 16, 8))
    filters = [[layer.filters for layer in build(args).layers if hasattr(layer, "filters")]
               for build in (dcgan.build_discriminator, dcgan.build_generator)]
    assert filters == [[12, 12, 12, 12], [24, 16, 8, 8, 3]]


@pytest.mark.parametrize("name, deviation", [("normal", 0.02), ("random_uniform", 0.05 / 3 ** 0.5),
                                             ("glorot_uniform", (2 / (9 * 2 * 64)) ** 0.5)])
def test_weights_are_drawn_as_named(deep, name, deviation):
    keras.utils.set_random_seed(0)
    d = dcgan.build_discriminator(deep(kernel_initializer=name, kernel_size=3, discriminator_filters=(64, 64)))
    assert d.layers[3].kernel.numpy().std() == pytest.approx(deviation, rel=0.02)


def test_orthogonal_weights_are_orthogonal(deep):
    d = dcgan.build_discriminator(deep(kernel_initializer="orthogonal"))
    matrix = d.layers[3].kernel.numpy().reshape(-1, 8)
    assert matrix.T @ matrix == pytest.approx(np.eye(8), abs=1e-5)


@pytest.mark.parametrize("batch_norm, counts", [("both", (5, 3)), ("generator", (5, 0)), ("discriminator", (0, 3)),
                                                ("none", (0, 0))])
def test_batch_norm_is_where_it_is_named(deep, batch_norm, counts):
    model = models.build(deep(batch_norm=batch_norm))
    assert tuple(kinds(network).count("BatchNormalization")
                 for network in (model.generator, model.discriminator)) == counts


def test_momenta_and_biases_are_those_of_the_constants(deep):
    model = models.build(deep(bn_momentum=0.3, use_bias=False, beta_1=0.1))
    for network in model.generator, model.discriminator:
        assert {layer.momentum for layer in network.layers if hasattr(layer, "momentum")} == {0.3}
        assert not any(getattr(layer, "use_bias", False) for layer in network.layers)
    assert model.d_optimizer.beta_1 == model.g_optimizer.beta_1 == 0.1


# ---- scratch 1: one update of D or two

def test_g_is_told_its_own_labels(deep):
    quiet = {"d_learning_rate": 0.0, "g_learning_rate": 0.0}
    soft, hard = (models.build(deep(g_labels=limits, **quiet)) for limits in ((0.9, 0.9), (1.0, 1.0)))
    logs = [float(model.train_step(REAL)["g_loss"]) for model in (soft, hard)]
    logits = hard.discriminator(hard.generator(hard.draw(8, batch=0), training=True), training=True)
    # softplus(-x) + (1 - label) x: told 0.9, a tenth of each logit is added.
    assert logs[0] - logs[1] == pytest.approx(0.1 * float(tf.reduce_mean(logits)), abs=1e-5)


def test_the_original_s_d_moves_in_g_s_step_and_ours_does_not(deep):
    for defect in (True, False):  # D's own step moves nothing here
        model = models.build(deep(g_step_moves_d=defect, d_optimizer="sgd", d_learning_rate=0.0))
        before = [variable.numpy() for variable in model.discriminator.trainable_variables]
        model.train_step(REAL)
        moved = [(variable.numpy() != old).any()
                 for variable, old in zip(model.discriminator.trainable_variables, before)]
        assert all(moved) if defect else not any(moved)


def test_under_the_original_s_defect_d_learns_to_take_fakes_for_real(deep):
    model = models.build(deep(g_step_moves_d=True, d_optimizer="sgd", d_learning_rate=0.0))
    fake = model.generator(model.draw(8), training=True)
    before = tf.reduce_mean(model.discriminator(fake, training=True))
    model.train_step(REAL)
    assert tf.reduce_mean(model.discriminator(fake, training=True)) > before


def test_apart_d_learns_on_real_and_then_learned_on_fake(deep):
    args = deep(d_updates="apart", d_optimizer="sgd", d_learning_rate=0.1, real_labels=(0.9, 0.9),
                fake_labels=(0.1, 0.1))
    model, plain = models.build(args), models.build(args)
    d = plain.discriminator
    fake = plain.generator(plain.draw(8), training=True)
    for images, label in (REAL, 0.9), (fake, 0.1):
        with tf.GradientTape() as tape:
            loss = losses.cross_entropy(d(images, training=True), label)
        for weight, gradient in zip(d.trainable_weights, tape.gradient(loss, d.trainable_weights)):
            weight.assign(weight - 0.1 * gradient)
    logs = model.train_step(REAL)
    assert float(logs["d_loss_fake"]) == pytest.approx(float(loss), rel=1e-5)
    for a, b in zip(weights(model.discriminator.trainable_weights), weights(d.trainable_weights)):
        assert a == pytest.approx(b, abs=1e-6)
    assert int(model.d_optimizer.iterations) == 2


# ---- scratch 3: against mode collapse

def test_feature_distance_by_hand():
    real, fake = np.float32([[1, 0], [3, 2]]), np.float32([[0, 0], [0, 2]])
    assert float(losses.feature_distance(real, fake)) == pytest.approx((2 ** 2 + 0 ** 2) / 2)  # of means (2, 1), (0, 1)


def test_feature_matching_is_in_g_s_loss_with_its_weight(deep):
    """D learns nothing here, so that G's gradient is linear in the weight."""
    def gradient(weight):
        model = models.build(deep(feature_matching=weight, d_learning_rate=0.0, g_optimizer="sgd", g_learning_rate=1.0))
        before = weights(model.generator.trainable_weights)
        logs = model.train_step(REAL)
        return logs, [old - new for old, new in zip(before, weights(model.generator.trainable_weights))]

    (_, none), (logs, one), (_, two) = gradient(0.0), gradient(1.0), gradient(2.0)
    assert float(logs["feature_distance"]) > 0
    for a, b, c in zip(none, one, two):
        assert c - b == pytest.approx(b - a, abs=1e-5)
    assert any(np.abs(b - a).max() > 1e-4 for a, b in zip(none, one))


def test_minibatch_discrimination_by_hand():
    layer = layers.MinibatchDiscrimination(kernels=1, size=2)
    features = np.float32([[0, 0], [1, 0], [0, 3]])
    layer.build((None, 2))
    layer.kernel.assign([[1, 0], [0, 1]])
    # L1 distances: 1 between the first two, 3 between first and third, 4 between second and third; 0 to itself
    closeness = [1 + np.exp(-1) + np.exp(-3), 1 + np.exp(-1) + np.exp(-4), 1 + np.exp(-3) + np.exp(-4)]
    assert layer(features).numpy() == pytest.approx(np.column_stack([features, closeness]), abs=1e-6)


def test_minibatch_discrimination_lets_d_see_that_fakes_are_alike(deep):
    d = models.build(deep(minibatch_kernels=7, batch_norm="none")).discriminator
    assert d.layers[-1].kernel.shape == (4 * 4 * 16 + 7, 1)
    layer = next(layer for layer in d.layers if isinstance(layer, layers.MinibatchDiscrimination))
    closeness = keras.Model(d.input, layer.output)
    assert (closeness(np.repeat(REAL[:1], 8, 0)).numpy()[:, -7:] == 8).all()
    assert (closeness(REAL).numpy()[:, -7:] < 8).all()
    alone = models.build(deep(batch_norm="none")).discriminator
    assert alone(REAL[:1]).numpy() == pytest.approx(alone(REAL).numpy()[:1], abs=1e-5)  # else each is judged alone
    assert d(REAL[:1]).numpy() != pytest.approx(d(REAL).numpy()[:1], abs=1e-5)


# ---- beyond the sources: penalties

class Linear(keras.Model):
    """D(x) = 3 times one value of x and 4 times another, for a slope known by hand."""

    def call(self, images, training=False):
        return 3 * images[:, 0, 0, :1] + 4 * images[:, 0, 1, :1]


def test_r1_and_gradient_penalty_by_hand():
    # The slope is (3, 4, 0, ...), of length 5: half of 25, and (5 - 1) squared.
    assert float(losses.r1(Linear(), tf.constant(REAL))) == pytest.approx(12.5)
    assert float(losses.gradient_penalty(Linear(), REAL, -REAL, [0, 0])) == pytest.approx(16)


@pytest.mark.parametrize("changes", [{"r1_weight": 100.0}, {"loss": "wasserstein", "gradient_penalty": 100.0}])
def test_a_penalty_pulls_d_s_slope(tiny, changes):
    weak = {name: 1e-6 if name != "loss" else value for name, value in changes.items()}
    far, logged = [], "r1" if "r1_weight" in changes else "gradient_penalty"
    for one in weak, changes:
        model = models.build(tiny(batch_norm="generator", d_learning_rate=1e-3, g_learning_rate=0.0, **one))
        step = tf.function(model.train_step)
        far.append([float(step(REAL)[logged]) for _ in range(60)][-1])
    assert far[1] < 0.2 * far[0]


def test_spectral_norm_divides_by_the_largest_singular_value_and_its_gradient_knows(deep):
    layer = layers.SpectralNormalization(keras.layers.Dense(4, use_bias=False))
    x = np.float32(np.random.default_rng(0).normal(size=(5, 3)))
    for _ in range(50):
        layer(x, training=True)
    kernel = layer.layer.kernel
    before = kernel.numpy()
    sigma = np.linalg.svd(before, compute_uv=False)[0]
    assert layer(x).numpy() == pytest.approx(x @ before / sigma, abs=1e-5)
    assert (kernel.numpy() == before).all()  # it is divided, not overwritten
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(x)))
    gradient = tape.gradient(loss, layer.trainable_weights)[0].numpy()
    # K / sigma is the same for any multiple of K, so the gradient along K is 0; without sigma's part it would be 2 loss
    assert np.sum(gradient * before) == pytest.approx(0, abs=1e-3)
    by_difference = np.zeros_like(before)
    for index in np.ndindex(*before.shape):
        values = []
        for move in 1e-4, -1e-4:
            moved = np.float64(before)
            moved[index] += move
            values.append(np.sum(np.square(x @ moved / np.linalg.svd(moved, compute_uv=False)[0])))
        by_difference[index] = (values[0] - values[1]) / 2e-4
    assert gradient == pytest.approx(by_difference, abs=2e-3)


def test_spectral_norm_is_on_all_of_d_s_layers(deep):
    d = models.build(deep(spectral_norm=True, batch_norm="none")).discriminator
    assert kinds(d).count("SpectralNormalization") == 5 and kinds(d).count("Conv2D") == 0
    conv = next(layer for layer in d.layers if isinstance(layer, layers.SpectralNormalization))
    for _ in range(30):
        d(REAL, training=True)
    assert conv.u.numpy() @ conv.u.numpy().T == pytest.approx(1, abs=1e-5)


# ---- beyond the sources: differentiable augmentation

def test_each_policy_does_what_it_says():
    images = tf.constant(np.repeat(REAL, 40, 0))
    colored = augment.color(images, [1, 2]).numpy()
    moved = (colored - REAL.repeat(40, 0)).mean((1, 2, 3))
    assert -0.5 <= moved.min() < -0.45 and 0.45 < moved.max() <= 0.5
    assert moved.std() == pytest.approx(12 ** -0.5, rel=0.1)
    spread = colored.std((1, 2, 3)) / REAL.repeat(40, 0).std((1, 2, 3))
    assert spread.min() < 0.45 and spread.max() > 1.4

    shifted = augment.translation(images, [1, 2]).numpy()
    shifts = set()
    for image, original in zip(shifted, REAL.repeat(40, 0)):
        rows, columns = np.nonzero(image.any((2,)))
        dy, dx = [int(places.min() or places.max() - 63) for places in (rows, columns)]
        back = np.roll(image, (-dy, -dx), (0, 1))
        inside = np.s_[max(0, -dy):64 - max(0, dy), max(0, -dx):64 - max(0, dx)]
        assert (back[inside] == original[inside]).all()
        shifts.add(dy)
    assert shifts == set(range(-8, 9))

    cut = augment.cutout(images, [1, 2]).numpy()
    hidden = (cut == 0).all(3)
    assert (cut[~hidden] == REAL.repeat(40, 0)[~hidden]).all()
    assert hidden.sum((1, 2)).max() == 32 * 32 and hidden.sum((1, 2)).min() >= 16 * 16
    assert hidden.any((0,)).all()  # anywhere


def test_augmentation_differs_by_image_is_the_same_for_a_seed_and_lets_gradients_through():
    images = tf.constant(np.repeat(REAL[:1], 4, 0))
    text = "color, translation,cutout"
    with tf.GradientTape() as tape:
        tape.watch(images)
        seen = augment.apply(images, text, [3, 4])
    assert (seen.numpy()[0] != seen.numpy()[1]).any()
    assert (seen.numpy() == augment.apply(images, text, [3, 4]).numpy()).all()
    assert (seen.numpy() != augment.apply(images, text, [3, 5]).numpy()).any()
    gradient = tape.gradient(seen, images).numpy()
    assert np.isfinite(gradient).all() and gradient.any((1, 2, 3)).all()


def test_d_sees_all_augmented_in_both_steps(deep):
    model, shown = models.build(deep(augment="cutout")), []
    eyes(model, shown)
    model.train_step(REAL)
    assert len(shown) == 3 and all((images == 0).all(3).sum((1, 2)).min() >= 16 * 16 for images in shown)
    assert ((shown[1] == 0) != (shown[2] == 0)).any()


# ---- what cannot go together

@pytest.mark.parametrize("changes, said", [
    ({"r1_weight": 10.0}, "`r1_weight` and `batch_norm` can't go together so: .*Set batch_norm=generator. Received: "
                          "r1_weight=10.0, batch_norm='both'"),
    ({"gradient_penalty": 10.0, "batch_norm": "discriminator"}, "`gradient_penalty` and `batch_norm`"),
    ({"r1_weight": 10.0, "batch_norm": "none", "minibatch_kernels": 5}, "`r1_weight` and `minibatch_kernels`"),
    ({"spectral_norm": True}, "`spectral_norm` and `batch_norm`"),
    ({"real_labels": (0.0, 0.0), "fake_labels": (1.0, 1.0)}, "`real_labels` and `fake_labels`"),
    ({"replay_size": 16, "replay_fraction": 0.0}, "`replay_size` and `replay_fraction`"),
    ({"image_shape": (60, 64, 3)}, "`image_shape` must be a multiple of 16"),
    ({"generator_filters": ()}, "`generator_filters` must name a layer"),
    ({"discriminator_filters": (), "network": "even"}, "`discriminator_filters` must name a layer"),
    ({"generator_filters": (), "network": "keras_example"}, "`generator_filters` must name a layer"),
    ({"kernel_initializer": "glorot"}, "`kernel_initializer` must be normal or"),
    ({"loss": "wasserstein"}, "`loss` and `gradient_penalty` can't go together.*Set gradient_penalty=10.0"),
    ({"gradient_penalty": 1.0, "batch_norm": "none", "d_updates": "apart"}, "`gradient_penalty` and `d_updates`"),
    ({"swap_every": 10, "swap_for": 1, "g_step_moves_d": True}, "`swap_every` and `g_step_moves_d`"),
    ({"g_objective": "saturating", "loss": "hinge"}, "`g_objective` and `loss`"),
    ({"label_flip": 0.1, "loss": "hinge"}, "`label_flip` and `loss`"),
    ({"replay_size": 4}, "`replay_size` and `batch_size` can't go together.*Received: replay_size=4, batch_size=8"),
    ({"swap_every": 8, "swap_for": 2}, "`swap_for` and `dump_every`"),
    ({"swap_every": 1, "swap_for": 1}, "`swap_for` and `swap_every`"),
    ({"real_labels": (1.2, 0.7)}, r"`real_labels` must be \(low, high\)"),
    ({"real_labels": (1.1, 1.3)}, r"`real_labels` must be .*a mean in \[0, 1\]"),
    ({"upsampling": "nearset"}, "`upsampling` must be one of transpose, .*upsampling=nearset"),
    ({"augment": "colour"}, "`augment` must be out of color, translation, cutout.*augment=colour"),
])
def test_what_cannot_be_is_refused_before_anything_is_made(here, deep, changes, said):
    with pytest.raises(ValueError, match=said):
        story.main(deep(**changes))
    assert list(here.iterdir()) == []


def test_every_choice_builds(tiny):
    for name, choices in models.CHOICES.items():
        for choice in choices:
            extra = {"wasserstein": {"gradient_penalty": 1.0, "batch_norm": "none"},
                     "keras_example": {"batch_norm": "none", "kernel_initializer": "glorot_uniform"},
                     "even": {"batch_norm": "none", "image_shape": (1, 8, 1), "kernel_initializer": "glorot_uniform"},
                     "cartoon": {"batch_norm": "none", "photos": "*"}}.get(choice, {})
            assert isinstance(models.build(tiny(**({name: choice} | extra))), adversarial.GAN)


# ---- precision

@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("changes", [{"minibatch_kernels": 5, "feature_matching": 1.0, "conditional": True},
                                     {"batch_norm": "generator", "spectral_norm": True, "r1_weight": 1.0},
                                     {"network": "keras_example", "batch_norm": "none", "generator_extra_filters": (),
                                      "kernel_initializer": "glorot_uniform"}])
def test_in_less_precision_losses_and_images_stay_float32(deep, precision, changes):
    args = deep(precision=precision, **changes)
    gan = models.build(args, 3 if args.conditional else 0)
    batch = (REAL, np.arange(8) % 3) if args.conditional else tf.constant(REAL)
    before = [weight.numpy() for weight in gan.generator.trainable_weights]
    for _ in range(2):
        logs = gan.train_step(batch)
    assert all(value.dtype == "float32" and np.isfinite(value) for value in logs.values())
    assert all(weight.dtype == "float32" for network in gan.networks.values() for weight in network.weights)
    assert gan.sample(gan.draw(2)).dtype == "float32"
    dtypes = {layer.compute_dtype for network in gan.networks.values() for layer in network.layers}
    assert precision.removeprefix("mixed_") in dtypes and keras.config.dtype_policy().name == "float32"
    assert any((old != new.numpy()).any() for old, new in zip(before, gan.generator.trainable_weights))


def test_an_overflow_in_float16_is_skipped_and_counted(deep):
    gan = models.build(deep(precision="mixed_float16", ema_decay=0.0))
    gan.train_step(REAL)
    before = [weight.numpy() for weight in gan.generator.trainable_weights]
    gan.g_optimizer.dynamic_scale.assign(1e38)
    logs = gan.train_step(REAL)
    assert all((old == new.numpy()).all() for old, new in zip(before, gan.generator.trainable_weights))
    assert float(logs["skipped"]) == 1 and float(logs["g_gradient_norm"]) == 0
    gan.g_optimizer.dynamic_scale.assign(1024.0)
    logs = gan.train_step(REAL)
    assert float(logs["skipped"]) == 1 and float(logs["g_gradient_norm"]) > 0
    assert any((old != new.numpy()).any() for old, new in zip(before, gan.generator.trainable_weights))


def test_a_warm_up_in_float16_is_no_overflow(deep):
    gan = models.build(deep(precision="mixed_float16", warmup_batches=2, d_updates="apart", ema_decay=0.0))
    assert [float(gan.train_step(REAL)["skipped"]) for _ in range(3)] == [0, 0, 0]
    assert int(gan.g_optimizer.inner_optimizer.iterations) == 1


def test_less_precision_takes_nearly_the_same_step(deep):
    norms = []
    for precision in "float32", "mixed_bfloat16", "mixed_float16":
        logs = models.build(deep(precision=precision)).train_step(REAL)
        norms.append([float(logs[name]) for name in ("d_loss_real", "d_loss_fake", "g_loss", "d_gradient_norm")])
    assert norms[1] == pytest.approx(norms[0], rel=0.05) and norms[2] == pytest.approx(norms[0], rel=0.01)
    assert norms[0] != norms[1] != norms[2]


def test_xla_takes_the_same_step(deep):
    """What it draws is others': so only what D says of real images is compared, to labels that aren't drawn."""
    def fit(jit_compile):
        gan = models.build(deep(jit_compile=jit_compile, real_labels=(0.9, 0.9)))
        assert gan.jit_compile is (jit_compile == "on")
        return gan.fit(tf.data.Dataset.from_tensors(REAL).repeat(), steps_per_epoch=1, verbose=0, shuffle=False).history

    one, other = fit("off"), fit("on")
    assert one["d_loss_real"] == pytest.approx(other["d_loss_real"], rel=1e-5)
    assert all(np.isfinite(value) for values in other.values() for value in values)


@pytest.mark.parametrize("changes", [{"minibatch_kernels": 5}, {"spectral_norm": True, "batch_norm": "generator"},
                                     {"g_dropout": 0.5, "upsampling": "pixel_shuffle"}])
def test_every_layer_of_ours_is_copied_for_a_snapshot(deep, changes):
    """Snapshots are written from copies of the networks."""
    for network in models.build(deep(**changes)).networks.values():
        copy = keras.models.clone_model(network)
        copy.set_weights(network.get_weights())
        inputs = tf.ones([2, *network.input_shape[1:]])
        for state, value in zip(adversarial.seeds([copy]), adversarial.seeds([network])):
            state.assign(value)
        np.testing.assert_allclose(copy(inputs), network(inputs), rtol=1e-5, atol=1e-6)
