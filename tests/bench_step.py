"""Seconds a training step takes: ours, three well-known ways to train the same DCGAN, and what a dump costs.

    pip install ".[bench]" && python tests/bench_step.py rounds=30 steps=2       # on the CPU
    pip install ".[bench,gpu]" && python tests/bench_step.py gpu=1 steps=50      # ours in each precision, with and
                                                                                 # without XLA, beside PyTorch

Each rival has a process of its own, which waits while the others run: idle threads of one library would slow another.
They run by turns, `steps` steps each a round, with the networks, labels and batch size of args.Args, on toy faces; none
augments what D sees.
Ratios are taken within a round, medians (lowest to highest) over the rounds, as a machine's speed drifts.
"""
import functools
import multiprocessing
import os
import pathlib
import sys
import tempfile
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
GPU = "gpu=1" in sys.argv
if GPU:
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # several processes share the card
else:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
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
SIDE = 4096  # of the matrices whose product tells the machine's speed: large enough for its best


class Stopwatch(keras.callbacks.Callback):
    """Notes when each batch ends: the start of `fit`, which a run has once, is left out."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_train_batch_end(self, step, logs=None):
        self.times.append(time.perf_counter())


def ours(args, **changes):
    """`fit` of models.build(args), fed by data.load, from the end of its first batch on."""
    args = constants.override(args, **changes)
    gan, stopwatch = models.build(args), Stopwatch()

    def run(steps):
        gan.fit(data.load(args, int(gan.batch)), steps_per_epoch=1 + steps, shuffle=False, verbose=0,
                callbacks=[stopwatch])
        return stopwatch.times[-1] - stopwatch.times[0]
    return run


def dumps(args):
    """All that a training waits for at a dump, into the folder of the data; a step is a dump, and removes an old
    snapshot. What the thread that writes the new one goes on to do isn't counted.
    """
    gan = models.build(args)
    (pathlib.Path(args.data).parent / "args.json").write_text("{}")  # TensorBoard shows it
    callbacks = [dump(args, pathlib.Path(args.data).parent) for dump in story.DUMPS if hasattr(dump, "dump")]
    for callback in callbacks:
        callback.set_model(gan)
        callback.on_train_begin()

    def run(steps):
        seconds = 0.0
        for _ in range(steps):
            gan.batch.assign_add(1)
            start = time.perf_counter()
            for callback in callbacks:
                callback.dump(int(gan.batch), dict.fromkeys(gan.logged, 1.0))
            seconds += time.perf_counter() - start
            story.callbacks.wait_for_snapshots()
        return seconds
    return run


def stacked(args):
    """The original's idiom: D compiled, G and D compiled as a stack, each fed by train_on_batch, fakes from predict.

    As there D is free in the stack, so it moves in G's step too. (The cure of its time, to freeze D before the stack is
    compiled, fails without a word in Keras 3: D then learns nothing at all, not even in its own step.)
    """
    gan, loss = models.build(args), keras.losses.BinaryCrossentropy(from_logits=True)
    g, d, stack = gan.generator, gan.discriminator, keras.Sequential([gan.generator, gan.discriminator])
    reals, random = data.batches(args), np.random.default_rng(args.seed)
    d.compile(gan.d_optimizer, loss)
    stack.compile(keras.optimizers.Adam(args.g_learning_rate, args.beta_1), loss)

    def labels(limits):
        return random.uniform(*limits, [args.batch_size, 1]).astype("float32")

    def run(steps):
        for _ in range(steps):
            z = random.standard_normal([args.batch_size, args.latent_dim], "float32")
            fake = g.predict(z, verbose=0)
            d.train_on_batch(next(reals), labels(args.real_labels))
            d.train_on_batch(fake, labels(args.fake_labels))
            stack.train_on_batch(z, labels((1.0, 1.0)))
    return run


class KerasExample(keras.Model):
    """The train step of keras.io's DCGAN: fakes and reals in one batch, 1 for fake; G learns from fakes of its own."""

    def __init__(self, gan):
        super().__init__()
        self.args, self.generator, self.discriminator = gan.args, gan.generator, gan.discriminator
        self.loss_fn, self.built = keras.losses.BinaryCrossentropy(from_logits=True), True

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def learn(self, network, optimizer, labels, logits_of):
        with tf.GradientTape() as tape:
            loss = self.loss_fn(labels, logits_of())
        weights = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    def train_step(self, real):
        count = self.args.batch_size
        images = tf.concat([self.generator(tf.random.normal([count, self.args.latent_dim]), training=True), real], 0)
        labels = tf.concat([tf.ones([count, 1]), tf.zeros([count, 1])], 0)
        labels += 0.05 * tf.random.uniform(tf.shape(labels))
        d_loss = self.learn(self.discriminator, self.d_optimizer, labels,
                            lambda: self.discriminator(images, training=True))
        z = tf.random.normal([count, self.args.latent_dim])
        g_loss = self.learn(self.generator, self.g_optimizer, tf.zeros([count, 1]),
                            lambda: self.discriminator(self.generator(z, training=True), training=True))
        return {"d_loss": d_loss, "g_loss": g_loss}


def keras_example(args):
    """`fit` of keras.io's step, with our networks, fed by data.load."""
    gan, stopwatch = models.build(args), Stopwatch()
    model = KerasExample(gan)
    model.compile(gan.d_optimizer, gan.g_optimizer)

    def run(steps):
        model.fit(data.load(args), steps_per_epoch=1 + steps, shuffle=False, verbose=0, callbacks=[stopwatch])
        return stopwatch.times[-1] - stopwatch.times[0]
    return run


