"""Bytes: any set of images -> one HDF5 file; bytes <-> [-1, 1]; images -> PNG.

`python data.py [Preset] [constant=value ...]` reads `images` and writes `data`. Which files those are stands in
args.py. The file holds

    faces     uint8 [count, rows, columns, channels], contiguous and uncompressed, in an order drawn by `seed`
    labels    where the images lie in several folders, up to 65,536: uint16 [count], an index into label_names, text
    factors   of toy faces: uint8 [count, 4], see models/toyfaces.py
    photos    where `photos` is set: uint8 [count, rows, columns, channels], what G turns into images like `faces`
    smoothed  the same: the `faces`, their edges blurred, which D learns to call fake [Chen 2018 s3.2.1]
"""
import collections
import concurrent.futures
import contextlib
import functools
import glob
import gzip
import hashlib
import itertools
import math
import multiprocessing
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
import unicodedata
import warnings
import zlib

import h5py
import numpy as np
from PIL import Image, ImageFilter, ImageOps

from models import toyfaces

try:
    import fcntl
except ImportError:  # Windows has no flock: there two processes on one file are not kept apart
    fcntl = None

LABELS = 2 ** 16      # at the most: they are uint16; where images lie in more folders, they have none
CHUNK = 256           # images a worker decodes at a time: 3 MB at 64x64
IDX_MAGIC = 0x00000803, 0x00000801  # the magic numbers of IDX images and labels of bytes [MNIST]

_stopped = None  # in a worker, the event that says that nobody waits for it


# ---- bytes <-> [-1, 1]

def normalize(images):
    """Maps bytes 0..255 to float32 in [-1, 1], the range of tanh [ganhacks 1]."""
    return np.asarray(images, "float32") / np.float32(127.5) - np.float32(1)


def denormalize(images):
    """Maps floats in [-1, 1] to bytes 0..255: the inverse of normalize for each of the 256. Out of range is cut."""
    return np.uint8(np.clip(np.rint((np.asarray(images, "float32") + 1) * 127.5), 0, 255))


# ---- images -> PNG

def save_png(image, path):
    """Writes uint8 [rows, columns, channels] as a PNG that appears whole or not at all."""
    image = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(image).save(f"{path}.tmp", format="png")
    os.replace(f"{path}.tmp", path)


