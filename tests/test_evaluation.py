import csv
import os

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import args as constants
import data
from models import features, metrics
from training import evaluation


@pytest.fixture
def scored(tiny):
    """scored(**changes): a preset with enough toy faces to compute scores."""
    def preset(**changes):
        defaults = {"dataset_size": 200, "features": "classifier", "evaluate_count": 20}
        return tiny(**(defaults | changes))
    return preset


@pytest.fixture
def many_toys(here, scored):
    """The current folder, with 200 toy faces in toyfaces.hdf5."""
    data.make(scored())
    return here


@pytest.fixture
def trained_on(monkeypatch):
    """Makes untrained networks of classifiers; a list of the numbers of images they got."""
    counts = []

    def train(images, labels, sizes):
        counts.append(len(images))
        inputs = keras.Input(images.shape[1:])
        colors = keras.layers.GlobalAveragePooling2D()(inputs)
        logits = [keras.layers.Dense(int(size))(colors) for size in sizes]
        return keras.Model(inputs, [colors, *logits])

    monkeypatch.setattr(features, "train_classifier", train)
    return counts


def save_mean_color_network(path):
    """Saves a network whose features are the mean color of an image."""
    network = keras.Sequential([keras.Input([None, None, 3]),
                                keras.layers.GlobalAveragePooling2D()])
    network.save(path)


# ---- check_scores

def test_scores_of_enough_images_are_accepted(many_toys, scored):
    evaluation.check_scores(scored())
    evaluation.check_scores(scored(evaluate_count=180, features="inception"))


@pytest.mark.parametrize("changes, message", [
    ({"test_fraction": 0.0}, "`test_fraction`.*Received: test_fraction=0.0, 200 images"),
    ({"test_fraction": 0.04}, "`test_fraction`.*Received: test_fraction=0.04, 200 images"),
    ({"evaluate_count": 9}, "`evaluate_count`.*Received: evaluate_count=9, 180 images"),
    ({"evaluate_count": 181}, "`evaluate_count`.*Received: evaluate_count=181, 180 images"),
    ({"features": "no.keras"}, "`features`.*Received: features=no.keras"),
    ({"features": "vgg"}, "`features`.*Received: features=vgg"),
])
def test_scores_that_cannot_be_computed_are_refused(many_toys, scored, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        evaluation.check_scores(scored(**changes))


def test_classifier_needs_labels(many_toys, scored):
    with h5py.File("toyfaces.hdf5", "r+") as file:
        del file["labels"]
        del file["factors"]
    with pytest.raises(ValueError, match="classifier"):
        evaluation.check_scores(scored())
    evaluation.check_scores(scored(features="inception"))


def test_random_filters_need_images_that_they_fit_in(here, scored):
    small = scored(images="even", image_shape=(1, 12, 1), features="random")
    data.make(small)
    with pytest.raises(ValueError, match="`features=random` needs images of at least 12x12"):
        evaluation.check_scores(small)
    images = np.zeros([20, 12, 12, 3], "uint8")
    assert features.extract_features(features.feature_network("random"), images).features.any()


def test_translation_needs_as_many_test_photos(many_toys, scored, monkeypatch):
    counts = {"faces": 200, "photos": 150}
    monkeypatch.setattr(data, "open_images", lambda args, name="faces": range(counts[name]))
    args = scored(photos="photos/*", features="inception", evaluate_count=15)
    evaluation.check_scores(args)
    args = constants.override(args, evaluate_count=16)
    with pytest.raises(ValueError, match="`evaluate_count`.*evaluate_count=16, 15 photos"):
        evaluation.check_scores(args)


# ---- real_features

def test_real_features_are_those_of_training_and_test_images(many_toys, scored):
    save_mean_color_network("color.keras")
    args = scored(features="color.keras")
    real = evaluation.real_features(args)
    images = data.open_images(args)[:]
    train_rows, test_rows = data.split(args, 200)
    assert np.array_equal(real.train.images, images[train_rows])
    assert np.array_equal(real.test.images, images[test_rows])
    means = images.mean((1, 2))
    assert real.train.features == pytest.approx(means[train_rows], rel=1e-4)
    assert real.test.features == pytest.approx(means[test_rows], rel=1e-4)
    assert real.train.classes is None and real.classes is None


def test_classifier_is_trained_once_and_kept_beside_the_data(many_toys, scored, trained_on, capsys):
    args = scored()
    first = evaluation.real_features(args)
    printed = capsys.readouterr().out
    assert "Training a classifier" in printed and "% of the 20 test images" in printed
    path = f"toyfaces.classifier-{data.fingerprint(args)}-180.keras"
    assert sorted(os.listdir()) == [path, "toyfaces.hdf5"]
    assert np.array_equal(first.classes, data.classes(args))
    assert first.test.classes.shape == (20, first.classes.shape[1])
    again = evaluation.real_features(args)
    assert "Training a classifier" not in capsys.readouterr().out
    assert trained_on == [180]
    assert np.array_equal(first.test.features, again.test.features)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"test_fraction": 0.2}, {"dataset_size": 150}])
