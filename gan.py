"""The story: pretrain G, train the GAN, draw from it, score it. `python gan.py [Preset] [constant=value ...]`.

main() is at the bottom. The constants are in args.py, the run is in runs/<name>.
"""
import functools
import os
import pathlib
import signal
import sys
import zlib

os.environ["KERAS_BACKEND"] = "tensorflow"             # the train step is written for it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")     # TensorFlow's notes at its start would hide ours
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)       # Ctrl-C among the imports ends them without their tracebacks

import h5py  # noqa: E402
import numpy as np  # noqa: E402

import args as constants  # noqa: E402
import callbacks  # noqa: E402
import data  # noqa: E402
import models  # noqa: E402
from models import devices, metrics  # noqa: E402
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
        raise FileNotFoundError(f"There are no weights, or no more, to load for the {model.name}. Received: {path}")
    try:
        if path.name.endswith(".weights.h5"):
            with h5py.File(path) as file:  # Keras would leave out, without a word, what the network has no layer for
                held = []
                file.visititems(lambda name, item: held.append(name) if isinstance(item, h5py.Dataset) else None)
            if len(held) != len(model.weights):
                raise ValueError(f"It holds {len(held)} arrays; the network has {len(model.weights)}.")
        model.load_weights(path)
    except Exception as error:  # whatever HDF5 and Keras make of a broken file
        raise ValueError(f"{path} doesn't fit the {model.name} that the constants describe; the args.json beside "
                         f"`weights` tells those it was trained with.\n{error}") from None


def load_networks(gan, folder):
    """Loads the networks of a snapshot folder, or of one with the original's gen.hdf5 and disc.hdf5."""
    folder = pathlib.Path(folder)
    if name := callbacks.damaged(folder):
        raise ValueError(f"A snapshot must be as it was written, and {folder / name} isn't. Take another")
    for name, legacy in LEGACY.items():
        load_weights(gan.networks[name], folder / (legacy if (folder / legacy).exists() else f"{name}.weights.h5"))
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
    """Returns what a run's args.json holds: the constants, which images `data` holds, and the classes' names."""
    return (constants.constants(args) | {"fingerprint": data.fingerprint(args)}
            | ({"classes": class_names(args)} if args.conditional else {}))


def fit(args, model, folder, batches, dumps):
    """Trains `model` until it has learned `batches`, going on from its newest snapshot; the dumps fill `folder`."""
    start = int(model.batch.numpy())
    if start >= batches:
        print(f"{folder} has learned {start} batches, all that were asked for.")
        return
    print(f"{folder}: batch {start + 1} to {batches}")
    if devices.reduced("MEAN", start) != start:
        raise ValueError(f"The machines of TF_CONFIG stand at other batches: {folder} must be the same folder on all. "
                         f"Received: batch {start} here")
    with callbacks.StopOnSignal() as stop, devices.watched():
        model.fit(devices.distribute(functools.partial(data.load, args, start)), steps_per_epoch=batches - start,
                  shuffle=False, callbacks=[*(dump(args, folder) for dump in dumps), stop, callbacks.ProgressBar()])
    if stop.received:
        print(f"\nStopped by {signal.Signals(stop.received).name} after batch {model.batch.numpy()}, which is saved in "
              f"{folder}. The same command goes on from there.")
        sys.exit(128 + stop.received)


def pretrain_gen(args):
    """Trains the generator alone, so that the game starts with a G that can draw: as the decoder of an autoencoder, or,
    where it turns photos into images, to keep their content.

    It writes runs/<name>/pretrain: originals.png, reconstructions.png, loss.csv, generator.weights.h5.
    """
    with callbacks.open_run(args, values(args)) as run:
        folder = run / "pretrain"
        folder.mkdir(exist_ok=True)
        with devices.strategy().scope():
            pretraining = models.build_pretraining(args, len(class_names(args)))
        args = constants.override(args, conditional=False)  # it needs no labels
        if snapshot := callbacks.newest(folder):
            callbacks.load_snapshot(pretraining, snapshot)
        fit(args, pretraining, folder, args.pretrain_batches,
            (callbacks.StopWhereNotFinite, callbacks.LossLog, callbacks.DumpReconstructions, callbacks.DumpWeights))
        pretraining.generator.save_weights(folder / ".generator.weights.h5")
        os.replace(folder / ".generator.weights.h5", folder / "generator.weights.h5")
        devices.reduced("SUM", 0)  # no machine begins the game before the chief has written it


