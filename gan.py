"""Trains a GAN: pretraining, adversarial training, sampling, evaluation.

`python gan.py [preset] [verb ...] [constant=value ...]`, main() is at the bottom. The constants
are in args.py, the run is in runs/<name>.
"""
import functools
import os
import signal
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")           # hide TensorFlow's start-up messages
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")   # take GPU memory only as needed
# TensorFlow leaves oneDNN off on CPUs without AVX-512. On an AVX2 CPU a step of the default
# networks took 4.6 seconds without it and 1.9 with it [measured: tests/bench_step.py].
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras  # noqa: E402
import numpy as np  # noqa: E402

import args as constants  # noqa: E402
import data  # noqa: E402
import models  # noqa: E402
from models import devices, features, metrics, validation  # noqa: E402
from models.randomness import Purpose  # noqa: E402
from training import callbacks, checkpoints, evaluation, swap, watch  # noqa: E402
from training.checkpoints import load_networks, load_weights  # noqa: E402

PRETRAINING_CALLBACKS = (
    watch.StopOnNonFinite,
    callbacks.LossLog,
    callbacks.DumpReconstructions,
    callbacks.DumpWeights,
)
# In this order: a swapped network is put back before anything is dumped, and samples are generated
# and checked before they are written.
CALLBACKS = (
    swap.SwapCheckpoints,
    callbacks.GenerateSamples,
    watch.FailureWatch,
    callbacks.LossLog,
    callbacks.DumpSamples,
    callbacks.TensorBoard,
    callbacks.DumpWeights,
    callbacks.DumpGenerator,
    callbacks.SamplesAnimation,
)


# ---- training


def pretrain_gen(args):
    """Trains the generator alone for `pretrain_batches`, in an autoencoder.

    A generator that translates photos learns to keep their content instead. Writes
    runs/<name>/pretrain: originals.png, reconstructions.png, loss.csv, generator.weights.h5.

    Args:
        args: the constants, a class of args.py.
    """
    if not args.pretrain_batches:
        raise ValueError("`pretrain_batches` must be at least 1 for pretrain_gen, such as 200. "
                         "Received: pretrain_batches=0")
    run = checkpoints.run_folder(args)
    with checkpoints.open_run(args, run_record(args)) as folder:
        (folder / "pretrain").mkdir(exist_ok=True)
        keras.utils.clear_session()  # see train_gan
        with devices.strategy().scope():
            pretraining = models.build_pretraining(args, len(class_names(args)))
        checkpoints.load_newest(pretraining, run / "pretrain")
        without_labels = constants.override(args, conditional=False)  # none are needed here
        fit(without_labels, pretraining, folder / "pretrain", args.pretrain_batches,
            PRETRAINING_CALLBACKS)
        path = folder / "pretrain" / "generator.weights.h5"
        temporary = path.with_name(".generator.weights.h5")
        pretraining.generator.save_weights(temporary)
        os.replace(temporary, path)
        devices.barrier()  # other machines wait until the chief has written the file


def train_gan(args):
    """Trains the GAN on `batches` batches in total, and fills runs/<name>.

    It starts from the newest checkpoint of the run, else from `weights`, else from the pretrained
    generator, else from initial weights.

    Args:
        args: the constants, a class of args.py.

    Returns:
        The GAN, a keras.Model.
    """
    run = checkpoints.run_folder(args)
    pretrained = run / "pretrain" / "generator.weights.h5"
    with checkpoints.open_run(args, run_record(args)) as folder:
        # Names of layers are numbered from 0 again. TensorFlow orders some sums by names, and a run
        # that resumes has not built a pretraining before.
        keras.utils.clear_session()
        with devices.strategy().scope():
            gan = models.build(args, len(class_names(args)))
        if checkpoints.load_newest(gan, run):
            pass  # resumed
        elif args.weights:
            load_networks(gan, args.weights)
        elif args.pretrain_batches and pretrained.exists():
            load_weights(gan.generator, pretrained)
            if gan.generator_ema:
                gan.generator_ema.set_weights(gan.generator.get_weights())
        fit(args, gan, folder, args.batches, CALLBACKS,
            hint=" To train for longer, raise `batches`.")
    return gan


