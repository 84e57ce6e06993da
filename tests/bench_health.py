"""What the watch says of runs made sick on purpose: prints README's table.

    python tests/bench_health.py data=data.hdf5              # real faces, narrow nets: five minutes on two cores
    python tests/bench_health.py data=data.hdf5 runs=healthy batches=1500

Every run has 300 batches, if not said otherwise, of the preset ToyFaces without `augment`: nets of a quarter of the
filters. Without `data` it draws toy faces; `folder=F` keeps the runs in F. A run is named rightly where one of the
watch's lines has the words expected of it.
"""
import contextlib
import io
import os
import pathlib
import sys
import tempfile

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import h5py  # noqa: E402
import numpy as np  # noqa: E402

import args as constants  # noqa: E402
import callbacks  # noqa: E402
import data  # noqa: E402
import gan  # noqa: E402

SICK = {  # {run: (its constants, words that the watch must find)}
    "D far too strong": ({"d_learning_rate": 4e-3, "g_learning_rate": 2e-5}, "D's loss is near 0"),
    "G collapsed to one colour": ({"batch_norm": "discriminator", "upsampling": "bilinear",
                                   "g_learning_rate": 0.01}, "one uniform colour"),
    "learning rate 0.1": ({"d_learning_rate": 0.1, "g_learning_rate": 0.1}, "saturated"),
    "no batch norm, saturating": ({"batch_norm": "none", "g_objective": "saturating"}, "hardly a slope"),
    "one image": ({"data": "one.hdf5"}, "real images are alike"),
}


def run(name, changes):
    """Trains in the present folder; returns the lines of the watch."""
    args = constants.override(constants.ToyFaces, name="-".join(name.split()).replace(",", ""), **changes)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(callbacks.Diverged):
        gan.train_gan(args)
    log = callbacks.run_folder(args) / "health.log"
    return log.read_text().splitlines() if log.exists() else []


def main(data_path="", chosen="", batches=300, folder=""):
    base = {"batches": batches, "dump_every": 50, "keep_snapshots": 2, "archive_every": 0, "flip": bool(data_path),
            "augment": ""}
    path = os.path.abspath(data_path) if data_path else "toyfaces.hdf5"
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(folder or temporary)
        if not data_path:
            data.make(constants.ToyFaces)
        with h5py.File(path) as file, h5py.File("one.hdf5", "w") as one:
            one["faces"] = np.repeat(file["faces"][:1], 64, 0)
        print("| run | constants | what the watch says |\n|---|---|---|", flush=True)
        for name, (changes, words) in ({"healthy": ({}, "")} | SICK).items():
            if chosen and chosen not in name:
                continue
            lines = run(name, base | {"data": path} | changes)
            right = [line for line in lines if words in line]
            shown = " ".join(f"{key}={value}" for key, value in changes.items())
            said = right[0] if words and right else " / ".join(lines) or "nothing"
            missed = "" if right or not words else "MISSED: "
            print(f"| {name} | {shown or 'those of ToyFaces'} | {missed}{said} |", flush=True)
            for line in lines:
                print("   ", line, file=sys.stderr)


if __name__ == "__main__":
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    main(words.get("data", ""), words.get("runs", ""), int(words.get("batches", 300)), words.get("folder", ""))
