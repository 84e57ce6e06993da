"""Tests of data.py: reading image files, writing the HDF5 file, and batches."""
import gzip
import os
import pathlib
import struct

import h5py
import numpy as np
import pytest
from PIL import Image

import data
from args import Args, CartoonPhotos, Even, Mnist28, ToyFaces, override
from models.toys import faces, numbers, scenes

RNG = np.random.default_rng(0)


def small_args(**changes):
    """Returns Args with small values: 8x8 images from the folder `in`."""
    small = {"images": "in", "image_shape": (8, 8, 3), "batch_size": 2, "flip": False}
    return override(Args, **(small | changes))


def save_noise(path, size=(8, 8)):
    """Saves an image of noise, `size` being (columns, rows), and returns its pixels."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype="uint8")
    Image.fromarray(pixels).save(path)
    return pixels


def save_idx(path, values):
    """Writes uint8 images [count, rows, columns] or labels [count] as an IDX file."""
    header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "wb") as file:
        file.write(header + values.tobytes())


def read_faces(path="data.hdf5"):
    with h5py.File(path) as file:
        return file["faces"][:]


def write_faces(path, images):
    with h5py.File(path, "w") as file:
        file["faces"] = images


def as_set(images):
    """Returns the set of the images' bytes."""
    return {image.tobytes() for image in images}


# ---- bytes and floats

def test_normalize_and_denormalize_keep_every_byte():
    every_byte = np.arange(256, dtype="uint8")
    floats = data.normalize(every_byte)
    assert floats.dtype == np.float32
    assert floats[0] == -1 and floats[255] == 1
    assert (np.abs(floats) <= 1).all()
    assert (data.denormalize(floats) == every_byte).all()


def test_denormalize_clips_and_does_not_change_its_argument():
    images = np.float32([-1.5, 1.5])
    assert list(data.denormalize(images)) == [0, 255]
    assert list(images) == [-1.5, 1.5]


# ---- whole files

def test_an_interrupted_file_leaves_the_older_one_as_it_was(here):
    (here / "file.txt").write_text("older")
    with pytest.raises(KeyboardInterrupt), data.whole_file(here / "file.txt") as temporary:
        temporary.write_text("half of the ne")
        raise KeyboardInterrupt
    assert (here / "file.txt").read_text() == "older"
    with data.whole_file(here / "file.txt") as temporary:
        temporary.write_text("newer")
    assert (here / "file.txt").read_text() == "newer"


# ---- PNG files

def test_save_grid_fills_rows_and_leaves_unused_cells_white(here):
    shades = np.uint8([10, 20, 30])[:, None, None, None]
    images = data.normalize(shades * np.ones((1, 2, 2, 3), "uint8"))
    data.save_grid(images, "grid.png", columns=2)
    grid = np.asarray(Image.open("grid.png"))
    assert (grid == data.grid(images, columns=2)).all()
    assert grid.shape == (4, 4, 3)
    assert (grid[0, 0, 0], grid[0, 2, 0], grid[2, 0, 0], grid[2, 2, 0]) == (10, 20, 30, 255)
    assert os.listdir() == ["grid.png"]


# ---- one image file

def test_center_crops_the_sides_and_squash_keeps_them(here):
    pixels = np.zeros((8, 16, 3), "uint8")
    pixels[:, :4], pixels[:, 12:] = 255, 255  # white sides, black center
    Image.fromarray(pixels).save("wide.png")
    assert data.read_image("wide.png", (8, 8, 3), "center").max() == 0
    assert data.read_image("wide.png", (8, 8, 3), "squash")[:, 0].min() > 200
    for crop in ("center", "squash"):  # more columns than rows: an image that fits stays as it is
        assert (data.read_image("wide.png", (8, 16, 3), crop) == pixels).all()


def test_tiles_are_pieces_of_the_image_at_its_own_size(here):
    pixels = save_noise("in/a.png", (12, 10))
    tiles = data.read_tiles("in/a.png", (8, 6, 3), 20)
    pieces = {pixels[top:top + 8, left:left + 6].tobytes()
              for top in range(pixels.shape[0] - 7) for left in range(pixels.shape[1] - 5)}
    found = {tile.tobytes() for tile in tiles}
    assert len(tiles) == 20 and len(found) > 5 and found <= pieces


