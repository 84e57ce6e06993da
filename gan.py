"""The story: pretrain the generator, train the GAN, draw from it. `python gan.py [Preset] [constant=value ...]`.

main() is at the bottom. The constants are in args.py, the run is in runs/<name>.
"""
import os
import pathlib
import signal
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"             # the train step is written for it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")     # TensorFlow's notes at its start would hide ours

import numpy as np  # noqa: E402

import args as constants  # noqa: E402
import callbacks  # noqa: E402
import data  # noqa: E402
import models  # noqa: E402
from models import latent  # noqa: E402
from models.adversarial import GENERATE  # noqa: E402

# What a training does on the side, in this order: the watch looks before anything is written, the film can wait.
DUMPS = (callbacks.SettleAverage, callbacks.FailureWatch, callbacks.LossLog, callbacks.DumpSamples,
         callbacks.DumpWeights, callbacks.Film)
LEGACY = {"generator": "gen.hdf5", "discriminator": "disc.hdf5"}  # the original's file names [forcecore args.py]


def load_weights(model, path):
    """Loads one network's weights from a .weights.h5 file, or from a .hdf5 that the original wrote under Keras 2.

    Raises:
        FileNotFoundError, ValueError: where the file isn't there, or doesn't fit the network.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There are no weights to load for the {model.name}. Received: {path}")
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"{path} doesn't fit the {model.name} that the constants describe; the args.json beside "
                         f"`weights` tells those it was trained with.\n{error}") from None


def load_networks(gan, folder):
    """Loads the networks of a snapshot folder, or of one with the original's gen.hdf5 and disc.hdf5."""
    folder = pathlib.Path(folder)
    for name in LEGACY:
        legacy = folder / LEGACY[name]
        load_weights(gan.networks[name], legacy if legacy.exists() else folder / f"{name}.weights.h5")
    if gan.generator_ema:
        averaged = folder / "generator_ema.weights.h5"
        if averaged.exists():
            load_weights(gan.generator_ema, averaged)
        else:
            gan.generator_ema.set_weights(gan.generator.get_weights())


def fit(args, model, folder, batches, dumps):
    """Trains `model` until it has learned `batches`, going on from its newest snapshot; the dumps fill `folder`."""
    start = int(model.batch)
    if start >= batches:
        print(f"{folder} has learned {start} batches, all that were asked for.")
        return
    print(f"{folder}: batch {start + 1} to {batches}")
    with callbacks.StopOnSignal() as stop:
        model.fit(data.load(args, start), epochs=1, steps_per_epoch=batches - start, shuffle=False,
                  callbacks=[*(dump(args, folder) for dump in dumps), stop])
    if stop.received:
        print(f"\nStopped by {signal.Signals(stop.received).name} after batch {int(model.batch)}, which is saved in "
              f"{folder}. The same command goes on from there.")
        sys.exit(128 + stop.received)


def pretrain_gen(args):
    """Trains the generator as the decoder of an autoencoder, so that the game starts with a G that can draw.

    It writes runs/<name>/pretrain: originals.png, reconstructions.png, loss.csv, generator.weights.h5.
    """
    with callbacks.open_run(args, constants.constants(args)) as run:
        folder = run / "pretrain"
        folder.mkdir(exist_ok=True)
        autoencoder = models.build_autoencoder(args)
        for snapshot in callbacks.snapshots(folder)[-1:]:
            callbacks.load_snapshot(autoencoder, snapshot)
        fit(args, autoencoder, folder, args.pretrain_batches,
            (callbacks.FailureWatch, callbacks.LossLog, callbacks.DumpReconstructions, callbacks.DumpWeights))
        autoencoder.generator.save_weights(folder / ".generator.weights.h5")
        os.replace(folder / ".generator.weights.h5", folder / "generator.weights.h5")


def train_gan(args):
    """Plays the game until the GAN has learned `batches`, and returns it; runs/<name> is filled on the way.

    It starts from the newest snapshot of the run; else from `weights`; else from the pretrained generator; else afresh.
    """
    with callbacks.open_run(args, constants.constants(args)) as folder:
        gan = models.build(args)
        pretrained = folder / "pretrain" / "generator.weights.h5"
        if callbacks.snapshots(folder):
            callbacks.load_snapshot(gan, callbacks.snapshots(folder)[-1])
        elif args.weights:
            load_networks(gan, args.weights)
        elif args.pretrain_batches and pretrained.exists():
            load_weights(gan.generator, pretrained)
            if gan.generator_ema:
                gan.generator_ema.set_weights(gan.generator.get_weights())
        fit(args, gan, folder, args.batches, DUMPS)
    return gan


