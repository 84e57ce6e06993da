"""What the tests share: tiny presets, and a folder of one's own to run in."""
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest  # noqa: E402

import args as constants  # noqa: E402

# Two stages up and down, as TensorFlow needs a second for each to make its graph.
TINY = {"batch_size": 8, "dataset_size": 32, "generator_filters": (8, 8), "generator_extra_filters": (),
        "discriminator_filters": (8, 8), "augment": "", "batches": 4, "dump_every": 2, "grid": (2, 4)}
# The four of the DCGAN, for what is claimed of its networks.
DEEP = {"generator_filters": (16, 16, 8, 8), "generator_extra_filters": (8,), "discriminator_filters": (8, 8, 16, 16)}


def words(changes):
    """Returns the words of a command line for `changes`, a dict."""
    return [f"{name}={value}".replace(" ", "") for name, value in changes.items()]


@pytest.fixture
def tiny():
    """tiny(**changes): toy faces and nets of a few filters and stages, as a preset."""
    return lambda **changes: constants.override(constants.ToyFaces, **(TINY | changes))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def deep(tiny):
    """deep(**changes): the same with the four stages of the DCGAN."""
    return lambda **changes: tiny(**(DEEP | changes))
