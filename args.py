"""The constants of a run, the presets, and the command line.

Edit a constant here and run `python gan.py`, or name it on the command line:
`python gan.py ToyFaces batches=500`. A preset is a subclass of `Args` that states only what
differs. Functions take the class itself: `train_gan(ToyFaces)`.

Origins, in brackets: [Radford 2015] arXiv:1511.06434, [Salimans 2016] arXiv:1606.03498,
[Karras 2018] arXiv:1710.10196, [Karras 2019] arXiv:1912.04958, [Zhao 2020] arXiv:2006.10738,
[Mescheder 2018] arXiv:1801.04406, [Gulrajani 2017] arXiv:1704.00028,
[Miyato 2018] arXiv:1802.05957, [Chen 2018] CartoonGAN, CVPR, [Goodfellow 2014] arXiv:1406.2661,
[Wang 2020] White-box Cartoonization, CVPR, [AnimeGANv2] TachibanaYoshino/AnimeGANv2,
[Shrivastava 2017] arXiv:1612.07828, [forcecore] Keras-GAN-Animeface-Character, [ganhacks N] tip N
of soumith/ganhacks, [scratch] Learn GAN from Scratch, [kmualim] DCGAN-MNIST-Keras, [cartoon]
training_CartoonGAN, [pytorch] pytorch/examples dcgan, [keras.io] its DCGAN example, [measured] in
the notebooks or in trials of one seed, [guess] a value nobody has justified yet.
"""
import ast
import difflib
import os
import sys

VERBS = ("pretrain_gen", "train_gan", "generate", "evaluate")

# If `images` and `data` have these defaults and neither exists, gan.py trains on toy faces.
DEFAULT_IMAGES = "animeface-character-dataset/thumb/*/*"
DEFAULT_DATA = "data.hdf5"

# Ranges of the numbers. None may be negative.
AT_LEAST_1 = {"image_shape", "latent_dim", "generator_filters", "generator_extra_filters",
              "discriminator_filters", "kernel_size", "batch_size", "dump_every", "grid",
              "keep_checkpoints", "r1_every", "generate_count", "evaluate_count"}
AT_MOST_1 = {"label_flip", "replay_fraction"}
BELOW_1 = {"test_fraction", "g_dropout", "d_dropout", "beta_1", "ema_decay", "bn_momentum"}


def constants(args):
    """Returns {name: value} of every constant of `args`; a preset's own value wins."""
    values = {}
    for cls in reversed(args.__mro__):
        if cls is not object:
            values.update(_own_constants(cls))
    return values


def _own_constants(cls):
    """Returns {name: value} of the constants that a class sets itself."""
    return {name: value for name, value in vars(cls).items() if not name.startswith("__")}


