"""args.py: constants, presets, overrides and the command line."""
import sys

import pytest

import args as constants
from args import Args, KerasExample, ToyFaces, override, parse
from models import validation


def test_preset_has_every_constant_and_states_only_what_differs():
    assert ToyFaces.name == "toyfaces"
    assert ToyFaces.latent_dim == Args.latent_dim
    assert "latent_dim" not in vars(ToyFaces)
    assert constants.constants(ToyFaces)["images"] == "toyfaces"
    assert constants.constants(ToyFaces).keys() == constants.constants(Args).keys()


@pytest.mark.parametrize("name", constants.presets())
def test_every_preset_is_valid(name):
    validation.validate(constants.presets()[name])


def test_override_leaves_the_preset_alone():
    changed = override(ToyFaces, batches=20)
    assert (changed.batches, changed.name, changed.__name__) == (20, "toyfaces", "ToyFaces")
    assert ToyFaces.batches != 20


def test_misspelt_constant_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="`batch_sise`.*`batch_size`.*batch_sise=32"):
        override(Args, batch_sise=32)
    with pytest.raises(ValueError, match="`dump_evry`.*`dump_every`"):
        class Misspelt(Args):
            dump_evry = 10


@pytest.mark.parametrize("changes, types", [
    ({"batches": 2.5}, "int.*float"),
    ({"batches": True}, "int.*bool"),
    ({"flip": 1}, "bool.*int"),
    ({"image_shape": 64}, "tuple.*int"),
    ({"generator_filters": (64, 32.5)}, "tuple"),
    ({"name": 5}, "str.*int"),
])
def test_wrong_type_is_refused_with_both_types(changes, types):
    name = next(iter(changes))
    with pytest.raises(ValueError, match=f"`{name}`.*{types}"):
        override(Args, **changes)


@pytest.mark.parametrize("changes", [
    {"batch_size": 0}, {"grid": (4, 0)}, {"generator_filters": (8, 0)}, {"evaluate_count": 0},
    {"batches": -1}, {"d_learning_rate": -1e-4}, {"label_flip": 1.5}, {"replay_fraction": 2},
    {"ema_decay": 1.0}, {"test_fraction": 1.0}, {"d_dropout": 1}, {"real_labels": (0.9,)},
])
def test_value_out_of_range_is_refused(changes):
    (name, value), = changes.items()
    with pytest.raises(ValueError) as error:
        override(Args, **changes)
    assert f"`{name}`" in str(error.value)
    assert f"Received: {name}={value!r}" in str(error.value)


def test_number_of_filters_is_free():
    assert override(Args, generator_filters=(8,), generator_extra_filters=()).latent_dim == 100


def test_an_int_stands_for_a_float():
    assert override(Args, ema_decay=0, real_labels=(1, 1)).real_labels == (1, 1)


# ---- what a run remembers

def test_overrides_are_the_constants_set_on_top_of_the_preset():
    assert constants.overrides(ToyFaces) == {}
    once = override(ToyFaces, batches=20, name="mine")
    twice = override(once, batches=30)
    assert constants.overrides(twice) == {"batches": 30, "name": "mine"}
    again = override(ToyFaces, **constants.overrides(twice))
    assert constants.constants(again) == constants.constants(twice)


def test_preset_name_is_that_of_the_class_in_args_py():
    assert constants.preset_name(Args) == "Args"
    assert constants.preset_name(override(override(KerasExample, seed=1), seed=2)) == "KerasExample"


def test_class_outside_args_py_is_an_override_of_its_preset():
    class Mine(ToyFaces):
        batches = 5

    assert constants.preset_name(Mine) == "ToyFaces"
    assert constants.overrides(Mine) == {"batches": 5}
    with pytest.raises(ValueError, match="subclass"):
        constants.preset_name(str)


# ---- the command line

def test_arguments_name_a_preset_verbs_and_constants():
    parsed, verbs = parse(["ToyFaces", "train_gan", "batches=500", "evaluate",
                           "real_labels=(0.7, 1.2)", "name=007", "flip=True"])
    assert issubclass(parsed, ToyFaces)
    assert verbs == ["train_gan", "evaluate"]
    assert (parsed.batches, parsed.real_labels) == (500, (0.7, 1.2))
    assert (parsed.name, parsed.flip) == ("007", True)


def test_without_arguments_the_constants_are_those_of_args():
    parsed, verbs = parse([])
    assert constants.constants(parsed) == constants.constants(Args)
    assert verbs == []


def test_string_is_taken_as_it_is():
    parsed, _ = parse(["images=a=b/*.jpg", "data="])
    assert (parsed.images, parsed.data) == ("a=b/*.jpg", "")


@pytest.mark.parametrize("arguments, received", [
    (["Toyfaces"], "Toyfaces"),
    (["--help"], "--help"),
    (["ToyFaces", "batches"], "batches"),
    (["batches=5", "ToyFaces"], "ToyFaces"),  # a preset must be the first argument
    (["batches", "=", "5"], "batches"),
    (["train"], "train"),
    (["batches=many"], "batches=many"),
    (["batches={[]: 1}"], "batches={[]: 1}"),
    (["seed=4294967296"], "seed=4294967296"),  # Keras takes seeds below 2**32
    (["batches=__import__('os')"], "batches=__import__"),
    (["bathces=5"], "bathces='5'"),
])
def test_unknown_argument_is_refused(arguments, received):
    with pytest.raises(ValueError) as error:
        parse(arguments)
    assert f"Received: {received}" in str(error.value)


def test_preset_behind_a_verb_is_refused_with_its_place():
    with pytest.raises(ValueError, match="Put ToyFaces first"):
        parse(["train_gan", "ToyFaces"])


def test_a_script_without_verbs_refuses_them():
    with pytest.raises(ValueError, match="Received: train_gan"):
        parse(["train_gan"], verbs=())


def run_script(monkeypatch, main, *arguments, errors=()):
    """Returns what the process would exit with."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/gan.py", *arguments])
    with pytest.raises(SystemExit) as exit:
        constants.run_script(main, constants.VERBS, *errors)
    return exit.value.code


def test_script_gets_constants_and_verbs(monkeypatch, capsys):
    received = []

    def main(args, verbs):
        print("\udcff", end="")  # of a file name that is not valid text
        received.append((args.batches, verbs))

    monkeypatch.setattr(sys, "argv", ["gan.py", "batches=5", "generate"])
    constants.run_script(main, constants.VERBS)
    assert received == [(5, ["generate"])]
    assert capsys.readouterr().out == "\\udcff"


@pytest.mark.parametrize("error", [ValueError, FileNotFoundError, ZeroDivisionError])
def test_error_that_a_user_can_fix_is_one_line(monkeypatch, error):
    def main(args, verbs):
        raise error("Received: batches=5")

    message = run_script(monkeypatch, main, errors=[ZeroDivisionError])
    assert message == "\ngan.py: Received: batches=5"
    assert run_script(monkeypatch, main, "bathces=5").startswith("\ngan.py: `bathces`")


def test_other_errors_keep_their_traceback(monkeypatch):
    def main(args, verbs):
        raise KeyError("a bug")

    monkeypatch.setattr(sys, "argv", ["gan.py"])
    with pytest.raises(KeyError):
        constants.run_script(main)


def test_interrupted_script_says_how_to_resume(monkeypatch):
    def main(args, verbs):
        raise KeyboardInterrupt

    assert "interrupted" in run_script(monkeypatch, main)
