"""What images are like, as numbers: scores of generated images against real ones, and the networks they look through.

A score is worth as much as its protocol: its name carries the network and the count of images, as `fd_squeezenet_3k`,
and beside it stands its floor, what real images score. All is done in float64, as small differences of large sums need.
"""
import collections
import pathlib

import keras
import numpy as np

# ---- of images in [-1, 1], as arrays [count, rows, columns, channels]


def contrast(images):
    """Returns the mean deviation of an image's pixels: 0 for one colour."""
    return float(np.mean(np.std(images, (1, 2))))


def saturation(images):
    """Returns the share of values that lie near the ends of [-1, 1], where tanh has hardly a slope."""
    return float(np.mean(np.abs(images) > 0.95))


def checkerboard(images):
    """Returns how far stripes that repeat every two pixels stand out: 1 where their energy is as its neighbours'.

    A transposed convolution of stride 2 leaves a pattern of just that period [Odena 2016, distill.pub/2016/deconv-
    checkerboard; cartoon 3]. The energy of all frequencies with rows or columns of period 2 is compared with that of
    the two periods next to it, so that neither blur nor noise counts.
    """
    power = sum(np.sum(np.square(np.abs(np.fft.fft2(np.float64(images[start:start + 1000]), axes=(1, 2)))), (0, 3))
                for start in range(0, len(images), 1000))
    ratios = []
    for power in (power, power.T):
        middle = len(power) // 2
        if middle >= 2:  # fewer rows have no other periods
            ratios.append(power[middle].mean() / max(power[middle - 2:middle].mean(), 1e-12))  # of one colour: 0
    return float(np.mean(ratios or [1.0]))


# ---- of any two sets of vectors [count, size]: images, or the features of a network

def distances(x, y=None):
    """Returns the root mean square differences of vectors (of any shape, which is flattened).

    Args:
        x: [count, ...].
        y: [others, ...]; without it, x itself.

    Returns:
        [count, others]; without y [count, count - 1], as none is compared with itself.
    """
    alone = y is None
    x = np.reshape(np.asarray(x, "float64"), [len(x), -1])
    y = x if alone else np.reshape(np.asarray(y, "float64"), [len(y), -1])
    squares = np.mean(np.square(x), 1)[:, None] + np.mean(np.square(y), 1) - 2 / x.shape[1] * (x @ y.T)
    all_pairs = np.sqrt(np.maximum(0, squares))
    return all_pairs[~np.eye(len(x), dtype=bool)].reshape(len(x), len(x) - 1) if alone else all_pairs


def frechet_distance(x, y):
    """Returns the Frechet distance of two Gaussians with the means and covariances of x and y [Heusel 2017].

    |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^1/2), the last trace from the eigenvalues of the symmetric S1^1/2 S2 S1^1/2.
    It is biased upwards, the more the fewer the vectors: compare only scores of equal counts.

    Reference: arXiv:1706.08500; FID where the features are those of its Inception.
    """
    (m1, s1), (m2, s2) = [(np.mean(v, 0), np.atleast_2d(np.cov(v, rowvar=False)))
                          for v in (np.asarray(x, "float64"), np.asarray(y, "float64"))]
    values, vectors = np.linalg.eigh(s1)
    root = vectors * np.sqrt(np.maximum(0, values)) @ vectors.T
    shared = np.sqrt(np.maximum(0, np.linalg.eigvalsh(root @ s2 @ root))).sum()
    return float(np.sum(np.square(m1 - m2)) + np.trace(s1) + np.trace(s2) - 2 * shared)


def kernel_distance(x, y, subsets=20, size=1000, seed=0):
    """Returns KID: the squared maximum mean discrepancy under k = (x.y / d + 1)^3, unbiased, mean of random subsets.

    Being unbiased, it may be below 0 where x and y are alike.

    Args:
        subsets: how many.
        size: of each, at most; 1,000 in the authors' code.

    Reference: Binkowski 2018, arXiv:1801.01401.
    """
    random, size = np.random.default_rng(seed), min(size, len(x), len(y))
    x, y = np.asarray(x, "float64"), np.asarray(y, "float64")

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def off_diagonal(k):
        return (k.sum() - np.trace(k)) / (size * (size - 1))

    found = []
    for _ in range(subsets):
        a, b = (v[random.choice(len(v), size, replace=False)] for v in (x, y))
        found.append(off_diagonal(kernel(a, a)) + off_diagonal(kernel(b, b)) - 2 * kernel(a, b).mean())
    return float(np.mean(found))