def train_gan(args):
    """Plays the game until the GAN has learned `batches`, and returns it; runs/<name> is filled on the way.

    It starts from the newest snapshot of the run; else from `weights`; else from the pretrained generator; else afresh.
    """
    with callbacks.open_run(args, values(args)) as folder:
        with devices.strategy().scope():
            gan = models.build(args, len(class_names(args)))
        pretrained = folder / "pretrain" / "generator.weights.h5"
        if snapshot := callbacks.newest(folder):
            callbacks.load_snapshot(gan, snapshot)
        elif args.weights:
            load_networks(gan, args.weights)
        elif args.pretrain_batches and pretrained.exists():
            load_weights(gan.generator, pretrained)
            if gan.generator_ema:
                gan.generator_ema.set_weights(gan.generator.get_weights())
        if args.loss in ("hinge", "wasserstein"):
            print(f"loss={args.loss} has no labels: real_labels, fake_labels and g_labels are not used.")
        if args.loss != "cross_entropy":
            print("The watch knows no zones of losses but those of cross_entropy; it looks at images and gradients.")
        fit(args, gan, folder, args.batches, DUMPS)
    return gan


def draw(args, gan, count, chosen=None):
    """Yields the first `count` images of a GAN, batch by batch: their numbers, z, labels or None, and bytes.

    Where there are classes, the `chosen` ones, or all, take turns. Where G turns photos into images, z is those that
    training never saw.
    """
    chosen = range(gan.classes) if chosen is None else chosen
    photos = np.resize(data.photos(args, count), (count + args.batch_size, *args.image_shape)) if args.photos else None
    for batch in range(-(-count // args.batch_size)):
        numbers = range(batch * args.batch_size, (batch + 1) * args.batch_size)
        labels = [chosen[number % len(chosen)] for number in numbers] if len(chosen) else None
        z = photos[numbers] if args.photos else np.asarray(gan.draw(args.batch_size, GENERATE, batch, labels))
        images = data.denormalize(gan.sample(z, batch))
        numbers = numbers[:count - numbers[0]]
        yield numbers, z[:len(numbers)], labels, images[:len(numbers)]


def generate(args):
    """Draws `generate_count` images, a grid of the first and a great-circle walk; returns their folder.

    They come from the run's newest snapshot, or, where nothing is to be trained, from `weights`. Image k is the same
    for any `generate_count`. Another `seed` than the run's, or another run's weights, have a folder of their own.
    Where `conditional`, each class has a folder in it, and `generate_class` draws one class alone. Where G turns
    photos into images, it turns those of `generate_from`.
    """
    snapshot, = callbacks.snapshots_of(args, constants.constants(args), 1)
    classes = callbacks.classes_of(args, snapshot)
    gan = models.build(args, len(classes))
    load_networks(gan, snapshot)
    folder = callbacks.run_folder(args) / "generated" / callbacks.label_of(args, snapshot)
    if args.photos:
        data.turn(args, gan.sample, gan.scale, folder)
        return folder
    (rows, columns), count = args.grid, args.generate_count
    chosen = [classes.index(args.generate_class)] if args.generate_class else None
    first, starts = [], []
    for numbers, z, labels, images in draw(args, gan, max(count, rows), chosen):
        starts.extend(z[:rows - len(starts)])
        first.extend(images[:min(rows * columns, count) - len(first)])
        for index, number in enumerate(numbers[:max(0, count - numbers[0])]):
            place = folder / classes[labels[index]] if classes else folder
            place.mkdir(parents=True, exist_ok=True)
            data.save_png(images[index], place / f"{number:05d}.png")
    data.save_grid(np.stack(first), folder / "grid.png", columns)
    # Each row walks from its own z to that of the next, and the last one home.
    fractions = np.arange(columns) / columns
    walk = [gan.sample(gan.walk(start, end, fractions)) for start, end in zip(starts, starts[1:] + starts[:1])]
    data.save_grid(np.concatenate(walk), folder / "walk.png", columns)
    print(f"{folder}: {count} images, grid.png and walk.png")
    return folder


def evaluate(args, real=None):
    """Scores the run's snapshots, or `weights`, with `evaluate_count` images each; a score stays until the snapshot,
    the network or the real images are others.

    It writes runs/<name>/scores.csv, a row a snapshot, the first what real images score; scores.png; and, of the last
    snapshot it scored, neighbours.png: the 16 drawn images nearest to a training image, each beside that one.

    Args:
        real: what `callbacks.look_at_real` returned, for whoever scores several runs on the same images.

    Returns {snapshot, or "real": {score: value}}.
    """
    run, count = callbacks.run_folder(args), args.evaluate_count
    snapshots = callbacks.snapshots_of(args, constants.constants(args) | {"fingerprint": data.fingerprint(args)})
    network, train, test, true = real or callbacks.look_at_real(args)
    suffix = f"_{pathlib.Path(args.features).stem}_{f'{count // 1000}k' if count % 1000 == 0 else count}"

    def scores(seen):
        found = metrics.scores(seen, train, test, true, inception=args.features == "inception")
        return {name + suffix: value for name, value in found.items()}

    random = np.random.default_rng(0)
    rows = random.permutation(len(train.images))[:count]
    floor = scores(metrics.Seen(*(part if part is None else part[rows] for part in train)))
    floor["memorization" + suffix] = 0.5  # these are copies; of other real images each second pair is nearer
    chosen = random.permutation(data.open_labels(args)[0][data.split(args, len(data.open_faces(args)))[0]]) \
        if args.conditional else None  # classes in their true shares
    for snapshot in snapshots:
        label, held = callbacks.label_of(args, snapshot), callbacks.read_scores(run)
        gan = models.build(args, len(callbacks.classes_of(args, snapshot)))
        load_networks(gan, snapshot)
        # Five digits, others where the network, the real images or the snapshot are others.
        seen_and_drawn = test.images, *network.get_weights(), *(gan.generator_ema or gan.generator).get_weights()
        of = {"of" + suffix: zlib.crc32(b"".join(map(bytes, seen_and_drawn))) % 10 ** 5}
        if of.items() <= held.get(label, {}).items():
            continue
        seen = metrics.look(network, np.concatenate([images for *_, images in draw(args, gan, count, chosen)]))
        found = scores(seen)
        print(f"{label}: " + ", ".join(f"{name} {value:.4g} (real {floor[name]:.4g})" for name, value in found.items()))
        callbacks.write_scores(run, {"real": floor, label: found | of})
        to_train, next_to = metrics.nearest(seen.features, train.features)
        closest = np.argsort(to_train)[:16]
        pairs = np.stack([seen.images[closest], train.images[next_to[closest]]], 1)
        data.save_grid(pairs.reshape(-1, *args.image_shape), run / "neighbours.png", 8)
    return callbacks.read_scores(run)


def choose(args):
    """Returns `args`, or the preset ToyFaces where nothing was set and nothing is there to train on."""
    if data.files(args) or args.images in data.EMBEDDED or data.find(args):
        return args
    if (args.images, args.data) != (constants.DEFAULT_IMAGES, constants.DEFAULT_DATA) \
            or "toyfaces" != callbacks.begun_with(callbacks.run_folder(args)).get("images", "toyfaces"):
        return args
    changes = constants.changes(args)
    print(f"There is no {args.data}, and nothing matches {args.images}: training on toy faces (preset ToyFaces). "
          "To train on anime faces, unpack them there or name yours: python data.py images='my-faces/*.jpg'")
    return constants.override(constants.ToyFaces, **changes)


def prepare(args):
    """Makes `data` where it isn't there, and anew where it is an embedded dataset of another size, seed or `max_int`.

    Raises:
        ValueError: where `data` was made from other images than `images`, once that is set, or `photos` names.
    """
    if data.files(args):
        made_from = data.attributes(args)
        source, photos = made_from.get("images", "images unknown"), made_from.get("photos", "")
        if data.printable(args.images) not in (constants.DEFAULT_IMAGES, source) \
                or data.printable(args.photos) != photos:
            raise ValueError(f"`data` was made from other images. Make it anew with python data.py, or name another "
                             f"`data`. Received: images={args.images}, photos={args.photos!r}, data={args.data} made "
                             f"from {source} and {photos!r}")
        if args.images not in data.EMBEDDED \
                or all(made_from.get(name, getattr(args, name)) == getattr(args, name)
                       for name in ("dataset_size", "seed", "max_int")):
            print(f"{args.data}, made from {source}")
            return
    data.make(args)


def main(args):
    """The menu: four verbs, each with a constant that says how much, 0 = skip."""
    args = choose(args)
    models.check(args)
    if args.pretrain_batches or args.batches or args.evaluate_count and not data.files(args):
        prepare(args)
    callbacks.check_ahead(args)  # what is wrong is said before hours of training
    if args.pretrain_batches:
        pretrain_gen(args)
    if args.batches:
        train_gan(args)
    if args.generate_count and not devices.machine():  # the chief alone
        generate(args)
    if args.evaluate_count and not devices.machine():
        evaluate(args)


if __name__ == "__main__":
    data.as_script(main, callbacks.Diverged)