def _same_type(value, default):
    """Returns whether `value` has the type of `default`. An int may stand for a float."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(_same_type(item, default[0]) for item in value)
    if type(default) is float:
        return type(value) in (int, float)
    return type(value) is type(default)


def _check_constant(name, value):
    """Raises ValueError if `Args` has no constant of this name, or the value cannot be valid."""
    defaults = constants(Args)
    if name not in defaults:
        nearest = difflib.get_close_matches(name, defaults, n=1, cutoff=0.0)[0]
        raise ValueError(f"`{name}` is not a constant of args.py. Did you mean `{nearest}`? "
                         f"Received: {name}={value!r}")
    default = defaults[name]
    if not _same_type(value, default):
        raise ValueError(f"`{name}` must be of type {type(default).__name__}, such as "
                         f"{default!r}. Received: {name}={value!r} of type {type(value).__name__}")
    if isinstance(value, tuple):
        any_length = name.endswith("_filters")
        if len(value) != len(default) and not any_length:
            raise ValueError(f"`{name}` must have {len(default)} values, such as {default!r}. "
                             f"Received: {name}={value!r}")
        numbers = value
    elif isinstance(value, str):
        numbers = ()
    else:
        numbers = (value,)
    minimum = 1 if name in AT_LEAST_1 else 0
    for number in numbers:
        if number < minimum:
            raise ValueError(f"`{name}` must be at least {minimum}. Received: {name}={value!r}")
        if name == "seed" and number >= 2 ** 32:
            raise ValueError(f"`seed` must be below 2**32. Received: seed={value!r}")
        if name in AT_MOST_1 and number > 1:
            raise ValueError(f"`{name}` must be at most 1. Received: {name}={value!r}")
        if name in BELOW_1 and number >= 1:
            raise ValueError(f"`{name}` must be below 1. Received: {name}={value!r}")


class Args:
    """Anime faces of 64x64 pixels: the constants of `python gan.py`."""

    # ---- data
    images = DEFAULT_IMAGES       # a glob, IDX files, toyfaces, toyscenes, mnist, even [forcecore]
    photos = ""                   # what to translate: a glob of photos, or toyscenes [cartoon 5]
    max_int = 128                 # the largest number of images=even [scratch 6]
    data = DEFAULT_DATA           # what data.py writes; a glob reads several [forcecore data.py]
    image_shape = (64, 64, 3)     # rows, columns, channels: 1 or 3 [Radford 2015 s4]
    crop = "center"               # center crops, squash distorts [forcecore data.py squashes]
    dataset_size = 0              # number of images to use, 0 = all; 0 = 10,000 toy faces or even
    #                               numbers, 2,000 toy scenes
    conditional = False           # AC-GAN; the label is the image's folder name [ganhacks 12]
    test_fraction = 0.1           # share of the images kept from training, for the scores [guess]
    flip = True                   # mirror a random half: faces have no handedness [guess]

    # ---- networks
    network = "dcgan"             # dcgan, keras_example, cartoongan or even: modules of models/
    latent_dim = 100              # length of z [Radford 2015 s4]
    latent = "normal"             # [ganhacks 3]; uniform [Radford 2015 s4]; binary [forcecore]
    generator_filters = (512, 256, 128, 64)      # at 4x4, 8x8, 16x16, 32x32 [forcecore nets.py]
    generator_extra_filters = (64,)              # 3x3, before the last upsampling [forcecore]
    discriminator_filters = (64, 128, 256, 512)  # at 32x32, 16x16, 8x8, 4x4 [forcecore nets.py]
    kernel_size = 4               # a multiple of the stride [forcecore]; 3, 5 [kmualim 3-4]
    downsampling = "stride"       # stride [Radford 2015 s3]; average [ganhacks 5]; max
    upsampling = "transpose"      # transpose [Radford 2015]; pixel_shuffle [ganhacks 5];
    #                               nearest, bilinear [cartoon 3]
    g_leaky_slope = 0.2           # [forcecore args.py; ganhacks 5]; 0.0 = ReLU [Radford 2015 s4]
    d_leaky_slope = 0.2           # [Radford 2015 s4]
    use_bias = True               # False [pytorch]: batch norm makes most biases redundant
    batch_norm = "both"           # both [Radford 2015 s3], generator, discriminator or none
    bn_momentum = 0.8             # of the moving mean and variance [guess]
    bn_epsilon = 1e-3             # Keras' default; 1e-5 [pytorch]
    kernel_initializer = "normal"  # N(0, 0.02) [Radford 2015 s4]; glorot_uniform [forcecore];
    #                                or another of Keras' names
    g_dropout = 0.0               # after each activation, when sampling too; 0.5 [ganhacks 17]
    d_dropout = 0.0               # after each activation; 0.3 to 0.6 [kmualim 6]
    minibatch_kernels = 0         # minibatch discrimination, 0 = off; 100 [Salimans 2016 s3.2]
    spectral_norm = False         # on every layer of D [Miyato 2018]; in a CartoonGAN in place of
    #                               instance norm, which hides contrast and colors [Wang 2020]
    u_net = False                 # CartoonGAN's G: skip connections in place of instance norm
    #                               [Wang 2020], and its output changes the photo [guess]

    # ---- adversarial training
    loss = "cross_entropy"        # [Goodfellow 2014]; least_squares, hinge, wasserstein: losses.py
    g_objective = "non_saturating"  # maximize log D(G(z)) [ganhacks 2]; saturating:
    #                                 minimize log(1 - D(G(z))) [Goodfellow 2014]
    d_updates = "joint"           # one, of real and fake images [scratch 1]; apart: one of each
    #                               [forcecore gan.py]
    g_step_moves_d = False        # the original's defect: G's update trains D too [forcecore]
    warmup_batches = 0            # D learns alone: 0 [kmualim 2]; 20, 100 [forcecore gan.py]
    augment = "translation"       # of all images D sees; "" = off. With color and cutout
    #                               [Zhao 2020]: better in 1,500 batches without R1, worse in 10,000
    #                               with it [measured]
    instance_noise = 0.0          # standard deviation, on all images D sees [kmualim 1]
    instance_noise_batches = 0    # batches until it has faded to 0; 0 = never [ganhacks 13]
    replay_size = 0               # earlier fakes in the replay buffer, 0 = off [ganhacks 8]
    replay_fraction = 0.5         # share of them among the fakes D sees [Shrivastava 2017]
    swap_every = 0                # batches between swaps to an older G or D, 0 = off [ganhacks 8]
    swap_for = 5                  # batches a swap lasts: "a few iterations" [ganhacks 8]
    feature_matching = 0.0        # weight in G's loss, 0.0 = off [Salimans 2016 s3.1; scratch 3];
    #                               at 100.0 its gradient equals the adversarial one [measured]
    gradient_penalty = 0.0        # weight in D's loss, 0.0 = off; 10.0 [Gulrajani 2017]
    r1_weight = 0.02              # keeps D's gradients small; 0.0 = off [measured]; 0.0128 by
    #                               StyleGAN2's rule; 10.0 [Mescheder 2018]
    r1_every = 10                 # batches from one R1 to the next, as it costs half a step. The
    #                               weight is multiplied by it [guess; 4 and 8: measured];
    #                               16 [Karras 2019 appendix B]
    adversarial_weight = 1.0      # of the adversarial loss, in G's loss [Chen 2018 eq. 1]

    # ---- further terms of CartoonGAN's G, 0.0 = off. Content and style are relative here, so the
    #      weights of papers are a start only.
    content_weight = 10.0         # keeps what the photo shows [Chen 2018 s3.2.2]
    content_features = "vgg19"    # block4_conv4, a download [Chen 2018]; vgg19:layer,layer;
    #                               random, fixed filters at three scales; file.keras:layer,layer
    style_weight = 0.0            # Gram matrices of the cartoons; 2.0 [AnimeGANv2]
    style_features = "vgg19"      # as content_features: the same layer [AnimeGANv2]
    color_weight = 0.0            # keeps the photo's colors; 50.0 [AnimeGANv2]
    variation_weight = 0.0        # differences of neighboring pixels; 1.0 [AnimeGANv2]
    restoration_weight = 0.0      # G restores cartoons without outlines and with pale colors, of
    #                               which the truth is known; 10.0 [measured]

    # ---- targets of D for cross_entropy and least_squares, drawn uniformly from (low, high)
    real_labels = (0.9, 0.9)      # one-sided [Salimans 2016; scratch 4]; (0.9, 1.0) [forcecore]
    fake_labels = (0.0, 0.0)      # (0.0, 0.1) [forcecore]; (0.0, 0.3) [ganhacks 6]
    g_labels = (1.0, 1.0)         # of fakes in G's loss [Goodfellow 2014]; (0.9, 1.0) [forcecore]
    label_flip = 0.0              # probability of a wrong target [ganhacks 6; cartoon 2]

    # ---- optimizers
    batch_size = 64               # images; half of the paper's, for laptops [pytorch]
    d_optimizer = "adam"          # [Radford 2015 s4]; sgd, at a rate such as 0.02 [ganhacks 9]
    g_optimizer = "adam"          # [Radford 2015 s4]
    d_learning_rate = 4e-4        # [scratch 5; measured with augment]; 2e-4 [Radford 2015 s4]
    g_learning_rate = 4e-4        # [measured]; 2e-4 [Radford 2015 s4]; 1e-4 [forcecore; scratch 5]
    beta_1 = 0.5                  # of Adam; 0.9 oscillates [Radford 2015 s4; forcecore args.py]
    ema_decay = 0.998             # of the averaged generator, 0.0 = off [Karras 2018 s6]; .9978 by
    #                               StyleGAN2's rule; .995 is ahead until batch 7,500 [measured]

    # ---- the run
    name = "anime64"              # of the run folder, runs/<name>
    seed = 0                      # of the weights, z, targets, flips and the order of the images
    pretrain_batches = 0          # of G in an autoencoder, 0 = skip; 200 [forcecore gan.py]
    pretrain_learning_rate = 1e-3  # of Adam [forcecore gan.py]
    precision = "float32"         # mixed_bfloat16: a third faster on some CPUs [measured];
    #                               mixed_float16
    jit_compile = "auto"          # XLA: on, off, auto = Keras' choice; other random numbers
    batches = 10000               # good faces by 1,500, better ones by 10,000 [forcecore]
    dump_every = 50               # batches between grids, checkpoints, rows of loss.csv;
    #                               10 [forcecore gan.py]
    grid = (4, 8)                 # rows and columns of a sample grid; (4, 4) [forcecore gan.py]
    keep_checkpoints = 10         # number of recent checkpoints to keep [forcecore gan.py]
    keep_every = 1000             # batches between checkpoints kept for good, 0 = none [guess]
    weights = ""                  # a checkpoint folder to start from; "" = none

    # ---- the verbs generate and evaluate
    generate_count = 64           # number of images to generate [guess]
    checkpoint = "newest"         # to generate from: newest; a batch, such as 5000; or best, the
    #                               one of the lowest Frechet distance in scores.csv [guess]
    generate_class = ""           # the class to generate if `conditional`; "" = all in turn
    generate_from = ""            # a glob of photos of any size to translate, for `photos`
    evaluate_count = 3000         # images per checkpoint, in the columns of scores.csv [guess]
    features = "inception"        # inception, a download; random, fixed filters; a .keras file; or
    #                               classifier, which is trained on the labels of `data`

    def __init_subclass__(cls):
        """Checks the constants of a preset: their names, types and ranges."""
        for name, value in _own_constants(cls).items():
            _check_constant(name, value)


class Small(Args):
    """Anime faces on a computer without a GPU: half of the filters, and smaller batches.

    35 minutes on two cores. The Frechet distance is then 648, and that of Args 771 after as many
    images, but more faces have a defect. After 60,000 batches it is 522, and fewer have one
    [measured, one seed].
    """
    name = "small"
    generator_filters = (256, 128, 64, 32)
    generator_extra_filters = (32,)
    discriminator_filters = (32, 64, 128, 256)
    batch_size = 32
    batches = 20000


class ToyFaces(Args):
    """Procedural faces with known factors, and a quarter of the filters: for a laptop."""
    name = "toyfaces"
    images = "toyfaces"
    data = "toyfaces.hdf5"
    dataset_size = 10000
    generator_filters = (128, 64, 32, 16)
    generator_extra_filters = (16,)
    discriminator_filters = (16, 32, 64, 128)
    flip = False                  # half of the toy faces are already mirrored
    augment = ""                  # 376 of the 384 modes after 6,000 batches; with color and
    #                               translation 261 after 8,000 [measured]
    batch_size = 16               # more, smaller steps than with 32 help a short run [measured]
    ema_decay = 0.999             # shows less of the checkerboard than .998 [measured]
    batches = 6000                # four and a half minutes on one core [measured]


class Mnist28(Args):
    """MNIST's digits, 28x28, by class: two stages instead of four [kmualim 11].

    Without labels a classifier is unsure of a sixth of the digits, with labels of 0.2% [measured].
    """
    name = "mnist28"
    images = "mnist"              # read from the folder mnist/, or downloaded by Keras
    data = "mnist.hdf5"
    image_shape = (28, 28, 1)
    conditional = True            # a distance of 2.0; 4.3 without labels [ganhacks 12; measured]
    flip = False                  # a mirrored 3 is not a digit
    augment = ""                  # 60,000 digits are too many to memorize
    generator_filters = (256, 128)  # with (128, 64) three times the distance [measured]
    generator_extra_filters = (64,)
    discriminator_filters = (32, 64, 128, 256)  # [kmualim]; (128, 128, 128, 128) in its v2.0: 5.2
    #                                             instead of 4.3, without labels [measured]
    batch_size = 16               # without labels 4.3; 5.8 after 4,000 batches of 32 [measured]
    batches = 8000
    features = "classifier"


class OriginalMnist28(Mnist28):
    """What kmualim's DCGAN-MNIST-Keras recommends, for comparison. It states no learning rates."""
    name = "original-mnist28"
    conditional = False
    generator_filters = (128, 64)
    generator_extra_filters = ()
    kernel_size = 3
    upsampling = "nearest"
    g_leaky_slope = 0.0
    d_dropout = 0.3
    instance_noise = 0.1
    label_flip = 0.05
    r1_weight = 0.0
    real_labels = (1.0, 1.0)
    kernel_initializer = "glorot_uniform"
    batch_size = 32
    batches = 4000                # [kmualim]
    d_learning_rate = 2e-4        # [Radford 2015 s4]
    g_learning_rate = 2e-4
    ema_decay = 0.0


