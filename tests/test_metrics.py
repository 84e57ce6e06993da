"""Scores: known values, other libraries, and the direction they move in as images get worse."""
import numpy as np
import prdc
import pytest
import scipy.linalg

from training.scores import metrics


@pytest.fixture
def random():
    return np.random.default_rng(0)


# ---- images

def test_contrast_by_hand():
    halves = np.ones([1, 4, 4, 3])
    halves[:, :2] = -1
    assert metrics.contrast(halves) == 1
    assert metrics.contrast(np.ones([2, 4, 4, 3])) == 0


def test_saturation_by_hand():
    assert metrics.saturation(np.float32([[0.96, -0.96, 0.94, 0.0]])) == 0.5


def test_checkerboard_finds_its_pattern_but_neither_blur_nor_noise(random):
    noise = random.normal(0, 20, [60, 64, 64, 3])
    images = noise.cumsum(axis=1).cumsum(axis=2) / 10  # smooth
    rows, columns = np.indices((64, 64))
    board = ((rows + columns) % 2 * 2 - 1)[..., None]
    stripes = (columns % 2 * 2 - 1)[..., None]
    plain = metrics.checkerboard(images)
    assert plain == pytest.approx(1, abs=0.3)
    blurred = (images + np.roll(images, 1, axis=1) + np.roll(images, -1, axis=1)) / 3
    assert metrics.checkerboard(blurred) == pytest.approx(plain, abs=0.3)
    assert metrics.checkerboard(images + noise) == pytest.approx(1, abs=0.1)
    found = [metrics.checkerboard(images + strength * board) for strength in (0, 2, 4, 8)]
    assert found == sorted(found) and found[-1] > 10 * plain
    assert metrics.checkerboard(images + 8 * stripes) > 5 * plain
    assert metrics.checkerboard(images + 8 * stripes.transpose(1, 0, 2)) > 5 * plain


def test_a_row_of_random_numbers_has_no_checkerboard(random):
    numbers = random.uniform(-1, 1, [2000, 1, 10, 1])
    assert metrics.checkerboard(numbers) == pytest.approx(1.0, abs=0.1)


# ---- distances between vectors

def test_distances_by_hand():
    flat = np.float32([0, 1, 3])[:, None, None, None] * np.ones([3, 4, 4, 3], "float32")
    assert metrics.distances(flat) == pytest.approx(np.array([[1, 3], [1, 2], [3, 2]]))
    assert metrics.distances(flat, flat[:1]) == pytest.approx(np.array([[0], [1], [3]]))


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_nearest_by_hand(batch_size):
    x = np.array([[0.0, 0.0], [3.0, 4.0]])
    y = np.array([[3.0, 4.0], [9.0, 9.0], [0.0, 1.0]])
    found, index = metrics.nearest(x, y, batch_size)
    assert index.tolist() == [2, 0]
    assert found == pytest.approx([np.sqrt(1 / 2), 0])


def test_memorization_by_hand():
    # Share of pairs in which the generated image is closer: 1 of 2 for the first, both for the
    # second, a tie for the third.
    found = metrics.memorization([2.5, 0.0, 3.0], [2.0, 3.0])
    assert found == pytest.approx((0.5 + 1 + 0.25) / 3)


# ---- distributions

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


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_precision_and_recall_agree_with_prdc(random, batch_size):
    real, fake = random.normal(size=[300, 10]), random.normal(0.3, 1.2, size=[200, 10])
    found = metrics.precision_recall(real, fake, batch_size=batch_size)
    assert found == pytest.approx(prdc.compute_prdc(real, fake, 5), abs=1e-6)


# ---- worse features, worse scores

@pytest.fixture
def clusters(random):
    """400 training and 400 test features [count, 16], around 8 centers, and their labels."""
    centers = random.normal(0, 3, [8, 16])
    labels = np.arange(400) % 8
    first = centers[labels] + random.normal(size=[400, 16])
    second = centers[labels] + random.normal(size=[400, 16])
    return first, second, labels


def kernel_distance(x, y):
    return metrics.kernel_distance(x, y, subsets=2)


@pytest.mark.parametrize("distance", [metrics.frechet_distance, kernel_distance])
def test_distances_grow_as_features_get_worse(random, clusters, distance):
    train, test, labels = clusters
    noise = random.normal(size=train.shape)
    noisy = [distance(train + strength * noise, test) for strength in (0, 0.5, 1, 2)]
    assert noisy == sorted(noisy)
    few = [distance(np.tile(train[:400 // times], [times, 1]), test) for times in (1, 20, 50, 200)]
    assert few == sorted(few)
    dropped = [distance(train[labels < count], test) for count in (8, 6, 3, 1)]
    assert dropped == sorted(dropped)


def test_duplicates_lower_recall_and_dropped_modes_lower_coverage(clusters):
    train, test, labels = clusters
    whole = metrics.precision_recall(test, train)
    duplicates = metrics.precision_recall(test, np.tile(train[:8], [50, 1]))
    assert duplicates["recall"] == 0 and whole["recall"] > 0.5
    half = metrics.precision_recall(test, train[labels < 4])
    assert half["coverage"] < 0.6 * whole["coverage"] and half["precision"] > 0.5


def test_memorization_rises_with_the_share_of_copies(clusters):
    train, test, _ = clusters
    test_to_train, _ = metrics.nearest(test, train)
    found = []
    for copies in (0, 100, 200, 400):
        generated = np.concatenate([train[:copies], test[copies:]])
        to_train, _ = metrics.nearest(generated, train)
        found.append(metrics.memorization(to_train, test_to_train))
    assert found == sorted(found) and found[0] == 0.5 and found[-1] == 1


# ---- classes

def test_modes_by_hand():
    true = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    found, divergence = metrics.modes(np.array([[0, 0], [0, 0], [1, 1], [1, 1]]), true)
    # Two of four equal modes: 2 * 1/2 * ln((1/2) / (1/4))
    assert found == 2 and divergence == pytest.approx(np.log(2))
    assert metrics.modes(true, true) == (4, pytest.approx(0))


def test_a_class_that_no_real_image_has_is_not_counted():
    found, divergence = metrics.modes(np.array([[0], [1], [2]]), np.array([[0], [1], [1]]))
    assert found == 2
    assert divergence == pytest.approx((np.log(1) + np.log(1 / 2) + np.log(1)) / 3)
