"""Seconds a training step takes: ours, and other well-known steps of the same DCGAN, by turns.

    python tests/bench/bench_step.py rounds=30 steps=2
    python tests/bench/bench_step.py presets=Args,Small rounds=5 steps=20
    python tests/bench/bench_step.py presets=Args other=../an-older-clone rounds=10 steps=10
    python tests/bench/bench_step.py gpu=1 steps=50

Each rival has a process of its own, which waits while the others run: idle threads of one library
would slow down another. They take turns, `steps` steps each per round. Ratios are taken within a
round, and their median, lowest and highest over the rounds are printed, as the speed of a machine
drifts.

The rivals have the networks, targets and batch size of args.Args, on toy faces, without R1 and
augmentation; PyTorch's is left out if it is not installed (`pip install .[bench]`). With
`bfloat16=1`, ours in mixed_bfloat16 is one of them, which takes long on CPUs that do not compute in
it. With `gpu=1` they run on the GPU, with ours in mixed_float16 and without XLA beside them;
otherwise GPUs are hidden. With `presets`, whole presets are timed instead, as `python gan.py`
trains them: `steps` must be a multiple of `r1_every`. With `other`, another clone of this project
is a rival, too. Without `presets`, the end of an epoch is timed as well, part by part.
"""
import functools
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
WARM_UP = 2  # steps of a rival before the first round, in which graphs are traced


# ---- rivals: each function takes changes of the constants, builds, and returns run(steps), which
# returns the seconds of the steps

def preset(name, changes):
    """Returns the preset `name` with other constants."""
    import args as constants
    return constants.override(constants.presets()[name], **changes)


def timed(run):
    """Makes run(steps) return the seconds it takes."""
    def run_timed(steps):
        start = time.perf_counter()
        run(steps)
        return time.perf_counter() - start
    return run_timed


def fit(model, batches):
    """Returns run(steps), which times `fit` without its start, once per run."""
    import keras
    times = []

    class Stopwatch(keras.callbacks.Callback):
        def on_train_batch_end(self, step, logs=None):
            times.append(time.perf_counter())

    def run(steps):
        times.clear()
        model.fit(batches, steps_per_epoch=1 + steps, shuffle=False, verbose=0,
                  callbacks=[Stopwatch()])
        return times[-1] - times[0]
    return run


def ours(name="Args", **changes):
    """`fit` of models.build(args), with the data of data.load."""
    import data
    import models
    from models import devices
    args = preset(name, changes)
    if hasattr(devices, "fix_order_of_sums"):  # an older clone has no such function
        devices.fix_order_of_sums()
    classes = len(data.labels(args)[1]) if args.conditional else 0
    return fit(models.build(args, classes), data.load(args))


def original(**changes):
    """The original's idiom: D compiled, a stack of G and D compiled, `train_on_batch`, `predict`.

    As in the original, D can be trained in the stack, so it moves in G's step too. (To freeze D
    before the stack is compiled, as later code did, silently fails in Keras 3: then D learns
    nothing, not even in its own step.)
    """
    import data
    import models
    import keras
    args = preset("Args", changes)
    gan, loss = models.build(args), keras.losses.BinaryCrossentropy(from_logits=True)
    g, d = gan.generator, gan.discriminator
    stack = keras.Sequential([g, d])
    real_batches, random = data.iterate(args), np.random.default_rng(args.seed)
    d.compile(gan.d_optimizer, loss)
    stack.compile(keras.optimizers.Adam(args.g_learning_rate, args.beta_1), loss)

    def targets(limits):
        return random.uniform(*limits, [args.batch_size, 1]).astype("float32")

    def run(steps):
        for _ in range(steps):
            z = random.standard_normal([args.batch_size, args.latent_dim], "float32")
            fake = g.predict(z, verbose=0)
            d.train_on_batch(next(real_batches), targets(args.real_labels))
            d.train_on_batch(fake, targets(args.fake_labels))
            stack.train_on_batch(z, targets((1.0, 1.0)))
    return timed(run)


