"""models/cartoon: the networks, losses, drawings and restoration of a CartoonGAN, its step."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from args import Cartoon64, Cartoon256, override
from models import randomness
from models.cartoon import losses, networks, restoration, structure
from models.randomness import Purpose
from models.toys import scenes

IMAGES = np.random.default_rng(0).uniform(-1, 1, [2, 16, 16, 3]).astype("float32")


def small_preset(**changes):
    """Returns the paper's preset with small images and networks."""
    small = {
        "batch_size": 4,
        "image_shape": (16, 16, 3),
        "generator_filters": (4, 8, 8),
        "discriminator_filters": (4, 4),
        "content_features": "net.keras:first",
        "augment": "",
        "ema_decay": 0.0,
    }
    return override(Cartoon256, **(small | changes))


@pytest.fixture
def small(content_network, monkeypatch):
    """small(**changes): a tiny CartoonGAN whose content network is two convolutions in a file."""
    # Instead of eight and four blocks: tracing them takes most of the time.
    monkeypatch.setattr(networks, "BLOCKS", 1)
    monkeypatch.setattr(networks, "U_NET_BLOCKS", 1)
    return small_preset


def make_batch():
    """Returns cartoons, photos and cartoons with blurred edges, of random pixels."""
    return tuple(
        np.float32(np.random.default_rng(part).uniform(-1, 1, (4, 16, 16, 3)))
        for part in range(3))


# ---- networks

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
    assert networks.build_generator(Cartoon256).count_params() == expected


@pytest.mark.parametrize("u_net", [False, True])
def test_a_cartoon_is_as_large_as_its_photo(small, u_net):
    args = small(u_net=u_net)
    generator = networks.build_generator(args)
    generator.set_weights([10 * np.random.default_rng(0).normal(size=weight.shape)
                           for weight in generator.weights])
    assert networks.multiple(args) == 4
    for rows, columns in ((16, 16), (24, 32), (64, 20)):
        cartoons = generator(tf.random.uniform([1, rows, columns, 3], -1, 1)).numpy()
        assert cartoons.shape == (1, rows, columns, 3)
        assert abs(cartoons).max() <= 1


def test_a_u_net_starts_as_the_identity(small):
    generator = networks.build_generator(small(u_net=True))
    assert (generator(IMAGES).numpy() == IMAGES).all()


def test_a_change_is_a_share_of_the_way_to_white_or_black():
    photos = np.float32([-1, -0.5, 0, 0.5, 1])
    assert networks.change(photos, 0 * photos).numpy().tolist() == photos.tolist()
    assert networks.change(photos, 0 * photos + 1).numpy().tolist() == [1] * 5
    half = networks.change(photos, 0 * photos + 0.5).numpy()
    assert half.tolist() == [0, 0.25, 0.5, 0.75, 1]
    half = networks.change(photos, 0 * photos - 0.5).numpy()
    assert half.tolist() == [-1, -0.75, -0.5, -0.25, 0]


def test_a_saved_generator_computes_the_same_when_loaded(small):
    generator = networks.build_generator(small(u_net=True))
    generator.set_weights([0.1 * np.random.default_rng(0).normal(size=weight.shape)
                           for weight in generator.weights])
    generator.save("g.keras")
    loaded = keras.models.load_model("g.keras")
    assert loaded(IMAGES).numpy() == pytest.approx(generator(IMAGES).numpy(), abs=1e-5)


def test_a_logit_depends_on_its_patch(small):
    # With one stride there are 8 x 8 patches. Patch r covers pixels 2r - 6 to 2r + 6, so the last
    # pixel, 15, is seen from patch 5 on. Others change only by the statistics of instance norm.
    images = np.zeros((2, 16, 16, 3), "float32")
    images[1, 15, 15] = 0.001
    keras.utils.set_random_seed(0)
    logits = networks.build_discriminator(small())(images).numpy()
    assert logits.shape == (2, 64)
    row, column = divmod(abs(logits[0] - logits[1]).argmax(), 8)
    assert min(row, column) >= 5


def test_d_sees_contrast_with_spectral_norm_alone(small):
    images = make_batch()[0] / 2
    changes = []
    for spectral_norm in (False, True):
        keras.utils.set_random_seed(0)
        args = small(spectral_norm=spectral_norm, discriminator_filters=(16, 16))
        discriminator = networks.build_discriminator(args)
        logits, of_more_contrast = discriminator(images), discriminator(2 * images)
        difference = tf.reduce_mean(tf.abs(of_more_contrast - logits))
        changes.append(float(difference / tf.reduce_mean(tf.abs(logits))))
    assert changes[0] < 0.1 and changes[1] > 0.9, changes


