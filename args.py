"""Values: every constant of a run, and where it comes from.

Edit a constant here and run `python gan.py`; or, for a quick variation, `python gan.py ToyFaces batches=500`.
A preset is a subclass that states only what differs. Functions take the class itself: `train_gan(ToyFaces)`.

Origins: [Radford 2015] arXiv:1511.06434, [Salimans 2016] arXiv:1606.03498, [Karras 2018] arXiv:1710.10196,
[Zhao 2020] arXiv:2006.10738, [Mescheder 2018] arXiv:1801.04406, [Gulrajani 2017] arXiv:1704.00028,
[Miyato 2018] arXiv:1802.05957, [Odena 2017] arXiv:1610.09585, [Chen 2018] CartoonGAN, CVPR 2018,
[forcecore] Keras-GAN-Animeface-Character, [ganhacks N] tip N of soumith/ganhacks, [scratch] Learn GAN from Scratch,
[kmualim] DCGAN-MNIST-Keras, [cartoon] training_CartoonGAN, [pytorch] pytorch/examples dcgan, [keras.io] its DCGAN,
[measured] in README, [guess] nobody can justify it.
"""
import ast
import difflib

# Where both are as they stand here and nothing is there, gan.py trains on toy faces instead of failing.
DEFAULT_IMAGES = "animeface-character-dataset/thumb/*/*"
DEFAULT_DATA = "data.hdf5"


def constants(args):
    """Returns {name: value} of every constant of `args`, a class; a preset's own value wins."""
    return {name: value for cls in reversed(args.__mro__) for name, value in vars(cls).items()
            if not name.startswith("__") and cls is not object}


# Numbers that must be at least 1. None may be negative.
POSITIVE = {"image_shape", "latent_dim", "generator_filters", "generator_extra_filters", "discriminator_filters",
            "kernel_size", "batch_size", "dump_every", "grid", "keep_snapshots", "watch_batches", "watch_trend"}


# Probabilities and shares: none may be more than 1; and those which 1 would stop altogether.
AT_MOST_1 = {"label_flip", "replay_fraction"}
BELOW_1 = {"held_out", "g_dropout", "d_dropout", "beta_1", "ema_decay", "bn_momentum"}


def changes(args):
    """Returns {name: value} of the constants that `args` sets beyond those of Args itself."""
    above = args.__mro__[:args.__mro__.index(Args)]
    return {name: value for cls in reversed(above) for name, value in vars(cls).items() if not name.startswith("__")}


