"""What generated images are compared with: the features of real images, kept beside `data`."""
import hashlib
import os
import pathlib
import sys
import typing

import numpy as np

import data
from models import features


class RealFeatures(typing.NamedTuple):
    """What generated images are compared with.

    Attributes:
        train: features.Features of the training images.
        test: features.Features of the test images.
        classes: the true classes of all images, int [count, factors], where the network predicts
            classes, else None.
    """
    train: features.Features
    test: features.Features
    classes: np.ndarray | None


def extract(network, images):
    """Returns features.Features of images. A terminal shows a progress bar."""
    return features.extract_features(network, images, verbose=int(sys.stdout.isatty()))


def real_features(args, network):
    """Returns RealFeatures by `network`: from `features_file`, which is written if needed.

    Args:
        args: the constants, a class of args.py.
        network: what `load_network` returned.
    """
    images = data.open_images(args)[:]
    path = features_file(args)
    if not os.path.exists(path):
        print(f"{path}: features of {len(images)} real images")
        computed = extract(network, images)
        arrays = {"features": np.float32(computed.features)}  # as the network computed them
        if computed.classes is not None:
            arrays["classes"] = computed.classes
        with data.whole_file(path) as temporary:
            np.savez(temporary, **arrays)
    with np.load(path) as file:
        found = features.Features(images, np.float64(file["features"]), file.get("classes"))

    train_rows, test_rows = data.split(args, len(images))
    train, test = found.take(train_rows), found.take(test_rows)
    classes = None
    if test.classes is not None:
        classes = data.classes(args)[:len(images)]
        is_correct = (test.classes == classes[test_rows]).all(axis=1)
        print(f"The classifier is right about {is_correct.mean():.1%} of {len(test_rows)} test "
              "images")
    return RealFeatures(train, test, classes)


def load_network(args):
    """Loads the network that `features` names. A classifier is trained first, if needed.

    Raises:
        FileNotFoundError, ValueError: see `features.feature_network`.
    """
    if args.features != "classifier":
        return features.feature_network(args.features)
    path = _classifier_file(args)
    if not os.path.exists(path):
        print(f"Training a classifier on the labels of {args.data}")
        images = data.open_images(args)[:]
        train_rows, _ = data.split(args, len(images))
        classes = data.classes(args)
        network = features.train_classifier(
            images[train_rows], classes[train_rows], classes.max(axis=0) + 1)
        with data.whole_file(path) as temporary:
            network.save(temporary)
    return features.feature_network(path)


def features_file(args):
    """Returns the name of the file of the real images' features, which need not exist."""
    path = _classifier_file(args) if args.features == "classifier" else args.features
    name = pathlib.Path(args.features).stem
    if os.path.isfile(path):  # other weights under the same name have a file of their own
        name += "-" + hashlib.blake2b(pathlib.Path(path).read_bytes(), digest_size=4).hexdigest()
    return _beside_data(args, name, ".npz")


def _classifier_file(args):
    return _beside_data(args, "classifier", ".keras")


def _beside_data(args, name, ending):
    """Returns the name of a file of what is computed from these training and test images."""
    train_rows, test_rows = data.split(args, len(data.open_images(args)))
    stem = args.data.removesuffix(".hdf5")
    counts = f"{len(train_rows)}-{len(test_rows)}"
    return f"{stem}.{name}-{data.fingerprint(args)}-{counts}{ending}"
