import pathlib
import subprocess
import sys

import pytest

from args import Args, Cartoon64, Even, KerasExample, constants, override, presets
from models import validation

ROOT = pathlib.Path(validation.__file__).resolve().parents[1]
PRESETS = {"dcgan": Args, "keras_example": KerasExample, "even": Even, "cartoongan": Cartoon64}


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid(name):
    validation.validate(presets()[name])


@pytest.mark.parametrize("name", validation.CHOICES)
def test_an_unknown_choice_is_refused_and_the_known_ones_are_listed(name):
    choices = validation.CHOICES[name]
    with pytest.raises(ValueError, match=f"`{name}` .*{choices[0]}.*{name}=unknown"):
        validation.validate(override(Args, **{name: "unknown"}))


@pytest.mark.parametrize("name", validation.CHOICES)
def test_every_default_is_a_choice(name):
    assert getattr(Args, name) in validation.CHOICES[name]


@pytest.mark.parametrize("choice", validation.CHOICES["kernel_initializer"])
def test_every_initializer_exists(choice):
    from models import dcgan
    validation.validate(override(Args, kernel_initializer=choice))
    values = dcgan.initializer(override(Args, kernel_initializer=choice))((4, 4))
    assert values.shape == (4, 4)


def another_value(value):
    """Returns a value of the same type that differs."""
    others = {
        False: True,
        True: False,
        "": "color",
        (): (8,),
        "stride": "max",
        "transpose": "nearest",
        "none": "generator",
        "glorot_uniform": "normal",
        "vgg19": "random",
    }
    if type(value) is int:
        return value + 1
    if type(value) is float:
        return value + 0.5
    return others[value]


@pytest.mark.parametrize("network, name", [
    (network, name) for network in validation.UNSUPPORTED
    for name in validation.UNSUPPORTED[network]])
def test_unsupported_constants_are_refused(network, name):
    value = validation.UNSUPPORTED[network][name]
    assert name in constants(Args)
    args = override(PRESETS[network], **{name: another_value(value)})
    with pytest.raises(ValueError, match=f"`{name}` .*network={network}.*Received: {name}="):
        validation.validate(args)


def test_every_network_is_listed_among_those_with_unsupported_constants():
    assert set(validation.UNSUPPORTED) == set(validation.CHOICES["network"])


@pytest.mark.parametrize("changes, names", [
    ({"loss": "wasserstein"}, ("loss", "gradient_penalty")),
    ({"spectral_norm": True}, ("spectral_norm", "batch_norm")),
    ({"spectral_norm": True, "batch_norm": "discriminator"}, ("spectral_norm", "batch_norm")),
    ({"gradient_penalty": 1.0, "batch_norm": "none", "d_updates": "apart"},
     ("gradient_penalty", "d_updates")),
    ({"g_objective": "saturating", "loss": "hinge"}, ("g_objective", "loss")),
    ({"g_objective": "saturating", "g_labels": (0.9, 1.0)}, ("g_objective", "g_labels")),
    ({"label_flip": 0.1, "loss": "hinge"}, ("label_flip", "loss")),
    ({"label_flip": 0.1, "loss": "wasserstein", "gradient_penalty": 10.0}, ("label_flip", "loss")),
    ({"real_labels": (0.0, 0.0), "fake_labels": (1.0, 1.0)}, ("real_labels", "fake_labels")),
    ({"real_labels": (0.5, 0.5), "fake_labels": (0.5, 0.5)}, ("real_labels", "fake_labels")),
    ({"replay_size": 64, "replay_fraction": 0.0}, ("replay_size", "replay_fraction")),
    ({"replay_size": 63}, ("replay_size", "batch_size")),
    ({"swap_every": 100, "swap_for": 0}, ("swap_for", "dump_every")),
    ({"swap_every": 100, "swap_for": 50}, ("swap_for", "dump_every")),
    ({"swap_every": 5, "swap_for": 5}, ("swap_for", "swap_every")),
    ({"swap_every": 100, "g_step_moves_d": True}, ("swap_every", "g_step_moves_d")),
    ({"photos": "photos/*"}, ("network", "photos")),
])
def test_incompatible_constants_are_refused(changes, names):
    with pytest.raises(ValueError) as error:
        validation.validate(override(Args, **changes))
    message = str(error.value)
    assert message.startswith(f"`{names[0]}` is incompatible with `{names[1]}`: ")
    _, received = message.split("Received: ")
    assert f"{names[0]}=" in received and f"{names[1]}=" in received
    assert "\n" not in message


@pytest.mark.parametrize("changes", [
    {"loss": "wasserstein", "gradient_penalty": 10.0, "batch_norm": "generator"},
    {"loss": "wasserstein", "spectral_norm": True, "batch_norm": "generator"},
    {"spectral_norm": True, "batch_norm": "none"},
    {"g_objective": "saturating"},
    {"label_flip": 0.1, "loss": "least_squares"},
    {"replay_size": 64},
    {"replay_fraction": 0.0},
    {"swap_every": 100, "swap_for": 49},
    {"swap_for": 0},
    {"swap_for": 1000},
    {"g_step_moves_d": True},
    {"real_labels": (0.7, 1.2)},
    {"augment": ""},
    {"image_shape": (96, 64, 1)},
    {"r1_weight": 10.0},
    {"gradient_penalty": 10.0, "minibatch_kernels": 5},
    {"checkpoint": "best"},
    {"checkpoint": "5000"},
])
def test_compatible_constants_are_accepted(changes):
    validation.validate(override(Args, **changes))


