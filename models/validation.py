"""Validates a configuration: unknown values and incompatible constants raise.

Nothing here imports TensorFlow or Keras, so that a mistake is reported at once.
"""

# The constants of CartoonGAN's generator and its losses, with their defaults.
CARTOONGAN_ONLY = {
    "u_net": False,
    "content_weight": 10.0,
    "content_features": "vgg19",
    "style_weight": 0.0,
    "style_features": "vgg19",
    "color_weight": 0.0,
    "variation_weight": 0.0,
    "restoration_weight": 0.0,
}

# {network: {constant that it does not support: the only value that is allowed}}
# The failure watch recommends none of them.
UNSUPPORTED = {
    "dcgan": CARTOONGAN_ONLY,
    "keras_example": {
        "conditional": False,
        "generator_extra_filters": (),
        "downsampling": "stride",
        "upsampling": "transpose",
        "use_bias": True,
        "batch_norm": "none",
        "kernel_initializer": "glorot_uniform",
        "g_dropout": 0.0,
        "minibatch_kernels": 0,
        "spectral_norm": False,
        **CARTOONGAN_ONLY,
    },
    "even": {
        "conditional": False,
        "flip": False,
        "generator_extra_filters": (),
        "kernel_size": 4,
        "downsampling": "stride",
        "upsampling": "transpose",
        "use_bias": True,
        "batch_norm": "none",
        "kernel_initializer": "glorot_uniform",
        "g_dropout": 0.0,
        "d_dropout": 0.0,
        "minibatch_kernels": 0,
        "spectral_norm": False,
        **CARTOONGAN_ONLY,
        "augment": "",
    },
    "cartoongan": {
        "conditional": False,
        "generator_extra_filters": (),
        "downsampling": "stride",
        "use_bias": True,
        "batch_norm": "none",
        "g_dropout": 0.0,
        "minibatch_kernels": 0,
        "replay_size": 0,
        "feature_matching": 0.0,
        "gradient_penalty": 0.0,
        "r1_weight": 0.0,
    },
}

