"""Evaluation: the features of real images, the scores of generated ones, and their table."""
import csv
import math
import os
import typing

import keras
import matplotlib.figure
import numpy as np

import data
from models import features, metrics
from training import checkpoints

MIN_IMAGES = 10  # images of each kind, at least: precision and recall need more than 5 [guess]


def check_scores(args):
    """Checks that scores can be computed: enough images of each kind, and a usable `features`.

    Raises:
        FileNotFoundError: if `features` names a file that does not exist.
        ValueError: if `test_fraction` or `evaluate_count` does not fit the number of images,
            `features` is "classifier" and the images have no labels, or it is "random" and they are
            too small.
    """
    images = data.open_images(args)
    train, test = data.split(args, len(images))
    if len(test) < MIN_IMAGES:
        raise ValueError(f"`test_fraction` must leave at least {MIN_IMAGES} test images to compute "
                         "scores. Raise it, or add more images. "
                         f"Received: test_fraction={args.test_fraction}, {len(images)} images")
    if not MIN_IMAGES <= args.evaluate_count <= len(train):
        # As many training images are scored for comparison.
        raise ValueError(f"`evaluate_count` must be at least {MIN_IMAGES} and at most the number "
                         "of training images. "
                         f"Received: evaluate_count={args.evaluate_count}, {len(train)} images")
    if args.photos:
        photos = data.open_images(args, "photos")
        _, test_photos = data.split(args, len(photos))
        if args.evaluate_count > len(test_photos):
            raise ValueError("`evaluate_count` must be at most the number of test photos. "
                             f"Received: evaluate_count={args.evaluate_count}, "
                             f"{len(test_photos)} photos")
    if args.features == "classifier":
        data.classes(args)
    elif args.features == "random":
        smallest = features.RANDOM_SIZE * max(features.RANDOM_SCALES)
        if min(args.image_shape[:2]) < smallest:
            raise ValueError(f"`features=random` needs images of at least {smallest}x{smallest} "
                             "pixels. Choose another network. "
                             f"Received: features=random, image_shape={args.image_shape}")
    elif args.features != "inception":
        features.check_network(args.features)


class RealFeatures(typing.NamedTuple):
    """What generated images are compared with.

    Attributes:
        network: the keras.Model that extracts features.
        train: features.Features of the training images.
        test: features.Features of the test images.
        classes: the true classes of all images, int [count, factors], where the network predicts
            classes, else None.
    """
    network: keras.Model
    train: features.Features
    test: features.Features
    classes: np.ndarray | None


def real_features(args):
    """Extracts the features of the real images with the network that `features` names.

    Returns:
        A RealFeatures.

    Raises:
        FileNotFoundError, ValueError: see `check_scores`.
    """
    check_scores(args)
    images = data.open_images(args)
    if images.dtype != np.uint8:
        images = data.denormalize(images[:])
    train_rows, test_rows = data.split(args, len(images))

    path = args.features
    if path == "classifier":
        path = _classifier_file(args, images, train_rows)
    network = features.feature_network(path)
    train = features.extract_features(network, images[train_rows])
    test = features.extract_features(network, images[test_rows])
    if test.classes is None:
        return RealFeatures(network, train, test, None)

    classes = data.classes(args)
    is_correct = (test.classes == classes[test_rows]).all(1)
    print(f"{path} classifies {is_correct.mean():.1%} of the {len(test_rows)} test images "
          "correctly")
    return RealFeatures(network, train, test, classes)


def _classifier_file(args, images, train_rows):
    """Returns the .keras file of a classifier of the training images, and trains it if needed.

    It is beside `data`. Its name says of which images it is, and how many of them it has seen, so
    that other images, another `dataset_size` or `test_fraction` have a classifier of their own.
    """
    stem = data.files(args)[0].removesuffix(".hdf5")
    path = f"{stem}.classifier-{data.fingerprint(args)}-{len(train_rows)}.keras"
    if not os.path.exists(path):
        print(f"Training a classifier on the labels of {args.data}")
        classes = data.classes(args)
        class_counts = classes.max(0) + 1
        network = features.train_classifier(images[train_rows], classes[train_rows], class_counts)
        temporary = path.replace(".keras", f".{os.getpid()}.tmp.keras")
        network.save(temporary)
        os.replace(temporary, path)
    return path


# ---- scores. A name such as fd_squeezenet_3k tells the network and the number of images, too.

