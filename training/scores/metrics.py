"""The mathematics of the scores, in NumPy.

Distances are computed in float64: they are small differences of large sums.
"""
import numpy as np

# ---- images in [-1, 1], as arrays [count, rows, columns, channels]


def contrast(images):
    """Returns the mean standard deviation of the pixels of an image: 0 if it has one color."""
    return float(np.mean(np.std(images, axis=(1, 2))))


def saturation(images):
    """Returns the share of values close to -1 or 1, where the gradient of tanh vanishes."""
    return float(np.mean(np.abs(images) > 0.95))


def checkerboard(images):
    """Returns the energy of stripes with a period of two pixels, relative to neighboring periods.

    A transposed convolution of stride 2 leaves a pattern of this period. Blur and noise change the
    energy of all short periods, so they do not change the score.

    Args:
        images: [count, rows, columns, channels], in any range.

    Returns:
        1 if the stripes have as much energy as the next two frequencies, more if there is a
        pattern.

    Reference: Odena 2016, distill.pub/2016/deconv-checkerboard; [cartoon 3]
    """
    energy = 0.0
    for start in range(0, len(images), 1000):
        part = np.float64(images[start:start + 1000])
        amplitudes = np.abs(np.fft.fft2(part, axes=(1, 2)))
        energy = energy + np.sum(np.square(amplitudes), axis=(0, 3))
    ratios = []
    for along_axis in (energy, energy.T):
        period_2 = len(along_axis) // 2
        if period_2 < 2:  # images of so few pixels have no neighboring periods
            continue
        neighbors = along_axis[period_2 - 2:period_2].mean()
        ratios.append(along_axis[period_2].mean() / max(neighbors, 1e-12))
    return float(np.mean(ratios))


# ---- distances between vectors: images, or features of a network

def distances(x, y=None):
    """Returns the root mean square differences between vectors of any shape, which are flattened.

    Args:
        x: [count, ...].
        y: [other count, ...], or None to compare the vectors of x with each other.

    Returns:
        float64 [count, other count]; without y [count, count - 1], as no vector is compared with
        itself.
    """
    x = np.reshape(np.asarray(x, "float64"), [len(x), -1])
    if y is None:
        different = ~np.eye(len(x), dtype=bool)
        return _distances(x, x)[different].reshape(len(x), len(x) - 1)
    return _distances(x, np.reshape(np.asarray(y, "float64"), [len(y), -1]))


def _distances(x, y):
    x_squares = np.mean(np.square(x), axis=1)[:, None]
    y_squares = np.mean(np.square(y), axis=1)
    squares = x_squares + y_squares - 2 / x.shape[1] * (x @ y.T)
    return np.sqrt(np.maximum(0, squares))


def nearest(x, y, batch_size=1000):
    """Finds the nearest vector of y for each vector of x.

    Args:
        x: [count, ...].
        y: [other count, ...].
        batch_size: the number of vectors of x whose distances are held in memory at once.

    Returns:
        The distances, float64 [count], and the indices in y, int64 [count].
    """
    smallest = []
    indices = []
    for start in range(0, len(x), batch_size):
        between = distances(x[start:start + batch_size], y)
        smallest.append(between.min(axis=1))
        indices.append(between.argmin(axis=1))
    return np.concatenate(smallest), np.concatenate(indices)


def memorization(to_train, test_to_train):
    """Returns how often a generated image is closer to the training images than a test image is.

    The share of all pairs of a generated image and a test image, the statistic of Mann and Whitney,
    in which ties count one half. It is 0.5 if generated images are as close to the training images
    as other real images are, 1 if they are copies, and less than 0.5 if they are farther away, as
    is usual for a GAN. The features of mirrored images are similar, so mirrored copies are found
    too: 0.90 to 0.99, depending on the network [measured].

    Args:
        to_train: distance of each generated image to the nearest training image, [count].
        test_to_train: distance of each test image to the nearest training image, [other count].

    Reference: Meehan 2020, arXiv:2004.05675
    """
    ordered = np.sort(test_to_train)
    farther = len(ordered) - np.searchsorted(ordered, to_train, "right")
    farther_or_equal = len(ordered) - np.searchsorted(ordered, to_train, "left")
    ties = farther_or_equal - farther
    return float(np.mean(farther + ties / 2) / len(ordered))


# ---- distributions of features, [count, size]

def frechet_distance(x, y):
    """Returns the Frechet distance between Gaussians with the means and covariances of x and y.

    |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^1/2), where the trace of the root is computed from the
    eigenvalues of the symmetric matrix S1^1/2 S2 S1^1/2. It is the FID if the features are those
    of Inception. It is biased upwards, the more so the fewer vectors there are: compare only scores
    of equal numbers of images.

    Args:
        x: [count, size].
        y: [other count, size].

    Reference: Heusel 2017, arXiv:1706.08500
    """
    mean_x, covariance_x = _mean_and_covariance(x)
    mean_y, covariance_y = _mean_and_covariance(y)
    eigenvalues, eigenvectors = np.linalg.eigh(covariance_x)
    root_x = eigenvectors * np.sqrt(np.maximum(0, eigenvalues)) @ eigenvectors.T
    product_eigenvalues = np.linalg.eigvalsh(root_x @ covariance_y @ root_x)
    trace_of_root = np.sqrt(np.maximum(0, product_eigenvalues)).sum()
    squared_difference = np.sum(np.square(mean_x - mean_y))
    return float(squared_difference + np.trace(covariance_x) + np.trace(covariance_y)
                 - 2 * trace_of_root)


