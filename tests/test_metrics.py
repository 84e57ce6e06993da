"""Scores: known values, other libraries, and the direction they move in as images get worse."""
import pathlib
import subprocess
import sys

import keras
import numpy as np
import prdc
import pytest
import scipy.linalg
from PIL import Image, ImageFilter

from models import features, metrics, toyfaces, toyscenes

ROOT = pathlib.Path(metrics.__file__).resolve().parents[1]


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_metrics_imports_neither_tensorflow_nor_keras():
    code = ("import sys, models.metrics; "
            "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# ---- known values

def test_contrast_by_hand():
    halves = np.ones([1, 4, 4, 3])
    halves[:, :2] = -1
    assert metrics.contrast(halves) == 1
    assert metrics.contrast(np.ones([2, 4, 4, 3])) == 0


def test_saturation_by_hand():
    assert metrics.saturation(np.float32([[0.96, -0.96, 0.94, 0.0]])) == 0.5


def test_distances_by_hand():
    flat = np.float32([0, 1, 3])[:, None, None, None] * np.ones([3, 4, 4, 3], "float32")
    assert metrics.distances(flat) == pytest.approx(np.array([[1, 3], [1, 2], [3, 2]]))
    assert metrics.distances(flat, flat[:1]) == pytest.approx(np.array([[0], [1], [3]]))


def test_frechet_distance_of_scalars_by_hand():
    # Means 1 and 5, standard deviations sqrt(2) and sqrt(8): (1 - 5)^2 + (1.4142 - 2.8284)^2
    assert metrics.frechet_distance([[0.0], [2.0]], [[3.0], [7.0]]) == pytest.approx(16 + 2)


def test_frechet_distance_agrees_with_scipy(random):
    x = random.normal(size=[300, 12])
    y = random.normal(0.5, 1, size=[200, 12]) @ random.normal(size=[12, 12])
    covariance_x, covariance_y = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(covariance_x @ covariance_y).real
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2)
    expected += np.trace(covariance_x + covariance_y - 2 * root)
    assert metrics.frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count, expected", [(100, 23.1), (500, 4.4), (2000, 1.06)])
def test_frechet_distance_has_the_published_bias(random, count, expected):
    # The published values are single samples, whose spread is 3 %.
    x, y = random.normal(size=[count, 64]), random.normal(size=[count, 64])
    assert metrics.frechet_distance(x, y) == pytest.approx(expected, rel=0.1)


def test_kernel_distance_agrees_with_its_definition(random):
    x, y = random.normal(size=[7, 3]), random.normal(1, 1, size=[7, 3])

    def kernel(a, b):
        return (sum(i * j for i, j in zip(a, b)) / 3 + 1) ** 3

    within = 0.0
    for vectors in (x, y):
        for i in range(7):
            for j in range(7):
                if i != j:
                    within += kernel(vectors[i], vectors[j]) / (7 * 6)
    between = sum(kernel(a, b) for a in x for b in y) / 49
    found = metrics.kernel_distance(x, y, subsets=2)
    assert found == pytest.approx(within - 2 * between)


def test_kernel_distance_is_unbiased(random):
    found = []
    for _ in range(400):
        x, y = random.normal(size=[50, 8]), random.normal(size=[50, 8])
        found.append(metrics.kernel_distance(x, y, subsets=1))
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(400)


