"""training/scores: which checkpoints are scored, by what, and where the scores are kept."""
import json
import os
import pathlib
import types

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import args as constants
import data
import models
from models import features
from training import checkpoints, sampling, scores
from training.scores import drawing, evaluation, metrics, real, table

RUN = pathlib.Path("runs/toyfaces")


@pytest.fixture
def scored(tiny):
    """scored(**changes): a preset with enough toy faces to compute scores."""
    def preset(**changes):
        defaults = {"dataset_size": 120, "features": "colors.keras", "evaluate_count": 20,
                    "keep_every": 4}
        return tiny(**(defaults | changes))
    return preset


@pytest.fixture
def many_toys(here, scored):
    """The current folder, with 120 toy faces, and a network whose features are the mean color."""
    data.make(scored())
    network = keras.Sequential(
        [keras.Input([None, None, 3]), keras.layers.GlobalAveragePooling2D()])
    network.save("colors.keras")
    return here


def save_run(args):
    """Makes a run of three checkpoints."""
    folder = checkpoints.run_folder(args)
    (folder / "weights").mkdir(parents=True)
    for batch, brightness in ((4, 60), (6, 90), (8, 30)):
        checkpoints.checkpoint_path(folder, batch).write_text(str(brightness))
    record = {"preset": "ToyFaces", "overrides": {}, "constants": {},
              "fingerprint": data.fingerprint(args)}
    (folder / "args.json").write_text(json.dumps(record))


@pytest.fixture
def run(many_toys, scored, monkeypatch):
    """runs/toyfaces with three checkpoints. Returns the list of those that will be loaded.

    A checkpoint is a file with the brightness of the images to generate.
    """
    loaded = []

    def load_generator(sampler, path):
        loaded.append(path.name)
        sampler.brightness = int(path.read_text())

    monkeypatch.setattr(models, "build_sampler", lambda *arguments: types.SimpleNamespace())
    monkeypatch.setattr(checkpoints, "load_generator", load_generator)
    monkeypatch.setattr(sampling, "generate_images", generate_images)
    monkeypatch.setattr(table, "_plot", lambda *arguments: None)  # takes long
    save_run(scored())
    return loaded


def generate_images(args, sampler, count, labels=None):
    """Yields toy faces of the sampler's brightness, as `sampling.generate_images` does."""
    faces = data.open_images(args)[:count]
    for start in range(0, count, 8):
        numbers = range(start, min(start + 8, count))
        yield numbers, None, None, np.uint8(faces[numbers] / 255 * sampler.brightness)


# ---- evaluate

def test_newest_and_kept_checkpoints_are_scored_beside_real_images(run, scored, capsys):
    found = scores.evaluate(scored())
    assert list(found) == ["real", "000004", "000008"]
    assert run == ["000004.weights.h5", "000008.weights.h5"]
    assert found == scores.read_scores(RUN)
    distances = [found[label]["fd_colors_20"] for label in ("real", "000004", "000008")]
    assert distances == sorted(distances)
    printed = capsys.readouterr().out
    assert "checkpoints to score: 2, by 20 images each" in printed
    assert "000004: fd_colors_20" in printed and "(real " in printed
    assert f"kid_colors_20 in {RUN}/scores.csv: {RUN}/weights/000004.weights.h5" in printed
    assert Image.open(RUN / "neighbours.png").size == (8 * 64, 4 * 64)  # 16 pairs, four a row


def test_nothing_is_loaded_where_all_is_scored(run, scored, monkeypatch, capsys):
    first = scores.evaluate(scored())
    for module, name in ((features, "feature_network"), (models, "build_sampler"),
                         (checkpoints, "load_generator"), (data, "open_images")):
        monkeypatch.setattr(module, name, None)
    capsys.readouterr()
    assert scores.evaluate(scored()) == first
    assert capsys.readouterr().out.count("\n") == 1