def save_grid(images, path, columns):
    """Writes images [count, rows, columns, channels], bytes or floats in [-1, 1], as one PNG with `columns` a row.

    Where the last row is not full, the rest of it stays white.
    """
    images = images if images.dtype == np.uint8 else denormalize(images)
    images = np.concatenate([images, np.full((-len(images) % columns, *images.shape[1:]), 255, "uint8")])
    count, height, width, channels = images.shape
    grid = images.reshape(count // columns, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    save_png(grid.reshape(count // columns * height, columns * width, channels), path)


# ---- files

@contextlib.contextmanager
def locked(path, refusal=""):
    """Keeps the file `path` for this process, whose number stands in it, until the end. It waits for one that has it.

    What counts is the lock, not the file: it goes with the process, however that ends.

    Args:
        refusal: what to say instead of waiting, with {} for the number of the process that has it.

    Raises:
        ValueError: with the refusal.
    """
    held = False
    while not held:
        lock = open(path, "a+")
        try:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            other = lock.read()
            if refusal:
                raise ValueError(refusal.replace("{}", other)) from None
            print(f"Waiting for process {other}, which is at the same", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):  # the other has removed it in the end
            held = os.path.samestat(os.stat(path), os.fstat(lock.fileno()))
    try:
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone
            os.remove(path)
        lock.close()


# ---- one file -> one image

def is_folder_name(name):
    """Tells the name of a single folder from a path that leads elsewhere."""
    return isinstance(name, str) and name not in ("", ".", "..") and os.path.basename(name) == name


def printable(text):
    """Returns text in which what can't be shown is escaped: a newline, a byte of a file's name that is no UTF-8."""
    return "".join(char if char.isprintable() or unicodedata.category(char) == "Zs" else ascii(char)[1:-1]
                   for char in text)  # Zs: spaces, also those of Japanese and French


def _to_bytes(image, channels):
    """Turns any Pillow image to 8-bit grey or RGB: 16 bits scaled, palettes looked up, alpha laid on white."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own convert would cut at 255
        image = Image.fromarray(np.uint8(np.asarray(image, "int64").clip(0, 65535) // 257))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB" if channels == 3 else "L")


def _fit(image, image_shape, crop):
    """Cuts ("center") or squashes a Pillow image to uint8 [*image_shape]."""
    rows, columns, _ = image_shape
    if crop == "center":
        image = ImageOps.fit(image, (columns, rows), Image.Resampling.LANCZOS)
    else:
        image = image.resize((columns, rows), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(image_shape)


def _open(path, channels, size=None):
    """Opens an image file as a Pillow image of 8 bits; a large JPEG is decoded at a fraction where `size` will do."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError("not a regular file")
        with Image.open(path) as image:
            if size:
                image.draft(None, size)
            return _to_bytes(ImageOps.exif_transpose(image), channels)


def read_image(path, image_shape, crop="center"):
    """Reads an image file of any kind that Pillow knows as uint8 [*image_shape].

    Raises:
        OSError, ValueError, ...: what Pillow raises on a broken, truncated, huge or unknown file.
    """
    rows, columns, channels = image_shape
    return _fit(_open(path, channels, (2 * columns, 2 * rows)), image_shape, crop)


def read_whole(path):
    """Reads an image file in its own size as uint8 [rows, columns, 3]; it raises as `read_image` does."""
    return np.asarray(_open(path, 3))


def smooth_edges(image):
    """Blurs an image, uint8 [rows, columns, 3], along its edges alone [Chen 2018 s3.2.1].

    Its edges, where the slope of Sobel is in its highest tenth (and no mere grain), are dilated to 5x5 pixels, and a
    Gaussian of deviation 2 lies over them. The paper takes Canny's edges, and names neither of the sizes.
    """
    grey = np.float32(Image.fromarray(image).convert("L"))
    near = np.pad(grey, 1, mode="edge")
    along = near[:, :-2] + 2 * near[:, 1:-1] + near[:, 2:], near[:-2] + 2 * near[1:-1] + near[2:]
    slope = np.hypot(along[0][2:] - along[0][:-2], along[1][:, 2:] - along[1][:, :-2])
    edges = slope > max(np.quantile(slope, 0.9), 64)  # 64: a step of 16 of 255, beyond the grain of a JPEG
    wide = Image.fromarray(np.uint8(255 * edges)).filter(ImageFilter.MaxFilter(5))
    blurred = Image.fromarray(image).filter(ImageFilter.GaussianBlur(2))
    return np.asarray(Image.composite(blurred, Image.fromarray(image), wide))


def read_chunk(paths, image_shape, crop, part=""):
    """Reads some files: returns (images [count, *image_shape], the paths that were read, {path: why it was not}).

    Where `part` names a file, that holds what was found, so that a second call needn't read them again.
    """
    with contextlib.suppress(Exception):  # it isn't there, or broken: then they are read anew
        with np.load(part) as held:
            return held["images"], held["read"].tolist(), dict(zip(held["skipped"].tolist(), held["why"].tolist()))
    images, read, skipped = [], [], {}
    for path in paths:
        if _stopped and _stopped.is_set():
            raise InterruptedError(f"stopped before {path}")
        try:
            images.append(read_image(path, image_shape, crop))
            read.append(path)
        except Image.UnidentifiedImageError:
            skipped[path] = "not an image"
        except Exception as error:  # whatever a decoder makes of a broken file, the other images are still good
            skipped[path] = f"{type(error).__name__}: {error}"
    images = np.array(images, "uint8").reshape(-1, *image_shape)
    if part:
        with open(f"{part}.tmp", "wb") as file:
            np.savez(file, images=images, read=read, skipped=list(skipped), why=list(skipped.values()))
        os.replace(f"{part}.tmp", part)
    return images, read, skipped


def toy_chunk(start, count, seed):
    return toyfaces.sample(count, seed, start)


@contextlib.contextmanager
def _alone(function):
    """Keeps new processes from importing the script that was started, with all of its TensorFlow, for a function
    that lives in this module: they find the script by the __file__ of __main__."""
    main = sys.modules["__main__"]
    path = None if function.__module__ == "__main__" else vars(main).pop("__file__", None)
    try:
        yield
    finally:
        if path:
            main.__file__ = path


def _begin_work(stopped):
    """Lets a worker stop once nobody waits for it, and end when the process that started it is gone, however."""
    global _stopped
    _stopped = stopped
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: os._exit(parent.join() or 1), daemon=True).start()


