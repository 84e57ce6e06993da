"""Trains a GAN: pretraining, adversarial training, sampling, evaluation.

`python gan.py [preset] [verb ...] [constant=value ...]`, main() is at the bottom. The constants
are in args.py, the run is in runs/<name>.
"""
import signal
import sys

import args as constants

if __name__ == "__main__":  # mistakes are answered here: TensorFlow takes seconds to load
    COMMAND_LINE = constants.read_command_line(constants.VERBS)
    from training import preparation
    PREPARED = constants.run_script(preparation.prepare, *COMMAND_LINE)

import models  # noqa: E402
keras = models.import_keras()
import numpy as np  # noqa: E402

import data  # noqa: E402
from models import cartoon, devices  # noqa: E402
from training import callbacks, checkpoints, preparation, sampling, scores, swap  # noqa: E402
from training.checkpoints import load_networks, load_weights  # noqa: E402, F401
from training.preparation import class_names  # noqa: E402

PRETRAINING_CALLBACKS = (
    callbacks.StopOnNonFinite,
    callbacks.LossLog,
    callbacks.DumpReconstructions,
    callbacks.SaveCheckpoint,
)
# In this order: a swapped network is put back before anything is saved, and samples are generated
# and checked before they are written.
CALLBACKS = (
    swap.SwapCheckpoints,
    callbacks.GenerateSamples,
    callbacks.StopOnNonFinite,
    callbacks.Watch,
    callbacks.LossLog,
    callbacks.DumpSamples,
    callbacks.TensorBoard,
    callbacks.SaveCheckpoint,
    callbacks.SaveGenerator,
    callbacks.SamplesAnimation,
)


# ---- training


