"""Images -> one HDF5 file -> training batches.

`python data.py [preset] [constant=value ...]` converts the images that `images` names, and writes
them to the file `data`:

    faces        uint8 [count, rows, columns, channels], shuffled with `seed`, without duplicates
    labels       int32 [count], indices into label_names: the folders of image files, the labels of
                 IDX files, the hair colors of toy faces; absent if all images have the same
    label_names  UTF-8 [labels]
    factors      uint8 [count, 4], of toy faces only: see models/toys/faces.py
    photos       uint8 [count, rows, columns, 3], for a CartoonGAN only, as the next two: the photos
                 to translate
    smoothed     uint8, as faces: the same images with blurred edges
    truths       uint8, as photos, of toy scenes only: the photos' true drawings, for evaluation

From top to bottom: bytes and floats, whole files, PNG files, one image file, images -> HDF5,
sources of images, HDF5 -> images, batches, photos of a CartoonGAN, main.
"""
import contextlib
import errno
import functools
import glob
import gzip
import hashlib
import itertools
import math
import os
import pathlib
import platform
import re
import shutil
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import args as constants
from models.toys import faces, numbers, scenes  # before h5py: models turns off HDF5's file locks

import h5py
import numpy as np
from PIL import Image, ImageFilter, ImageOps

SLICE = 64                # images to convert at a time: they are in memory together [guess]
RESERVED = 2 ** 25        # bytes that stay free on the disk [guess]
IN_MEMORY = 2 ** 31       # bytes: smaller datasets are read into memory, as laptops have 8 GiB
PHOTO_STREAM = (1, 1, 1)  # appended to the seed, so that photos have an order of their own
TILES_OF_SCENE = 2        # with crop=tile a scene is two tiles wide: outlines have two pixels


# ---- bytes and floats

def normalize(images):
    """Converts uint8 images to float32 in [-1, 1], the range of tanh [ganhacks 1]."""
    return np.asarray(images, "float32") / 127.5 - 1


def denormalize(images):
    """Converts images in [-1, 1] to uint8, the exact inverse of `normalize`. Clips the values."""
    pixels = np.rint((np.asarray(images, "float32") + 1) * 127.5)
    return np.uint8(np.clip(pixels, 0, 255))


# ---- whole files

@contextlib.contextmanager
def whole_file(path):
    """Yields the Path of a temporary file, which becomes the file `path` at the end of the block.

    So a file appears whole or not at all. The ending stays: it tells Keras and Pillow the format.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}")
    yield temporary
    os.replace(temporary, path)


def check_space(path, needed):
    """Raises OSError if a file of `needed` bytes would fill the disk, on which HDF5 crashes."""
    if shutil.disk_usage(os.path.dirname(path) or ".").free < needed + RESERVED:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


# ---- PNG files

def save_png(image, path):
    """Writes a PNG file.

    Args:
        image: uint8 [rows, columns, channels], with 1 or 3 channels.
        path: of the file, which is replaced if it exists.
    """
    if image.shape[-1] == 1:
        image = image[..., 0]
    with whole_file(path) as temporary:
        Image.fromarray(image).save(temporary)


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

def read_image(path, image_shape, crop="center"):
    """Reads an image file of any format that Pillow knows, with at most 8 bits a channel.

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
    rows, columns, _ = image_shape
    image = _open_image(path, least_size=(2 * columns, 2 * rows))
    return _convert(image, image_shape, crop)


def read_tiles(path, image_shape, count):
    """Cuts tiles out of an image file, without resizing it.

    Args:
        path: of the file. An image smaller than a tile is enlarged.
        image_shape: (rows, columns, channels) of a tile.
        count: number of tiles, which may overlap. Their places depend on the image.

    Returns:
        A list of uint8 [rows, columns, channels].

    Raises:
        As `read_image`.
    """
    rows, columns, channels = image_shape
    image = _to_bytes(_open_image(path), channels)
    if image.width < columns or image.height < rows:
        image = ImageOps.cover(image, (columns, rows), Image.Resampling.LANCZOS)
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    rng = np.random.default_rng(zlib.crc32(pixels))
    tiles = []
    for _ in range(count):
        top = rng.integers(image.height - rows + 1)
        left = rng.integers(image.width - columns + 1)
        tile = pixels[top:top + rows, left:left + columns]
        tiles.append(tile.copy())  # a view would keep the whole image in memory
    return tiles