@contextlib.contextmanager
def _without_ctrl_c():
    """Processes that are started within don't get Ctrl-C, which is for the first; there it waits until the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def in_parallel(function, tasks):
    """Yields function(*task) of every task, in order, from as many processes as there are cores.

    Raises:
        OSError: where one of them was killed.
    """
    tasks = collections.deque(tasks)
    workers = min(os.cpu_count() or 1, len(tasks))
    if workers < 2:
        yield from (function(*task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process in which TensorFlow runs may hang
    stopped = context.Event()
    with _alone(function), concurrent.futures.ProcessPoolExecutor(workers, context, _begin_work, [stopped]) as pool:
        running = collections.deque()
        try:
            while tasks or running:
                while tasks and len(running) < 3 * workers:  # bounded: results must not pile up
                    with _without_ctrl_c():
                        running.append(pool.submit(function, *tasks.popleft()))
                yield running.popleft().result()
        except concurrent.futures.BrokenExecutor:
            raise OSError(f"One of the {workers} processes that make images was killed, perhaps for want of memory. "
                          "The same command goes on from what is there") from None
        finally:  # Ctrl-C, or a full disk: what is under way need not come to its end
            stopped.set()
            pool.shutdown(cancel_futures=True)


# ---- files -> files

def _targets(paths):
    """Returns for each file the name of its PNG: its path below the folder that all share, so that no two meet."""
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    below = [os.path.relpath(os.path.abspath(path), shared) for path in paths]
    stems = collections.Counter(os.path.splitext(path)[0] for path in below)
    return [f"{path if stems[os.path.splitext(path)[0]] > 1 else os.path.splitext(path)[0]}.png" for path in below]


def to_be_turned(args):
    """Returns the paths of the first `generate_count` images of `generate_from`.

    Raises:
        FileNotFoundError: where it matches nothing.
    """
    paths = find_files(args.generate_from)[:args.generate_count]
    if not paths:
        raise FileNotFoundError("`generate_from` must be a glob that matches the images to be turned, such as "
                                f"my-photos/*.jpg. Received: generate_from={args.generate_from!r}")
    return paths


def turn(args, function, scale, folder):
    """Turns the first `generate_count` images of `generate_from` by a network into PNGs of their names and sizes.

    Args:
        function: images [1, rows, columns, 3] in [-1, 1] -> the same.
        scale: rows and columns are padded to a multiple of it, and cut again.
        folder: where they go, a Path.

    Raises:
        FileNotFoundError: where `generate_from` matches nothing.
    """
    paths, done = to_be_turned(args), 0
    for path, target in zip(paths, _targets(paths)):
        try:
            image = read_whole(path)
        except Exception as error:  # whatever a decoder makes of a broken file, the other images are still good
            print(f"skipped {printable(path)}: {error}")
            continue
        rows, columns, _ = image.shape
        padded = np.pad(image, [(0, max(-rows % scale, 16 - rows)), (0, max(-columns % scale, 16 - columns)), (0, 0)],
                        "edge")  # 16: the least that can be padded by reflection within
        turned = denormalize(function(normalize(padded)[None]))[0, :rows, :columns]
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        save_png(turned, folder / target)
        done += 1
    print(f"{folder}: {done} images of {args.generate_from}")


# ---- sources: each yields (images uint8, {dataset name: values}) in chunks

class _Progress:
    """A line that says how far it is: images done, of all, images a second."""

    def __init__(self, total):
        self.total, self.done, self.start, self.shown = total, 0, time.monotonic(), 0.0

    def add(self, count):
        self.done += count
        seconds = time.monotonic() - self.start
        if seconds - self.shown > 0.2 or self.done == self.total:
            self.shown = seconds
            print(f"\r{self.done}/{self.total} images, {self.done / max(seconds, 1e-9):.0f} a second",
                  end="\n" if self.done == self.total else "", flush=True)


def _shuffled(count, args):
    """Returns the order in which `count` images are taken: any slice of the file is then a fair sample of all."""
    order = np.random.default_rng(args.seed).permutation(count)
    return order[:args.dataset_size] if args.dataset_size else order


def _parts(args, paths):
    """Returns the folder that keeps what is read of such files, as they are now, until `data` is made."""
    digest = hashlib.blake2b(repr((args.image_shape, args.crop)).encode(), digest_size=8)
    for path in paths:
        with contextlib.suppress(OSError):  # a link to nowhere, which will be skipped
            status = os.stat(path)
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return f"{args.data}.{digest.hexdigest()}.parts"


def _files(args, paths, attributes):
    """Reads image files; the name of an image's folder is its label where there are several folders."""
    folder_of = {path: os.path.basename(os.path.dirname(os.path.abspath(path))) for path in paths}
    folders = sorted(set(folder_of.values()))
    numbers, labelled = {folder: number for number, folder in enumerate(folders)}, 1 < len(folders) <= LABELS
    paths = [paths[index] for index in _shuffled(len(paths), args)]
    skipped = 0
    progress = _Progress(len(paths))
    parts = _parts(args, paths)
    os.makedirs(parts, exist_ok=True)
    tasks = [(paths[i:i + CHUNK], args.image_shape, args.crop, f"{parts}/{i}.npz") for i in range(0, len(paths), CHUNK)]
    done = sum(os.path.exists(part) for *_, part in tasks)
    if done:
        print(f"{done} of {len(tasks)} parts were read before data.py was stopped, and are not read again")
    for images, read, bad in in_parallel(read_chunk, tasks):
        for path, why in bad.items():
            print(f"\rskipped {printable(path)}: {printable(why)}".ljust(50))  # over the line of the progress
        skipped += len(bad)
        progress.add(len(read) + len(bad))
        labels = [numbers[folder_of[path]] for path in read]
        yield images, {"labels": np.uint16(labels)} if labelled else {}
    attributes["skipped"] = skipped
    if skipped == len(paths):
        shutil.rmtree(parts)  # there is nothing in it
    if labelled:
        attributes["label_names"] = [printable(folder) for folder in folders]


