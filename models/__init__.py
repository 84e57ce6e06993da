"""Builds the networks and training steps that the constants name.

Keras is imported by the functions, so that data.py, which imports models.toys, starts fast. What
Keras, TensorFlow and HDF5 read from the environment when they are imported is set here.

A new network is a module with three builders, such as keras_example.py. It is named in `_networks`
below, in `CHOICES` and, with the constants it ignores, in `IGNORED` of args.py.
"""
import contextlib
import os
import sys
import tempfile

import args as constants

QUIET = "3"  # TensorFlow's own messages are hidden; errors are exceptions
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")      # some file systems have no locks
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", QUIET)         # 0 shows all messages
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")   # take GPU memory only as needed
# TensorFlow leaves oneDNN off on CPUs without AVX-512. On an AVX2 CPU a step of the default
# networks took 4.6 seconds without it and 1.9 with it [measured: tests/bench/bench_step.py].
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def import_keras():
    """Imports Keras without TensorFlow's start-up messages, and returns the module."""
    with _hidden_stderr():
        import keras
    return keras


@contextlib.contextmanager
def _hidden_stderr():
    """Hides what is written to stderr within the block, unless it raises.

    While it is loaded, TensorFlow 2.21 ignores TF_CPP_MIN_LOG_LEVEL. Its C++ code does not use
    `sys.stderr`, so the file descriptor itself is redirected.
    """
    is_wanted = os.environ["TF_CPP_MIN_LOG_LEVEL"] != QUIET
    if is_wanted or "keras" in sys.modules:
        yield
        return
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def build(args, classes=0):
    """Builds the GAN of `args`, compiled, with initial weights that depend on `args.seed`.

    Args:
        args: the constants, a class of args.py.
        classes: number of classes if `conditional`, else 0.

    Returns:
        An `adversarial.GAN`, a keras.Model.

    Raises:
        ValueError: if the constants are invalid, see `args.check`.
    """
    constants.check(args)
    keras = import_keras()
    from models import cartoon, originals
    from models.adversarial import GAN
    from models.aided import AidedGAN

    keras.utils.set_random_seed(args.seed)
    networks = _networks(args)
    with _precision(args):
        generator = networks.build_generator(args, classes)
        discriminator = networks.build_discriminator(args, classes)
        if args.network == "cartoon":
            gan = cartoon.CartoonGAN(args, generator, discriminator)
        elif args.d_updates == "apart":
            gan = originals.Forcecore(args, generator, discriminator, classes)
        elif args.warmup_batches:
            gan = originals.WarmUp(args, generator, discriminator, classes)
        elif args.d_features:
            gan = AidedGAN(args, generator, discriminator, classes)
        else:
            gan = GAN(args, generator, discriminator, classes)
    gan.compile(
        d_optimizer=_optimizer(args, args.d_optimizer, args.d_learning_rate, args.beta_1),
        g_optimizer=_optimizer(args, args.g_optimizer, args.g_learning_rate, args.beta_1,
                               args.g_clip_norm),
        jit_compile=_jit_compile(args),
    )
    return gan


def build_sampler(args, classes=0):
    """Builds the generator of `args` alone, to load weights into and to sample from.

    Args and Raises: see `build`.

    Returns:
        A `sampler.Sampler`.
    """
    constants.check(args)
    keras = import_keras()
    from models.sampler import Sampler

    keras.utils.set_random_seed(args.seed)  # of dropout that is active when sampling
    with _precision(args):
        return Sampler(args, _networks(args).build_generator(args, classes), classes)


def build_pretraining(args, classes=0):
    """Builds the pretraining of the generator of `args`, compiled [forcecore 3; cartoon 1].

    Args and Raises: see `build`.

    Returns:
        An `autoencoder.Autoencoder`, a keras.Model.
    """
    constants.check(args)
    keras = import_keras()
    from models import cartoon
    from models.autoencoder import Autoencoder

    keras.utils.set_random_seed(args.seed)
    networks = _networks(args)
    with _precision(args):
        if args.network == "cartoon":
            pretraining = cartoon.PhotoPretraining(args, networks.build_generator(args))
        else:
            encoder = networks.build_encoder(args, classes)
            generator = networks.build_generator(args, classes)
            pretraining = Autoencoder(args, encoder, generator)
    # Keras' default beta_1 of 0.9: an autoencoder does not oscillate as a GAN does.
    optimizer = _optimizer(args, "adam", args.pretrain_learning_rate, beta_1=0.9,
                           clip_norm=args.g_clip_norm)
    pretraining.compile(optimizer, jit_compile=_jit_compile(args))
    return pretraining


def _networks(args):
    """Returns the module of models/ that builds the networks named by `network`."""
    from models import cartoon, dcgan, even, keras_example

    networks = {
        "dcgan": dcgan,
        "keras_example": keras_example,
        "even": even,
        "cartoon": cartoon,
    }
    return networks[args.network]


@contextlib.contextmanager
def _precision(args):
    """Within the block, new layers compute in `args.precision`. Their weights stay float32."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(args.precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _optimizer(args, kind, learning_rate, beta_1, clip_norm=0.0):
    """Returns an optimizer. In float16 it scales losses, as small gradients would be 0."""
    import keras

    from models import devices

    if clip_norm:
        # `devices.apply` divides the gradients by this number before each device's optimizer clips.
        clip_norm /= devices.count()
    else:
        clip_norm = None  # Keras' way to turn it off
    if kind == "sgd":
        optimizer = keras.optimizers.SGD(learning_rate, global_clipnorm=clip_norm)
    else:
        optimizer = keras.optimizers.Adam(learning_rate, beta_1, global_clipnorm=clip_norm)
    if args.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _jit_compile(args):
    """Returns the `jit_compile` argument of Keras' `compile`."""
    return {"auto": "auto", "on": True, "off": False}[args.jit_compile]
