import numpy as np
import pytest

from models import toyfaces


def test_a_face_depends_on_the_seed_and_its_number_alone():
    images, factors = toyfaces.sample(12, seed=3)
    assert images.shape == (12, 64, 64, 3) and images.dtype == np.uint8
    later, later_factors = toyfaces.sample(8, seed=3, start=4)
    assert (later == images[4:]).all() and (later_factors == factors[4:]).all()
    assert (toyfaces.draw(factors, seed=3) == images).all()
    assert (toyfaces.sample(12, seed=4)[0] != images).any()


def test_all_384_modes_are_equally_likely():
    factors = (toyfaces.chances(38400, 0, 0)[:, :4] * toyfaces.SIZES).astype("uint8")
    counts = np.bincount(toyfaces.mode(factors), minlength=384)
    # 100 expected each: chi squared / degrees of freedom is 1, its standard deviation (2 / 383) ** 0.5 = 0.07.
    assert len(counts) == toyfaces.MODES == 384
    assert ((counts - 100) ** 2 / 100).sum() / 383 == pytest.approx(1, abs=0.3)


def test_modes_and_factors_are_each_other_s_inverse():
    modes = np.arange(384)
    assert (toyfaces.mode(toyfaces.factors_of(modes)) == modes).all()
    assert toyfaces.factors_of([0, 383]).tolist() == [[0, 0, 0, 0], [7, 3, 3, 2]]


def test_hair_and_eyes_have_the_colour_that_is_asked_for():
    factors = toyfaces.factors_of(np.arange(384))
    images = toyfaces.draw(factors).astype(float)
    hair = np.median(images[:, 8:26, 22:42], axis=(1, 2))
    palette = np.array(list(toyfaces.HAIR_COLORS.values()))
    nearest = ((hair[:, None] - palette) ** 2).sum(-1).argmin(-1)
    assert (nearest == factors[:, 0]).mean() > 0.99
    # Among the same hair, style, mood and nuisances, only the colour of the eyes tells the four apart.
    eyes = toyfaces.draw(np.uint8([[0, 0, color, 0] for color in range(4)]), start=0).astype(float)
    region = eyes[:, 26:44, 16:48]
    assert min(np.abs(region[a] - region[b]).max() for a in range(4) for b in range(a)) > 80


def test_styles_and_moods_are_seen():
    same = [toyfaces.draw(np.uint8([[1, style, 0, mood]]), seed=5)[0].astype(int)
            for style in range(4) for mood in range(3)]
    different = [(np.abs(a - b).max(-1) > 40).sum() for index, a in enumerate(same) for b in same[:index]]
    assert min(different) > 60  # pixels of 4096


@pytest.mark.parametrize("call, said", [
    (lambda: toyfaces.sample(-1), "`count` must be a whole number of at least 0.*count=-1"),
    (lambda: toyfaces.sample(1, seed=0.5), "`seed` must be a whole number.*seed=0.5"),
    (lambda: toyfaces.draw(np.zeros(4, int)), r"`factors` must be .*Received: factors.shape=\(4,\)"),
    (lambda: toyfaces.draw([[8, 0, 0, 0]]), r"`factors` must be in .*Received: factors=\[8, 0, 0, 0\]"),
    (lambda: toyfaces.factors_of([384]), "`modes` must be whole numbers .*384"),
])
def test_wrong_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
