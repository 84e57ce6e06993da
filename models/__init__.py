"""Maths: tensors in, tensors out. Nothing here opens a file, reads a clock, prints, or knows a global Args."""
import importlib

NETWORKS = {"dcgan": "models.dcgan"}  # `network` -> the module with build_generator, build_discriminator, build_encoder


def network(args):
    """Returns the module that builds the networks named by `args.network`."""
    if args.network not in NETWORKS:
        raise ValueError(f"`network` must be one of {', '.join(NETWORKS)}. Received: network={args.network}")
    return importlib.import_module(NETWORKS[args.network])


def build(args):
    """Builds the GAN of `args`, compiled, its weights drawn by `args.seed`. Nothing heavy is imported until then."""
    import keras
    from models.adversarial import GAN
    keras.utils.set_random_seed(args.seed)
    gan = GAN(args, network(args))
    gan.compile(d_optimizer=keras.optimizers.Adam(args.d_learning_rate, beta_1=args.beta_1),
                g_optimizer=keras.optimizers.Adam(args.g_learning_rate, beta_1=args.beta_1))
    return gan


def build_autoencoder(args):
    """Builds the autoencoder, compiled, whose decoder is the generator of `args` [forcecore gan.py; cartoon 1]."""
    import keras
    from models.autoencoder import Autoencoder
    keras.utils.set_random_seed(args.seed)
    autoencoder = Autoencoder(network(args).build_encoder(args), network(args).build_generator(args))
    autoencoder.compile(keras.optimizers.Adam(args.pretrain_learning_rate))
    return autoencoder
