"""Kills and Ctrl-C at random moments: does a run end as if nothing had happened?

    python tests/bench/bench_faults.py kills=50 wide=5

A run of narrow networks, pretraining and training, with swaps, a replay buffer and dropout, is
killed (SIGKILL) or stopped (SIGINT, SIGTERM) at a random moment: while it starts, within a batch, a
grid, a checkpoint. The same command starts it again, until that happened `kills` times. Then it may
finish. All that its last checkpoint holds, and its last grid, must equal, to the last bit, those of
a run that nobody stopped. The same is done `wide` times with the default networks.
"""
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT), str(ROOT / "tests")]

import compare_runs  # noqa: E402
from conftest import TINY, arguments  # noqa: E402

from training import checkpoints  # noqa: E402

WHILE_STARTING = 0.2  # share of the kills that happen before the first batch
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
NARROW = TINY | {
    "dump_every": 4, "keep_every": 0, "pretrain_batches": 24, "swap_every": 8, "swap_for": 2,
    "replay_size": 16, "d_dropout": 0.3, "r1_weight": 0.02, "r1_every": 3}
WIDE = {
    "images": "toyfaces", "data": "wide.hdf5", "dataset_size": 300, "batch_size": 8,
    "dump_every": 3, "keep_every": 0}


def finish(script, *more):
    """Runs a script to its end. Returns the seconds it took."""
    begun = time.monotonic()
    command = [sys.executable, ROOT / script, *more]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise RuntimeError(f"{script} ended with {process.returncode}: {process.stderr[-2000:]}")
    return time.monotonic() - begun


def stop(number, seconds, script, *more):
    """Starts a script, and sends it a signal after `seconds`.

    Returns:
        Whether it was still running. Otherwise it must have finished without an error.
    """
    process = subprocess.Popen([sys.executable, ROOT / script, *more], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        process.wait()
        return True
    if status:
        raise RuntimeError(f"{script} ended with {status}, though nobody stopped it")
    return False


def stop_training(name, preset, changes, kills, chance):
    """Stops gan.py again and again.

    Returns:
        The number of stops, and what is different in the end.
    """
    whole, stopped = pathlib.Path(f"runs/{name}-whole"), pathlib.Path(f"runs/{name}-stopped")
    command = ["gan.py", preset, *arguments(changes)]
    starting = finish(*command, f"name={name}-starts", "batches=1")
    seconds = finish(*command, f"name={whole.name}")
    print(f"{name}: a run of {changes['batches']} batches takes {seconds:.0f} seconds, and one of "
          f"a single batch {starting:.0f}", flush=True)
    # On average a run is stopped after half of this: after half of the batches in all.
    after_start = (seconds - starting) / kills
    done = 0
    while done < kills:
        if chance.random() < WHILE_STARTING:
            moment = chance.uniform(0, starting)
        else:
            moment = chance.uniform(starting, starting + after_start)
        number = chance.choice(SIGNALS)
        if not stop(number, moment, *command, f"name={stopped.name}"):
            print(f"the run has finished after {done} stops: give it more batches")
            break
        done += 1
        found = (checkpoints.checkpoints(stopped)
                 or checkpoints.checkpoints(stopped / "pretrain"))
        newest = found[-1] if found else "no checkpoint"
        print(f"{done}: {number.name} after {moment:.1f} s, at {newest}", flush=True)
    finish(*command, f"name={stopped.name}")
    different = compare_runs.differences(
        checkpoints.checkpoints(whole)[-1], checkpoints.checkpoints(stopped)[-1])
    if (whole / "dump.png").read_bytes() != (stopped / "dump.png").read_bytes():
        different.append("dump.png")
    return done, different


def main(kills=50, wide=5, seed=0):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    chance = random.Random(seed)
    runs = [("narrow", "ToyFaces", NARROW | {"batches": 30 * kills}, kills)]
    if wide:
        runs.append(("wide", "Args", WIDE | {"batches": 12 * wide}, wide))
    is_equal = True
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, preset, changes, count in runs:
            done, different = stop_training(name, preset, changes, count, chance)
            is_equal &= not different and done == count
            print(f"{name}, {done} stops: different from one that was not stopped: "
                  f"{different or 'nothing'}", flush=True)
    return is_equal


if __name__ == "__main__":
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    sys.exit(not main(**{name: int(number) for name, number in options.items()}))
