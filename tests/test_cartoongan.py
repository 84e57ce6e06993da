import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from args import Cartoon64, Cartoon256, override
from models import cartoongan, layers, losses, toyscenes
from models.randomness import Purpose


def small_preset(**changes):
    """Returns the paper's preset with small images and networks."""
    small = {
        "batch_size": 4,
        "image_shape": (16, 16, 3),
        "generator_filters": (4, 8, 8),
        "discriminator_filters": (4, 4),
        "content_features": "net.keras:first",
        "style_features": "net.keras:first",
        "augment": "",
    }
    return override(Cartoon256, **(small | changes))


@pytest.fixture
def small(here, monkeypatch):
    """small(**changes): a tiny CartoonGAN whose content network is two convolutions in a file."""
    # Of eight and four blocks: most of the time is their tracing.
    monkeypatch.setattr(cartoongan, "BLOCKS", 1)
    monkeypatch.setattr(cartoongan, "U_NET_BLOCKS", 1)
    keras.utils.set_random_seed(0)
    keras.Sequential([
        keras.Input([None, None, 3]),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, name="first"),
        keras.layers.Conv2D(4, 3, name="second"),
    ]).save("net.keras")
    return small_preset


def make_batch(seed=0):
    """Returns images, photos and smoothed images, of random pixels."""
    return tuple(
        np.float32(np.random.default_rng([seed, part]).uniform(-1, 1, (4, 16, 16, 3)))
        for part in range(3))


def weights_of(network):
    return [weight.numpy() for weight in network.trainable_weights]


def are_equal(before, after):
    return all((a == b).all() for a, b in zip(before, after, strict=True))


# ---- networks

def test_reflection_padding_by_hand():
    image = np.float32([[[[1], [2], [3]], [[4], [5], [6]]]])
    padded = cartoongan._pad_by_reflection(image, 1).numpy()[0, :, :, 0]
    assert padded.tolist() == [
        [5, 4, 5, 6, 5],
        [2, 1, 2, 3, 2],
        [5, 4, 5, 6, 5],
        [2, 1, 2, 3, 2],
    ]


def test_the_generator_has_as_many_weights_as_in_the_paper():
    # Kernels and biases by hand. Instance norm has two weights for each channel.
    first = 7 * 7 * 3 * 64 + 64 + 2 * 64
    down_128 = (9 * 64 * 128 + 128) + (9 * 128 * 128 + 128) + 2 * 128
    down_256 = (9 * 128 * 256 + 256) + (9 * 256 * 256 + 256) + 2 * 256
    block = 2 * (9 * 256 * 256 + 256) + 2 * 2 * 256
    up_128 = (9 * 256 * 128 + 128) + (9 * 128 * 128 + 128) + 2 * 128
    up_64 = (9 * 128 * 64 + 64) + (9 * 64 * 64 + 64) + 2 * 64
    last = 7 * 7 * 64 * 3 + 3
    expected = first + down_128 + down_256 + 8 * block + up_128 + up_64 + last
    assert cartoongan.build_generator(Cartoon256).count_params() == expected


def test_the_discriminator_judges_patches():
    discriminator = cartoongan.build_discriminator(Cartoon256)
    assert discriminator.output.shape == (None, 64 * 64)


def test_a_logit_depends_on_its_patch(small):
    # With one stride there are 8 x 8 patches. Patch r covers pixels 2r - 6 to 2r + 6, so the last
    # pixel, 15, is seen from patch 5 on. Others change only by the statistics of instance norm.
    images = np.zeros((2, 16, 16, 3), "float32")
    images[1, 15, 15] = 0.001
    keras.utils.set_random_seed(0)
    logits = cartoongan.build_discriminator(small())(images).numpy()
    assert logits.shape == (2, 64)
    row, column = divmod(abs(logits[0] - logits[1]).argmax(), 8)
    assert min(row, column) >= 5


@pytest.mark.parametrize("upsampling", ["transpose", "pixel_shuffle", "nearest", "bilinear"])
def test_a_cartoon_is_as_large_as_its_photo(small, upsampling):
    generator = cartoongan.build_generator(small(upsampling=upsampling, kernel_size=4))
    for rows, columns in ((16, 16), (24, 32), (64, 20)):
        photos = tf.random.uniform([1, rows, columns, 3], -5, 5)
        cartoons = generator(photos)
        assert cartoons.shape == (1, rows, columns, 3)
        assert float(tf.reduce_max(tf.abs(cartoons))) <= 1