def test_run_is_not_scored_against_other_images(run, scored):
    data.make(scored(seed=1))
    with pytest.raises(ValueError, match="other images"):
        scores.evaluate(scored())


def test_weights_of_any_name_are_scored(run, scored):
    (RUN / "weights/000006.weights.h5").rename("mine.weights.h5")
    found = scores.evaluate(scored(weights="mine.weights.h5"))
    assert list(found) == ["real", "mine"]
    assert found["mine"]["fd_colors_20"] > found["real"]["fd_colors_20"]


def test_scores_that_exist_stay_and_those_of_other_counts_are_added(run, scored):
    scores.evaluate(scored())
    (RUN / "weights/000008.weights.h5").rename(RUN / "weights/000012.weights.h5")
    changed = (RUN / "scores.csv").read_text().replace("\n000004,", "\n000004,1234")
    (RUN / "scores.csv").write_text(changed)
    found = scores.evaluate(scored())
    assert run[2:] == ["000012.weights.h5"]
    assert found["000004"]["fd_colors_20"] > 1e6
    both = scores.evaluate(scored(evaluate_count=30))["000004"]
    assert len(both) == 2 * len(found["000004"])
    assert found["000004"].items() <= both.items()


@pytest.mark.parametrize("changes, constant", [
    ({"test_fraction": 0.0}, "test_fraction"),
    ({"test_fraction": 0.04}, "test_fraction"),
    ({"evaluate_count": 9}, "evaluate_count"),
    ({"evaluate_count": 109}, "evaluate_count"),
    ({"features": "no.keras"}, "features"),
])
def test_scores_that_cannot_be_computed_are_refused(run, scored, changes, constant):
    for function in (scores.check, scores.evaluate):
        with pytest.raises((ValueError, FileNotFoundError), match=f"`{constant}`"):
            function(scored(**changes))
    scores.check(scored(evaluate_count=108))


def test_weights_with_other_classes_than_data_are_refused(run, scored, monkeypatch):
    monkeypatch.setattr(checkpoints, "class_names_of", lambda *arguments: ["cat", "dog"])
    with pytest.raises(ValueError, match="`weights`.*cat, dog.*silver"):
        scores.evaluate(scored(conditional=True))


def test_classifier_needs_labels(many_toys, scored):
    scores.check(scored(features="classifier"))
    with h5py.File("toyfaces.hdf5", "r+") as file:
        for name in ("labels", "label_names", "factors"):
            del file[name]
    with pytest.raises(ValueError, match="`features`"):
        scores.check(scored(features="classifier"))


def test_translation_needs_as_many_test_photos(many_toys, scored, monkeypatch):
    counts = {"faces": 120, "photos": 110}
    monkeypatch.setattr(data, "open_images", lambda args, name="faces": range(counts[name]))
    scores.check(scored(photos="photos/*", evaluate_count=11))
    with pytest.raises(ValueError, match="`evaluate_count`"):
        scores.check(scored(photos="photos/*", evaluate_count=12))


def test_labels_are_those_of_the_training_images_in_random_order(many_toys, scored, monkeypatch):
    labels = np.arange(120) % 8
    monkeypatch.setattr(data, "labels", lambda args: (labels, None))
    args = scored(test_fraction=0.5)
    train_rows, _ = data.split(args, 120)
    shuffled = evaluation.labels_in_true_shares(args, np.random.default_rng(0))
    assert not np.array_equal(shuffled, labels[train_rows])
    assert np.array_equal(np.sort(shuffled), np.sort(labels[train_rows]))


# ---- scores

def random_features(seed, count=50, with_classes=False):
    random = np.random.default_rng(seed)
    return features.Features(
        images=random.integers(0, 256, [count, 8, 8, 3], "uint8"),
        features=random.normal(size=[count, 4]),
        classes=random.integers(0, 3, [count, 1]) if with_classes else None)


