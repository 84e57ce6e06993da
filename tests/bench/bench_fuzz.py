"""Broken files: does each end in one clear message or a named skip, soon, with nothing lost?

    python tests/bench_fuzz.py count=5000

Images, IDX files, datasets, weights, checkpoints, feature networks, args.json and command lines are
mutated: bits are flipped, parts are cut, repeated or zeroed, numbers are made huge. Each must be
read, or raise a ValueError or OSError whose message names what was received. The bench ends at the
first input that raises anything else, takes more than 60 seconds or 512 MiB of additional memory,
or is changed, and where a temporary file is left. It prints how many inputs of each kind were
accepted and how many were refused.
"""
import collections
import contextlib
import faulthandler
import io
import json
import os
import pathlib
import random
import resource
import sys
import tempfile
import warnings

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import keras  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import args as constants  # noqa: E402
import data  # noqa: E402
import gan  # noqa: E402
import models  # noqa: E402
from models import features, toyfaces, validation  # noqa: E402
from training import checkpoints  # noqa: E402

SECONDS = 60      # that an input may take
MEBIBYTES = 512   # that an input may take
SHAPE = (16, 16, 3)
SMALL = {
    "generator_filters": (4, 4),
    "generator_extra_filters": (),
    "discriminator_filters": (4, 4),
    "batch_size": 4,
    "image_shape": SHAPE,
    "dump_every": 1,
}
NUMBERS = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\x80\0\0\0"]
MUTATIONS = ["flip", "flip", "number", "number", "cut", "end", "repeat", "zero", "noise", "empty"]


def small_args(**changes):
    return constants.override(constants.Args, **(SMALL | changes))


# ---- mutation

