"""Maths: tensors in, tensors out. Nothing here opens a file, reads a clock, prints, or knows a global Args."""
import contextlib
import importlib

# `network` -> the module with check, build_generator, build_discriminator, build_encoder; where it doesn't know some of
# the constants, with FIXED, their values; where the game or the pretraining is another than the GAN and the
# Autoencoder, with those classes, Game and Pretraining.
NETWORKS = {"dcgan": "models.dcgan", "keras_example": "models.baselines", "even": "models.even",
            "cartoon": "models.cartoon"}

CHOICES = {
    "network": tuple(NETWORKS), "latent": ("normal", "uniform", "binary"),
    "batch_norm": ("both", "generator", "discriminator", "none"),
    "downsampling": ("stride", "average", "max"), "upsampling": ("transpose", "pixel_shuffle", "nearest", "bilinear"),
    "loss": ("cross_entropy", "least_squares", "hinge", "wasserstein"),
    "g_objective": ("non_saturating", "saturating"), "d_updates": ("joint", "apart"),
    "d_optimizer": ("adam", "sgd"), "g_optimizer": ("adam", "sgd"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"), "jit_compile": ("auto", "on", "off"),
}


def check(args):
    """Refuses what can't be meant: an unknown choice, and constants that can't go together.

    Raises:
        ValueError: names the constants, what was received, and what to do.
    """
    for name, choices in CHOICES.items():
        if getattr(args, name) not in choices:
            raise ValueError(f"`{name}` must be one of {', '.join(choices)}. Received: {name}={getattr(args, name)}")

    def refuse(why, *names):
        received = ", ".join(f"{name}={getattr(args, name)!r}" for name in names)
        raise ValueError(f"{' and '.join(f'`{name}`' for name in names)} can't go together so: {why}. "
                         f"Received: {received}")

    for penalty in ("gradient_penalty", "r1_weight"):
        if getattr(args, penalty) and args.batch_norm in ("both", "discriminator"):
            refuse("the penalty is on D's slope at each image alone, which batch norm in D mixes with those of the "
                   "others. Set batch_norm=generator", penalty, "batch_norm")
        if getattr(args, penalty) and args.minibatch_kernels:
            refuse("the penalty is on D's slope at each image alone, and minibatch discrimination looks at all. Set "
                   "one of them to 0", penalty, "minibatch_kernels")
    if args.loss == "wasserstein" and not (args.gradient_penalty or args.spectral_norm):
        refuse("without a bound on its slope this loss of D grows for ever. Set gradient_penalty=10.0 and "
               "batch_norm=generator",
               "loss", "gradient_penalty")
    if args.spectral_norm and args.batch_norm in ("both", "discriminator"):
        refuse("batch norm in D undoes what spectral norm does to the layer before it. Set batch_norm=generator",
               "spectral_norm", "batch_norm")
    if args.gradient_penalty and args.d_updates == "apart":
        refuse("the penalty needs real and fake images in one update. Set d_updates=joint", "gradient_penalty",
               "d_updates")
    if args.g_objective == "saturating" and args.loss != "cross_entropy":
        refuse("only the cross-entropy has a saturating objective. Set g_objective=non_saturating", "g_objective",
               "loss")
    if args.g_objective == "saturating" and args.g_labels != (1.0, 1.0):
        refuse("the saturating objective has no labels. Set g_labels=(1.0,1.0)", "g_objective", "g_labels")
    if args.label_flip and args.loss in ("hinge", "wasserstein"):
        refuse("this loss has no labels. Set label_flip=0.0", "label_flip", "loss")
    for name in ("real_labels", "fake_labels", "g_labels"):
        low, high = getattr(args, name)
        if low > high or not 0 <= (low + high) / 2 <= 1:
            raise ValueError(f"`{name}` must be (low, high), with a mean in [0, 1]. Received: {name}={(low, high)}")
    if sum(args.real_labels) <= sum(args.fake_labels):
        refuse("real images must be told the higher labels", "real_labels", "fake_labels")
    if args.replay_size and not args.replay_fraction:
        refuse("a memory of old fakes of which none is shown. Set `replay_fraction` above 0", "replay_size",
               "replay_fraction")
    if 0 < args.replay_size < args.batch_size:
        refuse("the memory must hold a batch at least", "replay_size", "batch_size")
    if args.swap_every and not 0 < args.swap_for < args.dump_every:
        refuse("the own weights must be back before the next dump. Set `swap_for` to at least 1 and below `dump_every`",
               "swap_for", "dump_every")
    if args.swap_every and args.swap_for >= args.swap_every:
        refuse("the own weights must be back before the next swap. Set `swap_for` below `swap_every`", "swap_for",
               "swap_every")
    if args.swap_every and args.g_step_moves_d:
        refuse("a swapped-in D is frozen, and this one would learn in G's step. Set g_step_moves_d=False", "swap_every",
               "g_step_moves_d")
    for name in "generator_filters", "discriminator_filters":
        if not getattr(args, name):
            raise ValueError(f"`{name}` must name a layer at least. Received: {name}=()")
    if bool(args.photos) != (args.network == "cartoon"):
        refuse("G turns photos into images where both are set. Set photos to a glob and network=cartoon, or neither",
               "network", "photos")
    if args.augment:
        from models import augment
        augment.policies(args.augment)
    for name, value in getattr(network(args), "FIXED", {}).items():
        if getattr(args, name) != value:
            raise ValueError(f"`{name}` must be {value!r} for the networks of network={args.network}. "
                             f"Received: {name}={getattr(args, name)!r}")
    network(args).check(args)


def network(args):
    """Returns the module that builds the networks named by `args.network`."""
    return importlib.import_module(NETWORKS[args.network])


@contextlib.contextmanager
def _precision(args):
    """In it layers are built that compute in `precision`; their weights are float32."""
    import keras
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(args.precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _scaling(args, optimizer):
    """Returns the optimizer, in float16 one of scaled losses, whose small gradients would be 0 [Micikevicius 2018]."""
    import keras
    return keras.optimizers.LossScaleOptimizer(optimizer) if args.precision == "mixed_float16" else optimizer


def _jit_compile(args):
    """Returns what Keras' compile takes: XLA, or none; "auto" is XLA on a single GPU where all layers allow it."""
    if args.upsampling == "bilinear" and args.precision == "mixed_float16":  # fails under XLA [keras issue 20931]
        return args.jit_compile == "on"
    return {"auto": "auto", "on": True, "off": False}[args.jit_compile]


def build(args, classes=0):
    """Builds the GAN of `args`, compiled, its weights drawn by `args.seed`. Nothing heavy is imported until then.

    Args:
        args: the constants, a class.
        classes: how many there are, where it is `conditional`.

    Raises:
        ValueError: where constants can't go together, see `check`.
    """
    import keras
    from models.adversarial import GAN
    check(args)
    keras.utils.set_random_seed(args.seed)

    def optimizer(kind, learning_rate):
        return _scaling(args, keras.optimizers.SGD(learning_rate) if kind == "sgd"
                        else keras.optimizers.Adam(learning_rate, beta_1=args.beta_1))

    with _precision(args):
        gan = getattr(network(args), "Game", GAN)(args, network(args), classes)
    gan.compile(optimizer(args.d_optimizer, args.d_learning_rate), optimizer(args.g_optimizer, args.g_learning_rate),
                _jit_compile(args))
    return gan


def build_pretraining(args, classes=0):
    """Builds what trains the generator of `args` alone, compiled [forcecore gan.py; cartoon 1]."""
    import keras
    from models.autoencoder import Autoencoder
    check(args)
    keras.utils.set_random_seed(args.seed)
    with _precision(args):
        pretraining = getattr(network(args), "Pretraining", Autoencoder)(args, network(args), classes)
    pretraining.compile(_scaling(args, keras.optimizers.Adam(args.pretrain_learning_rate)), _jit_compile(args))
    return pretraining
