"""Bytes: any set of images -> one HDF5 file; bytes <-> [-1, 1]; images -> PNG.

`python data.py [Preset] [constant=value ...]` reads `images` and writes `data`. Which files those are stands in
args.py. The file holds

    faces     uint8 [count, rows, columns, channels], contiguous and uncompressed, in an order drawn by `seed`
    labels    where the images lie in several folders: uint16 [count], an index into label_names, strings
    factors   of toy faces: uint8 [count, 4], see models/toyfaces.py
"""
import collections
import concurrent.futures
import contextlib
import functools
import glob
import gzip
import hashlib
import itertools
import multiprocessing
import os
import stat
import sys
import tempfile
import time
import warnings
import zlib

import h5py
import numpy as np
from PIL import Image, ImageOps

from models import toyfaces

CHUNK = 256           # images a worker decodes at a time: 3 MB at 64x64
IDX_MAGIC = 0x00000803, 0x00000801  # the magic numbers of IDX images and labels of bytes [MNIST]


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


# ---- one file -> one image

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


def read_image(path, image_shape, crop="center"):
    """Reads an image file of any kind that Pillow knows as uint8 [*image_shape].

    Raises:
        OSError, ValueError, ...: what Pillow raises on a broken, truncated, huge or unknown file.
    """
    rows, columns, channels = image_shape
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError("not a regular file")
        with Image.open(path) as image:
            image.draft(None, (2 * columns, 2 * rows))  # large JPEGs are decoded at a fraction of their size
            image = _to_bytes(ImageOps.exif_transpose(image), channels)
    return _fit(image, image_shape, crop)


def read_chunk(paths, image_shape, crop):
    """Reads some files: returns (images [count, *image_shape], the paths that were read, {path: why it was not})."""
    images, read, skipped = [], [], {}
    for path in paths:
        try:
            images.append(read_image(path, image_shape, crop))
            read.append(path)
        except Image.UnidentifiedImageError:
            skipped[path] = "not an image"
        except Exception as error:  # whatever a decoder makes of a broken file, the other images are still good
            skipped[path] = f"{type(error).__name__}: {error}"
    return np.array(images, "uint8").reshape(-1, *image_shape), read, skipped


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


