"""args.py: constants and presets, the rules, and the command line."""
import io
import os
import re
import subprocess
import sys

import pytest

import args as constants
from args import (
    Args,
    Cartoon,
    Cartoon64,
    CartoonPhotos,
    Even,
    KerasExample,
    Small,
    ToyFaces,
    override,
    parse,
)
from conftest import ROOT

# ---- constants and presets


def test_override_leaves_the_preset_alone():
    changed = override(ToyFaces, batches=20)
    assert (changed.batches, changed.name) == (20, "toyfaces")
    assert ToyFaces.batches != 20


def test_preset_and_overrides_make_the_constants_again():
    once = override(CartoonPhotos, batches=20, name="mine")
    twice = override(once, batches=30)
    assert constants.preset_name(twice) == "CartoonPhotos"
    assert constants.overrides(twice) == {"batches": 30, "name": "mine"}
    again = override(CartoonPhotos, **constants.overrides(twice))
    assert constants.constants(again) == constants.constants(twice)


def test_class_outside_args_py_is_an_override_of_its_preset():
    class Mine(ToyFaces):
        batches = 5

    assert constants.preset_name(Mine) == "ToyFaces"
    assert constants.overrides(Mine) == {"batches": 5}
    with pytest.raises(ValueError):
        constants.preset_name(str)


@pytest.mark.parametrize("name", constants.presets())
def test_every_preset_is_valid(name):
    constants.check(constants.presets()[name])


def test_origins_of_values_resolve():
    source = (ROOT / "args.py").read_text()
    numbered = ("cartoon", "forcecore", "ganhacks", "kmualim", "scratch")
    for comment in re.findall(r"  # (.*)", source):
        for origins in re.findall(r"\[([^\]]+)\]", comment):
            for origin in origins.split("; "):
                name = next((key for key in constants.SOURCES if origin.startswith(key)), None)
                assert name, comment
                number = re.match(r" (\d+)", origin.removeprefix(name))
                if name in numbered and number:
                    assert re.search(rf"\b{number[1]}[:,] ", constants.SOURCES[name]), comment


# ---- the rules: names, types and ranges


def test_misspelt_constant_names_the_nearest():
    with pytest.raises(ValueError, match="`batch_sise`.*`batch_size`"):
        override(Args, batch_sise=32)

    class Misspelt(Args):
        dump_evry = 10

    with pytest.raises(ValueError, match="`dump_evry`.*`dump_every`"):
        constants.check(Misspelt)


def test_constants_of_cartoons_are_unknown_to_other_presets():
    assert override(Cartoon64, u_net=False).u_net is False
    for name in constants.constants(Cartoon).keys() - constants.constants(Args).keys():
        with pytest.raises(ValueError, match=f"`{name}`.*Cartoon"):
            override(Args, **{name: getattr(Cartoon, name)})


@pytest.mark.parametrize("changes, types", [
    ({"batches": 2.5}, "int.*float"),
    ({"batches": True}, "int.*bool"),
    ({"flip": 1}, "bool.*int"),
    ({"image_shape": 64}, "tuple.*int"),
    ({"generator_filters": (64, 32.5)}, "tuple of int"),
    ({"name": 5}, "str.*int"),
])
def test_wrong_type_is_refused_with_both_types(changes, types):
    name, = changes
    with pytest.raises(ValueError, match=f"`{name}`.*{types}"):
        override(Args, **changes)


def test_an_int_stands_for_a_float():
    assert override(Args, ema_decay=0, real_labels=(1, 1)).real_labels == (1, 1)


@pytest.mark.parametrize("changes", [
    {"image_shape": (64, 64)},
    {"real_labels": (0.9,)},
    {"real_labels": (1.2, 0.7)},
    {"g_labels": (1.0, 1.2)},
    {"grid": (4, 0)},             # at least 1
    {"d_learning_rate": -1e-4},   # at least 0
    {"label_flip": 1.5},          # at most 1
    {"ema_decay": 1.0},           # below 1
    {"seed": 2 ** 32},
    {"augment": "colour"},
    {"checkpoint": "bset"},
    {"checkpoint": "-5"},
    {"generator_filters": ()},
    {"discriminator_filters": ()},
])
def test_invalid_value_is_refused(changes):
    name, = changes
    with pytest.raises(ValueError, match=f"`{name}`"):
        constants.check(override(Args, **changes))


