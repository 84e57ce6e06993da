"""The constants of a run, the presets, and the command line.

Edit a constant here and run `python gan.py`, or name it on the command line:
`python gan.py ToyFaces batches=500`. A preset is a subclass of `Args` that states only what
differs. Functions take the class itself: `train_gan(ToyFaces)`.

The origin of a value is in brackets; SOURCES at the end of this file has the addresses.
"""
import ast
import difflib
import inspect
import os
import re
import sys


class Args:
    """Anime faces of 64x64 pixels: the constants of `python gan.py`."""

    # ---- data
    images = "animeface-character-dataset/thumb"  # folder, glob, IDX files; toyfaces, mnist, even
    photos = ""  # photos to translate into `images`; for the Cartoon presets
    data = "data.hdf5"  # the file that data.py writes [forcecore 2]
    image_shape = (64, 64, 3)  # rows, columns, channels: 1 or 3 [Radford 2015 s4]
    crop = "center"  # squash distorts [forcecore 2]; tile cuts pieces out, without resizing
    dataset_size = 0  # number of images; 0 = all (10,000 toy faces or numbers, 2,000 toy scenes)
    conditional = False  # AC-GAN: D classifies, too; labels are folder names [ganhacks 12]
    test_fraction = 0.1  # share of the images kept from training, for the scores [guess]
    flip = True  # mirror a random half of the images: faces have no handedness [guess]

    # ---- networks
    network = "dcgan"  # dcgan, keras_example, even or cartoon: modules of models/
    latent_dim = 100  # length of z, the generator's input [Radford 2015 s4]
    latent = "normal"  # distribution of z [ganhacks 3]; uniform [Radford 2015]; binary [forcecore]
    generator_filters = (512, 256, 128, 64)  # at 4x4, 8x8, 16x16, 32x32 [forcecore]
    generator_extra_filters = (64,)  # 3x3 convolutions before the last upsampling [forcecore]
    discriminator_filters = (64, 128, 256, 512)  # at 32x32, 16x16, 8x8, 4x4 [forcecore]
    kernel_size = 4  # a multiple of the stride [forcecore]; 3 instead of 5 [kmualim 4]
    downsampling = "stride"  # stride [Radford 2015 s3]; average [ganhacks 5]; max, for comparison
    upsampling = "transpose"  # or pixel_shuffle [ganhacks 5]; nearest, bilinear [measured]
    output_blur = False  # G ends in a mean of 2x2 pixels, which removes a grid of dots [measured]
    g_leaky_slope = 0.2  # of G's ReLU [forcecore; ganhacks 5]; 0.0 = ReLU [Radford 2015 s4]
    d_leaky_slope = 0.2  # of D's ReLU [Radford 2015 s4]
    batch_norm = "both"  # both [Radford 2015 s3], generator, discriminator or none
    bn_momentum = 0.8  # of moving mean and variance; samples use those of a batch [guess]
    kernel_initializer = "normal"  # N(0, 0.02) [Radford 2015 s4]; or a Keras name [kmualim 8]
    g_dropout = 0.0  # after each activation, also when sampling; 0.5 [ganhacks 17]
    d_dropout = 0.0  # after each activation; 0.3 to 0.6 [kmualim 6]
    minibatch_kernels = 0  # minibatch discrimination, 0 = off; 100 [Salimans 2016 s3.2; scratch 3]
    spectral_norm = False  # on every layer of D [Miyato 2018]
    d_features = ""  # of a second D: vgg19, random or file.keras:layer,layer [Kumari 2022]

    # ---- adversarial training
    loss = "cross_entropy"  # [Goodfellow 2014]; least_squares, hinge, wasserstein: losses.py
    g_objective = "non_saturating"  # maximize log D(G(z)) [ganhacks 2]; saturating: Goodfellow's
    d_updates = "joint"  # one update of real and fake [scratch 1]; apart: one of each [forcecore]
    g_step_moves_d = False  # the original's defect: G's update trains D too [forcecore]
    warmup_batches = 0  # batches in which D learns alone: 0 [kmualim 2]; 20, 100 [forcecore]
    augment = "translation"  # of all images that D sees, "" = off; color, cutout too [Zhao 2020]
    instance_noise = 0.0  # standard deviation, on all images that D sees [kmualim 1]
    instance_noise_batches = 0  # batches until the noise has faded to 0; 0 = never [ganhacks 13]
    replay_size = 0  # earlier fakes in the replay buffer, 0 = off [ganhacks 8]
    replay_fraction = 0.5  # share of earlier fakes among D's fakes [Shrivastava 2017]
    swap_every = 0  # batches between swaps to an older G or D, 0 = off [ganhacks 8]
    swap_for = 5  # batches that a swap lasts: "a few iterations" [ganhacks 8]
    feature_matching = 0.0  # weight in G's loss, 0.0 = off [Salimans 2016 s3.1; scratch 3]; 100.0
    gradient_penalty = 0.0  # weight in D's loss, 0.0 = off; 10.0 [Gulrajani 2017]
    r1_weight = 0.02  # keeps D's gradients small, 0.0 = off [measured]; 10.0 [Mescheder 2018]
    r1_every = 10  # R1 every 10th batch, with 10 times its weight; 1 = in each [measured]

    # ---- targets of D for cross_entropy and least_squares, drawn uniformly from (low, high)
    real_labels = (0.9, 0.9)  # one-sided [Salimans 2016; scratch 4]; (0.9, 1.0) [forcecore]
    fake_labels = (0.0, 0.0)  # (0.0, 0.1) [forcecore]; (0.0, 0.3) [ganhacks 6]
    g_labels = (1.0, 1.0)  # of fakes in G's loss [Goodfellow 2014]; (0.9, 1.0) [forcecore]
    label_flip = 0.0  # probability of a wrong target [ganhacks 6; cartoon 2]

    # ---- optimizers
    batch_size = 64  # half of the paper's, for laptops [pytorch]
    d_optimizer = "adam"  # [Radford 2015 s4]; sgd, at a rate such as 0.02 [ganhacks 9]
    g_optimizer = "adam"  # [Radford 2015 s4]
    d_learning_rate = 4e-4  # [scratch 5; measured with augment]; 2e-4 [Radford 2015 s4]
    g_learning_rate = 4e-4  # as D's; another one is worse [measured]; 1e-4 [forcecore; scratch 5]
    beta_1 = 0.5  # of Adam; 0.9 oscillates [Radford 2015 s4; forcecore]
    g_clip_norm = 0.0  # largest global norm of the gradients of G and its pretraining, 0.0 = off
    ema_decay = 0.998  # of the averaged generator; 0.0 = off [Karras 2018 appendix A; measured]

    # ---- the run
    name = "anime64"  # of the run folder, runs/<name>
    seed = 0  # of the weights, z, targets, flips and the order of the images
    pretrain_batches = 0  # of G in an autoencoder, 0 = skip; 200 [forcecore 3]
    pretrain_learning_rate = 1e-3  # of Adam [forcecore]
    precision = "float32"  # or mixed_float16; mixed_bfloat16: faster on some CPUs [measured]
    jit_compile = "auto"  # XLA: on, off, auto = Keras' choice; on changes random numbers
    batches = 10000  # faces by 1,500 [forcecore], better ones by 10,000 [measured]
    dump_every = 1000  # batches per epoch, then grid and weights are saved [measured: bench_step]
    grid = (4, 8)  # rows and columns of the sample grid; (4, 4) [forcecore]
    keep_every = 5000  # batches between checkpoints kept for good, 91 MB each; 0 = none [guess]
    weights = ""  # a checkpoint to start a new run from, or pretrained, for Small; "" = none

    # ---- the verbs generate and evaluate
    generate_count = 64  # number of images to generate from z [guess]
    checkpoint = "newest"  # to generate from: newest, a batch, such as 5000, or best
    generate_class = ""  # the class to generate if `conditional`; "" = all in turn
    evaluate_count = 3000  # generated images per checkpoint, 3k in names of scores [guess]
    features = "mobilenet"  # network of the scores; inception, random, classifier or a .keras file