def generate(args):
    """Draws `generate_count` images, a grid of the first and a great-circle walk; returns their folder.

    They come from the run's newest snapshot, or, where nothing is to be trained, from `weights`. Image k is the same
    for any `generate_count`. Another `seed` than the run's, or another run's weights, have a folder of their own.
    """
    run = callbacks.run_folder(args)
    callbacks.refuse_other_constants(run, constants.constants(args), callbacks.MAY_DIFFER | {"weights", "seed", "grid"})
    newest = callbacks.snapshots(run)[-1:]
    named = args.weights if not args.batches else ""
    if not newest and not named:
        raise FileNotFoundError(f"{run} has no snapshot to draw from. Train first, or name a snapshot folder in "
                                f"`weights`. Received: name={args.name}, weights={args.weights!r}")
    snapshot = pathlib.Path(named or newest[0]).resolve()
    gan = models.build(args)
    load_networks(gan, snapshot)
    own = snapshot.parent == (run / "weights").resolve()
    here = pathlib.Path.cwd()
    parts = snapshot.relative_to(here).parts if snapshot.is_relative_to(here) else snapshot.parts[1:]
    label = snapshot.name if own or not parts else "-".join(parts)
    if args.seed != callbacks.begun_with(run).get("seed", constants.Args.seed):
        label += f"-seed{args.seed}"
    folder = run / "generated" / label
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = args.grid
    batches = -(-max(args.generate_count, rows) // args.batch_size)
    z = np.concatenate([gan.draw(args.batch_size, GENERATE, batch) for batch in range(batches)])
    first = []
    for start in range(0, args.generate_count, args.batch_size):
        images = np.asarray(gan.sample(z[start:start + args.batch_size]))[:args.generate_count - start]
        first.extend(images[:rows * columns - len(first)])
        for index, image in enumerate(images, start):
            data.save_png(data.denormalize(image), folder / f"{index:05d}.png")
    data.save_grid(np.stack(first), folder / "grid.png", columns)
    # Each row walks from its own z to that of the next, and the last one home.
    fractions = np.arange(columns) / columns
    walk = [gan.sample(latent.slerp(z[row], z[(row + 1) % rows], fractions)) for row in range(rows)]
    data.save_grid(np.concatenate(walk), folder / "walk.png", columns)
    print(f"{folder}: {args.generate_count} images, grid.png and walk.png")
    return folder


def choose(args):
    """Returns `args`, or the preset ToyFaces where nothing was set and nothing is there to train on."""
    if os.path.exists(args.data) or args.images in data.EMBEDDED or data.find(args):
        return args
    if (args.images, args.data) != (constants.DEFAULT_IMAGES, constants.DEFAULT_DATA) \
            or "toyfaces" != callbacks.begun_with(callbacks.run_folder(args)).get("images", "toyfaces"):
        return args
    changes = constants.changes(args)
    print(f"There is no {args.data}, and nothing matches {args.images}: training on toy faces (preset ToyFaces). "
          "To train on anime faces, unpack them there or name yours: python data.py images='my-faces/*.jpg'")
    return constants.override(constants.ToyFaces, **changes)


def prepare(args):
    """Makes `data` where it isn't there, and anew where it is an embedded dataset of another size or seed.

    Raises:
        ValueError: where `data` was made from other images than `images`, once that is set, names.
    """
    if os.path.exists(args.data):
        made_from = data.attributes(args)
        source = made_from.get("images", "images unknown")
        if args.images not in (constants.DEFAULT_IMAGES, source):
            raise ValueError(f"`data` was made from other images. Make it anew with python data.py, or name another "
                             f"`data`. Received: images={args.images}, data={args.data} made from {source}")
        if args.images not in data.EMBEDDED \
                or all(made_from[name] == getattr(args, name) for name in ("dataset_size", "seed")):
            print(f"{args.data}, made from {source}")
            return
    data.make(args)


def main(args):
    """The menu: three verbs, each with a constant that says how much, 0 = skip."""
    args = choose(args)
    if args.pretrain_batches or args.batches:
        prepare(args)
    if args.pretrain_batches:
        pretrain_gen(args)
    if args.batches:
        train_gan(args)
    if args.generate_count:
        generate(args)


if __name__ == "__main__":
    try:
        main(constants.parse(sys.argv[1:]))
    except (ValueError, OSError, callbacks.Diverged) as error:
        sys.exit(f"gan.py: {error}")
