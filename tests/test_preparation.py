"""Tests of training/preparation.py: what a run remembers, its data, and mistakes."""
import os
import pathlib

import h5py
import numpy as np
import pytest
from conftest import TINY, save_run
from PIL import Image

import args as constants
import data
from training import checkpoints, preparation


# ---- verbs

def test_training_that_starts_from_weights_is_not_pretrained(numbers, even):
    other = save_run(even(name="other"), 2)
    weights = str(checkpoints.checkpoint_path(other, 2))
    _, verbs = preparation.prepare(even(pretrain_batches=5, weights=weights))
    assert verbs == ["train_gan"]


def test_data_is_made_for_the_training_only(here, even):
    with pytest.raises(FileNotFoundError, match="name=even"):
        preparation.prepare(even(), ["generate"])
    assert os.listdir() == []
    preparation.prepare(even())
    assert os.listdir() == ["even.hdf5"]


# ---- what would fail after hours is refused at once

@pytest.mark.parametrize("changes", [
    {"generate_class": "ginger", "conditional": True},
    {"generate_class": "red"},
])
def test_class_that_does_not_exist_is_refused_before_the_training(toys, tiny, changes):
    with pytest.raises(ValueError, match="`generate_class`"):
        preparation.prepare(tiny(**changes), ["train_gan", "generate"])


@pytest.mark.parametrize("changes", [{"generate_class": "red"}, {"checkpoint": "77"}])
def test_mistake_is_refused_before_generating(numbers, even, changes):
    save_run(even(), 2)
    name, = changes
    with pytest.raises((ValueError, FileNotFoundError), match=f"`{name}`"):
        preparation.prepare(even(**changes), ["generate"])


def test_labels_that_are_missing_are_refused_before_the_training(here, tiny):
    with h5py.File("none.hdf5", "w") as file:
        file["faces"] = np.zeros((32, 64, 64, 3), "uint8")
    with pytest.raises(ValueError, match="`conditional`.*data=none.hdf5"):
        preparation.prepare(
            tiny(conditional=True, data="none.hdf5"), ["train_gan", "generate"])


def test_photos_that_are_missing_are_refused_before_the_training(here):
    args = constants.override(constants.Cartoon64, dataset_size=16, generate_from="none")
    with pytest.raises(FileNotFoundError, match="`generate_from`"):
        preparation.prepare(args, ["train_gan", "generate"])


def test_constants_are_checked_on_top_of_those_of_the_run(numbers, even, monkeypatch):
    """Alone, the default `dump_every` would not allow this `swap_every`."""
    save_run(even(dump_every=2, swap_every=2, swap_for=1), 2)
    monkeypatch.setattr("sys.argv", ["gan.py", "name=even", "swap_every=2", "batches=6"])
    args, _ = preparation.prepare(*constants.read_command_line(constants.VERBS))
    assert (args.dump_every, args.batches) == (2, 6)


def test_invalid_constants_are_refused_before_anything_is_made(here, tiny):
    with pytest.raises(ValueError, match="`spectral_norm`"):
        preparation.prepare(tiny(spectral_norm=True))
    assert os.listdir() == []


def test_warnings_are_printed(toys, tiny, capsys):
    preparation.prepare(tiny(images="faces", data="toyfaces.hdf5", r1_weight=10.0))
    assert "`r1_weight` is large" in capsys.readouterr().out


# ---- the data of a run

def test_without_any_images_toy_faces_are_used(here, capsys):
    args, _ = constants.parse(["batches=7", "batch_size=64"])
    chosen, _ = preparation.prepare(constants.override(args, dataset_size=80))
    assert constants.preset_name(chosen) == "ToyFaces"
    assert (chosen.name, chosen.data) == ("toyfaces", "toyfaces.hdf5")
    assert (chosen.batches, chosen.batch_size) == (7, 64)  # as they were given, as Args has it
    printed = capsys.readouterr().out
    first_line = printed.splitlines()[0]
    assert "toy faces" in first_line and "python data.py images=" in first_line


def test_sampling_without_a_run_does_not_announce_toy_faces(here, capsys):
    args, verbs = constants.parse(["Small", "generate"])
    with pytest.raises(FileNotFoundError, match="runs/small has no checkpoint.*name=small$"):
        preparation.prepare(args, verbs)
    assert capsys.readouterr().out == ""


def test_another_preset_keeps_its_constants_on_toy_faces(here):
    args, _ = constants.parse(["KerasExample", "seed=3"])
    chosen = preparation.choose_data(args)
    assert constants.preset_name(chosen) == "KerasExample"
    assert (chosen.seed, chosen.images, chosen.data) == (3, "toyfaces", "toyfaces.hdf5")
    assert chosen.name == "keras-example-toyfaces"  # real images are another run
    args, _ = constants.parse(["KerasExample", "name=mine"])
    assert preparation.choose_data(args).name == "mine"


@pytest.mark.parametrize("argument", ["images=mine", "data=mine.hdf5"])
def test_images_that_were_named_are_not_replaced_by_toy_faces(here, argument):
    args, _ = constants.parse([argument])
    with pytest.raises(FileNotFoundError, match="`images`"):
        preparation.prepare(args)
    assert os.listdir() == []


