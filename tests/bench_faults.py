"""kill -9 at random moments: does a run go on as if nothing had happened?

    python tests/bench_faults.py kills=100

A run of narrow nets, pretraining and game, that dumps every batch, is killed at a moment drawn by chance: while it
starts, within a batch, a grid, a snapshot. The same command starts it again, until it has been killed so many times;
then it may end. Its loss.csv, a row a batch, and all that its last snapshot holds must equal, to the last bit, those of
a run that nobody killed. So must a dataset that data.py made while it was killed a fifth as many times.
"""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
from bench_combinations import contents  # noqa: E402
from conftest import TINY, words  # noqa: E402
from PIL import Image  # noqa: E402

import callbacks  # noqa: E402
from models import toyfaces  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]


def start(program, *changes):
    return subprocess.Popen([sys.executable, ROOT / program, *changes], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, start_new_session=True)


def finish(program, *changes):
    """Runs a program to its end; returns the seconds it took."""
    begun = time.monotonic()
    process = subprocess.run([sys.executable, ROOT / program, *changes], capture_output=True, text=True)
    if process.returncode:
        raise RuntimeError(f"{program} ended with {process.returncode}: {process.stderr[-2000:]}")
    return time.monotonic() - begun


def kill(process, seconds):
    """Kills a process and its children after `seconds`; returns whether it was still there, else it must be well."""
    try:
        if process.wait(seconds):
            raise RuntimeError(f"{process.args} ended with {process.returncode}, though nobody killed it")
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def differences(whole, killed):
    """Returns the names of what two runs, by their folders, hold otherwise."""
    held = [contents(callbacks.snapshots(run)[-1]) | {
        "loss.csv": (run / "loss.csv").read_text(), "pretrain/loss.csv": (run / "pretrain/loss.csv").read_text(),
        "dump.png": (run / "dump.png").read_bytes()} for run in (whole, killed)]
    return [name for name in held[0] | held[1] if not np.array_equal(held[0].get(name), held[1].get(name))]


def kill_training(kills, chance):
    """Kills gan.py; returns how many of the kills hit a snapshot half written, and what was otherwise in the end."""
    changes = words(TINY | {"dump_every": 1, "pretrain_batches": 20, "batches": 12 * kills, "keep_snapshots": 3,
                            "archive_every": 0})
    finish("gan.py", "ToyFaces", "name=starts", *words(TINY | {"batches": 1}))
    starts = finish("gan.py", "ToyFaces", "name=starts", *words(TINY | {"batches": 2}))  # and stands at once
    seconds = finish("gan.py", "ToyFaces", "name=whole", *changes)
    print(f"a run of {12 * kills} batches takes {seconds:.0f} seconds, of which {starts:.0f} go by before the second",
          flush=True)
    folder, torn, done = pathlib.Path("runs/killed"), 0, 0
    while done < kills:
        moment = chance.uniform(0, starts) if chance.random() < 0.2 else chance.uniform(starts, starts + 5)
        if not kill(start("gan.py", "ToyFaces", "name=killed", *changes), moment):
            print(f"the run has ended after {done} kills: give it more batches")
            break
        done += 1
        half = [*folder.glob("weights/.*.tmp"), *folder.glob("pretrain/weights/.*.tmp")]
        torn += bool(half)
        at = [path.name for path in callbacks.snapshots(folder)[-1:] + callbacks.snapshots(folder / "pretrain")[-1:]]
        print(f"kill {done} after {moment:.1f} s, at {'/'.join(at)}{', within a snapshot' if half else ''}", flush=True)
    finish("gan.py", "ToyFaces", "name=killed", *changes)
    return done, torn, differences(pathlib.Path("runs/whole"), folder)


def kill_data(kills, chance):
    """Kills data.py; returns how many kills it took, and what the dataset holds otherwise in the end."""
    for label in "ab":
        os.makedirs(f"faces/{label}")
        for index, image in enumerate(toyfaces.sample(2000, ord(label))[0]):
            Image.fromarray(image).save(f"faces/{label}/{index}.png")
    changes = "images=faces/*/*.png",
    seconds = finish("data.py", *changes, "data=whole/data.hdf5")
    done = 0
    while done < kills:
        if kill(start("data.py", *changes, "data=killed/data.hdf5"), chance.uniform(0, seconds)):
            done += 1
        else:
            shutil.rmtree("killed")  # it was done: once more
    finish("data.py", *changes, "data=killed/data.hdf5")
    whole, killed = (contents(pathlib.Path(folder)) for folder in ("whole", "killed"))
    return done, [name for name in whole | killed if not np.array_equal(whole.get(name), killed.get(name))], \
        sorted(os.listdir("killed"))


def main(kills=100, seed=0):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        made, other, left = kill_data(-(-kills // 5), chance)
        print(f"data.py: {made} kills; otherwise than in one go: {other or 'nothing'}; its folder holds {left}")
        done, torn, differs = kill_training(kills, chance)
        print(f"gan.py: {done} kills, {torn} of them within a snapshot; "
              f"otherwise than in one go: {differs or 'nothing'}")
    return not other and left == ["data.hdf5"] and not differs and done == kills


if __name__ == "__main__":
    sys.exit(not main(**{name: int(number) for name, number in (word.split("=") for word in sys.argv[1:])}))