def _same_kind(value, default):
    """Tells whether `value` may stand where `default` stood: the same type, an int for a float, tuples by element."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(_same_kind(item, default[0]) for item in value)
    if type(default) is float:
        return type(value) in (int, float)
    return type(value) is type(default)


class Args:
    """Anime faces, 64x64, on one machine: the constants of `python gan.py`."""

    # ---- data
    images = DEFAULT_IMAGES       # a glob, IDX files, or an embedded dataset: toyfaces, mnist, even [forcecore data.py]
    photos = ""                   # a glob of photos, where G turns them into images like `images` [cartoon 5]
    max_int = 128                 # the largest of images=even, whose numbers fit into the columns [scratch 6]
    data = DEFAULT_DATA           # what data.py writes and gan.py reads [forcecore data.py]; a glob reads several files
    image_shape = (64, 64, 3)     # rows, columns, channels: 1 or 3 [Radford 2015 s4]
    crop = "center"               # center: cut to shape; squash: resize without cutting [forcecore data.py squashes]
    dataset_size = 0              # images to use, 0 = all: data.py draws them by `seed`, of `data` the first are taken
    conditional = False           # G draws, and D names, the label of an image: its folder's name [ganhacks 12]
    held_out = 0.1                # share of the images that training never sees, always the same: for scores [guess]
    flip = True                   # mirror every second image: faces have no handedness [guess]

    # ---- networks
    network = "dcgan"             # a module of models/, see models.NETWORKS
    latent_dim = 100              # length of z [Radford 2015 s4]
    latent = "normal"             # z is normal [ganhacks 3], uniform [Radford 2015 s4] or binary [forcecore gan.py]
    generator_filters = (512, 256, 128, 64)      # 4x4, 8x8, 16x16, 32x32 [forcecore nets.py]
    generator_extra_filters = (64,)              # 3x3 convolutions before the last upsampling; () = none [forcecore]
    discriminator_filters = (64, 128, 256, 512)  # 32x32, 16x16, 8x8, 4x4 [forcecore nets.py]
    kernel_size = 4               # a multiple of the stride 2, against checkerboards [forcecore]; 3, 5 [kmualim 3-4]
    downsampling = "stride"       # stride [Radford 2015 s3], average [ganhacks 5], or max, for comparison
    upsampling = "transpose"      # transpose [Radford 2015], pixel_shuffle [ganhacks 5], nearest, bilinear [cartoon 3]
    g_leaky_slope = 0.2           # 0.0 = ReLU, the paper's choice for G [forcecore args.py; ganhacks 5]
    d_leaky_slope = 0.2           # [Radford 2015 s4]
    use_bias = True               # batch norm makes most of them idle; False [pytorch]
    batch_norm = "both"           # in both [Radford 2015 s3], in one: generator or discriminator, or in none
    bn_momentum = 0.8             # of the moving mean and variance, which only single samples rest on [guess]
    bn_epsilon = 1e-3             # Keras' own; 1e-5 [pytorch]
    kernel_initializer = "normal"  # N(0, 0.02) [Radford 2015 s4]; Keras' [kmualim 8], as glorot_uniform [forcecore]
    g_dropout = 0.0               # after each of G's activations, and when it draws too; 0.5 [ganhacks 17]
    d_dropout = 0.0               # after each of D's activations; 0.3 to 0.6 [kmualim 6]
    minibatch_kernels = 0         # of minibatch discrimination in D, 0 = off; 100 [Salimans 2016 s3.2; scratch 3]
    spectral_norm = False         # of D's layers [Miyato 2018]

    # ---- the game
    loss = "cross_entropy"        # cross_entropy [Goodfellow 2014], least_squares, hinge, wasserstein: models/losses.py
    g_objective = "non_saturating"  # G maximizes log D(G(z)), or, saturating, minimizes log(1 - D(G(z))) [ganhacks 2]
    d_updates = "joint"           # one on the mean of real and fake [scratch 1]; apart: one each [forcecore gan.py]
    g_step_moves_d = False        # the original's defect: its D learns in G's step too, that fakes are real [forcecore]
    warmup_batches = 0            # in which D learns alone: 0 [kmualim 2], 20 [forcecore gan.py], 100 [forcecore]
    augment = "color,translation,cutout"  # of all that D sees; "" = off [Zhao 2020; measured: the best single tip]
    instance_noise = 0.0          # deviation of the noise on what D sees, images being in [-1, 1] [kmualim 1]
    instance_noise_batches = 0    # batches in which it fades to none [ganhacks 13]; 0 = never
    replay_size = 0               # old fakes in memory, the oldest leave, 0 = off [ganhacks 8]
    replay_fraction = 0.5         # of the fakes that D sees are old ones [Shrivastava 2017]
    swap_every = 0                # batches between swaps of G or D for an older snapshot of it, 0 = off [ganhacks 8]
    swap_for = 5                  # batches which the swapped one stays, frozen: "a few iterations" [ganhacks 8]
    feature_matching = 0.0        # weight of it in G's loss, 0.0 = off; 100.0 makes its gradient about as long as the
    #                               other's [Salimans 2016 s3.1; scratch 3; measured: 0.1 to 17 at batch 1,000]
    gradient_penalty = 0.0        # weight of it in D's loss, 0.0 = off; 10.0 [Gulrajani 2017]
    r1_weight = 0.0               # weight of it in D's loss, 0.0 = off; 10.0 [Mescheder 2018]
    content_weight = 10.0         # of the content that a cartoon must keep of its photo, in G's loss [Chen 2018 s3.2.2]
    content_features = "vgg19"    # what sees content: vgg19, block4_conv4, downloaded [Chen 2018]; or file.keras:layer

    # ---- what D is told by cross_entropy and least_squares: each label is drawn uniformly from (low, high)
    real_labels = (0.9, 0.9)      # one-sided smoothing [Salimans 2016 s3.4; scratch 4]; (0.9, 1.0) [forcecore]
    fake_labels = (0.0, 0.0)      # (0.0, 0.1) [forcecore]; (0.0, 0.3) [ganhacks 6]
    g_labels = (1.0, 1.0)         # what G wants to hear of its fakes [Goodfellow 2014]; (0.9, 1.0) [forcecore gan.py]
    label_flip = 0.0              # probability that an image is told the other kind's label [ganhacks 6; cartoon 2]

    # ---- optimizers
    batch_size = 64               # images; half of the paper's, for laptops [pytorch]
    d_optimizer = "adam"          # adam, or sgd, plain, which needs a far higher rate, such as 0.02 [ganhacks 9; guess]
    g_optimizer = "adam"          # [Radford 2015 s4]
    d_learning_rate = 4e-4        # of Adam [scratch 5; measured, for both and with augment]; 2e-4 [Radford 2015 s4]
    g_learning_rate = 4e-4        # of Adam [measured]; 2e-4 [Radford 2015 s4], 1e-4 [forcecore; scratch 5]
    beta_1 = 0.5                  # of Adam; 0.9 oscillates [Radford 2015 s4; forcecore args.py]
    ema_decay = 0.995             # of the averaged generator that draws the samples; 0.0 = off [Karras 2018 s6]

    # ---- the run
    name = "anime64"              # the run's folder: runs/<name>
    seed = 0                      # of the weights, z, labels, flips and the order of the images
    pretrain_batches = 0          # of the generator as an autoencoder's decoder, 0 = skip; 200 [forcecore gan.py]
    pretrain_learning_rate = 1e-3  # Adam [forcecore gan.py]
    precision = "float32"         # mixed_bfloat16: a third faster where the processor has it [measured]; mixed_float16
    jit_compile = "auto"          # XLA: on, off, or, as Keras decides, on where there is a GPU; it draws other numbers
    batches = 10000               # of the game in all, 0 = skip; good faces by 1,500, better ones by 10,000 [forcecore]
    dump_every = 50               # batches between grids, snapshots, rows of loss.csv; 10 [forcecore gan.py]
    grid = (4, 8)                 # rows and columns of a sample grid: 32 faces are 300 kB; (4, 4) [forcecore gan.py]
    keep_snapshots = 10           # the newest that stay [forcecore gan.py]
    archive_every = 1000          # batches between snapshots that stay for good, 0 = none [guess]
    weights = ""                  # a snapshot folder to start from, such as runs/anime64/weights/004000; "" = afresh
    generate_count = 0            # images to draw after training, 0 = skip
    evaluate_count = 0            # images to score each snapshot with, 0 = skip; README's scores are of 3,000
    features = "inception"        # the network whose features are compared: inception, which is downloaded, a .keras
    #                               file, or classifier, which is trained on the labels of `data`, see models/metrics.py
    generate_from = ""            # a glob of images, of any size, to turn into others, where `photos` is set
    generate_class = ""           # the label to draw, where it is `conditional`; "" = each in its turn

    # ---- health: what the watch warns of, see callbacks.FailureWatch; the zones of losses are those of cross_entropy
    watch_batches = 100           # over which it takes medians: single batches say little [guess]
    watch_d_loss = 0.02           # above what D's labels cost: less is "near 0" [ganhacks 10; measured: 0.013 where D
    #                               wins, 0.024 and more on toy faces, 0.15 on real ones]
    watch_d_zone = (0.05, 0.2)    # above what D's labels cost: "near 0.1" [forcecore 5], shaded in loss.png
    watch_g_zone = (1.0, 4.0)     # healthy for G's loss [forcecore 5], shaded in loss.png
    watch_g_rising = 3.0          # where G's loss rises beyond, 3 to 8, runs diverged [forcecore 5]
    watch_g_fooled = 0.69         # ln 2: where G's loss falls below, D takes most fakes for real [ganhacks 10]
    watch_trend = 1.5             # times in three windows of watch_batches, each above the last: "rising" [measured]
    watch_lost = 15.0             # no loss comes back that stays above [forcecore 5]
    watch_gradient_norm = 100.0   # "things are screwing up" above [ganhacks 10; measured: healthy ones stay below 67; a
    #                               run that was at 100 to 180 from batch 5,550 on still got better until 8,000]
    watch_sure = 0.2              # nats below 0: where G's saturating loss is higher, it has hardly a slope [measured]
    watch_vanished = 1e-3         # G's gradient norm: less is nothing to learn from [measured; healthy: above 12]
    watch_contrast = 0.1          # of the real images': less is one uniform colour [measured; healthy: above 0.4]
    watch_saturated = 0.4         # share near -1 or 1, of values not so in real images [measured; healthy: below 0.1]
    watch_diversity = 0.2         # of the real images': less is collapse [measured; healthy by batch 100: above 0.3]
    watch_alike = 0.02            # from a real image to the next most like it, in [-1, 1]: less is the same [guess]
    watch_noise_batches = 1000    # until which noise is normal [forcecore 5]

    def __init_subclass__(cls):
        """Refuses a constant that Args doesn't have, one of another type, and one that can't be meant."""
        known = constants(Args)
        for name, value in vars(cls).items():
            if name.startswith("__"):
                continue
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise ValueError(f"`{name}` is no constant of args.py; the nearest is `{near}`. "
                                 f"Received: {name}={value!r}")
            if not _same_kind(value, known[name]):
                raise ValueError(f"`{name}` must be of type {type(known[name]).__name__}, as {known[name]!r}. "
                                 f"Received: {name}={value!r} of type {type(value).__name__}")
            if isinstance(value, tuple) and len(value) != len(known[name]) and not name.endswith("_filters"):
                raise ValueError(f"`{name}` must have {len(known[name])} values, as {known[name]!r}. "
                                 f"Received: {name}={value!r}")
            least = 1 if name in POSITIVE else 0
            numbers = value if isinstance(value, tuple) else (value,)
            if any(not isinstance(number, str) and number < least for number in numbers):
                raise ValueError(f"`{name}` must be at least {least}. Received: {name}={value!r}")
            if name in BELOW_1 and value >= 1 or name in AT_MOST_1 and value > 1:
                raise ValueError(f"`{name}` must be {'below' if name in BELOW_1 else 'at most'} 1. "
                                 f"Received: {name}={value!r}")


class ToyFaces(Args):
    """Drawn faces whose factors are known, and nets of a quarter of the filters: minutes on two cores, no download."""
    name = "toyfaces"
    images = "toyfaces"
    data = "toyfaces.hdf5"
    dataset_size = 10000
    generator_filters = (128, 64, 32, 16)
    generator_extra_filters = (16,)
    discriminator_filters = (16, 32, 64, 128)
    flip = False                  # every second toy face is drawn mirrored
    batch_size = 32               # more, smaller steps: a short run gains by them [guess: a trial of 1,500 batches]
    real_labels = (0.9, 1.0)      # [forcecore gan.py]; one-sided ones let D run away here [guess: trials of 700]
    fake_labels = (0.0, 0.1)      # [forcecore gan.py]
    batches = 4000


class Mnist28(Args):
    """MNIST's digits, 28x28, by the DCGAN: two stages instead of four."""
    name = "mnist28"
    images = "mnist"              # the folder mnist/, or what Keras downloads
    data = "mnist.hdf5"
    image_shape = (28, 28, 1)
    flip = False                  # a mirrored 3 is none
    augment = ""                  # 60,000 digits are not learned by heart
    generator_filters = (256, 128)  # [measured: (128, 64) draws three times as far from MNIST]
    generator_extra_filters = (64,)
    discriminator_filters = (32, 64, 128, 256)  # [kmualim]; its v2.0 has (128, 128, 128, 128)
    instance_noise = 0.1          # [kmualim 1]
    batch_size = 32
    d_learning_rate = 1e-4        # at 2e-4 D runs away [measured]
    g_learning_rate = 4e-4
    batches = 4000                # [kmualim]
    features = "classifier"


