"""models/feature_maps.py: maps of named layers, the pixels that networks get, and shifts."""
import keras
import numpy as np
import pytest

from models import feature_maps
from models.cartoon import losses
from models.feature_maps import FeatureMaps
from models.toys import scenes

IMAGES = np.random.default_rng(0).uniform(-1, 1, [2, 16, 16, 3]).astype("float32")


def test_feature_maps_are_outputs_of_the_named_layers(content_network):
    maps_of = FeatureMaps("style_features", "net.keras:first,second")
    maps_of_first, maps_of_second = maps_of(IMAGES, [0, 1])
    pixels = (feature_maps.shift(IMAGES, [0, 1]) + 1) * 127.5
    network = keras.models.load_model("net.keras")
    first = network.get_layer("first")(pixels / 255)
    second = network.get_layer("second")(first)
    for maps, expected in ((maps_of_first, first), (maps_of_second, second)):
        np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)
    assert not maps_of.network.trainable_weights


def test_vgg19_gets_bgr_pixels_without_the_mean_of_imagenet(monkeypatch):
    def stub(include_top, input_tensor):
        """Returns a network whose layer returns the pixels themselves."""
        assert not include_top
        pixels = keras.layers.Identity(name="block4_conv4")(input_tensor)
        return keras.Model(keras.utils.get_source_inputs(input_tensor), pixels)

    monkeypatch.setattr(keras.applications, "VGG19", stub)
    [found] = FeatureMaps("content_features", "vgg19")(IMAGES, [0, 1])
    pixels = (feature_maps.shift(IMAGES, [0, 1]) + 1) * 127.5
    mean_bgr = np.float32([103.939, 116.779, 123.68])
    np.testing.assert_allclose(found, pixels[..., ::-1] - mean_bgr, atol=1e-3)


def test_a_failed_download_names_the_network(monkeypatch):
    def fail(**options):
        raise Exception("URL fetch failure")  # as Keras raises it

    monkeypatch.setattr(keras.applications, "VGG19", fail)
    with pytest.raises(ValueError, match="vgg19"):
        FeatureMaps("content_features", "vgg19")


@pytest.mark.parametrize("text", [
    "", "vgg16", "net.keras", "nowhere.keras:first", "net.keras:third", "random:scale3"])
def test_unknown_networks_and_layers_are_refused(content_network, text):
    with pytest.raises(ValueError, match="`content_features`"):
        FeatureMaps("content_features", text)


def test_a_shift_moves_all_images_alike_and_invents_no_pixels():
    images = np.float32(np.arange(16 * 16).reshape(1, 16, 16, 1) * np.ones([3, 1, 1, 1]))
    offsets = set()
    for number in range(60):
        shifted = feature_maps.shift(images, [0, number]).numpy()
        assert shifted.shape == images.shape
        assert (shifted == shifted[:1]).all()
        row, column = divmod(int(shifted[0, 8, 8, 0]), 16)
        offsets.add((row - 8, column - 8))
        assert shifted[0, 8, 9, 0] - shifted[0, 8, 8, 0] == 1
    rows, columns = zip(*offsets)
    assert min(rows) == min(columns) == -feature_maps.SHIFT
    assert max(rows) == max(columns) == feature_maps.SHIFT


def test_random_features_tell_drawings_from_photos_by_their_style():
    photos, drawings = scenes.sample(24)
    _, others = scenes.sample(24, start=24)
    maps_of = FeatureMaps("style_features", "random")

    def style_distance(images):
        expected, received = (
            maps_of(pixels / np.float32(127.5) - 1, [0, 1]) for pixels in (others, images))
        return float(losses.style_distance(expected, received))

    assert style_distance(drawings) < 0.6 * style_distance(photos)
