"""Random valid combinations of constants: do they train, and resume bit for bit?

    python tests/bench/bench_combinations.py count=20

Each is trained for 6 batches with networks of a few filters, once without a stop and once in three
parts. Weights, averages, optimizers and the replay buffer must then be equal to the last bit.
Prints a line for each combination, with the constants that differ from the preset ToyFaces.
"""
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT), str(ROOT / "tests")]

import compare_runs  # noqa: E402

import args as constants  # noqa: E402
import data  # noqa: E402


def changes(args):
    """Returns the constants that a combination has otherwise than ToyFaces, as arguments."""
    found = []
    for name in compare_runs.OPTIONS:
        value = getattr(args, name)
        if value != getattr(constants.ToyFaces, name):
            found.append(f"{name}={value}")
    return " ".join(found)


def main(count=20):
    equal = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        data.make(compare_runs.combination(0))
        for number in range(count):
            args = compare_runs.combination(number)
            different = compare_runs.differences_of_resumed(args)
            if different:
                result = f"DIFFERENT in {', '.join(different[:3])}"
            else:
                result = "equal"
                equal += 1
            print(f"\n{number}: {result}: {changes(args)}", file=sys.stderr, flush=True)
    print(f"\n{equal} of {count} random combinations trained, and resumed bit for bit")
    return equal == count


if __name__ == "__main__":
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    sys.exit(not main(**{name: int(number) for name, number in options.items()}))
