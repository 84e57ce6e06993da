"""Seconds of a training step: ours, and well-known others of the same DCGAN; of an epoch's end.

    pip install ".[bench]" && python tests/bench/bench_step.py rounds=30 steps=2    # on the CPU
    pip install ".[bench,gpu]" && python tests/bench/bench_step.py gpu=1 steps=50   # on a GPU
    python tests/bench/bench_step.py presets=Args,Small rounds=5 steps=20           # whole presets

On a GPU ours is timed in each precision, with and without XLA, beside PyTorch. Each rival has a
process of its own, which waits while the others run: idle threads of one library would slow down
another. They take turns, `steps` steps each per round, with the networks, labels and batch size of
args.Args, on toy faces, without augmentation. Presets are timed as `python gan.py` runs them:
`steps` must be a multiple of `r1_every`. Ratios are taken within a round, and their median, lowest
and highest over the rounds are printed, as the speed of a machine drifts.
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
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in gan.py
GPU = "gpu=1" in sys.argv
if GPU:
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # several processes share the card
else:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import h5py  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import args as constants  # noqa: E402
import data  # noqa: E402
import gan as script  # noqa: E402
import models  # noqa: E402
from models.toys import faces  # noqa: E402

try:
    import torch
except ImportError:  # its rival is left out
    torch = None

ROUNDS, STEPS = 30, 2
WARM_UP = 2   # steps of a rival before the first round, in which graphs are traced
SIDE = 4096   # of the matrices whose product shows the machine's speed: large enough for its best


class Stopwatch(keras.callbacks.Callback):
    """Notes when each batch ends. The start of `fit`, once per run, is left out."""

    def on_train_begin(self, logs=None):
        self.times = []

    def on_train_batch_end(self, step, logs=None):
        self.times.append(time.perf_counter())

    @property
    def seconds(self):
        """From the end of the first batch to that of the last."""
        return self.times[-1] - self.times[0]


# ---- rivals: each function returns run(steps), which returns seconds, or None to be timed outside

def ours(args, **changes):
    """`fit` of models.build(args), with the data of data.load."""
    args = constants.override(args, **changes)
    gan, stopwatch = models.build(args), Stopwatch()

    def run(steps):
        batches = data.load(args, int(gan.batch))
        gan.fit(batches, steps_per_epoch=1 + steps, shuffle=False, verbose=0,
                callbacks=[stopwatch])
        return stopwatch.seconds

    return run


def of_preset(name, args):
    """`fit` of a preset with all of its constants."""
    return ours(constants.override(constants.presets()[name], data=args.data))


def without_tensor_float_32(args):
    """`ours` on a GPU, without TensorFloat-32, which rounds the factors of float32 products."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return ours(args)


def stacked(args):
    """The original's idiom: D compiled, a stack of G and D compiled, `train_on_batch`, `predict`.

    As in the original, D can be trained in the stack, so it moves in G's step too. (To freeze D
    before the stack is compiled, as later code did, silently fails in Keras 3: then D learns
    nothing, not even in its own step.)
    """
    gan, loss = models.build(args), keras.losses.BinaryCrossentropy(from_logits=True)
    g, d = gan.generator, gan.discriminator
    stack = keras.Sequential([g, d])
    real_batches, random = data.iterate(args), np.random.default_rng(args.seed)
    d.compile(gan.d_optimizer, loss)
    stack.compile(keras.optimizers.Adam(args.g_learning_rate, args.beta_1), loss)

    def labels(limits):
        return random.uniform(*limits, [args.batch_size, 1]).astype("float32")

    def run(steps):
        for _ in range(steps):
            z = random.standard_normal([args.batch_size, args.latent_dim], "float32")
            fake = g.predict(z, verbose=0)
            d.train_on_batch(next(real_batches), labels(args.real_labels))
            d.train_on_batch(fake, labels(args.fake_labels))
            stack.train_on_batch(z, labels((1.0, 1.0)))

    return run