def test_image_smaller_than_a_tile_is_enlarged(here):
    Image.new("RGB", (4, 6), "red").save("small.png")
    tile, = data.read_tiles("small.png", (8, 8, 3), 1)
    assert tile.shape == (8, 8, 3) and (tile == (255, 0, 0)).all()


@pytest.mark.parametrize("mode, color, options, expected", [
    ("L", 77, {}, (77, 77, 77)),
    ("P", 0, {"transparency": 0}, (255, 255, 255)),
    ("RGBA", (0, 0, 0, 0), {}, (255, 255, 255)),
])
def test_gray_and_transparent_images_are_converted(here, mode, color, options, expected):
    Image.new(mode, (8, 8), color).save("image.png", **options)
    assert (data.read_image("image.png", (8, 8, 3)) == expected).all()
    assert (data.read_image("image.png", (8, 8, 1)) == expected[0]).all()


def test_exif_orientation_is_applied(here):
    pixels = np.zeros((8, 8, 3), "uint8")
    pixels[:4] = 255  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 3  # to be rotated by 180 degrees
    Image.fromarray(pixels).save("rotated.png", exif=exif)
    rotated = data.read_image("rotated.png", (8, 8, 3))
    assert rotated[:4].max() == 0
    assert rotated[4:].min() == 255


# ---- finding files

def test_find_files_searches_folders_and_globs(here, monkeypatch):
    for path in "in/b.png", "in/[1]/a.png", "in/[1]/deep/c.png", "in/.hidden/d.png":
        save_noise(path)
    expected = ["in/[1]/a.png", "in/[1]/deep/c.png", "in/b.png"]
    for pattern in "in", "in/", "in/**", "**/*.png", "**/**/*.png":
        assert data.find_files(pattern) == expected, pattern
    assert data.find_files("in/*") == ["in/b.png"]
    assert data.find_files("in/[1]") == expected[:2]
    assert data.find_files("in/[1]/a.png") == expected[:1]
    assert data.find_files("nowhere") == []
    monkeypatch.setenv("HOME", str(here))
    assert data.find_files("~/in/*.png") == [f"{here}/in/b.png"]


# ---- images -> HDF5

def test_make_writes_every_image_in_an_order_that_follows_from_the_seed(here):
    pixels = [save_noise(f"in/{index}.png") for index in range(20)]
    assert data.make(small_args()) == "data.hdf5"
    data.make(small_args(data="new/folder/again.hdf5"))
    data.make(small_args(data="other.hdf5", seed=1))
    data.make(small_args(data="four.hdf5", dataset_size=4))
    images = read_faces()
    assert images.dtype == np.uint8
    assert as_set(images) == as_set(pixels)
    assert (read_faces("new/folder/again.hdf5") == images).all()
    assert (read_faces("other.hdf5") != images).any()
    assert as_set(read_faces("other.hdf5")) == as_set(pixels)
    assert (read_faces("four.hdf5") == images[:4]).all()


def test_attributes_say_what_the_file_was_made_from_and_how(here):
    save_noise("in/a.png", (16, 8))
    args = small_args(crop="squash", dataset_size=3, seed=4)
    data.make(args)
    assert (read_faces()[0] == data.read_image("in/a.png", (8, 8, 3), "squash")).all()
    assert data.attributes(args) == {
        "images": "in", "photos": "", "crop": "squash", "dataset_size": 3, "seed": 4,
        "fingerprint": data.fingerprint(args)}
    write_faces("other.hdf5", np.zeros((3, 8, 8, 3), "uint8"))
    assert data.attributes(small_args(data="other.hdf5")) == {}


def test_labels_are_folder_names_without_folders_that_hold_no_image(here, capsys):
    hair_of = {}
    for index in range(9):
        hair = ("red", "blue", "pink")[index % 3]
        hair_of[save_noise(f"in/{hair}/{index}.png").tobytes()] = hair
    (here / "in/list.csv").write_text("no image")
    (here / "in/green").mkdir()
    (here / "in/green/note.txt").write_text("no image")
    data.make(small_args())
    labels, names = data.labels(small_args())
    assert names == ["blue", "pink", "red"]
    assert labels.dtype == np.int32
    assert [hair_of[image.tobytes()] for image in read_faces()] == [names[k] for k in labels]
    assert "blue (3), pink (3), red (3)" in capsys.readouterr().out
    assert (data.classes(small_args()) == labels[:, None]).all()