class Cartoon(Args):
    """What the Cartoon presets share: a CartoonGAN, which learns from unpaired photos and cartoons.

    Content and style distances are relative to the size of the features, so weights from papers
    are only a start.
    """
    network = "cartoon"
    generate_from = ""  # photos of any size that `generate` translates: a folder or a glob
    u_net = False  # G is a U-Net that at first returns the photo; use it with spectral_norm
    adversarial_weight = 1.0  # of the adversarial loss, in G's loss [Chen 2018 eq. 2]
    content_weight = 10.0  # keeps what the photo shows [Chen 2018 s3.2]
    content_features = "vgg19"  # [Chen 2018], a download; random; vgg19:layer; file.keras:layer
    style_weight = 0.0  # Gram matrices of the cartoons; 2.0 [AnimeGANv2]
    style_features = "vgg19"  # as content_features
    structure_weight = 0.0  # G imitates a filter: flat areas [Wang 2020], with outlines
    restoration_weight = 0.0  # G restores degraded cartoons, whose truth is known [measured]
    augment = "translation"  # keeps D from memorizing a few hundred cartoons [Zhao 2020]
    r1_weight = 0.0
    ema_decay = 0.995  # [guess]
    batch_norm = "none"  # its networks use instance norm
    upsampling = "bilinear"  # nearest, transpose (the paper's) leave a grid [measured; cartoon 3]
    kernel_size = 3  # [Chen 2018 fig. 2]
    loss = "least_squares"  # with cross_entropy D wins within 400 batches [measured]
    kernel_initializer = "glorot_uniform"  # content distance .87, normal .88 [guess]
    generator_extra_filters = ()
    test_fraction = 0.2
    dump_every = 50


class Small(Args):
    """Anime faces without a GPU: half of the filters, and smaller batches."""
    name = "small"
    generator_filters = (256, 128, 64, 32)
    generator_extra_filters = (32,)
    discriminator_filters = (32, 64, 128, 256)
    batch_size = 32
    batches = 20000  # after 60,000 the distance is a fifth lower [measured: compare.ipynb]
    dump_every = 50
    keep_every = 2500  # [guess]