class Even(Args):
    """Even numbers as bits, which dense layers learn in seconds [scratch 6]."""
    name = "even"
    images = "even"
    data = "even.hdf5"
    image_shape = (1, 7, 1)       # seven bits: the even numbers below 128 [scratch 6]
    network = "even"
    flip = False                  # mirrored bits are another number
    augment = ""
    r1_weight = 0.0
    latent_dim = 8
    generator_filters = (64,)
    generator_extra_filters = ()
    discriminator_filters = (64,)
    batch_norm = "none"
    kernel_initializer = "glorot_uniform"
    ema_decay = 0.99              # its run is short
    d_learning_rate = 2e-3
    g_learning_rate = 2e-3
    batches = 1000                # 64 of 64 even numbers and no odd one, five seeds [measured]
    dump_every = 100
    grid = (32, 4)


class Cartoon256(Args):
    """CartoonGAN, photos to cartoons, with the image size and networks of its paper [Chen 2018].

    What differs from the paper: upsampling is bilinear, the loss is least squares with one-sided
    targets, G's first phase is 2,500 batches, D gets shifted images and weighs cartoons as much as
    generated and blurred images together, the content weight is 2 instead of 10, and relative to
    the features of the photo. Photos become softer and lose texture, and keep their colors and
    contrast: for more style see `Cartoon64`.
    """
    name = "cartoon256"
    images = "cartoons/*"
    photos = "photos/*"
    data = "cartoon256.hdf5"
    image_shape = (256, 256, 3)
    network = "cartoongan"
    augment = "translation"       # keeps D from memorizing a few hundred cartoons [Zhao 2020]
    r1_weight = 0.0
    ema_decay = 0.995             # [guess]
    batch_norm = "none"           # its networks use instance norm
    upsampling = "bilinear"       # [cartoon 3]; nearest leaves a grid [measured]; transpose in the
    #                               paper
    kernel_size = 3               # [Chen 2018 fig. 2]
    loss = "least_squares"        # with cross_entropy D wins within 400 batches [measured]
    kernel_initializer = "glorot_uniform"  # [guess: content distance .87, normal .88]
    generator_filters = (64, 128, 256)
    generator_extra_filters = ()
    discriminator_filters = (32, 64, 128)
    test_fraction = 0.2
    batch_size = 4                # takes 4 GB of memory [measured]
    content_weight = 2.0          # 0.5 is no better; at 0.1 the kernel distance rises [measured]
    d_learning_rate = 5e-5        # [measured: with cross_entropy at 2e-4 D wins]
    g_learning_rate = 1e-4
    pretrain_batches = 2500
    pretrain_learning_rate = 3e-4  # content distance .83 after 150 batches, .87 at 1e-3 [measured]
    batches = 10000
    grid = (2, 4)