def keras_example(**changes):
    """`fit` of the step of keras.io's DCGAN, with our networks and the data of data.load.

    Fake and real images are in one batch, 1 stands for fake, and G learns from fakes of its own.
    """
    import data
    import models
    import keras
    import tensorflow as tf
    args = preset("Args", changes)
    ours = models.build(args)
    count = args.batch_size

    class KerasExample(keras.Model):
        def __init__(self):
            super().__init__()
            self.generator = ours.generator
            self.discriminator = ours.discriminator
            self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)
            self.built = True

        def compile(self, d_optimizer, g_optimizer):
            super().compile()
            self.d_optimizer = d_optimizer
            self.g_optimizer = g_optimizer

        def generate(self):
            z = tf.random.normal([count, args.latent_dim])
            return self.generator(z, training=True)

        def train_step(self, real):
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

    model = KerasExample()
    model.compile(ours.d_optimizer, ours.g_optimizer)
    return fit(model, data.load(args))


def pytorch(**changes):
    """The step of pytorch/examples dcgan, with our networks and targets, on as many threads."""
    import data
    import torch
    args = preset("Args", changes)
    nn, up, down = torch.nn, args.generator_filters, args.discriminator_filters
    strided = {"kernel_size": args.kernel_size, "stride": 2, "padding": 1}
    torch.set_num_threads(os.cpu_count())
    device = "cuda" if torch.cuda.is_available() else "cpu"

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
    g, d = nn.Sequential(*g_layers).to(device), nn.Sequential(*d_layers).to(device)
    g_optimizer = torch.optim.Adam(g.parameters(), args.g_learning_rate, (args.beta_1, 0.999))
    d_optimizer = torch.optim.Adam(d.parameters(), args.d_learning_rate, (args.beta_1, 0.999))
    loss, real_batches = nn.BCEWithLogitsLoss(), data.iterate(args)

    def accumulate_gradients(images, limits):
        logits = d(images)
        loss(logits, torch.empty_like(logits).uniform_(*limits)).backward()

    def run(steps):
        for _ in range(steps):
            d.zero_grad()
            real = torch.from_numpy(next(real_batches)).to(device)
            accumulate_gradients(real.permute(0, 3, 1, 2).contiguous(), args.real_labels)
            fake = g(torch.randn(args.batch_size, args.latent_dim, device=device))
            accumulate_gradients(fake.detach(), args.fake_labels)
            d_optimizer.step()
            g.zero_grad()
            accumulate_gradients(fake, (1.0, 1.0))
            g_optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
    return timed(run)


# ---- processes