class ToyFaces(Args):
    """Faces painted by code, with a quarter of the filters: for a laptop."""
    name = "toyfaces"
    images = "toyfaces"
    data = "toyfaces.hdf5"
    dataset_size = 4000  # painted in nine seconds [measured]
    conditional = True  # by hair color: else hair has several [ganhacks 12; measured]
    generator_filters = (128, 64, 32, 16)
    generator_extra_filters = (16,)
    discriminator_filters = (16, 32, 64, 128)
    output_blur = True  # transposed convolutions leave a grid of dots [measured]
    flip = False  # half of the toy faces are already mirrored
    augment = ""  # translation leaves streaks, and fewer of the 384 modes are covered [measured]
    r1_weight = 2.0  # smooth areas, by eye; 0.1 leaves grain [measured: compare.ipynb]
    batch_size = 16  # more, smaller steps than with 32 help a short run [measured]
    d_learning_rate = 8e-4  # its run is short: with 4e-4 colors come later [measured]
    g_learning_rate = 8e-4
    ema_decay = 0.999  # smoother areas than with 0.998 [measured]
    pretrain_batches = 400  # a face within a minute [forcecore 3; measured]
    batches = 2000
    dump_every = 100


class Mnist28(Args):
    """MNIST's digits, 28x28, by class: two stages instead of four [kmualim 11]."""
    name = "mnist28"
    images = "mnist"  # read from the folder mnist/, or downloaded by Keras
    data = "mnist.hdf5"
    image_shape = (28, 28, 1)
    conditional = True  # Frechet distance 2.0; 4.3 without labels [ganhacks 12; measured]
    flip = False  # a mirrored 3 is not a digit
    augment = ""  # 60,000 digits are too many to memorize
    generator_filters = (256, 128)  # with (128, 64) three times the distance [measured]
    discriminator_filters = (32, 64, 128, 256)  # [kmualim]; (128, 128, 128, 128) in its v2.0
    batch_size = 16  # distance without labels 4.3; 5.8 after 4,000 batches of 32 [measured]
    batches = 8000
    dump_every = 50
    features = "classifier"


class OriginalMnist28(Mnist28):
    """MNIST's digits, as kmualim's DCGAN-Keras-Implementation recommends; rates of its script."""
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
    batches = 4000  # [kmualim]
    d_learning_rate = 2e-4  # [kmualim]
    g_learning_rate = 2e-4
    ema_decay = 0.0


class Even(Args):
    """Even numbers as bits, which dense layers learn in seconds [scratch 6]."""
    name = "even"
    images = "even"
    data = "even.hdf5"
    image_shape = (1, 7, 1)  # seven bits: the even numbers below 128 [scratch 6]
    network = "even"
    flip = False  # mirrored bits are another number
    augment = ""
    r1_weight = 0.0
    latent_dim = 8
    generator_filters = (64,)
    generator_extra_filters = ()
    discriminator_filters = (64,)
    batch_norm = "none"
    kernel_initializer = "glorot_uniform"
    ema_decay = 0.99  # its run is short
    d_learning_rate = 2e-3
    g_learning_rate = 2e-3
    batches = 1000  # 64 of 64 even numbers and no odd one, five seeds [measured]
    dump_every = 100
    grid = (32, 4)


class Cartoon256(Cartoon):
    """Photos to cartoons with the image size and networks of the CartoonGAN paper [Chen 2018].

    What differs from the paper: upsampling is bilinear, the loss is least squares with one-sided
    targets, G's first phase is 2,500 batches, G's ReLU is leaky and G is averaged, D gets shifted
    images, some mirrored, and weighs cartoons as much as generated and blurred images together, the
    content weight is 2 instead of 10, and relative to the features of the photo. Photos become
    softer and lose texture, and keep their colors and contrast: for more style see `Cartoon64`.
    """
    name = "cartoon256"
    images = "cartoons"
    photos = "photos"
    data = "cartoon256.hdf5"
    image_shape = (256, 256, 3)
    generator_filters = (64, 128, 256)
    discriminator_filters = (32, 64, 128)
    batch_size = 4  # takes 4 GB of memory [measured]
    content_weight = 2.0  # 0.5 is no better; at 0.1 the kernel distance rises [measured]
    d_learning_rate = 5e-5  # [measured: with cross_entropy at 2e-4 D wins]
    g_learning_rate = 1e-4
    pretrain_batches = 2500
    pretrain_learning_rate = 3e-4  # content distance .83 after 150 batches, .87 at 1e-3 [measured]
    grid = (2, 4)


class Cartoon64(Cartoon):
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
    generator_filters = (16, 32, 64)
    discriminator_filters = (16, 32, 64)
    u_net = True
    spectral_norm = True  # [Wang 2020]; instance norm would hide contrast and colors from D
    restoration_weight = 10.0  # without it colored strokes, then a collapse [measured]
    adversarial_weight = 0.2  # at 0.5 colored strokes from batch 3,000 on [measured]
    content_weight = 0.0  # restoring keeps the content
    style_weight = 0.5  # for stronger colors [guess: trials of 750 batches]
    style_features = "random"
    d_learning_rate = 5e-4  # [guess]
    g_learning_rate = 5e-4  # unstable at 1e-3 [measured]
    batch_size = 8
    batches = 2000
    evaluate_count = 400  # all of the test photos of 2,000 toy scenes
    features = "random"  # nothing to download