def precision_recall(real, fake, k=5, at_a_time=1000):
    """Returns {"precision", "recall", "density", "coverage"} of fakes among reals.

    Around each image lies a ball that reaches to its k-th neighbour of its own kind. Precision: the share of fakes in
    a ball of a real; recall: of reals in a ball of a fake. Density: how many balls of reals a fake lies in, over k;
    coverage: the share of reals with a fake in their ball, both steadier where there are outliers.

    Reference: Kynkaanniemi 2019, arXiv:1904.06991; Naeem 2020, arXiv:2002.09797, whose k is 5.
    """
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"Precision and recall need more than k={k} images of both kinds. "
                         f"Received: {len(real)} real and {len(fake)} fake ones")

    def parts(v):
        return [slice(start, start + at_a_time) for start in range(0, len(v), at_a_time)]

    r_real, r_fake = (np.concatenate([np.partition(distances(v[part], v), k)[:, k] for part in parts(v)])
                      for v in (real, fake))  # the first is itself
    hits, found, closest = [], np.zeros(len(real), bool), np.full(len(real), np.inf)
    for part in parts(fake):
        between = distances(real, fake[part])
        hits.append((between < r_real[:, None]).sum(0))
        found |= (between < r_fake[part]).any(1)
        closest = np.minimum(closest, between.min(1))
    hits = np.concatenate(hits)
    return {"precision": float((hits > 0).mean()), "recall": float(found.mean()),
            "density": float(hits.mean() / k), "coverage": float((closest < r_real).mean())}


def nearest(x, y, at_a_time=1000):
    """Returns for each of x the distance to the next of y, and its index: two arrays [count]."""
    parts = [distances(x[start:start + at_a_time], y) for start in range(0, len(x), at_a_time)]
    return np.concatenate([part.min(1) for part in parts]), np.concatenate([part.argmin(1) for part in parts])


def memorization(to_train, test_to_train):
    """Returns the share of pairs in which a generated image lies nearer to the training images than an unseen real one.

    0.5 where they lie as near as other real images do, towards 1 where they are copies, below 0.5 where they are
    farther off, which is the rule. (The statistic of Mann and Whitney, ties halved.) A mirrored copy is none to it.

    Args:
        to_train: distances of generated images to the nearest training image, [count].
        test_to_train: those of held-out images.

    Reference: Meehan 2020, arXiv:2004.05675.
    """
    ordered = np.sort(test_to_train)
    farther = len(ordered) - np.searchsorted(ordered, to_train, "right")
    ties = len(ordered) - np.searchsorted(ordered, to_train, "left") - farther
    return float(np.mean(farther + ties / 2) / len(ordered))


def modes(found, true):
    """Returns how many of the true classes were found, and the Kullback-Leibler divergence, in nats, to their shares.

    Args:
        found: the class of each generated image, int [count], or [count, factors], whose combinations then count.
        true: those of real images.

    Reference: Metz 2016, arXiv:1611.02163, which counts the 1,000 modes of stacked MNIST so.
    """
    found, true = (np.reshape(classes, [len(classes), -1]) for classes in (found, true))
    sizes = np.maximum(found.max(0), true.max(0)) + 1
    drawn, real = (np.bincount(np.ravel_multi_index(classes.T, sizes), minlength=np.prod(sizes)) / len(classes)
                   for classes in (found, true))
    hit = drawn > 0
    # A class that no real image has would make it infinite: it counts as one that a single real image has.
    divergence = np.sum(drawn[hit] * np.log(drawn[hit] / np.maximum(real[hit], 1 / len(true))))
    return int(np.sum(hit & (real > 0))), float(divergence)


def scores(drawn, train, test, true=None, inception=False):
    """Returns {name: score} of drawn images; all three are what `look` returned.

    KID's kernel knows a scale: features like Inception's, of about 1. Those of other networks are brought to a root
    mean square of 1 for it; at 6, SqueezeNet's, a third moment would hide all else.

    Args:
        drawn: generated images.
        train: the real images that training saw: drawn ones should not be copies of them.
        test: real images that it didn't see: drawn ones should be like them.
        true: the classes of real images, int [count, factors], where `drawn` has classes.
        inception: whether the features are Inception's, which stay as they are.
    """
    unit = 1.0 if inception else np.sqrt(np.mean(np.square(test.features)))
    to_train, test_to_train = (nearest(one.features, train.features)[0] for one in (drawn, test))
    found = {"fd": frechet_distance(drawn.features, test.features),
             "kid": kernel_distance(drawn.features / unit, test.features / unit),
             **precision_recall(test.features, drawn.features),
             "diversity": float(distances(drawn.features[:1000]).mean()),
             "memorization": memorization(to_train, test_to_train),
             "checkerboard": checkerboard(drawn.images) / checkerboard(test.images)}
    if drawn.classes is not None:
        found["modes"], found["kl"] = modes(drawn.classes, true)
    return found


# ---- networks to look through

def check_network(name):
    """Refuses a name that is no .keras file.

    Raises:
        FileNotFoundError: names it.
    """
    if not name.endswith(".keras") or not pathlib.Path(name).is_file():
        raise FileNotFoundError("`features` must be inception, classifier, or a .keras file that takes images in "
                                f"[0, 255]. Received: features={name}")