@pytest.fixture
def reals():
    """RealFeatures of random images, with classes."""
    train, test = random_features(0, 50, True), random_features(1, 30, True)
    return real.RealFeatures(train, test, np.arange(80)[:, None] % 3)


def test_columns_are_named_after_network_and_number_of_images(scored, reals):
    generated = random_features(2, 20, True)
    names = ["fd", "kid", "precision", "recall", "density", "coverage", "diversity",
             "memorization", "checkerboard", "modes", "kl"]
    found = evaluation.scores_of(scored(), generated, reals)
    assert list(found) == [f"{name}_colors_20" for name in names]
    args = scored(features="nets/squeezenet.keras", evaluate_count=3000)
    assert table.column(args, "fd") == "fd_squeezenet_3k"
    generated = generated._replace(classes=None)
    assert "modes_colors_20" not in evaluation.scores_of(scored(), generated, reals)


def test_copies_of_one_real_image_are_precise_and_cover_nothing(scored, reals):
    test = reals.test
    found = evaluation.scores_of(scored(), test.take(np.zeros(20, int)), reals)
    assert found["precision_colors_20"] == 1 and found["recall_colors_20"] == 0
    true_share = np.mean(reals.classes == test.classes[0])
    assert found["modes_colors_20"] == 1
    assert found["kl_colors_20"] == pytest.approx(-np.log(true_share))


def test_copies_of_training_images_are_memorized(scored, reals):
    found = evaluation.scores_of(scored(), reals.train.take(np.arange(20)), reals)
    assert found["memorization_colors_20"] == 1


def test_checkerboard_is_relative_to_that_of_real_images(scored, reals):
    board = 200 * (np.indices((8, 8)).sum(0) % 2)
    images = np.repeat(np.uint8(board)[None, :, :, None], 20, axis=0).repeat(3, axis=3)
    generated = reals.train.take(np.arange(20))._replace(images=images)
    expected = metrics.checkerboard(images) / metrics.checkerboard(reals.test.images)
    found = evaluation.scores_of(scored(), generated, reals)["checkerboard_colors_20"]
    assert found == pytest.approx(expected)


def test_kid_scales_features_unless_they_are_of_inception(scored, reals):
    generated = random_features(2, 20, True)
    kid = evaluation.scores_of(scored(), generated, reals)["kid_colors_20"]
    ten_times = reals._replace(test=reals.test._replace(features=10 * reals.test.features))
    generated = generated._replace(features=10 * generated.features)
    scaled = evaluation.scores_of(scored(), generated, ten_times)["kid_colors_20"]
    assert scaled == pytest.approx(kid)
    found = evaluation.scores_of(scored(features="inception"), generated, ten_times)
    unscaled = metrics.kernel_distance(generated.features, ten_times.test.features)
    assert found["kid_inception_20"] == unscaled != pytest.approx(kid)


