"""Box of the subject without specks, and the sides on which the photo crops it."""

import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cutout.outputs.render import find_cut_sides
from cutout.outputs.render.subject_box import find_subject
from tests.support.machine import scaled

BODY = (300, 200, 700, 800)


def alpha_of(
    size: tuple[int, int], *boxes: tuple[int, int, int, int], level: int = 255, ground: int = 0
) -> Image.Image:
    """Return an alpha channel with boxes of a level on a ground."""
    alpha = Image.new("L", size, ground)
    for box in boxes:
        alpha.paste(level, box)
    return alpha


class TestFindSubject:
    def test_threshold(self) -> None:
        """A pixel counts from alpha 13 on."""
        assert find_subject(alpha_of((100, 100), (10, 10, 90, 90), level=12)) is None
        found = find_subject(alpha_of((100, 100), (10, 20, 90, 80), level=13, ground=12))
        assert found is not None
        assert found.box == (10, 20, 90, 80)

    @pytest.mark.parametrize("corner", [(0, 0), (990, 0), (0, 990), (990, 990)])
    def test_specks_are_dropped(self, corner: tuple[int, int]) -> None:
        """A speck of less than 0.03 % of the subject does not count, wherever it is."""
        x, y = corner
        found = find_subject(alpha_of((1000, 1000), BODY, (x, y, x + 8, y + 8)))
        assert found is not None
        assert (found.box, found.specks) == (BODY, 1)

    def test_small_part_counts(self) -> None:
        """A part of more than 0.03 % of the subject counts."""
        found = find_subject(alpha_of((1000, 1000), BODY, (0, 0, 9, 9)))
        assert found is not None
        assert (found.box, found.specks) == ((0, 0, 700, 800), 0)

    def test_two_small_parts(self) -> None:
        """Both of a pair of earrings count, however small they are in the photo."""
        found = find_subject(alpha_of((3000, 2000), (900, 900, 915, 915), (2000, 950, 2015, 965)))
        assert found is not None
        assert found.box == (900, 900, 2015, 965)

    def test_largest_of_specks_alone(self) -> None:
        """Where there are specks alone, the largest is the subject."""
        pixels = [(n % 60 * 50, n // 60 * 50, n % 60 * 50 + 1, n // 60 * 50 + 1) for n in range(3600)]
        found = find_subject(alpha_of((3000, 3000), *pixels[:-1], (2990, 2990, 2992, 2992)))
        assert found is not None
        assert found.box == (2990, 2990, 2992, 2992)

    def test_diagonal_counts_as_one(self) -> None:
        """A hair of one pixel's width that runs askew is a part of what it hangs on."""
        alpha = alpha_of((1000, 1000), BODY)
        ImageDraw.Draw(alpha).line((700, 500, 990, 20), fill=255, width=1)
        found = find_subject(alpha)
        assert found is not None
        assert (found.box, found.specks) == ((300, 20, 991, 800), 0)

    def test_spiral_is_one(self) -> None:
        """Parts that join only far away are one."""
        alpha = Image.new("L", (1000, 1000))
        pen = ImageDraw.Draw(alpha)
        for inset in range(0, 480, 40):
            pen.line(
                [(inset, inset), (999 - inset, inset), (999 - inset, 999 - inset), (inset + 40, 999 - inset)],
                fill=255,
                width=8,
            )
            pen.line([(inset + 40, 999 - inset), (inset + 40, inset + 40)], fill=255, width=8)
        found = find_subject(alpha)
        assert found is not None
        assert found.specks == 0

    @pytest.mark.parametrize("size", [(33, 33), (8000, 33), (33, 8000), (100_000, 40), (257, 256)])
    def test_sizes(self, size: tuple[int, int]) -> None:
        """Strips and small pictures have their exact box."""
        box = (5, 6, size[0] - 7, size[1] - 8)
        found = find_subject(alpha_of(size, box))
        assert found is not None
        assert found.box == box

    def test_noise_is_bounded(self) -> None:
        """A channel of noise, which has the most regions, takes a second at most."""
        noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (1000, 1000), np.uint8))
        sparse = noise.point([0] * 250 + [255] * 6)
        began = time.process_time()
        assert find_subject(sparse) is not None
        assert time.process_time() - began < scaled(1.0)


class TestFindCutSides:
    @pytest.mark.parametrize(
        ("box", "sides"),
        [
            ((0, 100, 500, 900), {"left"}),
            ((100, 0, 500, 900), {"top"}),
            ((100, 100, 1000, 900), {"right"}),
            ((100, 100, 500, 1000), {"bottom"}),
            ((0, 0, 1000, 1000), {"left", "top", "right", "bottom"}),
            ((1, 1, 999, 999), set()),
        ],
    )
    def test_sides(self, box: tuple[int, int, int, int], sides: set[str]) -> None:
        """A side is cut where the subject reaches it."""
        assert find_cut_sides(alpha_of((1000, 1000), box)) == sides

    def test_hair(self) -> None:
        """A hair that leaves the photo does not make its side a cut one; a cord does."""
        assert find_cut_sides(alpha_of((1000, 1000), BODY, (500, 0, 502, 200))) == set()
        assert find_cut_sides(alpha_of((1000, 1000), BODY, (500, 0, 508, 200))) == {"top"}

    def test_haze(self) -> None:
        """A haze at the border is no cropped subject."""
        assert find_cut_sides(alpha_of((1000, 1000), BODY, ground=100)) == set()

    def test_empty(self) -> None:
        """An empty channel has none."""
        assert find_cut_sides(alpha_of((50, 50))) == set()