def test_other_images_have_a_classifier_of_their_own(many_toys, scored, changes, trained_on):
    evaluation.real_features(scored())
    if "seed" in changes:
        os.remove("toyfaces.hdf5")
        data.make(scored(**changes))
    evaluation.real_features(scored(**changes))
    evaluation.real_features(scored(**changes))
    assert len(trained_on) == 2
    assert len([name for name in os.listdir() if "classifier" in name]) == 2


def test_real_images_in_floats_are_scored_as_bytes(here, scored):
    bits = np.sign(np.random.default_rng(0).normal(size=[100, 1, 4, 1]))
    with h5py.File("bits.hdf5", "w") as file:
        file["faces"] = np.float32(bits)
    keras.Sequential([keras.Input([1, 4, 1]), keras.layers.Flatten()]).save("bits.keras")
    args = scored(data="bits.hdf5", features="bits.keras", image_shape=(1, 4, 1))
    real = evaluation.real_features(args)
    assert real.train.images.dtype == np.uint8
    assert set(np.unique(real.train.features)) == {0.0, 255.0}


# ---- scores

def random_features(seed, count=50, with_classes=False):
    random = np.random.default_rng(seed)
    return features.Features(
        images=random.integers(0, 256, [count, 8, 8, 3], "uint8"),
        features=random.normal(size=[count, 4]),
        classes=random.integers(0, 3, [count, 1]) if with_classes else None)


@pytest.fixture
def real():
    """RealFeatures of random images, with classes."""
    train, test = random_features(0, 50, True), random_features(1, 30, True)
    return evaluation.RealFeatures(None, train, test, np.arange(80)[:, None] % 3)


def test_scores_are_named_after_network_and_number_of_images(scored, real):
    generated = random_features(2, 20, True)
    names = ["fd", "kid", "precision", "recall", "density", "coverage", "diversity",
             "memorization", "checkerboard", "modes", "kl"]
    scores = evaluation.scores_of(scored(), generated, real)
    assert list(scores) == [f"{name}_classifier_20" for name in names]
    args = scored(features="nets/squeezenet.keras", evaluate_count=3000)
    assert "fd_squeezenet_3k" in evaluation.scores_of(args, generated, real)


def test_scores_are_those_of_metrics(scored, real):
    generated = random_features(2, 20, True)
    scores = evaluation.scores_of(scored(), generated, real)
    expected = metrics.scores(generated, real.train, real.test, real.classes)
    assert list(scores.values()) == list(expected.values())
    scores = evaluation.scores_of(scored(features="inception"), generated, real)
    unscaled = metrics.scores(generated, real.train, real.test, real.classes, inception=True)
    assert scores["kid_inception_20"] == unscaled["kid"] != expected["kid"]


@pytest.mark.parametrize("with_classes", [False, True])
def test_scores_of_real_images_are_of_a_sample_of_training_images(scored, real, with_classes):
    if not with_classes:
        real = real._replace(train=real.train._replace(classes=None))
    scores = evaluation.scores_of_real_images(scored(), real, np.random.default_rng(0))
    rows = np.random.default_rng(0).permutation(50)[:20]
    sample = features.Features(real.train.images[rows], real.train.features[rows],
                               real.train.classes[rows] if with_classes else None)
    expected = evaluation.scores_of(scored(), sample, real)
    expected["memorization_classifier_20"] = 0.5
    assert scores == expected
    assert ("modes_classifier_20" in scores) == with_classes


