import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from args import Args, Cartoon64, Cartoon256, Even, KerasExample, override
from models import adversarial, autoencoder, cartoon, dcgan, even, latent, layers, losses, metrics

PYTORCH = {"use_bias": False, "generator_extra_filters": (), "g_leaky_slope": 0.0, "bn_epsilon": 1e-5}
REAL = np.float32(np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 3)))


def weights(variables):
    return [variable.numpy() for variable in variables]


def equal(before, after):
    return all((a == b).all() for a, b in zip(before, after, strict=True))


def trainable(network):
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


# ---- the networks

def test_the_default_networks_have_the_weights_of_the_original():
    assert dcgan.build_generator(Args).count_params() == 3_616_771
    assert dcgan.build_discriminator(Args).count_params() == 2_768_321


def test_without_biases_and_extra_layer_they_are_those_of_pytorch_examples():
    args = override(Args, **PYTORCH)
    assert trainable(dcgan.build_generator(args)) == 3_576_704
    assert trainable(dcgan.build_discriminator(args)) == 2_765_568


@pytest.mark.parametrize("shape, filters", [((64, 64, 3), (8, 8, 8, 8)), ((28, 28, 1), (8, 8)), ((96, 64, 3), (8,) * 5),
                                            ((32, 48, 1), (8, 8, 8))])
def test_the_generator_draws_any_multiple_of_its_upsampling(shape, filters):
    args = override(Args, image_shape=shape, generator_filters=filters, discriminator_filters=(8, 8))
    images = dcgan.build_generator(args)(tf.random.normal([2, 100]))
    assert images.shape == (2, *shape)
    assert dcgan.build_discriminator(args)(images).shape == (2, 1)
    assert dcgan.build_encoder(args)(images).shape == (2, 100)


def test_the_discriminator_judges_any_size():
    args = override(Args, image_shape=(50, 41, 1), discriminator_filters=(8, 8, 8))
    assert dcgan.build_discriminator(args)(tf.zeros([2, 50, 41, 1])).shape == (2, 1)


@pytest.mark.parametrize("shape", [(64, 60, 3), (64, 64, 2)])
def test_an_impossible_image_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"`image_shape` must be a multiple of 16 .*Received: image_shape=\(64, 6"):
        dcgan.build_generator(override(Args, image_shape=shape))


def test_an_unknown_network_or_initializer_is_refused():
    with pytest.raises(ValueError, match="`network` must be one of dcgan.*network=dcgen"):
        models.build(override(Args, network="dcgen"))
    with pytest.raises(ValueError, match="`kernel_initializer` must be normal or .*kernel_initializer=glorot"):
        models.build(override(Args, kernel_initializer="glorot"))


def test_the_generator_ends_in_tanh_and_nothing_but_d_s_first_layer_lacks_batch_norm():
    g, d = dcgan.build_generator(Args), dcgan.build_discriminator(Args)
    assert g.layers[-1].activation is keras.activations.tanh
    kinds = [type(layer).__name__ for layer in d.layers]
    assert kinds[1:5] == ["Conv2D", "LeakyReLU", "Conv2D", "BatchNormalization"]
    assert kinds.count("Conv2D") == 4 and kinds.count("BatchNormalization") == 3
    assert not any("Pooling" in kind for kind in kinds)


@pytest.mark.parametrize("shape", [(8, 4, 4, 6), (1, 1, 1, 3)])
def test_batch_norm_in_one_operation_equals_that_of_keras(shape):
    images, grad = np.random.default_rng(0).normal(2.0, 3.0, (2, *shape)).astype("float32")
    found = []
    for kind in layers.BatchNormalization, keras.layers.BatchNormalization:
        layer = kind(momentum=0.8)
        layer.build(shape)
        layer.gamma.assign(layer.gamma * 0.5)
        x = tf.Variable(images)
        with tf.GradientTape() as tape:
            outputs = layer(x, training=True)
        gradients = tape.gradient(outputs, [x, layer.gamma, layer.beta], output_gradients=tf.constant(grad))
        found.append([outputs, layer(x, training=False), *layer.weights, *gradients])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


def test_the_networks_start_from_normal_weights_of_deviation_0_02():
    keras.utils.set_random_seed(0)
    kernel = dcgan.build_discriminator(Args).layers[3].kernel.numpy()
    assert kernel.std() == pytest.approx(0.02, rel=0.01) and kernel.mean() == pytest.approx(0, abs=1e-4)


