"""Scores: golden values, other libraries', and the direction in which they move when images get worse."""
import os
import pathlib

import h5py
import keras
import numpy as np
import prdc
import pytest
import scipy.linalg
import squeezenet
from PIL import Image, ImageFilter

from models import metrics, toyfaces


@pytest.fixture(autouse=True)
def seeded():
    """Each test's random numbers are its own, whichever others run."""
    global RANDOM
    RANDOM = np.random.default_rng(0)


def gaussian(count, size, mean=0.0, scale=1.0):
    return mean + scale * RANDOM.standard_normal([count, size])


# ---- golden values

def test_frechet_distance_of_one_number_by_hand():
    # Means 1 and 5, standard deviations sqrt(2) and sqrt(8): (1 - 5)^2 + (1.4142 - 2.8284)^2
    assert metrics.frechet_distance([[0.0], [2.0]], [[3.0], [7.0]]) == pytest.approx(16 + 2)


def test_frechet_distance_agrees_with_the_formula_through_scipy():
    x, y = gaussian(300, 12), gaussian(200, 12, 0.5) @ RANDOM.standard_normal([12, 12])
    s1, s2 = np.cov(x.T), np.cov(y.T)
    formula = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * scipy.linalg.sqrtm(s1 @ s2).real)
    assert metrics.frechet_distance(x, y) == pytest.approx(formula, rel=1e-9)


@pytest.mark.parametrize("count, expected", [(100, 23.1), (500, 4.4), (2000, 1.06)])
def test_frechet_distance_is_biased_as_published_for_one_gaussian(count, expected):
    # The published ones are single draws, whose spread is 3 %.
    assert metrics.frechet_distance(gaussian(count, 64), gaussian(count, 64)) == pytest.approx(expected, rel=0.1)


def test_kernel_distance_agrees_with_its_definition_pair_by_pair():
    x, y = gaussian(7, 3), gaussian(7, 3, 1.0)

    def k(a, b):
        return (sum(i * j for i, j in zip(a, b)) / 3 + 1) ** 3

    same = sum(k(v[i], v[j]) for v in (x, y) for i in range(7) for j in range(7) if i != j) / (7 * 6)
    between = sum(k(a, b) for a in x for b in y) / 49
    assert metrics.kernel_distance(x, y, subsets=2) == pytest.approx(same - 2 * between)


def test_kernel_distance_has_no_bias():
    found = [metrics.kernel_distance(gaussian(50, 8), gaussian(50, 8), subsets=1) for _ in range(400)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20


def test_precision_and_recall_of_two_gaussians_are_the_published_ones():
    found = metrics.precision_recall(gaussian(10000, 1000), gaussian(10000, 1000))
    # Single draws, as those of the package prdc: other seeds move its precision by 0.03, its density by 0.15.
    assert found.pop("density") == pytest.approx(1.0555, abs=0.2)
    assert found == pytest.approx({"precision": 0.4772, "recall": 0.4705, "coverage": 0.9735}, abs=0.05)


def test_precision_and_recall_agree_with_prdc():
    real, fake = gaussian(300, 10), gaussian(200, 10, 0.3, 1.2)
    assert metrics.precision_recall(real, fake) == pytest.approx(prdc.compute_prdc(real, fake, 5), abs=1e-6)


def test_precision_and_recall_need_more_images_than_neighbours():
    with pytest.raises(ValueError, match="more than k=5 images of both kinds. Received: 5 real and 9 fake"):
        metrics.precision_recall(gaussian(5, 2), gaussian(9, 2))


def test_modes_by_hand():
    true = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    hit, divergence = metrics.modes(np.array([[0, 0], [0, 0], [1, 1], [1, 1]]), true)
    assert hit == 2 and divergence == pytest.approx(np.log(2))  # two of four equal modes: 2 * 1/2 * ln((1/2) / (1/4))
    assert metrics.modes(true, true) == (4, pytest.approx(0))
    assert metrics.modes(np.array([0, 1, 2]), np.array([0, 1, 1]))[0] == 2  # 2 is no class of the real images


def test_memorization_by_hand():
    # Pairs in which the drawn one is nearer: 1 of 2 for the first, both for the second, a tie for the third.
    assert metrics.memorization([2.5, 0.0, 3.0], [2.0, 3.0]) == pytest.approx((0.5 + 1 + 0.25) / 3)


def test_nearest_finds_itself_and_its_distance_by_hand():
    x, y = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[3.0, 4.0], [9.0, 9.0], [0.0, 1.0]])
    found, index = metrics.nearest(x, y, at_a_time=1)
    assert index.tolist() == [2, 0] and found == pytest.approx([np.sqrt(1 / 2), 0])