def scores_of(args, generated, real):
    """Computes the scores of generated images.

    Args:
        args: the constants, a class.
        generated: features.Features of `evaluate_count` generated images.
        real: a RealFeatures.

    Returns:
        {score: value}, see `metrics.scores`.
    """
    scores = metrics.scores(generated, real.train, real.test, real.classes,
                            inception=args.features == "inception")
    suffix = _suffix(args)
    return {name + suffix: value for name, value in scores.items()}


def scores_of_real_images(args, real, random):
    """Computes the scores of `evaluate_count` training images, which generated ones can reach.

    Args:
        args: the constants, a class.
        real: a RealFeatures.
        random: a NumPy generator, which chooses the images.

    Returns:
        {score: value}, see `metrics.scores`.
    """
    rows = random.permutation(len(real.train.images))[:args.evaluate_count]
    classes = real.train.classes
    chosen = features.Features(images=real.train.images[rows],
                               features=real.train.features[rows],
                               classes=None if classes is None else classes[rows])
    scores = scores_of(args, chosen, real)
    # These are copies of training images. Other real images would score 0.5.
    scores["memorization" + _suffix(args)] = 0.5
    return scores


def truth_scores(args, images):
    """Compares images with the true drawings of the test photos, which toy scenes have.

    Args:
        args: the constants, a class.
        images: uint8 [evaluate_count, rows, columns, 3], translations of the first test photos, or
            these photos themselves.

    Returns:
        {score: value}: error_truth, the mean absolute difference in [0, 255], and
        edge_correlation; {} if `data` has no true drawings.
    """
    truths = data.truths(args, args.evaluate_count)
    if truths is None:
        return {}
    scores = {
        "error_truth": metrics.error(images, truths),
        "edge_correlation": metrics.edge_correlation(images, truths),
    }
    return {f"{name}_{_count_text(args)}": value for name, value in scores.items()}


def labels_in_true_shares(args, random):
    """Returns the labels of the training images, int [count], in random order.

    Images generated with these labels, one after the other, have the class shares of real images.
    """
    labels, _ = data.open_labels(args)
    train_rows, _ = data.split(args, len(data.open_images(args)))
    return random.permutation(labels[train_rows])


def is_scored(args, folder, label):
    """Returns whether scores.csv in `folder` has scores of this network and number of images."""
    scores = read_scores(folder).get(label, {})
    return _distance_name(args) in scores


def print_scores(label, scores, others, name_of_others="real"):
    """Prints the scores of a checkpoint, each beside that of other images, in one line."""
    parts = []
    for name, value in scores.items():
        parts.append(f"{name} {value:.4g} ({name_of_others} {others[name]:.4g})")
    print(f"{label}: {', '.join(parts)}")


def _distance_name(args):
    """Returns the name of the Frechet distance, such as "fd_inception_3k"."""
    return "fd" + _suffix(args)


def _suffix(args):
    """Returns what is appended to the name of a score, such as "_inception_3k"."""
    network = os.path.splitext(os.path.basename(args.features))[0]
    return f"_{network}_{_count_text(args)}"


def _count_text(args):
    """Returns `evaluate_count` as text: "3k" for 3000, "1500" for 1500."""
    if args.evaluate_count % 1000 == 0:
        return f"{args.evaluate_count // 1000}k"
    return str(args.evaluate_count)


# ---- the table

def read_scores(folder):
    """Returns {checkpoint, "real" or "photos": {score: value}} of scores.csv, {} without it.

    Raises:
        ValueError: if the file has another format.
    """
    path = folder / "scores.csv"
    if not path.exists():
        return {}
    table = {}
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        for row in rows:
            label = row.pop("checkpoint")
            table[label] = {name: float(value) for name, value in row.items() if value}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must have a column checkpoint, and numbers in the others, "
                         "separated by commas. Restore it, or remove it to compute the scores "
                         f"again. Received: {error!r}") from None
    return table


def write_scores(folder, table):
    """Adds {checkpoint, "real" or "photos": {score: value}} to scores.csv, and plots scores.png.

    A score is plotted over the batches, with a dashed line for that of real images, and one for
    that of the untranslated photos.
    """
    merged = read_scores(folder)
    for label, scores in table.items():
        merged[label] = merged.get(label, {}) | scores
    _write_table(folder, merged)


def remove_later_scores(folder, batch):
    """Removes the scores of checkpoints after `batch`, which will be trained again, if any."""
    table = read_scores(folder)
    kept = {}
    for label, scores in table.items():
        own_batch = label.split("-seed")[0]
        if not own_batch.isdigit() or int(own_batch) <= batch:
            kept[label] = scores
    if len(kept) < len(table):
        _write_table(folder, kept)