class KerasExample(keras.Model):
    """The training step of keras.io's DCGAN.

    Fake and real images are in one batch, 1 stands for fake, and G learns from fakes of its own.
    """

    def __init__(self, gan):
        super().__init__()
        self.args = gan.args
        self.generator = gan.generator
        self.discriminator = gan.discriminator
        self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)
        self.built = True

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer

    def generate(self):
        z = tf.random.normal([self.args.batch_size, self.args.latent_dim])
        return self.generator(z, training=True)

    def train_step(self, real):
        count = self.args.batch_size
        images = tf.concat([self.generate(), real], 0)
        labels = tf.concat([tf.ones([count, 1]), tf.zeros([count, 1])], 0)
        labels += 0.05 * tf.random.uniform(tf.shape(labels))
        with tf.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(images, training=True))
        weights = self.discriminator.trainable_variables
        self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, weights), weights))

        with tf.GradientTape() as tape:
            logits = self.discriminator(self.generate(), training=True)
            g_loss = self.loss_fn(tf.zeros([count, 1]), logits)
        weights = self.generator.trainable_variables
        self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights))
        return {"d_loss": d_loss, "g_loss": g_loss}


def keras_example(args):
    """`fit` of keras.io's step, with our networks and the data of data.load."""
    gan, stopwatch = models.build(args), Stopwatch()
    model = KerasExample(gan)
    model.compile(gan.d_optimizer, gan.g_optimizer)

    def run(steps):
        model.fit(data.load(args), steps_per_epoch=1 + steps, shuffle=False, verbose=0,
                  callbacks=[stopwatch])
        return stopwatch.seconds

    return run


def pytorch(args):
    """The step of pytorch/examples dcgan, with our networks and labels, on as many threads."""
    nn, up, down = torch.nn, args.generator_filters, args.discriminator_filters
    strided = {"kernel_size": args.kernel_size, "stride": 2, "padding": 1}
    torch.set_num_threads(os.cpu_count())

    def stage(layer, slope):
        norm = nn.BatchNorm2d(layer.out_channels, 1e-3, 1 - args.bn_momentum)  # Keras' epsilon
        return nn.Sequential(layer, norm, nn.LeakyReLU(slope, inplace=True))

    g_layers = [nn.Unflatten(1, (-1, 1, 1)),
                stage(nn.ConvTranspose2d(args.latent_dim, up[0], 4), args.g_leaky_slope)]  # 4x4
    for filters, more in zip(up, up[1:]):
        g_layers.append(stage(nn.ConvTranspose2d(filters, more, **strided), args.g_leaky_slope))
    g_layers.append(stage(nn.Conv2d(up[-1], up[-1], 3, padding=1), args.g_leaky_slope))    # 32x32
    g_layers += [nn.ConvTranspose2d(up[-1], 3, **strided), nn.Tanh()]                      # 64x64
    d_layers = [nn.Conv2d(3, down[0], **strided), nn.LeakyReLU(args.d_leaky_slope, inplace=True)]
    for filters, more in zip(down, down[1:]):
        d_layers.append(stage(nn.Conv2d(filters, more, **strided), args.d_leaky_slope))
    d_layers += [nn.Flatten(), nn.Linear(down[-1] * 4 * 4, 1)]                             # 4x4
    g, d = nn.Sequential(*g_layers), nn.Sequential(*d_layers)

    gan = models.build(args)
    for network, peer in ((g, gan.generator), (d, gan.discriminator)):
        count = sum(parameter.numel() for parameter in network.parameters())
        if count != sum(np.size(variable) for variable in peer.trainable_variables):
            raise RuntimeError(
                f"The {peer.name} has not as many weights to train in PyTorch as in Keras.")
    g_optimizer = torch.optim.Adam(g.parameters(), args.g_learning_rate, (args.beta_1, 0.999))
    d_optimizer = torch.optim.Adam(d.parameters(), args.d_learning_rate, (args.beta_1, 0.999))
    loss, real_batches = nn.BCEWithLogitsLoss(), data.iterate(args)
    device = "cuda" if GPU else "cpu"
    g, d = g.to(device), d.to(device)

    def accumulate_gradients(images, limits):
        logits = d(images)
        loss(logits, torch.empty_like(logits).uniform_(*limits)).backward()

    def step():
        d.zero_grad()
        real = torch.from_numpy(next(real_batches)).to(device)
        accumulate_gradients(real.permute(0, 3, 1, 2).contiguous(), args.real_labels)
        fake = g(torch.randn(args.batch_size, args.latent_dim, device=device))
        accumulate_gradients(fake.detach(), args.fake_labels)
        d_optimizer.step()
        g.zero_grad()
        accumulate_gradients(fake, (1.0, 1.0))
        g_optimizer.step()

    def run(steps):
        for _ in range(steps):
            step()
        if GPU:
            torch.cuda.synchronize()

    return run