@pytest.mark.parametrize("preset, changes, name", [
    (Args, {"generator_filters": ()}, "generator_filters"),
    (Args, {"discriminator_filters": ()}, "discriminator_filters"),
    (KerasExample, {"generator_filters": ()}, "generator_filters"),
    (Even, {"discriminator_filters": ()}, "discriminator_filters"),
    (Cartoon64, {"generator_filters": ()}, "generator_filters"),
    (Cartoon64, {"photos": ""}, "photos"),
    (Args, {"real_labels": (1.2, 0.7)}, "real_labels"),
    (Args, {"real_labels": (1.1, 1.3)}, "real_labels"),
    (Args, {"g_labels": (1.0, 1.2)}, "g_labels"),
    (Args, {"augment": "colour"}, "augment"),
    (Args, {"image_shape": (60, 64, 3)}, "image_shape"),
    (Args, {"image_shape": (64, 60, 3)}, "image_shape"),
    (Args, {"image_shape": (64, 64, 2)}, "image_shape"),
    (KerasExample, {"image_shape": (60, 64, 3)}, "image_shape"),
    (Even, {"image_shape": (2, 10, 1)}, "image_shape"),
    (Even, {"image_shape": (1, 10, 3)}, "image_shape"),
    (Even, {"image_shape": (1, 33, 1)}, "image_shape"),
    (Cartoon64, {"image_shape": (66, 64, 3)}, "image_shape"),
    (Cartoon64, {"image_shape": (64, 64, 1)}, "image_shape"),
    (Cartoon64, {"content_features": "net.keras"}, "content_features"),
    (Args, {"checkpoint": "bset"}, "checkpoint"),
    (Args, {"checkpoint": ""}, "checkpoint"),
    (Args, {"checkpoint": "-5"}, "checkpoint"),
    (Cartoon64, {"style_features": "net.keras:"}, "style_features"),
    (Cartoon64, {"style_features": "vgg16:block1_conv1"}, "style_features"),
])
def test_values_out_of_range_are_refused(preset, changes, name):
    with pytest.raises(ValueError, match=f"`{name}`.*Received: .*{name}="):
        validation.validate(override(preset, **changes))


def test_the_first_filters_of_a_cartoongan_have_no_stride():
    validation.validate(override(Cartoon64, image_shape=(68, 64, 3)))  # a multiple of 4, not of 8


@pytest.mark.parametrize("preset, changes, names", [
    (Args, {}, []),
    (Args, {"r1_weight": 1.0, "batch_norm": "generator"}, []),
    (Args, {"r1_weight": 0.1}, []),
    (Args, {"r1_weight": 1.0}, ["r1_weight"]),
    (Args, {"gradient_penalty": 1.0, "batch_norm": "discriminator"}, ["gradient_penalty"]),
    (Args, {"r1_weight": 1.0, "batch_norm": "none", "minibatch_kernels": 5},
     ["minibatch_kernels"]),
    (Args, {"r1_weight": 1.0, "minibatch_kernels": 5}, ["batch_norm", "minibatch_kernels"]),
    (Args, {"loss": "hinge"}, ["real_labels", "cross_entropy"]),
    (Args, {"loss": "least_squares"}, ["cross_entropy"]),
])
def test_warnings_name_what_is_allowed_but_seldom_intended(preset, changes, names):
    messages = validation.warnings(override(preset, **changes))
    assert len(messages) == len(names)
    for message, name in zip(messages, names):
        assert name in message and "\n" not in message


def test_augmentation_policies_are_separated_by_commas():
    assert validation.augment_policies("") == []
    assert validation.augment_policies(" cutout, color,") == ["cutout", "color"]
    with pytest.raises(ValueError, match="`augment` .*augment=color,shear"):
        validation.augment_policies("color,shear")


def test_features_are_a_network_and_its_layers():
    for text, network, layers in (
            ("vgg19", "vgg19", ["block4_conv4"]),
            ("vgg19:block1_conv1, block2_conv1", "vgg19", ["block1_conv1", "block2_conv1"]),
            ("random", "random", ["scale1", "scale2", "scale4"]),
            ("random:scale4", "random", ["scale4"]),
            ("a:b/net.keras:one,two", "a:b/net.keras", ["one", "two"])):
        assert validation.feature_layers("style_features", text) == (network, layers)
    for text in ("", "vgg16", "net.keras", ":scale1", "net.keras:,"):
        with pytest.raises(ValueError, match="`style_features` .*Received: style_features="):
            validation.feature_layers("style_features", text)


def test_validation_imports_neither_tensorflow_nor_keras():
    code = ("import sys, models.validation; "
            "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