def in_parallel(function, tasks):
    """Yields function(*task) of every task, in order, from as many processes as there are cores."""
    tasks = collections.deque(tasks)
    workers = min(os.cpu_count() or 1, len(tasks))
    if workers < 2:
        yield from (function(*task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process in which TensorFlow runs may hang
    with _alone(function), concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = collections.deque()
        while tasks or running:
            while tasks and len(running) < 3 * workers:  # bounded: results must not pile up
                running.append(pool.submit(function, *tasks.popleft()))
            yield running.popleft().result()


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


def _files(args, paths, attributes):
    """Reads image files; the name of an image's folder is its label where there are several folders."""
    folders = sorted({os.path.basename(os.path.dirname(path)) for path in paths})
    paths = [paths[index] for index in _shuffled(len(paths), args)]
    skipped = 0
    progress = _Progress(len(paths))
    tasks = [(paths[i:i + CHUNK], args.image_shape, args.crop) for i in range(0, len(paths), CHUNK)]
    for images, read, bad in in_parallel(read_chunk, tasks):
        for path, why in bad.items():
            print(f"\rskipped {path}: {why}".ljust(50))  # over the line of the progress
        skipped += len(bad)
        progress.add(len(read) + len(bad))
        labels = [folders.index(os.path.basename(os.path.dirname(path))) for path in read]
        yield images, {"labels": np.uint16(labels)} if len(folders) > 1 else {}
    attributes["skipped"] = skipped
    if len(folders) > 1:
        attributes["label_names"] = folders


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


def _idx(args, paths, attributes):
    """Reads IDX files of images; labels come from the file of the same name with labels-idx1 for images-idx3."""
    classes = {}
    for path in paths:
        images = _read_idx(path)
        if images.ndim != 3:
            raise ValueError(f"`images` must name IDX files of images. Received: {path} of shape {images.shape}")
        labels_path = path.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
        labels = _read_idx(labels_path) if labels_path != path and os.path.exists(labels_path) else None
        if labels is not None and labels.shape != images.shape[:1]:
            raise ValueError(f"{labels_path} must hold a label for each of {len(images)} images. "
                             f"Received: shape {labels.shape}")
        order = _shuffled(len(images), args)
        progress = _Progress(len(order))
        for start in range(0, len(order), CHUNK):
            rows = order[start:start + CHUNK]
            chosen = [_to_bytes(Image.fromarray(image), args.image_shape[2]) for image in images[rows]]
            yield (np.stack([_fit(image, args.image_shape, args.crop) for image in chosen]),
                   {} if labels is None else {"labels": np.uint16(labels[rows])})
            progress.add(len(rows))
        classes[path] = 0 if labels is None else int(labels.max()) + 1
    if any(classes.values()) and not all(classes.values()):
        without = next(path for path, count in classes.items() if not count)
        raise ValueError(f"All of the IDX files must have labels, or none. Received: {without} without")
    if any(classes.values()):
        attributes["label_names"] = [str(label) for label in range(max(classes.values()))]


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


def is_idx(path):
    """Tells IDX files by their name: train-images-idx3-ubyte, with or without .gz."""
    name = os.path.basename(path)
    return any(ending in name for ending in ("idx3-ubyte", "idx3.ubyte", "idx1-ubyte"))


EMBEDDED = {"toyfaces": _toyfaces}  # datasets that need no files: `images` names them


def find(args):
    """Returns the sorted paths of the files that `images` names: empty for an embedded dataset, or if none match."""
    if args.images in EMBEDDED:
        return []
    return sorted(path for path in glob.glob(args.images, recursive=True) if not os.path.isdir(path))


# ---- images -> HDF5

def make(args):
    """Makes the HDF5 file `data` from `images`. It appears whole or not at all; an old one stays until then.

    Returns:
        The path of the file, `args.data`.

    Raises:
        FileNotFoundError: where `images` matches nothing.
        ValueError: where none of the files is a usable image, or a constant makes no sense.
    """
    if args.crop not in ("center", "squash"):
        raise ValueError(f"`crop` must be center or squash. Received: crop={args.crop}")
    if args.image_shape[2] not in (1, 3):
        raise ValueError(f"`image_shape` must be (rows, columns, channels) with 1 or 3 channels. "
                         f"Received: image_shape={args.image_shape}")
    paths = find(args)
    if not paths and args.images not in EMBEDDED:
        raise FileNotFoundError(f"`images` matches no file. Set it to a glob such as my-faces/*.jpg, to IDX files or "
                                f"to {', '.join(EMBEDDED)}. Received: images={args.images}, and no data={args.data}")
    source = EMBEDDED.get(args.images) or (_idx if is_idx(paths[0]) else _files)
    attributes = {"images": args.images, "crop": args.crop, "dataset_size": args.dataset_size, "seed": args.seed}
    os.makedirs(os.path.dirname(args.data) or ".", exist_ok=True)
    temporary = f"{args.data}.{os.getpid()}.tmp"
    try:
        # How many images are usable is known only at the end, and a contiguous dataset can't grow: so bytes go
        # to an unnamed file first, which vanishes with the process.
        with tempfile.TemporaryFile(dir=os.path.dirname(args.data) or ".") as raw:
            seen, duplicates, columns = set(), 0, collections.defaultdict(list)
            for images, values in source(args, paths, attributes):
                digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
                new = np.array([digest not in seen and not seen.add(digest) for digest in digests], bool)
                duplicates += len(new) - new.sum()
                raw.write(images[new].tobytes())
                for name, value in values.items():
                    columns[name].append(value[new])
            count = len(seen)
            attributes["duplicates"] = duplicates
            print(f"{count} images kept, {duplicates} exact duplicates dropped, "
                  f"{attributes.get('skipped', 0)} files skipped")
            if not count:
                raise ValueError(f"`images` matches no usable image. Received: images={args.images}, "
                                 f"{len(paths)} files, all skipped")
            raw.seek(0)
            with h5py.File(temporary, "w") as file:
                faces = file.create_dataset("faces", (count, *args.image_shape), "uint8")
                for start in range(0, count, CHUNK):
                    rows = min(CHUNK, count - start)
                    values = np.frombuffer(raw.read(rows * faces[0].size), "uint8")
                    faces[start:start + rows] = values.reshape(rows, *args.image_shape)
                for name, values in columns.items():
                    file[name] = np.concatenate(values)
                if label_names := attributes.pop("label_names", None):
                    file["label_names"] = label_names  # a dataset: attributes end at 64 KiB
                file.attrs.update(attributes)
        os.replace(temporary, args.data)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    print(f"{args.data}: {count} images of {'x'.join(map(str, args.image_shape))}")
    return args.data


# ---- HDF5 -> batches

def _no_faces(args, error):
    return ValueError(f"`data` must be an HDF5 file with a dataset named faces. Make it anew with: python data.py. "
                      f"Received: data={args.data} ({error})")


def attributes(args):
    """Returns what `data` says of its origin: {"images", "dataset_size", "seed", ...}, empty for a file not ours.

    Raises:
        ValueError: where the file is no HDF5.
    """
    try:
        with h5py.File(args.data, "r") as file:
            return dict(file.attrs)
    except OSError as error:
        raise _no_faces(args, error) from None


def open_faces(args):
    """Opens the images of `data` as a memory map: uint8 [count, *image_shape], or float32 in [-1, 1] as the original
    project wrote them.

    Raises:
        FileNotFoundError, ValueError: where the file isn't there, is no such HDF5, or its images don't fit `args`.
    """
    remedy = "Make it anew with: python data.py"
    if not os.path.exists(args.data):
        raise FileNotFoundError(f"`data` is not there. {remedy}. Received: data={args.data}")
    try:
        with h5py.File(args.data, "r") as file:
            faces = file["faces"]
            shape, dtype, offset = faces.shape, faces.dtype, faces.id.get_offset()
    except (OSError, KeyError) as error:
        raise _no_faces(args, error) from None
    if shape[1:] != args.image_shape:
        raise ValueError(f"`image_shape` must be that of the images in `data`. Set it to {shape[1:]}, or make the "
                         f"file anew with python data.py. Received: image_shape={args.image_shape}, "
                         f"data={args.data} with faces {shape}")
    count = min(shape[0], args.dataset_size or shape[0])
    if len(split(args, count)[0]) < args.batch_size:
        raise ValueError(f"`batch_size` must be at most the number of images that are not held out. Lower it, or find "
                         f"more images. Received: batch_size={args.batch_size}, held_out={args.held_out}, "
                         f"dataset_size={args.dataset_size}, data={args.data} with {shape[0]} images")
    if dtype not in ("uint8", "float32") or offset is None:
        raise ValueError(f"`data` must hold faces as uint8 or float32, contiguous and uncompressed. {remedy}. "
                         f"Received: data={args.data} with {dtype} faces{', chunked' if offset is None else ''}")
    return np.memmap(args.data, dtype, "r", offset, shape)[:count]


def open_labels(args):
    """Reads the labels of `data`, int32 [count], and their names.

    Raises:
        ValueError: where the file has no labels, or but one.
    """
    with h5py.File(args.data, "r") as file:
        names = [name.decode() for name in file["label_names"]] if "label_names" in file else []
        if len(names) < 2 or "labels" not in file:
            raise ValueError(f"`conditional` and features=classifier need images with labels: in several folders, "
                             f"whose names they are, or IDX files. Received: conditional={args.conditional}, "
                             f"features={args.features}, data={args.data} without labels")
        labels = np.int32(file["labels"])
        if len(labels) != len(file["faces"]) or labels.max() >= len(names):
            raise ValueError(f"`data` must hold a label below {len(names)} for each of its images. Make it anew with: "
                             f"python data.py. Received: data={args.data} with {len(labels)} labels up to "
                             f"{labels.max()} for {len(file['faces'])} images")
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
    with h5py.File(args.data, "r") as file:
        if "factors" in file:
            return np.int64(file["factors"])
    return np.int64(open_labels(args)[0][:, None])


def batches(args, start=0, labels=False):
    """Yields batches of images, float32 [batch_size, *image_shape] in [-1, 1], for ever, from batch `start` on.

    Each pass over the images has an order of its own, drawn from (seed, pass); what is left behind the last full
    batch of a pass is left out, by chance other images each time. Where `labels`, it yields (images, labels), the
    latter int32 [batch_size].
    """
    faces = open_faces(args)
    label_of = open_labels(args)[0] if labels else None
    seen, _ = split(args, len(faces))
    batches_per_pass = len(seen) // args.batch_size
    order_of, order = None, None
    for batch in itertools.count(start):
        number, index = divmod(batch, batches_per_pass)
        if number != order_of:
            order_of, order = number, np.random.default_rng([args.seed, number]).permutation(seen)
        rows = np.sort(order[index * args.batch_size:(index + 1) * args.batch_size])  # sorted: the disk likes it
        images = faces[rows]
        if args.flip:
            mirrored = np.random.default_rng([args.seed, number, index]).random(len(rows)) < 0.5
            images[mirrored] = images[mirrored, :, ::-1]
        images = normalize(images) if images.dtype == np.uint8 else images
        yield (images, label_of[rows]) if labels else images


def load(args, start=0):
    """Returns an endless tf.data pipeline of `batches`, with labels where `conditional`; it reads ahead."""
    import tensorflow as tf
    open_faces(args)  # so that what is wrong with the file is said here, not from inside TensorFlow
    signature = tf.TensorSpec((args.batch_size, *args.image_shape), "float32")
    if args.conditional:
        open_labels(args)
        signature = signature, tf.TensorSpec((args.batch_size,), "int32")
    generator = functools.partial(batches, args, start, args.conditional)
    return tf.data.Dataset.from_generator(generator, output_signature=signature).prefetch(2)


def main(args):
    make(args)


if __name__ == "__main__":
    import args as constants
    try:
        main(constants.parse(sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(f"data.py: {error}")
