"""models/features.py: networks to compare images by, and the features of images."""
import keras
import numpy as np
import pytest

from models import features

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

@pytest.mark.parametrize("name", ["nowhere.keras", "there.txt", "folder.keras"])
def test_a_feature_network_must_be_an_existing_keras_file(here, name):
    (here / "there.txt").write_text("no network")
    (here / "folder.keras").mkdir()
    with pytest.raises(FileNotFoundError, match="`features`"):
        features.feature_network(name)


def test_a_broken_file_is_refused(here):
    (here / "broken.keras").write_bytes(b"no zip file")
    with pytest.raises(ValueError, match="`features`, .*broken.keras"):
        features.feature_network("broken.keras")


def test_a_file_that_brings_code_is_refused(here):
    network = keras.Sequential([keras.Input([4]), keras.layers.Lambda(lambda x: x + 1)])
    network.save("code.keras")
    with pytest.raises(ValueError, match="`features`, .*code.keras.*unsafe"):
        features.feature_network("code.keras")


@pytest.mark.parametrize("name, application", [
    ("mobilenet", "MobileNetV2"), ("inception", "InceptionV3")])
def test_a_failed_download_names_the_way_out_in_one_line(monkeypatch, name, application):
    def fail(**options):
        raise Exception("URL fetch failure")  # as Keras raises it without a connection

    monkeypatch.setattr(keras.applications, application, fail)
    with pytest.raises(ValueError, match="features=random") as raised:
        features.feature_network(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name, application, size", [
    ("mobilenet", "MobileNetV2", 96), ("inception", "InceptionV3", 299)])
def test_imagenet_networks_get_resized_images_in_minus_1_to_1(monkeypatch, name, application, size):
    def stub(include_top, pooling, input_shape):
        """Returns the smallest and the largest pixel instead of features."""
        assert not include_top and pooling == "avg" and input_shape == (size, size, 3)
        images = keras.Input(input_shape)
        smallest = keras.ops.min(images, axis=(1, 2, 3))
        largest = keras.ops.max(images, axis=(1, 2, 3))
        return keras.Model(images, keras.ops.stack([smallest, largest], axis=1))

    monkeypatch.setattr(keras.applications, application, stub)
    network = features.feature_network(name)
    images = np.zeros([2, 64, 48, 3], "float32")
    images[:, :, 24:] = 255
    np.testing.assert_allclose(network(images), [[-1, 1], [-1, 1]], atol=1e-5)


def test_random_features_are_means_of_maps_and_always_the_same():
    network = features.feature_network("random")
    layers = [network.get_layer(f"scale{scale}").output for scale in features.RANDOM_SCALES]
    maps = keras.Model(network.inputs, layers)(IMAGES)
    expected = np.concatenate([np.mean(each, axis=(1, 2)) for each in maps], axis=1)
    np.testing.assert_allclose(network(IMAGES), expected, rtol=1e-4, atol=1e-6)
    keras.utils.set_random_seed(1)
    again = features.feature_network("random")(IMAGES)
    assert np.array_equal(network(IMAGES), again)


# ---- features

def test_feature_maps_are_averaged_over_places(network):
    images = np.uint8(IMAGES)
    found = features.extract_features(network, images, batch_size=1)
    assert found.features.shape == (2, 12) and found.features.dtype == "float64"
    assert found.classes is None and found.images is images
    expected = network(np.float32(images)).numpy().mean(axis=(1, 2))
    assert found.features == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_grayscale_images_are_repeated_for_a_network_of_three_channels(network):
    gray = np.uint8(IMAGES[..., :1])
    found = features.extract_features(network, gray)
    expected = features.extract_features(network, np.repeat(gray, 3, axis=-1))
    assert (found.features == expected.features).all()
    assert found.images.shape == (2, 16, 16, 1)


@pytest.mark.slow
def test_a_classifier_learns_the_factors_of_unseen_images():
    random = np.random.default_rng(0)
    factors = random.integers(0, [3, 2], [300, 2])
    images = random.integers(0, 100, [300, 16, 16, 3], "uint8")
    for image, (channel, half) in zip(images, factors):
        image[:, 8 * half:8 * half + 8, channel] += 80  # a color at the left or at the right
    classifier = features.train_classifier(images[:200], factors[:200], (3, 2), batches=40)
    found = features.extract_features(classifier, images[200:])
    assert found.features.shape == (100, 128) and found.classes.shape == (100, 2)
    assert (found.classes == factors[200:]).mean(axis=0).min() > 0.9
