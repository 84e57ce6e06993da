"""The scores of a run: scores.csv, scores.png, and which checkpoint is the best.

A row is a checkpoint. The row "real" has the scores of training images, the row "photos" those of
photos before their translation. The name of a column tells the protocol, as in `fd_squeezenet_3k`:
the network and the number of images. Scores of different protocols cannot be compared.
"""
import csv
import math
import pathlib

import matplotlib.figure

import data
from training import checkpoints


def column(args, score):
    """Returns the name of the column of a score: "kid_mobilenet_3k" for "kid"."""
    return f"{score}_{pathlib.Path(args.features).stem}_{count_text(args)}"


def count_text(args):
    """Returns `evaluate_count` as text: "3k" for 3000, "1500" for 1500."""
    if args.evaluate_count % 1000 == 0:
        return f"{args.evaluate_count // 1000}k"
    return str(args.evaluate_count)


def read_scores(folder):
    """Returns {row: {column: value}} of scores.csv in `folder`, a Path; {} without it.

    Raises:
        ValueError: if it is not as it was written, but as a spreadsheet program saved it, say.
    """
    path = folder / "scores.csv"
    if not path.exists():
        return {}
    table = {}
    try:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                label = row.pop("checkpoint")
                table[label] = {name: float(value) for name, value in row.items() if value}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not as it was written. Restore or remove it. "
                         f"Received: {error!r}") from None
    return table


def write_scores(folder, rows):
    """Adds {row: {column: value}} to scores.csv in `folder`, a Path, and plots scores.png."""
    table = read_scores(folder)
    for label, scores in rows.items():
        table[label] = table.get(label, {}) | scores
    columns = []
    lines = []
    for label, scores in table.items():
        for name in scores:
            if name not in columns:
                columns.append(name)
        values = {name: f"{value:.6g}" for name, value in scores.items()}
        lines.append({"checkpoint": label} | values)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.write_csv(folder / "scores.csv", ["checkpoint", *columns], lines)
    _plot(folder, table, columns)


def _plot(folder, table, columns):
    """Plots each score, with a dashed line for real images and a dotted one for photos."""
    own = sorted((label for label in table if label.isdigit()), key=int)  # batches of this run
    rows = math.ceil(len(columns) / 3)
    figure = matplotlib.figure.Figure(figsize=(10, 2.2 * rows), dpi=80, layout="constrained")
    for index, name in enumerate(columns):
        axes = figure.add_subplot(rows, 3, index + 1, title=name)
        scored = [label for label in own if name in table[label]]
        batches = [int(label) for label in scored]
        axes.plot(batches, [table[label][name] for label in scored], marker=".")
        for label, style in ("real", "--"), ("photos", ":"):
            if name in table.get(label, {}):
                axes.axhline(table[label][name], linestyle=style, color="gray")
        axes.grid(alpha=0.3)
    with data.whole_file(folder / "scores.png") as temporary:
        figure.savefig(temporary)


# ---- which checkpoint is the best


def best_checkpoint(args, found):
    """Returns the checkpoint with the lowest KID by `features` and `evaluate_count`.

    The KID is unbiased. The Frechet distance is not: with fewer images than features, it depends
    mostly on the number of images.

    Args:
        args: the constants, a class of args.py.
        found: the checkpoints to choose from, Paths.

    Raises:
        FileNotFoundError: if none of them has such a KID.
    """
    name = column(args, "kid")
    run = checkpoints.run_folder(args)
    table = read_scores(run)
    kids = {}
    for checkpoint in found:
        scores = table.get(checkpoints.label_of(args, checkpoint), {})
        if name in scores:
            kids[checkpoint] = scores[name]
    if not kids:
        raise FileNotFoundError(
            "`checkpoint=best` needs scores: run evaluate first, with the same `features`, "
            "`evaluate_count` and `seed`. Received: checkpoint=best, "
            f"seed={args.seed}, {run}/scores.csv without {name}")
    return min(kids, key=kids.get)


def chosen_checkpoint(args):
    """Returns the checkpoint that `checkpoint` names: "newest", "best", or a batch.

    Raises:
        FileNotFoundError: if there is no such checkpoint, or none has scores.
    """
    found = checkpoints.chosen_checkpoints(args)
    if args.checkpoint == "newest":
        return found[-1]
    if args.checkpoint == "best":
        return best_checkpoint(args, found)
    return checkpoints.checkpoint_of_batch(args, found)