def strict(args, **changes):
    """`ours`, on a GPU without TensorFloat-32, which rounds what float32 multiplies."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return ours(args, **changes)


def product(args, dtype="float32"):
    """The machine's speed: a step is a product of two 4096 x 4096 matrices."""
    a, b = tf.cast(tf.random.normal([2, SIDE, SIDE]), dtype)
    multiply = tf.function(lambda: tf.reduce_sum(a @ b))

    def run(steps):
        for _ in range(steps):
            multiply().numpy()
    return run


def flops(args):
    """Counts the floating-point operations of our step: those of convolutions and dense layers, two a product.

    A pass backwards costs as much as one forwards for the weights, and as much again for the layer's input, which none
    but G's fakes need of the first layer. G: forwards, backwards. D: forwards and backwards on real and on fake images,
    and once more for G, when no gradient of its weights is taken.
    """
    def forwards(network):
        costs = []
        for layer in network.layers:
            if hasattr(layer, "kernel"):
                shape = layer.input.shape if isinstance(layer, keras.layers.Conv2DTranspose) else layer.output.shape
                costs.append(2 * np.prod(layer.kernel.shape) * np.prod(shape[1:-1]))
        return sum(costs), costs[0]

    gan = models.build(args)
    (g, g_first), (d, d_first) = forwards(gan.generator), forwards(gan.discriminator)
    return args.batch_size * ((3 * g - g_first) + 2 * (3 * d - d_first) + 2 * d)


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
    device = "cuda" if GPU else "cpu"
    g, d = g.to(device), d.to(device)

    def learn(images, limits):
        logits = d(images)
        loss(logits, torch.empty_like(logits).uniform_(*limits)).backward()

    def run(steps):
        for _ in range(steps):
            d.zero_grad()
            learn(torch.from_numpy(next(reals)).to(device).permute(0, 3, 1, 2).contiguous(), args.real_labels)
            fake = g(torch.randn(args.batch_size, args.latent_dim, device=device))
            learn(fake.detach(), args.fake_labels)
            d_optimizer.step()
            g.zero_grad()
            learn(fake, (1.0, 1.0))
            g_optimizer.step()
        if GPU:
            torch.cuda.synchronize()
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
        theirs.close()  # so that a rival which dies ends the bench

    def ask(pipe, count):
        pipe.send(count)
        return pipe.recv()

    seconds = [{name: ask(pipe, count) for name, pipe in pipes.items()} for count in [WARM_UP] + rounds * [steps]]
    for pipe in pipes.values():
        pipe.send(None)
    return {name: np.array([one[name] for one in seconds[1:]]) for name in rivals}


def spread(values):
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main(rounds=ROUNDS, steps=STEPS, gpu=0):
    plain = functools.partial(ours, jit_compile="off")
    rivals = {"ours": ours, "ours, `precision=mixed_bfloat16`": functools.partial(ours, precision="mixed_bfloat16")}
    if gpu:
        rivals |= {"ours, without XLA": plain, "ours, without TensorFloat-32": strict}
        rivals |= {f"ours, {precision}{xla}": functools.partial(build, precision=f"mixed_{precision}")
                   for precision in ("bfloat16", "float16") for xla, build in (("", ours), (", without XLA", plain))}
        del rivals["ours, `precision=mixed_bfloat16`"]
    else:
        rivals |= {"the original's `train_on_batch` and `predict`": stacked,
                   "the step of keras.io's DCGAN, `fit`": keras_example}
    products = {"float32": product, "bfloat16": functools.partial(product, dtype="bfloat16")}
    rivals |= {"PyTorch, the step of its DCGAN example": pytorch} if torch else {}
    with tempfile.TemporaryDirectory() as folder:
        args = {"data": f"{folder}/data.hdf5", "augment": "", "keep_snapshots": 1, "archive_every": 0}
        with h5py.File(args["data"], "w") as file:
            file["faces"] = toyfaces.sample(10 * constants.Args.batch_size)[0]
        seconds = measure(rivals | products, args, rounds, steps)
        dump = measure({"dump": dumps}, args, rounds, 1)["dump"]
    print(f"\nTensorFlow {tf.__version__}, Keras {keras.version()}, PyTorch "
          f"{torch.__version__ if torch else 'missing: pip install .[bench]'}, {'a GPU' if gpu else 'no GPU'}, "
          f"{os.cpu_count()} cores, {rounds} rounds of {steps} steps\n\n"
          "| rival | seconds a step | ours is x times faster |\n|---|---|---|")
    for name in rivals:
        ratio = spread(seconds[name] / seconds["ours"])
        print(f"| {name} | {np.median(seconds[name]):.{4 if gpu else 2}f} | {ratio} |")
    count = flops(constants.Args)
    print(f"\nA step is {count / 1e9:.0f} GFLOP. Products of {SIDE} x {SIDE} matrices ran by turns with the steps.")
    for dtype, name in zip(products, rivals):
        rate = 2 * SIDE ** 3 / min(seconds[dtype])
        print(f"{dtype}: the best of {rounds} products at {rate / 1e9:.0f} GFLOP/s, so {count / rate:.2f} seconds a "
              f"step are the floor; {name} runs at {count / rate / np.median(seconds[name]):.0%} of that speed.")
    share = np.median(dump) / np.median(seconds["ours"])
    print(f"\nA dump takes {spread(dump)} seconds of the training's: it adds {share / 10:.1%} to a run at "
          f"dump_every=10, {share / 100:.1%} at 100.")


if __name__ == "__main__":
    main(**{name: int(number) for name, number in (word.split("=") for word in sys.argv[1:])})
