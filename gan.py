"""The story: pretrain the generator, train the GAN, draw from it. `python gan.py [Preset] [constant=value ...]`.

main() is at the bottom. The constants are in args.py, the run is in runs/<name>.
"""
import os
import pathlib
import signal
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"             # the train step is written for it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")     # TensorFlow's notes at its start would hide ours

import h5py  # noqa: E402
import numpy as np  # noqa: E402

import args as constants  # noqa: E402
import callbacks  # noqa: E402
import data  # noqa: E402
import models  # noqa: E402
from models.adversarial import GENERATE  # noqa: E402

# What a training does on the side, in this order: the own weights are back and the grid is drawn, then the watch looks,
# before anything is written; the film can wait.
DUMPS = (callbacks.SwapCheckpoints, callbacks.DrawSamples, callbacks.FailureWatch, callbacks.LossLog,
         callbacks.DumpSamples, callbacks.TensorBoard, callbacks.DumpWeights, callbacks.Film)
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
        if path.name.endswith(".weights.h5"):
            with h5py.File(path) as file:  # Keras would leave out, without a word, what the network has no layer for
                held = []
                file.visititems(lambda name, item: held.append(name) if isinstance(item, h5py.Dataset) else None)
            if len(held) != len(model.weights):
                raise ValueError(f"It holds {len(held)} arrays; the network has {len(model.weights)}.")
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


def class_names(args):
    """Returns the names of the classes that G draws: the labels in `data` where `conditional`, else none."""
    return data.open_labels(args)[1] if args.conditional else []


def values(args):
    """Returns what a run's args.json holds: the constants, and the classes' names."""
    return constants.constants(args) | ({"classes": class_names(args)} if args.conditional else {})


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
    with callbacks.open_run(args, values(args)) as run:
        folder = run / "pretrain"
        folder.mkdir(exist_ok=True)
        autoencoder = models.build_autoencoder(args, len(class_names(args)))
        args = constants.override(args, conditional=False)  # it needs no labels
        for snapshot in callbacks.snapshots(folder)[-1:]:
            callbacks.load_snapshot(autoencoder, snapshot)
        fit(args, autoencoder, folder, args.pretrain_batches,
            (callbacks.StopWhereNotFinite, callbacks.LossLog, callbacks.DumpReconstructions, callbacks.DumpWeights))
        autoencoder.generator.save_weights(folder / ".generator.weights.h5")
        os.replace(folder / ".generator.weights.h5", folder / "generator.weights.h5")


def train_gan(args):
    """Plays the game until the GAN has learned `batches`, and returns it; runs/<name> is filled on the way.

    It starts from the newest snapshot of the run; else from `weights`; else from the pretrained generator; else afresh.
    """
    with callbacks.open_run(args, values(args)) as folder:
        gan = models.build(args, len(class_names(args)))
        pretrained = folder / "pretrain" / "generator.weights.h5"
        if callbacks.snapshots(folder):
            callbacks.load_snapshot(gan, callbacks.snapshots(folder)[-1])
        elif args.weights:
            load_networks(gan, args.weights)
        elif args.pretrain_batches and pretrained.exists():
            load_weights(gan.generator, pretrained)
            if gan.generator_ema:
                gan.generator_ema.set_weights(gan.generator.get_weights())
        if args.loss in ("hinge", "wasserstein"):
            print(f"loss={args.loss} has no labels: real_labels and fake_labels are not used.")
        if args.loss != "cross_entropy":
            print("The watch knows no zones of losses but those of cross_entropy; it looks at images and gradients.")
        fit(args, gan, folder, args.batches, DUMPS)
    return gan


def generate(args):
    """Draws `generate_count` images, a grid of the first and a great-circle walk; returns their folder.

    They come from the run's newest snapshot, or, where nothing is to be trained, from `weights`. Image k is the same
    for any `generate_count`. Another `seed` than the run's, or another run's weights, have a folder of their own.
    Where `conditional`, each class has a folder in it, and `generate_class` draws one class alone.
    """
    run = callbacks.run_folder(args)
    callbacks.refuse_other_constants(run, constants.constants(args), callbacks.MAY_DIFFER | {"weights", "seed", "grid"})
    newest = callbacks.snapshots(run)[-1:]
    named = args.weights if not args.batches else ""
    if not newest and not named:
        raise FileNotFoundError(f"{run} has no snapshot to draw from. Train first, or name a snapshot folder in "
                                f"`weights`. Received: name={args.name}, weights={args.weights!r}")
    snapshot = pathlib.Path(named or newest[0]).resolve()
    classes = callbacks.begun_with(snapshot.parent.parent).get("classes", []) if args.conditional else []
    if args.conditional and not classes:
        raise ValueError(f"The names of the classes that {snapshot} was trained with must stand in the args.json two "
                         f"folders above. Received: conditional={args.conditional}, and no such file or names")
    if args.generate_class not in ("", *classes):
        raise ValueError(f"`generate_class` must be one of the classes that {snapshot} was trained with, or empty: "
                         f"{', '.join(classes) or 'none'}. Received: generate_class={args.generate_class!r}, "
                         f"conditional={args.conditional}")
    gan = models.build(args, len(classes))
    load_networks(gan, snapshot)
    own = snapshot.parent == (run / "weights").resolve()
    here = pathlib.Path.cwd()
    parts = snapshot.relative_to(here).parts if snapshot.is_relative_to(here) else snapshot.parts[1:]
    label = snapshot.name if own or not parts else "-".join(parts)
    if args.seed != callbacks.begun_with(run).get("seed", constants.Args.seed):
        label += f"-seed{args.seed}"
    folder = run / "generated" / label
    rows, columns = args.grid
    count = args.generate_count
    chosen = [classes.index(args.generate_class)] if args.generate_class else range(len(classes))
    first, starts = [], []
    for batch in range(-(-max(count, rows) // args.batch_size)):
        start = batch * args.batch_size
        labels = [chosen[index % len(chosen)] for index in range(start, start + args.batch_size)] if classes else None
        z = np.asarray(gan.draw(args.batch_size, GENERATE, batch, labels))
        starts.extend(z[:rows - len(starts)])
        images = np.asarray(gan.sample(z, batch))[:max(0, count - start)]
        first.extend(images[:rows * columns - len(first)])
        for index, image in enumerate(images):
            place = folder / classes[labels[index]] if classes else folder
            place.mkdir(parents=True, exist_ok=True)
            data.save_png(data.denormalize(image), place / f"{start + index:05d}.png")
    data.save_grid(np.stack(first), folder / "grid.png", columns)
    # Each row walks from its own z to that of the next, and the last one home.
    fractions = np.arange(columns) / columns
    walk = [gan.sample(gan.walk(start, end, fractions)) for start, end in zip(starts, starts[1:] + starts[:1])]
    data.save_grid(np.concatenate(walk), folder / "walk.png", columns)
    print(f"{folder}: {count} images, grid.png and walk.png")
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
    models.check(args)
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