def test_toy_scenes_are_compared_with_their_true_drawings(here):
    args = constants.override(
        constants.Cartoon64, image_shape=(32, 32, 3), dataset_size=50, evaluate_count=10)
    data.make(args)
    photos = data.denormalize(data.photos(args, 10))
    truths = data.truths(args, 10)
    scores = evaluation.truth_scores(args, photos)
    assert scores == {"error_truth_10": metrics.error(photos, truths),
                      "edge_correlation_10": metrics.edge_correlation(photos, truths)}
    assert evaluation.truth_scores(args, truths) == {
        "error_truth_10": 0, "edge_correlation_10": pytest.approx(1)}
    # Each photo resembles its own drawing the most.
    differences = metrics.distances(photos, truths)
    assert (differences.argmin(axis=1) == np.arange(10)).mean() >= 0.7


def test_other_images_have_no_true_drawings(many_toys, scored):
    assert evaluation.truth_scores(scored(), None) == {}


def test_labels_are_those_of_the_training_images_in_random_order(many_toys, scored):
    args = scored(test_fraction=0.5)
    labels, _ = data.open_labels(args)
    train_rows, _ = data.split(args, 200)
    shuffled = evaluation.labels_in_true_shares(args, np.random.default_rng(0))
    assert not np.array_equal(shuffled, labels[train_rows])
    assert np.array_equal(np.sort(shuffled), np.sort(labels[train_rows]))


def test_checkpoint_is_scored_if_the_table_has_its_count_and_network(here, scored):
    assert not evaluation.is_scored(scored(), here, "000100")
    evaluation.write_scores(here, {"real": {"fd_classifier_20": 1.0},
                                   "000100": {"fd_classifier_20": 2.0},
                                   "000200": {"fd_classifier_30": 2.0}})
    assert evaluation.is_scored(scored(), here, "000100")
    assert not evaluation.is_scored(scored(), here, "000200")
    assert evaluation.is_scored(scored(evaluate_count=30), here, "000200")
    assert not evaluation.is_scored(scored(features="inception"), here, "000100")


def test_scores_are_printed_beside_those_of_real_images(capsys):
    evaluation.print_scores("000100", {"fd": 1.23456, "kid": 2.0}, {"fd": 0.5, "kid": 1e-5})
    printed = capsys.readouterr().out
    assert printed == "000100: fd 1.235 (real 0.5), kid 2 (real 1e-05)\n"
    evaluation.print_scores("000100", {"error": 1.0}, {"error": 2.0}, "photos")
    assert capsys.readouterr().out == "000100: error 1 (photos 2)\n"


# ---- scores.csv

def test_scores_are_written_and_read_with_six_digits(here):
    table = {"real": {"fd_3k": 1.23456789}, "000100": {"fd_3k": 12345678.0, "kid_3k": -0.001}}
    evaluation.write_scores(here / "run", table)
    assert (here / "run/scores.csv").read_text() == (
        "checkpoint,fd_3k,kid_3k\nreal,1.23457,\n000100,1.23457e+07,-0.001\n")
    assert evaluation.read_scores(here / "run") == {
        "real": {"fd_3k": 1.23457}, "000100": {"fd_3k": 1.23457e7, "kid_3k": -0.001}}
    assert sorted(path.name for path in (here / "run").iterdir()) == ["scores.csv", "scores.png"]


def test_scores_of_a_folder_without_any_are_empty(here):
    assert evaluation.read_scores(here) == {}


