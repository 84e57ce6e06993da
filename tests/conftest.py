"""What the tests share: tiny presets, and a folder of one's own to run in."""
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest  # noqa: E402

import args as constants  # noqa: E402

TINY = {"batch_size": 8, "dataset_size": 32, "generator_filters": (16, 16, 8, 8), "generator_extra_filters": (8,),
        "discriminator_filters": (8, 8, 16, 16), "batches": 4, "dump_every": 2, "grid": (2, 4)}


def words(changes):
    """Returns the words of a command line for `changes`, a dict."""
    return [f"{name}={value}".replace(" ", "") for name, value in changes.items()]


@pytest.fixture
def tiny():
    """tiny(**changes): toy faces and nets of a few filters, as a preset."""
    return lambda **changes: constants.override(constants.ToyFaces, **(TINY | changes))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