class OriginalMnist28(Mnist28):
    """What kmualim's DCGAN-MNIST-Keras says worked, of which it gives no rates, for comparison."""
    name = "original-mnist28"
    generator_filters = (128, 64)
    generator_extra_filters = ()
    kernel_size = 3
    upsampling = "nearest"
    g_leaky_slope = 0.0
    d_dropout = 0.3
    label_flip = 0.05
    real_labels = (1.0, 1.0)
    kernel_initializer = "glorot_uniform"
    d_learning_rate = 2e-4        # [Radford 2015 s4]
    g_learning_rate = 2e-4
    ema_decay = 0.0


class Even(Args):
    """Even numbers up to `max_int`, as bits: a GAN of dense layers that learns them in seconds [scratch 6]."""
    name = "even"
    images = "even"
    data = "even.hdf5"
    dataset_size = 10000
    image_shape = (1, 10, 1)      # ten bits: `max_int` up to 1,023
    network = "even"
    flip = False                  # mirrored bits are other numbers
    augment = ""
    latent = "binary"
    latent_dim = 8                # 256 numbers: of more, some stay on the way from one number to the next [measured]
    generator_filters = (128, 128)
    generator_extra_filters = ()
    discriminator_filters = (256, 256)
    batch_norm = "none"
    kernel_initializer = "glorot_uniform"
    instance_noise = 0.3          # bits are points; D needs a slope between them
    instance_noise_batches = 1000
    loss = "least_squares"        # [measured: with cross_entropy two runs of nine drew a number too large]
    real_labels = (1.0, 1.0)
    batch_size = 512              # nearly each number, most z, in every batch: at 64 one or two stay wrong [measured]
    d_learning_rate = 2e-3        # [scratch 5: D's the higher one; measured]
    g_learning_rate = 5e-4
    batches = 2000
    dump_every = 250
    watch_alike = 0.0             # a number comes again and again
    grid = (32, 4)


