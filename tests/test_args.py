import pathlib
import re

import pytest

import args as constants
from args import Args, ToyFaces, override, parse


def test_a_preset_states_only_what_differs():
    assert ToyFaces.name == "toyfaces" and ToyFaces.latent_dim == Args.latent_dim
    assert constants.constants(ToyFaces)["images"] == "toyfaces"
    assert constants.constants(ToyFaces).keys() == constants.constants(Args).keys()


def test_override_leaves_the_original_alone():
    changed = override(ToyFaces, batches=20)
    assert (changed.batches, changed.name, changed.__name__) == (20, "toyfaces", "ToyFaces")
    assert ToyFaces.batches != 20


def test_a_misspelt_constant_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"`batch_sise` is no constant.*nearest is `batch_size`.*batch_sise=32"):
        override(Args, batch_sise=32)
    with pytest.raises(ValueError, match="`dump_evry`.*`dump_every`"):
        class Misspelt(Args):
            dump_evry = 10


@pytest.mark.parametrize("changes, said", [
    ({"batches": 2.5}, "must be of type int.*batches=2.5 of type float"),
    ({"batches": True}, "must be of type int.*of type bool"),
    ({"flip": 1}, "must be of type bool.*of type int"),
    ({"image_shape": 64}, "must be of type tuple.*of type int"),
    ({"generator_filters": (64, 32.5)}, "must be of type tuple"),
    ({"name": 5}, "must be of type str.*of type int"),
])
def test_a_wrong_type_is_refused_with_both_types(changes, said):
    with pytest.raises(ValueError, match=said):
        override(Args, **changes)


@pytest.mark.parametrize("changes, said", [
    ({"batch_size": 0}, "`batch_size` must be at least 1. Received: batch_size=0"),
    ({"grid": (4, 0)}, "`grid` must be at least 1"),
    ({"batches": -1}, "`batches` must be at least 0"),
    ({"real_labels": (0.9,)}, r"`real_labels` must have 2 values, as \(0.9, 0.9\)"),
])
def test_what_cannot_be_meant_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        override(Args, **changes)


def test_an_int_stands_for_a_float():
    assert override(Args, ema_decay=0, real_labels=(1, 1)).real_labels == (1, 1)


def test_words_name_a_preset_and_constants():
    parsed = parse(["ToyFaces", "batches=500", "real_labels=(0.7, 1.2)", "name=007", "flip=True"])
    assert issubclass(parsed, ToyFaces)
    assert (parsed.batches, parsed.real_labels, parsed.name, parsed.flip) == (500, (0.7, 1.2), "007", True)
    assert parse(["images=a=b/*.jpg"]).images == "a=b/*.jpg"
    assert issubclass(parse([]), Args)


@pytest.mark.parametrize("words, said", [
    (["Toyfaces"], "must be a preset .Args, ToyFaces.*Received: Toyfaces"),
    (["--help"], "must be a preset .*Received: --help"),
    (["ToyFaces", "batches"], "must be constant=value.*Received: batches"),
    (["batches=many"], "`batches` must be a Python literal such as .*Received: batches=many"),
    (["batches=__import__('os')"], "`batches` must be a Python literal"),
    (["bathces=5"], "`bathces` is no constant.*`batches`"),
])
def test_wrong_words_are_refused(words, said):
    with pytest.raises(ValueError, match=said):
        parse(words)


def test_every_constant_says_why_in_the_line():
    lines = pathlib.Path(constants.__file__).read_text().split("class ToyFaces")[0].split("class Args:")[1]
    assigned = re.findall(r"^    (\w+) = .*$", lines, re.M)
    commented = re.findall(r"^    (\w+) = .*#.{8}", lines, re.M)
    assert assigned and assigned == commented == list(constants.constants(Args))