def feature_network(name):
    """Loads a network whose outputs are compared.

    Args:
        name: "inception", Keras' InceptionV3 for ImageNet, which is downloaded once; or a .keras file that takes
            images in [0, 255]. Where that has several outputs, they are features and the logits of classes.

    Returns:
        A keras.Model.

    Raises:
        FileNotFoundError, ValueError: where there is no such file, or no download.
    """
    if name != "inception":
        check_network(name)
        try:
            return keras.models.load_model(name, compile=False, safe_mode=True)  # which runs no code of the file's
        except Exception as error:  # whatever Keras makes of a broken file
            raise ValueError(f"`features` and `content_features` must name a .keras file that Keras can load. "
                             f"Received: {name}. {error}") from None
    try:
        inner = keras.applications.InceptionV3(include_top=False, pooling="avg", input_shape=(299, 299, 3))
    except Exception as error:  # whatever the network between here and there has to say
        raise ValueError("Inception's weights could not be downloaded. Set `features` to a .keras file that takes "
                         f"images in [0, 255], or, where `data` has labels, to classifier. Received: "
                         f"features=inception. {error}") from None
    images = keras.Input([None, None, 3])
    x = keras.layers.Resizing(299, 299, interpolation="bilinear", antialias=True)(images)
    return keras.Model(images, inner(keras.layers.Rescaling(1 / 127.5, -1)(x)))


def inner_network(name):
    """Loads the first layers of a network, up to one whose features tell what an image shows.

    Args:
        name: "vgg19", Keras' VGG19 for ImageNet up to block4_conv4, which is downloaded once; or "file.keras:layer",
            a network that takes images in [0, 255], and a layer of it, or of the network it holds.

    Returns:
        A keras.Model, images in [0, 255] -> features [batch, rows, columns, channels]; it can't be trained.

    Raises:
        FileNotFoundError, ValueError: where there is no such file or layer, or no download.
    """
    def holds(part):
        return isinstance(part, keras.Model) and layer in [inner.name for inner in part.layers]

    images = x = keras.Input([None, None, 3])
    if name == "vgg19":
        try:
            network = keras.applications.VGG19(include_top=False)
        except Exception as error:  # whatever the network between here and there has to say
            raise ValueError("VGG19's weights could not be downloaded. Set `content_features` to a layer of a .keras "
                             f"file, as file.keras:layer. Received: content_features=vgg19. {error}") from None
        x, layer = keras.applications.vgg19.preprocess_input(x), "block4_conv4"
    else:
        path, layer = name.rsplit(":", 1)
        if not pathlib.Path(path).is_file():
            raise FileNotFoundError("`content_features` must be vgg19, or a .keras file that takes images in [0, 255] "
                                    f"and a layer of it, as file.keras:layer. Received: content_features={name}, and "
                                    "no such file")
        network = feature_network(path)
    chain = [part for part in network.layers if not isinstance(part, keras.layers.InputLayer)]
    for part in [network] if holds(network) else chain:  # one of which holds the layer
        if holds(part):
            found = keras.Model(images, keras.Model(part.inputs, part.get_layer(layer).output)(x))
            found.trainable = False
            return found
        x = part(x)
    raise ValueError(f"`content_features` must name a layer of the .keras file. Received: content_features={name}")


def train_classifier(images, labels, sizes, batches=3000, batch_size=64):
    """Trains a small network that names the class of an image, or for each of several factors a class.

    Args:
        images: uint8 [count, rows, columns, channels].
        labels: int [count, factors].
        sizes: how many classes each factor has.

    Returns:
        A keras.Model, images in [0, 255] -> [features [count, 128], logits [count, size] of each factor].
    """
    keras.utils.set_random_seed(0)
    pixels = keras.Input(images.shape[1:])
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    for filters in (16, 32, 64, 128):
        x = keras.layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.LeakyReLU(negative_slope=0.1)(x)
    x = keras.layers.Dense(128, activation="relu")(keras.layers.Flatten()(x))
    logits = [keras.layers.Dense(int(size))(x) for size in sizes]
    network = keras.Model(pixels, logits)
    network.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, batches)),
                    [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in sizes])
    random = np.random.default_rng(0)
    for _ in range(batches):
        rows = random.integers(len(images), size=batch_size)
        network.train_on_batch(np.float32(images[rows]), list(labels[rows].T))
    return keras.Model(pixels, [x, *logits])


Seen = collections.namedtuple("Seen", "images features classes")


def look(network, images, batch_size=250):
    """Looks at images, uint8 [count, rows, columns, channels], through a network.

    Returns:
        Seen: the images; features, float64 [count, size], the places of a feature map averaged; and, where the network
        has further outputs, the classes they name, int [count, factors], else None.
    """
    pixels = np.repeat(images, 3, -1) if images.shape[-1] == 1 and network.input_shape[-1] == 3 else images
    features, classes = [], []
    for start in range(0, len(images), batch_size):
        outputs = network.predict_on_batch(np.float32(pixels[start:start + batch_size]))
        feature, *logits = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        features.append(np.float64(feature.mean((1, 2)) if feature.ndim == 4 else feature))
        classes.append(np.stack([one.argmax(1) for one in logits], 1) if logits else None)
    return Seen(images, np.concatenate(features), None if classes[0] is None else np.concatenate(classes))