def pretrain_gen(args):
    """Trains the generator alone for `pretrain_batches`, in an autoencoder.

    A generator that translates photos has no encoder: it learns to keep their content or, with
    `structure_weight`, to draw them. Writes runs/<name>/pretrain: originals.png,
    reconstructions.png, loss.csv, weights.

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


def train_gan(args):
    """Trains the GAN until it has seen `batches` batches, and fills runs/<name>.

    It starts from the first of these that exists: the newest checkpoint of the run, `weights`, the
    pretrained generator. Otherwise from initial weights.

    Args:
        args: the constants, a class of args.py.

    Returns:
        The GAN, a keras.Model.
    """
    run = checkpoints.run_folder(args)  # to read; `folder`, to write, differs on other machines
    pretrained = checkpoints.checkpoints(run / "pretrain")
    with checkpoints.open_run(args, run_record(args)) as folder:
        # Restarts the numbers in the names of layers. TensorFlow orders some sums by names, and a
        # resumed run, which builds no pretraining, must sum in the same order.
        keras.utils.clear_session()
        with devices.strategy().scope():
            gan = models.build(args, len(class_names(args)))
        if checkpoints.checkpoints(run):
            checkpoints.load_newest(gan, run)
        elif args.weights:
            load_networks(gan, args.weights)
        elif args.pretrain_batches and pretrained:
            checkpoints.load_network("generator", gan.generator, pretrained[-1])
            if gan.generator_ema:
                gan.generator_ema.set_weights(gan.generator.get_weights())
        fit(args, gan, folder, args.batches, CALLBACKS,
            hint=" To train for longer, raise `batches`.")
    return gan


def fit(args, model, folder, batches, callback_classes, hint=""):
    """Trains `model` until it has seen `batches` batches. The callbacks write to `folder`.

    If it has seen them already, prints a message that ends in `hint`. A signal ends the epoch
    early, saves it, and ends the process.

    Raises:
        ValueError: if devices that train together cannot share a batch equally.
    """
    shares = devices.strategy().num_replicas_in_sync
    if args.batch_size % shares:
        raise ValueError(f"`batch_size` must be a multiple of {shares}, the number of devices that "
                         f"train together. Received: batch_size={args.batch_size}")
    start = int(model.batch.numpy())
    if start >= batches:
        print(f"{folder} has already been trained on all {batches} batches.{hint}")
        return
    print(f"{folder}: batch {start + 1} to {batches}, on {devices.description()}")
    epochs = callbacks.Epochs(args, batches)
    all_callbacks = [callback(args, folder) for callback in callback_classes]
    all_callbacks += [epochs, callbacks.Progress(batches)]
    # Both numbers are upper bounds: `Epochs` ends the epochs and the training.
    with epochs:
        model.fit(data.load(args, start), steps_per_epoch=args.dump_every,
                  epochs=batches - start, shuffle=False, verbose=0, callbacks=all_callbacks)
    devices.any_machine(False)  # the others wait here for the chief, which writes the animation
    if epochs.received:
        callbacks.report(
            f"Stopped by {signal.Signals(epochs.received).name} after batch "
            f"{int(model.batch.numpy())}, which is saved in {folder}. Run the same command again "
            "to resume.")
        sys.exit(128 + epochs.received)


def run_record(args):
    """Returns what args.json holds, with the fingerprint of the images and names of the classes."""
    return {
        "preset": constants.preset_name(args),
        "overrides": constants.overrides(args),
        "constants": constants.constants(args),
        "fingerprint": data.fingerprint(args),
        "classes": class_names(args),
    }


# ---- sampling


def generate(args):
    """Generates `generate_count` images, a grid of the first, and an interpolation.

    Uses the run's checkpoint that `checkpoint` names, or `weights`. The k-th image does not depend
    on `generate_count`. With classes, each class has a folder, and `generate_class` chooses one. A
    CartoonGAN translates the photos in `generate_from` instead.

    Args:
        args: the constants, a class of args.py.

    Returns:
        The folder of the images, runs/<name>/generated/<batch>, a Path.
    """
    checkpoint = scores.chosen_checkpoint(args)
    classes = checkpoints.class_names_of(args, checkpoint)
    sampler = models.build_sampler(args, len(classes))
    checkpoints.load_generator(sampler, checkpoint)
    label = checkpoints.label_of(args, checkpoint)
    folder = checkpoints.run_folder(args) / "generated" / label
    if args.photos:
        data.translate_photos(args, sampler.sample, cartoon.multiple(args), folder)
        return folder

    rows, columns = args.grid
    count = args.generate_count
    chosen = range(len(classes))
    if args.generate_class:
        chosen = [classes.index(args.generate_class)]
    grid_images = []
    for numbers, _, labels, images in sampling.generate_images(args, sampler, count, chosen):
        for index, number in enumerate(numbers):
            if number < rows * columns:
                grid_images.append(images[index])
            target = folder / classes[labels[index]] if classes else folder
            target.mkdir(parents=True, exist_ok=True)
            data.save_png(images[index], target / f"{number:05d}.png")
    data.save_grid(np.stack(grid_images), folder / "grid.png", columns)

    row_labels = np.resize(chosen, rows) if classes else None
    sampling.save_interpolation(args, sampler, row_labels, folder / "interpolation.png")
    print(f"{folder}: {count} images, grid.png and interpolation.png")
    return folder


# ---- evaluation


def evaluate(args):
    """Scores the newest checkpoint of the run and those kept for good, or `weights`.

    Writes runs/<name>/scores.csv, scores.png and neighbours.png, see training/scores.

    Args:
        args: the constants, a class of args.py.

    Returns:
        {row: {column: value}} of scores.csv.
    """
    return scores.evaluate(args)


# ---- the command line


def run_verbs(args, verbs):
    """Runs the verbs in order. Takes what `preparation.prepare` returned."""
    devices.fix_order_of_sums()
    if "train_gan" in verbs and "evaluate" in verbs:
        scores.check(args)  # its errors now rather than after hours of training
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


def main(args, verbs=()):
    """Runs the verbs in order. Without any it trains, see `preparation.prepare`."""
    run_verbs(*preparation.prepare(args, verbs))


if __name__ == "__main__":
    constants.run_script(run_verbs, *PREPARED)