def test_exact_duplicates_are_dropped_and_counted(here, capsys, monkeypatch):
    monkeypatch.setattr(data, "SLICE", 4)  # duplicates are in different slices, too
    labels_of = {}
    for index in range(12):
        label = "ab"[index % 2]
        labels_of[save_noise(f"in/{label}/{index}.png").tobytes()] = label
        if index < 3:
            Image.open(f"in/{label}/{index}.png").save(f"in/{label}/copy-{index}.png")
    data.make(small_args())
    labels, names = data.labels(small_args())
    images = read_faces()
    assert as_set(images) == set(labels_of)
    printed = capsys.readouterr().out
    assert "12 images kept, 3 exact duplicates dropped, 0 files skipped" in printed
    for image, label in zip(images, labels, strict=True):
        assert labels_of[image.tobytes()] == names[label]


def test_dataset_size_counts_images_rather_than_files(here, capsys):
    for index in range(20):
        save_noise(f"in/{index}.png")
        (here / f"in/{index}.txt").write_text("a caption")
        Image.open(f"in/{index}.png").save(f"in/{index}-copy.png")
    data.make(small_args(dataset_size=15))
    assert len(as_set(read_faces())) == 15
    lines = capsys.readouterr().out.splitlines()
    skipped = [line for line in lines if line.startswith("skipped ")]
    assert f"{len(skipped)} files skipped" in lines[len(skipped)]


def test_unreadable_files_are_skipped_with_the_reason(here, capsys, monkeypatch):
    reasons = {"note.txt": "not an image", "many.zip": "convert or unpack it",
               "float.tiff": "8 bits", "16-bits.png": "8 bits", "unknown.tiff": "not an image",
               "truncated.png": "", "panorama.png": "exceeds limit"}
    save_noise("in/good.png")
    save_noise("in/truncated.png", (30, 30))
    os.truncate("in/truncated.png", 500)
    Image.new("RGB", (1000, 10)).save("in/panorama.png")
    Image.fromarray(np.zeros((8, 8), "float32")).save("in/float.tiff")
    Image.fromarray(np.zeros((8, 8), "uint16")).save("in/16-bits.png")
    for name in "note.txt", "many.zip", "unknown.tiff":
        pathlib.Path("in", name).write_text("no image")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4999)
    data.make(small_args())
    printed = capsys.readouterr().out
    assert "1 images kept, 0 exact duplicates dropped, 7 files skipped" in printed
    for name, reason in reasons.items():
        line, = [line for line in printed.splitlines() if line.startswith(f"skipped in/{name}: ")]
        assert reason in line


def test_an_error_leaves_the_old_file_and_no_other(here):
    save_noise("images/a.png")
    data.make(small_args(images="images"))
    old = read_faces()
    with pytest.raises(FileNotFoundError, match="`images`"):
        data.make(small_args(images="nowhere"))
    os.mkdir("in")
    (here / "in/note.txt").write_text("no image")
    with pytest.raises(ValueError, match="`images`"):
        data.make(small_args())
    with pytest.raises(ValueError, match="`photos`"):
        data.make(small_args(images="images", photos="in"))
    assert (read_faces() == old).all()
    assert sorted(os.listdir()) == ["data.hdf5", "images", "in"]


def test_only_files_of_data_py_are_replaced(here):
    save_noise("in/0.png")
    data.make(small_args(data="faces.h5"))
    data.make(small_args(data="faces.h5"))
    write_faces("other.hdf5", np.zeros((3, 8, 8, 3), "uint8"))  # another program's
    for path in here / "in/0.png", here / "other.hdf5":
        before = path.read_bytes()
        with pytest.raises(ValueError, match="`data`"):
            data.make(small_args(data=str(path)))
        assert path.read_bytes() == before