def fit(args, model, folder, batches, callback_classes, hint=""):
    """Trains `model` on `batches` batches in total. The callbacks write to `folder`.

    If it has been trained on all of them already, a line says so, and ends with `hint`.

    Ctrl-C and SIGTERM finish the batch, save it, and end the process.
    """
    start = int(model.batch.numpy())
    if start >= batches:
        print(f"{folder} has already been trained on all {batches} batches.{hint}")
        return
    print(f"{folder}: batch {start + 1} to {batches}")
    if devices.reduced("MEAN", start) != start:
        raise ValueError("All machines of TF_CONFIG must share one folder runs, and start at the "
                         f"same batch. Received: batch {start} on this machine")
    stop = callbacks.StopOnSignal()
    all_callbacks = [callback(args, folder) for callback in callback_classes]
    all_callbacks += [stop, callbacks.ProgressBar()]
    batches_from_start = functools.partial(data.load, args, start)
    with stop, devices.watched():
        model.fit(devices.distribute(batches_from_start), steps_per_epoch=batches - start,
                  shuffle=False, callbacks=all_callbacks)
    if stop.received:
        print(f"\nStopped by {signal.Signals(stop.received).name} after batch "
              f"{int(model.batch.numpy())}, which is saved in {folder}. Run the same command again "
              "to resume.")
        sys.exit(128 + stop.received)


def class_names(args):
    """Returns the names of the classes in `data` if `conditional`, else []."""
    if not args.conditional:
        return []
    return data.open_labels(args)[1]


def run_record(args):
    """Returns what args.json holds: constants, preset, overrides, fingerprint of the images."""
    record = {
        "preset": constants.preset_name(args),
        "overrides": constants.overrides(args),
        "constants": constants.constants(args),
        "fingerprint": data.fingerprint(args),
    }
    if args.conditional:
        record["classes"] = class_names(args)
    return record


# ---- sampling


def generate(args):
    """Generates `generate_count` images, a grid of the first, and an interpolation.

    The checkpoint of the run that `checkpoint` names is used, or the one in `weights`. Image number
    k does not depend on `generate_count`. With classes, each class has a folder, and
    `generate_class` chooses one of them. A network that translates photos translates those of
    `generate_from`.

    Args:
        args: the constants, a class of args.py.

    Returns:
        The folder of the images, runs/<name>/generated/<batch>, a Path.
    """
    found = checkpoints.chosen_checkpoints(args, {"constants": constants.constants(args)})
    if args.checkpoint != "newest":
        found = [evaluation.named_checkpoint(args, found)]
        print(f"checkpoint={args.checkpoint}: {found[0].name}")
    classes = checkpoints.class_names_of(args, found[-1])
    gan = models.build(args, len(classes))
    checkpoint = checkpoints.first_loaded(
        reversed(found), functools.partial(load_networks, gan))
    label = checkpoints.label_of(args, checkpoint)
    folder = checkpoints.run_folder(args) / "generated" / label
    if args.photos:
        data.translate_photos(args, gan.sample, gan.multiple, folder)
        return folder

    rows, columns = args.grid
    count = args.generate_count
    chosen = None
    if args.generate_class:
        chosen = [classes.index(args.generate_class)]
    row_starts, grid_images = [], []
    for numbers, z, labels, images in generate_images(args, gan, max(count, rows), chosen):
        for index, number in enumerate(numbers):
            if number < rows:
                row_starts.append(z[index])
            if number >= count:
                continue
            if number < rows * columns:
                grid_images.append(images[index])
            target = folder
            if classes:
                target = folder / classes[labels[index]]
            target.mkdir(parents=True, exist_ok=True)
            data.save_png(images[index], target / f"{number:05d}.png")
    data.save_grid(np.stack(grid_images), folder / "grid.png", columns)

    # Each row goes from its own z to that of the next row, the last one back to the first.
    fractions = np.arange(columns) / columns
    row_ends = row_starts[1:] + row_starts[:1]
    interpolated = []
    for start, end in zip(row_starts, row_ends):
        interpolated.append(gan.sample(gan.interpolate(start, end, fractions)))
    data.save_grid(np.concatenate(interpolated), folder / "interpolation.png", columns)
    print(f"{folder}: {count} images, grid.png and interpolation.png")
    return folder


def generate_images(args, gan, count, chosen=None):
    """Generates the first `count` images of a GAN, batch by batch.

    Args:
        args: the constants, a class of args.py.
        gan: what `models.build` returned, with weights loaded.
        count: number of images.
        chosen: classes to generate in turn, indices; all of them by default.

    Yields:
        (numbers, z, labels, images) of a batch: the numbers of the images, a range; G's inputs
        (test photos for a network that translates photos); class indices, or None; uint8 images
        [batch, rows, columns, channels].
    """
    if chosen is None:
        chosen = range(gan.classes)
    if args.photos:
        photos = data.photos(args, count)
        # Repeats them, if they are fewer.
        photos = np.resize(photos, (count + args.batch_size, *args.image_shape))
    for batch, first in enumerate(range(0, count, args.batch_size)):
        numbers = range(first, first + args.batch_size)
        labels = None
        if len(chosen):
            labels = [chosen[number % len(chosen)] for number in numbers]  # in turn
        if args.photos:
            z = photos[numbers]
        else:
            z = np.asarray(gan.sample_z(args.batch_size, Purpose.GENERATE, batch, labels))
        images = data.denormalize(gan.sample(z, batch))
        wanted = min(args.batch_size, count - first)
        yield numbers[:wanted], z[:wanted], labels, images[:wanted]