class Cartoon256(Args):
    """CartoonGAN: photos into cartoons, at the size and with the networks of its paper [Chen 2018]."""
    name = "cartoon256"
    images = "cartoons/*"
    photos = "photos/*"
    data = "cartoon256.hdf5"
    image_shape = (256, 256, 3)
    network = "cartoon"
    augment = "translation"       # D must not learn a few hundred cartoons by heart [Zhao 2020]
    batch_norm = "none"           # instance norm instead
    upsampling = "bilinear"       # [cartoon 3]; nearest draws a grid [measured]; the paper's: transpose
    kernel_size = 3               # [Chen 2018 fig. 2]
    loss = "least_squares"        # with cross_entropy D wins within 400 batches, and G answers with noise [measured]
    kernel_initializer = "glorot_uniform"  # [guess: with N(0, 0.02) content is 0.88 far after 150 batches, not 0.87]
    generator_filters = (64, 128, 256)
    generator_extra_filters = ()
    discriminator_filters = (32, 64, 128)
    held_out = 0.2
    batch_size = 4                # 4 GB of memory [measured]
    content_weight = 2.0          # [measured at 64x64: 0.5 does no more; with 0.1 the kernel distance rises]
    d_learning_rate = 5e-5        # [measured: with cross_entropy at 2e-4 D wins]
    g_learning_rate = 1e-4
    pretrain_batches = 2500
    pretrain_learning_rate = 3e-4  # [measured at 64x64: content is 0.83 far after 150 batches, 0.87 at 1e-3]
    batches = 10000
    grid = (2, 4)