def test_real_images_without_that_period_leave_out_the_checkerboard(scored, reals):
    generated = random_features(2, 20, True)
    images = reals.test.images[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    enlarged = reals._replace(test=reals.test._replace(images=images))
    names = set(evaluation.scores_of(scored(), generated, reals))
    assert names - set(evaluation.scores_of(scored(), generated, enlarged)) == {
        "checkerboard_colors_20"}


def test_scores_of_real_images_are_of_a_sample_of_training_images(scored, reals):
    found = evaluation.scores_of_real_images(scored(), reals, np.random.default_rng(0))
    rows = np.random.default_rng(0).permutation(50)[:20]
    expected = evaluation.scores_of(scored(), reals.train.take(rows), reals)
    expected["memorization_colors_20"] = 0.5
    assert found == expected


# ---- the features of real images

def test_real_features_are_computed_once_and_kept_beside_the_data(many_toys, scored, monkeypatch):
    network = real.load_network(scored())
    found = real.real_features(scored(), network)
    images = data.open_images(scored())[:]
    train_rows, test_rows = data.split(scored(), 120)
    assert np.array_equal(found.train.images, images[train_rows])
    assert np.array_equal(found.test.images, images[test_rows])
    means = images.mean(axis=(1, 2))
    assert found.train.features == pytest.approx(means[train_rows], rel=1e-4)
    assert found.test.features == pytest.approx(means[test_rows], rel=1e-4)
    assert found.train.classes is None and found.classes is None

    monkeypatch.setattr(features, "extract_features", None)
    again = real.real_features(scored(), network)
    assert np.array_equal(found.train.features, again.train.features)
    assert len(os.listdir()) == 3  # data, network and features: no temporary file is left


def test_other_images_and_other_weights_have_files_of_their_own(many_toys, scored):
    presets = [scored(), scored(dataset_size=100), scored(test_fraction=0.2),
               scored(features="random")]
    names = {real.features_file(args) for args in presets}
    data.make(scored(seed=1))
    names.add(real.features_file(scored(seed=1)))
    os.mkdir("other")
    keras.Sequential([keras.Input([64, 64, 3]), keras.layers.Flatten()]).save("other/colors.keras")
    names.add(real.features_file(scored(seed=1, features="other/colors.keras")))
    assert len(names) == 6


def test_classifier_is_trained_once_and_kept_beside_the_data(
        many_toys, scored, monkeypatch, capsys):
    counts = []

    def train_classifier(images, labels, sizes):
        counts.append(len(images))
        inputs = keras.Input(images.shape[1:])
        colors = keras.layers.GlobalAveragePooling2D()(inputs)
        logits = [keras.layers.Dense(int(size))(colors) for size in sizes]
        return keras.Model(inputs, [colors, *logits])

    monkeypatch.setattr(features, "train_classifier", train_classifier)
    args = scored(features="classifier")
    first = real.real_features(args, real.load_network(args))
    assert first.test.classes.shape == (12, first.classes.shape[1])
    assert np.array_equal(first.classes, data.classes(args))
    assert "% of 12 test images" in capsys.readouterr().out
    again = real.real_features(args, real.load_network(args))
    assert np.array_equal(first.test.classes, again.test.classes)
    assert counts == [108]


# ---- scores.csv

def test_scores_are_written_and_read_with_six_digits(here):
    rows = {"real": {"fd_3k": 1.23456789}, "000100": {"fd_3k": 12345678.0, "kid_3k": -0.001}}
    table.write_scores(here / "run", rows)
    assert (here / "run/scores.csv").read_text() == (
        "checkpoint,fd_3k,kid_3k\nreal,1.23457,\n000100,1.23457e+07,-0.001\n")
    assert table.read_scores(here / "run") == {
        "real": {"fd_3k": 1.23457}, "000100": {"fd_3k": 1.23457e7, "kid_3k": -0.001}}
    assert sorted(os.listdir("run")) == ["scores.csv", "scores.png"]
    assert table.read_scores(here) == {}


@pytest.mark.parametrize("text", ["checkpoint;fd\nreal;1\n", "checkpoint,fd\nreal,x\n"])
def test_scores_that_another_program_changed_are_refused_and_kept(here, text):
    (here / "scores.csv").write_text(text)
    with pytest.raises(ValueError, match="scores.csv"):
        table.read_scores(here)
    assert (here / "scores.csv").read_text() == text


# ---- the best checkpoint

def test_best_checkpoint_has_the_lowest_kid_of_these_features(run, scored):
    table.write_scores(RUN, {
        "000004": {"kid_colors_20": 0.3, "fd_colors_20": 1.0, "kid_other_20": 0.1},
        "000005": {"kid_colors_20": 0.1},  # the checkpoint has been removed
        "000006": {"kid_colors_20": 0.2, "fd_colors_20": 2.0, "kid_other_20": 0.2}})

    def name_of(**changes):
        return scores.chosen_checkpoint(scored(**changes)).name

    assert name_of() == "000008.weights.h5"
    assert name_of(checkpoint="4") == "000004.weights.h5"
    assert name_of(checkpoint="4", seed=1) == "000004.weights.h5"
    assert name_of(checkpoint="best") == "000006.weights.h5"
    assert name_of(checkpoint="best", features="other.keras") == "000004.weights.h5"
    for changes in ({"checkpoint": "5"}, {"checkpoint": "best", "evaluate_count": 30}):
        with pytest.raises(FileNotFoundError, match="`checkpoint"):
            name_of(**changes)


# ---- true drawings of toy scenes

def test_error_by_hand():
    images = np.zeros([1, 2, 2, 3], "uint8")
    drawings = images.copy()
    drawings[0, 0, 0] = [30, 60, 90]
    assert drawing.error(images, drawings) == (30 + 60 + 90) / 12
    assert drawing.error(drawings, images) == (30 + 60 + 90) / 12  # uint8 does not wrap around


def test_edge_correlation_by_hand():
    first, second = np.zeros([2, 1, 3, 3, 1], "uint8")
    first[0, :, 1:] = 9  # a vertical edge: slopes of 9 at the left, of 0 in the middle
    second[0, 1:, 1:] = 4  # a corner: a slope of 4 to the right, one below, and none above both
    second[0, 2, 0] = 4
    # Deviations from the means: 4.5 (1, -1, 1, -1), and (-m, 4 - m, 4 r - m, -m) for r = 2 ** 0.5
    # and m = 1 + r. Their products are 4.5 (4 r - 4), their squares 81 and 48 - 4 m ** 2.
    root = 2 ** 0.5
    by_hand = 4.5 * (4 * root - 4) / np.sqrt(81 * (48 - 4 * (1 + root) ** 2))
    assert drawing.edge_correlation(first, second) == pytest.approx(by_hand)
    assert drawing.edge_correlation(first, 0 * first) == 0


def test_flat_share_counts_pixels_in_areas_of_one_gray():
    images = np.full((2, 20, 20, 3), 100, "uint8")
    images[0, :, 10:] = 200  # 16 x 16 neighborhoods, of which 16 x 4 see both areas
    assert drawing.flat_share(images) == pytest.approx(1 - 4 / 16 / 2)
    noise = np.random.default_rng(0).integers(0, 255, (1, 20, 20, 3), "uint8")
    assert drawing.flat_share(noise) == 0


def test_edge_contrast_is_high_if_few_pixels_have_all_slopes():
    image = np.zeros((1, 21, 21, 3), "uint8")
    assert drawing.edge_contrast(image) == 1
    image[:, :, 11:] = 200  # one column of 20: a twentieth of the slopes
    assert drawing.edge_contrast(image) == pytest.approx(20)
    ramp = np.uint8(np.arange(21)[:, None] * np.ones(3)) * np.ones((1, 21, 1, 1), "uint8")
    assert drawing.edge_contrast(ramp) == pytest.approx(1)


def test_toy_scenes_are_compared_with_their_true_drawings(run, monkeypatch):
    args = constants.override(
        constants.Cartoon64, image_shape=(32, 32, 3), dataset_size=50, evaluate_count=10,
        features="colors.keras")
    data.make(args)
    photos = data.denormalize(data.photos(args, 10))
    drawings = data.truths(args, 10)

    def translate(args, sampler, count, labels=None):
        yield range(count), None, None, (photos[:count] + np.float32(drawings[:count])) / 2

    monkeypatch.setattr(sampling, "generate_images", translate)
    save_run(args)
    found = scores.evaluate(args)
    assert found["photos"]["error_truth_10"] == pytest.approx(drawing.error(photos, drawings))
    assert found["000008"]["error_truth_10"] == pytest.approx(
        found["photos"]["error_truth_10"] / 2, rel=1e-4)
    correlations = [found[label]["edge_correlation_10"] for label in ("photos", "000008")]
    assert 0.2 < correlations[0] < correlations[1] < 1
