"""Which tips help: trains the recipes of a table on equal data, batches and seeds, and scores them.

    python tests/bench/bench_quality.py tips data=data.hdf5 features=squeezenet.keras
    python tests/bench/bench_quality.py long data=data.hdf5 features=squeezenet.keras
    python tests/bench/bench_quality.py study data=data.hdf5 features=squeezenet.keras
    python tests/bench/bench_quality.py toys

`tips` starts from a DCGAN without any tips, and takes two hours on two cores. `long` and `study`
vary later recipes, 20 minutes for each run. `toys` counts modes, on toy faces.

Each core trains a run of its own. Runs and scores stay in `folder`: a bench that was stopped
continues, and one that is complete only prints the table; table.csv has the scores of each seed.
`seeds=4` trains that many of each recipe, `only=labels` those with this text in their name,
`batches=300` shorter ones.
"""
import concurrent.futures
import csv
import os
import pathlib
import queue
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from conftest import arguments  # noqa: E402

import args as constants  # noqa: E402
import data  # noqa: E402
import gan  # noqa: E402
from training import checkpoints  # noqa: E402

QUARTER = {
    "generator_filters": (128, 64, 32, 16),
    "generator_extra_filters": (16,),
    "discriminator_filters": (16, 32, 64, 128),
}
# The DCGAN as the sources have it, before any of the tips.
TRAINING = {
    "augment": "",
    "r1_weight": 0.0,
    "ema_decay": 0.995,
    "d_learning_rate": 2e-4,
    "g_learning_rate": 2e-4,
    "batch_size": 32,
    "batches": 1500,
    "dump_every": 500,
    "keep_every": 0,
}
CUTOUT_TOO = {"augment": "color,translation,cutout"}
# For long, with a quarter of the filters: augmentation and high learning rates, without R1.
LONG_TRAINING = QUARTER | CUTOUT_TOO | {
    "r1_weight": 0.0,
    "ema_decay": 0.995,
    "batch_size": 32,
    "batches": 10000,
    "dump_every": 250,
    "keep_every": 2500,
}
BASELINE = "baseline"
# The gradient of D at single images: no batch norm in D.
SINGLE_IMAGES = {"batch_norm": "generator"}
# {recipe: (number of seeds, constants)}: what the sources recommend, each alone.
TIPS = {
    BASELINE: (4, {}),
    "samples of G, not of its average": (4, {"ema_decay": 0.0}),
    "average over more batches, .999": (2, {"ema_decay": 0.999}),
    "two-sided labels, (.9, 1) and (0, .1)": (
        2, {"real_labels": (0.9, 1.0), "fake_labels": (0.0, 0.1)}),
    "soft labels, (.7, 1.2) and (0, .3)": (
        2, {"real_labels": (0.7, 1.2), "fake_labels": (0.0, 0.3)}),
    "hard labels, 1 and 0": (2, {"real_labels": (1.0, 1.0)}),
    "TTUR, D 4e-4, G 1e-4": (2, {"d_learning_rate": 4e-4, "g_learning_rate": 1e-4}),
    "TTUR reversed, D 1e-4, G 4e-4": (2, {"d_learning_rate": 1e-4, "g_learning_rate": 4e-4}),
    "both rates 4e-4": (2, {"d_learning_rate": 4e-4, "g_learning_rate": 4e-4}),
    "no batch norm in D": (2, SINGLE_IMAGES),
    "R1 penalty, 10": (2, SINGLE_IMAGES | {"r1_weight": 10.0}),
    "spectral norm in D": (2, SINGLE_IMAGES | {"spectral_norm": True}),
    "augmentation, color,translation,cutout": (2, CUTOUT_TOO),
    "augmentation, rates 4e-4": (
        1, CUTOUT_TOO | {"d_learning_rate": 4e-4, "g_learning_rate": 4e-4}),
    "augmentation, nearest": (1, CUTOUT_TOO | {"upsampling": "nearest"}),
    "augmentation, translation alone": (1, {"augment": "translation"}),
    "augmentation, color alone": (1, {"augment": "color"}),
    "augmentation, bilinear": (1, CUTOUT_TOO | {"upsampling": "bilinear"}),
    "augmentation, pixel_shuffle": (1, CUTOUT_TOO | {"upsampling": "pixel_shuffle"}),
    "upsampling nearest": (2, {"upsampling": "nearest"}),
    "instance noise .1, fading": (1, {"instance_noise": 0.1, "instance_noise_batches": 1500}),
    "minibatch discrimination": (1, {"minibatch_kernels": 100}),
    "feature matching": (1, {"feature_matching": 100.0}),
    "replay of 1,000 fakes": (1, {"replay_size": 1000}),
    "uniform z": (1, {"latent": "uniform"}),
    "binary z": (1, {"latent": "binary"}),
    "D's updates apart": (1, {"d_updates": "apart"}),
    "D learns alone for 100 batches": (1, {"warmup_batches": 100}),
    "G pretrained for 200 batches": (1, {"pretrain_batches": 200}),
    "dropout .3 in D": (1, {"d_dropout": 0.3}),
    "dropout .5 in G": (1, {"g_dropout": 0.5}),
    "saturating objective": (1, {"g_objective": "saturating"}),
    "least squares": (1, {"loss": "least_squares"}),
    "hinge": (1, {"loss": "hinge"}),
    "Wasserstein, gradient penalty 10": (
        1, SINGLE_IMAGES | {"loss": "wasserstein", "gradient_penalty": 10.0}),
    "gradient penalty 10": (1, SINGLE_IMAGES | {"gradient_penalty": 10.0}),
    "label flips, 5 %": (1, {"label_flip": 0.05}),
    "swaps for older checkpoints": (
        1, {"swap_every": 100, "swap_for": 5, "dump_every": 50}),
    "beta_1 .9": (1, {"beta_1": 0.9}),
    "SGD for D": (1, {"d_optimizer": "sgd", "d_learning_rate": 0.02}),
    "Glorot weights": (1, {"kernel_initializer": "glorot_uniform"}),
    "orthogonal weights": (1, {"kernel_initializer": "orthogonal"}),
    "kernel 3": (1, {"kernel_size": 3}),
    "kernel 5": (1, {"kernel_size": 5}),
    "upsampling pixel_shuffle": (1, {"upsampling": "pixel_shuffle"}),
    "upsampling bilinear": (1, {"upsampling": "bilinear"}),
    "downsampling average": (1, {"downsampling": "average"}),
    "downsampling max": (1, {"downsampling": "max"}),
    "ReLU in G": (1, {"g_leaky_slope": 0.0}),
    "D of equal depths": (1, {"discriminator_filters": (64, 64, 64, 64)}),
    "no batch norm at all": (1, {"batch_norm": "none"}),
    "no mirrored images": (1, {"flip": False}),
    "mixed bfloat16": (4, {"precision": "mixed_bfloat16"}),  # no tip: it should change nothing
}
# Here the labels of the baseline are two-sided.
TOYS_TRAINING = TRAINING | {
    "features": "classifier",
    "evaluate_count": 10000,
    "conditional": False,
    "dataset_size": 12000,
    "output_blur": False,
    "pretrain_batches": 0,
    "real_labels": (0.9, 1.0),
    "fake_labels": (0.0, 0.1),
}
TOYS = {
    BASELINE: (2, {}),
    "one-sided labels, .9 and 0": (2, {"real_labels": (0.9, 0.9), "fake_labels": (0.0, 0.0)}),
}
for recipe in ("both rates 4e-4", "augmentation, color,translation,cutout",
               "augmentation, translation alone", "minibatch discrimination", "feature matching",
               "replay of 1,000 fakes"):
    TOYS[recipe] = TIPS[recipe]