def test_unknown_choice_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(ValueError, match="`loss`.*cross_entropy, least_squares.*loss=hings"):
        constants.check(override(Args, loss="hings"))


def test_bounds_are_of_constants_that_exist():
    names = {*constants.AT_LEAST_1, *constants.AT_MOST_1, *constants.BELOW_1}
    assert names <= constants.constants(Args).keys()


def test_augmentation_policies_are_separated_by_commas():
    assert constants.augment_policies("") == []
    assert constants.augment_policies(" cutout, color,") == ["cutout", "color"]


# ---- the rules: sizes, networks and combinations


def test_pretrained_weights_are_for_the_networks_of_small():
    constants.check(override(constants.Small, weights="pretrained", batch_size=8))
    for preset in (Args, Cartoon64, override(constants.Small, discriminator_filters=(32, 64))):
        with pytest.raises(ValueError, match="`weights`.*Small"):
            constants.check(override(preset, weights="pretrained"))


@pytest.mark.parametrize("preset, shape, fitting", [
    (Args, (60, 64, 3), (128, 64)),
    (Args, (64, 60, 3), (128, 64)),
    (Args, (50, 50, 3), (64,)),
    (Cartoon64, (66, 64, 3), (32, 64)),
])
def test_size_that_does_not_fit_names_filters_that_do(preset, shape, fitting):
    with pytest.raises(ValueError, match="`generator_filters`") as error:
        constants.check(override(preset, image_shape=shape))
    assert f"generator_filters={fitting}" in str(error.value)
    constants.check(override(preset, image_shape=shape, generator_filters=fitting))


@pytest.mark.parametrize("preset, name, value", [
    (KerasExample, "upsampling", "nearest"),
    (Even, "flip", True),
    (Cartoon64, "latent_dim", 50),
])
def test_constant_that_a_network_ignores_is_refused(preset, name, value):
    with pytest.raises(ValueError, match=f"`{name}`.*network={preset.network}"):
        constants.check(override(preset, **{name: value}))


@pytest.mark.parametrize("preset, changes", [
    (Args, {"network": "cartoon"}),
    (Cartoon64, {"network": "dcgan"}),
    (Cartoon64, {"photos": ""}),
])
def test_networks_of_cartoons_need_a_cartoon_preset(preset, changes):
    with pytest.raises(ValueError, match="`network`.*Cartoon64"):
        constants.check(override(preset, **changes))


# For each rule of INCOMPATIBLE, in this order, constants that break it alone.
BROKEN = [
    (Args, {"photos": "photos/*"}),
    (Args, {"image_shape": (64, 64, 2)}),
    (Cartoon64, {"image_shape": (64, 64, 1)}),
    (Cartoon64, {"upsampling": "pixel_shuffle"}),
    (Args, {"loss": "wasserstein"}),
    (Args, {"spectral_norm": True}),
    (Args, {"g_objective": "saturating", "loss": "hinge"}),
    (Args, {"g_objective": "saturating", "g_labels": (0.9, 1.0)}),
    (Args, {"label_flip": 0.1, "loss": "hinge"}),
    (Args, {"real_labels": (0.5, 0.5), "fake_labels": (0.5, 0.5)}),
    (Args, {"replay_size": 63}),
    (Args, {"replay_size": 64, "replay_fraction": 0.0}),
    (Args, {"swap_every": 75}),
    (Args, {"swap_every": 100, "swap_for": 50, "dump_every": 50}),
    (Args, {"g_step_moves_d": True}),
    (Args, {"d_features": "vgg19", "d_updates": "apart"}),
    (Args, {"d_features": "vgg19", "warmup_batches": 1}),
    (Args, {"d_features": "vgg19", "loss": "wasserstein", "gradient_penalty": 10.0,
            "batch_norm": "generator"}),
    (Args, {"d_features": "vgg19", "image_shape": (64, 64, 1)}),
    (Small, {"weights": "pretrained", "generator_filters": (256, 128, 64, 16)}),
    (Small, {"weights": "pretrained", "discriminator_filters": (32, 64)}),
    (Args, {"swap_every": 1000, "g_step_moves_d": True, "d_updates": "apart"}),
]