def test_new_scores_are_added_in_the_order_of_batches(here):
    evaluation.write_scores(here, {"real": {"fd_3k": 1.0}, "000200": {"fd_3k": 3.0}})
    evaluation.write_scores(here, {"real": {"fd_3k": 1.0}, "1000000": {"fd_3k": 2.0}})
    evaluation.write_scores(here, {"real": {"fd_4k": 5.0}, "000100": {"fd_4k": 6.0}})
    evaluation.write_scores(here, {"other-run": {"fd_4k": 7.0}})
    with open(here / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [row["checkpoint"] for row in rows]
    assert labels == ["real", "000100", "000200", "1000000", "other-run"]
    scores = evaluation.read_scores(here)
    assert scores["real"] == {"fd_3k": 1.0, "fd_4k": 5.0}
    assert scores["000200"] == {"fd_3k": 3.0} and scores["000100"] == {"fd_4k": 6.0}


def test_scores_of_photos_come_after_those_of_real_images(here):
    evaluation.write_scores(here, {"real": {"fd_3k": 1.0}, "000200": {"fd_3k": 3.0, "error": 5.0},
                                   "photos": {"error": 9.0}})
    lines = (here / "scores.csv").read_text().split()
    assert lines == ["checkpoint,fd_3k,error", "real,1,", "photos,,9", "000200,3,5"]


@pytest.mark.parametrize("text", [
    "checkpoint;fd_3k\n000100;1\n", "checkpoint,fd_3k\n000100,one\n",
    "checkpoint,fd_3k\n000100,1,2\n"])
def test_scores_in_another_format_are_refused(here, text):
    (here / "scores.csv").write_text(text)
    with pytest.raises(ValueError, match="scores.csv must have a column checkpoint"):
        evaluation.read_scores(here)


def test_scores_of_checkpoints_that_will_be_trained_again_are_removed(here):
    scores = {"fd_3k": 1.0}
    labels = ["real", "000100", "000100-seed1", "runs-other-000200"]
    later = ["000200", "000200-seed1"]
    evaluation.write_scores(here, {label: scores for label in labels + later})
    evaluation.remove_later_scores(here, 100)
    assert list(evaluation.read_scores(here)) == labels


def test_scores_are_plotted_in_three_columns(here):
    names = ["fd", "kid", "recall", "precision"]
    evaluation.write_scores(here, {"real": dict.fromkeys(names, 1.0),
                                   "000100": dict.fromkeys(names, 2.0)})
    assert Image.open(here / "scores.png").size == (800, 2 * 176)


# ---- the best checkpoint

@pytest.fixture
def table(here):
    """The run folder, with a scores.csv of three checkpoints by two networks."""
    run = here / "runs/toyfaces"
    evaluation.write_scores(run, {
        "real": {"fd_classifier_20": 1.0, "fd_colors_20": 1.0},
        "000002": {"fd_classifier_20": 9.0, "fd_colors_20": 3.0},
        "000004": {"fd_classifier_20": 5.0, "fd_colors_20": 4.0},
        "000006": {"fd_classifier_20": 7.0},
        "000006-seed1": {"fd_classifier_20": 2.0},
        "runs-other-weights-000002": {"fd_classifier_20": 3.0}})
    return run


def test_best_checkpoint_has_the_lowest_distance_of_these_features(table, scored):
    assert evaluation.best_checkpoint(scored(), table) == "000004"
    assert evaluation.best_checkpoint(scored(features="colors.keras"), table) == "000002"
    assert evaluation.best_checkpoint(scored(evaluate_count=30), table) is None


def test_best_checkpoint_is_printed_with_its_path(table, scored, capsys):
    (table / "weights/000004").mkdir(parents=True)
    evaluation.print_best(scored(), table)
    evaluation.print_best(scored(features="colors.keras"), table)
    evaluation.print_best(scored(evaluate_count=30), table)
    assert capsys.readouterr().out == (
        f"The lowest fd_classifier_20 of the run is 5: {table}/weights/000004\n"
        f"The lowest fd_colors_20 of the run is 3: {table}/weights/000002, which has been "
        "removed\n")


def test_checkpoint_is_found_by_its_batch_or_by_its_score(table, scored):
    found = [table / f"weights/{name}" for name in ("000002", "000004", "1000000")]
    for value, expected in (("best", "000004"), ("2", "000002"), ("1000000", "1000000")):
        assert evaluation.named_checkpoint(scored(checkpoint=value), found).name == expected


@pytest.mark.parametrize("changes, message", [
    ({"checkpoint": "best", "features": "other.keras"},
     "run evaluate first.*fd_other_20.*: fd_classifier_20, fd_colors_20"),
    ({"checkpoint": "best"}, "`checkpoint`.*000002, 000006.*checkpoint=best, which is 000004"),
    ({"checkpoint": "3"}, "`checkpoint`.*000002, 000006.*checkpoint=3, which is 000003"),
    ({"checkpoint": "best", "weights": "other"}, "`checkpoint`.*`weights`.*weights=other"),
    ({"checkpoint": "2", "weights": "other"}, "`checkpoint`.*`weights`.*weights=other"),
])
def test_checkpoint_that_cannot_be_found_is_one_line(table, scored, changes, message):
    found = [table / f"weights/{name}" for name in ("000002", "000006")]
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        evaluation.named_checkpoint(scored(**changes), found)
    assert "\n" not in str(raised.value)


def test_best_checkpoint_of_a_run_without_scores(here, scored):
    with pytest.raises(FileNotFoundError, match="run evaluate first.*scores.csv: none"):
        evaluation.check_best(scored(), here)