def test_data_may_be_a_link_to_another_disk(here):
    save_noise("in/0.png")
    os.mkdir("disk")
    os.symlink("disk/large.hdf5", "data.hdf5")
    data.make(small_args())
    assert os.path.islink("data.hdf5")
    assert os.listdir("disk") == ["large.hdf5"]
    assert len(read_faces()) == 1


@pytest.mark.parametrize("changes", [
    {"images": "toyfaces"},
    {"images": "toyscenes", "image_shape": (64, 32, 3)},
])
def test_toys_of_an_impossible_shape_are_refused(here, changes):
    with pytest.raises(ValueError, match="`image_shape`"):
        data.make(small_args(**changes))
    assert os.listdir() == []


# ---- IDX files and embedded datasets

@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_are_read_with_their_labels(here, ending):
    images = RNG.integers(0, 256, (30, 8, 8), dtype="uint8")
    labels = np.uint8(np.arange(30) % 3 * 5)
    os.mkdir("in")
    for part, rows in {"train": slice(0, 20), "t10k": slice(20, 30)}.items():
        save_idx(f"in/{part}-images-idx3-ubyte{ending}", images[rows])
        save_idx(f"in/{part}-labels-idx1-ubyte{ending}", labels[rows])
    args = small_args(image_shape=(8, 8, 1))
    data.make(args)
    label_of = {image.tobytes(): str(label) for image, label in zip(images, labels)}
    found, names = data.labels(args)
    assert names == ["0", "5", "10"]
    assert [label_of[image.tobytes()] for image in read_faces()] == [names[k] for k in found]
    assert len(found) == 30


def test_idx_images_are_cropped_and_their_duplicates_dropped(here):
    images = np.zeros((3, 8, 16), "uint8")
    images[:, :, :4], images[:, :, 12:] = 255, 255  # white sides, which are cropped
    images[2, 4, 8] = 200
    save_idx("x-images-idx3-ubyte", images)
    data.make(small_args(images="x-images-idx3-ubyte"))
    assert sorted(image.max() for image in read_faces()) == [0, 200]


def test_idx_files_need_a_label_for_each_image(here):
    save_idx("x-images-idx3-ubyte", np.zeros((2, 8, 8), "uint8"))
    save_idx("x-labels-idx1-ubyte", np.zeros(1, "uint8"))
    with pytest.raises(ValueError, match="`images`"):
        data.make(small_args(images="x-images-idx3-ubyte"))


@pytest.mark.parametrize("content", [
    b"", b"\x00\x00\x08", b"text instead", struct.pack(">2I", 0x803, 5),
    struct.pack(">4I", 0x803, 5, 28, 28) + bytes(100)])
def test_an_incomplete_idx_file_is_refused(here, content):
    (here / "x-images-idx3-ubyte").write_bytes(content)
    (here / "y-images-idx3-ubyte.gz").write_bytes(content or gzip.compress(bytes(1000))[:-9])
    for name in "x-images-idx3-ubyte", "y-images-idx3-ubyte.gz":
        with pytest.raises(ValueError, match=name):
            data.make(small_args(images=name))


def test_mnist_is_read_from_its_folder_with_its_labels(here):
    images = RNG.integers(0, 256, (30, 28, 28), dtype="uint8")
    os.mkdir("mnist")
    save_idx("mnist/train-images-idx3-ubyte.gz", images)
    save_idx("mnist/train-labels-idx1-ubyte.gz", np.uint8(np.arange(30) % 10))
    data.make(Mnist28)
    assert as_set(read_faces("mnist.hdf5")) == as_set(images)
    assert data.labels(Mnist28)[1] == list("0123456789")


def test_mnist_that_cannot_be_downloaded_is_reported(here, monkeypatch):
    def load_data():
        raise RuntimeError("no network")

    monkeypatch.setattr("keras.datasets.mnist.load_data", load_data)
    with pytest.raises(ValueError, match="`images` = mnist.*no network"):
        data.make(Mnist28)


def test_even_numbers_are_all_that_fit_the_bits_and_repeat(here):
    data.make(override(Even, image_shape=(1, 5, 1), dataset_size=1000))
    found = numbers.to_numbers(read_faces("even.hdf5"))
    assert len(found) == 1000
    assert set(found) == set(range(0, 32, 2))