# ---- losses

def test_content_distance_by_hand():
    # Layer 1: differences 1 and 1 of features 3 and 1. Layer 2: 2 of 8.
    expected = [np.float32([[[[3, -1]]]]), np.float32([[[[8]]]])]
    received = [np.float32([[[[2, 0]]]]), np.float32([[[[6]]]])]
    distance = losses.content_distance(expected, received)
    assert float(distance) == pytest.approx((1 / 2 + 2 / 8) / 2)
    assert float(losses.content_distance(expected, expected)) == 0


# Two channels at two places: 1 and 3, whose mean is 2; and 5 and 1, whose mean is 3.
MAPS = np.float32([[[[1, 5], [3, 1]]]])


def test_gram_matrix_by_hand():
    # Without means the channels are -1 and 1; 2 and -2.
    matrix = losses.gram(MAPS).numpy()
    assert matrix.tolist() == [[[1, -2], [-2, 4]]]
    assert losses.gram(np.concatenate([MAPS, MAPS], 2)).numpy().tolist() == matrix.tolist()
    assert losses.gram(MAPS + 7).numpy().tolist() == matrix.tolist()


def test_style_distance_by_hand():
    # Half of the contrast has a quarter of the Gram matrix.
    assert float(losses.style_distance([MAPS], [MAPS / 2])) == pytest.approx(3 / 4)
    # Mean matrices: [[2.5, -5], [-5, 10]] of the batch of both, [[1, -2], [-2, 4]] of the other.
    both = np.concatenate([MAPS, 2 * MAPS])
    assert float(losses.style_distance([both], [MAPS])) == pytest.approx(1 - 1 / 2.5)
    assert float(losses.style_distance([both, MAPS], [MAPS, MAPS])) == pytest.approx(0.3)


def test_style_distance_does_not_depend_on_places_or_on_the_scale_of_features():
    maps = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    assert float(losses.style_distance([maps], [maps[:, ::-1]])) == pytest.approx(0, abs=1e-6)
    other = maps[:, :2]
    distance = float(losses.style_distance([maps], [other]))
    assert float(losses.style_distance([100 * maps], [100 * other])) == pytest.approx(distance)
    assert distance > 0.05


# ---- structure

def test_flatten_removes_texture_and_keeps_edges():
    areas = np.full([1, 32, 32, 3], -0.5, "float32")
    areas[:, :, 16:] = 0.5
    noise = np.random.default_rng(0).normal(0, 0.1, areas.shape).astype("float32")
    flat = structure.flatten(areas + noise).numpy()
    assert abs(flat - areas).mean() < 0.4 * abs(noise).mean()
    assert structure.flatten(areas).numpy() == pytest.approx(areas, abs=1e-6)


def test_color_lightens_shadows_and_strengthens_colors():
    images = np.array([[-1, -1, -1], [-0.5, -0.5, -0.5], [1, 1, 1], [0.2, 0.0, -0.2]], "float32")
    found = structure.color(images[None, None]).numpy()[0, 0]
    assert found[0] == pytest.approx(-1) and found[2] == pytest.approx(1)
    assert (found[1] > -0.5).all() and np.ptp(found[1]) == pytest.approx(0, abs=1e-6)
    assert np.ptp(found[3]) == pytest.approx(structure.SATURATION * 0.4)
    assert np.isfinite(structure.color(np.full([1, 1, 1, 3], -1.0001, "float32"))).all()


def test_posterize_leaves_few_tones_and_keeps_black_white_and_hue():
    ramp = np.linspace(-1, 1, 1000, dtype="float32")[None, None, :, None] * np.ones([3], "float32")
    found = structure.posterize(ramp).numpy()[0, 0, :, 0]
    tones = np.linspace(-1, 1, structure.TONES)
    assert (abs(found[:, None] - tones).min(1) < 0.05).mean() > 0.6
    assert (np.diff(found) > -1e-6).all()
    assert found[[0, -1]] == pytest.approx([-1, 1], abs=1e-6)
    colors = np.full([1, 1, 1, 3], [0.1, 0.0, -0.1], "float32")
    assert np.diff(structure.posterize(colors).numpy()) == pytest.approx(-0.1, abs=1e-6)


