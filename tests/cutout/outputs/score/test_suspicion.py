"""The score as a whole: hostile sizes, its formula, and its reasons."""

import math
import time

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from cutout.outputs.score.suspicion import Suspicion, suspicion
from tests.cutout.outputs.score.pictures import drawn, jug, picture
from tests.support.machine import scaled

SIZES = [(1, 1), (1, 2), (2, 3), (33, 33), (1, 8000), (8000, 1), (257, 5), (1999, 1999)]
ALPHA = drawn(jug)
SENT = picture(ALPHA)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("level", "measure"), [(0, "area_low"), (255, "area_high"), (128, "semi")])
def test_a_uniform_alpha_is_certainly_wrong_at_any_size(
    size: tuple[int, int], level: int, measure: str
) -> None:
    """Nothing kept, everything kept, or everything half transparent scores 1, with that as a reason."""
    found = suspicion(_noise(size), Image.new("L", size, level))
    assert found.score == 1
    assert measure in {reason.measure for reason in found.reasons}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_noise_as_an_alpha_is_scored_at_any_size(size: tuple[int, int]) -> None:
    """Neither noise nor single pixels raise, warn or take long; values are finite."""
    sent = _noise(size)
    dots = sent.getchannel("R").point(lambda level: 255 if level < 4 else 0)
    for alpha in (sent.getchannel("G"), dots):
        for picture_ in (sent, Image.new("RGB", size, "black")):
            began = time.process_time()
            found = suspicion(picture_, alpha)
            assert time.process_time() - began < scaled(0.3)
            assert 0 <= found.score <= 1
            assert all(math.isfinite(reason.value) for reason in found.reasons)


def test_an_exact_alpha_gives_no_reason() -> None:
    """A score of 0 has no reasons."""
    assert suspicion(SENT, ALPHA) == Suspicion(0.0, ())


@pytest.mark.parametrize("longer_side", [1600, 800, 300, 150])
def test_an_exact_alpha_is_not_suspicious_at_other_sizes(longer_side: int) -> None:
    """Resizing a good cutout leaves it one."""
    size = (longer_side, longer_side)
    assert suspicion(SENT.resize(size), ALPHA.resize(size)).score < 0.2


def test_a_mirrored_cutout_has_nearly_the_score_of_the_original() -> None:
    """Left and right count alike."""
    blurred = ALPHA.filter(ImageFilter.GaussianBlur(4.5))
    score = suspicion(SENT, blurred).score
    assert 0 < score < 1
    assert suspicion(ImageOps.mirror(SENT), ImageOps.mirror(blurred)).score == pytest.approx(score, abs=0.05)


@pytest.mark.parametrize(("radius", "is_certain"), [(4.5, False), (6, True)])
def test_the_score_joins_the_reasons_as_independent_suspicions(radius: float, *, is_certain: bool) -> None:
    """The score is 1 - prod(1 - v), v linear between the thresholds; the strongest reason is the first."""
    found = suspicion(SENT, ALPHA.filter(ImageFilter.GaussianBlur(radius)))
    degrees = [(reason.value - reason.from_) / (reason.certain - reason.from_) for reason in found.reasons]
    capped = [min(1.0, degree) for degree in degrees]
    assert len(capped) >= 2
    assert (capped[0] == 1) is is_certain
    assert capped == sorted(capped, reverse=True)
    assert found.score == pytest.approx(1 - math.prod(1 - degree for degree in capped))


def test_neither_picture_nor_alpha_is_changed() -> None:
    """Both are only read."""
    sent, alpha = SENT.tobytes(), ALPHA.tobytes()
    suspicion(SENT, ALPHA)
    assert (SENT.tobytes(), ALPHA.tobytes()) == (sent, alpha)


def test_another_size_is_refused_with_both_sizes() -> None:
    """An alpha of another size is an error of the caller's, not a suspicion."""
    with pytest.raises(ValueError, match=r"alpha is of \(600, 599\) pixels, the picture of \(600, 600\)"):
        suspicion(SENT, ALPHA.crop((0, 0, 600, 599)))


@pytest.mark.parametrize(("sent", "alpha"), [("RGBA", "L"), ("L", "L"), ("RGB", "RGB"), ("RGB", "1")])
def test_another_mode_is_refused(sent: str, alpha: str) -> None:
    """The picture is RGB and the alpha L."""
    with pytest.raises(ValueError, match="convert the picture to RGB"):
        suspicion(SENT.convert(sent), ALPHA.convert(alpha))


def _noise(size: tuple[int, int]) -> Image.Image:
    levels = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(levels)