def test_toy_faces_are_labeled_by_hair_color(here):
    args = override(ToyFaces, dataset_size=80, batch_size=8)
    data.make(args)
    images, factors = faces.sample(80, args.seed)
    labels, names = data.labels(args)
    assert (read_faces("toyfaces.hdf5") == images).all()
    assert (data.classes(args) == factors).all()
    assert (labels == factors[:, 0]).all()
    assert names == list(faces.HAIR_COLORS)


# ---- HDF5 -> images

NUMBERED = np.arange(11, dtype="uint8")[:, None, None, None] * np.ones((1, 8, 8, 3), "uint8")


@pytest.fixture
def numbered(here):
    """data.hdf5 with 11 images; all bytes of image k are k."""
    write_faces("data.hdf5", NUMBERED)


def test_images_are_read_as_from_an_array(numbered):
    images = data.open_images(small_args())
    assert len(images) == 11
    assert images.shape == (11, 8, 8, 3)
    assert images[:].dtype == np.uint8
    for rows in [9, 2, 2], np.array([4]), slice(2, 8), slice(-3, None), slice(None), []:
        assert (images[rows] == NUMBERED[rows]).all()
    assert len(data.open_images(small_args(dataset_size=4))[:]) == 4


def test_reading_from_the_file_equals_reading_from_memory(numbered, monkeypatch):
    args = small_args(flip=True)
    batches = data.iterate(args)
    expected = [next(batches) for _ in range(10)]
    monkeypatch.setattr(data, "IN_MEMORY", 0)
    for batch, expected_batch in zip(data.iterate(args), expected):
        assert (batch == expected_batch).all()


def test_reals_are_as_many_images_as_the_grid_has(numbered):
    args = small_args(grid=(2, 3))
    images = data.reals(args)
    assert images.shape == (6, 8, 8, 3)
    assert len(as_set(images)) == 6
    assert (data.reals(args) == images).all()


def test_fingerprint_identifies_images_labels_photos_and_their_order(here, monkeypatch):
    for index in range(4):
        save_noise(f"in/{'ab'[index % 2]}/{index}.png")
    args = small_args()
    data.make(args)
    ours = data.fingerprint(args)
    shuffled = small_args(data="shuffled.hdf5", seed=1)
    data.make(shuffled)
    assert data.fingerprint(shuffled) != ours
    with h5py.File("data.hdf5", "r+") as file:
        del file.attrs["fingerprint"]
        monkeypatch.setattr(data, "SLICE", 3)
        assert data.fingerprint(args) == ours  # by reading, in slices of any length
        file["photos"] = file["faces"][:]
        with_photos = data.fingerprint(args)
        assert with_photos != ours
        file["labels"][:] = 1 - file["labels"][:]
    assert data.fingerprint(args) != with_photos


@pytest.mark.parametrize("name, changes", [
    ("batch_size", {"batch_size": 12}),
    ("batch_size", {"dataset_size": 1}),
    ("image_shape", {"image_shape": (8, 8, 1)}),
    ("data", {"data": "none.hdf5"}),
    ("data", {"data": "text.hdf5"}),
    ("data", {"data": "integers.hdf5"}),
    ("data", {"photos": "in"}),
    ("conditional", {"conditional": True}),
])
def test_load_refuses_files_that_do_not_fit(numbered, here, name, changes):
    (here / "text.hdf5").write_text("no HDF5")
    write_faces("integers.hdf5", np.zeros((11, 8, 8, 3), "int32"))
    with pytest.raises((ValueError, FileNotFoundError), match=f"`{name}`.*Received: .*{name}="):
        data.load(small_args(**changes))


# ---- batches

def numbers_of(batches, count):
    """Returns the numbers of the images in the next `count` batches, a tuple for each."""
    found = []
    for _ in range(count):
        batch = data.denormalize(next(batches))
        found.append(tuple(batch[:, 0, 0, 0].tolist()))
    return found


def test_each_pass_shows_every_image_once_in_another_order(numbered):
    batches = numbers_of(data.iterate(small_args()), 10)
    first, second = sum(batches[:5], ()), sum(batches[5:], ())
    assert len(set(first)) == len(set(second)) == 10  # of 11 images: five batches of two
    assert first != second
    assert numbers_of(data.iterate(small_args(seed=1)), 5) != batches[:5]