def _mean_and_covariance(vectors):
    vectors = np.asarray(vectors, "float64")
    return np.mean(vectors, axis=0), np.atleast_2d(np.cov(vectors, rowvar=False))


def kernel_distance(x, y, subsets=20, subset_size=1000, seed=0):
    """Returns the KID: the squared maximum mean discrepancy under k(a, b) = (a.b / d + 1)^3.

    d is the length of the vectors. The KID is the mean of unbiased estimates on random subsets, so
    it may be negative if x and y are alike.

    Args:
        x: [count, d].
        y: [other count, d].
        subsets: the number of random subsets.
        subset_size: the largest number of vectors in a subset; 1,000 in the authors' code.
        seed: of the random subsets.

    Reference: Binkowski 2018, arXiv:1801.01401
    """
    x = np.asarray(x, "float64")
    y = np.asarray(y, "float64")
    subset_size = min(subset_size, len(x), len(y))
    random = np.random.default_rng(seed)
    estimates = []
    for _ in range(subsets):
        x_subset = x[random.choice(len(x), subset_size, replace=False)]
        y_subset = y[random.choice(len(y), subset_size, replace=False)]
        within_x = _mean_off_diagonal(_kernel(x_subset, x_subset))
        within_y = _mean_off_diagonal(_kernel(y_subset, y_subset))
        between = _kernel(x_subset, y_subset).mean()
        estimates.append(within_x + within_y - 2 * between)
    return float(np.mean(estimates))


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_off_diagonal(matrix):
    size = len(matrix)
    return (matrix.sum() - np.trace(matrix)) / (size * (size - 1))


def precision_recall(real, fake, k=5, batch_size=1000):
    """Returns precision, recall, density and coverage of fake images among real ones.

    Around each image lies a ball that reaches to its k-th nearest neighbor of the same kind.
    Precision is the share of fake images in the ball of a real one, recall the share of real images
    in the ball of a fake one. Density is the mean number of balls of real images that a fake image
    lies in, divided by k. Coverage is the share of real images that have a fake one in their ball.
    Density and coverage are more robust against outliers.

    Args:
        real: [count, size], more than k.
        fake: [other count, size], more than k.
        k: which neighbor; 5 [Naeem 2020].
        batch_size: the number of vectors whose distances are held in memory at once.

    Returns:
        {"precision", "recall", "density", "coverage"}: floats.

    Reference: Kynkaanniemi 2019, arXiv:1904.06991; Naeem 2020, arXiv:2002.09797
    """
    real_radii = _distances_to_neighbor(real, k, batch_size)
    fake_radii = _distances_to_neighbor(fake, k, batch_size)
    counts = []  # for each fake image, the number of balls of real images it lies in
    in_ball_of_fake = np.zeros(len(real), bool)
    nearest_fake = np.full(len(real), np.inf)
    for start in range(0, len(fake), batch_size):
        part = slice(start, start + batch_size)
        between = distances(real, fake[part])
        counts.append((between < real_radii[:, None]).sum(axis=0))
        in_ball_of_fake |= (between < fake_radii[part]).any(axis=1)
        nearest_fake = np.minimum(nearest_fake, between.min(axis=1))
    balls_of_reals = np.concatenate(counts)
    return {
        "precision": float((balls_of_reals > 0).mean()),
        "recall": float(in_ball_of_fake.mean()),
        "density": float(balls_of_reals.mean() / k),
        "coverage": float((nearest_fake < real_radii).mean()),
    }


def _distances_to_neighbor(vectors, k, batch_size):
    """Returns the distance from each vector to its k-th nearest neighbor: [count]."""
    found = []
    for start in range(0, len(vectors), batch_size):
        between = distances(vectors[start:start + batch_size], vectors)
        # Position k instead of k - 1, as the nearest of all is the vector itself.
        found.append(np.partition(between, k)[:, k])
    return np.concatenate(found)


# ---- classes

def modes(generated, true_classes):
    """Returns the number of true classes that were generated, and a divergence of their shares.

    Args:
        generated: the factors of each generated image, int [count, factors]. Each combination of
            factors is a class.
        true_classes: the classes of real images, in the same form.

    Returns:
        The number of classes of real images among the generated ones, and the Kullback-Leibler
        divergence of the generated shares from the true shares, in nats.

    Reference: Metz 2016, arXiv:1611.02163, which counts the 1,000 modes of stacked MNIST
    """
    sizes = np.maximum(generated.max(axis=0), true_classes.max(axis=0)) + 1
    generated_shares = _class_shares(generated, sizes)
    true_shares = _class_shares(true_classes, sizes)
    is_generated = generated_shares > 0
    # A class that no real image has would make the divergence infinite: it counts as if one real
    # image had it.
    expected = np.maximum(true_shares[is_generated], 1 / len(true_classes))
    shares = generated_shares[is_generated]
    divergence = np.sum(shares * np.log(shares / expected))
    return int(np.sum(is_generated & (true_shares > 0))), float(divergence)


def _class_shares(classes, sizes):
    """Returns the share of each combination of factors: float64 [product of the sizes]."""
    indices = np.ravel_multi_index(classes.T, sizes)
    return np.bincount(indices, minlength=np.prod(sizes)) / len(classes)