# ---- z

def test_z_is_drawn_as_named():
    normal, uniform, binary = (latent.draw(kind, [200, 100], [1, 2]).numpy()
                               for kind in ("normal", "uniform", "binary"))
    assert normal.std() == pytest.approx(1, abs=0.02) and normal.mean() == pytest.approx(0, abs=0.02)
    assert uniform.std() == pytest.approx(1 / 3 ** 0.5, abs=0.01) and -1 <= uniform.min() < uniform.max() < 1
    assert 0.9 <= np.abs(binary).min() < np.abs(binary).max() <= 1.1
    assert (binary > 0).mean() == pytest.approx(0.5, abs=0.02)
    jitter = np.abs(binary) - 1
    assert np.corrcoef(jitter.flat, np.sign(binary).flat)[0, 1] != pytest.approx(1, abs=0.5)
    with pytest.raises(ValueError, match="`latent` must be normal, uniform or binary.*latent=gauss"):
        latent.draw("gauss", [1, 1], [0, 0])


def test_the_great_circle_keeps_the_length_and_the_ends():
    start, end = np.float32([1, 0]), np.float32([0, 1])
    walk = latent.slerp(start, end, [0, 0.5, 1])
    assert walk == pytest.approx(np.float32([[1, 0], [0.5 ** 0.5, 0.5 ** 0.5], [0, 1]]), abs=1e-6)
    assert latent.lerp(start, end, [0.5]) == pytest.approx(np.float32([[0.5, 0.5]]))
    assert latent.slerp(start, 3 * start, [0.5]) == pytest.approx(np.float32([[2, 0]]))


# ---- what D is told

def test_labels_are_uniform_between_their_limits():
    soft = losses.labels((0.7, 1.2), (0.0, 0.0), 0.0, 10000, [0, 0]).numpy()
    assert soft.shape == (10000, 1) and 0.7 <= soft.min() < 0.71 and 1.19 < soft.max() < 1.2
    assert soft.mean() == pytest.approx(0.95, abs=0.01)
    same = losses.labels((0.9, 0.9), (0.0, 0.0), 0.0, 10, [0, 0]).numpy()
    assert set(same.flat) == {np.float32(0.9)}


def test_cross_entropy_by_hand():
    assert float(losses.cross_entropy(tf.constant([[0.0]]), 0.9)) == pytest.approx(np.log(2))
    # -(0.9 ln sigmoid(1) + 0.1 ln(1 - sigmoid(1))) = 0.9 * 0.31326 + 0.1 * 1.31326
    assert float(losses.cross_entropy(tf.constant([[1.0]]), 0.9)) == pytest.approx(0.41326, abs=1e-5)
    # a sigmoid first would stop at 16.1
    assert float(losses.cross_entropy(tf.constant([[-50.0]]), 1.0)) == pytest.approx(50)


# ---- what images are like

def test_metrics_by_hand():
    halves = np.ones([1, 4, 4, 3])
    halves[:, :2] = -1
    assert metrics.contrast(halves) == 1 and metrics.contrast(np.ones([2, 4, 4, 3])) == 0
    assert metrics.saturation(np.float32([[0.96, -0.96, 0.94, 0.0]])) == 0.5
    flat = np.float32([0, 1, 3])[:, None, None, None] * np.ones([3, 4, 4, 3], "float32")
    assert metrics.distances(flat) == pytest.approx(np.array([[1, 3], [1, 2], [3, 2]]))


# ---- the step

def test_d_step_leaves_g_untouched(deep):
    gan = models.build(deep(g_learning_rate=0.0, ema_decay=0.0))
    before = weights(gan.generator.trainable_weights), weights(gan.discriminator.trainable_weights)
    gan.train_step(REAL)
    assert equal(before[0], weights(gan.generator.trainable_weights))
    assert not any((a == b).all() for a, b in zip(before[1], weights(gan.discriminator.trainable_weights))
                   if a.ndim > 1)


def test_g_step_leaves_d_untouched_even_its_moving_averages(deep):
    gan = models.build(deep(d_learning_rate=0.0))
    d, before = gan.discriminator, weights(gan.generator.trainable_weights)
    twin = keras.models.clone_model(d)
    twin.set_weights(d.get_weights())
    fake = keras.models.clone_model(gan.generator)
    fake.set_weights(gan.generator.get_weights())
    fake = fake(gan.draw(8), training=True)
    gan.train_step(REAL)
    twin(REAL, training=True)  # what D's own step shows it: real, then fake, and no more
    twin(fake, training=True)
    for a, b in zip(weights(d.weights), weights(twin.weights)):
        assert a == pytest.approx(b, abs=1e-6)
    assert not any((a == b).all() for a, b in zip(before, weights(gan.generator.trainable_weights)) if a.ndim > 1)


