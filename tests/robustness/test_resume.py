"""Tests of runs that are killed or stopped: they resume as if nothing had happened."""
import re
import signal
import subprocess
import sys
import time

import pytest
from compare_runs import combination, differences, differences_of_resumed
from conftest import ROOT, TINY, arguments

import args as constants
import gan


def start(**changes):
    """Starts python gan.py ToyFaces with tiny networks in the current folder."""
    return subprocess.Popen([sys.executable, ROOT / "gan.py", "ToyFaces", *arguments(changes)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path, process):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)


@pytest.mark.slow
def test_run_that_was_killed_and_stopped_ends_bit_for_bit_as_one_that_was_not(toys, tiny):
    """By kill -9, then by Ctrl-C, then by kill: in the pretraining, and twice in the training."""
    changes = TINY | {"pretrain_batches": 30, "batches": 30, "dump_every": 3, "d_dropout": 0.3,
                      "replay_size": 16, "swap_every": 6, "swap_for": 2}
    gan.main(tiny(**changes, name="whole"))
    run = toys / "runs/stopped"
    for number, path in ((signal.SIGKILL, "pretrain/weights/000009.weights.h5"),
                         (signal.SIGINT, "weights/000009.weights.h5"),
                         (signal.SIGTERM, "weights/000021.weights.h5")):
        process = start(**changes, name="stopped")
        wait_for(run / path, process)
        process.send_signal(number)
        printed, errors = process.communicate(timeout=300)
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 128 + number
            assert re.search(rf"{number.name} after batch \d+, .* runs/stopped", printed)
            assert "Traceback" not in errors
    newest = "weights/000030.weights.h5"
    assert not (run / newest).exists()
    last = start(**changes, name="stopped")
    assert last.communicate(timeout=300) and last.returncode == 0
    assert differences(toys / "runs/whole" / newest, run / newest) == []
    assert (toys / "runs/whole/dump.png").read_bytes() == (run / "dump.png").read_bytes()


@pytest.mark.slow
def test_random_combination_of_constants_resumes_bit_for_bit(here):
    """For more of them see bench_combinations.py."""
    assert differences_of_resumed(combination(1)) == []


@pytest.mark.slow
def test_cartoon_resumes_bit_for_bit(here):
    # The run that is not stopped pretrains, so it builds more networks than the one that resumes.
    args = constants.override(
        constants.Cartoon64, image_shape=(32, 32, 3), generator_filters=(4, 8),
        discriminator_filters=(4, 4), dataset_size=40, batch_size=4, dump_every=2, grid=(2, 2),
        pretrain_batches=2, content_weight=1.0, content_features="random")
    assert differences_of_resumed(args) == []