@pytest.mark.parametrize("rule, broken", list(zip(constants.INCOMPATIBLE, BROKEN, strict=True)))
def test_incompatible_constants_are_refused(rule, broken):
    (first, second), _, reason, remedy = rule
    preset, changes = broken
    with pytest.raises(ValueError) as error:
        constants.check(override(preset, **changes))
    message = str(error.value)
    assert message.startswith(f"`{first}` is incompatible with `{second}`: {reason}. {remedy}. ")
    assert "\n" not in message


@pytest.mark.parametrize("changes", [
    {"loss": "wasserstein", "gradient_penalty": 10.0, "batch_norm": "generator"},
    {"loss": "wasserstein", "spectral_norm": True, "batch_norm": "generator"},
    {"spectral_norm": True, "batch_norm": "none"},
    {"g_objective": "saturating"},
    {"label_flip": 0.1, "loss": "least_squares"},
    {"replay_size": 64},
    {"replay_fraction": 0.0},
    {"swap_every": 100, "swap_for": 49, "dump_every": 50},
    {"swap_for": 1000},
    {"g_step_moves_d": True, "d_updates": "apart"},
    {"real_labels": (0.7, 1.2)},
    {"image_shape": (96, 64, 1)},
    {"checkpoint": "best"},
    {"checkpoint": "5000"},
])
def test_compatible_constants_are_accepted(changes):
    constants.check(override(Args, **changes))


@pytest.mark.parametrize("changes, names", [
    ({}, []),
    ({"r1_weight": 0.5, "batch_norm": "generator"}, []),
    ({"r1_weight": 0.1}, []),
    ({"r1_weight": 0.5}, ["r1_weight"]),
    ({"r1_weight": 0.5, "images": "toyfaces"}, []),
    ({"gradient_penalty": 1.0, "batch_norm": "discriminator"}, ["gradient_penalty"]),
])
def test_warnings_name_what_is_allowed_but_seldom_intended(changes, names):
    messages = constants.warnings(override(Args, **changes))
    assert len(messages) == len(names)
    for message, name in zip(messages, names):
        assert name in message


# ---- the command line


def test_arguments_name_a_preset_verbs_and_constants():
    parsed, verbs = parse(["ToyFaces", "train_gan", "batches=500", "evaluate",
                           "real_labels=(0.7, 1.2)", "name=007", "flip=True"])
    assert constants.preset_name(parsed) == "ToyFaces"
    assert verbs == ["train_gan", "evaluate"]
    assert (parsed.batches, parsed.real_labels) == (500, (0.7, 1.2))
    assert (parsed.name, parsed.flip) == ("007", True)


def test_without_arguments_the_constants_are_those_of_args():
    parsed, verbs = parse([])
    assert constants.constants(parsed) == constants.constants(Args)
    assert verbs == []


def test_text_is_taken_as_it_is():
    parsed, _ = parse(["images=a=b/*.jpg", "data="])
    assert (parsed.images, parsed.data) == ("a=b/*.jpg", "")


def test_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    parsed, _ = parse(["CartoonPhotos", "data=~/x.hdf5", "weights=~/w.h5", "features=~/f.keras",
                       "style_features=~/s.keras:layer", "name=~"])
    assert parsed.data == "/home/me/x.hdf5"
    assert parsed.weights == "/home/me/w.h5"
    assert parsed.features == "/home/me/f.keras"
    assert parsed.style_features == "/home/me/s.keras:layer"
    assert parsed.name == "~"