def test_fakes_cannot_change_what_d_says_of_reals(deep):
    """Batch norm sees real and fake apart [ganhacks 4]."""
    one, other = models.build(deep()), models.build(deep())
    for weight in other.generator.trainable_weights:
        weight.assign(weight + 0.1)
    logs, other_logs = one.train_step(REAL), other.train_step(REAL)
    assert float(logs["d_loss_real"]) == float(other_logs["d_loss_real"])
    assert float(logs["d_loss_fake"]) != float(other_logs["d_loss_fake"])


def test_the_step_equals_the_textbook_with_a_second_generator_pass(deep):
    args = deep(real_labels=(0.9, 0.9), fake_labels=(0.1, 0.1), ema_decay=0.0)
    gan, plain = models.build(args), models.build(args)
    for one in gan, plain:
        one.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    g, d, z = plain.generator, plain.discriminator, plain.draw(8)
    bce = keras.losses.BinaryCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        loss = (bce(0.9 * tf.ones([8, 1]), d(REAL, training=True))
                + bce(0.1 * tf.ones([8, 1]), d(g(z, training=True), training=True))) / 2
    for weight, gradient in zip(d.trainable_weights, tape.gradient(loss, d.trainable_weights)):
        weight.assign(weight - 0.1 * gradient)
    with tf.GradientTape() as tape:
        loss = bce(tf.ones([8, 1]), d(g(z, training=True), training=True))
    for weight, gradient in zip(g.trainable_weights, tape.gradient(loss, g.trainable_weights)):
        weight.assign(weight - 0.1 * gradient)
    logs = gan.train_step(REAL)
    assert float(logs["g_loss"]) == pytest.approx(float(loss), rel=1e-5)
    for network, same in (gan.generator, g), (gan.discriminator, d):
        for a, b in zip(network.trainable_weights, same.trainable_weights):
            assert a.numpy() == pytest.approx(b.numpy(), abs=1e-6)


def test_both_optimizers_learn_in_fit(deep):
    gan = models.build(deep())
    gan.fit(tf.data.Dataset.from_tensors(REAL).repeat(), steps_per_epoch=3, verbose=0, shuffle=False)
    assert int(gan.batch) == int(gan.d_optimizer.iterations) == int(gan.g_optimizer.iterations) == 3


def test_random_numbers_depend_on_seed_batch_and_purpose_alone(deep):
    gan, other = models.build(deep()), models.build(deep(seed=1))
    z = gan.draw(8).numpy()
    assert (gan.draw(8).numpy() == z).all()
    gan.batch.assign(1)
    assert (gan.draw(8).numpy() != z).all() and (gan.draw(8, batch=0).numpy() == z).all()
    assert (gan.draw(8, adversarial.GRID, 0).numpy() != z).all() and (other.draw(8).numpy() != z).all()


def test_the_seed_draws_the_first_weights(deep):
    one, same, other = models.build(deep()), models.build(deep()), models.build(deep(seed=1))
    assert equal(weights(one.weights), weights(same.weights))
    assert not equal(weights(one.weights), weights(other.weights))


# ---- the averaged generator

def test_the_average_moves_as_its_formula_says(deep):
    gan = models.build(deep(ema_decay=0.25))
    before = weights(gan.generator_ema.trainable_weights)
    gan.train_step(REAL)
    # After one batch (1 + 1) / (10 + 1) = 0.18 is below 0.25, after 20 it is above.
    for b, w, a in zip(before, gan.generator.trainable_weights, gan.generator_ema.trainable_weights):
        assert a.numpy() == pytest.approx(2 / 11 * b + 9 / 11 * w.numpy(), abs=1e-6)
    gan.batch.assign(20)
    before = weights(gan.generator_ema.trainable_weights)
    gan.train_step(REAL)
    for b, w, a in zip(before, gan.generator.trainable_weights, gan.generator_ema.trainable_weights):
        assert a.numpy() == pytest.approx(0.25 * b + 0.75 * w.numpy(), abs=1e-6)