def _read_idx(path):
    """Reads an IDX file of bytes, plain or .gz, as a uint8 array."""
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            content = file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} can't be read: {error}") from None
    magic = int.from_bytes(content[:4], "big")
    axes = magic & 0xff if magic in IDX_MAGIC else 0
    shape = np.frombuffer(content[4:4 + 4 * axes].ljust(4 * axes, b"\0"), ">u4")
    values = np.frombuffer(content[4 + 4 * axes:], "uint8")
    if not axes or not shape.all() or values.size != np.prod(shape, dtype="uint64"):
        raise ValueError(f"{path} is no whole IDX file of bytes. Received: magic number {magic:#010x}, "
                         f"shape {tuple(shape.tolist())}, {values.size} bytes")
    return values.reshape(shape)


def _labelled(args, images, labels):
    """Yields grey images, each uint8 [rows, columns], with labels, an array or None, in the order of `seed`."""
    order = _shuffled(len(images), args)
    progress = _Progress(len(order))
    for start in range(0, len(order), CHUNK):
        rows = order[start:start + CHUNK]
        chosen = [_to_bytes(Image.fromarray(images[row]), args.image_shape[2]) for row in rows]
        yield (np.stack([_fit(image, args.image_shape, args.crop) for image in chosen]),
               {} if labels is None else {"labels": np.uint16(labels[rows])})
        progress.add(len(rows))


def _idx(args, paths, attributes):
    """Reads IDX files of images; labels come from the file of the same name with labels-idx1 for images-idx3."""
    found, held = [], {}
    for path in paths:
        images = _read_idx(path)
        if images.ndim != 3:
            raise ValueError(f"`images` must name IDX files of images. Received: {path} of shape {images.shape}")
        labels_path = path.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
        labels = _read_idx(labels_path) if labels_path != path and os.path.exists(labels_path) else None
        if labels is not None and labels.shape != images.shape[:1]:
            raise ValueError(f"{labels_path} must hold a label for each of {len(images)} images. "
                             f"Received: shape {labels.shape}")
        found.extend(images)
        held[path] = labels
    without = [path for path, labels in held.items() if labels is None]
    if 0 < len(without) < len(held):
        raise ValueError(f"All of the IDX files must have labels, or none. Received: {without[0]} without")
    labels = None if without else np.concatenate([*held.values()])
    yield from _labelled(args, found, labels)
    if labels is not None:
        attributes["label_names"] = [str(label) for label in range(int(labels.max()) + 1)]


def _toyfaces(args, paths, attributes):
    """Draws toy faces; their label is the hair colour, and all their factors are kept."""
    if args.image_shape != (64, 64, 3):
        raise ValueError(f"Toy faces are drawn with `image_shape` = (64, 64, 3). "
                         f"Received: image_shape={args.image_shape}")
    count = args.dataset_size or 10000
    progress = _Progress(count)
    tasks = [(start, min(CHUNK, count - start), args.seed) for start in range(0, count, CHUNK)]
    for images, factors in in_parallel(toy_chunk, tasks):
        yield images, {"labels": np.uint16(factors[:, 0]), "factors": factors}
        progress.add(len(images))
    attributes["label_names"] = list(toyfaces.FACTORS["hair_color"])


def _mnist(args, paths, attributes):
    """Reads MNIST's 60,000 digits to train on: the IDX files in the folder mnist/, else what Keras downloads, once."""
    if local := sorted(glob.glob("mnist/train-images[-.]idx3-ubyte*")):
        yield from _idx(args, local[:1], attributes)
        return
    import keras
    try:
        (images, labels), _ = keras.datasets.mnist.load_data()
    except Exception as error:  # whatever the network between here and there has to say
        raise ValueError("MNIST is not in the folder mnist/, and could not be downloaded. Put train-images-idx3-ubyte "
                         f"and train-labels-idx1-ubyte, or their .gz, there. Received: images=mnist. {error}") from None
    attributes["label_names"] = [str(digit) for digit in range(10)]
    yield from _labelled(args, images, labels)


