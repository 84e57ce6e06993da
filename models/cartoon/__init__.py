"""CartoonGAN: a generator that turns photos into cartoons, learned without pairs of them.

D tells cartoons from generated images and from cartoons with blurred edges, so G must learn clear
edges. G keeps the content of a photo: a fixed network computes similar features of the photo and of
the generated image.

With the paper's networks and losses photos become softer, and their style changes little
[measured]. So there is a second G, a U-Net that starts as the identity, a D that sees contrast and
colors, and more terms in G's loss. The term that helps most needs no D: cartoons are degraded to
something like photos, which is easy, and G learns to restore them. Toy photos lack the texture of
real photos. For these a second term teaches G the output of a filter, flat areas with outlines.

References: Chen 2018, "CartoonGAN: Generative Adversarial Networks for Photo Cartoonization", CVPR;
    Wang 2020, "Learning to Cartoonize Using White-box Cartoon Representations", CVPR; [cartoon 5]
"""
from models.cartoon.gan import CartoonGAN, PhotoPretraining
from models.cartoon.networks import build_discriminator, build_generator, multiple

__all__ = ["CartoonGAN", "PhotoPretraining", "build_discriminator", "build_generator", "multiple"]
