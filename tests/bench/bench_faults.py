"""kill -9 at random moments: does a run continue as if nothing had happened?

    python tests/bench_faults.py kills=100

A run of narrow networks, pretraining and training, which dumps every batch, is killed at a random
moment: while it starts, within a batch, a grid, a checkpoint. The same command starts it again,
until it was killed so many times. Then it may finish. Its loss.csv, with a row for each batch, and
all that its last checkpoint holds must equal, to the last bit, those of a run that nobody killed.
So must a dataset for which data.py was killed a fifth as many times: it starts again each time.
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
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import compare_runs  # noqa: E402
from conftest import TINY, arguments  # noqa: E402
from PIL import Image  # noqa: E402

from models import toyfaces  # noqa: E402
from training import checkpoints  # noqa: E402

WHILE_STARTING = 0.2  # share of the kills that happen before the first batch
BATCHES_PER_KILL = 12


def start(script, *more):
    """Starts a script in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, ROOT / script, *more], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True)


def finish(script, *more):
    """Runs a script to its end; returns the seconds it took."""
    begun = time.monotonic()
    command = [sys.executable, ROOT / script, *more]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise RuntimeError(f"{script} ended with {process.returncode}: {process.stderr[-2000:]}")
    return time.monotonic() - begun


def kill(process, seconds):
    """Kills a process and its children after `seconds`.

    Returns:
        Whether it was still running. Otherwise it must have finished without an error.
    """
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    if status:
        raise RuntimeError(f"{process.args} ended with {status}, though nobody killed it")
    return False


def contents(run):
    """Returns all that a run must have in common with one that was not killed."""
    held = compare_runs.contents(checkpoints.checkpoints(run)[-1])
    held["loss.csv"] = (run / "loss.csv").read_text()
    held["pretrain/loss.csv"] = (run / "pretrain/loss.csv").read_text()
    held["dump.png"] = (run / "dump.png").read_bytes()
    return held


def kill_training(kills, chance):
    """Kills gan.py again and again.

    Returns:
        The number of kills, how many of them hit a half-written checkpoint, and what was different
        in the end.
    """
    changes = TINY | {
        "dump_every": 1, "pretrain_batches": 20, "batches": BATCHES_PER_KILL * kills,
        "keep_checkpoints": 3, "keep_every": 0}
    begin = arguments(TINY) + ["name=starts"]
    finish("gan.py", "ToyFaces", *begin, "batches=1")
    starting = finish("gan.py", "ToyFaces", *begin, "batches=2")
    seconds = finish("gan.py", "ToyFaces", "name=whole", *arguments(changes))
    print(f"a run of {changes['batches']} batches takes {seconds:.0f} seconds, and {starting:.0f} "
          "pass before its second batch", flush=True)
    # On average a kill comes after half of this: three quarters of the run for all the kills.
    after_start = 1.5 * (seconds - starting) / kills
    run = pathlib.Path("runs/killed")
    half_written, done = 0, 0
    while done < kills:
        if chance.random() < WHILE_STARTING:
            moment = chance.uniform(0, starting)
        else:
            moment = chance.uniform(starting, starting + after_start)
        process = start("gan.py", "ToyFaces", "name=killed", *arguments(changes))
        if not kill(process, moment):
            print(f"the run has finished after {done} kills: give it more batches")
            break
        done += 1
        halves = list(run.glob("weights/.*.tmp")) + list(run.glob("pretrain/weights/.*.tmp"))
        half_written += bool(halves)
        found = checkpoints.checkpoints(run) or checkpoints.checkpoints(run / "pretrain")
        newest = found[-1].name if found else "no checkpoint"
        within = ", within a checkpoint" if halves else ""
        print(f"kill {done} after {moment:.1f} s, at {newest}{within}", flush=True)
    finish("gan.py", "ToyFaces", "name=killed", *arguments(changes))
    different = compare_runs.differences(contents(pathlib.Path("runs/whole")), contents(run))
    return done, half_written, different


def kill_data(kills, chance):
    """Kills data.py again and again.

    Returns:
        The number of kills, what the dataset holds otherwise in the end, and the names of the files
        in its folder.
    """
    for label in "ab":
        os.makedirs(f"faces/{label}")
        for index, image in enumerate(toyfaces.sample(2000, ord(label))[0]):
            Image.fromarray(image).save(f"faces/{label}/{index}.png")
    images = "images=faces/*/*.png"
    seconds = finish("data.py", images, "data=whole/data.hdf5")
    done = 0
    while done < kills:
        process = start("data.py", images, "data=killed/data.hdf5")
        if kill(process, chance.uniform(0, seconds)):
            done += 1
        else:
            shutil.rmtree("killed")  # it was finished: once more
    finish("data.py", images, "data=killed/data.hdf5")
    whole = compare_runs.contents(pathlib.Path("whole"))
    killed = compare_runs.contents(pathlib.Path("killed"))
    return done, compare_runs.differences(whole, killed), sorted(os.listdir("killed"))


def main(kills=100, seed=0):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        killed, different_data, files = kill_data(-(-kills // 5), chance)
        print(f"data.py: {killed} kills; different from one without kills: "
              f"{different_data or 'nothing'}; its folder holds {files}")
        done, half_written, different = kill_training(kills, chance)
        print(f"gan.py: {done} kills, {half_written} of them within a checkpoint; different from "
              f"one without kills: {different or 'nothing'}")
    return not different_data and not different and done == kills


if __name__ == "__main__":
    options = {}
    for argument in sys.argv[1:]:
        name, _, number = argument.partition("=")
        options[name] = int(number)
    sys.exit(not main(**options))