def _even(args, paths, attributes):
    """Draws even numbers up to `max_int`, as bits; that they come again is meant."""
    from models import even
    columns = args.image_shape[1]
    if args.image_shape != (1, columns, 1) or not 2 <= args.max_int < 2 ** columns:
        raise ValueError(f"`max_int` must be at least 2, and fit into the bits of `image_shape`, (1, bits, 1). "
                         f"Received: max_int={args.max_int}, image_shape={args.image_shape}")
    count = args.dataset_size or 10000
    numbers = 2 * np.random.default_rng(args.seed).integers(args.max_int // 2 + 1, size=count)
    yield even.bits(numbers, columns), {}


def is_idx(path):
    """Tells IDX files by their name: train-images-idx3-ubyte, with or without .gz."""
    name = os.path.basename(path)
    return any(ending in name for ending in ("idx3-ubyte", "idx3.ubyte", "idx1-ubyte"))


# Datasets that need no files of yours: `images` names them.
EMBEDDED = {"toyfaces": _toyfaces, "mnist": _mnist, "even": _even}


def find(args):
    """Returns the sorted paths of the files that `images` names: empty for an embedded dataset, or if none match."""
    return [] if args.images in EMBEDDED else find_files(args.images)


def find_files(pattern):
    """Returns the sorted paths of the files that a glob matches. Where it says `**`, no link to a folder is followed,
    as glob would, even in a circle, nor hidden folders; a folder that the rest of the pattern names may be a link.
    """
    pattern += "/*" if pattern.endswith("/**") or pattern == "**" else ""
    deep = re.fullmatch(r"(|.*?/)\*\*/(.*)", pattern, re.DOTALL)
    if not deep:
        return sorted(path for path in glob.glob(pattern) if not os.path.isdir(path))
    before, after = deep.groups()
    found = set()
    for start in glob.glob(before) if before else ["."]:
        for folder, below, _ in os.walk(start):
            below[:] = [name for name in below if not name.startswith(".")]
            found.update(find_files(os.path.join(glob.escape(folder), after).removeprefix("./")))
    return sorted(found)


# ---- images -> HDF5

def _write(file, name, chunks, args):
    """Writes the images of a source as dataset `name` of an open HDF5, and what the source yields beside them.

    Exact copies are dropped, but for even numbers, which are meant to come again. Returns how many were.
    """
    seen, count, total, columns = set(), 0, 0, collections.defaultdict(list)
    digest = hashlib.blake2b(digest_size=8)
    # How many images are usable is known only at the end, and a contiguous dataset can't grow: so bytes go to an
    # unnamed file first, which vanishes with the process.
    with tempfile.TemporaryFile(dir=os.path.dirname(args.data) or ".") as raw:
        for images, values in chunks:
            digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
            new = np.array([args.images == "even" or digest not in seen and not seen.add(digest)
                            for digest in digests], bool)
            count, total = count + int(new.sum()), total + len(new)
            raw.write(images[new].tobytes())
            digest.update(images[new].tobytes())
            for column, value in values.items():
                columns[column].append(value[new])
        if not count:
            constant = "images" if name == "faces" else name
            raise ValueError(f"`{constant}` matches no usable image. Received: {constant}={getattr(args, constant)}, "
                             "whose files were all skipped")
        raw.seek(0)
        dataset = file.create_dataset(name, (count, *args.image_shape), "uint8")
        for start in range(0, count, CHUNK):
            rows = min(CHUNK, count - start)
            values = np.frombuffer(raw.read(rows * dataset[0].size), "uint8")
            dataset[start:start + rows] = values.reshape(rows, *args.image_shape)
    dataset.attrs["digest"] = np.bytes_(digest.hexdigest())
    for column, values in columns.items():
        file[column] = np.concatenate(values)
    return total - count


def _remove_parts(args):
    """Removes what was kept for another try, and the half-written files of processes that were killed."""
    for folder in glob.glob(f"{glob.escape(args.data)}.*.parts"):
        shutil.rmtree(folder)
    for path in glob.glob(f"{glob.escape(args.data)}.*.tmp"):
        try:
            os.kill(int(path.split(".")[-2]), 0)
        except (ValueError, ProcessLookupError):
            os.remove(path)
        except PermissionError:
            pass  # it lives


def make(args):
    """Makes the HDF5 file `data` from `images`. It appears whole or not at all; an old one stays until then.

    Returns:
        The path of the file, `args.data`.

    Raises:
        FileNotFoundError: where `images`, or `photos`, matches nothing.
        ValueError: where none of the files is a usable image, or a constant makes no sense.
    """
    if args.crop not in ("center", "squash"):
        raise ValueError(f"`crop` must be center or squash. Received: crop={args.crop}")
    if args.image_shape[2] not in (1, 3):
        raise ValueError(f"`image_shape` must be (rows, columns, channels) with 1 or 3 channels. "
                         f"Received: image_shape={args.image_shape}")
    if glob.has_magic(args.data):
        raise ValueError(f"`data` must be the name of one file to be made. Received: data={args.data}")
    if args.photos and args.image_shape[2] != 3:
        raise ValueError(f"`photos` need `image_shape` with 3 channels. Received: photos={args.photos}, "
                         f"image_shape={args.image_shape}")
    paths, photo_paths = find(args), find_files(args.photos)
    if not paths and args.images not in EMBEDDED:
        raise FileNotFoundError(f"`images` matches no file. Set it to a glob such as my-faces/*.jpg, to IDX files or "
                                f"to {', '.join(EMBEDDED)}. Received: images={args.images}, and no data={args.data}")
    if args.photos and not photo_paths:
        raise FileNotFoundError(f"`photos` matches no file. Set it to a glob such as my-photos/*.jpg. "
                                f"Received: photos={args.photos}, and no data={args.data}")
    source = EMBEDDED.get(args.images) or (_idx if is_idx(paths[0]) else _files)
    attributes = {name: getattr(args, name) for name in ("images", "crop", "dataset_size", "seed", "max_int")}
    attributes["images"] = printable(args.images)
    os.makedirs(os.path.dirname(args.data) or ".", exist_ok=True)
    with locked(f"{args.data}.lock"):
        temporary = f"{args.data}.{os.getpid()}.tmp"
        try:
            done = _fill(args, temporary, source(args, paths, attributes), photo_paths, attributes)
            os.replace(temporary, args.data)
            _remove_parts(args)
        except OSError as error:
            if error.errno:  # that the disk is full, HDF5 says in five lines
                raise OSError(error.errno, os.strerror(error.errno), error.filename or args.data) from None
            raise
        finally:  # what was read stays for the next try, where a stop or a full disk ended this one
            if os.path.exists(temporary):
                os.remove(temporary)
    print(done)
    return args.data


def _fill(args, path, chunks, photo_paths, attributes):
    """Writes the HDF5 file `path` of what a source yields, of the photos, and of `attributes`; returns what to say."""
    with h5py.File(path, "w") as file:
        attributes["duplicates"] = _write(file, "faces", chunks, args)
        faces = file["faces"]
        print(f"{len(faces)} images kept, {attributes['duplicates']} exact duplicates dropped, "
              f"{attributes.get('skipped', 0)} files skipped")
        if args.photos:
            attributes["photos"] = printable(args.photos)
            _write(file, "photos", ((images, {}) for images, _ in _files(args, photo_paths, {})), args)
            smoothed = file.create_dataset("smoothed", faces.shape, "uint8")
            for row in range(len(faces)):
                smoothed[row] = smooth_edges(faces[row])
            print(f"{len(file['photos'])} photos kept; {len(faces)} images smoothed along their edges")
        if label_names := attributes.pop("label_names", None):
            longest = max(len(name.encode()) for name in label_names)
            file.create_dataset("label_names", data=[name.encode() for name in label_names],
                                dtype=h5py.string_dtype("utf-8", longest))
        # Text of a fixed length: of what is said to be long in a damaged file, HDF5 would take all the memory.
        file.attrs.update({name: np.bytes_(value.encode()) if isinstance(value, str) else value
                           for name, value in attributes.items()})
        return f"{args.data}: {len(faces)} images of {'x'.join(map(str, args.image_shape))}"


# ---- HDF5 -> batches

def _no_faces(args, error):
    return ValueError(f"`data` must be an HDF5 file with a dataset named faces. Make it anew with: python data.py. "
                      f"Received: data={args.data} ({error})")


@contextlib.contextmanager
def _read(args, path):
    """Opens an HDF5 of `data` to be read; whatever HDF5 makes of a broken one is a ValueError."""
    try:
        open(path, "rb").close()  # where that may not be, HDF5 says so in other words
        with h5py.File(path, "r") as file:
            yield file
    except PermissionError:
        raise
    except Exception as error:
        raise _no_faces(args, f"{path}: {error}") from None


def files(args):
    """Returns the HDF5 files that `data` names: the one, or those that match it as a glob, sorted; none where none is.
    """
    return [args.data] if os.path.exists(args.data) else sorted(glob.glob(args.data))


def attributes(args):
    """Returns what `data`, its first file, says of its origin: {"images", "seed", ...}, empty for a file not ours.

    Raises:
        ValueError: where the file is no HDF5.
    """
    with _read(args, files(args)[0]) as file:
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in file.attrs.items()}


