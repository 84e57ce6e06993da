"""How fast data.py reads images: its decoding stage beside a plain Pillow loop, alternately, in one process.

    python tests/bench_data.py images='my-faces/*/*.jpg' [constant=value ...]
"""
import pathlib
import resource
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import args as constants  # noqa: E402
import data  # noqa: E402

ROUNDS = 5


def plain(paths, args):
    """Reads one file after the other, each as data.py does."""
    for path in paths:
        data.read_image(path, args.image_shape, args.crop)


def parallel(paths, args):
    """Reads as data.py does, the start of its processes included."""
    tasks = [(paths[i:i + data.CHUNK], args.image_shape, args.crop) for i in range(0, len(paths), data.CHUNK)]
    for _ in data.in_parallel(data.read_chunk, tasks):
        pass


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main(args):
    paths = data.find(args)
    plain(paths, args)  # so that the files are in the system's cache for both
    rounds = [(seconds(plain, paths, args), seconds(parallel, paths, args)) for _ in range(ROUNDS)]
    ratios = [one / other for one, other in rounds]
    megabytes = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"{len(paths)} files, {ROUNDS} rounds, medians\n\n| | images a second | ratio |\n|---|---|---|")
    print(f"| plain Pillow loop | {len(paths) / statistics.median(one for one, _ in rounds):.0f} | 1 |")
    print(f"| data.py | {len(paths) / statistics.median(other for _, other in rounds):.0f} | "
          f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |")
    print(f"\npeak memory: {megabytes[0]:.0f} MiB, of a decoding process {megabytes[1]:.0f} MiB")


if __name__ == "__main__":
    main(constants.parse(sys.argv[1:]))