R1 = {"r1_weight": 0.02, "r1_every": 4}
RARE_R1 = {"r1_weight": 0.02, "r1_every": 8}
NEAREST = {"upsampling": "nearest", "kernel_size": 3}
NO_CUTOUT = {"augment": "color,translation"}
TRANSLATION = {"augment": "translation"}
# Which recipes go on getting better.
LONG = {
    "augmentation alone": (1, {}),
    "R1 .02": (1, R1),
    "R1 .02, every 8th batch": (1, RARE_R1),
    "R1 .02, no cutout": (1, RARE_R1 | NO_CUTOUT),
    "R1 .02, no cutout, nearest": (1, RARE_R1 | NO_CUTOUT | NEAREST),
    "R1 .02, translation alone": (1, RARE_R1 | TRANSLATION),
    "R1 .02, translation alone, average .998": (1, RARE_R1 | TRANSLATION | {"ema_decay": 0.998}),
    "R1 .02, translation alone, average .999": (1, RARE_R1 | TRANSLATION | {"ema_decay": 0.999}),
    "R1 .5": (1, R1 | {"r1_weight": 0.5}),
    "R1 .02, no batch norm in D, He weights": (
        1, R1 | SINGLE_IMAGES | {"kernel_initializer": "he_normal"}),
    "R1 .02, nearest": (1, R1 | NEAREST),
    "R1 .1, nearest": (1, R1 | NEAREST | {"r1_weight": 0.1}),
}
# What could improve the defaults of args.py, with a quarter of the filters, at equal images.
STUDY_TRAINING = QUARTER | {
    "batch_size": 32,
    "batches": 4000,
    "dump_every": 1000,
    "keep_every": 2000,
}
SMALLER_BATCHES = {"batch_size": 16, "batches": 8000, "keep_every": 4000}
STUDY = {
    BASELINE: (1, {}),
    "output blur": (1, {"output_blur": True}),
    "R1 every 16th batch": (1, {"r1_every": 16}),
    "batches of 16": (2, SMALLER_BATCHES),
    "batches of 16, output blur": (1, SMALLER_BATCHES | {"output_blur": True}),
}
# {table: (recipes, preset, constants of all its runs)}
TABLES = {
    "tips": (TIPS, "Args", QUARTER | TRAINING),
    "long": (LONG, "Args", LONG_TRAINING),
    "study": (STUDY, "Args", STUDY_TRAINING),
    "toys": (TOYS, "ToyFaces", TOYS_TRAINING),
}
SHOWN = ("fd", "kid", "precision", "recall", "density", "coverage", "checkerboard", "modes", "kl")


