"""Broken files: does each end in a message or a named skip, soon, with nothing lost?

    python tests/bench_fuzz.py count=5000

Images, IDX files, datasets, weights, snapshots, feature networks, args.json and command lines are mutated: bits are
flipped, parts cut, doubled or zeroed, lengths made huge. Each must be read, or end in a ValueError or OSError of one
message that names what was received. One that takes longer than 60 seconds, or 512 MiB more than those before, ends the
bench; so does a file that was changed or left behind. Prints, for each kind, how many inputs were taken and how many
refused.
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
import callbacks  # noqa: E402
import data  # noqa: E402
import gan  # noqa: E402
import models  # noqa: E402
from models import metrics, toyfaces  # noqa: E402

SHAPE = 16, 16, 3
SECONDS, MEBIBYTES = 60, 512  # which an input may take
NETS = {"generator_filters": (4, 4), "generator_extra_filters": (), "discriminator_filters": (4, 4), "batch_size": 4,
        "image_shape": SHAPE, "dump_every": 1}
NUMBERS = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\x80\0\0\0"]


def mutated(content, chance):
    """Returns bytes that differ from `content` in one to three ways."""
    content = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 3])):
        # Half of the time near an end, where headers and tables are.
        reach = len(content) if chance.random() < 0.5 else min(len(content), 512)
        at = chance.randrange(reach) if content else 0
        at = len(content) - 1 - at if content and chance.random() < 0.25 else at
        size = chance.randrange(1, 64)
        kind = chance.choice(["flip", "flip", "number", "number", "cut", "end", "double", "zero", "noise", "empty"])
        if kind == "flip":
            for place in range(at, min(len(content), at + chance.randrange(1, 8))):
                content[place] ^= 1 << chance.randrange(8)
        elif kind == "number":
            content[at:at + 4] = chance.choice(NUMBERS)
        elif kind == "cut":
            del content[at:at + size]
        elif kind == "end":
            del content[at:]
        elif kind == "double":
            content[at:at] = content[at:at + size]
        elif kind == "zero":
            content[at:at + size] = bytes(size)
        elif kind == "noise":
            content[at:at + size] = chance.randbytes(size)
        elif chance.random() < 0.1:
            content.clear()
    return bytes(content)


def good_images(folder):
    """Returns {file name: bytes} of a small picture in each format, and of some that are seldom met."""
    picture = Image.fromarray(toyfaces.sample(1, 0)[0][0]).resize((24, 20))
    found = {}
    for name, image, options in (
            ("a.png", picture, {}), ("p.png", picture.convert("P"), {"transparency": 3}), ("b.jpg", picture, {}),
            ("i.png", Image.fromarray(np.arange(480, dtype="uint16").reshape(20, 24)), {}),
            ("progressive.jpg", picture, {"progressive": True}), ("c.gif", picture, {}),
            ("films.gif", picture, {"save_all": True, "append_images": [picture.rotate(90)]}), ("d.webp", picture, {}),
            ("whole.webp", picture, {"lossless": True}), ("e.bmp", picture, {}), ("f.tiff", picture, {})):
        content = io.BytesIO()
        image.save(content, name.split(".")[-1].replace("jpg", "jpeg"), **options)
        found[name] = content.getvalue()
    return found


def take_image(path):
    data.make(constants.override(constants.Args, images=path, image_shape=SHAPE, data="made.hdf5"))


def good_idx(folder):
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16), "uint8")
    head = [(0x803).to_bytes(4, "big"), *(size.to_bytes(4, "big") for size in images.shape)]
    return {"a-images-idx3-ubyte": b"".join(head) + images.tobytes()}


def good_dataset(folder):
    for label in "ab":
        (folder / label).mkdir()
        for index, image in enumerate(toyfaces.sample(8, ord(label))[0]):
            Image.fromarray(image).resize((16, 16)).save(folder / label / f"{index}.png")
    path = folder / "good.hdf5"
    data.make(constants.override(constants.Args, images=f"{folder}/*/*.png", image_shape=SHAPE, data=str(path)))
    return {"a.hdf5": path.read_bytes()}


def take_dataset(path):
    args = constants.override(constants.Args, data=path, conditional=True, **NETS)
    gan.prepare(args)
    gan.values(args)
    images, labels = next(data.batches(args, labels=True))
    assert images.shape == (4, *SHAPE) and np.isfinite(images).all() and labels.shape == (4,)


def good_weights(folder):
    args = constants.override(constants.Args, **NETS)
    model = models.build(args)
    model.generator.save_weights(folder / "a.weights.h5")
    return {"a.weights.h5": (folder / "a.weights.h5").read_bytes()}


def taker_of_weights():
    model = models.build(constants.override(constants.Args, **NETS))
    return lambda path: gan.load_weights(model.generator, path)


def good_snapshot(folder):
    args = constants.override(constants.Args, **NETS)
    model = models.build(args)
    callbacks.save_snapshot(folder / "snapshot", model.networks, model.state)
    return {"training.weights.h5": (folder / "snapshot" / "training.weights.h5").read_bytes()}


def taker_of_snapshots():
    """Takes snapshots of an older version, without checksums, whose training.weights.h5 is `path`."""
    model = models.build(constants.override(constants.Args, **NETS))
    folder = pathlib.Path("snapshot").resolve()
    callbacks.save_snapshot(folder, model.networks, model.state)
    (folder / callbacks.SUMS).unlink()

    def take(path):
        (folder / "training.weights.h5").unlink()
        os.link(path, folder / "training.weights.h5")
        callbacks.load_snapshot(model, folder)
    return take


def good_network(folder):
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(4, 3, name="inner"),
                                keras.layers.GlobalAveragePooling2D()])
    network.save(folder / "a.keras")
    return {"a.keras": (folder / "a.keras").read_bytes()}


def take_network(path):
    metrics.feature_network(path)(np.zeros([2, *SHAPE], "float32"))
    metrics.inner_network(f"{path}:inner")


def good_constants(folder):
    return {"args.json": json.dumps(constants.constants(constants.Args), indent=1).encode()}


def take_constants(path):
    run = pathlib.Path("runs/anime64")
    (run / "weights" / "000001").mkdir(parents=True, exist_ok=True)
    (run / "args.json").write_bytes(pathlib.Path(path).read_bytes())
    callbacks.refuse_other_constants(run, constants.constants(constants.Args))


def good_words(folder):
    words = ("ToyFaces name=soft real_labels=(0.7,1.2) batches=500", "beta_1=0.9 grid=(2,8) augment=color",
             "Cartoon64 photos=photos/* content_features=a.keras:b generator_filters=(8,16)")
    return {f"{index}.txt": line.encode() for index, line in enumerate(words)}


def take_words(path):
    models.check(constants.parse(pathlib.Path(path).read_bytes().decode(errors="surrogateescape").split(" ")))


KINDS = {
    "images": (0.4, good_images, lambda: take_image), "IDX": (0.1, good_idx, lambda: take_image),
    "datasets": (0.2, good_dataset, lambda: take_dataset), "weights": (0.1, good_weights, taker_of_weights),
    "snapshots": (0.06, good_snapshot, taker_of_snapshots), "networks": (0.04, good_network, lambda: take_network),
    "args.json": (0.05, good_constants, lambda: take_constants), "words": (0.05, good_words, lambda: take_words),
}


def peak():
    """Returns the most memory, in MiB, that this process has ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(kind, count, seed=0):
    """Feeds `count` mutated files of a kind to what reads them; returns how many were (taken, refused).

    Raises:
        AssertionError: with the file kept beside, where one ended otherwise, or something was lost or left behind.
    """
    _, good, taker = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        folder = pathlib.Path(folder)
        (folder / "good").mkdir()
        samples, outcomes = good(folder / "good"), collections.Counter()
        take, before = taker(), peak()
        for number in range(count):
            chance = random.Random(f"{kind} {seed} {number}")
            name = chance.choice(sorted(samples))
            path = folder / name
            path.write_bytes(content := mutated(samples[name], chance))
            faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__)
            try:
                with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
                    take(str(path))
                outcomes["taken"] += 1
            except (ValueError, OSError) as error:
                outcomes["refused"] += 1
                said = str(error)
                wrong = None if "Received" in said or name in said else f"says too little: {error!r}"
            except BaseException as error:
                wrong = f"{type(error).__name__}: {error}"
            else:
                wrong = None
            faulthandler.cancel_dump_traceback_later()
            if path.read_bytes() != content:
                wrong = "the file was changed"
            if (more := peak() - before) > MEBIBYTES and number:  # the first brings libraries
                wrong = f"it took {more:,.0f} MiB"
            before = peak()
            left = [found.name for found in folder.iterdir() if found.name.endswith((".tmp", ".parts"))]
            if wrong or left:
                kept = pathlib.Path(tempfile.gettempdir()) / f"fuzz-{kind}-{seed}-{number}-{name}"
                kept.write_bytes(content)
                raise AssertionError(f"{kind} {number}: {wrong or left}. It is kept as {kept}")
            path.unlink()
            pathlib.Path("made.hdf5").unlink(missing_ok=True)
    return outcomes["taken"], outcomes["refused"]


def main(count=5000, seed=0):
    for kind, (share, *_) in KINDS.items():
        taken, refused = fuzz(kind, round(share * count), seed)
        print(f"{kind}: {taken + refused} inputs, {taken} taken, {refused} refused, memory so far {peak():,.0f} MiB",
              flush=True)


if __name__ == "__main__":
    main(**{name: int(number) for name, number in (word.split("=") for word in sys.argv[1:])})