def test_iterate_and_load_resume_at_any_batch(numbered):
    batches = numbers_of(data.iterate(small_args()), 20)
    for start in 1, 4, 5, 13:
        resumed = numbers_of(data.iterate(small_args(), start), 3)
        assert resumed == batches[start:start + 3]
    assert numbers_of(data.load(small_args(), 13).as_numpy_iterator(), 3) == batches[13:16]


def test_split_is_the_same_for_any_seed():
    training, test = data.split(small_args(test_fraction=0.3), 10)
    assert sorted([*training, *test]) == list(range(10))
    assert len(test) == 3
    other_training, _ = data.split(small_args(test_fraction=0.3, seed=1), 10)
    assert (other_training == training).all()


def test_load_returns_labels_if_conditional(here, tiny):
    args = tiny(conditional=True)
    data.make(args)
    images, labels = next(data.load(args, 3).as_numpy_iterator())
    expected_images, expected_labels = next(data.iterate(args, 3))
    assert (images == expected_images).all()
    assert (labels == expected_labels).all()
    all_labels, _ = data.labels(args)
    label_of = dict(zip(map(bytes, data.open_images(args)[:]), all_labels))
    for image, label in zip(data.denormalize(images), labels, strict=True):
        assert label in (label_of.get(bytes(image)), label_of.get(image[:, ::-1].tobytes()))


def test_orders_and_flips_have_random_streams_of_their_own(with_photos, monkeypatch):
    streams = []
    default_rng = np.random.default_rng

    def record(seed):
        streams.append(tuple(np.random.SeedSequence(seed).generate_state(4)))
        return default_rng(seed)

    batches = data.iterate(with_photos)
    next(batches)
    monkeypatch.setattr(np.random, "default_rng", record)
    for _ in range(20):
        next(batches)
    assert len(set(streams)) == len(streams) > 50


def test_flip_mirrors_about_half_of_the_images(here):
    pixels = np.zeros((64, 8, 8, 3), "uint8")
    pixels[:, :, 0] = 255  # a white left edge
    write_faces("data.hdf5", pixels)
    batch = next(data.iterate(small_args(batch_size=64, flip=True, test_fraction=0.0)))
    left, right = batch[:, 0, 0, 0] == 1, batch[:, 0, -1, 0] == 1
    assert (left ^ right).all()
    assert 16 < right.sum() < 48


# ---- photos of a CartoonGAN

@pytest.fixture
def with_photos(here):
    """A preset and its data.hdf5: 12 cartoons, with an edge in each, and 9 photos."""
    os.mkdir("cartoons")
    for index in range(12):
        pixels = np.full((8, 8, 3), 20 * index, "uint8")
        pixels[:, 6:] = 255 - 20 * index
        Image.fromarray(pixels).save(f"cartoons/{index}.png")
    for index in range(9):
        save_noise(f"photos/{'ab'[index % 2]}/{index}.png")
    args = small_args(images="cartoons", photos="photos", flip=True, test_fraction=0.34)
    data.make(args)
    return args


def unflipped(image):
    """Returns the bytes of an image or of its mirror image, the same for both."""
    return min(image.tobytes(), image[:, ::-1].tobytes())


def test_smooth_edges_blurs_along_edges_only():
    image = np.zeros((32, 32, 3), "uint8")
    image[:, 16:] = 200
    smooth = data.smooth_edges(image)
    assert (smooth[:, :13] == 0).all()
    assert (smooth[:, 19:] == 200).all()
    assert 60 < smooth[:, 15].min() and smooth[:, 16].max() < 140  # the step has become a ramp
    noise = np.uint8(100 + RNG.integers(0, 8, (32, 32, 3)))
    assert (data.smooth_edges(noise) == noise).all()