class Cartoon64(Cartoon256):
    """The same at 64x64, with half of the filters: for a laptop."""
    name = "cartoon64"
    data = "cartoon64.hdf5"
    image_shape = (64, 64, 3)
    generator_filters = (32, 64, 128)
    discriminator_filters = (16, 32, 64)
    batch_size = 8
    batches = 1000
    grid = (4, 8)


class Original(Args):
    """The recipe of forcecore's Keras-GAN-Animeface-Character, whose networks are those of Args, for comparison.

    Its D moves in G's step, as G's stack was compiled before D was frozen. Not as there: bytes, of which it kept one
    value in 256; D's sigmoid, which stopped its losses at 16.1; D's fakes, which G drew with running statistics.
    """
    name = "original"
    crop = "squash"
    flip = False
    latent = "binary"
    augment = ""
    bn_momentum = 0.3
    kernel_initializer = "glorot_uniform"
    d_updates = "apart"
    g_step_moves_d = True
    warmup_batches = 20
    real_labels = (0.9, 1.0)
    fake_labels = (0.0, 0.1)
    g_labels = (0.9, 1.0)
    d_learning_rate = 2e-4
    g_learning_rate = 1e-4
    ema_decay = 0.0


class KerasExample(Args):
    """The recipe of keras.io's "DCGAN to generate face images", for comparison.

    There labels stand upside down, 1 for fake, which is the same game; the noise on them moves those of real images
    towards 0.95 and those of fakes below 0, where no loss is the least: the latter stay at 0 here. Each network learned
    there from fakes of its own. D has a dropout of 0.2 there that drops nothing, as no call of it says `training`.
    """
    name = "keras-example"
    network = "keras_example"
    flip = False
    latent_dim = 128
    generator_filters = (128, 256, 512)
    generator_extra_filters = ()
    discriminator_filters = (64, 128, 128)
    batch_norm = "none"
    augment = ""
    kernel_initializer = "glorot_uniform"
    real_labels = (0.95, 1.0)
    batch_size = 32
    d_learning_rate = 1e-4
    g_learning_rate = 1e-4
    beta_1 = 0.9
    ema_decay = 0.0