def test_constants_reach_the_layers(small):
    args = small(g_leaky_slope=0.1, d_leaky_slope=0.3, d_dropout=0.4)
    generator = cartoongan.build_generator(args)
    discriminator = cartoongan.build_discriminator(args)
    for network, slope in ((generator, 0.1), (discriminator, 0.3)):
        relus = [layer for layer in network.layers if isinstance(layer, keras.layers.LeakyReLU)]
        assert {layer.negative_slope for layer in relus} == {slope}
    dropouts = [layer for layer in discriminator.layers if isinstance(layer, keras.layers.Dropout)]
    assert {layer.rate for layer in dropouts} == {0.4}


def test_a_u_net_begins_with_the_photo(small):
    photos = make_batch()[1]
    generator = cartoongan.build_generator(small(u_net=True))
    assert (generator(photos).numpy() == photos).all()


def test_a_u_net_has_the_layers_of_the_plain_generator_but_the_norms(small):
    counts = []
    for u_net in (False, True):
        generator = cartoongan.build_generator(small(u_net=u_net))
        kernels = [weight.shape for weight in generator.weights if len(weight.shape) == 4]
        norms = [layer for layer in generator.layers
                 if isinstance(layer, keras.layers.GroupNormalization)]
        counts.append((kernels, len(norms)))
    assert counts[0][0] == counts[1][0]
    assert counts[0][1] == 1 + 2 + 2 + 2 and counts[1][1] == 0


def test_with_u_net_a_cartoon_stays_in_the_range(small):
    generator = cartoongan.build_generator(small(u_net=True))
    generator.set_weights([10 * np.random.default_rng(0).normal(size=weight.shape)
                           for weight in generator.weights])
    cartoons = generator(make_batch()[1]).numpy()
    assert abs(cartoons).max() <= 1
    assert cartoons.min() < -0.9 and cartoons.max() > 0.9


def test_with_u_net_features_of_the_way_down_are_added_on_the_way_up(small):
    for u_net, count in ((False, 1), (True, 3)):  # one in the residual block, two on the way up
        generator = cartoongan.build_generator(small(u_net=u_net))
        adds = [layer for layer in generator.layers if isinstance(layer, keras.layers.Add)]
        assert len(adds) == count
    assert [add.output.shape[-1] for add in adds] == [8, 8, 4]


def test_a_change_is_a_share_of_the_way_to_white_or_black():
    photos = np.float32([-1, -0.5, 0, 0.5, 1])
    assert cartoongan._change(photos, 0 * photos).numpy().tolist() == photos.tolist()
    assert cartoongan._change(photos, 0 * photos + 1).numpy().tolist() == [1] * 5
    assert cartoongan._change(photos, 0 * photos - 1).numpy().tolist() == [-1] * 5
    half = cartoongan._change(photos, 0 * photos + 0.5).numpy()
    assert half.tolist() == [0, 0.25, 0.5, 0.75, 1]
    half = cartoongan._change(photos, 0 * photos - 0.5).numpy()
    assert half.tolist() == [-1, -0.75, -0.5, -0.25, 0]


@pytest.mark.parametrize("u_net", [False, True])
def test_a_saved_generator_is_whole(small, u_net, here):
    generator = cartoongan.build_generator(small(u_net=u_net))
    generator.set_weights([0.1 * np.random.default_rng(0).normal(size=weight.shape)
                           for weight in generator.weights])
    generator.save("g.keras")
    loaded = keras.models.load_model("g.keras")
    photos = make_batch()[1]
    assert loaded(photos).numpy() == pytest.approx(generator(photos).numpy(), abs=1e-5)


def test_spectral_norm_takes_the_place_of_instance_norm_in_d(small):
    norms = (keras.layers.GroupNormalization, layers.SpectralNormalization)
    for spectral_norm, counts in ((False, [2, 0]), (True, [0, 5])):
        discriminator = cartoongan.build_discriminator(small(spectral_norm=spectral_norm))
        found = [sum(isinstance(layer, norm) for layer in discriminator.layers) for norm in norms]
        assert found == counts
        assert discriminator.output.shape == (None, 64)


def test_d_sees_contrast_with_spectral_norm_alone(small):
    images = make_batch()[0] / 2
    changes = []
    for spectral_norm in (False, True):
        keras.utils.set_random_seed(0)
        args = small(spectral_norm=spectral_norm, discriminator_filters=(16, 16))
        discriminator = cartoongan.build_discriminator(args)
        logits, of_more_contrast = discriminator(images), discriminator(2 * images)
        difference = tf.reduce_mean(tf.abs(of_more_contrast - logits))
        changes.append(float(difference / tf.reduce_mean(tf.abs(logits))))
    assert changes[0] < 0.1 and changes[1] > 0.9, changes