def fingerprint(args):
    """Returns what tells the images of `data` from others, and in another order: 16 hexadecimal digits.

    The digest that `make` noted in the file is trusted: who writes other images into it, must remove it.
    """
    open_faces(args)
    digest = hashlib.blake2b(digest_size=8)
    for path in files(args):
        with _read(args, path) as file:
            for dataset in (file[name] for name in ("faces", "photos", "labels") if name in file):
                noted = dataset.attrs.get("digest", b"")  # by `make`; what others wrote is read
                for start in range(0, 0 if noted else len(dataset), CHUNK):
                    digest.update(dataset[start:start + CHUNK].tobytes())
                digest.update(bytes(noted))
    return digest.hexdigest()


class Images:
    """Images of one HDF5 file, or of several, that read as one array: `images[rows]`, rows a slice or numbers.

    What is asked for is read, and no more: of a memory map, or through h5py, pages would pile up with the dataset.

    Args:
        parts: a tuple for each file: its path, where its images begin, in bytes, and their shape and dtype.
        count: how many to show of all, None = all.
    """

    def __init__(self, parts, count=None):
        self.files = [(open(path, "rb", buffering=0), offset) for path, offset, *_ in parts]
        self.starts = np.cumsum([0, *(shape[0] for *_, shape, _ in parts)])
        *_, shape, self.dtype = parts[0]
        self.shape = self.starts[-1] if count is None else count, *shape[1:]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        rows = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        images = np.empty([rows.size, *self.shape[1:]], self.dtype)
        shards = np.searchsorted(self.starts, rows, "right") - 1
        for image, row, shard in zip(images, (rows - self.starts[shards]).flat, shards.flat):
            file, offset = self.files[shard]
            file.seek(offset + int(row) * image.nbytes)
            file.readinto(image)
        return images.reshape(*rows.shape, *self.shape[1:])


