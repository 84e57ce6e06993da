"""Broken inputs: does each end in one clear line, soon, with nothing lost?

    python tests/bench/bench_fuzz.py count=1000

Command lines have random constants and values. Images, IDX files, datasets, checkpoints, feature
networks and args.json are mutated: bits are flipped, parts are cut, repeated or zeroed, numbers are
made huge. Each must be accepted, or raise a ValueError or OSError of one line that names what was
received; a damaged checkpoint is skipped. The bench ends at the first input that raises anything
else, takes more than a minute, or is changed, and where a temporary file is left. It prints how
many inputs of each kind were accepted and how many were refused.
"""
import collections
import contextlib
import faulthandler
import io
import json
import pathlib
import random
import sys
import tempfile
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT), str(ROOT / "tests")]

import models  # noqa: E402  # before Keras, for which it sets environment variables
import keras  # noqa: E402
import numpy as np  # noqa: E402
from conftest import even_preset  # noqa: E402
from PIL import Image  # noqa: E402

import args as constants  # noqa: E402
import data  # noqa: E402
import gan  # noqa: E402
from models import features  # noqa: E402
from models.toys import faces  # noqa: E402
from training import checkpoints, preparation  # noqa: E402

SECONDS = 60  # that an input may take
SHAPE = (16, 16, 3)


def small_args(**changes):
    return constants.override(constants.Args, image_shape=SHAPE, batch_size=4, **changes)


# ---- mutation