# ---- features of photos, cartoons and generated images

def content_distance(photos, images, seed=None):
    maps = cartoongan.FeatureMaps({"content_features": "net.keras:first"})
    return float(losses.content_distance(
        maps(photos, seed)["content_features"], maps(images, seed)["content_features"]))


def test_content_distance_is_0_of_the_same_and_large_of_other_images(small):
    photos, others, _ = make_batch()
    assert content_distance(photos, photos) == 0
    assert 0 < content_distance(photos, photos + 0.01) < 0.05
    assert content_distance(photos, others) > 0.3


def test_content_distance_is_relative_to_the_features_of_the_photos(small):
    photos, others, _ = make_batch()
    first = keras.models.load_model("net.keras").get_layer("first")
    expected = first((photos + 1) / 2).numpy()
    received = first((others + 1) / 2).numpy()
    by_hand = abs(expected - received).mean() / abs(expected).mean()
    assert content_distance(photos, others) == pytest.approx(by_hand, rel=1e-4)


def test_photos_and_images_are_shifted_alike(small):
    photos, others, _ = make_batch()
    distances = [content_distance(photos, others, [0, number]) for number in (1, 1, 2)]
    assert distances[0] == distances[1] != distances[2]
    assert content_distance(photos, photos, [0, 1]) == 0


def test_a_shift_moves_all_images_alike_and_invents_no_pixels():
    images = np.float32(np.arange(16 * 16).reshape(1, 16, 16, 1) * np.ones([3, 1, 1, 1]))
    offsets = set()
    for number in range(60):
        shifted = cartoongan.shift(images, [0, number]).numpy()
        assert shifted.shape == images.shape
        assert (shifted == shifted[:1]).all()
        row, column = divmod(int(shifted[0, 8, 8, 0]), 16)
        offsets.add((row - 8, column - 8))
        assert shifted[0, 8, 9, 0] - shifted[0, 8, 8, 0] == 1
        assert len(np.unique(shifted)) >= 12 * 12
    rows, columns = zip(*offsets)
    assert min(rows) == min(columns) == -cartoongan.SHIFT
    assert max(rows) == max(columns) == cartoongan.SHIFT
    assert len(offsets) > 30


def test_random_features_tell_drawings_from_photos_by_their_style():
    photos, drawings = toyscenes.sample(24)
    _, others = toyscenes.sample(24, start=24)
    maps = cartoongan.FeatureMaps({"style_features": "random"})

    def style_distance(images):
        expected = maps(others / np.float32(127.5) - 1)["style_features"]
        return float(losses.style_distance(
            expected, maps(images / np.float32(127.5) - 1)["style_features"]))

    assert style_distance(drawings) < 0.6 * style_distance(photos)


# ---- degraded cartoons, which G restores

def test_dark_lines_are_removed_if_they_are_thin():
    image = np.ones([1, 16, 16, 3], "float32")
    image[:, 3:5] = -1          # two rows: a line
    image[:, 10:, 8:] = -0.5    # an area
    expected = np.ones([1, 16, 16, 3], "float32")
    expected[:, 10:, 8:] = -0.5
    assert cartoongan.without_thin_lines(image, 3).numpy() == pytest.approx(expected, abs=1e-6)


def test_the_border_stays_in_the_middle_of_a_removed_line():
    image = np.zeros([1, 9, 9, 3], "float32")
    image[:, 4] = -1
    image[:, 5:] = 0.8
    rows = cartoongan.without_thin_lines(image, 3).numpy()[0, :, 4, 0]
    assert rows == pytest.approx([0, 0, 0, 0, 0.4, 0.8, 0.8, 0.8, 0.8], abs=1e-6)


def test_degraded_cartoons_are_more_like_photos():
    photos, drawings = toyscenes.sample(24)
    drawings = np.float32(drawings / 127.5 - 1)
    degraded = cartoongan.degrade(drawings, [0, 1]).numpy()
    photos = np.float32(photos / 127.5 - 1)

    def share_of_dark_pixels(images):
        return (images.mean(3) < -0.6).mean()

    def saturation(images):
        return np.ptp(images, 3).mean()

    def share_of_flat_pixels(images):
        return (abs(np.diff(images, axis=1)).mean(3) < 0.01).mean()

    for measure in (share_of_dark_pixels, saturation, share_of_flat_pixels):
        from_drawings = abs(measure(drawings) - measure(photos))
        from_degraded = abs(measure(degraded) - measure(photos))
        assert from_degraded < 0.6 * from_drawings, measure