# ---- the end of an epoch

def epoch_end_parts(args, rounds):
    """Times what training waits for at the end of an epoch.

    Returns:
        {callback: seconds [rounds]}.
    """
    gan = models.build(args)
    folder = pathlib.Path(args.data).parent
    logs = dict.fromkeys(gan.means, 1.0)
    callbacks = [callback(args, folder) for callback in script.CALLBACKS]
    for callback in callbacks:
        callback.set_model(gan)
        callback.on_train_begin()
    seconds = {type(callback).__name__: [] for callback in callbacks}
    for _ in range(WARM_UP + rounds):
        gan.batch.assign_add(args.dump_every)
        for callback in callbacks:
            start = time.perf_counter()
            callback.on_epoch_end(0, logs)
            seconds[type(callback).__name__].append(time.perf_counter() - start)
    return {name: np.array(values[WARM_UP:]) for name, values in seconds.items()}


# ---- the speed of the machine

def product(args, dtype="float32"):
    """A step is a product of two 4096 x 4096 matrices."""
    a, b = tf.cast(tf.random.normal([2, SIDE, SIDE]), dtype)
    multiply = tf.function(lambda: tf.reduce_sum(a @ b))

    def run(steps):
        for _ in range(steps):
            multiply().numpy()

    return run


def forward_operations(network):
    """Counts the floating-point operations of a forward pass of one image: two per product.

    Returns:
        Those of all convolutions and dense layers, and those of the first layer.
    """
    counts = []
    for layer in network.layers:
        if not hasattr(layer, "kernel"):
            continue
        is_transposed = isinstance(layer, keras.layers.Conv2DTranspose)
        shape = layer.input.shape if is_transposed else layer.output.shape
        counts.append(2 * np.prod(layer.kernel.shape) * np.prod(shape[1:-1]))
    return sum(counts), counts[0]


def step_operations(args):
    """Counts the floating-point operations of our step.

    A backward pass costs as much as a forward pass for the weights, and as much again for the
    inputs of the layers. The input of the first layer needs none, but for the fakes in G's update.
    G has a forward and a backward pass. D has them on real images and on fakes; and once more, for
    G, without the gradient of its weights.
    """
    gan = models.build(args)
    g, g_first = forward_operations(gan.generator)
    d, d_first = forward_operations(gan.discriminator)
    return args.batch_size * ((3 * g - g_first) + 2 * (3 * d - d_first) + 2 * d)


# ---- processes

def serve(build, args, pipe):
    """Builds a rival; then runs as many steps as it is asked for, and answers with the seconds."""
    run = build(constants.override(constants.Args, **args))
    for steps in iter(pipe.recv, None):
        start = time.perf_counter()
        seconds = run(steps) or time.perf_counter() - start
        pipe.send(seconds / steps)


