"""What days bring: broken files, odd names, full disks, impatient users. A message, a named skip, and nothing lost."""
import os
import pathlib
import signal
import subprocess
import sys

import bench_fuzz
import numpy as np
import pytest
from conftest import words
from PIL import Image

import args as constants
import data
import gan
from models import toyfaces

ROOT = pathlib.Path(constants.__file__).parent


def start(program, *changes, **options):
    """Starts `python gan.py ToyFaces ...`, or data.py, in the current folder, as a user does."""
    return subprocess.Popen([sys.executable, ROOT / program, *changes], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="backslashreplace", **options)


@pytest.mark.parametrize("kind", bench_fuzz.KINDS)
def test_broken_files_end_in_a_message(kind):
    share, *_ = bench_fuzz.KINDS[kind]
    taken, refused = bench_fuzz.fuzz(kind, max(30, round(share * 400)), seed=7)
    assert taken + refused >= 30 and refused


def faces(folder, *names):
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        Image.fromarray(toyfaces.sample(1, 0, index)[0][0]).save(os.fsencode(folder / name), "png")


def test_images_of_any_name_are_read_and_what_is_none_is_named(here, capsys):
    faces(here / "faces", " b.png", "naïve 顔.png", "two\nlines.png", os.fsdecode(b"\xff.png"), "-rf.png", "[1].png")
    odd = here / "faces"
    (odd / "empty.png").touch()
    (odd / "text\n.png").write_text("no image")
    (odd / "folder.png").mkdir()
    (odd / "nowhere.png").symlink_to("gone.png")
    (odd / "circle.png").symlink_to("circle.png")
    os.mkfifo(odd / "pipe.png")
    data.make(constants.override(constants.Args, images="faces/*.png", batch_size=1))
    printed = capsys.readouterr().out
    assert "6 images kept, 0 exact duplicates dropped, 5 files skipped" in printed
    for name, why in (("empty.png", "not an image"), ("text\\n.png", "not an image"), ("nowhere.png", "No such file"),
                      ("circle.png", "symbolic links"), ("pipe.png", "not a regular file")):
        assert any(f"skipped faces/{name}: " in line and why in line for line in printed.splitlines()), name


def test_folders_of_any_name_become_labels(here):
    for name in "hair ü", "two\nlines", os.fsdecode(b"\xff"):
        faces(here / name, "a.png", f"{len(name)}.png")
    args = constants.override(constants.Args, images="*/*.png", batch_size=1, held_out=0.0)
    data.make(args)
    assert data.open_labels(args)[1] == ["hair ü", "two\\nlines", "\\udcff"]
    assert data.attributes(args)["images"] == "*/*.png"


def test_links_in_a_circle_are_not_followed(here):
    faces(here / "faces", "a.png")
    faces(here / "faces/deep", "b.png")
    faces(here / "faces/.hidden", "c.png")
    for name in "up", "again", "self":  # of which glob makes thousands of millions of paths
        (here / "faces/deep" / name).symlink_to(here / "faces")
    found = ["faces/a.png", "faces/deep/b.png"]
    for pattern in "faces/**/*.png", "**/*.png", "f*/**", "faces/**", "**/**/*.png":
        assert data.find_files(pattern) == found, pattern
    assert data.find_files(f"{here}/**/deep/**/*.png") == [f"{here}/faces/deep/b.png"]


@pytest.mark.parametrize("name", ["..", "../elsewhere", "a/b", ""])
def test_labels_that_lead_elsewhere_are_refused(here, name):
    args = constants.override(constants.Args, batch_size=1, conditional=True)
    with data.h5py.File(args.data, "w") as file:
        file["faces"], file["labels"] = np.zeros([2, 64, 64, 3], "uint8"), np.zeros(2, "uint16")
        file["label_names"] = ["a", name]
    with pytest.raises(ValueError, match="must be names of folders.*Received: data=data.hdf5"):
        gan.values(args)


def small_disk(folder, mebibytes):
    """Mounts an empty disk of its own on `folder`, where one may."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder],
                      capture_output=True).returncode:
        pytest.skip("mounting a small disk needs rights that this user hasn't")


def test_a_full_disk_ends_the_run_and_it_goes_on_where_there_is_room(here, tiny):
    data.make(tiny())
    small_disk(here / "runs", 12)
    try:
        changes = words(dict(vars(tiny(batches=12, dump_every=1, keep_snapshots=50))) | {"name": "toyfaces"})
        changes = [word for word in changes if not word.startswith("__")]
        full = start("gan.py", "ToyFaces", *changes)
        said, _ = full.communicate(timeout=120)
        assert full.returncode == 1, said[-2000:]
        assert "Traceback" not in said and "gan.py: " in said and "No space left on device" in said, said[-2000:]
        subprocess.run(["mount", "-o", "remount,size=200m", here / "runs"], check=True)
        again = start("gan.py", "ToyFaces", *changes)
        said, _ = again.communicate(timeout=120)
        assert again.returncode == 0 and "batch 1 to" not in said, said[-2000:]
        rows = (here / "runs/toyfaces/loss.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows[1:]] == [str(batch) for batch in range(1, 13)]
    finally:
        subprocess.run(["umount", "-l", here / "runs"], check=True)


def test_a_full_disk_leaves_no_half_of_a_dataset(here):
    small_disk(here / "disk", 1)
    try:
        full = start("data.py", "ToyFaces", "data=disk/toys.hdf5", "dataset_size=500")
        said, _ = full.communicate(timeout=60)
        assert full.returncode == 1 and "Traceback" not in said and "No space left on device" in said, said
        assert os.listdir("disk") == []
    finally:
        subprocess.run(["umount", "-l", here / "disk"], check=True)


def test_a_folder_that_may_not_be_written_is_named(here):
    (here / "runs").write_text("no folder")
    data.make(constants.override(constants.ToyFaces, dataset_size=100))
    refused = start("gan.py", "ToyFaces", "dataset_size=100")
    said, _ = refused.communicate(timeout=60)
    assert refused.returncode == 1 and "Traceback" not in said and "runs/toyfaces" in said, said


@pytest.mark.parametrize("program", ["gan.py", "data.py"])
def test_an_impatient_user_gets_a_line(here, program):
    """Ctrl-C while images are made."""
    running = start(program, "ToyFaces", "dataset_size=20000", start_new_session=True)
    said = ""
    while "/20000 images" not in said:
        assert (char := running.stdout.read(1)), said  # it has ended too early
        said += char
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does, to the processes that draw too
    said += running.communicate(timeout=60)[0]
    assert running.returncode in (1, 130) and "Traceback" not in said and "stopped" in said, said[-2000:]
    assert [name for name in os.listdir() if name.endswith(".tmp")] == []