class Rival:
    """A process that builds a rival, and then runs as many steps as it is asked for.

    Args:
        root: folder of the clone whose modules it uses.
        function: name of a function above.
        arguments: of the function.
    """

    def __init__(self, root, function, **arguments):
        command = [sys.executable, __file__, "serve", str(root), function, json.dumps(arguments)]
        self.process = subprocess.Popen(
            command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def seconds_per_step(self, steps):
        print(steps, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args} has died")
        return float(answer) / steps


def serve(root, function, arguments):
    """Answers the requests of a `Rival`."""
    sys.path.insert(0, root)
    answers, sys.stdout = sys.stdout, sys.stderr  # what the rival prints is no answer
    os.environ["KERAS_BACKEND"] = "tensorflow"  # an older clone leaves these to its gan.py
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    run = globals()[function](**json.loads(arguments))
    for line in sys.stdin:
        print(run(int(line)), file=answers, flush=True)


def measure(rivals, rounds, steps):
    """Returns {name: seconds per step [rounds]} of {name: Rival}. The rivals take turns."""
    seconds = {name: [] for name in rivals}
    for rival in rivals.values():
        rival.seconds_per_step(WARM_UP)
    for _ in range(rounds):
        for name, rival in rivals.items():
            seconds[name].append(rival.seconds_per_step(steps))
    for rival in rivals.values():
        rival.process.kill()
    return {name: np.array(values) for name, values in seconds.items()}


def start_rivals(data_path, presets, other, bfloat16, gpu):
    """Returns {name: Rival}. The first is ours."""
    rivals = {}
    for name in presets:
        rivals[name] = Rival(ROOT, "ours", name=name, data=data_path)
        if other:
            rivals[f"{name}, {other}"] = Rival(other, "ours", name=name, data=data_path)
    if presets:
        return rivals

    start = functools.partial(Rival, data=data_path, augment="", r1_weight=0.0)
    rivals["ours"] = start(ROOT, "ours")
    if other:
        rivals[f"ours, {other}"] = start(other, "ours")
    if bfloat16:
        rivals["ours, mixed_bfloat16"] = start(ROOT, "ours", precision="mixed_bfloat16")
    if gpu:
        rivals["ours, mixed_float16"] = start(ROOT, "ours", precision="mixed_float16")
        rivals["ours, without XLA"] = start(ROOT, "ours", jit_compile="off")
    rivals["the original's `train_on_batch` and `predict`"] = start(ROOT, "original")
    rivals["the step of keras.io's DCGAN, `fit`"] = start(ROOT, "keras_example")
    if importlib.util.find_spec("torch"):
        rivals["PyTorch, the step of its DCGAN example"] = start(ROOT, "pytorch")
    return rivals


# ---- the end of an epoch

def measure_epoch_end(data_path, rounds):
    """Returns {callback: seconds [rounds]} of what training waits for at the end of an epoch."""
    import gan
    import models
    args = preset("Args", {"data": data_path, "keep_every": 0})
    model = models.build(args)
    logs = dict.fromkeys(model.means, 1.0)
    for mean in model.means.values():
        mean.update_state(1.0)
    callbacks = [callback(args, pathlib.Path(data_path).parent) for callback in gan.CALLBACKS]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    seconds = {}
    for _ in range(WARM_UP + rounds):
        model.batch.assign_add(args.dump_every)
        for callback in callbacks:
            start = time.perf_counter()
            callback.on_epoch_end(0, logs)
            taken = time.perf_counter() - start
            seconds.setdefault(type(callback).__name__, []).append(taken)
    return {name: np.array(values[WARM_UP:]) for name, values in seconds.items()}


# ---- the report

def spread(values):
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def print_epoch_end(parts, step):
    """Prints what the end of an epoch takes, and its share of epochs of slow and fast batches.

    A GPU computes fast batches, and the samples too: their seconds are left out then.
    """
    import args as constants
    print("\n| at the end of an epoch | seconds |\n|---|---|")
    for name, values in parts.items():
        print(f"| {name} | {spread(values)} |")
    total = sum(parts.values())
    on_gpu = total - parts["GenerateSamples"]
    print(f"\nTogether {spread(total)} seconds. Share of the time, {constants.Args.dump_every} "
          "batches per epoch:\n")
    for seconds, end in ((step, total), (0.1, on_gpu), (0.01, on_gpu)):
        epoch = seconds * constants.Args.dump_every
        share = np.median(end / (epoch + end))
        print(f"- {1000 * seconds:.0f} ms a batch: {share:.1%}")


def main(rounds=30, steps=2, presets="", other="", bfloat16=0, gpu=0):
    if not int(gpu):
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    sys.path.insert(0, str(ROOT))
    from models.toys import faces
    with tempfile.TemporaryDirectory() as folder:
        data_path = f"{folder}/data.hdf5"
        with h5py.File(data_path, "w") as file:
            file["faces"], factors = faces.sample(640)
            file["labels"] = np.int32(factors[:, 0])
            file["label_names"] = [name.encode() for name in faces.FACTORS["hair_color"]]
        chosen = presets.split(",") if presets else []
        rivals = start_rivals(data_path, chosen, other, int(bfloat16), int(gpu))
        seconds = measure(rivals, int(rounds), int(steps))
        first = next(iter(rivals))
        print(f"{os.cpu_count()} cores, {rounds} rounds of {steps} steps\n")
        print(f"| rival | seconds per step | divided by {first} |\n|---|---|---|")
        for name, values in seconds.items():
            print(f"| {name} | {np.median(values):.4g} | {spread(values / seconds[first])} |")

        if not presets:
            step = np.median(seconds[first])
            print_epoch_end(measure_epoch_end(data_path, min(int(rounds), 5)), step)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