class Cartoon64(Cartoon256):
    """Photos to cartoons at 64x64, with networks and losses that change the style, for a laptop.

    G begins with the photo itself and has no first phase, D sees colors and contrast. G also learns
    to restore degraded cartoons, and Gram matrices of a fixed random network describe the style.
    Nothing is downloaded. It learns on toy scenes, whose true drawings `evaluate` compares. For
    your own images see `CartoonPhotos`.
    """
    name = "cartoon64"
    images = "toyscenes"
    photos = "toyscenes"
    data = "cartoon64.hdf5"
    image_shape = (64, 64, 3)
    generator_filters = (16, 32, 64)
    discriminator_filters = (16, 32, 64)
    u_net = True
    spectral_norm = True
    restoration_weight = 10.0     # without it black blots appear in place of outlines [measured]
    adversarial_weight = 0.2      # at 0.5 colored strokes from batch 3,000 on [measured]
    content_weight = 0.0          # restoring keeps the content
    style_weight = 0.5            # of stronger colors [guess: trials of 750 batches]
    style_features = "random"
    d_learning_rate = 5e-4        # [guess]
    g_learning_rate = 5e-4        # unstable at 1e-3 [measured]
    batch_size = 8
    pretrain_batches = 0          # G begins as the identity
    batches = 2000
    grid = (4, 8)
    evaluate_count = 400          # all of the test photos of 2,000 toy scenes
    features = "random"           # nothing to download


