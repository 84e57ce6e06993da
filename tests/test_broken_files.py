"""Tests of what goes wrong with files: odd names, corrupt content, full disks, Ctrl-C."""
import contextlib
import io
import os
import pathlib
import random
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
from conftest import ROOT, arguments
from PIL import Image

import data
from args import Args, ToyFaces, override
from models import toyfaces


def start(script, *changes, **options):
    """Starts a script in the current folder, as a user does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    return subprocess.Popen([sys.executable, ROOT / script, *changes], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="backslashreplace",
                            **options)


def save_faces(folder, *names):
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        image = toyfaces.sample(1, 0, index)[0][0]
        Image.fromarray(image).save(os.fsencode(folder / name), "png")


# ---- names

def test_images_of_any_name_are_read(here, capsys):
    not_utf8 = os.fsdecode(b"\xff.png")
    save_faces(here / "faces", " b.png", "naïve 顔.png", "two\nlines.png", not_utf8, "-rf.png",
               "[1].png")
    data.make(override(Args, images="faces/*.png", batch_size=1))
    assert "6 images kept, 0 exact duplicates dropped, 0 files" in capsys.readouterr().out


def test_folders_of_any_name_become_labels(here):
    for name in "hair ü", "two\nlines", os.fsdecode(b"\xff"):
        save_faces(here / name, "a.png", f"{len(name)}.png")
    args = override(Args, images="*/*.png", batch_size=1, test_fraction=0.0)
    data.make(args)
    assert data.open_labels(args)[1] == ["hair ü", "two\nlines", "\\udcff"]


def test_a_pattern_that_is_not_valid_text_is_stored(here):
    save_faces(here / os.fsdecode(b"\xff"), "a.png", "b.png")
    args = override(Args, images=os.fsdecode(b"\xff/*"), batch_size=1)
    data.make(args)
    assert data.attributes(args)["images"] == "\\udcff/*"


def test_a_skipped_file_of_any_name_can_be_printed(here):
    save_faces(here / "in", "a.png", "b.png")
    pathlib.Path(os.fsdecode(b"in/\xff.png")).touch()
    made = start("data.py", "images=in/*", "batch_size=1")
    printed, _ = made.communicate(timeout=60)
    assert made.returncode == 0, printed
    assert "skipped in/\\udcff.png: not an image" in printed


@pytest.mark.parametrize("name", ["..", "../elsewhere", "a/b", ""])
def test_labels_must_be_names_of_folders(here, name):
    args = override(Args, batch_size=1, conditional=True)
    with h5py.File(args.data, "w") as file:
        file["faces"] = np.zeros([2, 64, 64, 3], "uint8")
        file["labels"] = np.zeros(2, "uint16")
        file["label_names"] = ["a", name]
    with pytest.raises(ValueError, match="labels.*Received: data=data.hdf5"):
        data.open_labels(args)


# ---- corrupt images

def test_unusable_files_are_skipped_with_the_reason(here, capsys, monkeypatch):
    save_faces(here / "in", "good.png", "truncated.png", "bomb.png")
    folder = here / "in"
    os.truncate(folder / "truncated.png", 2000)
    (folder / "empty.jpg").touch()
    (folder / "note.txt").write_text("no image")
    (folder / "folder.png").mkdir()
    (folder / "nowhere.png").symlink_to("gone.png")
    (folder / "circle.png").symlink_to("circle.png")
    os.mkfifo(folder / "pipe.png")
    Image.new("RGB", (100, 100)).save(folder / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9999)
    data.make(override(Args, images="in/*", batch_size=1))
    printed = capsys.readouterr().out
    assert "1 images kept, 0 exact duplicates dropped, 7 files skipped" in printed
    reasons = {
        "note.txt": "not an image", "empty.jpg": "not an image", "truncated.png": "",
        "bomb.png": "DecompressionBombError", "nowhere.png": "No such file",
        "circle.png": "symbolic links", "pipe.png": "not a regular file"}
    for name, reason in reasons.items():
        lines = [line for line in printed.splitlines() if f"skipped in/{name}: " in line]
        assert len(lines) == 1 and reason in lines[0], name


def mutated(content, rng):
    """Returns bytes of which some are changed, or the end is cut off."""
    content = bytearray(content)
    position = rng.randrange(len(content))
    kind = rng.choice(["flip", "number", "cut"])
    if kind == "flip":
        content[position] ^= 1 << rng.randrange(8)
    elif kind == "number":
        content[position:position + 4] = rng.choice([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff"])
    else:
        del content[position:]
    return bytes(content)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp", "a.tiff"])
def test_corrupt_images_are_read_or_skipped(here, name, capsys):
    os.mkdir("in")
    image = Image.fromarray(toyfaces.sample(1)[0][0]).resize((24, 20))
    content = io.BytesIO()
    image.save(content, Image.registered_extensions()[f".{name.split('.')[1]}"])
    for number in range(40):
        path = here / "in" / f"{number}-{name}"
        path.write_bytes(mutated(content.getvalue()[:600], random.Random(number)))
    image.save("in/good.png")
    args = override(Args, images="in/*", image_shape=(16, 16, 3))
    data.make(args)
    with h5py.File("data.hdf5") as file:
        kept = len(file["faces"])
    attributes = data.attributes(args)
    assert kept + attributes["duplicates"] + attributes["skipped"] == 41
    assert attributes["skipped"] == capsys.readouterr().out.count("skipped in/")
    assert attributes["skipped"]


# ---- corrupt datasets

@pytest.fixture
def dataset(here):
    """A preset, and the bytes of its data.hdf5 with 24 images and two labels."""
    for index, label in enumerate("ab"):
        os.makedirs(f"in/{label}")
        for number, image in enumerate(toyfaces.sample(12, index)[0]):
            Image.fromarray(image).resize((8, 8)).save(f"in/{label}/{number}.png")
    args = override(Args, images="in/*/*", image_shape=(8, 8, 3), batch_size=8, conditional=True)
    data.make(args)
    return args, (here / "data.hdf5").read_bytes()


def test_a_truncated_dataset_is_refused_when_it_is_opened(here, dataset):
    args, content = dataset
    for share in 0.0, 0.001, 0.1, 0.5, 0.9, 0.999:
        (here / "data.hdf5").write_bytes(content[:int(share * len(content))])
        with pytest.raises(ValueError, match="`data`.*Received: data=data.hdf5"):
            data.open_images(args)


def test_a_dataset_with_missing_images_is_refused_when_it_is_opened(here, dataset):
    args, _ = dataset
    with h5py.File("data.hdf5", "r+") as file:
        file["faces"].resize(30, axis=0)
    with pytest.raises(ValueError, match="`data`.*missing"):
        data.open_images(args)


def test_labels_that_do_not_fit_the_images_are_refused(here, dataset):
    args, _ = dataset
    with h5py.File("data.hdf5", "r+") as file:
        file["labels"][3] = 2
    with pytest.raises(ValueError, match="`data` must hold a label"):
        data.open_labels(args)


def test_corrupt_datasets_are_read_or_refused_with_their_name(here, dataset):
    args, content = dataset
    refused = 0
    for number in range(150):
        (here / "data.hdf5").write_bytes(mutated(content, random.Random(number)))
        try:
            data.fingerprint(args)
            images, labels = next(data.iterate(args, labels=True))
            assert images.shape == (8, 8, 8, 3)
            assert labels.max() < 2
        except ValueError as error:
            assert "data.hdf5" in str(error) and "\n" not in str(error)
            refused += 1
    assert 20 < refused < 150


def test_an_image_that_cannot_be_read_is_a_clear_error(here, dataset):
    args, content = dataset
    with h5py.File("data.hdf5") as file:
        last = max(file["faces"].id.get_chunk_info(row).byte_offset for row in range(24))
        address = last.to_bytes(8, "little")
    assert content.count(address) == 1
    moved = content.replace(address, (10 ** 9).to_bytes(8, "little"))
    (here / "data.hdf5").write_bytes(moved)
    with pytest.raises(ValueError, match="`data`.*Received: data=data.hdf5"):
        data.open_images(args)[:]


# ---- full disks

def test_a_file_that_does_not_fit_on_the_disk_is_not_begun(here, monkeypatch):
    usage = data.shutil.disk_usage(here)
    monkeypatch.setattr(data.shutil, "disk_usage", lambda folder: usage._replace(free=100_000))
    with pytest.raises(OSError, match="No space left on device.*toyfaces.hdf5"):
        data.make(override(ToyFaces, dataset_size=10))
    assert os.listdir() == []
    data.make(override(ToyFaces, dataset_size=5))


def test_errors_of_hdf5_become_one_line_and_leave_nothing(here, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "Can't synchronously write data (\n\n\n)")

    monkeypatch.setattr(data, "_write_images", fail)
    with pytest.raises(OSError) as raised:
        data.make(override(ToyFaces, dataset_size=10))
    assert str(raised.value) == "[Errno 28] No space left on device: 'toyfaces.hdf5'"
    assert os.listdir() == []


@contextlib.contextmanager
def small_disk(folder, mebibytes):
    """Mounts an empty disk on `folder`, if that is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        # Only a mounted disk can be full. What is checked before writing needs no such disk, and is
        # tested without one.
        pytest.skip("only root may mount the small disk that this test fills")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_leaves_no_part_of_a_dataset(here):
    with small_disk(here / "disk", 1):
        full = start("data.py", "ToyFaces", "data=disk/toys.hdf5", "dataset_size=500")
        printed, _ = full.communicate(timeout=120)
        assert full.returncode == 1, printed
        assert "Traceback" not in printed
        assert "data.py: [Errno 28] No space left on device" in printed
        assert "disk/toys.hdf5" in printed
        assert os.listdir("disk") == []


