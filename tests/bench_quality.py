"""Which tips hold: trains each recipe of a table on equal data, batches and seeds, scores it, and prints README's rows.

    python tests/bench_quality.py tips data=data.hdf5 features=squeezenet.keras   # two hours on two cores
    python tests/bench_quality.py toys                                            # modes, on toy faces
    python tests/bench_quality.py peers data=data.hdf5 features=squeezenet.keras  # full nets: hours

Each core trains a run of its own. Runs and scores stay in `folder`: a bench that was stopped goes on where it stood,
and one that is complete only prints; its table.csv holds each seed's scores. `seeds=4` trains that many of each recipe,
`only=labels` those with the word in their name, `batches=300` shorter ones.
"""
import concurrent.futures
import csv
import os
import pathlib
import queue
import subprocess
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import args as constants  # noqa: E402
import callbacks  # noqa: E402
import data  # noqa: E402
import gan  # noqa: E402

# The DCGAN as the sources have it, before any of the tips; nets of a quarter of the filters.
QUARTER = {"augment": "", "d_learning_rate": 2e-4, "g_learning_rate": 2e-4,
           "generator_filters": (128, 64, 32, 16), "generator_extra_filters": (16,),
           "discriminator_filters": (16, 32, 64, 128), "batch_size": 32, "batches": 1500, "dump_every": 500,
           "keep_snapshots": 1, "archive_every": 0}
BASELINE = "baseline"
ALONE = {"batch_norm": "generator"}  # D's slope at single images: no batch norm in D
# {recipe: (seeds, constants)}: what the sources recommend, each alone.
TIPS = {
    BASELINE: (4, {}),
    "samples of G, not of its average": (4, {"ema_decay": 0.0, "weights": "runs/baseline-{seed}/weights/001500",
                                             "batches": 0}),
    "average over more batches, .999": (2, {"ema_decay": 0.999}),
    "two-sided labels, (.9, 1) and (0, .1)": (2, {"real_labels": (0.9, 1.0), "fake_labels": (0.0, 0.1)}),
    "soft labels, (.7, 1.2) and (0, .3)": (2, {"real_labels": (0.7, 1.2), "fake_labels": (0.0, 0.3)}),
    "hard labels, 1 and 0": (2, {"real_labels": (1.0, 1.0)}),
    "TTUR, D 4e-4, G 1e-4": (2, {"d_learning_rate": 4e-4, "g_learning_rate": 1e-4}),
    "TTUR reversed, D 1e-4, G 4e-4": (2, {"d_learning_rate": 1e-4, "g_learning_rate": 4e-4}),
    "both rates 4e-4": (2, {"d_learning_rate": 4e-4, "g_learning_rate": 4e-4}),
    "no batch norm in D": (2, ALONE),
    "R1 penalty, 10": (2, ALONE | {"r1_weight": 10.0}),
    "spectral norm in D": (2, ALONE | {"spectral_norm": True}),
    "augmentation, color,translation,cutout": (2, {"augment": "color,translation,cutout"}),
    "augmentation, rates 4e-4": (1, {"augment": "color,translation,cutout", "d_learning_rate": 4e-4,
                                     "g_learning_rate": 4e-4}),
    "augmentation, nearest": (1, {"augment": "color,translation,cutout", "upsampling": "nearest"}),
    "augmentation, translation alone": (1, {"augment": "translation"}),
    "augmentation, color alone": (1, {"augment": "color"}),
    "augmentation, bilinear": (1, {"augment": "color,translation,cutout", "upsampling": "bilinear"}),
    "augmentation, pixel_shuffle": (1, {"augment": "color,translation,cutout", "upsampling": "pixel_shuffle"}),
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
    "Wasserstein, gradient penalty 10": (1, ALONE | {"loss": "wasserstein", "gradient_penalty": 10.0}),
    "gradient penalty 10": (1, ALONE | {"gradient_penalty": 10.0}),
    "label flips, 5 %": (1, {"label_flip": 0.05}),
    "swaps for older snapshots": (1, {"swap_every": 100, "swap_for": 5, "dump_every": 50, "keep_snapshots": 10}),
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
    "mixed bfloat16": (4, {"precision": "mixed_bfloat16"}),  # no tip, but it should change nothing
}
# The baseline's labels are two-sided here, as the preset's.
TOYS = {BASELINE: (2, {}), "one-sided labels, .9 and 0": (2, {"real_labels": (0.9, 0.9), "fake_labels": (0.0, 0.0)})}
TOYS |= {name: TIPS[name] for name in (
    "both rates 4e-4", "augmentation, color,translation,cutout", "augmentation, translation alone",
    "minibatch discrimination", "feature matching", "replay of 1,000 fakes")}