def test_outline_blackens_the_darker_side_of_strong_edges():
    image = np.zeros([1, 16, 16, 3], "float32")
    image[:, :, 8:] = 0.8
    image[:, 12:, :8] = 0.05  # too weak an edge
    outlined = structure.outline(image).numpy()
    assert outlined[:, :, 7] == pytest.approx(-1)
    others = [column for column in range(16) if column != 7]
    assert (outlined[:, :, others] == image[:, :, others]).all()


def test_ink_is_on_the_dark_side_of_strong_edges():
    image = np.zeros([1, 32, 32, 3], "float32")
    image[:, :, 16:] = 0.8
    image[:, 24:, :16] = 0.02  # too weak an edge
    found = structure.ink(image).numpy()
    assert found.min() == 0 and found.max() == 1
    assert (found[:, :20, 14] > 0.9).all()
    assert not found[:, :, 16:].any() and not found[:, :, :10].any()


def test_drawn_photos_are_flat_with_black_lines():
    areas = np.full([1, 32, 32, 3], [-0.3, -0.5, -0.5], "float32")
    areas[:, :, 16:] = [0.6, 0.8, 0.4]
    noise = np.random.default_rng(0).normal(0, 0.05, areas.shape).astype("float32")
    drawing = structure.draw(areas + noise).numpy()
    plain = structure.posterize(structure.color(areas)).numpy()
    away = np.r_[0:10, 22:32]
    assert abs(drawing - plain)[:, :, away].mean() < abs(noise).mean()
    assert drawing[:, :, 14].mean() < -0.8


def test_blur_keeps_the_mean_and_widens_a_point():
    image = np.zeros([1, 33, 33, 1], "float32")
    image[:, 16, 16] = 1
    blurred = structure.blur(image, 2.0).numpy()[0, :, :, 0]
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    distances = np.arange(33) - 16
    assert (blurred.sum(0) * distances ** 2).sum() == pytest.approx(4, rel=0.1)
    assert blurred == pytest.approx(blurred.T, abs=1e-6)


# ---- restoration

def test_a_photo_adds_its_texture_to_degraded_cartoons():
    cartoons = np.zeros([1, 32, 32, 3], "float32")
    photo = np.random.default_rng(0).choice([-0.8, 0.8], [1, 32, 32, 1]) * np.ones([3])
    plain = restoration.degrade(cartoons, [0, 1]).numpy()
    textured = restoration.degrade(cartoons, [0, 1], np.float32(photo)).numpy()
    assert textured.std() > 2 * plain.std()
    flat = np.full_like(cartoons, 0.3)
    assert restoration.degrade(cartoons, [0, 1], flat).numpy() == pytest.approx(plain, abs=1e-6)


def test_dark_lines_are_removed_if_they_are_thin():
    image = np.ones([1, 16, 16, 3], "float32")
    image[:, 3:5] = -1          # two rows: a line
    image[:, 10:, 8:] = -0.5    # an area
    expected = np.ones([1, 16, 16, 3], "float32")
    expected[:, 10:, 8:] = -0.5
    assert restoration.without_thin_lines(image).numpy() == pytest.approx(expected, abs=1e-6)


def test_the_border_stays_in_the_middle_of_a_removed_line():
    image = np.zeros([1, 9, 9, 3], "float32")
    image[:, 4] = -1
    image[:, 5:] = 0.8
    rows = restoration.without_thin_lines(image).numpy()[0, :, 4, 0]
    assert rows == pytest.approx([0, 0, 0, 0, 0.4, 0.8, 0.8, 0.8, 0.8], abs=1e-6)


def test_degraded_cartoons_are_more_like_photos():
    photos, drawings = scenes.sample(24)
    drawings = np.float32(drawings / 127.5 - 1)
    degraded = restoration.degrade(drawings, [0, 1]).numpy()
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
    for size in (16, 128):
        images = np.random.default_rng(0).uniform(-1, 1, [2, size, size, 3]).astype("float32")
        one, same, other = (restoration.degrade(images, [0, n]).numpy() for n in (1, 1, 2))
        assert one.shape == images.shape and abs(one).max() <= 1
        assert (one == same).all() and (one != other).any()


# ---- the training step

