import keras
import numpy as np
import pytest

from models import features, toyfaces

IMAGES = np.random.default_rng(0).uniform(0, 255, [2, 16, 16, 3]).astype("float32")


@pytest.fixture
def network():
    """Three convolutions with random weights: images of any size in [0, 255] -> a feature map."""
    keras.utils.set_random_seed(0)
    images = keras.Input([None, None, 3])
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    for filters in (8, 8, 12):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="leaky_relu")(x)
    return keras.Model(images, x)


# ---- feature networks

def test_a_keras_file_is_a_feature_network(tmp_path, network):
    network.save(tmp_path / "net.keras")
    loaded = features.feature_network(str(tmp_path / "net.keras"))
    np.testing.assert_allclose(loaded(IMAGES), network(IMAGES), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["nowhere.keras", "there.txt", "folder.keras"])
def test_a_feature_network_must_be_an_existing_keras_file(here, name):
    (here / "there.txt").write_text("no network")
    (here / "folder.keras").mkdir()
    for check in (features.check_network, features.feature_network):
        with pytest.raises(FileNotFoundError, match=f"`features` .*features={name}"):
            check(name)


def test_a_broken_file_is_refused(here):
    (here / "broken.keras").write_bytes(b"no zip file")
    features.check_network("broken.keras")
    with pytest.raises(ValueError, match="`features`, .*broken.keras"):
        features.feature_network("broken.keras")


def test_a_file_that_brings_code_is_refused(here):
    network = keras.Sequential([keras.Input([4]), keras.layers.Lambda(lambda x: x + 1)])
    network.save("code.keras")
    with pytest.raises(ValueError, match="`features`, .*code.keras.*unsafe"):
        features.feature_network("code.keras")


# An error of a machine without a network, as Keras raises it.
def test_a_failed_download_names_the_constant(monkeypatch):
    def fail(**options):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "InceptionV3", fail)
    with pytest.raises(ValueError, match="features=inception"):
        features.feature_network("inception")


def test_inception_gets_images_of_299_pixels_in_minus_1_to_1(monkeypatch):
    def stub(include_top, pooling, input_shape):
        """Returns the smallest and the largest pixel instead of features."""
        assert not include_top and pooling == "avg"
        images = keras.Input(input_shape)
        smallest = keras.ops.min(images, axis=(1, 2, 3))
        largest = keras.ops.max(images, axis=(1, 2, 3))
        return keras.Model(images, keras.ops.stack([smallest, largest], axis=1))

    monkeypatch.setattr(keras.applications, "InceptionV3", stub)
    network = features.feature_network("inception")
    images = np.zeros([2, 64, 48, 3], "float32")
    images[:, :, 24:] = 255
    np.testing.assert_allclose(network(images), [[-1, 1], [-1, 1]], atol=1e-5)


def test_random_features_are_means_of_maps():
    network = features.feature_network("random")
    found = network(IMAGES)
    assert found.shape == (2, 3 * features.RANDOM_FILTERS)
    maps = keras.Model(network.inputs[0], network.get_layer("scale1").output)(IMAGES)
    expected = np.mean(maps, axis=(1, 2))
    np.testing.assert_allclose(found[:, :features.RANDOM_FILTERS], expected, rtol=1e-4, atol=1e-6)


# ---- features

def test_feature_maps_are_averaged_over_places(network):
    images = toyfaces.sample(3)[0]
    found = features.extract_features(network, images)
    assert found.features.shape == (3, 12) and found.features.dtype == "float64"
    assert found.classes is None and found.images is images
    expected = network(np.float32(images)).numpy().mean(axis=(1, 2))
    assert found.features == pytest.approx(expected, rel=1e-5)


def test_grayscale_images_are_repeated_for_a_network_of_three_channels(network):
    gray = toyfaces.sample(3)[0][..., :1]
    found = features.extract_features(network, gray)
    expected = features.extract_features(network, np.repeat(gray, 3, axis=-1))
    assert (found.features == expected.features).all()
    assert found.images.shape == (3, 64, 64, 1)


def test_images_are_taken_in_batches(network):
    images = toyfaces.sample(5)[0]
    whole = features.extract_features(network, images)
    parts = features.extract_features(network, images, batch_size=2)
    assert parts.features == pytest.approx(whole.features, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_a_classifier_learns_factors_of_unseen_faces():
    images, factors = toyfaces.sample(700)
    classifier = features.train_classifier(
        images[:500], factors[:500, [0, 3]], (toyfaces.SIZES[0], toyfaces.SIZES[3]), batches=60)
    found = features.extract_features(classifier, images[500:])
    assert found.features.shape == (200, 128) and found.classes.shape == (200, 2)
    accuracy = (found.classes == factors[500:, [0, 3]]).mean(axis=0)
    assert accuracy[0] > 0.8, accuracy  # hair color; by chance one in eight
    assert accuracy[1] > 0.5, accuracy  # mood; by chance one in three