def _open_image(path, least_size=None):
    """Opens an image file as a Pillow image, rotated as its EXIF orientation says.

    A JPEG file may be decoded at a fraction of its size, not below `least_size`, (width, height).
    """
    with Image.open(path) as image:
        if least_size:
            image.draft(None, least_size)
        return ImageOps.exif_transpose(image)


def _convert(image, image_shape, crop):
    """Converts a Pillow image of any size and mode to uint8 [rows, columns, channels]."""
    rows, columns, channels = image_shape
    image = _to_bytes(image, channels)
    if crop == "squash":
        image = image.resize((columns, rows), Image.Resampling.LANCZOS)
    else:
        image = ImageOps.fit(image, (columns, rows), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(image_shape)


def _to_bytes(image, channels):
    """Converts a Pillow image to 8-bit RGB or gray. Transparent pixels become white."""
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion would clip them at 255
        raise ValueError("its pixels have more than 8 bits; convert it to 8 bits first")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB" if channels == 3 else "L")


# ---- images -> HDF5

def make(args):
    """Writes the HDF5 file `data` with the images that `images` names, and `photos` if set.

    The file appears completely or not at all; an older one stays until then. A process that is
    killed leaves its temporary file, `data`.*.tmp, which may be removed.

    Returns:
        The path of the file, `args.data`.

    Raises:
        FileNotFoundError: `images` or `photos` matches no file.
        ValueError: no file is a usable image, or `data` is a file that must not be replaced.
        OSError: the file cannot be written.
    """
    if os.path.exists(args.data) and not _is_made_here(args.data):
        raise ValueError("`data` must be a new file, or one of data.py to replace. Choose another "
                         f"name. Received: data={args.data}, no readable file of data.py")
    if args.photos not in ("", "toyscenes"):
        paths_of(args, "photos")  # raises now rather than after all scenes have been painted
    path = os.path.realpath(args.data)  # a link stays a link, to a larger disk for example
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{platform.node()}.{os.getpid()}.tmp"
    write_images = EMBEDDED.get(args.images, _write_files)
    try:
        with h5py.File(temporary, "w") as file:
            write_images(args, file)
            if args.photos:
                _write_photos(args, file)
            for name in ("images", "photos", "crop"):
                file.attrs[name] = _encode(getattr(args, name))
            file.attrs["dataset_size"] = args.dataset_size
            file.attrs["seed"] = args.seed
            file.attrs["fingerprint"] = _encode(_hash(file))
            count = len(file["faces"])
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
    print(f"{args.data}: {count} images of {'x'.join(map(str, args.image_shape))}")
    return args.data


def _is_made_here(path):
    """Returns whether `make` wrote a file."""
    with contextlib.suppress(OSError), h5py.File(path) as file:  # of a damaged file
        return "fingerprint" in file.attrs
    return False


def _slices(total):
    """Yields (start, stop) for each slice of range(total). Shows the progress on a terminal."""
    for start in range(0, total, SLICE):
        stop = min(start + SLICE, total)
        yield start, stop
        if sys.stdout.isatty():
            print(f"{stop}/{total} images", end="\r", flush=True)


def _append(args, file, name, images):
    """Appends images, uint8 [count, *image_shape], to the dataset `name` of an HDF5 file."""
    images = np.asarray(images)
    check_space(os.path.realpath(args.data), needed=images.nbytes)
    shape = images.shape[1:]
    if shape != args.image_shape:
        raise ValueError(f"`image_shape` must be {shape} for toy images. "
                         f"Received: image_shape={args.image_shape}")
    if name not in file:
        file.create_dataset(name, (0, *shape), "uint8", maxshape=(None, *shape), chunks=(1, *shape))
    dataset = file[name]
    dataset.resize(len(dataset) + len(images), axis=0)
    dataset[-len(images):] = images


def _write_labels(file, labels, names):
    """Writes labels, indices into `names`, and the names in use; nothing if all are equal."""
    used, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(used) == 1:
        return
    names = [_encode(names[label]) for label in used]
    file["labels"] = np.int32(labels)
    file["label_names"] = names
    listed = [f"{name.decode()} ({count})" for name, count in zip(names, counts)]
    print(f"{len(names)} labels: {', '.join(listed[:20])}{', ...' if len(names) > 20 else ''}")


def _encode(text):
    """Encodes text as UTF-8. Bytes of a file name that are not UTF-8 become escape sequences.

    The length is fixed: HDF5 can hang on damaged text of variable length.
    """
    return np.bytes_(text.encode(errors="backslashreplace"))


def _hash(file):
    """Returns 16 hexadecimal digits that identify the images of an HDF5 file, and their order."""
    content = hashlib.sha256()
    for name in ("faces", "photos", "labels"):
        if name in file:
            for start in range(0, len(file[name]), SLICE):
                content.update(file[name][start:start + SLICE])
    return content.hexdigest()[:16]


# ---- sources of images: each function writes the datasets of an HDF5 file

def find_files(pattern):
    """Returns the sorted paths of the files below a folder, or of those that match a glob.

    `~` is the home folder. In a glob, `**` means folders of any depth.
    """
    pattern = os.path.expanduser(pattern)
    if os.path.isdir(pattern):
        pattern = os.path.join(glob.escape(pattern), "**")
    elif os.path.isfile(pattern):
        pattern = glob.escape(pattern)
    paths = set(glob.glob(pattern, recursive=True))  # glob repeats some if there are two `**`
    return sorted(path for path in paths if not os.path.isdir(path))


def paths_of(args, name):
    """Returns the paths of the files that the constant `name` names.

    Raises:
        FileNotFoundError: without any.
    """
    pattern = getattr(args, name)
    paths = find_files(pattern)
    if not paths:
        words = f" or one of {', '.join(EMBEDDED)}" if name == "images" else ""
        raise FileNotFoundError(
            f"`{name}` matches no file. Set it to a folder, a glob such as 'faces/*.jpg'{words}. "
            "If a folder has brackets in its name, set it to the folder. "
            f"Received: {name}={pattern}")
    return paths


def _write_files(args, file):
    """Writes image files, whose labels are the names of their folders, or IDX files."""
    paths = paths_of(args, "images")
    idx_paths = [path for path in paths if re.search("idx3[-.]ubyte", os.path.basename(path))]
    if idx_paths:
        _write_idx_files(args, file, idx_paths)
        return
    folders = [os.path.basename(os.path.dirname(os.path.abspath(path))) for path in paths]
    names, labels = np.unique(folders, return_inverse=True)
    _write_shuffled(args, file, "faces", paths, _reader(args, paths), labels, names)


def _reader(args, paths):
    """Returns the function(path) that reads the images of a file, a list.

    With crop=tile there are as many tiles of each file as `dataset_size` needs. Tiles of one file
    may be both training and test images.
    """
    if args.crop == "tile":
        count = max(1, math.ceil(args.dataset_size / len(paths)))
        return lambda path: read_tiles(path, args.image_shape, count)
    return lambda path: [read_image(path, args.image_shape, args.crop)]


def _write_shuffled(args, file, name, items, read, labels=(), label_names=()):
    """Reads images and writes them in random order, without those that are exact duplicates.

    A duplicate's label is dropped with it.

    Args:
        args: the constants of the run.
        file: the open HDF5 file.
        name: the dataset to write, "faces" or "photos".
        items: paths, or arrays.
        read: function(item) that returns its images, a list of uint8 `image_shape`.
        labels: an index into `label_names` for each item; empty without labels.
        label_names: sequence of text.
    """
    order = np.random.default_rng(args.seed).permutation(len(items))
    most = args.dataset_size or len(items)
    seen = set()  # hashes of the images that are written
    kept_labels = []
    duplicates = skipped = 0
    for part in _read_in_threads(items, read, order):
        images = []
        for number, images_of_item, reason in part:
            if reason:
                print(f"skipped {items[number]}: {reason}")
                skipped += 1
            for image in images_of_item:
                digest = hashlib.sha256(image).digest()
                if digest in seen:
                    duplicates += 1
                elif len(seen) < most:
                    seen.add(digest)
                    images.append(image)
                    if len(labels):
                        kept_labels.append(labels[number])
        if images:
            _append(args, file, name, images)
        if len(seen) == most:
            break
    if not seen:
        constant = "images" if name == "faces" else name
        raise ValueError(f"`{constant}` matches no usable image: all of its files were skipped. "
                         f"Received: {constant}={getattr(args, constant)}")
    print(f"{name}: {len(seen)} images kept, {duplicates} exact duplicates dropped, "
          f"{skipped} files skipped")
    if len(labels):
        _write_labels(file, kept_labels, label_names)


def _read_in_threads(items, read, order):
    """Yields lists of (number of an item, its images, the reason if it has none)."""
    def read_or_explain(number):
        try:
            return number, read(items[number]), None
        except Exception as error:  # decoders raise all kinds of errors for corrupt files
            return number, [], _explain(items[number], error)

    Image.init()  # loads Pillow's plugins here: loading them in several threads at once is a race
    with ThreadPoolExecutor() as pool:
        for start, stop in _slices(len(order)):
            yield list(pool.map(read_or_explain, order[start:stop]))


def _explain(path, error):
    """Returns why a file cannot be used, given what Pillow raised for it."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image that Pillow reads: convert or unpack it first"
    return f"{type(error).__name__}: {error}"


def _write_idx_files(args, file, paths):
    """Writes IDX files, with labels if a file labels-idx1 lies beside each images-idx3."""
    images, labels = [], []
    for path in paths:
        images.extend(_read_idx(path, axes=3))
        labels_path = re.sub(r"images([-.])idx3", r"labels\1idx1", path)
        if labels_path != path and os.path.exists(labels_path):
            labels.extend(_read_idx(labels_path, axes=1))
    if labels and len(labels) != len(images):
        raise ValueError("`images` must name IDX files with a label for each image, or without "
                         f"labels. Received: images={args.images} with {len(images)} images and "
                         f"{len(labels)} labels")
    _write_arrays(args, file, images, np.array(labels))


def _read_idx(path, axes):
    """Reads an IDX file of bytes, plain or .gz: uint8 [count, rows, columns], or [count]."""
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            content = file.read()
        if content[:4] != bytes([0, 0, 8, axes]):
            raise ValueError("wrong first bytes")
        shape = np.frombuffer(content, ">i4", count=axes, offset=4)
        return np.frombuffer(content, "uint8", offset=4 + 4 * axes).reshape(shape)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is not a complete IDX file of bytes ({error})") from None


def _write_mnist(args, file):
    """Writes MNIST's 60,000 training digits, from the folder mnist, or downloaded by Keras."""
    paths = find_files("mnist/train-images[-.]idx3-ubyte*")
    if paths:
        _write_idx_files(args, file, paths[:1])
        return
    from models import import_keras
    keras = import_keras()
    try:
        (images, labels), _ = keras.datasets.mnist.load_data()
    except Exception as error:  # a download fails in many ways
        raise ValueError("`images` = mnist needs the folder mnist with train-images-idx3-ubyte and "
                         "train-labels-idx1-ubyte, or their .gz, as the download failed. "
                         f"Received: images=mnist ({error})") from None
    _write_arrays(args, file, images, labels)


def _write_arrays(args, file, images, labels):
    """Writes gray images, a sequence of uint8 [rows, columns], and their labels, int [count]."""
    def read(pixels):
        return [_convert(Image.fromarray(pixels), args.image_shape, args.crop)]

    names = [str(number) for number in range(256)]  # labels are bytes
    _write_shuffled(args, file, "faces", images, read, labels, names)


def _write_toyfaces(args, file):
    """Writes toy faces and their factors. The label is the hair color."""
    factors = []
    for start, stop in _slices(args.dataset_size or 10000):
        images, factors_of_slice = faces.sample(stop - start, args.seed, start)
        _append(args, file, "faces", images)
        factors.extend(factors_of_slice)
    file["factors"] = factors
    _write_labels(file, file["factors"][:, 0], faces.FACTORS["hair_color"])


def _write_toyscenes(args, file):
    """Writes drawings of toy scenes."""
    for _, drawings in _paint_scenes(args, first=0):
        _append(args, file, "faces", drawings)


def _write_even(args, file):
    """Writes random even numbers as bits. Numbers repeat."""
    bits = args.image_shape[1]
    _append(args, file, "faces", numbers.sample(args.dataset_size or 10000, args.seed, bits))


# Datasets that need no files of the user's own: {value of `images`: function(args, file)}.
EMBEDDED = {"toyfaces": _write_toyfaces, "toyscenes": _write_toyscenes, "mnist": _write_mnist,
            "even": _write_even}


# ---- HDF5 -> images

@contextlib.contextmanager
def _open_hdf5(path):
    """Opens `data` to read. Whatever h5py raises becomes an error of one line."""
    if not os.path.isfile(path):
        raise FileNotFoundError("`data` must be a file that exists. Make it with python data.py "
                                f"and the same preset. Received: data={path}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except PermissionError as error:
        raise PermissionError(error.errno, os.strerror(error.errno), path) from None
    except Exception as error:
        reason = " ".join(str(error).split())  # HDF5's messages have several lines
        raise ValueError("`data` must be a file that data.py wrote with the same preset. Make one "
                         "under another name: python data.py data=NAME. "
                         f"Received: data={path} ({reason})") from None


def attributes(args):
    """Returns what `data` was made from.

    Returns:
        {"images", "photos", "crop", "dataset_size", "seed", "fingerprint"} with their values; a
        file that another program wrote has none of them.
    """
    with _open_hdf5(args.data) as file:
        return {name: value.decode() if isinstance(value, bytes) else value
                for name, value in file.attrs.items()}


def fingerprint(args):
    """Returns 16 hexadecimal digits that identify the images of `data` and their order."""
    stored = attributes(args).get("fingerprint")
    if stored:
        return stored
    with _open_hdf5(args.data) as file:
        return _hash(file)


class Images:
    """Images of an HDF5 file, uint8, which are read on demand: `images[rows]`.

    Args:
        path: of the file.
        name: of the dataset.
        shape: [count, rows, columns, channels]; images after the first `count` are not used.
    """

    def __init__(self, path, name, shape):
        self.path, self.name, self.shape = path, name, shape

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Reads the images of `rows`, a slice or a sequence of numbers.

        It reads one image at a time: h5py takes 60 times as long for a list of rows [measured].
        """
        if isinstance(rows, slice):
            rows = range(len(self))[rows]
        images = np.empty((len(rows), *self.shape[1:]), "uint8")
        with _open_hdf5(self.path) as file:
            dataset = file[self.name]
            for index, row in enumerate(rows):
                images[index] = dataset[row]
        return images

    def in_memory(self):
        """Returns all images as an array if they fit into memory, else `self`."""
        return self[:] if math.prod(self.shape) <= IN_MEMORY else self


def open_images(args, name="faces"):
    """Opens the images of `data`, without reading them.

    Args:
        args: the constants of the run.
        name: "faces"; with `photos` also "photos" and "smoothed"; of toy scenes also "truths".

    Returns:
        Images of shape [count, *image_shape], uint8. `dataset_size` limits the count.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such an HDF5 file, or its images do not fit `args`.
    """
    with _open_hdf5(args.data) as file:
        shape, dtype = file[name].shape, file[name].dtype
    if shape[1:] != args.image_shape:
        raise ValueError(f"`image_shape` differs from the images in `data`. Set it to {shape[1:]}, "
                         "or name another `data`. Received: "
                         f"image_shape={args.image_shape}, data={args.data}")
    count = min(shape[0], args.dataset_size or shape[0])
    training, _ = split(args, count)
    if len(training) < args.batch_size:
        raise ValueError("`batch_size` must be at most the number of training images. Lower it, or "
                         f"use more images. Received: batch_size={args.batch_size}, with "
                         f"{len(training)} training images of {count} {name} in data={args.data}")
    if dtype != "uint8":
        raise ValueError("`data` must hold uint8 images. Convert it, or name another one. "
                         f"Received: data={args.data} with {dtype}")
    return Images(args.data, name, (count, *shape[1:]))


def labels(args):
    """Reads the labels of `data`: int32 [count], and the list of their names.

    Raises:
        ValueError: there are none.
    """
    with _open_hdf5(args.data) as file:
        if "label_names" in file:
            names = [name.decode() for name in file["label_names"][:]]
            return np.int32(file["labels"][:]), names
    raise ValueError("`conditional`, and `features` = classifier, need images with labels: image "
                     "files in several folders, or IDX files with labels. Received: "
                     f"conditional={args.conditional}, features={args.features}, "
                     f"data={args.data} without labels")


def classes(args):
    """Returns the classes of the images: the factors of toy faces, otherwise the labels.

    Returns:
        int64 [count, factors], or [count, 1] for labels.

    Raises:
        ValueError: `data` has neither.
    """
    with _open_hdf5(args.data) as file:
        if "factors" in file:
            return np.int64(file["factors"][:])
    all_labels, _ = labels(args)
    return np.int64(all_labels[:, None])


def split(args, count):
    """Splits `count` images into training and test images, the same for any `seed`.

    Returns:
        Two sorted arrays of rows.
    """
    order = np.random.default_rng(count).permutation(count)
    test_count = round(args.test_fraction * count)
    return np.sort(order[test_count:]), np.sort(order[:test_count])


def reals(args):
    """Returns as many real images as the sample grid has cells, always the same ones.

    Returns:
        float32 [rows x columns of the grid, *image_shape] in [-1, 1].
    """
    images = open_images(args)
    rows = np.random.default_rng(args.seed).permutation(len(images))
    return normalize(images[rows[:args.grid[0] * args.grid[1]]])


# ---- batches

def iterate(args, start=0):
    """Returns a generator of training batches, without end.

    Args:
        args: the constants of the run.
        start: number of the first batch: `iterate(args, 10)` continues after ten batches.

    Yields:
        images, float32 [batch_size, *image_shape] in [-1, 1]
        if `conditional`: (images, labels), the latter int32 [batch_size]
        if `photos` is set: (images, photos, the same images smoothed)
    """
    return _batches(args, _open_datasets(args), start)


def load(args, start=0):
    """Returns an endless tf.data.Dataset of what `iterate` yields. It reads two batches ahead.

    Raises:
        FileNotFoundError, ValueError: `data` cannot be used.
    """
    import tensorflow as tf
    signature = tf.TensorSpec((args.batch_size, *args.image_shape), "float32")
    if args.photos:
        signature = (signature, signature, signature)
    elif args.conditional:
        signature = (signature, tf.TensorSpec((args.batch_size,), "int32"))
    batches = functools.partial(_batches, args, _open_datasets(args), start)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread can delay the end by half a minute [measured]
    return dataset.prefetch(2).with_options(options)


def _open_datasets(args):
    """Opens what batches are made from: {name: array, or Images}."""
    datasets = {"faces": open_images(args).in_memory()}
    if args.conditional:
        datasets["labels"], _ = labels(args)
    if args.photos:
        datasets["photos"] = open_images(args, "photos").in_memory()
        datasets["smoothed"] = open_images(args, "smoothed").in_memory()
    return datasets


def _batches(args, datasets, start):
    """Yields what `iterate` describes."""
    images = datasets["faces"]
    batch_rows = _batch_rows(args, len(images), start)
    if args.photos:
        photos = datasets["photos"]
        photo_rows = _batch_rows(args, len(photos), start, PHOTO_STREAM)
    for rows, mirrored in batch_rows:
        batch = _read(images, rows, mirrored)
        if args.photos:
            smoothed = _read(datasets["smoothed"], rows, mirrored)
            yield batch, _read(photos, *next(photo_rows)), smoothed
        elif args.conditional:
            yield batch, datasets["labels"][rows]
        else:
            yield batch


def _batch_rows(args, count, start, stream=()):
    """Yields the rows of each batch, and which of these images are mirrored.

    Each pass over the training images has an order of its own, which depends on (seed, pass,
    stream). Images beyond the last full batch of a pass are left out.
    """
    training, _ = split(args, count)
    size = args.batch_size
    batches_per_pass = len(training) // size
    first_pass, first_batch = divmod(start, batches_per_pass)
    for pass_number in itertools.count(first_pass):
        rng = np.random.default_rng([args.seed, pass_number, *stream])
        order = rng.permutation(training)
        for index in range(first_batch, batches_per_pass):
            rows = np.sort(order[index * size:(index + 1) * size])  # for the disk
            # NumPy ignores a trailing 0 in a seed: from 0, the first would be the order's seed.
            rng = np.random.default_rng([args.seed, pass_number, index + 1, *stream])
            probability = 0.5 if args.flip else 0.0
            mirrored = rng.random(size) < probability
            yield rows, mirrored
        first_batch = 0


def _read(images, rows, mirrored):
    """Reads images as float32 in [-1, 1] and flips those that are mirrored horizontally."""
    batch = images[rows]
    batch[mirrored] = batch[mirrored, :, ::-1]
    return normalize(batch)


# ---- photos of a CartoonGAN

def _write_photos(args, file):
    """Writes photos, the true drawings of toy scenes, and the images with blurred edges."""
    if args.photos == "toyscenes":
        first = args.dataset_size or 2000  # other scenes than the drawings that G learns from
        for photos_of_slice, drawings in _paint_scenes(args, first):
            _append(args, file, "photos", photos_of_slice)
            _append(args, file, "truths", drawings)
    else:
        paths = paths_of(args, "photos")
        _write_shuffled(args, file, "photos", paths, _reader(args, paths))
    images = file["faces"]
    for start, stop in _slices(len(images)):
        _append(args, file, "smoothed", [smooth_edges(image) for image in images[start:stop]])


def _paint_scenes(args, first):
    """Yields photos and drawings of toy scenes, from number `first` on, a slice at a time."""
    size = args.image_shape[0]
    for start, stop in _slices(args.dataset_size or 2000):
        count = stop - start
        if args.crop != "tile":
            yield scenes.sample(count, args.seed, first + start, size)
            continue
        scene_photos, scene_drawings = scenes.sample(
            count, args.seed, first + start, TILES_OF_SCENE * size)
        rng = np.random.default_rng([args.seed, first + start])
        photo_tiles, drawing_tiles = [], []
        for photo, drawing in zip(scene_photos, scene_drawings):
            top, left = rng.integers(len(photo) - size + 1, size=2)
            photo_tiles.append(photo[top:top + size, left:left + size])
            drawing_tiles.append(drawing[top:top + size, left:left + size])
        yield photo_tiles, drawing_tiles


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


def photos(args, count):
    """Returns the first `count` test photos of `data`, or all of them, if they are fewer.

    Returns:
        float32 [count, rows, columns, 3] in [-1, 1].

    Raises:
        ValueError: there are no test photos.
    """
    return normalize(_test_images(args, "photos", count))


def truths(args, count):
    """Returns the true drawings of the photos that `photos` returns.

    Returns:
        uint8 [count, rows, columns, 3], or None if `data` has none.
    """
    with _open_hdf5(args.data) as file:
        if "truths" not in file:
            return None
    return _test_images(args, "truths", count)


def _test_images(args, name, count):
    """Returns the first `count` test images, uint8, of "photos" or "truths"."""
    images = open_images(args, name)
    _, test = split(args, len(images))
    if not len(test):
        raise ValueError("`test_fraction` must leave test photos, for the samples. Raise it, or "
                         f"use more photos. Received: test_fraction={args.test_fraction}, "
                         f"data={args.data} with {len(images)} photos")
    return images[test[:count]]


def translate_photos(args, function, multiple, folder):
    """Translates the photos of `generate_from` to PNG files of their sizes.

    Args:
        args: the constants of the run.
        function: maps images [1, rows, columns, 3] in [-1, 1] to images of the same shape.
        multiple: `function` gets images whose rows and columns are a multiple of it: photos are
            padded, and the result is cropped.
        folder: Path of the folder to write to, with the same folders below it as the photos have.

    Raises:
        FileNotFoundError: `generate_from` matches no file.
    """
    paths = paths_of(args, "generate_from")
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    written = set()
    for path in paths:
        try:
            image = np.asarray(_to_bytes(_open_image(path), 3))
        except Exception as error:  # decoders raise all kinds of errors for corrupt files
            print(f"skipped {path}: {_explain(path, error)}")
            continue
        rows, columns, _ = image.shape
        # At least 4x4 pixels at the lowest resolution, as the networks pad by reflection.
        padded_rows = math.ceil(max(rows, 4 * multiple) / multiple) * multiple
        padded_columns = math.ceil(max(columns, 4 * multiple) / multiple) * multiple
        margins = [(0, padded_rows - rows), (0, padded_columns - columns), (0, 0)]
        padded = np.pad(image, margins, "edge")
        translated = denormalize(function(normalize(padded)[None]))[0, :rows, :columns]
        target = folder / os.path.relpath(path, shared)
        if target.with_suffix(".png") in written:  # of a.bmp and a.jpg, the latter is a.jpg.png
            target = target.with_name(f"{target.name}.png")
        else:
            target = target.with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        save_png(translated, target)
        written.add(target)
    print(f"{folder}: {len(written)} images of {args.generate_from}")


# ---- main

def main(args, verbs=()):
    """Makes `data`."""
    constants.check(args)
    make(args)


if __name__ == "__main__":
    constants.run_script(main, *constants.read_command_line())
