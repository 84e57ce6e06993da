"""Images of a trained generator, for the verbs generate and evaluate."""
import numpy as np

import data
from models.randomness import Purpose


def generate_images(args, sampler, count, chosen=None):
    """Generates the first `count` images, batch by batch.

    Args:
        args: the constants, a class of args.py.
        sampler: what `models.build_sampler` or `models.build` returned, with weights loaded.
        count: number of images.
        chosen: class indices to use in turn, as in [0, 1, 0, 1]; all classes by default.

    Yields:
        (numbers, z, labels, images) of a batch: the numbers of the images, a range; G's inputs
        (test photos for a CartoonGAN); class indices, or None; uint8 images
        [batch, rows, columns, channels].
    """
    if chosen is None:
        chosen = range(sampler.classes)
    if args.photos:
        photos = data.photos(args, count)
    for batch, first in enumerate(range(0, count, args.batch_size)):
        numbers = range(first, first + args.batch_size)
        labels = None
        if len(chosen):
            labels = [chosen[number % len(chosen)] for number in numbers]  # in turn
        if args.photos:
            z = photos[first:first + args.batch_size]
        else:
            z = np.asarray(sampler.sample_z(args.batch_size, Purpose.GENERATE, batch, labels))
        images = data.denormalize(sampler.sample(z, batch))
        wanted = min(args.batch_size, count - first)
        if labels:
            labels = labels[:wanted]
        yield numbers[:wanted], z[:wanted], labels, images[:wanted]


def save_interpolation(args, sampler, row_labels, path):
    """Writes a grid in which each row leads to the start of the next, and the last to the first.

    Args:
        args: the constants, a class of args.py.
        sampler: what `models.build_sampler` returned, with weights loaded.
        row_labels: the class at the start of each row, int [rows]; None without classes.
        path: of the PNG file.
    """
    rows, columns = args.grid
    row_starts = sampler.sample_z(rows, Purpose.INTERPOLATE, labels=row_labels).numpy()
    row_ends = np.roll(row_starts, -1, axis=0)
    fractions = np.arange(columns) / columns
    interpolated = []
    for start, end in zip(row_starts, row_ends):
        interpolated.append(sampler.sample(sampler.interpolate(start, end, fractions)))
    data.save_grid(np.concatenate(interpolated), path, columns)
