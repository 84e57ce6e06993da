"""tests/bench/make_squeezenet.py: the published weights are kept, other files are refused."""
import os
import pathlib

import h5py
import keras
import make_squeezenet
import numpy as np
import pytest

from models import features


@pytest.fixture(scope="module")
def squeezenet():
    """SqueezeNet with random weights. Do not change it."""
    return make_squeezenet.build()


def squeezenet_weights(network):
    """Returns the kernels and biases of a network, in the order of `layer_names`."""
    weights = []
    for name in make_squeezenet.layer_names():
        weights += network.get_layer(name.replace("/", "_")).get_weights()
    return weights


def publish(weights, path):
    """Writes kernels and biases in the layout of the published file."""
    names = make_squeezenet.layer_names()
    with h5py.File(path, "w") as file:
        for name, kernel, bias in zip(names, weights[::2], weights[1::2], strict=True):
            file[f"{name}/{name}_W:0"] = kernel
            file[f"{name}/{name}_b:0"] = bias


def test_the_file_is_a_feature_network_with_the_published_weights(here, squeezenet, monkeypatch):
    weights = squeezenet_weights(squeezenet)
    publish(weights, "published.h5")
    monkeypatch.setattr(make_squeezenet, "SHA256", make_squeezenet.digest(weights))
    make_squeezenet.main("published.h5")
    images = np.random.default_rng(0).integers(0, 256, [2, 64, 64, 3], "uint8")
    loaded = features.feature_network("squeezenet.keras")
    found = features.extract_features(loaded, images)
    assert found.features.shape == (2, 512)
    assert found.features == pytest.approx(squeezenet(np.float32(images)).numpy(), rel=1e-5)


def test_an_existing_file_is_not_overwritten(here):
    pathlib.Path("squeezenet.keras").write_text("mine")
    with pytest.raises(SystemExit, match="squeezenet.keras exists"):
        make_squeezenet.main("published.h5")
    assert pathlib.Path("squeezenet.keras").read_text() == "mine"


def test_weights_of_another_hash_are_refused(here, squeezenet):
    publish(squeezenet_weights(squeezenet), "published.h5")
    with pytest.raises(SystemExit, match="SHA-256"):
        make_squeezenet.main("published.h5")
    assert not os.path.exists("squeezenet.keras")


def test_weights_of_another_network_are_refused(here):
    network = keras.Sequential([keras.Input([4]), keras.layers.Dense(2)])
    network.save_weights("other.weights.h5")
    with pytest.raises(SystemExit, match="SqueezeNet 1.1 .*bias of conv1"):
        make_squeezenet.main("other.weights.h5")


def test_a_missing_file_is_refused(here):
    with pytest.raises(SystemExit, match="SqueezeNet 1.1 .*nowhere.h5"):
        make_squeezenet.main("nowhere.h5")


def test_images_are_converted_to_bgr_around_the_mean_of_imagenet(squeezenet):
    image = np.float32([[[[10.0, 20.0, 30.0]]]])
    converted = squeezenet.get_layer("rgb_to_caffe_bgr")(image).numpy().ravel()
    assert converted == pytest.approx([30 - 103.939, 20 - 116.779, 10 - 123.68])


def test_it_is_the_network_that_the_scores_were_measured_with(here):
    path = pathlib.Path(os.environ.get("ANIME_FACES", "")).parent / "squeezenet.keras"
    if not path.is_file():
        # This repository holds no weights. Without them, the tests above check the shapes of the
        # network and the hash of the published file.
        pytest.skip("no weights here: put squeezenet.keras beside the folder of ANIME_FACES")
    known = keras.models.load_model(path)
    publish(known.get_layer("functional").get_weights(), "published.h5")
    make_squeezenet.main("published.h5")
    made = keras.models.load_model("squeezenet.keras")
    images = np.random.default_rng(0).uniform(0, 255, [2, 64, 64, 3]).astype("float32")
    assert (made.predict(images) == known.predict(images)).all()