def open_faces(args, name="faces"):
    """Opens the images of `data`: uint8 [count, *image_shape], or float32 in [-1, 1] as the original project wrote.

    Args:
        name: of the dataset: "faces", or, where `photos` is set, "photos" or "smoothed".

    Raises:
        FileNotFoundError, ValueError: where the file isn't there, is no such HDF5, or its images don't fit `args`.
    """
    if not files(args):
        raise FileNotFoundError(f"`data` is not there. Make it anew with: python data.py. Received: data={args.data}")
    parts = [_place(args, path, name) for path in files(args)]
    if len({dtype for *_, dtype in parts}) > 1:
        raise ValueError(f"`data` must hold images of one kind. Received: data={args.data}, of uint8 and float32")
    total = sum(shape[0] for *_, shape, _ in parts)
    count = min(total, args.dataset_size or total)
    if len(split(args, count)[0]) < args.batch_size:
        raise ValueError(f"`batch_size` must be at most the number of images that are not held out. Lower it, or find "
                         f"more images. Received: batch_size={args.batch_size}, held_out={args.held_out}, "
                         f"dataset_size={args.dataset_size}, data={args.data} with {total} images")
    if name == "photos" and not len(split(args, count)[1]):
        raise ValueError(f"`held_out` must leave photos that training never sees, for the samples. Raise it, or find "
                         f"more photos. Received: held_out={args.held_out}, data={args.data} with {total} photos")
    return Images(parts, count)


def _place(args, path, name):
    """Returns where in a file its images are: the path, their offset in bytes, shape and dtype."""
    with _read(args, path) as file:
        faces = file[name] if name == "faces" or name in file else None
        if faces is not None:
            shape, dtype, offset = faces.shape, faces.dtype, faces.id.get_offset()
    if faces is None:
        raise ValueError(f"`data` was made without photos. Make it anew with python data.py, or name another "
                         f"`data`. Received: photos={args.photos}, data={path}")
    if shape[1:] != args.image_shape:
        raise ValueError(f"`image_shape` must be that of the images in `data`. Set it to {shape[1:]}, or make the "
                         f"file anew with python data.py. Received: image_shape={args.image_shape}, "
                         f"data={path} with faces {shape}")
    if dtype not in ("uint8", "float32") or offset is None:
        raise ValueError(f"`data` must hold faces as uint8 or float32, contiguous and uncompressed. Make it anew with: "
                         f"python data.py. Received: data={path} with {dtype} faces"
                         f"{', chunked' if offset is None else ''}")
    if offset + dtype.itemsize * math.prod(shape) > os.path.getsize(path):
        raise _no_faces(args, f"{path} ends before its images do")
    return path, offset, shape, dtype


def open_labels(args):
    """Reads the labels of `data`, int32 [count], and their names.

    Raises:
        ValueError: where a file has no labels, or but one, or not those of the others.
    """
    found = [_labels(args, path) for path in files(args)]
    names = found[0][1]
    if any(other != names for _, other in found):
        raise ValueError(f"`data` must hold images of the same labels in each of its files. Received: data={args.data}")
    return np.concatenate([labels for labels, _ in found]), names


def _labels(args, path):
    with _read(args, path) as file:
        names = file["label_names"].asstr()[:LABELS].tolist() if "label_names" in file else []
        count = len(file["faces"])
        labels = np.int32(file["labels"][:count + 1]) if "labels" in file else None
    if not all(map(is_folder_name, names)):
        raise ValueError(f"The names of the labels in `data` must be names of folders, as their images will lie in "
                         f"them. Received: data={path} with {names}")
    if len(names) < 2 or labels is None:
        raise ValueError(f"`conditional` and features=classifier need images with labels: in several folders, "
                         f"whose names they are, or IDX files. Received: conditional={args.conditional}, "
                         f"features={args.features}, data={path} without labels")
    if labels.shape != (count,) or not 0 <= labels.min() <= labels.max() < len(names):
        raise ValueError(f"`data` must hold a label below {len(names)} for each of its images. Make it anew with: "
                         f"python data.py. Received: data={path} with {labels.size} labels up to {labels.max()} for "
                         f"{count} images")
    return labels, names