def runs_of(table, options):
    """Returns (recipe, constants, command-line arguments) of each recipe and seed.

    The first seed of all recipes comes first, then the second.
    """
    recipes, preset, base = TABLES[table]
    runs = []
    for recipe, (seeds, changes) in recipes.items():
        if options.get("only", "") not in recipe:
            continue
        for seed in range(int(options.get("seeds", seeds))):
            values = base | changes | {"seed": seed, "name": folder_name(f"{recipe} {seed}")}
            if table == "toys":
                values["data"] = f"toyfaces-{seed}.hdf5"  # toy faces depend on the seed
            for name in ("data", "features"):
                if name in options:
                    values[name] = options[name]
            if "batches" in options:
                values["batches"] = int(options["batches"])
            command = [preset, *arguments(values)]
            args, _ = constants.parse(command)
            runs.append((recipe, args, command))
    return sorted(runs, key=lambda run: run[1].seed)


def folder_name(text):
    """Returns the text with a dash for all that is not usual in the name of a folder."""
    return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in text)


def checkpoint_of(args):
    """Returns the last checkpoint of a complete run."""
    return checkpoints.checkpoint_path(checkpoints.run_folder(args), args.batches)


def train(command, cores):
    """Trains a run in a process and on a core of its own. Returns the CompletedProcess."""
    chosen = cores.get()
    try:
        done = subprocess.run(
            [sys.executable, ROOT / "gan.py", *command], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, chosen))
    finally:
        cores.put(chosen)
    print(".", end="", file=sys.stderr, flush=True)
    return done


def train_all(runs):
    """Trains the runs that are not complete, and reports those that fail."""
    available = sorted(os.sched_getaffinity(0))
    cores = queue.Queue()
    for core in available:
        cores.put({core})
    with concurrent.futures.ThreadPoolExecutor(cores.qsize()) as pool:
        started = []
        for _, args, command in runs:
            if not checkpoint_of(args).exists():
                started.append((args, pool.submit(train, command, cores)))
        for args, future in started:
            done = future.result()
            if done.returncode:
                lines = done.stderr.splitlines() or ["killed"]
                print(f"\n{args.name}: {lines[-1]}", file=sys.stderr)


def score_all(runs):
    """Scores the complete runs: {recipe: [{"seed", "batches", score: value}]}."""
    found = {}
    for recipe, args, _ in runs:
        if not checkpoint_of(args).exists():
            continue
        for label, row in gan.evaluate(args).items():
            if label == "real":
                continue
            row = {"seed": args.seed, "batches": int(label)} | row
            found.setdefault(recipe, []).append(row)
    return found


def write_table(table):
    """Writes table.csv, a row for each recipe, seed and checkpoint."""
    first_rows = next(iter(table.values()))
    with open("table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["recipe", *first_rows[0]], lineterminator="\n")
        writer.writeheader()
        for recipe, rows in table.items():
            for row in rows:
                writer.writerow({"recipe": recipe} | row)


def print_table(table):
    """Prints the mean over the seeds of each score, and half of the range, by checkpoint."""
    first_rows = next(iter(table.values()))
    columns = [name for name in first_rows[0] if name.split("_")[0] in SHOWN]
    print(f"\n| recipe | batches | seeds | {' | '.join(columns)} |")
    print(f"|---|---|---|{'---|' * len(columns)}")
    by_checkpoint = {}
    for recipe, rows in table.items():
        for row in rows:
            by_checkpoint.setdefault((recipe, row["batches"]), []).append(row)
    for (recipe, batches), rows in by_checkpoint.items():
        cells = []
        for column in columns:
            values = [row[column] for row in rows]
            cell = f"{np.mean(values):.4g}"
            if len(values) > 1:
                cell += f" ± {np.ptp(values) / 2:.2g}"
            cells.append(cell)
        print(f"| {recipe} | {batches} | {len(rows)} | {' | '.join(cells)} |")


def main(table, options):
    for name in ("data", "features"):
        if os.path.exists(options.get(name, "")):
            options[name] = os.path.abspath(options[name])
    folder = pathlib.Path(options.get("folder", table))
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    runs = runs_of(table, options)
    if not runs:
        sys.exit(f"No recipe has {options['only']!r} in its name: {', '.join(TABLES[table][0])}")
    for _, args, _ in runs:
        if not os.path.exists(args.data):
            data.make(args)
    train_all(runs)
    found = score_all(runs)
    if not found:
        sys.exit("No run is complete.")
    write_table(found)
    print_table(found)


if __name__ == "__main__":
    main(sys.argv[1], dict(argument.split("=", 1) for argument in sys.argv[2:]))