class CartoonPhotos(Cartoon64):
    """Your own photos to cartoons, at 64x64: more style, flat areas, and colors that stay.

    What is marked as measured was measured with 500 photos and 500 painted landscapes, a fifth of
    which are not for training.
    """
    name = "cartoon-photos"
    images = "cartoons/*"
    photos = "photos/*"
    data = "cartoon-photos.hdf5"
    adversarial_weight = 1.0      # [Chen 2018 eq. 1]
    style_weight = 2.0            # [AnimeGANv2]
    variation_weight = 2.0        # without it and the next one G sharpens photos: a kernel distance
    #                               of 219 after 2,000 batches; with both 156 after 1,500 [measured]
    color_weight = 10.0           # without it some meadows become blue [measured]
    g_learning_rate = 2e-4        # with the constants of Cartoon64 images had one color from batch
    #                               1,400 on [measured]
    batches = 1500                # 159 after 1,000 [measured]
    evaluate_count = 100          # the test photos of 500, a fifth of them


class Original(Args):
    """The recipe of forcecore's Keras-GAN-Animeface-Character, whose networks are those of Args.

    D moves in G's step, as the original compiled the stack of G and D before it froze D. Three
    defects are left out: a scaling that changed 255 of 256 pixel values, a sigmoid that capped D's
    losses at 16.1, and fakes for D that were generated with the moving averages of batch norm.
    """
    name = "original"
    crop = "squash"
    flip = False
    latent = "binary"
    augment = ""
    r1_weight = 0.0
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

    The example uses 1 as the target of fakes, which is equivalent. Its noise moves the targets of
    real images towards 0.95, and those of fakes below 0, where the loss has no minimum: here they
    stay at 0. Its D has a dropout of 0.2 that is never active, as no call passes `training`.
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
    r1_weight = 0.0
    kernel_initializer = "glorot_uniform"
    real_labels = (0.95, 1.0)
    batch_size = 32
    d_learning_rate = 1e-4
    g_learning_rate = 1e-4
    beta_1 = 0.9
    ema_decay = 0.0