class CartoonPhotos(Cartoon64):
    """Your own photos to drawings with flat areas and outlines.

    G learns from tiles of the photos, of 64x64 pixels and not resized, and from drawings of toy
    scenes. Other `images` also need flat colors and dark outlines, two pixels wide.
    """
    name = "cartoon-photos"
    photos = "photos"  # longer sides of 250 to 1,000 pixels [guess; measured up to 288]
    data = "cartoon-photos.hdf5"
    crop = "tile"  # whole photos at 64x64 have no texture that G could learn to remove [measured]
    dataset_size = 2000  # tiles of photos, and as many tiles of toy scenes [guess]
    structure_weight = 10.0  # without it the results are photos in other colors [measured]
    restoration_weight = 5.0  # [guess]
    adversarial_weight = 0.3  # [guess]
    g_clip_norm = 10.0  # norms are 5 to 9; without it one of two seeds turned green [measured]
    pretrain_batches = 5000  # of G alone, in half the time of D and G [cartoon 1; measured]
    batches = 1000  # hardly better than 500 [measured: cartoon.ipynb]
    evaluate_count = 300  # of up to 400 test tiles: files that are skipped leave fewer


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
    """The recipe and networks of keras.io's "DCGAN to generate face images".

    The example uses 1 as the target of fakes, which is equivalent. Its noise moves the targets of
    real images towards 0.95, and those of fakes below 0, where the loss has no minimum: here they
    stay at 0. It samples a second z for G's update; here both updates share their fakes. Its D has
    a dropout of 0.2 that is never active, as no call passes `training`.
    """
    name = "keras-example"
    crop = "squash"
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
    """The recipe and networks of pytorch/examples' DCGAN.

    Not reproduced: convolutions without biases, an epsilon of 1e-5 in batch norm and of 1e-8 in
    Adam, initial scales of N(1, 0.02), and a D whose loss is the sum of both parts, for which Adam
    makes up. PyTorch's DCGAN tutorial has the same recipe, with batches of 128.
    """
    name = "pytorch-example"
    flip = False
    generator_extra_filters = ()
    g_leaky_slope = 0.0
    bn_momentum = 0.9
    augment = ""
    r1_weight = 0.0
    real_labels = (1.0, 1.0)
    d_learning_rate = 2e-4
    g_learning_rate = 2e-4
    ema_decay = 0.0


# ---- what a constant may be: each rule stands here once

