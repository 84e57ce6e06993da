"""How fast data.py reads image files: beside a plain Pillow loop, alternately, in one process.

    python tests/bench/bench_data.py images='my-faces/*/*.jpg' [constant=value ...]
"""
import functools
import pathlib
import resource
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import args as constants  # noqa: E402
import data  # noqa: E402

ROUNDS = 5


def read_plainly(read, paths):
    """Reads one file after the other, each as data.py does."""
    for path in paths:
        read(path)


def read_as_data_py(read, paths):
    """Reads the files as data.py does, in several threads."""
    for _ in data._read_in_threads(paths, read, range(len(paths))):
        pass


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main(args):
    paths = data.find_files(args.images)
    read = functools.partial(data.read_image, image_shape=args.image_shape, crop=args.crop)
    read_plainly(read, paths)  # so that the files are in the system's cache for both
    plain, ours = [], []
    for _ in range(ROUNDS):
        plain.append(seconds(read_plainly, read, paths))
        ours.append(seconds(read_as_data_py, read, paths))
    ratios = [one / other for one, other in zip(plain, ours)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(paths)} files, {ROUNDS} rounds, medians\n")
    print("| | images a second | ratio |")
    print("|---|---|---|")
    print(f"| plain Pillow loop | {len(paths) / statistics.median(plain):.0f} | 1 |")
    print(f"| data.py | {len(paths) / statistics.median(ours):.0f} | "
          f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |")
    print(f"\npeak memory: {memory:.0f} MiB")


if __name__ == "__main__":
    main(constants.parse(sys.argv[1:], verbs=())[0])
