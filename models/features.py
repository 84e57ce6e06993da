"""Networks whose features are compared: pretrained ones, and random filters."""
import pathlib
import typing

import numpy as np

from models import import_keras

keras = import_keras()

RANDOM_SCALES = (1, 2, 4)  # pixels of an image per pixel of a feature map [guess]
RANDOM_FILTERS = 32        # per scale [guess]; 128 [Ustyuzhaninov 2016]
RANDOM_SIZE = 3            # rows and columns of a filter [guess]


class Features(typing.NamedTuple):
    """What a network extracts from images.

    Attributes:
        images: uint8 [count, rows, columns, channels].
        features: float64 [count, size].
        classes: the predicted class of each factor, int [count, factors]; None if the network
            predicts none.
    """
    images: np.ndarray
    features: np.ndarray
    classes: np.ndarray | None

    def take(self, rows):
        """Returns the Features of some of the images."""
        classes = None if self.classes is None else self.classes[rows]
        return Features(self.images[rows], self.features[rows], classes)


def feature_network(name):
    """Loads the network whose outputs are compared.

    Args:
        name: "mobilenet" for Keras' MobileNetV2 at 96x96, or "inception" for its InceptionV3 at
            299x299, with the weights of ImageNet, which are downloaded once; "random" for the mean
            outputs of random filters, as [Naeem 2020] scores with a random network; or a .keras
            file that takes images in [0, 255]. If it has several outputs, the first are features
            and the others are logits of classes.

    Returns:
        A keras.Model: images [batch, rows, columns, channels] in [0, 255] -> its outputs.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be loaded, or if the download fails.
    """
    if name == "mobilenet":
        return _imagenet_network(name, keras.applications.MobileNetV2, 96)
    if name == "inception":
        return _imagenet_network(name, keras.applications.InceptionV3, 299)
    if name == "random":
        return _random_network()
    if not name.endswith(".keras") or not pathlib.Path(name).is_file():
        raise FileNotFoundError(
            "`features` must be mobilenet, inception, random, classifier, or an existing .keras "
            f"file that takes images in [0, 255]. Received: features={name}")
    return _load_network(name)


def _imagenet_network(name, application, size):
    """Returns a network of keras.applications for images of any size in [0, 255].

    Args:
        name: what `features` is set to.
        application: takes images in [-1, 1].
        size: rows and columns that images are resized to.
    """
    try:
        network = application(include_top=False, pooling="avg", input_shape=(size, size, 3))
    except Exception as error:  # a failed download raises errors of many types
        raise ValueError(
            f"The weights of {name} could not be downloaded. Use features=random, which needs no "
            f"download, or a .keras file. Received: features={name}. {error}") from None
    images = keras.Input([None, None, 3])
    resizing = keras.layers.Resizing(size, size, interpolation="bilinear", antialias=True)
    rescaling = keras.layers.Rescaling(1 / 127.5, offset=-1)
    return keras.Model(images, network(rescaling(resizing(images))))


def _random_network():
    """Builds a network of random filters, at several scales of the image.

    The statistics of such filters describe textures nearly as well as those of networks that were
    trained on millions of photos [Ustyuzhaninov 2016, arXiv:1606.00021]. The filters have fixed
    seeds: they are always the same.

    Returns:
        A keras.Model: images [batch, rows, columns, 3] in [0, 255] -> features [batch, 96], the
        means over places of the layers scale1, scale2 and scale4.
    """
    images = keras.Input([None, None, 3])
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    means = []
    for scale in RANDOM_SCALES:
        convolution = keras.layers.Conv2D(
            RANDOM_FILTERS, RANDOM_SIZE, activation="relu", name=f"scale{scale}",
            kernel_initializer=keras.initializers.Orthogonal(seed=scale))
        maps = convolution(keras.layers.AveragePooling2D(scale)(x))
        means.append(keras.layers.GlobalAveragePooling2D()(maps))
    return keras.Model(images, keras.layers.Concatenate()(means))


def _load_network(path):
    try:
        # In safe mode no code from the file is run.
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises errors of many types on a broken file
        raise ValueError(
            "`features`, `d_features`, `content_features` and `style_features` must name .keras "
            f"files that Keras can load. Received: {path}. {error}") from None


def train_classifier(images, labels, sizes, batches=3000, batch_size=64):
    """Trains a small network that predicts the class of an image for each of several factors.

    Sets Keras' global seed to 0, so that the same images give the same classifier.

    Args:
        images: uint8 [count, rows, columns, channels].
        labels: int [count, factors].
        sizes: the number of classes of each factor.
        batches: the number of training steps [guess].
        batch_size: images per step [guess].

    Returns:
        A keras.Model: images in [0, 255] -> [features [batch, 128], logits [batch, size] of each
        factor].
    """
    keras.utils.set_random_seed(0)
    pixels = keras.Input(images.shape[1:])
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    for filters in (16, 32, 64, 128):
        x = keras.layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.LeakyReLU(negative_slope=0.1)(x)
    dense = keras.layers.Dense(128, activation="relu")
    features = dense(keras.layers.Flatten()(x))
    logits = [keras.layers.Dense(int(size))(features) for size in sizes]

    network = keras.Model(pixels, logits)
    learning_rate = keras.optimizers.schedules.CosineDecay(2e-3, batches)
    loss = [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in sizes]
    network.compile(keras.optimizers.Adam(learning_rate), loss)
    random = np.random.default_rng(0)
    for _ in range(batches):
        rows = random.integers(len(images), size=batch_size)
        targets = [labels[rows, factor] for factor in range(len(sizes))]
        network.train_on_batch(np.float32(images[rows]), targets)
    return keras.Model(pixels, [features, *logits])


def extract_features(network, images, batch_size=64, verbose=0):
    """Computes the features of images, and their classes if the network predicts any.

    Args:
        network: as returned by `feature_network` or `train_classifier`.
        images: uint8 [count, rows, columns, channels].
        batch_size: images per call of the network.
        verbose: 1 shows a progress bar.

    Returns:
        Features. A feature map is averaged over its rows and columns.
    """
    pixels = images
    if images.shape[-1] == 1 and network.input_shape[-1] == 3:
        pixels = np.repeat(images, 3, axis=-1)  # grayscale to RGB
    outputs = network.predict(pixels, batch_size=batch_size, verbose=verbose)
    if not isinstance(outputs, list):
        outputs = [outputs]
    features = outputs[0]
    if features.ndim == 4:
        features = features.mean(axis=(1, 2))
    classes = None
    if len(outputs) > 1:
        classes = np.stack([logits.argmax(axis=1) for logits in outputs[1:]], axis=1)
    return Features(images, np.float64(features), classes)