def test_images_that_exist_are_not_replaced_by_toy_faces(here):
    folder = pathlib.Path(constants.Args.images, "a")
    folder.mkdir(parents=True)
    (folder / "face.png").touch()
    assert preparation.choose_data(constants.Args) is constants.Args


def test_embedded_dataset_is_made_anew_if_another_is_asked_for(here, even, capsys):
    for changes in ({}, {"dataset_size": 40}, {"dataset_size": 40, "seed": 1}):
        args = even(**changes)
        preparation.prepare_data(args)
        made = os.stat("even.hdf5").st_ino
        origin = data.attributes(args)
        assert (origin["dataset_size"], origin["seed"]) == (args.dataset_size, args.seed)
        preparation.prepare_data(args)
        assert os.stat("even.hdf5").st_ino == made  # it was left as it is
    printed = capsys.readouterr().out
    assert printed.startswith("There is no even.hdf5: making it of even.\n")
    assert "\neven.hdf5, made from even\n" in printed


def test_data_that_was_named_is_used_as_it_is(numbers, even):
    made = os.stat("even.hdf5").st_ino
    preparation.prepare_data(even(data="even.hdf5", dataset_size=50))
    preparation.prepare_data(constants.override(constants.Args, data="even.hdf5"))
    assert os.stat("even.hdf5").st_ino == made


@pytest.fixture
def mine(here):
    """The current folder, with data.hdf5 made from the folder mine."""
    (here / "mine").mkdir()
    Image.new("RGB", (64, 64)).save("mine/face.png")
    data.make(constants.override(constants.Args, images="mine"))
    return here


def test_data_of_other_images_is_neither_used_nor_overwritten(mine):
    before = (mine / "data.hdf5").read_bytes()
    for changes in ({"images": "toyfaces"}, {"images": "theirs"}, {"photos": "photos"}):
        with pytest.raises(ValueError, match="`data`.*made from mine"):
            preparation.prepare_data(constants.override(constants.Args, **changes))
    assert (mine / "data.hdf5").read_bytes() == before
    preparation.prepare_data(constants.Args)


def test_crop_that_has_no_effect_is_reported(mine, capsys):
    preparation.prepare_data(constants.Args)
    assert "crop" not in capsys.readouterr().out
    preparation.prepare_data(constants.override(constants.Args, crop="squash"))
    assert "made with crop=center" in capsys.readouterr().out


# ---- what a run remembers

def resumed(*command_line):
    args, _ = constants.parse(command_line)
    return preparation.resume_constants(args)


@pytest.fixture
def soft(numbers, even):
    """The current folder, with runs/soft."""
    save_run(even(name="soft", real_labels=(0.7, 1.2)), 2)
    return numbers


def test_run_is_resumed_with_the_preset_and_overrides_it_was_begun_with(soft, capsys):
    args = resumed("name=soft", "batches=9")
    assert constants.preset_name(args) == "Even"
    assert (args.name, args.batches, args.batch_size) == ("soft", 9, 8)
    assert args.real_labels == (0.7, 1.2)
    printed = capsys.readouterr().out
    assert printed.startswith("runs/soft: ") and "begun with: Even " in printed
    assert "real_labels=(0.7, 1.2)" in printed and printed.count("\n") == 1


def test_nothing_is_said_of_a_run_that_is_resumed_by_the_same_command(soft, even, capsys):
    args = even(name="soft", real_labels=(0.7, 1.2))
    assert constants.constants(preparation.resume_constants(args)) == constants.constants(args)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments, name", [
    (["name=soft", "beta_1=0.9"], "beta_1"),
    (["name=soft", "real_labels=(0.9, 0.9)"], "real_labels"),
    (["ToyFaces", "name=soft", "batch_size=8"], "network"),
])
def test_constants_that_are_given_are_compared_with_those_of_the_run(soft, arguments, name):
    with pytest.raises(ValueError, match=f"  {name}: .* in runs/soft/args.json"):
        preparation.prepare(resumed(*arguments))


def test_preset_that_is_gone_is_named(soft):
    path = soft / "runs/soft/args.json"
    path.write_text(path.read_text().replace('"preset": "Even"', '"preset": "Mine"'))
    with pytest.raises(ValueError, match="preset.*Received: Mine"):
        resumed("name=soft")


def test_run_without_checkpoints_remembers_nothing(numbers, even):
    save_run(even(name="soft"))
    args, _ = constants.parse(["name=soft"])
    assert preparation.resume_constants(args) is args


def test_toy_faces_are_resumed_by_the_same_command_without_arguments(toys, tiny):
    save_run(tiny(), 2)
    args, _ = preparation.prepare(*constants.parse(["batches=9"]))
    # It is the run of the preset ToyFaces, with the overrides it was begun with.
    assert constants.preset_name(args) == "ToyFaces"
    assert (args.name, args.batches, args.batch_size) == ("toyfaces", 9, 8)


def test_run_on_real_images_is_not_resumed_on_toy_faces(toys):
    """Its data is missing, and it has no images at their default place."""
    args = constants.override(constants.Args, name="real", **(TINY | {"data": "toyfaces.hdf5"}))
    save_run(args, 2)
    os.remove("toyfaces.hdf5")
    with pytest.raises(FileNotFoundError, match="`images`"):
        preparation.prepare(*constants.parse(["name=real"]))