# {constant: the values it may have}
CHOICES = {
    "crop": ("center", "squash"),
    "network": tuple(UNSUPPORTED),
    "latent": ("normal", "uniform", "binary"),
    "downsampling": ("stride", "average", "max"),
    "upsampling": ("transpose", "pixel_shuffle", "nearest", "bilinear"),
    "batch_norm": ("both", "generator", "discriminator", "none"),
    "kernel_initializer": (
        "normal", "random_normal", "random_uniform", "truncated_normal",
        "glorot_uniform", "glorot_normal", "he_uniform", "he_normal",
        "lecun_uniform", "lecun_normal", "orthogonal"),
    "loss": ("cross_entropy", "least_squares", "hinge", "wasserstein"),
    "g_objective": ("non_saturating", "saturating"),
    "d_updates": ("joint", "apart"),
    "d_optimizer": ("adam", "sgd"),
    "g_optimizer": ("adam", "sgd"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "jit_compile": ("auto", "on", "off"),
}

# {network: the layers that `content_features` and `style_features` mean if they name none}
FEATURE_LAYERS = {
    "vgg19": ("block4_conv4",),                # [Chen 2018 s3.2.2]
    "random": ("scale1", "scale2", "scale4"),  # all of its layers
}
AUGMENT_POLICIES = ("color", "translation", "cutout")  # [Zhao 2020]
LARGE_R1 = 0.5  # with batch norm in D, D hardly learns from here on; 0.1 works [measured]
MAX_BITS = 32  # of a number, with network=even [guess]


def validate(args):
    """Validates a configuration.

    Args:
        args: the constants, a class.

    Raises:
        ValueError: on an unknown value, on incompatible constants, and on a constant that `network`
            does not support.
    """
    _validate_choices(args)
    _validate_network(args)
    _validate_losses(args)
    _validate_targets(args)
    _validate_replay(args)
    _validate_swaps(args)
    _validate_checkpoint(args)
    augment_policies(args.augment)


def warnings(args):
    """Returns warnings about what is allowed but seldom intended.

    Args:
        args: the constants, a class.

    Returns:
        A list of one-line strings.
    """
    messages = []
    d_has_batch_norm = args.batch_norm in ("both", "discriminator")
    if args.gradient_penalty and d_has_batch_norm:
        messages.append(
            f"`gradient_penalty` with batch_norm={args.batch_norm}: the gradient of D at one image "
            "then depends on the other images of the batch. With batch_norm=generator it does not.")
    if args.r1_weight >= LARGE_R1 and d_has_batch_norm:
        messages.append(
            f"r1_weight={args.r1_weight:g} with batch_norm={args.batch_norm}: D may learn too "
            "little, as its gradient at one image also depends on the other images of the batch. "
            "Weights of 0.02 to 0.1 work, and with batch_norm=generator larger ones.")
    if args.minibatch_kernels:
        penalties = []
        if args.gradient_penalty:
            penalties.append("gradient_penalty")
        if args.r1_weight >= LARGE_R1:
            penalties.append("r1_weight")
        for penalty in penalties:
            messages.append(
                f"`{penalty}` with minibatch_kernels={args.minibatch_kernels}: the gradient of D "
                "at one image then depends on the other images of the batch. With "
                "minibatch_kernels=0 it does not.")
    if args.loss in ("hinge", "wasserstein"):
        messages.append(
            f"loss={args.loss} has no targets: `real_labels`, `fake_labels` and `g_labels` are not "
            "used.")
    if args.loss != "cross_entropy":
        messages.append(
            f"loss={args.loss}: the failure watch knows healthy ranges of the losses for "
            "cross_entropy alone, and does not check those of this run.")
    return messages


def augment_policies(text):
    """Splits the constant `augment`, such as "color,translation", into the names of policies.

    Args:
        text: names separated by commas; "" for none.

    Returns:
        A list of names out of `AUGMENT_POLICIES`, in the order given.

    Raises:
        ValueError: on an unknown name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in AUGMENT_POLICIES:
            raise ValueError(
                f"`augment` must be names out of {', '.join(AUGMENT_POLICIES)}, separated by "
                f"commas. Received: augment={text}")
    return names


def feature_layers(name, text):
    """Splits `content_features` or `style_features`, such as "vgg19:block1_conv1,block2_conv1".

    Args:
        name: of the constant, for the error.
        text: "vgg19", "random" or a .keras file, then a colon and names of layers separated by
            commas. `FEATURE_LAYERS` has the layers that are meant if none are named.

    Returns:
        The network, a string, and a list of names of layers.

    Raises:
        ValueError: on an unknown network, or a file without layers.
    """
    network, _, listed = text.rpartition(":")
    if not network:
        network, listed = text, ""
    layers = [layer.strip() for layer in listed.split(",") if layer.strip()]
    if not layers:
        layers = list(FEATURE_LAYERS.get(network, ()))
    is_known = network in FEATURE_LAYERS or network.endswith(".keras")
    if not layers or not is_known:
        raise ValueError(
            f"`{name}` must be vgg19, random, or a .keras file and names of its layers, as in "
            f"file.keras:layer,layer. Received: {name}={text}")
    return network, layers


def _incompatible(args, first, second, reason, remedy):
    """Returns the exception for two constants that cannot be combined."""
    return ValueError(
        f"`{first}` is incompatible with `{second}`: {reason}. {remedy}. "
        f"Received: {first}={getattr(args, first)!r}, {second}={getattr(args, second)!r}")


def _validate_choices(args):
    for name, choices in CHOICES.items():
        value = getattr(args, name)
        if value not in choices:
            raise ValueError(
                f"`{name}` must be one of {', '.join(choices)}. Received: {name}={value}")


def _validate_network(args):
    """Checks what the builders of `network` need."""
    for name in ("generator_filters", "discriminator_filters"):
        if not getattr(args, name):
            raise ValueError(f"`{name}` must have at least one value. Received: {name}=()")
    if args.network == "cartoongan" and not args.photos:
        raise _incompatible(
            args, "network", "photos", "a CartoonGAN learns from photos",
            "Set photos to a glob of photos")
    if args.photos and args.network != "cartoongan":
        raise _incompatible(
            args, "network", "photos", "only a CartoonGAN learns from photos",
            "Set network=cartoongan, or photos to an empty string")
    for name, value in UNSUPPORTED[args.network].items():
        received = getattr(args, name)
        if received != value:
            raise ValueError(
                f"`{name}` must be {value!r} with network={args.network}, which does not support "
                f"other values. Received: {name}={received!r}")
    if args.network == "even":
        _validate_even(args)
    else:
        _validate_image_shape(args)
    if args.network == "cartoongan":
        for name in ("content_features", "style_features"):
            feature_layers(name, getattr(args, name))


def _validate_image_shape(args):
    """Checks the rows and columns against the strides of G, and the number of channels."""
    rows, columns, channels = args.image_shape
    strides = len(args.generator_filters)
    allowed_channels = (1, 3)
    if args.network == "cartoongan":
        strides -= 1  # the first filters are those of a layer without a stride
        allowed_channels = (3,)
    multiple = 2 ** strides
    if rows % multiple or columns % multiple:
        raise ValueError(
            f"`image_shape` must have rows and columns that are multiples of {multiple} with "
            f"generator_filters={args.generator_filters}: every stride doubles them. "
            f"Received: image_shape={args.image_shape}")
    if channels not in allowed_channels:
        expected = " or ".join(str(number) for number in allowed_channels)
        raise ValueError(
            f"`image_shape` must have {expected} channels with network={args.network}. "
            f"Received: image_shape={args.image_shape}")


def _validate_even(args):
    rows, columns, channels = args.image_shape
    if rows != 1 or channels != 1 or columns > MAX_BITS:
        raise ValueError(
            f"`image_shape` must be (1, bits, 1) with network=even, with at most {MAX_BITS} bits. "
            f"Received: image_shape={args.image_shape}")


def _validate_losses(args):
    """Checks the loss, the objective of G, penalties and norms of D."""
    d_has_batch_norm = args.batch_norm in ("both", "discriminator")
    if args.loss == "wasserstein" and not args.gradient_penalty and not args.spectral_norm:
        raise _incompatible(
            args, "loss", "gradient_penalty",
            "without a bound on the gradient of D this loss decreases without end",
            "Set gradient_penalty=10.0 and batch_norm=generator")
    if args.spectral_norm and d_has_batch_norm:
        raise _incompatible(
            args, "spectral_norm", "batch_norm",
            "batch norm in D undoes the normalization of the layer before it",
            "Set batch_norm=generator")
    if args.gradient_penalty and args.d_updates == "apart":
        raise _incompatible(
            args, "gradient_penalty", "d_updates",
            "the penalty needs real and fake images in the same update",
            "Set d_updates=joint")
    if args.g_objective == "saturating" and args.loss != "cross_entropy":
        raise _incompatible(
            args, "g_objective", "loss", "only the cross-entropy has a saturating objective",
            "Set g_objective=non_saturating")
    if args.g_objective == "saturating" and args.g_labels != (1.0, 1.0):
        raise _incompatible(
            args, "g_objective", "g_labels", "the saturating objective has no targets",
            "Set g_labels=(1.0,1.0)")
    if args.label_flip and args.loss in ("hinge", "wasserstein"):
        raise _incompatible(
            args, "label_flip", "loss", "this loss has no targets that could be flipped",
            "Set label_flip=0.0")


def _validate_targets(args):
    for name in ("real_labels", "fake_labels", "g_labels"):
        low, high = getattr(args, name)
        mean = (low + high) / 2
        if low > high or not 0 <= mean <= 1:
            raise ValueError(
                f"`{name}` must be (low, high) with a mean in [0, 1]. "
                f"Received: {name}={(low, high)}")
    if sum(args.real_labels) <= sum(args.fake_labels):
        raise _incompatible(
            args, "real_labels", "fake_labels", "targets of real images must be the higher ones",
            "Set real_labels above fake_labels")


def _validate_replay(args):
    if args.replay_size and not args.replay_fraction:
        raise _incompatible(
            args, "replay_size", "replay_fraction", "no image of the replay buffer would be used",
            "Set replay_fraction above 0.0, or replay_size=0")
    if 0 < args.replay_size < args.batch_size:
        raise _incompatible(
            args, "replay_size", "batch_size", "the replay buffer must hold at least one batch",
            "Set replay_size to at least batch_size, or to 0")


def _validate_swaps(args):
    if not args.swap_every:
        return
    if not 0 < args.swap_for < args.dump_every:
        raise _incompatible(
            args, "swap_for", "dump_every",
            "the current weights must be restored before the next dump",
            "Set swap_for to at least 1 and below dump_every")
    if args.swap_for >= args.swap_every:
        raise _incompatible(
            args, "swap_for", "swap_every",
            "the current weights must be restored before the next swap",
            "Set swap_for below swap_every")
    if args.g_step_moves_d:
        raise _incompatible(
            args, "swap_every", "g_step_moves_d",
            "a discriminator that was swapped in is frozen, but G's step would train it",
            "Set g_step_moves_d=False")


def _validate_checkpoint(args):
    if args.checkpoint not in ("newest", "best") and not args.checkpoint.isdecimal():
        raise ValueError(
            "`checkpoint` must be newest, best or the number of a batch, such as 5000. "
            f"Received: checkpoint={args.checkpoint}")