def test_settling_gives_the_average_the_statistics_of_its_own_images(tiny):
    gan = models.build(tiny())
    gan.settle()
    z = gan.draw(256, adversarial.STATISTICS)
    settled = gan.generator_ema(z, training=False).numpy()
    assert np.abs(settled - gan.generator(z, training=True)).max() < 1e-5
    assert np.abs(settled[:4] - gan.sample(z[:4])).max() < 1e-5


# ---- the pretraining

def test_the_autoencoder_learns_to_reproduce(tiny):
    model = models.build_pretraining(tiny())
    smooth = np.float32(np.linspace(-1, 1, 64)[None, :, None, None] * np.ones((8, 64, 64, 3)))
    errors = [float(model.train_step(smooth)["mse"]) for _ in range(30)]
    assert isinstance(model, autoencoder.Autoencoder) and int(model.batch) == 30
    assert errors[-1] < 0.5 * errors[0]


# ---- the networks of the Keras example

def test_the_keras_example_has_its_published_networks():
    model = models.build(KerasExample)
    # By hand: 128 * 8192 + 8192; 4 * 4 * (128 * 128 + 128 * 256 + 256 * 512) + 896; 5 * 5 * 512 * 3 + 3
    assert model.generator.count_params() == 1_056_768 + 2_884_480 + 38_403
    # 4 * 4 * (3 * 64 + 64 * 128 + 128 * 128) + 320; 8 * 8 * 128 + 1
    assert model.discriminator.count_params() == 396_608 + 8_193
    images = model.sample(model.draw(2))
    assert images.shape == (2, 64, 64, 3) and float(tf.reduce_max(tf.abs(images))) <= 1


def test_the_keras_example_trains(deep):
    args = override(KerasExample, batch_size=8, generator_filters=(8, 8, 8), discriminator_filters=(8, 8, 8))
    logs = models.build(args).train_step(tf.zeros([8, 64, 64, 3]))
    assert all(np.isfinite(float(value)) for value in logs.values())


def test_what_the_keras_example_does_not_know_is_refused():
    with pytest.raises(ValueError, match="`spectral_norm` must be False for the networks of network=keras_example"):
        models.build(override(KerasExample, spectral_norm=True))


# ---- even numbers

def test_numbers_are_written_as_bits_and_read_again():
    assert even.bits([6], 4)[0, 0, :, 0].tolist() == [0, 255, 255, 0]  # 0110
    assert even.numbers(even.bits(np.arange(1024), 10)).tolist() == list(range(1024))


def test_what_the_networks_of_even_numbers_do_not_know_is_refused():
    with pytest.raises(ValueError, match="`use_bias` must be True for the networks of network=even"):
        models.build(override(Even, use_bias=False))
    with pytest.raises(ValueError, match="`flip` must be False for the networks of network=even"):
        models.build(override(Even, flip=True))
    with pytest.raises(ValueError, match=r"`image_shape` must be \(1, bits, 1\)"):
        models.build(override(Even, image_shape=(2, 10, 1)))


# ---- photos into cartoons

@pytest.fixture
def sketch(here, monkeypatch):
    """A tiny CartoonGAN, whose content is what two convolutions of a .keras file see."""
    monkeypatch.setattr(cartoon, "BLOCKS", 2)  # of eight, most of the time is their graph
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input([None, None, 3]), keras.layers.Conv2D(4, 3, name="first"),
                              keras.layers.Conv2D(4, 3, name="second")])
    images = keras.Input([None, None, 3])
    keras.Model(images, inner(keras.layers.Rescaling(1 / 255)(images))).save("net.keras")
    return override(Cartoon64, image_shape=(16, 16, 3), generator_filters=(4, 8, 8), discriminator_filters=(4, 4),
                    content_features="net.keras:first", photos="photos/*")


def triple(seed=0):
    return tuple(np.float32(np.random.default_rng([seed, part]).uniform(-1, 1, (4, 16, 16, 3))) for part in range(3))


def test_inner_features_are_those_of_the_layer(sketch):
    whole = keras.models.load_model("net.keras")
    images = np.float32(np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)))
    wanted = whole.layers[-1].get_layer("first")(images / 255)
    assert np.allclose(metrics.inner_network("net.keras:first")(images), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="must name a layer of the .keras file.*net.keras:third"):
        metrics.inner_network("net.keras:third")


