"""Converts images to one HDF5 file, and reads training batches from it.

`python data.py [preset] [constant=value ...]` reads the images that `images` names and writes the
file `data`:

    faces        uint8 [count, rows, columns, channels]. Those read from files or MNIST are shuffled
                 with `seed`; those made by code (toyfaces, toyscenes, even) are in the order made
    labels       uint16 [count], an index into label_names: the folder of an image file, the digit
                 or label of an IDX file, the hair color of a toy face; absent without labels
    label_names  text [labels]
    factors      uint8 [count, 4], of toy faces only: see models/toys/faces.py
    photos       uint8 [count, rows, columns, 3], if `photos` is set: the inputs of the generator
    smoothed     uint8, if `photos` is set: the faces with blurred edges, which the discriminator
                 learns to classify as fake [Chen 2018 s3.2.1]
    truths       uint8 [count of photos, rows, columns, 3], of toy scenes only: the true drawings of
                 the photos, row by row. They are for evaluation; batches never hold them

`images=toyscenes photos=toyscenes` makes an unpaired dataset of scenes painted by code, see
models/toys/scenes.py: with n = `dataset_size`, or 2000 if that is 0, the faces are the drawings of
scenes 0 to n - 1, and the photos are those of other scenes, n to 2n - 1.

From top to bottom: conversion, PNG, one image file, finding files, sources of images,
images -> HDF5, HDF5 -> images, batches, fixed images, photos to translate, main.
"""
import bisect
import collections
import concurrent.futures
import contextlib
import errno
import functools
import glob
import gzip
import hashlib
import itertools
import math
import os
import shutil
import stat
import time
import typing
import warnings
import zlib

import h5py
import numpy as np
from PIL import Image, ImageFilter, ImageOps

from models.toys import faces, numbers, scenes

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # see `_open`

CHUNK = 8                     # images that a thread reads at a time, for which Ctrl-C waits [guess]
MAX_LABELS = 2 ** 16          # labels are uint16
IDX_IMAGES = 0x00000803       # the first four bytes of an IDX file of uint8 images [MNIST]
IDX_LABELS = 0x00000801       # the first four bytes of an IDX file of uint8 labels [MNIST]
IN_MEMORY = 2 ** 24           # bytes: datasets up to this size are kept in memory [guess]
OVERHEAD = 100                # bytes of the HDF5 file per image, beside its pixels [measured]
PHOTO_STREAM = (1, 1, 1)      # appended to the seeds of the photos' order, so that none of them
#                               is a seed of the images' order
MIN_TRANSLATED = 16           # pixels per side: the networks pad a photo by reflection


# ---- conversion: bytes <-> [-1, 1]

def normalize(images):
    """Converts uint8 images to float32 in [-1, 1], the range of tanh [ganhacks 1]."""
    return np.asarray(images, "float32") / np.float32(127.5) - np.float32(1)


def denormalize(images):
    """Converts images in [-1, 1] to uint8, the exact inverse of `normalize`. Clips the values."""
    pixels = np.rint((np.asarray(images, "float32") + 1) * 127.5)
    return np.uint8(np.clip(pixels, 0, 255))


def _as_floats(images):
    """Returns images of an HDF5 file as float32 in [-1, 1]: the original project stored floats."""
    return normalize(images) if images.dtype == np.uint8 else images


# ---- PNG

def save_png(image, path):
    """Writes a PNG file, completely or not at all.

    Args:
        image: uint8 [rows, columns, channels], with 1 or 3 channels.
        path: of the file, which is replaced if it exists.
    """
    if image.shape[-1] == 1:
        image = image[..., 0]
    Image.fromarray(image).save(f"{path}.tmp", format="png")
    os.replace(f"{path}.tmp", path)


def grid(images, columns):
    """Places images side by side. Unused cells of the last row are white.

    Args:
        images: [count, rows, columns, channels], uint8 or floats in [-1, 1].
        columns: number of images per row.

    Returns:
        One image, uint8 [rows, columns, channels].
    """
    if images.dtype != np.uint8:
        images = denormalize(images)
    unused = np.full((-len(images) % columns, *images.shape[1:]), 255, "uint8")
    images = np.concatenate([images, unused])
    count, height, width, channels = images.shape
    rows = count // columns
    cells = images.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return cells.reshape(rows * height, columns * width, channels)


def save_grid(images, path, columns):
    """Writes the `grid` of images as a PNG file, which is replaced if it exists."""
    save_png(grid(images, columns), path)


# ---- one image file

def _to_bytes(image, channels):
    """Converts any Pillow image to 8-bit RGB or gray. Transparent pixels become white."""
    if image.mode.startswith("I"):  # 16-bit gray: Pillow's own conversion would clip it at 255
        pixels = np.asarray(image, "int64").clip(0, 65535) // 257
        image = Image.fromarray(np.uint8(pixels))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB" if channels == 3 else "L")