class PyTorchExample(Args):
    """The recipe and networks of pytorch/examples' DCGAN, for comparison.

    The example initializes the scales of batch norm with N(1, 0.02); here they start at 1.
    PyTorch's DCGAN tutorial has the same recipe, with batches of 128.
    """
    name = "pytorch-example"
    flip = False
    generator_extra_filters = ()
    g_leaky_slope = 0.0
    use_bias = False
    bn_momentum = 0.9
    bn_epsilon = 1e-5
    augment = ""
    r1_weight = 0.0
    real_labels = (1.0, 1.0)
    d_learning_rate = 2e-4
    g_learning_rate = 2e-4
    ema_decay = 0.0


def presets():
    """Returns {name: class} of Args and the presets below it in this file."""
    return {name: value for name, value in globals().items()
            if isinstance(value, type) and issubclass(value, Args)}


def override(args, **changes):
    """Returns a subclass of `args` in which only `changes` differ: `override(Args, batches=20)`.

    Raises:
        ValueError: if a name is unknown, or a value has the wrong type or range.
    """
    return type(args.__name__, (args,), changes)


def preset_name(args):
    """Returns the name of the preset that `args` is, or was overridden from."""
    for cls in args.__mro__:
        if presets().get(cls.__name__) is cls:
            return cls.__name__
    raise ValueError(f"The constants must be Args or a subclass of it. Received: {args}")