# ---- evaluation


def evaluate(args, real=None):
    """Scores the checkpoints of the run, or `weights`, with `evaluate_count` images each.

    A checkpoint that has scores of this count and these features keeps them. Prints which one has
    the lowest Frechet distance. Writes runs/<name>/scores.csv (the first row has the scores of real
    images), scores.png, and neighbours.png: the 16 generated images nearest to a training image,
    each beside it, of the checkpoint scored last. Toy scenes are compared with their true drawings
    too; the row "photos" has the scores of the photos as they are.

    Args:
        args: the constants, a class of args.py.
        real: what `evaluation.real_features` returned, to score several runs on the same images.

    Returns:
        {checkpoint, "real" or "photos": {score: value}}.

    Raises:
        ValueError: if no checkpoint can be loaded.
    """
    run, count = checkpoints.run_folder(args), args.evaluate_count
    record = {"constants": constants.constants(args), "fingerprint": data.fingerprint(args)}
    found = checkpoints.chosen_checkpoints(args, record)
    if real is None:
        real = evaluation.real_features(args)
    random = np.random.default_rng(0)
    real_scores = evaluation.scores_of_real_images(args, real, random)
    photo_scores = {}
    if args.photos:
        photos = data.denormalize(data.photos(args, count))
        photo_scores = evaluation.truth_scores(args, photos)
    labels = None
    if args.conditional:
        labels = evaluation.labels_in_true_shares(args, random)

    unusable = []
    for checkpoint in found:
        label = checkpoints.label_of(args, checkpoint)
        if evaluation.is_scored(args, run, label):
            print(f"{label}: has scores in {run}/scores.csv already")
            continue
        gan = models.build(args, len(checkpoints.class_names_of(args, checkpoint)))
        try:
            load_networks(gan, checkpoint)
        except (ValueError, FileNotFoundError) as error:
            print(f"{checkpoint} cannot be loaded and is skipped. {error}")
            unusable.append(checkpoint)
            continue
        batches = []
        for _, _, _, images in generate_images(args, gan, count, labels):
            batches.append(images)
        images = np.concatenate(batches)
        generated = features.extract_features(real.network, images)
        scores = evaluation.scores_of(args, generated, real)
        evaluation.print_scores(label, scores, real_scores)
        table = {"real": real_scores, label: scores}
        if photo_scores:
            truth_scores = evaluation.truth_scores(args, images)
            evaluation.print_scores(label, truth_scores, photo_scores, "photos")
            table[label] = scores | truth_scores
            table["photos"] = photo_scores
        evaluation.write_scores(run, table)
        save_neighbours(args, generated, real, run / "neighbours.png")
    if len(unusable) == len(found):
        raise ValueError("None of these checkpoints can be loaded. Restore one, or choose another "
                         f"`name` or `weights`. Received: {unusable[-1]}")
    evaluation.print_best(args, run)
    return evaluation.read_scores(run)


def save_neighbours(args, generated, real, path):
    """Writes the 16 generated images nearest to a training image, each beside that image."""
    distances, nearest_rows = metrics.nearest(generated.features, real.train.features)
    closest = np.argsort(distances)[:16]
    neighbours = real.train.images[nearest_rows[closest]]
    pairs = np.stack([generated.images[closest], neighbours], 1)
    data.save_grid(pairs.reshape(-1, *args.image_shape), path, columns=8)


# ---- the command line


def resume_constants(args):
    """Returns `args` on top of the preset and overrides that the run was begun with, if any."""
    run = checkpoints.run_folder(args)
    begun = checkpoints.read_record(run)
    if not begun:
        return args
    if begun["preset"] not in constants.presets():
        raise ValueError(f"{run} was begun with a preset that args.py does not have. Restore it, "
                         f"or choose another `name`. Received: {begun['preset']}")
    if constants.preset_name(args) not in ("Args", begun["preset"]):
        return args  # another preset was named: its constants will be compared with the run's
    begun_overrides = {}
    for name, value in begun["overrides"].items():
        begun_overrides[name] = tuple(value) if isinstance(value, list) else value
    given = constants.overrides(args)
    remembered = {name: value for name, value in begun_overrides.items() if name not in given}
    if remembered or constants.preset_name(args) != begun["preset"]:
        listed = " ".join(f"{name}={value}" for name, value in remembered.items())
        print(f"{run}: using the constants it was begun with: {begun['preset']} {listed}".rstrip())
    preset = constants.presets()[begun["preset"]]
    return constants.override(preset, **(begun_overrides | given))