def test_degraded_cartoons_depend_on_the_seed_and_stay_in_the_range():
    for size in (16, 64, 128):
        images = np.random.default_rng(0).uniform(-1, 1, [2, size, size, 3]).astype("float32")
        one, same, other = (cartoongan.degrade(images, [0, n]).numpy() for n in (1, 1, 2))
        assert one.shape == images.shape and abs(one).max() <= 1
        assert (one == same).all() and (one != other).any()


# ---- the training step

def test_sampling_does_not_need_the_content_network(small):
    gan = models.build(small(content_features="nowhere.keras:first"))
    assert gan.sample(make_batch()[1]).shape == (4, 16, 16, 3)
    with pytest.raises(FileNotFoundError, match="`content_features`"):
        gan.train_step(make_batch())


def test_photos_must_be_multiples_of_the_strides_of_g(small):
    for filters, multiple in (((4, 8, 8), 4), ((4, 8), 2)):
        gan = models.build(small(generator_filters=filters, ema_decay=0.0))
        assert gan.multiple == multiple


def test_a_step_logs_what_it_announces(small):
    gan = models.build(small())
    logs = gan.train_step(make_batch())
    assert set(logs) == set(gan.logged)
    assert gan.logged[:4] == ("d_loss_real", "d_loss_fake", "g_loss", "content_distance")
    assert gan.logged[4].endswith("gradient_norm")
    assert all(np.isfinite(float(value)) for value in logs.values())
    assert int(gan.batch) == 1


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_step_in_half_precision_is_near_that_in_float32(small, precision):
    """All terms of G's loss are compared, of the networks and losses of Cartoon64."""
    changes = dict(
        u_net=True, spectral_norm=True, style_weight=0.1, color_weight=0.1, variation_weight=0.1,
        restoration_weight=0.1, ema_decay=0.0)
    batch = make_batch()
    expected = models.build(small(**changes)).train_step(batch)
    gan = models.build(small(precision=precision, **changes))
    kernels = weights_of(gan.generator)
    logs = gan.train_step(batch)
    for name in expected:
        if not name.endswith("_norm"):
            assert float(logs[name]) == pytest.approx(float(expected[name]), rel=0.02), name
    assert not are_equal(kernels, weights_of(gan.generator))  # no overflow, so G has learned


def test_each_term_is_logged_if_it_has_a_weight(small):
    args = small(
        content_weight=0.0, style_weight=0.1, color_weight=0.1, variation_weight=0.1,
        restoration_weight=0.1, style_features="random:scale1",
        content_features="nowhere.keras:first", ema_decay=0.0)
    images, photos, smoothed = make_batch()
    gan = models.build(args)
    terms = ("style_distance", "color_distance", "total_variation", "restoration_error")
    assert gan.logged[3:7] == terms and "content_distance" not in gan.logged
    cartoons = gan.generator(photos, training=True)
    maps = cartoongan.FeatureMaps({"style_features": "random:scale1"})
    seed = gan.seed(Purpose.CONTENT)
    degraded = cartoongan.degrade(images, gan.seed(Purpose.DEGRADE))
    restored = gan.generator(degraded, training=True)
    expected = {
        "style_distance": losses.style_distance(
            maps(images, seed)["style_features"], maps(cartoons, seed)["style_features"]),
        "color_distance": losses.color_distance(photos, cartoons),
        "total_variation": losses.total_variation(cartoons),
        "restoration_error": tf.reduce_mean(tf.abs(restored - images)),
    }
    logs = gan.train_step((images, photos, smoothed))
    assert set(logs) == set(gan.logged)
    for name in terms:
        assert float(logs[name]) == pytest.approx(float(expected[name]), rel=1e-4)


def test_without_terms_no_network_is_loaded(small):
    gan = models.build(small(content_weight=0.0, content_features="nowhere.keras:first"))
    logs = gan.train_step(make_batch())
    assert set(logs) == set(gan.logged) and gan.feature_maps.network is None


def test_the_preset_changes_style_from_the_first_batches(monkeypatch):
    """The style distance falls, while a G without the term stays near the photo."""
    monkeypatch.setattr(cartoongan, "U_NET_BLOCKS", 1)
    photos, _ = toyscenes.sample(4, size=32)
    _, drawings = toyscenes.sample(4, start=4, size=32)
    batch = tuple(images / np.float32(127.5) - 1 for images in (drawings, photos, drawings))
    args = override(
        Cartoon64, image_shape=(32, 32, 3), generator_filters=(8, 16),
        discriminator_filters=(4, 4), style_weight=4.0, g_learning_rate=2e-3, augment="")
    gan = models.build(args)
    step = tf.function(gan.train_step)
    distances = [float(step(batch)["style_distance"]) for _ in range(20)]
    assert distances[-1] < 0.8 * distances[0], distances