def mutated(content, rng):
    """Returns bytes that differ from `content` in one to three ways, often near the start."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        position = rng.randrange(min(len(content), rng.choice([512, len(content)])) + 1)
        size = rng.randrange(1, 64)
        kind = rng.choice(["flip", "number", "zero", "noise", "remove", "repeat", "end"])
        if kind == "flip" and position < len(content):
            content[position] ^= 1 << rng.randrange(8)
        elif kind == "number":
            content[position:position + 4] = rng.choice([b"\xff" * 4, b"\x7f\xff\xff\xff"])
        elif kind == "zero":
            content[position:position + size] = bytes(size)
        elif kind == "noise":
            content[position:position + size] = rng.randbytes(size)
        elif kind == "remove":
            del content[position:position + size]
        elif kind == "repeat":
            content[position:position] = content[position:position + size]
        elif kind == "end":
            del content[rng.randrange(len(content) + 1):]
    return bytes(content)


# ---- kinds of files: intact samples {file name: bytes}, and a function that reads one

def image_samples(folder):
    picture = Image.fromarray(faces.sample(1, 0)[0][0]).resize((24, 20))
    frames = {"save_all": True, "append_images": [picture.rotate(90)]}
    images = [
        ("a.png", picture, {}),
        ("palette.png", picture.convert("P"), {"transparency": 3}),
        ("a.jpeg", picture, {}),
        ("progressive.jpeg", picture, {"progressive": True}),
        ("frames.gif", picture, frames),
        ("a.webp", picture, {}),
        ("a.bmp", picture, {}),
        ("a.tiff", picture, {}),
    ]
    samples = {}
    for name, image, options in images:
        content = io.BytesIO()
        image.save(content, name.split(".")[-1], **options)
        samples[name] = content.getvalue()
    return samples


def idx_samples(folder):
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16), "uint8")
    header = [(0x803).to_bytes(4, "big")]
    header += [size.to_bytes(4, "big") for size in images.shape]
    return {"a-images-idx3-ubyte": b"".join(header) + images.tobytes()}


def read_images(path, folder):
    data.make(small_args(images=str(path), data=str(folder / "made.hdf5")))


def dataset_samples(folder):
    for label in "ab":
        (folder / "faces" / label).mkdir(parents=True)
        for index, image in enumerate(faces.sample(8, ord(label))[0]):
            Image.fromarray(image).resize((16, 16)).save(folder / "faces" / label / f"{index}.png")
    path = folder / "a.hdf5"
    with contextlib.redirect_stdout(io.StringIO()):
        data.make(small_args(images=str(folder / "faces"), data=str(path)))
    return {"a.hdf5": path.read_bytes()}


def read_dataset(path, folder):
    args = small_args(data=str(path), conditional=True)
    gan.run_record(args)
    images, labels = next(data.iterate(args, labels=True))
    assert images.shape == (4, *SHAPE)
    assert labels.shape == (4,)


def checkpoint_samples(folder):
    model = models.build(even_preset())
    model.save_weights(folder / "a.weights.h5")
    return {"a.weights.h5": (folder / "a.weights.h5").read_bytes()}


def read_checkpoint(path, folder):
    """Resumes from the newest of two checkpoints, which is damaged, or from the other."""
    model = models.build(even_preset())
    checkpoints.save(model, folder, model.args)
    newest = checkpoints.checkpoint_path(folder, 2)
    newest.write_bytes(path.read_bytes())
    checkpoints.load_newest(model, folder)
    checkpoints.load_networks(model, path)  # as `weights`


def network_samples(folder):
    network = keras.Sequential([
        keras.Input(SHAPE),
        keras.layers.Conv2D(4, 3),
        keras.layers.GlobalAveragePooling2D(),
    ])
    network.save(folder / "a.keras")
    return {"a.keras": (folder / "a.keras").read_bytes()}


def read_network(path, folder):
    features.feature_network(str(path))(np.zeros([2, *SHAPE], "float32"))


def record_samples(folder):
    args = constants.Args
    record = {"preset": "Args", "overrides": {}, "constants": constants.constants(args),
              "fingerprint": "0" * 16}
    return {"args.json": json.dumps(record, indent=1).encode()}


def read_record(path, folder):
    run = folder / "runs/anime64"
    (run / "weights").mkdir(parents=True, exist_ok=True)
    (run / "weights/000001.weights.h5").touch()
    (run / "args.json").write_bytes(path.read_bytes())
    record = {"constants": constants.constants(preparation.resume_constants(constants.Args))}
    checkpoints.check_record(checkpoints.run_folder(constants.Args), record)


# {kind: (share of the inputs, function(folder) -> samples, function(path, folder))}
FILES = {
    "images": (0.25, image_samples, read_images),
    "IDX": (0.05, idx_samples, read_images),
    "datasets": (0.15, dataset_samples, read_dataset),
    "checkpoints": (0.15, checkpoint_samples, read_checkpoint),
    "networks": (0.05, network_samples, read_network),
    "args.json": (0.1, record_samples, read_record),
}
COMMAND_LINES = 0.25  # share of the inputs


# ---- command lines

def random_value(default, rng):
    """Returns the text of a value, most of them of the type of `default`."""
    if rng.random() < 0.1:
        return rng.choice(["", "None", "True", "-1", "1e9", "()", "(1,2,3)", "[8]", "x", "'"])
    if isinstance(default, str):
        return rng.choice([default, "", "both", "none", "adam", "color", "x", "../x", "mnist"])
    if isinstance(default, bool):
        return rng.choice(["True", "False"])
    if isinstance(default, tuple):
        values = [random_number(rng, type(default[0]) if default else int)
                  for _ in range(rng.choice([len(default), len(default), rng.randrange(6)]))]
        return str(tuple(values)).replace(" ", "")
    return str(random_number(rng, type(default)))


def random_number(rng, kind):
    if kind is int:
        return rng.choice([0, 1, 2, 3, 4, 8, 16, 64, -1, 7])
    return rng.choice([0.0, 0.1, 0.5, 0.9, 1.0, 2.0, -0.5, 10.0])


def random_command_line(rng):
    """Returns the arguments of a command line: a preset, and random values of some constants."""
    preset = rng.choice(list(constants.presets()))
    arguments = [preset]
    if preset in ("Args", "Small", "ToyFaces"):  # what is accepted is built, so it is narrow
        arguments += ["generator_filters=(8,8)", "generator_extra_filters=(8,)",
                      "discriminator_filters=(8,8)"]
    defaults = constants.constants(constants.presets()[preset])
    for name in rng.sample(list(defaults), rng.randrange(1, 5)):
        value = random_value(defaults[name], rng)
        if rng.random() < 0.05:
            name = name[:-1]  # a typo
        arguments.append(f"{name}={value}")
    return arguments


def run_command_line(arguments):
    """Checks the constants of a command line, and builds the networks if they are narrow."""
    args, _ = constants.parse(arguments)
    constants.check(args)
    constants.warnings(args)
    checkpoints.run_folder(args)
    if "generator_filters=(8,8)" in arguments:
        models.build(args, classes=3 if args.conditional else 0)


# ---- the bench

def failure_of(read, name="Received"):
    """Calls a function that reads an input, with the name that an error must contain.

    Returns:
        Whether the input was accepted, and what was wrong with the way it was refused, "" if
        nothing.
    """
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
            read()
    except (ValueError, OSError) as error:
        text = str(error)
        is_line = "\n" not in text or "other constants" in text  # a line for each difference
        if is_line and ("Received" in text or name in text):
            return False, ""
        return False, f"no clear line: {error!r}"
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    return True, ""


def fuzz_files(kind, count, seed):
    """Reads `count` mutated files of a kind. Returns {True: accepted, False: refused}.

    Raises:
        AssertionError: one was treated wrongly. Its message names a copy of the file.
    """
    _, make_samples, read = FILES[kind]
    outcomes = collections.Counter()
    for number in range(-1, count):  # the first round is of the intact files
        with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
            folder = pathlib.Path(name)
            if number < 0:
                (folder / "intact").mkdir()
                samples = make_samples(folder / "intact")
            rng = random.Random(f"{kind} {seed} {number}")
            for name in samples if number < 0 else [rng.choice(sorted(samples))]:
                content = samples[name] if number < 0 else mutated(samples[name], rng)
                path = folder / name
                path.write_bytes(content)
                accepted, wrong = failure_of(lambda: read(path, folder), name)
                if number < 0 and not accepted:
                    raise AssertionError(f"{kind}: the intact {name} is refused. {wrong}")
                if path.read_bytes() != content:
                    wrong = "the file was changed"
                if list(folder.glob("*.tmp")):
                    wrong = "a temporary file was left"
                if wrong:
                    copy = pathlib.Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}-{path.name}"
                    copy.write_bytes(content)
                    raise AssertionError(f"{kind} {number}: {wrong}. A copy is in {copy}")
                outcomes[accepted] += number >= 0
    return outcomes


def fuzz_command_lines(count, seed):
    """Parses `count` random command lines. Returns {True: accepted, False: refused}."""
    outcomes = collections.Counter()
    for number in range(count):
        arguments = random_command_line(random.Random(f"command lines {seed} {number}"))
        accepted, wrong = failure_of(lambda: run_command_line(arguments))
        if wrong:
            raise AssertionError(f"python gan.py {' '.join(arguments)}: {wrong}")
        outcomes[accepted] += 1
    return outcomes


def main(count=1000, seed=0):
    print("| inputs | count | accepted | refused |\n|---|---|---|---|")
    outcomes = fuzz_command_lines(round(COMMAND_LINES * count), seed)
    print_row("command lines", outcomes)
    for kind, (share, _, _) in FILES.items():
        print_row(kind, fuzz_files(kind, round(share * count), seed))


def print_row(kind, outcomes):
    print(f"| {kind} | {outcomes.total()} | {outcomes[True]} | {outcomes[False]} |", flush=True)


if __name__ == "__main__":
    numbers = {}
    for argument in sys.argv[1:]:
        name, _, number = argument.partition("=")
        numbers[name] = int(number)
    main(**numbers)