def split(args, count):
    """Returns the rows, sorted, of the images that training sees, and of those held out, the same for any `seed`."""
    order = np.random.default_rng(count).permutation(count)
    held_out = round(args.held_out * count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def classes(args):
    """Returns the classes of the images of `data`, int [count, factors]: the factors of toy faces, else the labels.

    Raises:
        ValueError: where it has no labels.
    """
    factors = []
    for path in files(args):
        with _read(args, path) as file:
            if "factors" in file and len(file["factors"]) == len(file["faces"]):
                factors.append(np.int64(file["factors"][:]))
    return np.concatenate(factors) if len(factors) == len(files(args)) else np.int64(open_labels(args)[0][:, None])


def _order(args, count, start, *salt):
    """Yields for each batch from `start` on, for ever: the rows of its images, and which of them are mirrored."""
    seen, _ = split(args, count)
    batches_per_pass = len(seen) // args.batch_size
    order_of, order = None, None
    for batch in itertools.count(start):
        number, index = divmod(batch, batches_per_pass)
        if number != order_of:
            order_of, order = number, np.random.default_rng([args.seed, number, *salt]).permutation(seen)
        rows = np.sort(order[index * args.batch_size:(index + 1) * args.batch_size])  # sorted: the disk likes it
        yield rows, np.random.default_rng([args.seed, number, index, *salt]).random(len(rows)) < 0.5 * args.flip


def _take(faces, rows, mirrored):
    images = faces[rows]
    images[mirrored] = images[mirrored, :, ::-1]
    return normalize(images) if images.dtype == np.uint8 else images


def batches(args, start=0, labels=False, shares=1, mine=(0,)):
    """Yields batches of images, float32 [batch_size, *image_shape] in [-1, 1], for ever, from batch `start` on.

    Where several devices learn a batch together, it is cut into equal `shares`, and those of `mine` are read alone.

    Where `photos` is set, it yields (images, photos, the same images smoothed).

    Each pass over the images has an order of its own, drawn from (seed, pass); what is left behind the last full
    batch of a pass is left out, by chance other images each time. Where `labels`, it yields (images, labels), the
    latter int32 [batch_size].
    """
    faces = open_faces(args)
    label_of = open_labels(args)[0] if labels else None
    cuts = [slice(share * args.batch_size // shares, (share + 1) * args.batch_size // shares) for share in mine]

    def order(count, *salt):
        return ((rows[cut], mirrored[cut]) for rows, mirrored in _order(args, count, start, *salt) for cut in cuts)

    if args.photos:
        photos, smoothed = open_faces(args, "photos"), open_faces(args, "smoothed")
        for (rows, mirrored), (others, turned) in zip(order(len(faces)), order(len(photos), 1, 1, 1)):
            yield _take(faces, rows, mirrored), _take(photos, others, turned), _take(smoothed, rows, mirrored)
    for rows, mirrored in order(len(faces)):
        images = _take(faces, rows, mirrored)
        yield (images, label_of[rows]) if labels else images


def photos(args, count):
    """Returns the first `count` photos of `data` that training never sees, or all of them, float32 in [-1, 1]."""
    faces = open_faces(args, "photos")
    return normalize(faces[split(args, len(faces))[1][:count]])


def reproduced(args):
    """Returns a batch of what G learns to reproduce while it is pretrained: images, or, where there are any, photos."""
    batch = next(batches(args))
    return batch[1] if args.photos else batch


def load(args, start=0, shares=1, mine=(0,)):
    """Returns an endless tf.data pipeline of `batches`, with labels where `conditional`; it reads ahead.

    Raises:
        ValueError: where `batch_size` can't be cut into `shares`.
    """
    import tensorflow as tf
    open_faces(args)  # so that what is wrong with the file is said here, not from inside TensorFlow
    if args.batch_size % shares:
        raise ValueError(f"`batch_size` must be a multiple of {shares}, the number of devices that learn a batch "
                         f"together. Received: batch_size={args.batch_size}")
    count = args.batch_size // shares
    signature = tf.TensorSpec((count, *args.image_shape), "float32")
    if args.conditional:
        open_labels(args)
        signature = signature, tf.TensorSpec((count,), "int32")
    if args.photos:
        open_faces(args, "photos")
        signature = signature, signature, signature
    generator = functools.partial(batches, args, start, args.conditional, shares, mine)
    options = tf.data.Options()
    options.autotune.enabled = False  # nothing here needs it, and its thread can hold up the end for half a minute
    return tf.data.Dataset.from_generator(generator, output_signature=signature).prefetch(2).with_options(options)


def as_script(main, *errors):
    """Runs `main` on the words of the command line: Ctrl-C, and what a user can mend, end it with a line."""
    import args as constants
    script = os.path.basename(sys.argv[0])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # gan.py has none while it imports TensorFlow
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no UTF-8
    try:
        main(constants.parse(sys.argv[1:]))
    except (ValueError, OSError, *errors) as error:
        sys.exit(f"\n{script}: {error}")  # below a line of progress
    except KeyboardInterrupt:
        sys.exit(f"\n{script}: stopped at once by Ctrl-C. The same command goes on from what is there.")


def main(args):
    make(args)


if __name__ == "__main__":
    as_script(main)
