"""What the tests share: helpers, tiny presets, empty folders, and one trained run to copy."""
import contextlib
import pathlib
import shutil
import signal

import numpy as np
import pytest

import args as constants
import data
import models
from models import devices
from training import checkpoints

import keras  # these two behind models, which sets their environment
import tensorflow as tf

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A job in the background of a shell ignores Ctrl-C, and so would the processes of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)

devices.fix_order_of_sums()  # as gan.py does, before TensorFlow computes anything

ROOT = pathlib.Path(constants.__file__).resolve().parent

# A batch of images for `small`.
REAL = tf.constant(np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3)), "float32")

# Two stages up and two down: each further stage costs TensorFlow seconds of tracing.
TINY = {
    "conditional": False,
    "batch_size": 8,
    "dataset_size": 32,
    "generator_filters": (8, 8),
    "generator_extra_filters": (),
    "discriminator_filters": (8, 8),
    "augment": "",
    "r1_weight": 0.0,
    "r1_every": 1,
    "output_blur": False,
    "pretrain_batches": 0,
    "batches": 4,
    "dump_every": 2,
    "grid": (2, 4),
}
# The four stages of the DCGAN, for claims about its networks.
DEEP = {
    "generator_filters": (16, 16, 8, 8),
    "generator_extra_filters": (8,),
    "discriminator_filters": (8, 8, 16, 16),
}
# What the tests of the training step need, and no more.
SMALL = {
    "image_shape": (16, 16, 3),
    "d_optimizer": "sgd",
    "g_optimizer": "sgd",
    "ema_decay": 0.0,
}
# Even numbers: the GAN that is built and trained fastest.
EVEN = {
    "dataset_size": 64,
    "batch_size": 8,
    "batches": 4,
    "dump_every": 2,
    "grid": (2, 4),
}


def arguments(changes):
    """Returns the command-line arguments for {constant: value}."""
    return [f"{name}={value}" for name, value in changes.items()]


def tiny_preset(**changes):
    """Returns the ToyFaces preset with networks of a few filters and four batches of training."""
    return constants.override(constants.ToyFaces, **(TINY | changes))


def small_preset(**changes):
    """Returns the same with images of 16x16, gradient descent and no averaged generator.

    For tests of single steps: they take half of the time.
    """
    return tiny_preset(**(SMALL | changes))


def even_preset(**changes):
    """Returns the preset Even with four batches of training."""
    return constants.override(constants.Even, **(EVEN | changes))


def names(folder):
    """Returns the sorted names of what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def values(variables):
    """Returns the values of variables, arrays."""
    return [variable.numpy() for variable in variables]


def equal(some, others):
    """Returns whether two lists of arrays are equal."""
    return all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))


def same_weights(network, other):
    """Returns whether two networks have equal weights."""
    return equal(values(network.weights), values(other.weights))


def save_run(args, *batches):
    """Begins a run whose checkpoints hold the initial weights, without training.

    Returns its folder.
    """
    import gan
    with checkpoints.open_run(args, gan.run_record(args)) as run:
        model = models.build(args, len(gan.class_names(args)))
        for batch in batches:
            model.batch.assign(batch)
            checkpoints.save(model, run, args)
            for weight in model.weights:
                weight.assign(weight + 0.01)  # another checkpoint, other images
    return run


@pytest.fixture
def tiny():
    """tiny(**changes): toy faces with networks of a few filters, as a preset."""
    return tiny_preset


@pytest.fixture
def small():
    """small(**changes): the same with images of 16x16, gradient descent and no average."""
    return small_preset


@pytest.fixture
def deep():
    """deep(**changes): the same as `tiny` with the four stages of the DCGAN."""
    def deep_preset(**changes):
        return tiny_preset(**(DEEP | changes))
    return deep_preset


@pytest.fixture
def even():
    """even(**changes): even numbers, which dense layers learn, with four batches of training."""
    return even_preset


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def content_network(here):
    """The current folder, with net.keras: the convolutions "first" and "second"."""
    keras.utils.set_random_seed(0)
    keras.Sequential([
        keras.Input([None, None, 3]),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, name="first"),
        keras.layers.Conv2D(4, 3, name="second"),
    ]).save("net.keras")
    return here


@pytest.fixture
def toys(here):
    """The current folder, with toyfaces.hdf5 in it."""
    data.make(tiny_preset())
    return here


@pytest.fixture
def numbers(here, even):
    """The current folder, with even.hdf5."""
    data.make(even())
    return here


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    """A folder with toyfaces.hdf5 and runs/toyfaces, trained once per session. Do not change it."""
    import gan
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        data.make(tiny_preset())
        gan.train_gan(tiny_preset())
    return folder


@pytest.fixture
def trained(trained_folder, here):
    """The current folder, with a copy of a run that has learned its four batches."""
    shutil.copytree(trained_folder, here, dirs_exist_ok=True)
    return here