PEERS = {"default": (1, {}), "Original": (1, {}), "KerasExample": (1, {})}
TABLES = {"tips": (TIPS, "Args", QUARTER),
          "toys": (TOYS, "ToyFaces", {name: QUARTER[name] for name in QUARTER if "filters" not in name}
                   | {"features": "classifier", "dataset_size": 12000}),
          "peers": (PEERS, "Args", {"batches": 2000, "dump_every": 250, "archive_every": 250})}
SHOWN = ("fd", "kid", "precision", "recall", "density", "coverage", "checkerboard", "modes", "kl")


def runs_of(table, options):
    """Yields (recipe, preset, its args, its words) for each recipe and seed."""
    recipes, preset, base = TABLES[table]
    for name, (seeds, changes) in recipes.items():
        if options.get("only", "") not in name:
            continue
        named = "Args" if name == "default" else name if name in constants.presets() else preset
        for seed in range(int(options.get("seeds", seeds))):
            folder = "".join(letter if letter.isalnum() or letter == "." else "-" for letter in f"{name} {seed}")
            changed = base | changes | {"seed": seed, "name": folder}
            changed |= {"weights": changed["weights"].format(seed=seed)} if "weights" in changed else {}
            changed |= {"data": f"toyfaces-{seed}.hdf5"} if table == "toys" else {}  # they are painted by the seed
            changed |= {key: options[key] for key in ("data", "features") if key in options}
            changed |= {"batches": int(options["batches"])} if "batches" in options and changed["batches"] else {}
            words = [named, *(f"{key}={value}".replace(" ", "") for key, value in changed.items())]
            yield name, constants.parse(words), words


def snapshot_of(args):
    """Returns the snapshot that is scored: the run's last one, or that of `weights`."""
    own = callbacks.run_folder(args) / "weights" / f"{args.batches:06d}"
    return own if args.batches else pathlib.Path(args.weights)


def train(words, cores):
    """Trains a run in a process of its own, on a core that no other uses; tells whether it came to its end."""
    core = cores.get()
    try:
        done = subprocess.run([sys.executable, ROOT / "gan.py", *words], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, core))
    finally:
        cores.put(core)
    print(".", end="", file=sys.stderr, flush=True)
    return done


def main(table, options):
    options |= {name: os.path.abspath(options[name]) for name in ("data", "features")
                if options.get(name, "inception") not in ("inception", "classifier")}
    folder = pathlib.Path(options.pop("folder", table))
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    runs = sorted(runs_of(table, options), key=lambda run: run[1].seed)  # the first seed of all, then the second
    if not runs:
        sys.exit(f"No recipe has {options['only']!r} in its name: {', '.join(TABLES[table][0])}")
    for _, args, _ in runs:
        if not os.path.exists(args.data):
            data.make(args)
    cores, every = queue.Queue(), sorted(os.sched_getaffinity(0))
    alone = TABLES[table][2].get("generator_filters") or table == "toys"  # wide nets use all cores themselves
    for core in every if alone else [every]:
        cores.put({core} if alone else set(core))
    with concurrent.futures.ThreadPoolExecutor(cores.qsize()) as pool:
        waiting = [(args, pool.submit(train, words, cores)) for _, args, words in runs
                   if args.batches and not snapshot_of(args).exists()]
        for args, future in waiting:
            if future.result().returncode:
                print(f"\n{args.name}: {(future.result().stderr.splitlines() or ['killed'])[-1]}", file=sys.stderr)
    real, scores = {}, {}
    for name, args, _ in runs:
        args = constants.override(args, evaluate_count=10000 if args.features == "classifier" else 3000)
        run = callbacks.run_folder(args)
        if not snapshot_of(args).exists():
            continue
        label = callbacks.label_of(args, snapshot_of(args).resolve())
        if not any(key.startswith("fd_") for key in callbacks.read_scores(run).get(label, {})):
            real = real if args.data in real else {args.data: callbacks.look_at_real(args)}
            gan.evaluate(args, real[args.data])
        scores.setdefault(name, []).append({"seed": args.seed} | callbacks.read_scores(run)[label])
    if not scores:
        sys.exit("no run came to its end")
    with open("table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["recipe", *next(iter(scores.values()))[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"recipe": name} | one for name, found in scores.items() for one in found)
    columns = [key for key in next(iter(scores.values()))[0] if key.split("_")[0] in SHOWN]
    print(f"\n| recipe | seeds | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for name, found in scores.items():
        cells = []
        for column in columns:
            values = [one[column] for one in found]
            spread = f" ± {np.ptp(values) / 2:.2g}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.4g}{spread}")
        print(f"| {name} | {len(found)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1], dict(word.split("=", 1) for word in sys.argv[2:]))