def choose_data(args):
    """Returns `args`, on toy faces if there is nothing to train on and nothing was set."""
    has_data = data.files(args) or args.images in data.EMBEDDED or data.find_files(args.images)
    has_defaults = (args.images, args.data) == (constants.DEFAULT_IMAGES, constants.DEFAULT_DATA)
    if has_data or not has_defaults:
        return args
    print(f"There is no {args.data}, and no file matches {args.images}: training on toy faces. "
          "For your own images: python data.py images='my-faces/*.jpg'")
    if constants.preset_name(args) == "Args":
        return constants.override(constants.ToyFaces, **constants.overrides(args))
    toys = constants.ToyFaces
    return constants.override(
        args, images=toys.images, data=toys.data, dataset_size=toys.dataset_size)


def prepare_data(args):
    """Makes `data` if it is missing, and checks what an existing file was made from.

    A `data` that was named on the command line is used as it is. Otherwise an embedded dataset of
    another size, seed or `max_int` is made anew.

    Raises:
        ValueError: if `data` was made from other images or photos than the constants name.
    """
    if not data.files(args):
        if args.images in data.EMBEDDED:
            print(f"There is no {args.data}: making it of {args.images}.{_hint_on_photos(args)}")
        data.make(args)
        return
    origin = data.attributes(args)
    source = origin.get("images", "unknown images")
    if "data" not in constants.overrides(args):
        same_images = args.images in (constants.DEFAULT_IMAGES, source)
        if not same_images or args.photos != origin.get("photos", ""):
            raise ValueError("`data` was made from other images. Make it again with python data.py "
                             f"images='{args.images}', or name another `data`. Received: "
                             f"images={args.images}, photos={args.photos!r}, data={args.data}, "
                             f"made from {source} and photos {origin.get('photos', '')!r}")
        if args.images in data.EMBEDDED:
            for name in ("dataset_size", "seed", "max_int"):
                if origin.get(name, getattr(args, name)) != getattr(args, name):
                    data.make(args)
                    return
    print(f"{args.data}, made from {source}")
    crop = origin.get("crop", args.crop)
    if crop != args.crop:
        print(f"crop={args.crop} has no effect: {args.data} was made with crop={crop}")


def _hint_on_photos(args):
    """Returns how to use other photos and cartoons than toy scenes, "" if no photos are used."""
    if not args.photos:
        return ""
    return (" For your own images: python gan.py CartoonPhotos images='my-cartoons/*' "
            "photos='my-photos/*'")


def check_verbs(args, verbs):
    """Raises errors of `generate` and `evaluate` now, if they come after hours of training."""
    trains = "train_gan" in verbs
    if "generate" in verbs and args.photos:
        data.photos_to_translate(args)
    if "generate" in verbs and trains:
        checkpoints.check_generate_class(args, class_names(args))
        is_scored_first = "evaluate" in verbs[:verbs.index("generate")]
        if args.checkpoint == "best" and not is_scored_first:
            evaluation.check_best(args, checkpoints.run_folder(args))
    if "evaluate" in verbs:
        evaluation.check_scores(args)
        if trains and args.features != "classifier":
            features.feature_network(args.features)  # a download may fail


def main(args, verbs=()):
    """Runs the verbs in the order given. Without any it pretrains, if asked to, and trains."""
    trains = not verbs or "pretrain_gen" in verbs or "train_gan" in verbs
    args = resume_constants(args)
    is_new = not checkpoints.read_record(checkpoints.run_folder(args))
    if is_new and (trains or not args.weights):
        args = resume_constants(choose_data(args))  # toy faces have a run folder of their own
    validation.validate(args)
    for warning in validation.warnings(args):
        print(warning)
    if not verbs:
        verbs = ["pretrain_gen", "train_gan"] if args.pretrain_batches else ["train_gan"]
    if trains:
        record = {"constants": constants.constants(args), "overrides": constants.overrides(args)}
        checkpoints.check_constants(checkpoints.run_folder(args), record)
    if trains or ("evaluate" in verbs and not data.files(args)):
        prepare_data(args)
    check_verbs(args, verbs)
    functions = {
        "pretrain_gen": pretrain_gen,
        "train_gan": train_gan,
        "generate": generate,
        "evaluate": evaluate,
    }
    for verb in verbs:
        if verb in ("generate", "evaluate") and devices.machine() > 0:
            continue  # only the chief generates and evaluates
        functions[verb](args)


if __name__ == "__main__":
    constants.run_script(main, constants.VERBS, watch.Diverged)