def test_d_learns_from_generated_and_from_smoothed_images(small):
    images, photos, smoothed = make_batch()
    gan = models.build(small())
    real, labels, g_inputs = gan.unpack((images, photos, smoothed))
    assert (real == images).all() and labels is None and (g_inputs == photos).all()
    fakes = gan.fakes_to_judge(tf.constant(photos), (images, photos, smoothed)).numpy()
    assert (fakes == np.concatenate([photos, smoothed])).all()
    # The loss on fakes depends on the smoothed images, the loss on real images does not.
    one = gan.train_step((images, photos, smoothed))
    other = models.build(small()).train_step((images, photos, 0 * smoothed))
    assert float(one["d_loss_fake"]) != float(other["d_loss_fake"])
    assert float(one["d_loss_real"]) == float(other["d_loss_real"])


@pytest.mark.parametrize("frozen, other", [("generator", "discriminator"),
                                           ("discriminator", "generator")])
def test_each_network_learns_in_its_own_update(small, frozen, other):
    gan = models.build(small(ema_decay=0.0, **{f"{frozen[0]}_learning_rate": 0.0}))
    before = {name: weights_of(network) for name, network in gan.networks.items()}
    gan.train_step(make_batch())
    assert are_equal(before[frozen], weights_of(gan.networks[frozen]))
    assert not are_equal(before[other], weights_of(gan.networks[other]))


@pytest.mark.parametrize("constant", [
    "content_weight", "style_weight", "color_weight", "variation_weight"])
def test_a_term_is_in_the_loss_of_g_with_its_weight(small, constant):
    """D does not learn here, so the step of plain gradient descent is linear in the weight."""
    args = small(d_learning_rate=0.0, g_optimizer="sgd", g_learning_rate=1.0, **{constant: 1.0})
    gan = models.build(args)
    start = weights_of(gan.generator)
    steps = []
    for weight in (0.0, 0.1, 0.2):
        gan.args = override(args, **{constant: weight})
        gan.batch.assign(0)
        for variable, value in zip(gan.generator.trainable_weights, start):
            variable.assign(value)
        gan.train_step(make_batch())
        steps.append([new - old for old, new in zip(start, weights_of(gan.generator))])
    largest = 0.0
    for none, one, two in zip(*steps):
        assert two - one == pytest.approx(one - none, abs=1e-4)
        largest = max(largest, abs(one - none).max())
    assert largest > 1e-3


def test_the_content_distance_is_that_of_the_photos_and_of_g(small):
    gan = models.build(small(ema_decay=0.0))
    _, photos, _ = make_batch()
    cartoons = gan.generator(photos, training=True)
    expected = content_distance(photos, cartoons, gan.seed(Purpose.CONTENT))
    logs = gan.train_step(make_batch())
    assert float(logs["content_distance"]) == pytest.approx(float(expected), rel=1e-5)


def test_the_content_network_can_be_loaded_within_a_graph_and_does_not_learn(small):
    gan = models.build(small(ema_decay=0.0))
    batch = tuple(tf.constant(images) for images in make_batch())
    tf.function(gan.unpack).get_concrete_function(batch)  # the part of a step that loads it
    gan.train_step(batch)
    content_weights = gan.feature_maps.network.get_weights()
    saved = keras.models.load_model("net.keras").get_layer("first").get_weights()
    assert are_equal(saved, content_weights)
    assert not gan.feature_maps.network.trainable
    saved_with_gan = {id(weight) for weight in gan.weights}
    assert not any(id(weight) in saved_with_gan for weight in gan.feature_maps.network.weights)


def test_there_are_no_batch_norm_statistics_to_update(small):
    gan = models.build(small())
    before = [weight.numpy() for weight in gan.generator_ema.weights]
    gan.update_batch_norm()
    assert are_equal(before, [weight.numpy() for weight in gan.generator_ema.weights])


# ---- pretraining

def test_pretraining_reduces_the_content_distance_without_d(small):
    pretraining = models.build_pretraining(small(pretrain_learning_rate=3e-3))
    assert isinstance(pretraining, cartoongan.ContentPretraining)
    assert set(pretraining.networks) == {"generator"}
    assert pretraining.logged == ("content_distance",)
    distances = []
    for _ in range(8):
        logs = pretraining.train_step(make_batch())
        distances.append(float(logs["content_distance"]))
    assert distances[-1] < 0.9 * distances[0], distances
    assert int(pretraining.batch) == 8
    assert pretraining(make_batch()[1]).shape == (4, 16, 16, 3)
