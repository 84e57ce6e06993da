"""The networks whose features are compared: of scores, and of the content of a photo."""
import collections
import pathlib

import keras
import numpy as np

# What `extract_features` returns:
#   images: uint8 [count, rows, columns, channels].
#   features: float64 [count, size].
#   classes: int [count, factors], or None if the network names no classes.
Features = collections.namedtuple("Features", ["images", "features", "classes"])


def check_network(name):
    """Checks that `features` names a file of a network.

    Args:
        name: a path.

    Raises:
        FileNotFoundError: if there is no such file, or if it is no .keras file.
    """
    if not name.endswith(".keras") or not pathlib.Path(name).is_file():
        raise FileNotFoundError(
            "`features` must be inception, classifier, or an existing .keras file that takes "
            f"images in [0, 255]. Received: features={name}")


def feature_network(name):
    """Loads the network whose outputs are compared.

    Args:
        name: "inception" for Keras' InceptionV3 with the weights of ImageNet, which is downloaded
            once; or a .keras file that takes images in [0, 255]. If that network has several
            outputs, the first are features and the others are logits of classes.

    Returns:
        A keras.Model: images [batch, rows, columns, channels] in [0, 255] -> its outputs.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be loaded, or if the download fails.
    """
    if name == "inception":
        return _load_inception()
    check_network(name)
    return _load_network(name)


def inner_network(name):
    """Loads the first layers of a network, up to one whose features describe the content of images.

    Args:
        name: "vgg19" for Keras' VGG19 with the weights of ImageNet up to block4_conv4 [Chen 2018],
            which is downloaded once; or "file.keras:layer", a network that takes images in
            [0, 255], and one of its layers or of the layers of a network within it.

    Returns:
        A keras.Model that is not trainable: images [batch, rows, columns, 3] in [0, 255] ->
        features [batch, rows, columns, channels].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be loaded or has no such layer, or if the download fails.
    """
    images = keras.Input([None, None, 3])
    if name == "vgg19":
        network = _load_vgg19()
        layer = "block4_conv4"
        x = keras.applications.vgg19.preprocess_input(images)
    else:
        network, layer = _load_content_network(name)
        x = images

    if _has_layer(network, layer):
        features = _apply_up_to(network, layer, x)
    else:
        features = _apply_chain_up_to(network, layer, x)
    if features is None:
        raise ValueError(
            "`content_features` must name a layer of the .keras file. "
            f"Received: content_features={name}")
    inner = keras.Model(images, features)
    inner.trainable = False
    return inner


def train_classifier(images, labels, sizes, batches=3000, batch_size=64):
    """Trains a small network that predicts the class of an image for each of several factors.

    Args:
        images: uint8 [count, rows, columns, channels].
        labels: int [count, factors].
        sizes: the number of classes of each factor.
        batches: the number of training steps.
        batch_size: images per step.

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


def extract_features(network, images, batch_size=250):
    """Computes the features of images, and their classes if the network predicts any.

    Args:
        network: as returned by `feature_network` or `train_classifier`.
        images: uint8 [count, rows, columns, channels].
        batch_size: images per call of the network.

    Returns:
        Features. A feature map is averaged over its rows and columns.
    """
    pixels = images
    if images.shape[-1] == 1 and network.input_shape[-1] == 3:
        pixels = np.repeat(images, 3, axis=-1)  # grayscale to RGB
    features = []
    classes = []
    for start in range(0, len(images), batch_size):
        batch = np.float32(pixels[start:start + batch_size])
        outputs = network.predict_on_batch(batch)
        if not isinstance(outputs, (list, tuple)):
            outputs = [outputs]
        feature = outputs[0]
        if feature.ndim == 4:
            feature = feature.mean(axis=(1, 2))
        features.append(np.float64(feature))
        if len(outputs) > 1:
            predictions = [logits.argmax(axis=1) for logits in outputs[1:]]
            classes.append(np.stack(predictions, axis=1))
    all_classes = np.concatenate(classes) if classes else None
    return Features(images, np.concatenate(features), all_classes)


def _load_network(path):
    try:
        # In safe mode no code from the file is run.
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises errors of many types on a broken file
        raise ValueError(
            "`features` and `content_features` must name a .keras file that Keras can load. "
            f"Received: {path}. {error}") from None


def _load_inception():
    try:
        inception = keras.applications.InceptionV3(
            include_top=False, pooling="avg", input_shape=(299, 299, 3))
    except Exception as error:  # a failed download raises errors of many types
        raise ValueError(
            "`features` is inception, whose weights could not be downloaded. Set features to a "
            ".keras file that takes images in [0, 255], or, if `data` has labels, to classifier. "
            f"Received: features=inception. {error}") from None
    images = keras.Input([None, None, 3])
    resizing = keras.layers.Resizing(299, 299, interpolation="bilinear", antialias=True)
    rescaling = keras.layers.Rescaling(1 / 127.5, offset=-1)
    return keras.Model(images, inception(rescaling(resizing(images))))


def _load_vgg19():
    try:
        return keras.applications.VGG19(include_top=False)
    except Exception as error:  # a failed download raises errors of many types
        raise ValueError(
            "`content_features` is vgg19, whose weights could not be downloaded. Set "
            "content_features to a layer of a .keras file, as in file.keras:layer. "
            f"Received: content_features=vgg19. {error}") from None


def _load_content_network(name):
    """Returns the network and the layer that "file.keras:layer" names."""
    path, layer = name.rsplit(":", 1)
    if not path.endswith(".keras") or not pathlib.Path(path).is_file():
        raise FileNotFoundError(
            "`content_features` must be vgg19, or an existing .keras file that takes images in "
            "[0, 255] and one of its layers, as in file.keras:layer. "
            f"Received: content_features={name}")
    return _load_network(path), layer


def _has_layer(network, name):
    if not isinstance(network, keras.Model):
        return False
    return name in [layer.name for layer in network.layers]


def _apply_up_to(network, layer, x):
    """Applies a network to x, and returns the output of one of its layers."""
    features = keras.Model(network.inputs, network.get_layer(layer).output)
    return features(x)


def _apply_chain_up_to(network, layer, x):
    """Applies the layers of a network to x in turn, up to `layer` within one of them.

    Returns:
        The output of `layer`, or None if no network among the layers has it.
    """
    for part in network.layers:
        if isinstance(part, keras.layers.InputLayer):
            continue
        if _has_layer(part, layer):
            return _apply_up_to(part, layer, x)
        x = part(x)
    return None