def test_content_distance_is_nothing_of_the_same_and_much_of_another(sketch):
    content = cartoon.Content(sketch.content_features)
    photos, others, _ = triple()
    assert float(content.distance(photos, photos)) == 0
    assert 0 < float(content.distance(photos, photos + 0.01)) < 0.05 < 0.3 < float(content.distance(photos, others))


def test_content_is_compared_at_places_that_change_alike_in_both(sketch):
    content = cartoon.Content(sketch.content_features)
    photos, others, _ = triple()
    shifted = [float(content.distance(photos, others, [0, number])) for number in (1, 1, 2)]
    assert shifted[0] == shifted[1] != shifted[2] and float(content.distance(photos, photos, [0, 1])) == 0


def test_a_cartoon_is_as_large_as_its_photo_and_d_judges_its_patches(sketch):
    model = models.build(sketch)
    for rows, columns in (16, 16), (24, 32), (64, 20):
        cartoons = model.sample(tf.zeros([1, rows, columns, 3]))
        assert cartoons.shape == (1, rows, columns, 3) and float(tf.reduce_max(tf.abs(cartoons))) <= 1
    # One stride down: 8 x 8 patches. Patch r looks at pixels 2r - 6 to 2r + 6, so the last pixel, 15, is seen from the
    # fifth on; of the first ones, only what the statistics of the whole image pass on is left.
    images = np.zeros((2, 16, 16, 3), "float32")
    images[1, 15, 15] = 0.001
    logits = model.discriminator(images).numpy()
    row, column = divmod(abs(logits[0] - logits[1]).argmax(), 8)
    assert logits.shape == (2, 64) and min(row, column) >= 5


def test_the_paper_s_networks_are_built():
    # By hand, weights and biases: 9,472; 73,856 + 147,584 + 256; 295,168 + 590,080 + 512; 8 blocks of 2 x 590,080 +
    # 1,024; up, kernels of 3, 295,040 + 147,584 + 256 and 73,792 + 36,928 + 128; 9,411; instance norm first: 128.
    parts = 9_472 + 128, 221_696, 885_760, 8 * 1_181_184, 442_880, 110_848, 9_411
    assert cartoon.build_generator(Cartoon256).count_params() == sum(parts)
    assert cartoon.build_discriminator(Cartoon256).output.shape == (None, 64 * 64)


def test_cartoons_smoothed_are_fake_to_d_and_each_network_learns_in_its_own_step(sketch):
    def d_loss_fake(smoothed):
        model = models.build(sketch)
        images, photos, _ = triple()
        return float(model.train_step((images, photos, smoothed))["d_loss_fake"])

    assert d_loss_fake(triple()[2]) != d_loss_fake(0 * triple()[2])
    model = models.build(override(sketch, g_learning_rate=0.0))
    before = weights(model.generator.weights), weights(model.discriminator.trainable_weights)
    model.train_step(triple())
    assert equal(before[0], weights(model.generator.weights))
    assert not equal(before[1], weights(model.discriminator.trainable_weights))


def test_content_holds_g_where_it_weighs_much(sketch):
    """With a weight of 0 the distance stays as it is; with a high one it falls."""
    falls = []
    for weight in 0.0, 100.0:
        model = models.build(override(sketch, content_weight=weight, g_learning_rate=1e-3))
        distances = [float(model.train_step(triple())["content_distance"]) for _ in range(25)]
        falls.append(distances[-1] / distances[0])
    assert falls[1] < 0.8 < 0.9 < falls[0]


def test_cartoon_pretraining_learns_content_without_d(sketch):
    model = models.build_pretraining(override(sketch, pretrain_learning_rate=1e-3))
    distances = [float(model.train_step(triple())["content_distance"]) for _ in range(40)]
    assert distances[-1] < 0.8 * distances[0] and set(model.networks) == {"generator"} and int(model.batch) == 40


@pytest.mark.parametrize("changes, said", [
    ({"photos": ""}, "`network` and `photos` can't go together"),
    ({"r1_weight": 1.0}, "`r1_weight` must be 0.0 for the networks of network=cartoon"),
    ({"image_shape": (18, 16, 3)}, "`image_shape` must be a multiple of 4"),
    ({"content_features": "net.keras"}, "`content_features` must be vgg19, or a .keras file"),
])
def test_what_cartoons_cannot_be_made_with_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        models.build(override(Cartoon64, **({"photos": "photos/*"} | changes)))
