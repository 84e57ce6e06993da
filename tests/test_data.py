import glob
import gzip
import os
import signal
import pathlib
import struct
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest
from PIL import Image

import data
import gan as story
from args import Args, Even, Mnist28, ToyFaces, override
from models import even

RNG = np.random.default_rng(0)


def small(**changes):
    """Real preset, tiny values: 8x8 images from the folder `in`."""
    return override(Args, **({"images": "in/*", "image_shape": (8, 8, 3), "batch_size": 2, "flip": False} | changes))


def draw(path, size=(8, 8), mode="RGB"):
    """Saves an image of noise as a PNG (or what the ending says) and returns its pixels."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype="uint8")
    image = Image.fromarray(pixels).convert(mode)
    image.save(path)
    return np.asarray(image)


def faces(path="data.hdf5"):
    with h5py.File(path) as file:
        return file["faces"][:]


# ---- bytes <-> [-1, 1]

def test_every_byte_survives_the_round_trip():
    every = np.arange(256, dtype="uint8")
    there = data.normalize(every)
    assert there.dtype == np.float32 and (there[0], there[255]) == (-1, 1)
    assert (np.abs(there) <= 1).all()
    assert (data.denormalize(there) == every).all()


def test_denormalize_cuts_what_is_out_of_range_and_leaves_its_argument_alone():
    images = np.float32([-1.5, 1.5])
    assert list(data.denormalize(images)) == [0, 255]
    assert list(images) == [-1.5, 1.5]


# ---- images -> PNG

def test_a_grid_is_filled_row_by_row_and_its_rest_is_white(here):
    images = data.normalize(np.uint8([10, 20, 30])[:, None, None, None] * np.ones((1, 2, 2, 3), "uint8"))
    data.save_grid(images, "grid.png", columns=2)
    grid = np.asarray(Image.open("grid.png"))
    assert grid.shape == (4, 4, 3)
    assert (grid[0, 0, 0], grid[0, 2, 0], grid[2, 0, 0], grid[2, 2, 0]) == (10, 20, 30, 255)
    assert os.listdir() == ["grid.png"]


# ---- one file -> one image

def test_pixels_of_the_right_size_are_kept_to_the_bit(here):
    pixels = draw("in/a.png")
    assert (data.read_image("in/a.png", (8, 8, 3)) == pixels).all()


def test_center_cuts_the_sides_and_squash_keeps_them(here):
    os.mkdir("in")
    pixels = np.zeros((8, 16, 3), "uint8")
    pixels[:, :4], pixels[:, 12:] = 255, 255  # white sides, black middle
    Image.fromarray(pixels).save("in/wide.png")
    assert data.read_image("in/wide.png", (8, 8, 3), "center").max() == 0
    assert data.read_image("in/wide.png", (8, 8, 3), "squash")[:, 0].min() > 200


def test_transparency_becomes_white(here):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save("a.png")
    assert data.read_image("a.png", (8, 8, 3)).min() == 255
    Image.new("LA", (8, 8), (0, 0)).save("b.png")
    assert data.read_image("b.png", (8, 8, 1)).min() == 255
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30])
    palette.save("c.png", transparency=0)
    assert data.read_image("c.png", (8, 8, 3)).min() == 255


def test_every_kind_of_pixel_becomes_the_wanted_one(here):
    Image.fromarray(np.full((8, 8), 128 * 257, "uint16")).save("deep.png")  # 16 bits
    assert set(data.read_image("deep.png", (8, 8, 3)).flat) == {128}
    Image.new("L", (8, 8), 77).save("grey.png")
    assert set(data.read_image("grey.png", (8, 8, 3)).flat) == {77}
    Image.new("RGB", (8, 8), (77, 77, 77)).save("rgb.png")
    assert data.read_image("rgb.png", (8, 8, 1)).shape == (8, 8, 1)
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save("print.jpg")  # no ink
    assert data.read_image("print.jpg", (8, 8, 3)).min() > 250
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30])
    palette.save("palette.gif")
    assert tuple(data.read_image("palette.gif", (8, 8, 3))[0, 0]) == (10, 20, 30)


def test_exif_orientation_is_honoured(here):
    pixels = np.zeros((8, 8, 3), "uint8")
    pixels[:4] = 255  # white above
    exif = Image.Exif()
    exif[0x0112] = 3  # to be shown turned by 180 degrees
    Image.fromarray(pixels).save("turned.png", exif=exif)
    turned = data.read_image("turned.png", (8, 8, 3))
    assert turned[:4].max() == 0 and turned[4:].min() == 255


# ---- images -> HDF5

def test_images_become_one_plain_file(here):
    pixels = [draw(f"in/{index}.png") for index in range(5)]
    assert data.make(small()) == "data.hdf5"
    with h5py.File("data.hdf5") as file:
        dataset = file["faces"]
        assert dataset.dtype == np.uint8 and dataset.chunks is None and dataset.compression is None
        assert "labels" not in file
    assert data.attributes(small())["images"] == "in/*"
    assert {image.tobytes() for image in faces()} == {image.tobytes() for image in pixels}
    assert sorted(os.listdir()) == ["data.hdf5", "in"]


def test_folder_names_become_labels(here):
    truth = {draw(f"in/{hair}/{index}.png").tobytes(): hair for hair in ("red", "blue") for index in range(3)}
    data.make(small(images="in/*/*"))
    with h5py.File("data.hdf5") as file:
        names = [file["label_names"].asstr()[label] for label in file["labels"]]
        assert [truth[image.tobytes()] for image in file["faces"]] == names


def test_a_kill_costs_no_part_that_was_read(here):
    os.makedirs("in/a"), os.makedirs("in/b")
    for index in range(3 * data.CHUNK):
        colour = index % 256, index // 256, 0
        Image.new("RGB", (500, 500), colour).save(f"in/{'ab'[index % 2]}/{index}.png", compress_level=1)
    words = ["images=in/*/*", "image_shape=(8,8,3)", "batch_size=2"]
    process = subprocess.Popen([sys.executable, data.__file__, *words], stdout=subprocess.DEVNULL,
                               start_new_session=True)
    while not glob.glob("data.hdf5.*.parts/*.npz") and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    read = {path: os.stat(path).st_mtime_ns for path in glob.glob("data.hdf5.*.parts/*.npz")}
    assert 1 <= len(read) < 3 and not os.path.exists("data.hdf5")
    said = subprocess.run([sys.executable, data.__file__, *words], capture_output=True, text=True, check=True).stdout
    assert f"{len(read)} of 3 parts were read before" in said
    data.make(small(images="in/*/*", data="whole.hdf5"))
    with h5py.File("data.hdf5") as resumed, h5py.File("whole.hdf5") as whole:
        assert len(whole["faces"]) == 3 * data.CHUNK
        assert all((resumed[name][()] == whole[name][()]).all() for name in ("faces", "labels", "label_names"))
    assert sorted(os.listdir()) == ["data.hdf5", "in", "whole.hdf5"]


def test_what_a_kill_left_broken_is_read_anew(here):
    for index in range(3):
        draw(f"in/{index}.png")
    paths, part = data.find_files("in/*"), str(here / "part.npz")
    whole, *_ = data.read_chunk(paths, (8, 8, 3), "center", part)
    for content in b"", open(part, "rb").read()[:300]:
        pathlib.Path(part).write_bytes(content)
        assert (data.read_chunk(paths, (8, 8, 3), "center", part)[0] == whole).all()
        assert os.path.getsize(part) > 300


def test_what_was_read_of_the_images_stays_where_the_photos_are_none(here):
    draw("in/a.png"), draw("in/b.png")
    pathlib.Path("photo.png").write_text("no image")
    with pytest.raises(ValueError, match="`photos` matches no usable image"):
        data.make(small(photos="photo.png"))
    assert len(glob.glob("data.hdf5.*.parts/*.npz")) == 1
    draw("in/c.png")
    os.replace("in/c.png", "photo.png")
    data.make(small(photos="photo.png"))
    assert sorted(os.listdir()) == ["data.hdf5", "in", "photo.png"]


def test_two_make_one_file_one_after_the_other(here, capsys):
    draw("in/a.png"), draw("in/b.png")
    code = "import sys, data\nwith data.locked('data.hdf5.lock'):\n    print('held', flush=True); sys.stdin.readline()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             env=os.environ | {"PYTHONPATH": os.path.dirname(data.__file__)})
    assert other.stdout.readline() == "held\n"
    threading.Timer(1, lambda: other.stdin.close()).start()
    data.make(small())
    assert f"Waiting for process {other.pid}" in capsys.readouterr().out and other.wait() == 0
    assert sorted(os.listdir()) == ["data.hdf5", "in"]


def test_workers_end_with_the_process_that_started_them(here):
    code = ("import multiprocessing, os, time, data\nif __name__ == '__main__':\n    os.cpu_count = lambda: 2\n"
            "    for _ in data.in_parallel(data.toy_chunk, [(index, 8, 0) for index in range(10 ** 6)]):\n"
            "        print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
            "        time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONPATH": os.path.dirname(data.__file__)})
    workers = [int(number) for number in process.stdout.readline().split()]
    process.kill()
    process.wait()
    assert len(workers) == 2
    for number in workers:
        for _ in range(100):
            if not os.path.exists(f"/proc/{number}") or " Z " in pathlib.Path(f"/proc/{number}/stat").read_text():
                break
            time.sleep(0.1)
        else:
            pytest.fail("a worker outlived its parent")


def test_what_nobody_waits_for_is_not_read_to_its_end(here, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    draw("in/small.png")
    draw("in/large.png", (2000, 2000))
    tasks = [([name] * count, (8, 8, 3), "center", f"{index}.npz")
             for index, (name, count) in enumerate([("in/small.png", 1), *[("in/large.png", data.CHUNK)] * 6])]
    images = data.in_parallel(data.read_chunk, tasks)
    next(images)
    images.close()  # as where Ctrl-C, or a full disk, ends what takes them
    assert not set(os.listdir()) - {"in", "0.npz"}


def test_exact_duplicates_are_dropped_and_counted(here, capsys):
    for name in "abc":
        Image.new("RGB", (8, 8), "red").save(f"{name}.png")
    data.make(small(images="?.png"))
    assert len(faces()) == 1
    assert "1 images kept, 2 exact duplicates dropped" in capsys.readouterr().out


def test_an_unusable_file_is_named_with_its_reason_and_skipped(here, capsys, monkeypatch):
    draw("in/good.png")
    draw("in/truncated.png", (64, 64))
    os.truncate("in/truncated.png", 2000)
    (here / "in/note.txt").write_text("no image")
    (here / "in/empty.jpg").touch()
    os.mkfifo("in/pipe")
    draw("in/bomb.png", (100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9999)
    data.make(small())
    said = capsys.readouterr().out
    assert len(faces()) == 1
    assert "1 images kept, 0 exact duplicates dropped, 5 files skipped" in said
    for line in ("skipped in/note.txt: not an image", "skipped in/empty.jpg: not an image",
                 "skipped in/bomb.png: DecompressionBomb", "skipped in/truncated.png: ",
                 "skipped in/pipe: OSError: not a regular file"):
        assert line in said


def test_where_nothing_is_usable_it_fails_and_the_old_file_stays(here):
    (here / "data.hdf5").write_text("old")
    with pytest.raises(FileNotFoundError, match=r"`images` matches no file.*Received: images=in/\*"):
        data.make(small())
    os.mkdir("in")
    (here / "in/note.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"matches no usable image.*images=in/\*, whose files were all"):
        data.make(small())
    assert (here / "data.hdf5").read_text() == "old"
    assert sorted(os.listdir()) == ["data.hdf5", "in"]


def test_dataset_size_takes_that_many(here):
    for index in range(6):
        draw(f"in/{index}.png")
    data.make(small(dataset_size=4))
    assert len(faces()) == 4


def test_idx_files_are_read_plain_and_zipped_with_their_labels(here):
    images, labels = RNG.integers(0, 256, (5, 28, 28), dtype="uint8"), np.arange(5, dtype="uint8")
    for opener, ending in (open, ""), (gzip.open, ".gz"):
        with opener(f"x-images-idx3-ubyte{ending}", "wb") as file:
            file.write(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
        with opener(f"x-labels-idx1-ubyte{ending}", "wb") as file:
            file.write(struct.pack(">2I", 0x801, 5) + labels.tobytes())
        data.make(small(images=f"x-images-idx3-ubyte{ending}", image_shape=(28, 28, 1)))
        with h5py.File("data.hdf5") as file:
            assert (file["faces"][..., 0] == images[file["labels"][:]]).all()
            assert sorted(file["labels"]) == [0, 1, 2, 3, 4]


def test_dataset_size_is_drawn_from_all_idx_files(here):
    for index, name in enumerate("ab"):
        images = RNG.integers(0, 256, (50, 8, 8 + index), dtype="uint8")
        (here / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
        (here / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 50) + bytes([index] * 50))
    data.make(small(images="*-images-idx3-ubyte", dataset_size=40))
    with h5py.File("data.hdf5") as file:
        labels = file["labels"][:]
    assert len(labels) == 40 and 10 < labels.sum() < 30 and 0 < labels[:10].sum() < 10  # a fair sample, mixed


def test_idx_images_are_cut_to_shape_and_their_duplicates_dropped(here):
    images = np.zeros((3, 8, 16), "uint8")
    images[:, :, :4], images[:, :, 12:] = 255, 255  # white sides, which the crop cuts off
    images[2, 4, 8] = 200
    (here / "x-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
    data.make(small(images="x-images-idx3-ubyte"))
    assert faces().shape == (2, 8, 8, 3) and sorted(image.max() for image in faces()) == [0, 200]


def test_idx_files_that_do_not_fit_are_refused(here):
    (here / "x-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 2, 8, 8) + bytes(128))
    (here / "x-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 1) + bytes(1))
    with pytest.raises(ValueError, match="x-labels-idx1-ubyte must hold a label for each of 2 images"):
        data.make(small(images="x-images-idx3-ubyte"))
    whole = gzip.compress(bytes(1000))
    for content in b"no gzip", whole[:-9]:
        (here / "y-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(ValueError, match="y-images-idx3-ubyte.gz can't be read"):
            data.make(small(images="y-images-idx3-ubyte.gz"))


def test_a_cut_idx_file_is_refused(here):
    (here / "x-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 5, 28, 28) + bytes(100))
    with pytest.raises(ValueError, match="no whole IDX file.*100 bytes"):
        data.make(small(images="x-images-idx3-ubyte", image_shape=(28, 28, 1)))
    for content in b"", b"\x00\x00\x08", b"text instead", struct.pack(">2I", 0x803, 5):
        (here / "x-images-idx3-ubyte").write_bytes(content)
        with pytest.raises(ValueError, match="no whole IDX file"):
            data.make(small(images="x-images-idx3-ubyte", image_shape=(28, 28, 1)))


def test_several_processes_write_what_one_does(here, tiny, monkeypatch):
    data.make(tiny(dataset_size=520))
    several = faces("toyfaces.hdf5")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    data.make(tiny(dataset_size=520))
    assert len(several) == 520 and (faces("toyfaces.hdf5") == several).all()


def test_real_faces_are_read_where_there_are_some(here):
    folder = os.environ.get("ANIME_FACES")
    if not folder:  # .ci/run names one where it can
        pytest.skip("real faces may not be handed on: whoever has some names their folder in ANIME_FACES")
    data.make(override(Args, images=f"{folder}/*.jpg", dataset_size=300))
    images = faces()
    assert images.shape == (300, 64, 64, 3)
    assert 20 < images.std() < 120 and len(np.unique(images.reshape(300, -1), axis=0)) == 300


# ---- the family: digits, numbers, photos

def test_mnist_is_found_in_its_folder_with_its_labels(here):
    images, labels = RNG.integers(0, 256, (30, 28, 28), dtype="uint8"), np.arange(30, dtype="uint8") % 10
    os.mkdir("mnist")
    for name, content in (("images-idx3", struct.pack(">4I", 0x803, *images.shape) + images.tobytes()),
                          ("labels-idx1", struct.pack(">2I", 0x801, 30) + labels.tobytes())):
        with gzip.open(f"mnist/train-{name}-ubyte.gz", "wb") as file:
            file.write(content)
    args = override(Mnist28, batch_size=4)
    data.make(args)
    with h5py.File("mnist.hdf5") as file:
        order = [int(np.flatnonzero((images == image[..., 0]).all((1, 2)))[0]) for image in file["faces"]]
        assert (labels[order] == file["labels"][:]).all() and sorted(order) == list(range(30))
    assert data.open_labels(args)[1] == list("0123456789")


@pytest.mark.parametrize("max_int", [2, 100, 128, 1000])
def test_numbers_to_learn_from_are_even_and_none_is_above_the_largest(here, max_int):
    data.make(override(Even, max_int=max_int, dataset_size=5000))
    found = even.numbers(faces("even.hdf5"))
    assert len(found) == 5000 and not (found % 2).any()
    assert found.min() == 0 and found.max() == max_int // 2 * 2 and len(set(found)) == max_int // 2 + 1


def test_numbers_that_do_not_fit_into_their_bits_are_refused(here):
    with pytest.raises(ValueError, match="`max_int` must.*max_int=1024, image_shape=\\(1, 10, 1\\)"):
        data.make(override(Even, max_int=1024))


def test_other_numbers_are_made_anew(here):
    story.prepare(override(Even, max_int=10, dataset_size=200))
    story.prepare(override(Even, max_int=1000, dataset_size=200))
    assert even.numbers(faces("even.hdf5")).max() > 500


def test_smoothing_blurs_along_edges_and_nowhere_else():
    image = np.zeros((32, 32, 3), "uint8")
    image[:, 16:] = 200
    smooth = data.smooth_edges(image)
    assert (smooth[:, :13] == 0).all() and (smooth[:, 19:] == 200).all()
    assert 60 < smooth[:, 15].min() and smooth[:, 16].max() < 140  # the step has become a slope
    grain = np.uint8(100 + RNG.integers(0, 8, (32, 32, 3)))
    assert (data.smooth_edges(grain) == grain).all()


@pytest.fixture
def photographed(here):
    """Preset, and its data.hdf5: 12 numbered cartoons, an edge in each, and 9 photos."""
    for index in range(12):
        os.makedirs("cartoons", exist_ok=True)
        pixels = np.full((8, 8, 3), 20 * index, "uint8")
        pixels[:, 6:] = 255 - 20 * index
        Image.fromarray(pixels).save(f"cartoons/{index}.png")
    for index in range(9):
        draw(f"photos/{index}.png")
    args = override(Args, images="cartoons/*", photos="photos/*", image_shape=(8, 8, 3), batch_size=2, held_out=0.34)
    data.make(args)
    return args


def test_photos_stand_beside_images_and_these_smoothed(photographed):
    cartoons = faces()
    with h5py.File("data.hdf5") as file:
        assert file["photos"].shape == (9, 8, 8, 3)
        assert all((data.smooth_edges(face) == smooth).all() for face, smooth in zip(cartoons, file["smoothed"]))
    stream = data.load(photographed).as_numpy_iterator()
    seen = set()
    for images, photos, smoothed in (next(stream) for _ in range(40)):
        assert images.shape == photos.shape == smoothed.shape == (2, 8, 8, 3)
        for image, smooth in zip(data.denormalize(images), data.denormalize(smoothed)):
            assert (data.smooth_edges(image) == smooth).all()  # of the same image, mirrored or not as that is
        seen |= {min(photo.tobytes(), photo[:, ::-1].tobytes()) for photo in data.denormalize(photos)}
    held_out = {min(photo.tobytes(), photo[:, ::-1].tobytes())
                for photo in data.denormalize(data.photos(photographed, 3))}
    assert len(seen) == 6 and len(held_out) == 3 and not seen & held_out
    late = next(data.load(photographed, 17).as_numpy_iterator())
    assert all((a == b).all() for a, b in zip(late, [*zip(range(18), data.batches(photographed))][17][1]))


def test_photos_for_samples_are_those_held_out_and_none_comes_twice(photographed):
    assert len(data.photos(photographed, 100)) == 3
    with pytest.raises(ValueError, match="`held_out` must leave photos that training never sees.*held_out=0.0.*9 ph"):
        data.load(override(photographed, held_out=0.0))
    with pytest.raises(ValueError, match=r"`photos` need `image_shape` with 3 channels.*\(8, 8, 1\)"):
        data.make(override(photographed, image_shape=(8, 8, 1)))


def test_data_without_photos_is_refused_where_they_are_needed(here, photographed):
    data.make(override(photographed, photos=""))
    with pytest.raises(ValueError, match=r"`data` was made without photos.*photos=photos/\*, data=data.hdf5"):
        data.load(photographed)
    with pytest.raises(FileNotFoundError, match=r"`photos` matches no file.*photos=nowhere/\*"):
        data.make(override(photographed, photos="nowhere/*"))


def test_files_are_turned_into_files_of_their_names_and_sizes(here, capsys):
    drawn = {name: draw(f"mine/{name}", size) for name, size in
             (("a.png", (33, 50)), ("sub/a.png", (8, 9)), ("b.png", (64, 20)), ("b.bmp", (5, 70)))}
    (here / "mine/broken.png").write_text("no image")
    args = override(Args, generate_from="mine/**", generate_count=10)
    data.turn(args, lambda images: -images, 4, here / "out")
    for name, result in (("a.png", "a.png"), ("sub/a.png", "sub/a.png"), ("b.png", "b.png.png"),
                         ("b.bmp", "b.bmp.png")):
        assert (np.asarray(Image.open(here / "out" / result)) == 255 - drawn[name]).all()
    assert "skipped mine/broken.png" in (said := capsys.readouterr().out) and "4 images of mine/**" in said


# ---- HDF5 -> batches

@pytest.fixture
def numbered(here):
    """data.hdf5 with 11 images; all bytes of image k are k."""
    with h5py.File("data.hdf5", "w") as file:
        file["faces"] = np.arange(11, dtype="uint8")[:, None, None, None] * np.ones((1, 8, 8, 3), "uint8")


def numbers(batches, count):
    """Returns the numbers of the images in the first `count` batches, as a list of tuples."""
    return [tuple(data.denormalize(batch)[:, 0, 0, 0]) for _, batch in zip(range(count), batches)]


def test_each_pass_shows_each_image_once_in_an_order_of_its_own(numbered):
    passes = numbers(data.batches(small()), 10)
    first, second = sum(passes[:5], ()), sum(passes[5:], ())
    assert len(set(first)) == len(set(second)) == 10  # of 11: five batches of two
    assert first != second


def test_starting_at_a_batch_continues_the_very_sequence(numbered):
    whole = numbers(data.batches(small()), 20)
    assert all(numbers(data.batches(small(), start), 3) == whole[start:start + 3] for start in (1, 4, 5, 13))
    loaded = numbers(data.load(small(), 13).as_numpy_iterator(), 3)
    assert loaded == whole[13:16]


def test_another_seed_gives_another_order(numbered):
    assert numbers(data.batches(small(seed=1)), 5) != numbers(data.batches(small()), 5)


def test_load_gives_floats_between_minus_one_and_one(numbered):
    batch = next(iter(data.load(small())))
    assert batch.dtype == "float32" and batch.shape == (2, 8, 8, 3)
    assert -1 <= batch.numpy().min() <= batch.numpy().max() <= 1


def test_no_tuning_thread_holds_up_the_end_of_a_training(numbered):
    assert data.load(small()).options().autotune.enabled is False


def test_several_files_read_as_one(here):
    for shard, count in enumerate((3, 5, 2)):
        for index in range(count):
            draw(f"{shard}/{'ab'[index % 2]}/{index}.png")
        data.make(small(images=f"{shard}/*/*", data=f"shard-{shard}.hdf5"))
    args = small(data="shard-*.hdf5", held_out=0.0, conditional=True)
    expected = np.concatenate([faces(f"shard-{shard}.hdf5") for shard in range(3)])
    together = data.open_faces(args)
    assert together.shape == (10, 8, 8, 3) and (together[:] == expected).all()
    for rows in ([0], [9, 2, 3, 7], slice(2, 8), slice(-3, None)):
        assert (together[rows] == expected[rows]).all()
    assert (together[4] == expected[4]).all()
    assert (data.open_faces(override(args, dataset_size=4))[:] == expected[:4]).all()
    labels, names = data.open_labels(args)
    assert names == ["a", "b"] and len(labels) == 10
    images, told = next(data.batches(args, labels=True))
    rows = [int(np.argmin(np.abs(data.normalize(expected) - image).sum((1, 2, 3)))) for image in images]
    assert (told == labels[rows]).all()
    with pytest.raises(ValueError, match=r"`data` must be the name of one file.*shard-\*"):
        data.make(args)


def test_factors_count_only_where_all_files_have_them(here):
    data.make(override(ToyFaces, dataset_size=40, data="shard-0.hdf5"))
    for index in range(8):
        draw(f"in/{'ab'[index % 2]}/{index}.png", (64, 64))
    data.make(override(Args, images="in/*/*", data="shard-1.hdf5"))
    assert data.classes(override(Args, data="shard-0.hdf5")).shape == (40, 4)
    assert data.classes(override(Args, data="shard-1.hdf5")).shape == (8, 1)
    with pytest.raises(ValueError, match="must hold images of the same labels in each of its files"):
        data.classes(override(Args, data="shard-*.hdf5"))


def test_flip_mirrors_about_half_of_the_images(here):
    pixels = np.zeros((64, 8, 8, 3), "uint8")
    pixels[:, :, 0] = 255  # a white left edge
    with h5py.File("data.hdf5", "w") as file:
        file["faces"] = pixels
    batch = next(data.batches(small(batch_size=64, flip=True, held_out=0.0)))
    left, right = (batch[:, 0, 0, 0] == 1), (batch[:, 0, -1, 0] == 1)
    assert (left ^ right).all() and 16 < right.sum() < 48


def test_the_float_files_of_the_original_are_read(here):
    values = np.float32(RNG.integers(0, 256, (4, 8, 8, 3)) / 128 - 1)  # as the original wrote them
    with h5py.File("data.hdf5", "w") as file:
        file["faces"] = values
    batch = next(data.batches(small(batch_size=4)))
    assert {image.tobytes() for image in batch} == {image.tobytes() for image in values}


@pytest.mark.parametrize("changes, said", [
    ({"batch_size": 12}, "`batch_size` must be at most the number of images.*batch_size=12.*11 images"),
    ({"dataset_size": 1}, "`batch_size` must be at most the number of images.*dataset_size=1"),
    ({"image_shape": (8, 8, 1)}, r"`image_shape` must be that of.*Set it to \(8, 8, 3\)"),
    ({"data": "none.hdf5"}, "`data` is not there.*python data.py.*data=none.hdf5"),
    ({"data": "text.hdf5"}, "`data` must be an HDF5 file with a dataset named faces.*data=text.hdf5"),
    ({"data": "empty.hdf5"}, "`data` must be an HDF5 file with a dataset named faces"),
    ({"data": "chunked.hdf5"}, "contiguous and uncompressed.*chunked"),
])
def test_a_file_that_does_not_fit_is_refused_with_what_to_do(numbered, here, changes, said):
    (here / "text.hdf5").write_text("no HDF5")
    (here / "empty.hdf5").touch()
    with h5py.File("chunked.hdf5", "w") as file:
        file.create_dataset("faces", data=faces(), chunks=(1, 8, 8, 3), compression="gzip")
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        data.load(small(**changes))