CHOICES = {
    "crop": ("center", "squash", "tile"),
    "network": ("dcgan", "keras_example", "even", "cartoon"),
    "latent": ("normal", "uniform", "binary"),
    "downsampling": ("stride", "average", "max"),
    "upsampling": ("transpose", "pixel_shuffle", "nearest", "bilinear"),
    "batch_norm": ("both", "generator", "discriminator", "none"),
    "kernel_initializer": ("normal", "random_normal", "random_uniform", "truncated_normal",
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
AUGMENT_POLICIES = ("color", "translation", "cutout")

# All numbers must be at least 0. These have other bounds.
AT_LEAST_1 = ("image_shape", "latent_dim", "generator_filters", "generator_extra_filters",
              "discriminator_filters", "kernel_size", "batch_size", "batches", "dump_every", "grid",
              "r1_every", "generate_count", "evaluate_count")
AT_MOST_1 = ("label_flip", "replay_fraction")
BELOW_1 = ("test_fraction", "g_dropout", "d_dropout", "beta_1", "ema_decay", "bn_momentum")

# {network: (preset, constants without a meaning for the network: they must stay as in the preset)}
IGNORED = {
    "keras_example": (KerasExample, (
        "conditional", "generator_extra_filters", "downsampling", "upsampling", "output_blur",
        "batch_norm", "kernel_initializer", "g_dropout", "minibatch_kernels", "spectral_norm")),
    "even": (Even, (
        "conditional", "generator_extra_filters", "kernel_size", "downsampling", "upsampling",
        "output_blur", "batch_norm", "kernel_initializer", "g_dropout", "d_dropout",
        "minibatch_kernels", "spectral_norm", "d_features", "flip", "augment")),
    "cartoon": (Cartoon, (
        "conditional", "latent", "latent_dim", "generator_extra_filters", "downsampling",
        "output_blur", "batch_norm", "g_dropout", "minibatch_kernels", "d_features", "d_updates",
        "warmup_batches", "replay_size", "feature_matching", "gradient_penalty", "r1_weight")),
}


def has_batch_norm_in_d(args):
    """Returns whether D has batch norm: its output for an image then depends on the batch."""
    return args.batch_norm in ("both", "discriminator")


# Combinations that are refused: (constants, condition, what is wrong, what to do).
INCOMPATIBLE = (
    (("network", "photos"),
     lambda a: (issubclass(a, Cartoon) != (a.network == "cartoon")
                or issubclass(a, Cartoon) != bool(a.photos)),
     "the Cartoon presets have network=cartoon and photos, all others have neither",
     "Choose a preset, such as Cartoon64, and leave both as they are"),
    (("image_shape", "network"), lambda a: a.network != "even" and a.image_shape[2] not in (1, 3),
     "images have 1 or 3 channels", "Set the last number of image_shape to 3"),
    (("image_shape", "network"), lambda a: a.network == "cartoon" and a.image_shape[2] != 3,
     "cartoons have 3 channels", "Set the last number of image_shape to 3"),
    (("upsampling", "network"),
     lambda a: a.upsampling == "pixel_shuffle" and a.network == "cartoon",
     "pixel shuffle needs photos of one size", "Set upsampling=bilinear"),
    (("loss", "gradient_penalty"),
     lambda a: a.loss == "wasserstein" and not (a.gradient_penalty or a.spectral_norm),
     "without a bound on D's gradient this loss decreases without end",
     "Set gradient_penalty=10.0 or spectral_norm=True"),
    (("spectral_norm", "batch_norm"), lambda a: a.spectral_norm and has_batch_norm_in_d(a),
     "batch norm in D undoes the normalization of the layer before it",
     "Set batch_norm=generator"),
    (("g_objective", "loss"),
     lambda a: a.g_objective == "saturating" and a.loss != "cross_entropy",
     "only the cross-entropy has a saturating objective", "Set g_objective=non_saturating"),
    (("g_objective", "g_labels"),
     lambda a: a.g_objective == "saturating" and a.g_labels != (1.0, 1.0),
     "the saturating objective has no targets", "Set g_labels=(1.0,1.0)"),
    (("label_flip", "loss"), lambda a: a.label_flip and a.loss in ("hinge", "wasserstein"),
     "this loss has no targets that could be flipped", "Set label_flip=0.0"),
    (("real_labels", "fake_labels"), lambda a: sum(a.real_labels) <= sum(a.fake_labels),
     "targets of real images must be the higher ones", "Set real_labels above fake_labels"),
    (("replay_size", "batch_size"), lambda a: 0 < a.replay_size < a.batch_size,
     "the replay buffer must hold at least one batch", "Raise replay_size, or set it to 0"),
    (("replay_size", "replay_fraction"), lambda a: a.replay_size and not a.replay_fraction,
     "no image of the replay buffer would be used", "Raise replay_fraction"),
    (("swap_every", "dump_every"), lambda a: a.swap_every % a.dump_every,
     "a swap begins with an epoch", "Set swap_every to a multiple of dump_every"),
    (("swap_for", "dump_every"), lambda a: a.swap_every and not 0 < a.swap_for < a.dump_every,
     "a swap ends before its epoch does", "Set swap_for to at least 1 and below dump_every"),
    (("g_step_moves_d", "d_updates"), lambda a: a.g_step_moves_d and a.d_updates != "apart",
     "only the step with two updates of D can train D in G's update", "Set d_updates=apart"),
    (("d_features", "d_updates"), lambda a: a.d_features and a.d_updates != "joint",
     "only the joint update trains the second D", "Set d_updates=joint"),
    (("d_features", "warmup_batches"), lambda a: a.d_features and a.warmup_batches,
     "the second D cannot learn alone first", "Set warmup_batches=0"),
    (("d_features", "loss"), lambda a: a.d_features and a.loss == "wasserstein",
     "no penalty bounds the second D", "Choose another loss"),
    (("d_features", "image_shape"), lambda a: a.d_features and a.image_shape[2] != 3,
     "networks trained on photos take three channels", 'Set d_features=""'),
    (("weights", "generator_filters"),
     lambda a: a.weights == "pretrained" and a.generator_filters != Small.generator_filters,
     "these weights have the networks of Small", "Name the preset Small, and keep its filters"),
    (("weights", "discriminator_filters"),
     lambda a: a.weights == "pretrained" and a.discriminator_filters != Small.discriminator_filters,
     "these weights have the networks of Small", "Name the preset Small, and keep its filters"),
    (("swap_every", "g_step_moves_d"), lambda a: a.swap_every and a.g_step_moves_d,
     "G's update would train a discriminator that is swapped in", "Set swap_every=0"),
)

# On anime faces, D with batch norm hardly learns from here on. On toy faces it does [measured].
LARGE_R1 = 0.5

# What is allowed but seldom intended: (condition, warning).
WARNINGS = (
    (lambda a: a.gradient_penalty and has_batch_norm_in_d(a),
     "`gradient_penalty` with batch norm in D: D's gradient at one image then depends on the other "
     "images of the batch. Consider batch_norm=generator."),
    (lambda a: a.r1_weight >= LARGE_R1 and has_batch_norm_in_d(a) and a.images != "toyfaces",
     "`r1_weight` is large for a D with batch norm, which may learn too little. Weights of 0.02 to "
     "0.1 work, and larger ones with batch_norm=generator."),
)


def check(args):
    """Validates a configuration: unknown names and values and incompatible constants raise.

    Args:
        args: the constants, `Args` or a subclass.

    Raises:
        ValueError: names the constants, what is wrong and what to do.
    """
    _check_each(args)
    for name, choices in CHOICES.items():
        value = getattr(args, name)
        if value not in choices:
            raise ValueError(
                f"`{name}` must be one of {', '.join(choices)}. Received: {name}={value}")
    augment_policies(args.augment)
    if args.checkpoint not in ("newest", "best") and not args.checkpoint.isdecimal():
        raise ValueError("`checkpoint` must be newest, best or the number of a batch, such as "
                         f"5000. Received: checkpoint={args.checkpoint}")
    for names, is_broken, reason, remedy in INCOMPATIBLE:
        if is_broken(args):
            first, second = names
            raise ValueError(
                f"`{first}` is incompatible with `{second}`: {reason}. {remedy}. Received: "
                f"{first}={getattr(args, first)!r}, {second}={getattr(args, second)!r}")
    if args.network in IGNORED:
        preset, names = IGNORED[args.network]
        for name in names:
            value, expected = getattr(args, name), getattr(preset, name)
            if value != expected:
                raise ValueError(f"`{name}` must be {expected!r}, as in {preset.__name__}, for "
                                 f"network={args.network}. Received: {name}={value!r}")
    _check_stages(args)


def _check_stages(args):
    """Checks that G's stages, which double rows and columns, end at `image_shape`."""
    filters = args.generator_filters
    if not filters or not args.discriminator_filters:
        raise ValueError("`generator_filters` and `discriminator_filters` need at least one value. "
                         f"Received: generator_filters={filters}, "
                         f"discriminator_filters={args.discriminator_filters}")
    if args.network == "even":
        return  # dense layers, of any number
    rows, columns, _ = args.image_shape
    same_size = 1 if args.network == "cartoon" else 0  # its first stage keeps the size
    stages = len(filters) - same_size
    if rows % 2 ** stages == 0 and columns % 2 ** stages == 0:
        return
    fitting_stages = stages
    while rows % 2 ** fitting_stages or columns % 2 ** fitting_stages:
        fitting_stages -= 1
    hint = ""
    if fitting_stages:
        hint = f", such as generator_filters={filters[stages - fitting_stages:]}"
    raise ValueError(
        f"`generator_filters` has {stages} stages that double rows and columns, so the rows "
        f"and columns of `image_shape` must be multiples of {2 ** stages}. Use fewer "
        f"filters{hint}, or choose another size. Received: image_shape={args.image_shape}, "
        f"generator_filters={filters}")


def warnings(args):
    """Returns warnings about what is allowed but seldom intended, a list of lines."""
    return [text for applies, text in WARNINGS if applies(args)]


def augment_policies(text):
    """Splits the constant `augment`, such as "color,translation", into a list of policies.

    Raises:
        ValueError: on a name that is not in AUGMENT_POLICIES.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in AUGMENT_POLICIES:
            raise ValueError(f"`augment` must be names out of {', '.join(AUGMENT_POLICIES)}, "
                             f"separated by commas. Received: augment={text}")
    return names


def _check_each(args):
    """Raises ValueError if a constant is unknown, or has a wrong type or range."""
    defaults = constants(Args)
    if issubclass(args, Cartoon):
        # Args' values win: an empty tuple, as in Cartoon, does not show the type of its items.
        defaults = constants(Cartoon) | defaults
    for name, value in constants(args).items():
        if name not in defaults:
            raise _unknown_constant(name, value, defaults)
        _check_value(name, value, defaults[name])


def _unknown_constant(name, value, known):
    """Returns the exception for a constant that is not among the known ones."""
    if name in constants(Cartoon):
        return ValueError(f"`{name}` is a constant of the Cartoon presets alone. Name one of them "
                          f"first, such as CartoonPhotos. Received: {name}={value!r}")
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean `{nearest[0]}`?" if nearest else "--help lists them."
    return ValueError(
        f"`{name}` is not a constant of args.py. {hint} Received: {name}={value!r}")


def _check_value(name, value, default):
    """Raises ValueError if a value has another type than its default, or is out of range."""
    if not _same_type(value, default):
        expected, received = type(default).__name__, type(value).__name__
        if isinstance(default, tuple) and isinstance(value, tuple):
            expected += f" of {type(default[0]).__name__}"
        raise ValueError(f"`{name}` must be of type {expected}, such as {default!r}. "
                         f"Received: {name}={value!r} of type {received}")
    numbers = ()
    if isinstance(value, tuple):
        if len(value) != len(default) and not name.endswith("_filters"):
            raise ValueError(f"`{name}` must have {len(default)} values, such as {default!r}. "
                             f"Received: {name}={value!r}")
        numbers = value
    elif not isinstance(value, str):
        numbers = (value,)
    low = 1 if name in AT_LEAST_1 else 0
    for number in numbers:
        if number < low:
            raise ValueError(f"`{name}` must be at least {low}. Received: {name}={value!r}")
        if name in AT_MOST_1 and number > 1:
            raise ValueError(f"`{name}` must be at most 1. Received: {name}={value!r}")
        if name in BELOW_1 and number >= 1:
            raise ValueError(f"`{name}` must be below 1. Received: {name}={value!r}")
        if name == "seed" and number >= 2 ** 32:
            raise ValueError(f"`seed` must be below 2**32. Received: seed={value!r}")
    if name in ("real_labels", "fake_labels", "g_labels"):
        if value[0] > value[1] or sum(value) / 2 > 1:
            raise ValueError(f"`{name}` must be (low, high) with a mean in [0, 1]. "
                             f"Received: {name}={value!r}")


def _same_type(value, default):
    """Returns whether `value` has the type of `default`. An int may stand for a float."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(_same_type(item, default[0]) for item in value)
    if type(default) is float:
        return type(value) in (int, float)
    return type(value) is type(default)


# ---- presets and overrides

# Paths in which `override` expands `~`: many shells leave it in `name=value`. data.py expands it in
# `images` and `photos`.
PATHS = ("data", "weights", "features", "d_features", "content_features", "style_features")


def constants(args):
    """Returns {name: value} of every constant of `args`; a preset's own value wins."""
    return _merge(args.__mro__[:-1])  # without `object`


def _merge(classes):
    """Returns {name: value} of the constants that the classes set. The first class wins."""
    values = {}
    for cls in reversed(classes):
        values.update(vars(cls))
    return {name: value for name, value in values.items() if not name.startswith("__")}


def presets():
    """Returns {name: class} of Args and its presets in this file."""
    return {name: value for name, value in globals().items()
            if isinstance(value, type) and issubclass(value, Args) and value is not Cartoon}


def override(args, /, **changes):
    """Returns a subclass of `args` in which only `changes` differ: `override(Args, batches=20)`.

    In paths, `~` is replaced by the home folder.

    Raises:
        ValueError: if a name is unknown, or a value has the wrong type or range.
    """
    changed = type(args.__name__, (args,), changes)
    _check_each(changed)
    for cls in changed.__mro__:  # in presets, too, which may have been edited
        for name in PATHS:
            if name in vars(cls):
                setattr(cls, name, os.path.expanduser(vars(cls)[name]))
    return changed


def preset_name(args):
    """Returns the name of the preset that `args` is, or was overridden from."""
    for cls in args.__mro__:
        if presets().get(cls.__name__) is cls:
            return cls.__name__
    raise ValueError(f"The constants must be Args or a subclass of it. Received: {args}")


def overrides(args):
    """Returns {name: value} of the constants that `args` sets on top of its preset."""
    preset = presets()[preset_name(args)]
    return _merge(args.__mro__[:args.__mro__.index(preset)])


# ---- the command line

VERBS = {
    "pretrain_gen": "trains the generator alone, in an autoencoder",
    "train_gan": "trains the GAN",
    "generate": "generates images with saved weights",
    "evaluate": "compares generated images with real ones",
}


def parse(arguments, verbs=VERBS):
    """Parses the arguments of a command line: `[preset] [verb ...] [constant=value ...]`.

    A value is taken as it is if the constant's default is a string. Any other value is a Python
    literal, such as `batches=500` or `"real_labels=(0.7, 1.2)"`.

    Args:
        arguments: list of strings.
        verbs: names of the verbs that the script has.

    Returns:
        (args, chosen): the preset with the constants overridden, and the verbs, in the order given.

    Raises:
        ValueError: if an argument is unknown, or a value is invalid.
    """
    preset, chosen, texts = Args, [], {}
    for position, argument in enumerate(arguments):
        if "=" in argument:
            name, _, texts[name] = argument.partition("=")
        elif argument in verbs:
            chosen.append(argument)
        elif argument in presets() and position == 0:
            preset = presets()[argument]
        else:
            raise _unknown_argument(argument, verbs)
    changes = {name: _parse_value(preset, name, text) for name, text in texts.items()}
    return override(preset, **changes), chosen


def _parse_value(preset, name, text):
    """Returns the value of `name=text`: the text itself, or the Python literal it stands for."""
    default = constants(preset).get(name, "")
    if isinstance(default, str):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        raise ValueError(f"`{name}` must be a Python literal of type {type(default).__name__}, "
                         f"such as {default!r}. Received: {name}={text}") from None


def _unknown_argument(argument, verbs):
    """Returns the exception for an argument that is no preset, verb or constant=value."""
    known = f"a preset ({', '.join(presets())}) as the first one, "
    if verbs:
        known += f"a verb ({', '.join(verbs)}), "
    nearest = difflib.get_close_matches(argument, list(presets()) + list(verbs), n=1)
    hint = f"Did you mean {nearest[0]}? " if nearest else ""
    if argument in presets():
        hint = f"Put {argument} first, and name no other preset. "
    elif os.path.exists(argument):
        hint = f"Did you mean images={argument}? "
    return ValueError(f"An argument must be {known}or constant=value, in quotes if it has spaces; "
                      f"--help lists them. {hint}Received: {argument}")


def usage(script, verbs):
    """Returns the text of `--help`: verbs, presets, and the constants with their comments.

    Args:
        script: name of the script.
        verbs: {name: meaning}, empty if the script has none.
    """
    verbs_usage = " [verb ...]" if verbs else ""
    lines = [f"python {script} [preset]{verbs_usage} [constant=value ...]", ""]
    if verbs:
        lines.append("Verbs, run in the order given; without any, it trains:")
        lines += [f"  {name:16} {meaning}" for name, meaning in verbs.items()] + [""]
    lines.append("Presets:")
    for name, preset in presets().items():
        lines.append(f"  {name:16} {preset.__doc__.splitlines()[0]}")
    lines += ["", 'A value with spaces or parentheses needs quotes: "grid=(2, 8)". The tags in',
              "brackets are explained in SOURCES, at the end of args.py."]
    for title, cls in (("Constants", Args), ("Constants of the Cartoon presets", Cartoon)):
        lines += ["", f"{title}:"]
        for line in inspect.getsource(cls).splitlines():
            if line.startswith("    # ----"):
                lines += ["", f"  {line.strip(' #-')}"]
            elif re.match(r"    \w+ = ", line):
                lines.append(f"  {line.strip()}")
    return "\n".join(lines)


def read_command_line(verbs=()):
    """Parses sys.argv. `--help` and invalid arguments end the process.

    Whether constants are compatible is checked later, together with those of the run.

    Args:
        verbs: {name: meaning} of the script's verbs, empty if it has none.

    Returns:
        (args, chosen), see `parse`.
    """
    script = os.path.basename(sys.argv[0])
    if "--help" in sys.argv or "-h" in sys.argv:
        print(usage(script, verbs))
        sys.exit()
    try:
        return parse(sys.argv[1:], verbs)
    except ValueError as error:
        sys.exit(f"{script}: {error}")


def run_script(main, args, verbs=()):
    """Returns `main(args, verbs)`. Errors that a user can fix end the process with one line.

    Args:
        main: the function to run.
        args, verbs: what `read_command_line` returned.
    """
    script = os.path.basename(sys.argv[0])
    if hasattr(sys.stdout, "reconfigure"):  # not in Jupyter
        sys.stdout.reconfigure(errors="backslashreplace")  # for file names where stdout is ASCII
    try:
        return main(args, verbs)
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"\n{script}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\n{script}: interrupted. Run the same command again.")


# ---- where the values come from

SOURCES = {
    # The five texts that this project implements.
    "cartoon": "training_CartoonGAN: tips about training a CartoonGAN. "
               "1: train G alone for 20 to 30 epochs first; "
               "2: if D is too strong, smooth and flip labels; "
               "3: grid noise comes from Conv2DTranspose and fades with training; "
               "4: all images black, D's loss 0 and G's very high: D has won; "
               "5: G's input is a photo",
    "ganhacks": "github.com/soumith/ganhacks. "
                "1: images in [-1, 1], tanh; 2: G maximizes log D; 3: z from a sphere; "
                "4: batch norm, real and fake images in batches of their own; "
                "5: leaky ReLU, strided or average pooling down, transposed or pixel shuffle up; "
                "6: soft, noisy and flipped labels; 8: replay, swaps for past checkpoints; "
                "9: Adam, or SGD for D; 10: D's loss 0, gradient norms over 100 and a steadily "
                "falling G loss are failures; 12: D classifies, too; "
                "13: noise on D's inputs that decays; 17: dropout in G, when sampling too",
    "kmualim": "github.com/kmualim/DCGAN-Keras-Implementation. "
               "1: noise on both inputs of D; 2: do not pretrain D; 3: other convolutional "
               "layers in G; 4: kernels of 3x3 instead of 5x5; "
               "5: 128 filters in each layer of D; 6: dropout of .3 to .6; 7: flip labels; "
               "8: weight initialization; 9: do not stop early; 10: the guidelines of the DCGAN "
               "paper; 11: try MNIST first",
    "scratch": "Learn GAN from Scratch. "
               "1: D's loss is the mean of its losses on real and on detached fake images; "
               "2: look at images rather than losses; "
               "3: against mode collapse a lower learning rate, feature matching, minibatch "
               "discrimination; 4: targets of .9; 5: two time scales, D 4e-4 and G 1e-4; "
               "6: the super simple GAN, github.com/nbertagnolli/pytorch-simple-gan",
    "forcecore": "github.com/forcecore/Keras-GAN-Animeface-Character. "
                 "1: constants in args.py, main() at the bottom; 2: data.py writes 64x64 images "
                 "to data.hdf5; 3: pretrain G in an autoencoder; 4: a grid and weights every 10 "
                 "batches; 5: D's losses near .1 and G's at 1 to 4 are healthy, a G loss of 3 to 8 "
                 "diverged, losses over 15 are lost, one color means that G fools D, all losses "
                 "under 1 mean that D catches up, noise until batch 1,000 is normal; "
                 "6: any dataset works in principle",
    # Other programs.
    "pytorch": "github.com/pytorch/examples, dcgan",
    "keras.io": "keras.io/examples/generative/dcgan_overriding_train_step",
    "mnist_acgan": "github.com/keras-team/keras, examples/mnist_acgan.py of Keras 2",
    "AnimeGANv2": "github.com/TachibanaYoshino/AnimeGANv2",
    "AnimeGANv3": "github.com/TachibanaYoshino/AnimeGANv3",
    # Papers.
    "Goodfellow 2014": "arXiv:1406.2661",
    "Radford 2015": "arXiv:1511.06434",
    "Salimans 2016": "arXiv:1606.03498",
    "Shrivastava 2017": "arXiv:1612.07828",
    "Gulrajani 2017": "arXiv:1704.00028",
    "Karras 2018": "arXiv:1710.10196",
    "Mescheder 2018": "arXiv:1801.04406",
    "Miyato 2018": "arXiv:1802.05957",
    "Chen 2018": "CartoonGAN, CVPR 2018",
    "Karras 2019": "arXiv:1912.04958",
    "Zhao 2020": "arXiv:2006.10738",
    "Kumari 2022": "arXiv:2112.09130",
    "Wang 2020": "Learning to Cartoonize Using White-box Cartoon Representations, CVPR 2020",
    # No text: our own.
    "measured": "in the notebooks, or in trials of one seed",
    "guess": "a value that nobody has justified yet",
}
