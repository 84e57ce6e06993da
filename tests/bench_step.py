"""Seconds a training step takes on the CPU: ours, two well-known ways to train the same DCGAN, and what a dump costs.

    pip install ".[bench]" && python tests/bench_step.py rounds=30 steps=2

Each rival has a process of its own, which waits while the others run: idle threads of one library would slow another.
They run by turns, `steps` steps each a round, with the networks, labels and batch size of args.Args, on toy faces.
Ratios are taken within a round, medians (lowest to highest) over the rounds, as a machine's speed drifts.
"""
import multiprocessing
import os
import pathlib
import sys
import tempfile
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # all of them on the CPU
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import h5py  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import args as constants  # noqa: E402
import data  # noqa: E402
import gan as story  # noqa: E402
import models  # noqa: E402
from models import toyfaces  # noqa: E402

try:
    import torch
except ImportError:  # its rival is left out
    torch = None

ROUNDS, STEPS, WARM_UP = 30, 2, 2  # rounds; steps of a rival in each, and before the first, which trace


class Stopwatch(keras.callbacks.Callback):
    """Notes when each batch ends: the start of `fit`, which a run has once, is left out."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_train_batch_end(self, step, logs=None):
        self.times.append(time.perf_counter())


def ours(args):
    """`fit` of models.build(args), fed by data.load, from the end of its first batch on."""
    gan, stopwatch = models.build(args), Stopwatch()

    def run(steps):
        gan.fit(data.load(args, int(gan.batch)), steps_per_epoch=1 + steps, shuffle=False, verbose=0,
                callbacks=[stopwatch])
        return stopwatch.times[-1] - stopwatch.times[0]
    return run


def dumps(args):
    """All that a run does at a dump, into the folder of the data; a step is a dump, and removes an old snapshot."""
    gan = models.build(args)
    callbacks = [dump(args, pathlib.Path(args.data).parent) for dump in story.DUMPS if hasattr(dump, "dump")]
    for callback in callbacks:
        callback.set_model(gan)
        callback.on_train_begin()

    def run(steps):
        for _ in range(steps):
            gan.batch.assign_add(1)
            for callback in callbacks:
                callback.dump(int(gan.batch), dict.fromkeys(gan.logged, 1.0))
    return run


def moves(variables, call):
    """Tells whether `call()` changes any of `variables`."""
    before = [variable.numpy() for variable in variables]
    call()
    return any((variable.numpy() != old).any() for variable, old in zip(variables, before))


def stacked(args):
    """The idiom of 2017: D compiled alone, G and a frozen D compiled as a stack, each fed by train_on_batch.

    Keras 2 fixed at compile what a model trains, Keras 3 fixes it when the first batch traces the step. Compile D,
    freeze D, train D: it silently learns nothing. So D makes a first step here before it is frozen.
    """
    gan, loss = models.build(args), keras.losses.BinaryCrossentropy(from_logits=True)
    g, d, stack = gan.generator, gan.discriminator, keras.Sequential([gan.generator, gan.discriminator])
    reals, random = data.batches(args), np.random.default_rng(args.seed)

    def draw():
        return random.standard_normal([args.batch_size, args.latent_dim], "float32")

    def labels(limits):
        return random.uniform(*limits, [args.batch_size, 1]).astype("float32")

    def train_d():
        fake = g.predict(draw(), batch_size=args.batch_size, verbose=0)
        d.train_on_batch(next(reals), labels(args.real_labels))
        d.train_on_batch(fake, labels(args.fake_labels))

    def train_g():
        stack.train_on_batch(draw(), labels((1.0, 1.0)))

    d.compile(gan.d_optimizer, loss)
    train_d()
    d_weights, d.trainable = d.trainable_variables, False
    stack.compile(gan.g_optimizer, loss)
    if not (moves(g.trainable_variables, train_g) and moves(d_weights, train_d)) or moves(d.variables, train_g):
        raise RuntimeError(f"Under Keras {keras.version()} the stacked idiom doesn't train D in D's calls alone.")

    def run(steps):
        for train in steps * (train_d, train_g):
            train()
    return run


def pytorch(args):
    """The step of pytorch/examples dcgan, with our networks and labels, on as many threads as TensorFlow has."""
    nn, up, down = torch.nn, args.generator_filters, args.discriminator_filters
    resample = {"kernel_size": args.kernel_size, "stride": 2, "padding": 1}
    torch.set_num_threads(os.cpu_count())

    def stage(layer, slope):
        norm = nn.BatchNorm2d(layer.out_channels, args.bn_epsilon, 1 - args.bn_momentum)
        return nn.Sequential(layer, norm, nn.LeakyReLU(slope, inplace=True))

    g = nn.Sequential(
        nn.Unflatten(1, (-1, 1, 1)), stage(nn.ConvTranspose2d(args.latent_dim, up[0], 4), args.g_leaky_slope),  # 4x4
        *(stage(nn.ConvTranspose2d(*pair, **resample), args.g_leaky_slope) for pair in zip(up, up[1:])),        # 32x32
        stage(nn.Conv2d(up[-1], up[-1], 3, padding=1), args.g_leaky_slope),
        nn.ConvTranspose2d(up[-1], 3, **resample), nn.Tanh())                                                   # 64x64
    d = nn.Sequential(
        nn.Conv2d(3, down[0], **resample), nn.LeakyReLU(args.d_leaky_slope, inplace=True),                      # 32x32
        *(stage(nn.Conv2d(*pair, **resample), args.d_leaky_slope) for pair in zip(down, down[1:])),             # 4x4
        nn.Flatten(), nn.Linear(down[-1] * 4 * 4, 1))
    for network, peer in zip((g, d), models.build(args).networks.values()):
        if sum(map(torch.numel, network.parameters())) != sum(map(np.size, peer.trainable_variables)):
            raise RuntimeError(f"The {peer.name} has not as many weights to train in PyTorch as in Keras.")
    g_optimizer = torch.optim.Adam(g.parameters(), args.g_learning_rate, (args.beta_1, 0.999))
    d_optimizer = torch.optim.Adam(d.parameters(), args.d_learning_rate, (args.beta_1, 0.999))
    loss, reals = nn.BCEWithLogitsLoss(), data.batches(args)

    def learn(images, limits):
        logits = d(images)
        loss(logits, torch.empty_like(logits).uniform_(*limits)).backward()

    def run(steps):
        for _ in range(steps):
            d.zero_grad()
            learn(torch.from_numpy(next(reals)).permute(0, 3, 1, 2).contiguous(), args.real_labels)
            fake = g(torch.randn(args.batch_size, args.latent_dim))
            learn(fake.detach(), args.fake_labels)
            d_optimizer.step()
            g.zero_grad()
            learn(fake, (1.0, 1.0))
            g_optimizer.step()
    return run


def serve(build, args, pipe):
    """Builds a rival in a process of its own; then runs as many steps as it is told, and answers with the seconds."""
    run = build(constants.override(constants.Args, **args))
    for steps in iter(pipe.recv, None):
        start = time.perf_counter()
        seconds = run(steps) or time.perf_counter() - start
        pipe.send(seconds / steps)


def measure(rivals, args, rounds, steps):
    """Returns {rival: seconds a step [rounds]}, all of them running by turns."""
    pipes, context = {}, multiprocessing.get_context("spawn")
    for name, build in rivals.items():
        pipes[name], theirs = context.Pipe()
        context.Process(target=serve, args=(build, args, theirs), daemon=True).start()

    def ask(pipe, count):
        pipe.send(count)
        return pipe.recv()

    seconds = [{name: ask(pipe, count) for name, pipe in pipes.items()} for count in [WARM_UP] + rounds * [steps]]
    for pipe in pipes.values():
        pipe.send(None)
    return {name: np.array([one[name] for one in seconds[1:]]) for name in rivals}


def spread(values):
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main(rounds=ROUNDS, steps=STEPS):
    rivals = {"ours": ours, "stacked `train_on_batch` and `predict`": stacked}
    rivals |= {"PyTorch, the step of its DCGAN example": pytorch} if torch else {}
    with tempfile.TemporaryDirectory() as folder:
        args = {"data": f"{folder}/data.hdf5", "keep_snapshots": 1, "archive_every": 0}
        with h5py.File(args["data"], "w") as file:
            file["faces"] = toyfaces.sample(10 * constants.Args.batch_size)[0]
        seconds = measure(rivals, args, rounds, steps)
        dump = measure({"dump": dumps}, args, rounds, 1)["dump"]
    print(f"\nTensorFlow {tf.__version__}, Keras {keras.version()}, PyTorch "
          f"{torch.__version__ if torch else 'missing: pip install .[bench]'}, {os.cpu_count()} cores, {rounds} "
          f"rounds of {steps} steps\n\n| rival | seconds a step | ours is x times faster |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {np.median(values):.2f} | {spread(values / seconds['ours'])} |")
    share = np.median(dump) / np.median(seconds["ours"])
    print(f"\nA dump takes {spread(dump)} seconds: it adds {share / 10:.1%} to a run at dump_every=10, "
          f"{share / 100:.1%} at 100.")


if __name__ == "__main__":
    main(**{name: int(number) for name, number in (word.split("=") for word in sys.argv[1:])})