def overrides(args):
    """Returns {name: value} of the constants that `args` sets on top of its preset."""
    preset = presets()[preset_name(args)]
    above = args.__mro__[:args.__mro__.index(preset)]
    values = {}
    for cls in reversed(above):
        values.update(_own_constants(cls))
    return values


def parse(arguments, verbs=VERBS):
    """Parses the arguments of a command line: `[preset] [verb ...] [constant=value ...]`.

    A value is taken as it is if the constant's default is a string. Any other value is a Python
    literal, such as `batches=500` or `"real_labels=(0.7, 1.2)"`.

    Args:
        arguments: list of strings.
        verbs: the verbs that the script has.

    Returns:
        (args, chosen): the preset with the constants overridden, and the verbs, in the order given.

    Raises:
        ValueError: if an argument is unknown, or a value is invalid.
    """
    args, chosen, changes = Args, [], {}
    for position, argument in enumerate(arguments):
        if "=" in argument:
            name, _, text = argument.partition("=")
            changes[name] = _parse_value(name, text)
        elif argument in verbs:
            chosen.append(argument)
        elif argument in presets() and position == 0:
            args = presets()[argument]
        else:
            raise _unknown_argument(argument, verbs)
    return override(args, **changes), chosen


def _unknown_argument(argument, verbs):
    """Returns the exception for an argument that is no preset, verb or constant=value."""
    known = f"a preset ({', '.join(presets())}) as the first one, "
    if verbs:
        known += f"a verb ({', '.join(verbs)}), "
    names = list(presets()) + list(verbs)
    nearest = difflib.get_close_matches(argument, names, n=1)
    hint = f"Did you mean {nearest[0]}? " if nearest else ""
    if argument in presets():
        hint = f"Put {argument} first. "
    return ValueError(f"An argument must be {known}or constant=value without spaces around the =. "
                      f"{hint}Received: {argument}")


def _parse_value(name, text):
    """Returns the value of `name=text`: the text itself, or the Python literal it stands for."""
    default = constants(Args).get(name, "")
    if isinstance(default, str):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        raise ValueError(f"`{name}` must be a Python literal of type {type(default).__name__}, "
                         f"such as {default!r}. Received: {name}={text}") from None


def run_script(main, verbs=(), *errors):
    """Runs `main(args, verbs)` on the command line. Errors a user can fix end it with one line.

    Args:
        main: the function to run.
        verbs: the verbs that the script has.
        errors: exception classes to report in one line, beside ValueError and OSError.
    """
    script = os.path.basename(sys.argv[0])
    sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be valid text
    try:
        main(*parse(sys.argv[1:], verbs))
    except (ValueError, OSError, *errors) as error:
        sys.exit(f"\n{script}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\n{script}: interrupted. Run the same command again.")
