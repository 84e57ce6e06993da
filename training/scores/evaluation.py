"""Evaluation: scores of the checkpoints of a run, beside those of real images."""
import numpy as np

import data
import models
from models import features
from training import checkpoints, sampling
from training.preparation import class_names
from training.scores import drawing, metrics, real, table

MIN_IMAGES = 10  # images of each kind, at least: precision and recall need more than 5 [guess]


def check(args):
    """Checks that `evaluate` can compute scores, before hours of training.

    Raises:
        FileNotFoundError: if `features` names a file that does not exist.
        ValueError: if there are too few images, or no labels for a classifier, or the network
            cannot be loaded.
    """
    _check_counts(args)
    if args.features == "classifier":
        data.classes(args)
    else:
        features.feature_network(args.features)


def _check_counts(args):
    """Raises ValueError if there are too few images for `evaluate_count`."""
    images = data.open_images(args)
    train_rows, test_rows = data.split(args, len(images))
    if len(test_rows) < MIN_IMAGES:
        raise ValueError(f"`test_fraction` must leave at least {MIN_IMAGES} test images to compute "
                         "scores. Raise it in a new run, or add more images. "
                         f"Received: test_fraction={args.test_fraction}, {len(images)} images")
    most = len(train_rows)  # as many training images are scored for comparison
    if args.photos:
        _, test_photos = data.split(args, len(data.open_images(args, "photos")))
        most = min(most, len(test_photos))
    if not MIN_IMAGES <= args.evaluate_count <= most:
        raise ValueError(f"`evaluate_count` must be between {MIN_IMAGES} and {most}, the number of "
                         "training images or test photos. "
                         f"Received: evaluate_count={args.evaluate_count}")


def evaluate(args):
    """Scores checkpoints with `evaluate_count` images each, unless scores.csv has their scores.

    These are the newest checkpoint of the run and those that `keep_every` keeps, or `weights`.
    Writes scores.csv, scores.png, and neighbours.png: the 16 generated images nearest to a training
    image, each beside that image, of the last checkpoint scored. Toy scenes are also compared with
    their true drawings; the row "photos" has the scores of the photos as they are.

    Args:
        args: the constants, a class of args.py.

    Returns:
        {row: {column: value}} of scores.csv.
    """
    run = checkpoints.run_folder(args)
    found = checkpoints.chosen_checkpoints(args)
    unscored = _unscored(args, found, run)
    if unscored:
        # Compares the images alone: `data` is a constant that may differ.
        checkpoints.check_record(
            run, {"constants": {"data": args.data}, "fingerprint": data.fingerprint(args)})
        _check_counts(args)
        _score(args, unscored, run)
    name = table.column(args, "kid")
    print(f"Lowest {name} in {run}/scores.csv: {table.best_checkpoint(args, found)}")
    return table.read_scores(run)


def _unscored(args, found, run):
    """Returns the checkpoints without scores that `evaluate` is to score, {row: Path}."""
    kept = []
    if args.keep_every:
        kept = [path for path in found[:-1] if checkpoints.batch_of(path) % args.keep_every == 0]
    table_of_run = table.read_scores(run)
    unscored = {}
    for checkpoint in kept + found[-1:]:
        label = checkpoints.label_of(args, checkpoint)
        if table.column(args, "kid") not in table_of_run.get(label, {}):
            unscored[label] = checkpoint
    return unscored


def _score(args, unscored, run):
    """Scores the checkpoints `unscored`, {row: Path}, and writes their rows."""
    count = args.evaluate_count
    network = real.load_network(args)
    classes = checkpoints.class_names_of(args, list(unscored.values())[-1])
    data_classes = class_names(args)
    if classes != data_classes:
        raise ValueError("`weights` must have the classes of `data`. Set `data` to that of the "
                         f"weights' run. Received: weights={args.weights} with "
                         f"{', '.join(classes)}, data={args.data} with {', '.join(data_classes)}")
    sampler = models.build_sampler(args, len(classes))

    print(f"{run}: checkpoints to score: {len(unscored)}, by {count} images each")

    random = np.random.default_rng(0)
    reals = real.real_features(args, network)
    rows = {"real": scores_of_real_images(args, reals, random)}
    labels = labels_in_true_shares(args, random) if args.conditional else None
    if args.photos:
        true_drawings = data.truths(args, count)
        photos = data.denormalize(data.photos(args, count))
        rows["photos"] = scores_of(args, real.extract(network, photos), reals)
        rows["photos"].update(drawing_columns(args, photos, true_drawings))

    for label, path in unscored.items():
        checkpoints.load_generator(sampler, path)
        batches = []
        for _, _, _, images in sampling.generate_images(args, sampler, count, labels):
            batches.append(images)
        generated = real.extract(network, np.concatenate(batches))
        rows[label] = scores_of(args, generated, reals)
        if args.photos:
            rows[label].update(drawing_columns(args, generated.images, true_drawings))
        table.write_scores(run, rows)
        _print_scores(label, rows)
    _save_neighbours(args, generated, reals, run / "neighbours.png")