def test_checkerboard_sees_its_pattern_and_neither_blur_nor_noise():
    images = np.float64(toyfaces.sample(60)[0])
    board = np.indices((64, 64)).sum(0)[..., None] % 2 * 2 - 1
    stripes = np.indices((64, 64))[1][..., None] % 2 * 2 - 1
    plain = metrics.checkerboard(images)
    noisy = metrics.checkerboard(images + RANDOM.normal(0, 20, images.shape))
    assert plain == pytest.approx(1, abs=0.3) and noisy == pytest.approx(1, abs=0.1)
    found = [metrics.checkerboard(images + strength * board) for strength in (0, 2, 4, 8)]
    assert found == sorted(found) and found[-1] > 10 * plain
    assert metrics.checkerboard(images + 8 * stripes) > 5 * plain


# ---- worse images, worse scores

@pytest.fixture(scope="module")
def network():
    """A network of random weights, whose features are good enough to tell worse from better."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input([64, 64, 3])
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    for filters in (16, 32, 32):
        x = keras.layers.Conv2D(filters, 4, strides=2, activation="leaky_relu")(x)
    return keras.Model(pixels, x)


@pytest.fixture(scope="module")
def faces(network):
    """Toy faces with their modes: a training set and as many unseen ones."""
    images, factors = toyfaces.sample(800)
    return (images[:400], factors[:400]), metrics.look(network, images[400:])


def blurred(images, radius):
    return np.stack([Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)) for image in images])


def noisy(images, deviation):
    return np.uint8(np.clip(images + np.random.default_rng(1).normal(0, deviation, images.shape), 0, 255))


@pytest.mark.parametrize("worsen, steps", [
    (blurred, (0, 1, 2, 4)), (noisy, (0, 20, 40, 80)),
    (lambda images, repeats: np.tile(images[:400 // repeats], [repeats, 1, 1, 1]), (1, 5, 20, 100)),
])
def test_distances_grow_as_images_get_worse(network, faces, worsen, steps):
    (images, _), real = faces
    seen = [metrics.look(network, worsen(images, step)) for step in steps]
    for distance in metrics.frechet_distance, metrics.kernel_distance:
        found = [distance(one.features, real.features) for one in seen]
        assert found == sorted(found) and found[-1] > 2 * abs(found[0]), found


def test_distances_grow_and_coverage_falls_as_classes_are_dropped(network, faces):
    (images, factors), real = faces
    seen = [metrics.look(network, images[factors[:, 0] < left]) for left in (8, 5, 3, 1)]  # hair colours
    for distance in metrics.frechet_distance, metrics.kernel_distance:
        found = [distance(one.features, real.features) for one in seen]
        assert found == sorted(found)
    coverage = [metrics.precision_recall(real.features, one.features)["coverage"] for one in seen]
    assert coverage == sorted(coverage, reverse=True) and coverage[-1] < 0.5 * coverage[0]


def test_duplicates_are_seen_by_recall_and_diversity(network, faces):
    (images, _), real = faces
    train = metrics.look(network, images)
    few = metrics.look(network, np.tile(images[:4], [100, 1, 1, 1]))
    many, one = (metrics.scores(seen, train, real) for seen in (train, few))
    assert one["recall"] < 0.1 < many["recall"] and one["diversity"] < 0.9 * many["diversity"]


def test_memorization_rises_as_drawn_images_are_replaced_by_training_images(network, faces):
    (images, _), real = faces
    train = metrics.look(network, images)
    fresh, _ = toyfaces.sample(200, seed=5)
    found = [metrics.scores(metrics.look(network, np.concatenate([images[:copies], fresh[copies:]])), train,
                            real)["memorization"] for copies in (0, 50, 100, 200)]
    assert found == sorted(found) and found[0] == pytest.approx(0.5, abs=0.1) and found[-1] > 0.99


def test_kid_takes_inception_s_features_as_they_are_and_scales_others(network, faces):
    (images, _), real = faces
    train = metrics.look(network, images)
    large = [metrics.Seen(seen.images, 10 * seen.features, None) for seen in (train, train, real)]
    plain = metrics.scores(train, train, real)["kid"]
    assert metrics.scores(*large)["kid"] == pytest.approx(plain)
    as_it_is = metrics.kernel_distance(10 * train.features, 10 * real.features)
    assert metrics.scores(*large, inception=True)["kid"] == pytest.approx(as_it_is) != pytest.approx(plain)


# ---- the networks

def test_a_classifier_learns_to_name_the_factors_of_unseen_faces():
    images, factors = toyfaces.sample(1200)
    classifier = metrics.train_classifier(images[:1000], factors[:1000, :1], toyfaces.SIZES[:1], batches=60)
    seen = metrics.look(classifier, images[1000:])
    assert seen.features.shape == (200, 128) and seen.classes.shape == (200, 1)
    assert (seen.classes == factors[1000:, :1]).mean() > 0.9  # by chance: one in eight


def test_a_keras_file_is_a_feature_network_of_gray_images_too(tmp_path, network):
    network.save(tmp_path / "random.keras")
    loaded = metrics.feature_network(str(tmp_path / "random.keras"))
    gray = toyfaces.sample(3)[0][..., :1]
    seen = metrics.look(loaded, gray)
    assert seen.features.shape == (3, 32) and seen.classes is None  # the places of the map are averaged
    assert seen.features == pytest.approx(metrics.look(network, np.repeat(gray, 3, -1)).features)


def test_what_is_too_small_for_stripes_has_none():
    assert metrics.checkerboard(RANDOM.uniform(-1, 1, [2000, 1, 10, 1])) == pytest.approx(1.0, abs=0.1)
    assert metrics.checkerboard(np.ones([5, 2, 3, 1])) == 1.0


def test_a_feature_network_that_is_not_there_is_refused():
    with pytest.raises(FileNotFoundError, match="`features` must be inception, classifier, or a .keras file"):
        metrics.feature_network("nowhere.keras")
    with pytest.raises(FileNotFoundError, match="`content_features` must be vgg19, .*nowhere.keras:layer"):
        metrics.inner_network("nowhere.keras:layer")


def test_a_network_that_brings_code_is_refused(tmp_path):
    path = tmp_path / "evil.keras"
    keras.Sequential([keras.Input([4]), keras.layers.Lambda(lambda x: x + 1)]).save(path)
    with pytest.raises(ValueError, match="must name a .keras file that Keras can load.*evil.keras.*unsafe"):
        metrics.feature_network(str(path))


@pytest.mark.parametrize("outer", ["functional", "chain"])
def test_a_layer_within_a_network_within_another_is_found(tmp_path, outer):
    inner = keras.Sequential([keras.Input([8, 8, 3]), keras.layers.Conv2D(4, 3, name="deep"), keras.layers.Flatten()])
    images, resize = keras.Input([None, None, 3]), keras.layers.Resizing(8, 8)
    network = keras.Model(images, inner(resize(images))) if outer == "functional" \
        else keras.Sequential([images, resize, inner])
    network.save(tmp_path / "nested.keras")
    drawn = RANDOM.uniform(0, 255, [2, 16, 16, 3])
    expected = inner.get_layer("deep")(resize(drawn))
    assert metrics.inner_network(f"{tmp_path / 'nested.keras'}:deep")(drawn).numpy() == pytest.approx(
        expected.numpy(), rel=1e-5)


def publish(arrays, path):
    """Writes kernels and biases as the weights of SqueezeNet were published."""
    with h5py.File(path, "w") as file:
        for name, kernel, bias in zip(squeezenet.names(), arrays[::2], arrays[1::2], strict=True):
            file[f"{name}/{name}_W:0"], file[f"{name}/{name}_b:0"] = kernel, bias


def test_the_network_of_readme_s_scores_is_made_from_published_weights(here, monkeypatch):
    network = squeezenet.build()
    arrays = network.get_layer("functional").get_weights()
    publish(arrays, "published.h5")
    with pytest.raises(SystemExit, match="other weights than those of README's scores"):
        squeezenet.main("published.h5")
    assert not os.path.exists("squeezenet.keras")
    monkeypatch.setattr(squeezenet, "SHA256", squeezenet.digest(arrays))
    squeezenet.main("published.h5")
    drawn = RANDOM.integers(0, 256, [2, 64, 64, 3], "uint8")
    assert metrics.look(metrics.feature_network("squeezenet.keras"), drawn).features == pytest.approx(
        network(np.float32(drawn)).numpy(), rel=1e-5)
    with pytest.raises(SystemExit, match="is there already, and stays as it is"):
        squeezenet.main("published.h5")


def test_weights_of_another_network_make_no_squeezenet(here):
    keras.Sequential([keras.Input([4]), keras.layers.Dense(2)]).save_weights("other.weights.h5")
    with pytest.raises(SystemExit, match="must be those of SqueezeNet 1.1 without its top.*a bias of conv1"):
        squeezenet.main("other.weights.h5")


def test_it_is_the_network_that_the_scores_were_measured_with(here):
    path = pathlib.Path(os.environ.get("ANIME_FACES", "")).parent / "squeezenet.keras"
    if not path.is_file():
        pytest.skip("weights are not in this project: whoever has the network puts it beside the folder ANIME_FACES")
    known = keras.models.load_model(path)
    publish(known.get_layer("functional").get_weights(), "published.h5")
    squeezenet.main("published.h5")
    drawn = RANDOM.uniform(0, 255, [2, 64, 64, 3]).astype("float32")
    assert (keras.models.load_model("squeezenet.keras").predict(drawn) == known.predict(drawn)).all()