def _write_table(folder, table):
    """Writes scores.csv and scores.png."""
    columns = []
    for scores in table.values():
        for name in scores:
            if name not in columns:
                columns.append(name)
    first = [label for label in ("real", "photos") if label in table]
    own = sorted((label for label in table if label.isdigit()), key=int)  # batches of this run
    others = sorted(label for label in table if label not in first + own)

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".scores.csv"
    with open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ["checkpoint", *columns], lineterminator="\n")
        writer.writeheader()
        for label in first + own + others:
            row = {name: f"{value:.6g}" for name, value in table[label].items()}
            writer.writerow({"checkpoint": label} | row)
    os.replace(temporary, folder / "scores.csv")
    _plot_scores(folder, table, columns, own)


def _plot_scores(folder, table, columns, own):
    rows = math.ceil(len(columns) / 3)
    figure = matplotlib.figure.Figure(figsize=(10, 2.2 * rows), dpi=80, layout="constrained")
    for index, name in enumerate(columns):
        axes = figure.add_subplot(rows, 3, index + 1, title=name)
        scored = [label for label in own if name in table[label]]
        batches = [int(label) for label in scored]
        axes.plot(batches, [table[label][name] for label in scored], marker=".")
        for label in ("real", "photos"):
            if name in table.get(label, {}):
                axes.axhline(table[label][name], linestyle="--", color="gray")
        axes.grid(alpha=0.3)
    figure.savefig(folder / ".scores.png", format="png")
    os.replace(folder / ".scores.png", folder / "scores.png")


# ---- the best checkpoint


def best_checkpoint(args, folder):
    """Returns which checkpoint of a run has the lowest Frechet distance in its scores.csv.

    Distances are those by `features` and `evaluate_count`. Checkpoints of other runs and scores of
    another `seed`, whose names are no batches, do not count.

    Args:
        args: the constants, a class.
        folder: the run folder, a Path.

    Returns:
        Its name, such as "005000"; None if none has such a distance.
    """
    name = _distance_name(args)
    distances = {}
    for label, scores in read_scores(folder).items():
        if label.isdigit() and name in scores:
            distances[label] = scores[name]
    return min(distances, key=distances.get, default=None)


def print_best(args, folder):
    """Prints which checkpoint of a run has the lowest Frechet distance, if any is scored."""
    label = best_checkpoint(args, folder)
    if label is None:
        return
    name = _distance_name(args)
    distance = read_scores(folder)[label][name]
    path = folder / "weights" / label
    removed = "" if path.exists() else ", which has been removed"
    print(f"The lowest {name} of the run is {distance:.4g}: {path}{removed}")


def check_best(args, folder):
    """Raises FileNotFoundError if no checkpoint of the run has a Frechet distance."""
    if best_checkpoint(args, folder) is not None:
        return
    names = set()
    for scores in read_scores(folder).values():
        names |= {name for name in scores if name.startswith("fd_")}
    existing = ", ".join(sorted(names)) or "none"
    raise FileNotFoundError(
        "`checkpoint=best` needs scores: run evaluate first, with the same `features` and "
        f"`evaluate_count`. Received: checkpoint=best, {_distance_name(args)} is not among the "
        f"distances in {folder}/scores.csv: {existing}")


def named_checkpoint(args, found):
    """Returns the checkpoint of the run that `checkpoint` names, "best" or a batch.

    Args:
        args: the constants, a class.
        found: the checkpoints of the run, Paths.

    Raises:
        ValueError: if `weights` names a checkpoint, too.
        FileNotFoundError: if there is no such checkpoint, or none has scores.
    """
    if checkpoints.weights_are_chosen(args):
        raise ValueError("`checkpoint` is incompatible with `weights`: each of them chooses a "
                         "checkpoint. Set checkpoint=newest, or `weights` to an empty string. "
                         f"Received: checkpoint={args.checkpoint}, weights={args.weights}")
    folder = checkpoints.run_folder(args)
    if args.checkpoint == "best":
        check_best(args, folder)
        name = best_checkpoint(args, folder)
    else:
        name = args.checkpoint.zfill(6)
    for checkpoint in found:
        if checkpoint.name == name:
            return checkpoint
    existing = ", ".join(checkpoint.name for checkpoint in found)
    raise FileNotFoundError(
        f"`checkpoint` must be one that has not been removed from {folder}/weights, which has "
        f"{existing}. Received: checkpoint={args.checkpoint}, which is {name}")