def mutated(content, rng):
    """Returns bytes that differ from `content` in one to three ways."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        _mutate(content, rng)
    return bytes(content)


def _position(content, rng):
    """Returns a position in `content`, often near its start or end, where its headers are."""
    if not content:
        return 0
    reach = len(content)
    if rng.random() < 0.5:
        reach = min(reach, 512)
    position = rng.randrange(reach)
    if rng.random() < 0.25:
        position = len(content) - 1 - position
    return position


def _mutate(content, rng):
    """Changes a bytearray in one way."""
    position = _position(content, rng)
    size = rng.randrange(1, 64)
    kind = rng.choice(MUTATIONS)
    if kind == "flip":
        end = min(len(content), position + rng.randrange(1, 8))
        for index in range(position, end):
            content[index] ^= 1 << rng.randrange(8)
    elif kind == "number":
        content[position:position + 4] = rng.choice(NUMBERS)
    elif kind == "cut":
        del content[position:position + size]
    elif kind == "end":
        del content[position:]
    elif kind == "repeat":
        content[position:position] = content[position:position + size]
    elif kind == "zero":
        content[position:position + size] = bytes(size)
    elif kind == "noise":
        content[position:position + size] = rng.randbytes(size)
    elif rng.random() < 0.1:
        content.clear()


# ---- kinds of files: intact samples, and a function that makes the function that reads them

def sample_images(folder):
    """Returns {file name: bytes} of a small image in each format, some of them unusual."""
    picture = Image.fromarray(toyfaces.sample(1, 0)[0][0]).resize((24, 20))
    deep = Image.fromarray(np.arange(480, dtype="uint16").reshape(20, 24))
    frames = {"save_all": True, "append_images": [picture.rotate(90)]}
    images = [
        ("a.png", picture, {}),
        ("palette.png", picture.convert("P"), {"transparency": 3}),
        ("16-bits.png", deep, {}),
        ("a.jpeg", picture, {}),
        ("progressive.jpeg", picture, {"progressive": True}),
        ("a.gif", picture, {}),
        ("frames.gif", picture, frames),
        ("a.webp", picture, {}),
        ("lossless.webp", picture, {"lossless": True}),
        ("a.bmp", picture, {}),
        ("a.tiff", picture, {}),
    ]
    samples = {}
    for name, image, options in images:
        content = io.BytesIO()
        image.save(content, name.split(".")[-1], **options)
        samples[name] = content.getvalue()
    return samples


def sample_idx(folder):
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16), "uint8")
    header = [(0x803).to_bytes(4, "big")]
    header += [size.to_bytes(4, "big") for size in images.shape]
    return {"a-images-idx3-ubyte": b"".join(header) + images.tobytes()}


def image_reader():
    def read(path):
        data.make(small_args(images=path, data="made.hdf5"))
    return read


def sample_datasets(folder):
    for label in "ab":
        (folder / label).mkdir()
        for index, image in enumerate(toyfaces.sample(8, ord(label))[0]):
            Image.fromarray(image).resize((16, 16)).save(folder / label / f"{index}.png")
    path = folder / "a.hdf5"
    data.make(small_args(images=f"{folder}/*/*.png", data=str(path)))
    return {"a.hdf5": path.read_bytes()}


def dataset_reader():
    def read(path):
        args = small_args(data=path, conditional=True)
        data.attributes(args)
        gan.run_record(args)
        images, labels = next(data.iterate(args, labels=True))
        assert images.shape == (4, *SHAPE)
        assert np.isfinite(images).all()
        assert labels.shape == (4,)
    return read


def sample_weights(folder):
    model = models.build(small_args())
    model.generator.save_weights(folder / "a.weights.h5")
    return {"a.weights.h5": (folder / "a.weights.h5").read_bytes()}


def weights_reader():
    model = models.build(small_args())

    def read(path):
        checkpoints.load_weights(model.generator, path)
    return read


def sample_checkpoints(folder):
    model = models.build(small_args())
    checkpoints.save_checkpoint(folder / "000001", model.networks, model.state)
    return {"training.h5": (folder / "000001" / "training.h5").read_bytes()}


def checkpoint_reader():
    model = models.build(small_args())
    checkpoint = pathlib.Path("000001").resolve()
    checkpoints.save_checkpoint(checkpoint, model.networks, model.state)

    def read(path):
        (checkpoint / "training.h5").unlink()
        os.link(path, checkpoint / "training.h5")
        checkpoints.load_checkpoint(model, checkpoint)
    return read


def sample_networks(folder):
    network = keras.Sequential([
        keras.Input(SHAPE),
        keras.layers.Conv2D(4, 3, name="inner"),
        keras.layers.GlobalAveragePooling2D(),
    ])
    network.save(folder / "a.keras")
    return {"a.keras": (folder / "a.keras").read_bytes()}


def network_reader():
    def read(path):
        features.feature_network(path)(np.zeros([2, *SHAPE], "float32"))
        features.inner_network({"content_features": f"{path}:inner"})
    return read


def small_record():
    """Returns what args.json of a run holds."""
    values = constants.constants(constants.Args)
    return {"preset": "Args", "overrides": {}, "constants": values, "fingerprint": "0" * 16}


def sample_records(folder):
    return {"args.json": json.dumps(small_record(), indent=1).encode()}


def record_reader():
    run = pathlib.Path("runs/anime64").resolve()
    (run / "weights" / "000001").mkdir(parents=True)

    def read(path):
        (run / "args.json").write_bytes(pathlib.Path(path).read_bytes())
        checkpoints.check_constants(run, small_record())
    return read


def sample_command_lines(folder):
    lines = [
        "ToyFaces name=soft real_labels=(0.7,1.2) batches=500",
        "train_gan generate beta_1=0.9 grid=(2,8) augment=color",
        "Cartoon64 photos=photos/* content_features=a.keras:b generator_filters=(8,16)",
    ]
    return {f"{index}.txt": line.encode() for index, line in enumerate(lines)}


def command_line_reader():
    def read(path):
        line = pathlib.Path(path).read_bytes().decode(errors="surrogateescape")
        args, _ = constants.parse(line.split(" "))
        validation.validate(args)
        validation.warnings(args)
    return read


# {kind: (share of the inputs, function(folder) -> {file name: bytes}, function() -> reader)}
KINDS = {
    "images": (0.4, sample_images, image_reader),
    "IDX": (0.1, sample_idx, image_reader),
    "datasets": (0.2, sample_datasets, dataset_reader),
    "weights": (0.1, sample_weights, weights_reader),
    "checkpoints": (0.06, sample_checkpoints, checkpoint_reader),
    "networks": (0.04, sample_networks, network_reader),
    "args.json": (0.05, sample_records, record_reader),
    "command lines": (0.05, sample_command_lines, command_line_reader),
}


# ---- the bench

def peak_memory():
    """Returns the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def try_input(read, path):
    """Reads a file.

    Returns:
        Whether it was accepted, and what was wrong with the way it was refused, "" if nothing.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
            read(str(path))
    except (ValueError, OSError) as error:
        message = str(error)
        if "Received" in message or path.name in message:
            return False, ""
        return False, f"the message does not name it: {error!r}"
    except BaseException as error:
        return False, f"{type(error).__name__}: {error}"
    return True, ""


def fuzz(kind, count, seed=0):
    """Has `count` mutated files of a kind read.

    Returns:
        How many were (accepted, refused).

    Raises:
        AssertionError: one was treated wrongly. Its message names a copy of the file.
    """
    _, make_samples, make_reader = KINDS[kind]
    outcomes = collections.Counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        folder = pathlib.Path(folder)
        (folder / "intact").mkdir()
        samples = make_samples(folder / "intact")
        read = make_reader()
        for name, content in samples.items():
            path = folder / name
            path.write_bytes(content)
            accepted, wrong = try_input(read, path)
            assert accepted, f"{kind}: the intact {name} is refused. {wrong}"
        memory_before = peak_memory()
        for number in range(count):
            rng = random.Random(f"{kind} {seed} {number}")
            name = rng.choice(sorted(samples))
            content = mutated(samples[name], rng)
            path = folder / name
            path.write_bytes(content)
            faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__)
            accepted, wrong = try_input(read, path)
            faulthandler.cancel_dump_traceback_later()
            outcomes[accepted] += 1
            memory = peak_memory() - memory_before
            memory_before = peak_memory()
            if path.read_bytes() != content:
                wrong = "the file was changed"
            if memory > MEBIBYTES:
                wrong = f"it took {memory:,.0f} MiB"
            if list(folder.glob("*.tmp")):
                wrong = "a temporary file was left"
            if wrong:
                copy = pathlib.Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}-{name}"
                copy.write_bytes(content)
                raise AssertionError(f"{kind} {number}: {wrong}. A copy is in {copy}")
            path.unlink()
            (folder / "made.hdf5").unlink(missing_ok=True)
    return outcomes[True], outcomes[False]


def main(count=5000, seed=0):
    for kind, (share, _, _) in KINDS.items():
        accepted, refused = fuzz(kind, round(share * count), seed)
        print(f"{kind}: {accepted + refused} inputs, {accepted} accepted, {refused} refused, "
              f"peak memory {peak_memory():,.0f} MiB", flush=True)


if __name__ == "__main__":
    numbers = {}
    for argument in sys.argv[1:]:
        name, _, number = argument.partition("=")
        numbers[name] = int(number)
    main(**numbers)