@pytest.mark.slow
def test_a_full_disk_ends_training_which_resumes_when_there_is_room(here, tiny):
    data.make(tiny())
    changes = {"batch_size": 8, "dataset_size": 32, "generator_filters": (8, 8),
               "generator_extra_filters": (), "discriminator_filters": (8, 8), "augment": "",
               "grid": (2, 4), "batches": 12, "dump_every": 1, "keep_checkpoints": 50}
    with small_disk(here / "runs", 6):
        full = start("gan.py", "ToyFaces", *arguments(changes))
        printed, _ = full.communicate(timeout=300)
        assert full.returncode == 1, printed[-2000:]
        assert "Traceback" not in printed
        assert "gan.py: [Errno 28] No space left on device" in printed
        subprocess.run(["mount", "-o", "remount,size=200m", here / "runs"], check=True)
        again = start("gan.py", "ToyFaces", *arguments(changes))
        printed, _ = again.communicate(timeout=300)
        assert again.returncode == 0, printed[-2000:]
        assert "batch 1 to" not in printed
        rows = (here / "runs/toyfaces/loss.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows[1:]] == [str(batch) for batch in range(1, 13)]


@pytest.mark.slow
def test_a_run_folder_that_cannot_be_written_is_named(here):
    (here / "runs").write_text("no folder")
    data.make(override(ToyFaces, dataset_size=100))
    refused = start("gan.py", "ToyFaces", "dataset_size=100")
    printed, _ = refused.communicate(timeout=120)
    assert refused.returncode == 1, printed
    assert "Traceback" not in printed
    assert "runs/toyfaces" in printed


# ---- Ctrl-C

def test_an_interrupt_leaves_nothing_and_the_old_file(here, monkeypatch):
    save_faces(here / "in", *(f"{number}.png" for number in range(3)))
    (here / "data.hdf5").write_text("old")

    def interrupt(progress, count):
        raise KeyboardInterrupt

    monkeypatch.setattr(data.Progress, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.make(override(Args, images="in/*", batch_size=1))
    assert sorted(os.listdir()) == ["data.hdf5", "in"]
    assert (here / "data.hdf5").read_text() == "old"


@pytest.mark.slow
@pytest.mark.parametrize("script", ["data.py", "gan.py"])
@pytest.mark.parametrize("source", ["toyfaces", "in/*"])
def test_ctrl_c_while_images_are_made_ends_with_one_line(here, script, source):
    if source == "in/*":
        image = Image.fromarray(toyfaces.sample(1)[0][0]).resize((1500, 1500))
        (here / "in").mkdir()
        image.save("in/0.png", compress_level=1)
        for number in range(1, 3000):
            os.link("in/0.png", f"in/{number}.png")
    running = start(script, "ToyFaces", f"images={source}", "dataset_size=3000",
                    start_new_session=True)
    printed = ""
    while "/3000 images" not in printed:
        character = running.stdout.read(1)
        assert character, printed  # it must not have ended
        printed += character
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    printed += running.communicate(timeout=30)[0]
    assert running.returncode in (1, 130), printed
    assert "Traceback" not in printed
    assert f"{script}: " in printed
    assert [name for name in os.listdir() if name != "in"] == []
