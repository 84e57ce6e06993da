"""Tests of what goes wrong with files: odd names, damaged content, full disks, Ctrl-C."""
import contextlib
import io
import os
import pty
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, TINY, arguments
from PIL import Image

import data
from args import Args, ToyFaces, override
from models.toys import faces


def start(script, *changes, **options):
    """Starts a script in the current folder, as a user does."""
    return subprocess.Popen([sys.executable, ROOT / script, *changes], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="backslashreplace",
                            **options)


def save_faces(folder, *names):
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        image = faces.sample(1, 0, index)[0][0]
        Image.fromarray(image).save(os.fsencode(folder / name), "png")


# ---- names

def test_files_and_folders_of_any_name_are_read(here):
    folders = "hair ü", "two\nlines", os.fsdecode(b"\xff")
    for name in folders:
        save_faces(here / name, " b.png", f"{len(name)}.png", "naïve 顔.png", "-rf.png",
                   os.fsdecode(b"\xff.png"))
    args = override(Args, images="*/*.png", batch_size=1, test_fraction=0.0)
    data.make(args)
    assert len(data.open_images(args)) == 5  # of 15, which are the same in each folder
    save_faces(here / folders[2], *(f"{index}.png" for index in range(9)))
    data.make(override(args, images=f"{folders[2]}/*"))
    assert data.attributes(args)["images"] == "\\udcff/*"


# ---- damaged images

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


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_damaged_images_are_read_or_skipped(here, name, capsys):
    os.mkdir("in")
    image = Image.fromarray(faces.sample(1)[0][0]).resize((24, 20))
    content = io.BytesIO()
    image.save(content, Image.registered_extensions()[f".{name.split('.')[1]}"])
    for number in range(40):
        path = here / "in" / f"{number}-{name}"
        path.write_bytes(mutated(content.getvalue()[:600], random.Random(number)))
    image.save("in/good.png")
    os.symlink("gone.png", "in/link.png")
    os.symlink("circle.png", "in/circle.png")
    data.make(override(Args, images="in", image_shape=(16, 16, 3)))
    lines = capsys.readouterr().out.splitlines()
    skipped = [line for line in lines if line.startswith("skipped in/")]
    assert len(skipped) > 2
    kept, dropped, counted = map(int, re.findall(r"\d+", lines[len(skipped)]))
    assert counted == len(skipped)
    assert kept + dropped + counted == 43


# ---- damaged datasets

@pytest.fixture
def dataset(here):
    """A preset, and the bytes of its data.hdf5 with 24 images and two labels."""
    for index, label in enumerate("ab"):
        os.makedirs(f"in/{label}")
        for number, image in enumerate(faces.sample(12, index)[0]):
            Image.fromarray(image).resize((8, 8)).save(f"in/{label}/{number}.png")
    args = override(Args, images="in", image_shape=(8, 8, 3), batch_size=8, conditional=True)
    data.make(args)
    return args, (here / "data.hdf5").read_bytes()


def test_a_truncated_dataset_is_refused_when_it_is_opened(here, dataset):
    args, content = dataset
    for share in 0.0, 0.001, 0.1, 0.5, 0.9, 0.999:
        (here / "data.hdf5").write_bytes(content[:int(share * len(content))])
        with pytest.raises(ValueError, match="`data`.*Received: data=data.hdf5"):
            data.open_images(args)


def test_a_dataset_that_another_program_has_open_is_read(here, dataset):
    args, _ = dataset
    keep_open = "import h5py; file = h5py.File('data.hdf5', 'r+'); print(); input()"
    environment = {name: value for name, value in os.environ.items()
                   if name != "HDF5_USE_FILE_LOCKING"}
    with subprocess.Popen([sys.executable, "-c", keep_open], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, env=environment) as other:
        other.stdout.readline()
        assert len(data.open_images(args)[:]) == 24
        other.stdin.close()


def test_a_dataset_that_may_not_be_read_is_called_so(here, dataset, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Unable to open file\nin many\nlines")

    monkeypatch.setattr(data.h5py, "File", refuse)
    with pytest.raises(PermissionError) as raised:
        data.open_images(dataset[0])
    assert str(raised.value) == "[Errno 13] Permission denied: 'data.hdf5'"


# ---- processes that are killed, and several at a time

def start_and_wait_for_its_file(folder):
    """Starts a data.py that takes long, and waits until its temporary file exists."""
    running = start("data.py", "ToyFaces", "dataset_size=30000")
    while not list(folder.glob("toyfaces.hdf5.*.tmp")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    return running


def test_two_processes_that_make_the_same_dataset_do_not_disturb_each_other(here):
    running = start_and_wait_for_its_file(here)
    try:
        data.make(override(ToyFaces, dataset_size=10))
        assert len(list(here.glob("toyfaces.hdf5.*.tmp"))) == 1
        assert len(data.open_images(override(ToyFaces, batch_size=1))) == 10
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert os.listdir() == ["toyfaces.hdf5"]


# ---- full disks

@contextlib.contextmanager
def small_disk(folder, mebibytes):
    """Mounts an empty disk on `folder`, if that is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        # Without a disk of its own the test would have to fill the user's.
        pytest.skip("only root may mount the small disk that this test fills")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing(here, monkeypatch):
    usage = data.shutil.disk_usage(here)
    monkeypatch.setattr(data.shutil, "disk_usage", lambda folder: usage._replace(free=100_000))
    with pytest.raises(OSError) as raised:
        data.make(override(ToyFaces, dataset_size=10))
    path = here.resolve() / "toyfaces.hdf5"
    assert str(raised.value) == f"[Errno 28] No space left on device: '{path}'"
    assert os.listdir() == []


@pytest.mark.slow
def test_a_full_disk_leaves_no_part_of_a_dataset(here):
    with small_disk(here / "disk", 34):
        full = start("data.py", "ToyFaces", "data=disk/toys.hdf5", "dataset_size=500")
        printed, _ = full.communicate(timeout=120)
        assert full.returncode == 1, printed
        path = here.resolve() / "disk/toys.hdf5"
        assert printed.strip() == f"data.py: [Errno 28] No space left on device: '{path}'"
        assert os.listdir("disk") == []


@pytest.mark.slow
def test_a_full_disk_ends_training_which_resumes_when_there_is_room(here, tiny):
    data.make(tiny())
    changes = TINY | {"batches": 12, "dump_every": 1, "keep_every": 1}
    with small_disk(here / "runs", 44):
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


# ---- Ctrl-C

@pytest.mark.slow
@pytest.mark.parametrize("script, source", [("data.py", "in"), ("gan.py", "toyfaces")])
def test_ctrl_c_while_images_are_made_ends_with_one_line(here, script, source):
    if source == "in":
        image = Image.fromarray(faces.sample(1)[0][0]).resize((1500, 1500))
        (here / "in").mkdir()
        image.save("in/0.png", compress_level=1)
        for number in range(1, 3000):
            os.link("in/0.png", f"in/{number}.png")
    terminal, end = pty.openpty()  # the progress appears on a terminal alone
    running = subprocess.Popen(
        [sys.executable, ROOT / script, "ToyFaces", f"images={source}", "dataset_size=3000"],
        stdout=end, stderr=end, start_new_session=True)
    os.close(end)
    printed = b""
    while b"/3000 images" not in printed:
        printed += os.read(terminal, 1000)
    os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C does
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while text := os.read(terminal, 1000):
            printed += text
    assert running.wait(30) in (1, 130), printed
    assert b"Traceback" not in printed
    assert f"{script}: ".encode() in printed
    assert [name for name in os.listdir() if name != "in"] == []
