"""The score on photos that no threshold was set on."""

import time

from PIL import Image

from bench.score.photos import FIRST_SIX, OTHER_SIX, cutouts
from bench.score.rating import is_flagged, rate
from bench.score.scenes import scenes
from cutout.outputs.score.suspicion import suspicion
from tests.support.machine import scaled

SIDE = 500


def test_most_broken_cutouts_are_flagged_and_no_good_one() -> None:
    """Of the other six photos, each broken in 21 ways, at least 85% are flagged, and no unbroken good one."""
    rating = rate(list(cutouts(OTHER_SIX, SIDE)))
    assert rating.broken_in_all == 126
    assert rating.caught_in_all >= 0.85 * rating.broken_in_all, rating.missed
    assert rating.false_alarms == []


def test_the_two_sets_of_photos_share_none() -> None:
    """The figures on the other six are not figures on the photos of the thresholds."""
    assert len(FIRST_SIX) == len(OTHER_SIX) == 6
    assert not FIRST_SIX.keys() & OTHER_SIX.keys()


def test_no_drawn_scene_is_flagged() -> None:
    """Spokes, strands, holes, letters, sets and white on white are no alarm if the alpha is exact."""
    flagged = [name for name, picture, alpha in scenes((480, 600)) if is_flagged(suspicion(picture, alpha))]
    assert flagged == []


def test_a_picture_is_scored_in_a_few_resizes_time() -> None:
    """The score takes at most four times as long as resizing the picture to a small one."""
    (photo, *_) = cutouts(OTHER_SIX)

    def cpu(repeat: int) -> tuple[float, float]:
        began = time.process_time()
        for _ in range(repeat):
            suspicion(photo.picture, photo.alpha)
        between = time.process_time()
        for _ in range(repeat):
            photo.picture.resize((256, 256), Image.Resampling.LANCZOS)
        return between - began, time.process_time() - between

    ours, plain = min((cpu(3) for _ in range(3)), key=lambda pair: pair[0] / pair[1])
    assert ours < 4 * plain
    assert ours < scaled(0.3)