def test_batches_with_photos_never_show_test_photos(with_photos):
    batches = data.iterate(with_photos)
    trained = set()
    for _ in range(40):
        images, photos, smoothed = next(batches)
        assert images.shape == photos.shape == smoothed.shape == (2, 8, 8, 3)
        for image, smooth in zip(data.denormalize(images), data.denormalize(smoothed)):
            assert (data.smooth_edges(image) == smooth).all()  # mirrored alike
        trained.update(unflipped(photo) for photo in data.denormalize(photos))
    test = {unflipped(photo) for photo in data.denormalize(data.photos(with_photos, 100))}
    assert len(trained) == 6
    assert len(test) == 3
    assert not trained & test
    assert len(data.photos(with_photos, 2)) == 2
    assert data.truths(with_photos, 2) is None
    with pytest.raises(ValueError, match="`test_fraction`"):
        data.photos(override(with_photos, test_fraction=0.0), 2)


def test_load_resumes_batches_with_photos(with_photos):
    batches = data.iterate(with_photos)
    expected = [next(batches) for _ in range(18)]
    loaded = next(data.load(with_photos, 17).as_numpy_iterator())
    for ours, theirs in zip(loaded, expected[17], strict=True):
        assert (ours == theirs).all()


def test_toy_scenes_are_drawings_and_photos_of_other_scenes(here, monkeypatch):
    monkeypatch.setattr(data, "SLICE", 4)
    args = small_args(images="toyscenes", photos="toyscenes", image_shape=(32, 32, 3), seed=3,
                      dataset_size=6, test_fraction=0.5)
    data.make(args)
    _, drawings = scenes.sample(6, 3, 0, 32)
    photos, truths = scenes.sample(6, 3, 6, 32)
    with h5py.File("data.hdf5") as file:
        assert (file["faces"][:] == drawings).all()
        assert (file["photos"][:] == photos).all()
        assert (file["truths"][:] == truths).all()
    _, test = data.split(args, 6)
    assert (data.denormalize(data.photos(args, 2)) == photos[test[:2]]).all()
    assert (data.truths(args, 2) == truths[test[:2]]).all()


def test_dataset_of_tiles_has_several_of_each_file(here, capsys):
    for name in "abc":
        save_noise(f"photos/{name}.png", (40, 30))
    (here / "photos/d.png").write_text("no image")
    args = small_args(images="photos", crop="tile", dataset_size=10)
    data.make(args)
    assert len(data.open_images(args)) == 9  # three of each file, of which one cannot be read
    assert capsys.readouterr().out.count("skipped photos/d.png") == 1
    data.make(override(args, dataset_size=5))  # two of each file
    assert len(data.open_images(args)) == 5
    data.make(override(args, dataset_size=0))
    assert len(data.open_images(args)) == 3


def test_tiles_of_toy_scenes_and_of_their_true_drawings_are_the_same_pieces(here):
    args = small_args(images="toyscenes", photos="toyscenes", image_shape=(32, 32, 3), seed=3,
                      dataset_size=2, crop="tile")
    data.make(args)
    photos, truths = scenes.sample(2, 3, 2, 64)
    with h5py.File("data.hdf5") as file:
        found, found_truths = file["photos"][:], file["truths"][:]
    for number in range(2):
        places = [(top, left) for top in range(33) for left in range(33)
                  if (photos[number, top:top + 32, left:left + 32] == found[number]).all()]
        (top, left), = places
        assert (truths[number, top:top + 32, left:left + 32] == found_truths[number]).all()


def test_translated_photos_keep_their_names_and_sizes(here, capsys):
    names = {"b.png": "b.png", "sub/a.bmp": "sub/a.png", "sub/a.png": "sub/a.png.png"}
    originals = {name: save_noise(f"mine/{name}", (33, 9)) for name in names}
    (here / "mine/corrupt.png").write_text("no image")
    (here / "mine/phone.heic").write_text("no image")
    args = override(CartoonPhotos, generate_from="mine")

    def invert(images):
        assert images.shape == (1, 16, 36, 3)
        return -images

    data.translate_photos(args, invert, 4, here / "out")
    for name, original in originals.items():
        translated = np.asarray(Image.open(here / "out" / names[name]))
        assert (translated == 255 - original).all()
    printed = capsys.readouterr().out
    assert "skipped mine/corrupt.png: not an image" in printed
    assert "skipped mine/phone.heic: not an image" in printed
    assert "3 images of mine" in printed