def test_each_term_is_what_its_name_says(small):
    weights = {"adversarial_weight": 0.5, "content_weight": 0.1, "style_weight": 0.2,
               "structure_weight": 0.7, "restoration_weight": 0.6}
    gan = models.build(small(style_features="random:scale1", **weights))
    cartoons, photos, blurred = make_batch()
    fake = gan.generator(photos, training=True)
    seed = gan.seed(Purpose.CONTENT)
    degraded = restoration.degrade(cartoons, gan.seed(Purpose.DEGRADE), photos)
    restored = gan.generator(degraded, training=True)
    expected = {
        "content_distance": losses.content_distance(
            gan.content_maps(photos, seed), gan.content_maps(fake, seed)),
        "style_distance": losses.style_distance(
            gan.style_maps(cartoons, seed), gan.style_maps(fake, seed)),
        "structure_distance": tf.reduce_mean(tf.abs(structure.draw(photos) - fake)),
        "restoration_error": tf.reduce_mean(tf.abs(restored - cartoons)),
    }
    terms = gan.g_terms(cartoons, cartoons, fake, photos, None)
    assert [weight for _, weight, _ in terms] == list(weights.values())
    assert gan.term_names == ["d_loss_real", "d_loss_fake", "g_loss", *expected]
    logs = gan.train_step((cartoons, photos, blurred))
    for name, value in expected.items():
        assert float(logs[name]) == pytest.approx(float(value), rel=1e-4), name


def test_terms_without_a_weight_are_absent(small):
    gan = models.build(small(content_weight=0.0, content_features="nowhere.keras:first"))
    cartoons, photos, _ = make_batch()
    [(name, _, _)] = gan.g_terms(cartoons, cartoons, photos, photos, None)
    assert name == "g_loss"
    assert gan.term_names == ["d_loss_real", "d_loss_fake", "g_loss"]


def test_the_fakes_of_d_are_generated_and_blurred_images(small):
    cartoons, photos, blurred = make_batch()
    gan = models.build(small())
    fakes = gan.fakes_to_judge(tf.constant(photos), (cartoons, photos, blurred)).numpy()
    assert (fakes == np.concatenate([photos, blurred])).all()


def test_sampling_needs_no_feature_network(small):
    args = small(content_features="nowhere.keras:first")
    assert models.build_sampler(args).sample(IMAGES).shape == IMAGES.shape
    with pytest.raises(ValueError, match="`content_features`"):
        models.build(args)


@pytest.mark.parametrize("build", [models.build, models.build_pretraining])
def test_feature_networks_are_float32_and_not_saved(small, build):
    model = build(small(content_features="random:scale1", precision="mixed_bfloat16"))
    [maps] = model.content_maps(IMAGES, [0, 1])
    assert maps.dtype == "float32"
    saved = {id(weight) for weight in model.weights}
    assert not any(id(weight) in saved for weight in model.content_maps.network.weights)


@pytest.mark.slow
def test_training_moves_the_style_towards_the_cartoons(monkeypatch):
    monkeypatch.setattr(networks, "U_NET_BLOCKS", 1)
    photos, _ = scenes.sample(4, size=32)
    _, drawings = scenes.sample(4, start=4, size=32)
    batch = tuple(images / np.float32(127.5) - 1 for images in (drawings, photos, drawings))
    args = override(
        Cartoon64, image_shape=(32, 32, 3), generator_filters=(4, 8),
        discriminator_filters=(4, 4), restoration_weight=0.0, style_weight=4.0,
        g_learning_rate=2e-3, augment="")
    gan = models.build(args)
    step = tf.function(gan.train_step)
    distances = []
    for _ in range(20):
        gan.reset_metrics()
        distances.append(float(step(batch)["style_distance"]))
    assert distances[-1] < 0.8 * distances[0], distances


def test_pretraining_with_structure_learns_the_drawing_terms(small):
    args = small(structure_weight=10.0, restoration_weight=5.0,
                 content_features="nowhere.keras:first")  # must not be loaded
    pretraining = models.build_pretraining(args)
    cartoons, photos, _ = batch = make_batch()
    images = pretraining(photos, training=True)
    degraded = restoration.degrade(cartoons, randomness.seed(args, Purpose.DEGRADE, 0), photos)
    restored = pretraining.generator(degraded, training=True)
    expected = (10 * tf.reduce_mean(tf.abs(structure.draw(photos) - images))
                + 5 * tf.reduce_mean(tf.abs(restored - cartoons)))
    assert float(pretraining.loss_of(batch)) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.slow
def test_pretraining_reduces_the_content_distance_without_d(small):
    pretraining = models.build_pretraining(small(pretrain_learning_rate=3e-3))
    step = tf.function(pretraining.train_step)
    distances = []
    for _ in range(8):
        pretraining.reset_metrics()
        distances.append(float(step(make_batch())["loss"]))
    assert distances[-1] < 0.9 * distances[0], distances
    assert pretraining(IMAGES).shape == IMAGES.shape