def test_tilde_in_an_edited_preset_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(Args, "data", "~/x.hdf5")
    monkeypatch.setattr(ToyFaces, "data", "~/toys.hdf5")
    assert parse(["Small"])[0].data == "/home/me/x.hdf5"
    assert parse(["ToyFaces"])[0].data == "/home/me/toys.hdf5"
    assert "data" not in constants.overrides(parse(["ToyFaces"])[0])


@pytest.mark.parametrize("arguments, received", [
    (["Cartoon"], "Cartoon"),
    (["ToyFaces", "batches"], "batches"),
    (["batches=many"], "batches=many"),
    (["batches={[]: 1}"], "batches={[]: 1}"),
    (["batches=__import__('os')"], "batches=__import__"),
    (["bathces=5"], "bathces='5'"),
    (["args=3"], "args='3'"),
])
def test_unknown_argument_is_refused(arguments, received):
    with pytest.raises(ValueError) as error:
        parse(arguments)
    assert f"Received: {received}" in str(error.value)


@pytest.mark.parametrize("typo, nearest", [("Toyfaces", "ToyFaces"), ("train", "train_gan")])
def test_mistyped_preset_or_verb_names_the_nearest(typo, nearest):
    with pytest.raises(ValueError, match=f"Did you mean {nearest}?"):
        parse([typo])


def test_preset_behind_another_argument_is_refused_with_its_place():
    for first in ("train_gan", "batches=5"):
        with pytest.raises(ValueError, match="Put ToyFaces first"):
            parse([first, "ToyFaces"])


def test_folder_without_its_constant_is_refused_with_the_constant(here):
    os.mkdir("my-faces")
    with pytest.raises(ValueError, match="Did you mean images=my-faces?"):
        parse(["my-faces"])


def test_script_without_verbs_refuses_them():
    with pytest.raises(ValueError, match="train_gan"):
        parse(["train_gan"], verbs=())


def test_help_shows_each_constant_with_its_comment():
    text = constants.usage("gan.py", constants.VERBS)
    for name in constants.constants(Cartoon):
        assert re.search(rf"^  {name} = \S", text, re.MULTILINE), name
    for name, preset in constants.presets().items():
        assert re.search(rf"^  {name} .*{re.escape(preset.__doc__[:20])}", text, re.MULTILINE), name
    assert "# half of the paper's, for laptops [pytorch]" in text
    assert all(verb in text for verb in constants.VERBS)


def test_help_needs_no_tensorflow():
    without_tensorflow = (
        "import runpy, sys; sys.modules['tensorflow'] = sys.modules['keras'] = None; "
        "sys.argv = ['gan.py', '--help']; runpy.run_path('gan.py', run_name='__main__')")
    done = subprocess.run(
        [sys.executable, "-c", without_tensorflow], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "d_learning_rate = " in done.stdout


def exit_of(monkeypatch, main):
    """Returns what the process of a script would exit with."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/gan.py"])
    with pytest.raises(SystemExit) as exit:
        constants.run_script(main, Args, ["train_gan"])
    return exit.value.code


@pytest.mark.parametrize("error", [ValueError, FileNotFoundError, FloatingPointError])
def test_error_that_a_user_can_fix_is_one_line(monkeypatch, error):
    def main(args, verbs):
        raise error(f"Received: batches={args.batches}, {verbs}")

    message = exit_of(monkeypatch, main)
    assert message == "\ngan.py: Received: batches=10000, ['train_gan']"


def test_interrupted_script_says_how_to_resume(monkeypatch):
    def main(args, verbs):
        raise KeyboardInterrupt

    assert "same command" in exit_of(monkeypatch, main)


def test_text_that_stdout_cannot_encode_is_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    constants.run_script(lambda *_: print("\u00fc \udcff", flush=True), Args)
    assert written.getvalue() == b"\\xfc \\udcff\n"


def test_script_runs_with_the_stdout_of_a_notebook(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # without `reconfigure`
    assert constants.run_script(lambda args, verbs: (args, verbs), Args, ["x"]) == (Args, ["x"])