def presets():
    """Returns {name: class} of Args and the presets below it in this file."""
    return {name: value for name, value in globals().items() if isinstance(value, type) and issubclass(value, Args)}


def override(args, **changes):
    """Makes a subclass of `args` in which only `changes` differ: `override(Args, batches=20)`."""
    return type(args.__name__, (args,), changes)


def parse(words):
    """Turns the words of a command line, `[Preset] [constant=value ...]`, into a class.

    A value is taken as it stands where the constant's default is a string, else it is a Python literal.

    Raises:
        ValueError: on an unknown preset or constant, a value that is no literal, or one of the wrong type.
    """
    args, words = Args, list(words)
    if words and "=" not in words[0]:
        preset = words.pop(0)
        if preset not in presets():
            raise ValueError(f"The first word must be a preset ({', '.join(presets())}) or constant=value, "
                             f"with spaces nowhere. Received: {preset}")
        args = presets()[preset]
    known, changes = constants(args), {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"A word must be constant=value, with spaces nowhere. Received: {word}")
        changes[name] = text
        if not isinstance(known.get(name), str) and name in known:
            try:
                changes[name] = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                raise ValueError(f"`{name}` must be a Python literal such as {known[name]!r}. "
                                 f"Received: {word}") from None
    return override(args, **changes)