def test_kernel_distance_takes_random_subsets(random):
    x, y = random.normal(size=[60, 8]), random.normal(size=[60, 8])
    found = [metrics.kernel_distance(x, y, subset_size=20, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


@pytest.mark.slow
def test_precision_and_recall_of_gaussians_are_the_published_ones(random):
    x, y = random.normal(size=[10000, 1000]), random.normal(size=[10000, 1000])
    found = metrics.precision_recall(x, y)
    # The published values are single samples, whose precision and density vary by 0.03 and 0.15.
    assert found.pop("density") == pytest.approx(1.0555, abs=0.2)
    expected = {"precision": 0.4772, "recall": 0.4705, "coverage": 0.9735}
    assert found == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_precision_and_recall_agree_with_prdc(random, batch_size):
    real, fake = random.normal(size=[300, 10]), random.normal(0.3, 1.2, size=[200, 10])
    found = metrics.precision_recall(real, fake, batch_size=batch_size)
    assert found == pytest.approx(prdc.compute_prdc(real, fake, 5), abs=1e-6)


def test_precision_and_recall_need_more_images_than_neighbors(random):
    with pytest.raises(ValueError, match="k=5 .*Received: 5 real and 9 fake"):
        metrics.precision_recall(random.normal(size=[5, 2]), random.normal(size=[9, 2]))


def test_modes_by_hand():
    true = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    found, divergence = metrics.modes(np.array([[0, 0], [0, 0], [1, 1], [1, 1]]), true)
    # Two of four equal modes: 2 * 1/2 * ln((1/2) / (1/4))
    assert found == 2 and divergence == pytest.approx(np.log(2))
    assert metrics.modes(true, true) == (4, pytest.approx(0))


def test_a_class_that_no_real_image_has_is_not_counted():
    found, divergence = metrics.modes(np.array([0, 1, 2]), np.array([0, 1, 1]))
    assert found == 2
    assert divergence == pytest.approx((np.log(1) + np.log(1 / 2) + np.log(1)) / 3)


def test_memorization_by_hand():
    # Share of pairs in which the generated image is closer: 1 of 2 for the first, both for the
    # second, a tie for the third.
    found = metrics.memorization([2.5, 0.0, 3.0], [2.0, 3.0])
    assert found == pytest.approx((0.5 + 1 + 0.25) / 3)


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_nearest_by_hand(batch_size):
    x = np.array([[0.0, 0.0], [3.0, 4.0]])
    y = np.array([[3.0, 4.0], [9.0, 9.0], [0.0, 1.0]])
    found, index = metrics.nearest(x, y, batch_size)
    assert index.tolist() == [2, 0]
    assert found == pytest.approx([np.sqrt(1 / 2), 0])


def test_checkerboard_finds_its_pattern_but_neither_blur_nor_noise(random):
    images = np.float64(toyfaces.sample(60)[0])
    rows, columns = np.indices((64, 64))
    board = ((rows + columns) % 2 * 2 - 1)[..., None]
    stripes = (columns % 2 * 2 - 1)[..., None]
    plain = metrics.checkerboard(images)
    assert plain == pytest.approx(1, abs=0.3)
    assert metrics.checkerboard(blurred(np.uint8(images), 1)) == pytest.approx(1, abs=0.3)
    noise = random.normal(0, 20, images.shape)
    assert metrics.checkerboard(images + noise) == pytest.approx(1, abs=0.1)
    found = [metrics.checkerboard(images + strength * board) for strength in (0, 2, 4, 8)]
    assert found == sorted(found) and found[-1] > 10 * plain
    assert metrics.checkerboard(images + 8 * stripes) > 5 * plain
    assert metrics.checkerboard(images + 8 * stripes.transpose(1, 0, 2)) > 5 * plain


def test_images_too_small_for_a_checkerboard_have_none(random):
    numbers = random.uniform(-1, 1, [2000, 1, 10, 1])
    assert metrics.checkerboard(numbers) == pytest.approx(1.0, abs=0.1)
    assert metrics.checkerboard(np.ones([5, 2, 3, 1])) == 1.0


# ---- worse images, worse scores

@pytest.fixture(scope="module")
def network():
    """A network with random weights. Its features can tell worse images from better ones."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input([64, 64, 3])
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    for filters in (16, 32, 32):
        x = keras.layers.Conv2D(filters, 4, strides=2, activation="leaky_relu")(x)
    return keras.Model(pixels, x)


@pytest.fixture(scope="module")
def faces():
    """800 toy faces and their factors: the first half for training, the other half for tests."""
    return toyfaces.sample(800)


@pytest.fixture(scope="module")
def train(network, faces):
    return few_images(features.extract_features(network, faces[0][:400]))


@pytest.fixture(scope="module")
def test(network, faces):
    return few_images(features.extract_features(network, faces[0][400:]))


def few_images(found):
    """Returns Features with 20 of the images: only the checkerboard score needs them."""
    return found._replace(images=found.images[:20])


def blurred(images, radius):
    blur = ImageFilter.GaussianBlur(radius)
    return np.stack([Image.fromarray(image).filter(blur) for image in images])


def noisy(images, deviation):
    noise = np.random.default_rng(1).normal(0, deviation, images.shape)
    return np.uint8(np.clip(images + noise, 0, 255))


def repeated(images, repeats):
    return np.tile(images[:400 // repeats], [repeats, 1, 1, 1])


@pytest.mark.parametrize("worsen, steps", [
    (blurred, (0, 1, 2, 4)), (noisy, (0, 20, 40, 80)), (repeated, (1, 5, 20, 100))])
def test_distances_grow_as_images_get_worse(network, faces, test, worsen, steps):
    worse = [features.extract_features(network, worsen(faces[0][:400], step)) for step in steps]
    for distance in (metrics.frechet_distance, metrics.kernel_distance):
        found = [distance(one.features, test.features) for one in worse]
        assert found == sorted(found) and found[-1] > 2 * abs(found[0]), found


def test_distances_grow_and_coverage_falls_as_classes_are_dropped(faces, train, test):
    hair_colors = faces[1][:400, 0]
    left = [train.features[hair_colors < number] for number in (8, 5, 3, 1)]
    for distance in (metrics.frechet_distance, metrics.kernel_distance):
        found = [distance(one, test.features) for one in left]
        assert found == sorted(found)
    coverage = [metrics.precision_recall(test.features, one)["coverage"] for one in left]
    assert coverage == sorted(coverage, reverse=True)
    assert coverage[-1] < 0.5 * coverage[0]


def test_duplicates_lower_recall_and_diversity(network, faces, train, test):
    few = few_images(features.extract_features(network, repeated(faces[0], 100)))
    many_scores = metrics.scores(train, train, test)
    few_scores = metrics.scores(few, train, test)
    assert few_scores["recall"] < 0.1 < many_scores["recall"]
    assert few_scores["diversity"] < 0.9 * many_scores["diversity"]


def test_memorization_rises_as_images_are_replaced_by_training_images(network, faces, train, test):
    new_faces, _ = toyfaces.sample(200, seed=5)
    found = []
    for copies in (0, 50, 100, 200):
        mixed = np.concatenate([faces[0][:copies], new_faces[copies:]])
        mixed_features = few_images(features.extract_features(network, mixed))
        found.append(metrics.scores(mixed_features, train, test)["memorization"])
    assert found == sorted(found)
    assert found[0] == pytest.approx(0.5, abs=0.1) and found[-1] > 0.99


def test_kid_scales_features_unless_they_are_of_inception(train, test):
    large_train = features.Features(train.images, 10 * train.features, None)
    large_test = features.Features(test.images, 10 * test.features, None)
    plain = metrics.scores(train, train, test)["kid"]
    scaled = metrics.scores(large_train, large_train, large_test)["kid"]
    assert scaled == pytest.approx(plain)
    unscaled = metrics.kernel_distance(large_train.features, large_test.features)
    found = metrics.scores(large_train, large_train, large_test, inception=True)["kid"]
    assert found == pytest.approx(unscaled) != pytest.approx(plain)


def test_scores_count_modes_where_there_are_classes(faces, train, test):
    factors = faces[1]
    generated = features.Features(train.images, train.features, factors[:400])
    found = metrics.scores(generated, train, test, factors[400:])
    assert list(found) == [
        "fd", "kid", "precision", "recall", "density", "coverage", "diversity", "memorization",
        "checkerboard", "modes", "kl"]
    assert (found["modes"], found["kl"]) == metrics.modes(factors[:400], factors[400:])
    assert "modes" not in metrics.scores(train, train, test)
    ratio = metrics.checkerboard(train.images) / metrics.checkerboard(test.images)
    assert found["checkerboard"] == ratio


def test_real_images_without_that_period_leave_out_the_checkerboard(train, test):
    enlarged = test.images[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    assert metrics.checkerboard(enlarged) == 0
    names = set(metrics.scores(train, train, test))
    names_without_it = set(metrics.scores(train, train, test._replace(images=enlarged)))
    assert names - names_without_it == {"checkerboard"}
    assert names_without_it <= names


# ---- images and what they should be

def test_error_by_hand():
    images = np.zeros([1, 2, 2, 3], "uint8")
    truths = images.copy()
    truths[0, 0, 0] = [30, 60, 90]
    assert metrics.error(images, truths) == (30 + 60 + 90) / 12
    assert metrics.error(truths, images) == (30 + 60 + 90) / 12  # uint8 does not wrap around


def test_edge_correlation_by_hand():
    first, second = np.zeros([2, 1, 3, 3, 1], "uint8")
    first[0, :, 1:] = 9  # a vertical edge: slopes of 9 at the left, of 0 in the middle
    second[0, 1:, 1:] = 4  # a corner: a slope of 4 to the right, one below, and none above both
    second[0, 2, 0] = 4
    assert metrics._slopes(first)[0].tolist() == [[9, 0], [9, 0]]
    assert metrics._slopes(second)[0].tolist() == [[0, 4], [np.hypot(4, 4), 0]]
    # Deviations from the means: 4.5 (1, -1, 1, -1), and (-m, 4 - m, 4 r - m, -m) for r = 2 ** 0.5
    # and m = 1 + r. Their products are 4.5 (4 r - 4), their squares 81 and 48 - 4 m ** 2.
    root = 2 ** 0.5
    by_hand = 4.5 * (4 * root - 4) / np.sqrt(81 * (48 - 4 * (1 + root) ** 2))
    assert metrics.edge_correlation(first, second) == pytest.approx(by_hand)


def test_edge_correlation_is_1_of_the_same_edges_and_0_without_edges():
    _, drawings = toyscenes.sample(8)
    photos, _ = toyscenes.sample(8)
    assert metrics.edge_correlation(drawings, drawings) == pytest.approx(1)
    assert metrics.edge_correlation(drawings // 2, drawings) > 0.99
    assert 0.2 < metrics.edge_correlation(photos, drawings) < 0.7
    assert abs(metrics.edge_correlation(drawings[::-1], drawings)) < 0.2
    assert metrics.edge_correlation(0 * drawings, drawings) == 0