def _fit(image, image_shape, crop):
    """Crops ("center") or squashes a Pillow image to uint8 [rows, columns, channels]."""
    rows, columns, _ = image_shape
    if crop == "center":
        image = ImageOps.fit(image, (columns, rows), Image.Resampling.LANCZOS)
    else:
        image = image.resize((columns, rows), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(image_shape)


def _open(path, channels, least_size=None):
    """Opens an image file as an 8-bit Pillow image, rotated as its EXIF orientation says.

    Args:
        path: of the file.
        channels: 1 or 3.
        least_size: (width, height). A JPEG file may be decoded at a fraction of its size, but not
            below this.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("not a regular file")  # reading a pipe would wait forever
    with Image.open(path) as image:
        if image.width * image.height > Image.MAX_IMAGE_PIXELS:  # Pillow itself only warns
            raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
        if least_size:
            image.draft(None, least_size)
        return _to_bytes(ImageOps.exif_transpose(image), channels)


def read_image(path, image_shape, crop="center"):
    """Reads an image file of any format that Pillow knows.

    Args:
        path: of the file.
        image_shape: (rows, columns, channels) of the result.
        crop: "center" crops the image to the aspect ratio of `image_shape`; "squash" resizes all
            of it.

    Returns:
        uint8 [rows, columns, channels].

    Raises:
        OSError, ValueError, ...: whatever Pillow raises for a corrupt or unknown file.
    """
    rows, columns, channels = image_shape
    image = _open(path, channels, least_size=(2 * columns, 2 * rows))
    return _fit(image, image_shape, crop)


def read_whole(path):
    """Reads an image file at its own size as uint8 [rows, columns, 3]. Raises like `read_image`."""
    return np.asarray(_open(path, 3))


def smooth_edges(image):
    """Blurs an image along its edges only [Chen 2018 s3.2.1].

    Edges are the pixels whose Sobel gradient is among the highest tenth (and above the noise of a
    JPEG file). They are dilated to 5x5 pixels, and a Gaussian blur with a deviation of 2 is applied
    there. The paper uses the Canny edge detector and does not give these two sizes.

    Args:
        image: uint8 [rows, columns, 3].

    Returns:
        uint8 [rows, columns, 3].
    """
    original = Image.fromarray(image)
    gray = np.float32(original.convert("L"))
    padded = np.pad(gray, 1, mode="edge")
    vertical_sums = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    horizontal_sums = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    slope_down = horizontal_sums[2:] - horizontal_sums[:-2]
    slope_right = vertical_sums[:, 2:] - vertical_sums[:, :-2]
    slope = np.hypot(slope_down, slope_right)
    threshold = max(np.quantile(slope, 0.9), 64)  # 64: a step of 16 gray levels, above JPEG noise
    edges = Image.fromarray(np.uint8(255 * (slope > threshold)))
    mask = edges.filter(ImageFilter.MaxFilter(5))
    blurred = original.filter(ImageFilter.GaussianBlur(2))
    return np.asarray(Image.composite(blurred, original, mask))


# ---- finding files

def is_folder_name(name):
    """Returns whether `name` names a single folder, rather than a path that leads elsewhere."""
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    return os.path.basename(name) == name


def find_files(pattern):
    """Returns the sorted paths of the files that match a glob, in which `**` means any folders."""
    paths = set(glob.glob(pattern, recursive=True))  # glob repeats some where there are two `**`
    return sorted(path for path in paths if not os.path.isdir(path))


# ---- sources of images

class Chunk(typing.NamedTuple):
    """Some images of a source, and what is known about them."""
    images: np.ndarray           # uint8 [count, rows, columns, channels]
    labels: np.ndarray = None    # uint16 [count], if the source has labels
    factors: np.ndarray = None   # uint8 [count, 4], of toy faces
    truths: np.ndarray = None    # uint8, as images: true drawings of photos of toy scenes
    skipped: dict = {}           # {path: reason} of the files that could not be read


class Source(typing.NamedTuple):
    """The images that go into the HDF5 file."""
    count: int                   # number of images, of which some may turn out to be unusable
    label_names: list            # [] if the source has no labels
    chunks: typing.Generator     # of Chunk


def in_order(function, items):
    """Yields function(item) for each item, in order, computed by one thread per core.

    Decoding releases Python's global lock: two threads read 1.4 times as many images a second as
    one [measured: tests/bench_data.py].
    """
    threads = os.cpu_count() or 1
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    pending = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) == 3 * threads:  # bounded, so that results do not fill the memory
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # after Ctrl-C, or an error of whoever takes the results, nothing more is begun
        pool.shutdown(cancel_futures=True)


def _shuffled(count, args):
    """Returns the order in which `count` images are taken, so that any slice is a fair sample."""
    order = np.random.default_rng(args.seed).permutation(count)
    return order[:args.dataset_size] if args.dataset_size else order


def _slices(order):
    """Yields `order`, an array, CHUNK elements at a time."""
    for start in range(0, len(order), CHUNK):
        yield order[start:start + CHUNK]


def read_files(args, paths):
    """Returns a Source of image files. The label of an image is the name of its folder.

    Files that Pillow cannot read are skipped.
    """
    folders = [os.path.basename(os.path.dirname(os.path.abspath(path))) for path in paths]
    label_names = sorted(set(folders))
    has_labels = 1 < len(label_names) <= MAX_LABELS
    label_of = {name: label for label, name in enumerate(label_names)}

    def read(rows):
        images, labels, skipped = [], [], {}
        for row in rows:
            try:
                images.append(read_image(paths[row], args.image_shape, args.crop))
            except Image.UnidentifiedImageError:
                skipped[paths[row]] = "not an image"
            except Exception as error:  # decoders raise all kinds of errors for corrupt files
                skipped[paths[row]] = f"{type(error).__name__}: {error}"
            else:
                labels.append(label_of[folders[row]])
        images = np.array(images, "uint8").reshape(-1, *args.image_shape)
        return Chunk(images, np.uint16(labels) if has_labels else None, skipped=skipped)

    Image.init()  # loads Pillow's plugins here: loading them in several threads at once is a race
    order = _shuffled(len(paths), args)
    return Source(len(order), label_names if has_labels else [], in_order(read, _slices(order)))


def _is_idx(path):
    """Returns whether a file name is that of an IDX file, such as train-images-idx3-ubyte.gz."""
    name = os.path.basename(path)
    return "idx3-ubyte" in name or "idx3.ubyte" in name or "idx1-ubyte" in name


def _read_idx(path):
    """Reads an IDX file of bytes, plain or .gz.

    Returns:
        uint8 [count, rows, columns] for images, uint8 [count] for labels.
    """
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            content = file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    magic = int.from_bytes(content[:4], "big")
    axes = {IDX_IMAGES: 3, IDX_LABELS: 1}.get(magic, 0)
    header = 4 + 4 * axes
    sizes = [int.from_bytes(content[start:start + 4], "big") for start in range(4, header, 4)]
    values = np.frombuffer(content[header:], "uint8")
    if not axes or 0 in sizes or values.size != math.prod(sizes):
        raise ValueError(f"{path} is not a complete IDX file of bytes. Received: magic number "
                         f"{magic:#010x}, shape {tuple(sizes)}, {values.size} bytes")
    return values.reshape(sizes)


def _read_idx_labels(path, count):
    """Reads the labels that belong to an IDX file of `count` images, from the file beside it.

    Returns:
        uint8 [count], or None if there is no such file.
    """
    labels_path = path.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
    if labels_path == path or not os.path.exists(labels_path):
        return None
    labels = _read_idx(labels_path)
    if labels.shape != (count,):
        raise ValueError(f"{labels_path} must hold one label for each of {count} images. "
                         f"Received: shape {labels.shape}")
    return labels


def read_idx_files(args, paths):
    """Returns a Source of IDX files, with labels if a file labels-idx1 lies beside images-idx3."""
    images, labels, without_labels = [], [], []
    for path in paths:
        part = _read_idx(path)
        if part.ndim != 3:
            raise ValueError("`images` must name IDX files of images. "
                             f"Received: {path} with shape {part.shape}")
        images.extend(part)
        labels_of_part = _read_idx_labels(path, len(part))
        if labels_of_part is None:
            without_labels.append(path)
        else:
            labels.append(labels_of_part)
    if labels and without_labels:
        raise ValueError("`images` must name IDX files which all have labels, or none of them. "
                         f"Received: images={args.images}, {without_labels[0]} without labels")
    if not labels:
        return _from_arrays(args, images, None, [])
    labels = np.concatenate(labels)
    label_names = [str(label) for label in range(int(labels.max()) + 1)]
    return _from_arrays(args, images, labels, label_names)


def _from_arrays(args, images, labels, label_names):
    """Returns a Source of gray images in memory.

    Args:
        images: a sequence of uint8 [rows, columns], of any sizes.
        labels: [count] or None.
        label_names: list of text.
    """
    order = _shuffled(len(images), args)

    def fit():
        for rows in _slices(order):
            fitted = []
            for row in rows:
                image = _to_bytes(Image.fromarray(images[row]), args.image_shape[2])
                fitted.append(_fit(image, args.image_shape, args.crop))
            yield Chunk(np.stack(fitted), None if labels is None else np.uint16(labels[rows]))

    return Source(len(order), label_names, fit())


def _toyfaces(args):
    """Returns a Source of toy faces. Their label is the hair color; all their factors are kept."""
    if args.image_shape != (64, 64, 3):
        raise ValueError("`image_shape` must be (64, 64, 3) for toy faces. "
                         f"Received: image_shape={args.image_shape}")
    count = args.dataset_size or 10000

    def paint():
        for start in range(0, count, CHUNK):
            images, factors = faces.sample(min(CHUNK, count - start), args.seed, start)
            yield Chunk(images, np.uint16(factors[:, 0]), factors)

    return Source(count, list(faces.FACTORS["hair_color"]), paint())


def _toyscenes(args):
    """Returns a Source of drawings of toy scenes."""
    count = _toyscenes_count(args)

    def paint():
        for start in range(0, count, CHUNK):
            _, drawings = scenes.sample(
                min(CHUNK, count - start), args.seed, start, args.image_shape[0])
            yield Chunk(drawings)

    return Source(count, [], paint())


def _toyscenes_photos(args):
    """Returns a Source of photos of other toy scenes than those drawn, and of their true drawings.
    """
    count = _toyscenes_count(args)

    def paint():
        for start in range(0, count, CHUNK):
            photos, drawings = scenes.sample(
                min(CHUNK, count - start), args.seed, count + start, args.image_shape[0])
            yield Chunk(photos, truths=drawings)

    return Source(count, [], paint())


def _toyscenes_count(args):
    """Returns the number of toy scenes, once their image shape has been checked."""
    rows, columns, channels = args.image_shape
    if rows != columns or rows not in scenes.SIZES or channels != 3:
        raise ValueError("`image_shape` must be (size, size, 3) for toy scenes, with a multiple of "
                         f"16 from 32 to 512. Received: image_shape={args.image_shape}")
    return args.dataset_size or 2000


def _mnist(args):
    """Returns a Source of MNIST's 60,000 training digits."""
    paths = sorted(glob.glob("mnist/train-images[-.]idx3-ubyte*"))
    if paths:
        return read_idx_files(args, paths[:1])
    import keras
    try:
        (images, labels), _ = keras.datasets.mnist.load_data()
    except Exception as error:  # a download fails in many ways
        raise ValueError("`images` = mnist needs the folder mnist with train-images-idx3-ubyte and "
                         "train-labels-idx1-ubyte, or their .gz, as the download failed. "
                         f"Received: images=mnist ({error})") from None
    return _from_arrays(args, images, labels, [str(digit) for digit in range(10)])


def _even(args):
    """Returns a Source of the even numbers that fit the bits of `image_shape`. Numbers repeat."""
    bits = args.image_shape[1]
    if args.image_shape != (1, bits, 1):
        raise ValueError("`image_shape` must be (1, bits, 1) for even numbers. "
                         f"Received: image_shape={args.image_shape}")
    images = numbers.sample(args.dataset_size or 10000, args.seed, bits)

    def write():
        for part in _slices(images):
            yield Chunk(part)

    return Source(len(images), [], write())


# Datasets that need no files of the user's own: {value of `images`: function(args) -> Source}.
EMBEDDED = {"toyfaces": _toyfaces, "toyscenes": _toyscenes, "mnist": _mnist, "even": _even}


# ---- images -> HDF5

class Progress:
    """Prints how many images are done, on a line that it overwrites."""

    def __init__(self, total):
        self.total = total
        self.done = 0
        self.start = time.monotonic()
        self.last_printed = self.start

    def message(self, text):
        """Prints text over the line of the progress, which will appear below it."""
        print(f"\r{text}".ljust(50))

    def add(self, count):
        """Adds the number of images that have been done since the last call."""
        self.done += count
        now = time.monotonic()
        finished = self.done == self.total
        if finished or now - self.last_printed > 0.2:
            self.last_printed = now
            rate = self.done / max(now - self.start, 1e-9)
            end = "\n" if finished else ""
            print(f"\r{self.done}/{self.total} images, {rate:.0f} a second", end=end, flush=True)


def make(args):
    """Writes the HDF5 file `data` with the images that `images` names, and `photos` if set.

    The file appears completely or not at all; an older one stays until then.

    Returns:
        The path of the file, `args.data`.

    Raises:
        FileNotFoundError: `images` or `photos` matches no file.
        ValueError: no file is a usable image, or a constant has an invalid value.
        OSError: the file cannot be written.
    """
    _validate(args)
    source = _images_source(args)
    photos_source = _photos_source(args) if args.photos else None
    os.makedirs(os.path.dirname(args.data) or ".", exist_ok=True)
    _check_space_for_data(args, source, photos_source)
    temporary = f"{args.data}.{os.getpid()}.tmp"
    try:
        with h5py.File(temporary, "w") as file:
            count = _write(args, file, source, photos_source)
        os.replace(temporary, args.data)
    except OSError as error:
        if not error.errno:
            raise
        # HDF5 describes what the system refused in five lines. This is one.
        raise OSError(error.errno, os.strerror(error.errno), args.data) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
    print(f"{args.data}: {count} images of {'x'.join(map(str, args.image_shape))}")
    return args.data


def _validate(args):
    """Raises ValueError if the constants that describe the file to be made have invalid values."""
    if args.crop not in ("center", "squash"):
        raise ValueError(f"`crop` must be \"center\" or \"squash\". Received: crop={args.crop}")
    if args.image_shape[2] not in (1, 3):
        raise ValueError("`image_shape` must be (rows, columns, channels) with 1 or 3 channels. "
                         f"Received: image_shape={args.image_shape}")
    if glob.has_magic(args.data):
        raise ValueError("`data` must be the name of a single file in order to be written. "
                         f"Received: data={args.data}")
    # A file with the usual ending may be replaced even if it is corrupt.
    may_be_replaced = args.data.endswith(".hdf5") or h5py.is_hdf5(args.data)
    if os.path.exists(args.data) and not may_be_replaced:
        raise ValueError("`data` must be a new file, or an HDF5 file, which is replaced. "
                         f"Received: data={args.data}, which is not one")
    if args.photos and args.image_shape[2] != 3:
        raise ValueError("`photos` is incompatible with `image_shape`: photos have 3 channels. "
                         f"Received: photos={args.photos}, image_shape={args.image_shape}")
    if args.photos == "toyscenes" and args.images != "toyscenes":
        raise ValueError("`photos` is incompatible with `images`: photos of toyscenes need their "
                         f"drawings. Received: photos=toyscenes, images={args.images}")


def check_free_space(folder, needed, path):
    """Raises OSError if `needed` bytes do not fit on the disk: HDF5 may crash when it is full.

    Args:
        folder: a folder on the disk.
        needed: number of bytes.
        path: of what is to be written, for the message.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        reason = os.strerror(errno.ENOSPC)
        raise OSError(
            errno.ENOSPC, f"{reason}: {needed:,} bytes needed, {free:,} free", str(path))


def _check_space_for_data(args, source, photos_source):
    images = source.count
    if photos_source:
        images += source.count + photos_source.count  # the smoothed images, and the photos
    if args.photos == "toyscenes":
        images += photos_source.count  # the true drawings
    needed = images * (math.prod(args.image_shape) + OVERHEAD)
    check_free_space(os.path.dirname(args.data) or ".", needed, args.data)


def _images_source(args):
    """Returns the Source that `images` names."""
    if args.images in EMBEDDED:
        return EMBEDDED[args.images](args)
    paths = find_files(args.images)
    if not paths:
        raise FileNotFoundError("`images` matches no file. Set it to a glob such as "
                                f"my-faces/*.jpg, to IDX files or to {', '.join(EMBEDDED)}. "
                                f"Received: images={args.images}")
    if _is_idx(paths[0]):
        return read_idx_files(args, paths)
    return read_files(args, paths)


def _photos_source(args):
    """Returns the Source that `photos` names."""
    if args.photos == "toyscenes":
        return _toyscenes_photos(args)
    paths = find_files(args.photos)
    if not paths:
        raise FileNotFoundError("`photos` matches no file. Set it to a glob such as "
                                f"my-photos/*.jpg. Received: photos={args.photos}")
    return read_files(args, paths)._replace(label_names=[])


def _write(args, file, source, photos_source):
    """Writes all datasets and attributes of an open HDF5 file. Returns the number of images."""
    drop_duplicates = args.images != "even"  # even numbers repeat on purpose
    faces, duplicates, skipped = _write_images(args, file, "faces", source, drop_duplicates)
    if not len(faces):
        raise ValueError("`images` matches no usable image: all of its files were skipped. "
                         f"Received: images={args.images}")
    print(f"{len(faces)} images kept, {duplicates} exact duplicates dropped, "
          f"{skipped} files skipped")
    if source.label_names:
        names = [_encode(name) for name in source.label_names]
        text = h5py.string_dtype("utf-8", max(map(len, names)))
        file.create_dataset("label_names", data=names, dtype=text)
    if photos_source:
        photos, _, _ = _write_images(args, file, "photos", photos_source, drop_duplicates=True)
        if not len(photos):
            raise ValueError("`photos` matches no usable image: all of its files were skipped. "
                             f"Received: photos={args.photos}")
        smoothed = file.create_dataset("smoothed", faces.shape, "uint8")
        for row in range(len(faces)):
            smoothed[row] = smooth_edges(faces[row])
        print(f"{len(photos)} photos kept, {len(faces)} images smoothed along their edges")
    # Text of a fixed length: HDF5 would allocate whatever length a corrupt file gives.
    file.attrs["images"] = np.bytes_(_encode(args.images))
    file.attrs["photos"] = np.bytes_(_encode(args.photos))
    file.attrs["crop"] = np.bytes_(_encode(args.crop))
    file.attrs["dataset_size"] = args.dataset_size
    file.attrs["seed"] = args.seed
    file.attrs["max_int"] = args.max_int
    file.attrs["duplicates"] = duplicates
    file.attrs["skipped"] = skipped
    return len(faces)


def _encode(text):
    """Encodes text as UTF-8. Bytes of a file name that are not UTF-8 become escape sequences."""
    return text.encode(errors="backslashreplace")


def _write_images(args, file, name, source, drop_duplicates):
    """Writes the images of a Source as dataset `name`, and their labels, factors and truths.

    The dataset's attribute "digest" is the hash of its bytes, for `fingerprint`.

    Returns:
        The dataset, the number of exact duplicates dropped and the number of files skipped.
    """
    dataset = _empty_dataset(args, file, name)
    truths = None
    content = hashlib.blake2b(digest_size=8)
    progress = Progress(source.count)
    seen, labels, factors = set(), [], []
    total = skipped = 0
    with contextlib.closing(source.chunks):  # ends its threads, even after an error here
        for chunk in source.chunks:
            for path, reason in chunk.skipped.items():
                progress.message(f"skipped {path}: {reason}")
            progress.add(len(chunk.images) + len(chunk.skipped))
            skipped += len(chunk.skipped)
            total += len(chunk.images)
            rows = _new_rows(chunk.images, seen) if drop_duplicates else range(len(chunk.images))
            if not rows:
                continue
            images = chunk.images[rows]
            content.update(images.tobytes())
            _append(dataset, images)
            if chunk.labels is not None:
                labels.append(chunk.labels[rows])
            if chunk.factors is not None:
                factors.append(chunk.factors[rows])
            if chunk.truths is not None:
                if truths is None:
                    truths = _empty_dataset(args, file, "truths")
                _append(truths, chunk.truths[rows])
    dataset.attrs["digest"] = np.bytes_(content.hexdigest())
    if source.label_names and labels:
        file["labels"] = np.concatenate(labels)
    if factors:
        file["factors"] = np.concatenate(factors)
    return dataset, total - len(dataset), skipped


def _empty_dataset(args, file, name):
    """Creates a dataset of images that grows: the number of usable images is known only at the end.
    """
    shape = args.image_shape
    return file.create_dataset(name, (0, *shape), "uint8", maxshape=(None, *shape),
                               chunks=(1, *shape))


def _append(dataset, images):
    """Appends images to a dataset of `_empty_dataset`."""
    start = len(dataset)
    dataset.resize(start + len(images), axis=0)
    dataset[start:] = images


def _new_rows(images, seen):
    """Returns the rows of the images whose hashes are not in `seen`, and adds their hashes to it.

    Args:
        images: uint8 [count, rows, columns, channels].
        seen: set of the hashes of the images seen before.
    """
    rows = []
    for row, image in enumerate(images):
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        if digest in seen:
            continue
        seen.add(digest)
        rows.append(row)
    return rows


# ---- HDF5 -> images

@contextlib.contextmanager
def _hdf5_errors(path):
    """Turns whatever h5py raises for a corrupt file into one ValueError that names the file."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())  # HDF5's messages have several lines
        raise ValueError("`data` must be an HDF5 file with a dataset named faces. Make it again "
                         f"with: python data.py. Received: data={path} ({reason})") from None


def files(args):
    """Returns the HDF5 files that `data` names, [] if there are none.

    `data` is the name of one file, or a glob whose matches, sorted, are read as one dataset.
    """
    if os.path.exists(args.data):
        return [args.data]
    return sorted(glob.glob(args.data))


def attributes(args):
    """Returns what `data`, its first file, was made from.

    Returns:
        {"images", "photos", "crop", "dataset_size", "seed", "max_int", "duplicates", "skipped"}
        with their values, {} for a file that another program wrote.

    Raises:
        ValueError: the file is not an HDF5 file.
    """
    path = files(args)[0]
    found = {}
    with _hdf5_errors(path), h5py.File(path, "r") as file:
        for name, value in file.attrs.items():
            found[name] = value.decode() if isinstance(value, bytes) else value
    return found


def fingerprint(args):
    """Returns 16 hexadecimal digits that identify the images of `data` and their order.

    `make` stores the hash of each dataset of images in its attribute "digest". It is trusted: a
    program that changes the images must remove it. Where there is none, the dataset is read.
    """
    open_images(args)
    combined = hashlib.blake2b(digest_size=8)
    for path in files(args):
        with _hdf5_errors(path), h5py.File(path, "r") as file:
            for name in ("faces", "photos", "labels"):
                if name not in file:
                    continue
                dataset = file[name]
                if "digest" in dataset.attrs:
                    combined.update(bytes(dataset.attrs["digest"]))
                    continue
                for start in range(0, len(dataset), CHUNK):
                    combined.update(dataset[start:start + CHUNK].tobytes())
    return combined.hexdigest()


class Images:
    """Images of one or several h5py datasets, which read as one array: `images[rows]`.

    Small datasets are kept in memory: reading an image with h5py takes 10 microseconds [measured].

    Args:
        datasets: list of h5py.Dataset, each [count, rows, columns, channels].
        count: the number of images to use, from the first on.
    """

    def __init__(self, datasets, count):
        self.paths = [dataset.file.filename for dataset in datasets]
        self.starts = [0, *itertools.accumulate(map(len, datasets))]
        self.shape = (count, *datasets[0].shape[1:])
        self.dtype = datasets[0].dtype
        self.datasets = []
        for path, dataset in zip(self.paths, datasets):
            with _hdf5_errors(path):
                self.datasets.append(dataset[:] if dataset.nbytes <= IN_MEMORY else dataset)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Reads the images of `rows`, a slice or a sequence of numbers.

        It reads one image at a time: h5py takes 60 times as long for a list of rows [measured].
        """
        if isinstance(rows, slice):
            rows = range(len(self))[rows]
        images = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for index, row in enumerate(rows):
            part = bisect.bisect_right(self.starts, row) - 1
            with _hdf5_errors(self.paths[part]):
                images[index] = self.datasets[part][row - self.starts[part]]
        return images


def open_images(args, name="faces"):
    """Opens the images of `data`.

    Args:
        args: the constants of the run.
        name: "faces"; with `photos` also "photos" and "smoothed"; with photos=toyscenes also
            "truths".

    Returns:
        Images of shape [count, *image_shape], uint8, or float32 in [-1, 1] if the original project
        wrote them. `dataset_size` limits the count.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such an HDF5 file, or its images do not fit `args`.
    """
    paths = files(args)
    if not paths:
        raise FileNotFoundError("`data` does not exist. Make it with: python data.py. "
                                f"Received: data={args.data}")
    datasets = [_open_dataset(args, path, name) for path in paths]
    if len({dataset.dtype for dataset in datasets}) > 1:
        raise ValueError("`data` must name files whose images are all uint8 or all float32. "
                         f"Received: data={args.data} with both")
    total = sum(map(len, datasets))
    count = min(total, args.dataset_size or total)
    training, test = split(args, count)
    if len(training) < args.batch_size:
        kind = "photos" if name == "photos" else "images"
        raise ValueError(f"`batch_size` must be at most the number of training {kind}. Lower it, "
                         f"or use more {kind}. Received: batch_size={args.batch_size}, "
                         f"test_fraction={args.test_fraction}, dataset_size={args.dataset_size}, "
                         f"data={args.data} with {total} {kind}")
    if name == "photos" and not len(test):
        raise ValueError("`test_fraction` must leave test photos, for the samples. Raise it, or "
                         f"use more photos. Received: test_fraction={args.test_fraction}, "
                         f"data={args.data} with {total} photos")
    return Images(datasets, count)


def _open_dataset(args, path, name):
    """Opens and checks a dataset of images. Its file stays open as long as the dataset is used."""
    with _hdf5_errors(path):
        file = h5py.File(path, "r")
        is_missing = name not in file
    if is_missing and name != "faces":
        raise ValueError("`photos` is incompatible with `data`: it was made without photos. Make "
                         "it again with python data.py, or name another file. Received: "
                         f"photos={args.photos}, data={path}, which has no dataset {name}")
    with _hdf5_errors(path):
        dataset = file[name]  # raises an error if it is faces that are missing
        shape, dtype = dataset.shape, dataset.dtype
        truncated = _is_truncated(dataset, path)
    if shape[1:] != args.image_shape:
        raise ValueError(f"`image_shape` must be that of the images in `data`. Set it to "
                         f"{shape[1:]}, or make the file again with python data.py. Received: "
                         f"image_shape={args.image_shape}, data={path} with shape {shape}")
    if dtype not in ("uint8", "float32"):
        raise ValueError("`data` must hold images as uint8 or float32. Make it again with: python "
                         f"data.py. Received: data={path} with {dtype}")
    if truncated:
        raise ValueError("`data` must be a complete HDF5 file. Make it again with: python data.py. "
                         f"Received: data={path}, in which images are missing")
    return dataset


def _is_truncated(dataset, path):
    """Returns whether images are missing: never written, or cut off at the end of the file.

    The images themselves are not read.
    """
    if dataset.id.get_create_plist().get_nfilters():
        return False  # compressed: its size is not known
    if dataset.id.get_storage_size() < dataset.nbytes:
        return True
    offset = dataset.id.get_offset()
    if offset is None:
        return False  # in chunks, each of which has an offset of its own
    return offset + dataset.nbytes > os.path.getsize(path)


def open_labels(args):
    """Reads the labels of `data`.

    Returns:
        int32 [count], and the list of their names.

    Raises:
        ValueError: a file has no labels, or only one, or others than the first file.
    """
    parts = []
    first_names = None
    for path in files(args):
        labels, names = _read_labels(args, path)
        if first_names is None:
            first_names = names
        if names != first_names:
            raise ValueError("`data` must name files which all have the same labels. "
                             f"Received: data={args.data}, {path} with other labels")
        parts.append(labels)
    return np.concatenate(parts), first_names


def _read_labels(args, path):
    """Reads and checks the labels of one file: int32 [count], and the list of their names."""
    labels, names = None, []
    with _hdf5_errors(path), h5py.File(path, "r") as file:
        count = len(file["faces"])
        if "label_names" in file:
            names = file["label_names"].asstr()[:MAX_LABELS].tolist()
        if "labels" in file:
            labels = np.int32(file["labels"][:count + 1])
    if labels is None or len(names) < 2:
        raise ValueError("`conditional`, and `features` = classifier, need images with labels: "
                         "image files in several folders, or IDX files with labels. Received: "
                         f"conditional={args.conditional}, features={args.features}, "
                         f"data={path} without labels")
    if not all(map(is_folder_name, names)):
        raise ValueError("`data` must have labels that can be names of folders, to which generated "
                         f"images are written. Received: data={path} with {names}")
    if labels.shape != (count,) or not 0 <= labels.min() <= labels.max() < len(names):
        raise ValueError(f"`data` must hold a label below {len(names)} for each image. Make it "
                         f"again with: python data.py. Received: data={path} with {labels.size} "
                         f"labels for {count} images")
    return labels, names


def classes(args):
    """Returns the classes of the images: the factors of toy faces, otherwise the labels.

    Returns:
        int64 [count, factors], or [count, 1] for labels.

    Raises:
        ValueError: `data` has neither in all of its files.
    """
    factors = []
    for path in files(args):
        with _hdf5_errors(path), h5py.File(path, "r") as file:
            if "factors" in file and len(file["factors"]) == len(file["faces"]):
                factors.append(np.int64(file["factors"][:]))
    if len(factors) == len(files(args)):
        return np.concatenate(factors)
    labels, _ = open_labels(args)
    return np.int64(labels[:, None])


def split(args, count):
    """Splits `count` images into training and test images, the same for any `seed`.

    Returns:
        Two sorted arrays of rows.
    """
    order = np.random.default_rng(count).permutation(count)
    test_count = round(args.test_fraction * count)
    return np.sort(order[test_count:]), np.sort(order[:test_count])


# ---- batches

def _batch_rows(args, count, start, stream=()):
    """Yields the rows of each batch, endlessly, and which of its images are mirrored.

    Each pass over the training images has an order of its own, which depends on (seed, pass,
    stream). Images beyond the last full batch of a pass are left out.
    """
    training, _ = split(args, count)
    batches_per_pass = len(training) // args.batch_size
    order, pass_of_order = None, None
    for batch in itertools.count(start):
        pass_number, index = divmod(batch, batches_per_pass)
        if pass_number != pass_of_order:
            rng = np.random.default_rng([args.seed, pass_number, *stream])
            order = rng.permutation(training)
            pass_of_order = pass_number
        rows = np.sort(order[index * args.batch_size:(index + 1) * args.batch_size])  # for the disk
        rng = np.random.default_rng([args.seed, pass_number, index, *stream])
        mirrored = rng.random(len(rows)) < 0.5 * args.flip
        yield rows, mirrored


def _read(images, rows, mirrored):
    """Reads images as float32 in [-1, 1] and flips those that are mirrored horizontally."""
    batch = images[rows]
    batch[mirrored] = batch[mirrored, :, ::-1]
    return _as_floats(batch)


def iterate(args, start=0, labels=False, shares=1, mine=(0,)):
    """Yields training batches, endlessly.

    Args:
        args: the constants of the run.
        start: number of the first batch: `iterate(args, 10)` continues after ten batches.
        labels: whether to yield labels too.
        shares: number of devices that train together: a batch is cut into so many parts.
        mine: the parts to yield, one after the other, in place of the whole batch.

    Yields:
        images, float32 [batch_size / shares, *image_shape] in [-1, 1]
        if `labels`: (images, labels), the latter int32 [batch_size / shares]
        if `photos` is set: (images, photos, the same images smoothed)
    """
    images = open_images(args)
    image_rows = _batch_rows(args, len(images), start)
    if labels:
        all_labels, _ = open_labels(args)
    if args.photos:
        photos = open_images(args, "photos")
        smoothed = open_images(args, "smoothed")
        photo_rows = _batch_rows(args, len(photos), start, PHOTO_STREAM)
    part_size = args.batch_size // shares
    for rows, mirrored in image_rows:
        if args.photos:
            rows_of_photos, mirrored_photos = next(photo_rows)
        for share in mine:
            part = slice(share * part_size, (share + 1) * part_size)
            batch = _read(images, rows[part], mirrored[part])
            if args.photos:
                batch_of_photos = _read(photos, rows_of_photos[part], mirrored_photos[part])
                yield batch, batch_of_photos, _read(smoothed, rows[part], mirrored[part])
            elif labels:
                yield batch, all_labels[rows[part]]
            else:
                yield batch


def load(args, start=0, shares=1, mine=(0,)):
    """Returns an endless tf.data.Dataset of `iterate`, with labels if `conditional`.

    It reads two batches ahead.

    Raises:
        FileNotFoundError, ValueError: `data` cannot be used, or `batch_size` is not a multiple of
            `shares`.
    """
    import tensorflow as tf
    open_images(args)  # what is wrong with the file is raised here, rather than inside TensorFlow
    if args.batch_size % shares:
        raise ValueError(f"`batch_size` must be a multiple of {shares}, the number of devices that "
                         f"train together. Received: batch_size={args.batch_size}")
    count = args.batch_size // shares
    signature = tf.TensorSpec((count, *args.image_shape), "float32")
    if args.conditional:
        open_labels(args)
        signature = (signature, tf.TensorSpec((count,), "int32"))
    if args.photos:
        open_images(args, "photos")
        open_images(args, "smoothed")
        signature = (signature, signature, signature)
    batches = functools.partial(iterate, args, start, args.conditional, shares, mine)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread can delay the end by half a minute [measured]
    return dataset.prefetch(2).with_options(options)


# ---- fixed images: test photos and their drawings, and some real images

def photos(args, count):
    """Returns the first `count` test photos of `data`, or all of them, if they are fewer.

    Returns:
        float32 [count, rows, columns, 3] in [-1, 1].
    """
    images = open_images(args, "photos")
    _, test = split(args, len(images))
    return _as_floats(images[test[:count]])


def truths(args, count):
    """Returns the true drawings of the photos that `photos` returns.

    Returns:
        uint8 [count, rows, columns, 3], or None if `data` has none.
    """
    for path in files(args):
        with _hdf5_errors(path), h5py.File(path, "r") as file:
            if "truths" not in file:
                return None
    images = open_images(args, "truths")
    _, test = split(args, len(images))
    return images[test[:count]]


def pretraining_images(args):
    """Returns a batch of what the generator reproduces in pretraining: photos, if `photos` is set.

    Returns:
        float32 [batch_size, *image_shape] in [-1, 1].
    """
    batch = next(iterate(args))
    if args.photos:
        _, batch_of_photos, _ = batch
        return batch_of_photos
    return batch


def reals(args):
    """Returns as many real images as the sample grid has cells, always the same ones.

    Returns:
        float32 [rows x columns of the grid, *image_shape] in [-1, 1].
    """
    images = open_images(args)
    rows = np.random.default_rng(args.seed).permutation(len(images))
    return _as_floats(images[rows[:args.grid[0] * args.grid[1]]])


# ---- photos to translate

def photos_to_translate(args):
    """Returns the paths of the first `generate_count` photos that `generate_from` names.

    Raises:
        FileNotFoundError: it matches no file.
    """
    paths = find_files(args.generate_from)[:args.generate_count]
    if not paths:
        raise FileNotFoundError("`generate_from` must be a glob that matches the photos to "
                                "translate, such as my-photos/*.jpg. "
                                f"Received: generate_from={args.generate_from!r}")
    return paths


def _png_names(paths):
    """Returns the name of the PNG file for each photo: its path below the folder that all share.

    a.jpg becomes a.png. If two photos would have one name, such as a.jpg and a.bmp, all of them
    keep their endings: a.jpg.png, a.bmp.png.
    """
    paths = [os.path.abspath(path) for path in paths]
    shared = os.path.commonpath([os.path.dirname(path) for path in paths])
    relative = [os.path.relpath(path, shared) for path in paths]
    stems = [os.path.splitext(path)[0] for path in relative]
    if len(set(stems)) < len(stems):
        stems = relative
    return [f"{stem}.png" for stem in stems]


def translate_photos(args, function, multiple, folder):
    """Translates the first `generate_count` photos of `generate_from` to PNG files of their sizes.

    Args:
        args: the constants of the run.
        function: maps images [1, rows, columns, 3] in [-1, 1] to images of the same shape.
        multiple: `function` gets images whose rows and columns are a multiple of it: photos are
            padded, and the result is cropped.
        folder: Path of the folder to write to.

    Raises:
        FileNotFoundError: `generate_from` matches no file.
    """
    paths = photos_to_translate(args)
    done = 0
    for path, name in zip(paths, _png_names(paths)):
        try:
            image = read_whole(path)
        except Exception as error:  # decoders raise all kinds of errors for corrupt files
            print(f"skipped {path}: {error}")
            continue
        rows, columns, _ = image.shape
        padded_rows = math.ceil(max(rows, MIN_TRANSLATED) / multiple) * multiple
        padded_columns = math.ceil(max(columns, MIN_TRANSLATED) / multiple) * multiple
        margins = [(0, padded_rows - rows), (0, padded_columns - columns), (0, 0)]
        padded = np.pad(image, margins, "edge")
        translated = denormalize(function(normalize(padded)[None]))[0, :rows, :columns]
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        save_png(translated, target)
        done += 1
    print(f"{folder}: {done} images of {args.generate_from}")


# ---- main

def main(args, verbs=()):
    """Makes `data`."""
    make(args)


if __name__ == "__main__":
    from args import run_script
    run_script(main, verbs=())