def scores_of(args, generated, reals):
    """Computes the scores of generated images.

    The scale of the features matters to the kernel of the KID, which was designed for Inception's,
    of about 1. For the KID, features of other networks are divided by the root mean square of
    the test images' features.

    Args:
        args: the constants, a class of args.py.
        generated: features.Features of `evaluate_count` generated images.
        reals: real.RealFeatures.

    Returns:
        {column: value} of fd, kid, precision, recall, density, coverage and memorization, see
        metrics.py; diversity, the mean distance of two generated images, by their features;
        checkerboard, divided by the test images', and absent if theirs is 0 (images enlarged by
        repeating pixels); with classes also modes and kl.
    """
    train, test = reals.train, reals.test
    scale = 1.0
    if args.features != "inception":
        scale = np.sqrt(np.mean(np.square(test.features)))
    to_train, _ = metrics.nearest(generated.features, train.features)
    test_to_train, _ = metrics.nearest(test.features, train.features)
    scores = {
        "fd": metrics.frechet_distance(generated.features, test.features),
        "kid": metrics.kernel_distance(generated.features / scale, test.features / scale),
    }
    scores.update(metrics.precision_recall(test.features, generated.features))
    # 1,000 images at most, as the number of pairs grows with the square [guess].
    scores["diversity"] = float(metrics.distances(generated.features[:1000]).mean())
    scores["memorization"] = metrics.memorization(to_train, test_to_train)
    real_checkerboard = metrics.checkerboard(test.images)
    if real_checkerboard > 0:
        scores["checkerboard"] = metrics.checkerboard(generated.images) / real_checkerboard
    if generated.classes is not None:
        scores["modes"], scores["kl"] = metrics.modes(generated.classes, reals.classes)
    return {table.column(args, name): value for name, value in scores.items()}


def drawing_columns(args, images, truths=None):
    """Computes scores of images, uint8 [evaluate_count, rows, columns, 3], that need no network.

    Returns:
        {column: value}, see `drawing.drawing_scores`.
    """
    scores = drawing.drawing_scores(images, truths)
    return {f"{name}_{table.count_text(args)}": value for name, value in scores.items()}


def scores_of_real_images(args, reals, random):
    """Computes the scores of `evaluate_count` training images, which generated ones can reach.

    Args:
        args: the constants, a class of args.py.
        reals: real.RealFeatures.
        random: a NumPy generator, which chooses the images.

    Returns:
        {column: value}, see `scores_of`; with `photos` also `drawing.drawing_scores`.
    """
    rows = random.permutation(len(reals.train.images))[:args.evaluate_count]
    chosen = reals.train.take(rows)
    scores = scores_of(args, chosen, reals)
    if args.photos:
        scores.update(drawing_columns(args, chosen.images))
    # These are copies of training images. Other real images would score 0.5.
    scores[table.column(args, "memorization")] = 0.5
    return scores


def labels_in_true_shares(args, random):
    """Returns the labels of the training images, int [count], in random order.

    Images generated with these labels, one after the other, have the class shares of real images.
    """
    labels, _ = data.labels(args)
    train_rows, _ = data.split(args, len(data.open_images(args)))
    return random.permutation(labels[train_rows])


def _print_scores(label, rows):
    """Prints the scores of a row, each beside the scores of real images and of photos."""
    parts = []
    for name, value in rows[label].items():
        part = f"{name} {value:.4g}"
        for other in ("real", "photos"):
            if name in rows.get(other, {}):
                part += f" ({other} {rows[other][name]:.4g})"
        parts.append(part)
    print(f"{label}: {', '.join(parts)}")


def _save_neighbours(args, generated, reals, path):
    distances, nearest_rows = metrics.nearest(generated.features, reals.train.features)
    closest = np.argsort(distances)[:16]
    neighbours = reals.train.images[nearest_rows[closest]]
    pairs = np.stack([generated.images[closest], neighbours], axis=1)
    data.save_grid(pairs.reshape(-1, *args.image_shape), path, columns=8)