def measure(rivals, args, rounds, steps):
    """Returns {rival: seconds per step [rounds]}. The rivals take turns."""
    pipes, context = {}, multiprocessing.get_context("spawn")
    for name, build in rivals.items():
        pipes[name], other_end = context.Pipe()
        context.Process(target=serve, args=(build, args, other_end), daemon=True).start()
        other_end.close()  # so that a rival which dies ends the bench
    seconds = {name: [] for name in rivals}
    for count in [WARM_UP] + rounds * [steps]:
        for name, pipe in pipes.items():
            pipe.send(count)
            seconds[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(None)
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def rivals_of(gpu):
    """Returns {name: function}. The first is ours, the second ours in bfloat16."""
    def build(precision, jit_compile="auto"):
        return functools.partial(ours, precision=precision, jit_compile=jit_compile)

    rivals = {"ours": ours}
    if gpu:
        rivals["ours, bfloat16"] = build("mixed_bfloat16")
        rivals["ours, bfloat16, without XLA"] = build("mixed_bfloat16", "off")
        rivals["ours, float16"] = build("mixed_float16")
        rivals["ours, float16, without XLA"] = build("mixed_float16", "off")
        rivals["ours, without XLA"] = build("float32", "off")
        rivals["ours, without TensorFloat-32"] = without_tensor_float_32
    else:
        rivals["ours, `precision=mixed_bfloat16`"] = build("mixed_bfloat16")
        rivals["the original's `train_on_batch` and `predict`"] = stacked
        rivals["the step of keras.io's DCGAN, `fit`"] = keras_example
    if torch:
        rivals["PyTorch, the step of its DCGAN example"] = pytorch
    return rivals


# ---- the report

def spread(values):
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def print_speeds(rivals, seconds, gpu):
    first = next(iter(rivals))
    print(f"\n| rival | seconds per step | {first} is x times faster |\n|---|---|---|")
    digits = 4 if gpu else 3
    for name in rivals:
        ratio = spread(seconds[name] / seconds[first])
        print(f"| {name} | {np.median(seconds[name]):.{digits}f} | {ratio} |")


def print_efficiency(products, rivals, seconds, rounds):
    operations = step_operations(constants.Args)
    print(f"\nA step is {operations / 1e9:.0f} GFLOP. Products of {SIDE} x {SIDE} matrices took "
          "turns with the steps.")
    for dtype, name in zip(products, rivals):
        rate = 2 * SIDE ** 3 / min(seconds[dtype])
        least = operations / rate
        print(f"{dtype}: the best of {rounds} products had {rate / 1e9:.0f} GFLOP/s, so a step "
              f"takes {least:.2f} seconds at least; {name} runs at "
              f"{least / np.median(seconds[name]):.0%} of that speed.")


def print_epoch_end(parts, step):
    print("\n| at the end of an epoch | seconds |\n|---|---|")
    for name, values in parts.items():
        if max(values) > 0.0005:
            print(f"| {name} | {np.median(values):.3f} ({min(values):.3f} to {max(values):.3f}) |")
    total = sum(parts.values())
    share = np.median(total) / step / constants.Args.dump_every
    print(f"\nTogether {spread(total)} seconds, {share:.1%} of an epoch of "
          f"{constants.Args.dump_every} batches.")


def main(rounds=ROUNDS, steps=STEPS, gpu=0, presets=""):
    if presets:
        rivals = {name: functools.partial(of_preset, name) for name in presets.split(",")}
    else:
        rivals = rivals_of(gpu)
    products = {"float32": product, "bfloat16": functools.partial(product, dtype="bfloat16")}
    with tempfile.TemporaryDirectory() as folder:
        args = {"data": f"{folder}/data.hdf5", "augment": "", "keep_every": 0}
        with h5py.File(args["data"], "w") as file:
            file["faces"] = faces.sample(10 * constants.Args.batch_size)[0]
        if presets:
            print_speeds(rivals, measure(rivals, args, rounds, steps), gpu)
            return
        seconds = measure(rivals | products, args, rounds, steps)
        parts = epoch_end_parts(constants.override(constants.Args, **args), rounds)
    torch_version = torch.__version__ if torch else "missing: pip install .[bench]"
    print(f"\nTensorFlow {tf.__version__}, Keras {keras.version()}, PyTorch {torch_version}, "
          f"{'a GPU' if gpu else 'no GPU'}, {os.cpu_count()} cores, {rounds} rounds of {steps} "
          "steps")
    print_speeds(rivals, seconds, gpu)
    print_efficiency(products, rivals, seconds, rounds)
    print_epoch_end(parts, np.median(seconds["ours"]))


if __name__ == "__main__":
    options = {}
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        options[name] = value if name == "presets" else int(value)
    main(**options)
