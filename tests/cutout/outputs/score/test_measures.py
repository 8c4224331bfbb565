"""Each measure finds what its sentence says, and leaves good cutouts alone."""

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from bench.score.breaking import WAYS
from cutout.outputs.score.suspicion import suspicion
from tests.cutout.outputs.score.pictures import GREY, RED, drawn, jug, picture

ALPHA = drawn(jug)
SENT = picture(ALPHA)
OTHER = drawn(lambda draw: draw.polygon(((100, 900), (600, 100), (1100, 900)), fill=255))
REASONS = {
    "empty": "area_low",
    "tiny": "area_low",
    "full": "area_high",
    "inverted": "corners",
    "another picture's": "edges",
    "halo of 1%": "kept",
    "halo of 2%": "growth",
    "eaten by 1%": "growth",
    "eaten by 2%": "left",
    "blurred by 1%": "softness",
    "of 64 pixels": "softness",
    "half lost": "left",
    "third lost": "left",
    "block attached": "kept_area",
    "specks": "stray",
    "hole": "holes",
    "strip kept": "border_background",
    "haze": "haze",
    "half transparent": "semi",
    "displaced by 1%": "unrest",
    "displaced by 3%": "displacement",
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_breaking_is_flagged_with_its_reason(way: str) -> None:
    """A broken alpha scores at least a half, and the measure made for it is among the reasons."""
    found = suspicion(SENT, WAYS[way](ALPHA, OTHER))
    assert found.score >= 0.5
    assert REASONS[way] in [reason.measure for reason in found.reasons]


def test_all_ways_are_there() -> None:
    """Each of the 21 ways changes the alpha and keeps its size."""
    assert len(WAYS) == 21
    for way in WAYS.values():
        broken = way(ALPHA, OTHER)
        assert (broken.mode, broken.size) == ("L", ALPHA.size)
        assert ImageChops.difference(broken, ALPHA).getbbox()


def test_a_shattered_product_is_in_many_pieces() -> None:
    """Sixty pieces of equal size are suspicious for their number and because none is the main one."""

    def pieces(draw: ImageDraw.ImageDraw) -> None:
        for number in range(60):
            x, y = 100 + number % 10 * 100, 250 + number // 10 * 120
            draw.rectangle((x, y, x + 60, y + 80), fill=255)

    alpha = drawn(pieces)
    assert _measures(picture(alpha), alpha) == {"islands", "main_part"}


def test_a_kept_shadow_gives_a_faint_outline() -> None:
    """An outline that follows the end of a soft shadow is faint there."""
    shadow = drawn(lambda draw: draw.ellipse((250, 850, 1050, 1050), fill=80)).filter(
        ImageFilter.GaussianBlur(16)
    )
    sent = Image.composite(Image.new("RGB", SENT.size, "black"), SENT, shadow)
    sent.paste(Image.new("RGB", SENT.size, RED), mask=ALPHA)
    with_shadow = ImageChops.lighter(ALPHA, shadow.point(lambda level: 255 if level > 12 else 0))
    assert "faint" not in _measures(sent, ALPHA)
    assert "faint" in _measures(sent, with_shadow)


def test_a_bar_from_side_to_side_reaches_across() -> None:
    """A product that touches both sides on a third of each is suspicious."""
    alpha = drawn(lambda draw: draw.rectangle((0, 400, 1200, 800), fill=255))
    assert {"across", "border_kept"} & _measures(picture(alpha), alpha) == {"across"}


def test_a_kept_frame_is_kept_border() -> None:
    """A frame of background all around the picture is border kept, besides its corners and its colour."""
    alpha = ALPHA.copy()
    ImageDraw.Draw(alpha).rectangle((0, 0, 599, 599), outline=255, width=9)
    assert {"border_kept", "border_background", "corners"} <= _measures(SENT, alpha)


def test_an_uneven_background_is_told_and_alone_is_not_flagged() -> None:
    """An exact cutout before foliage is suspicious to some degree for its background alone."""
    blotches = np.random.default_rng(4).integers(0, 256, (600, 600, 3), np.uint8)
    ground = (
        Image.fromarray(blotches)
        .filter(ImageFilter.GaussianBlur(5))
        .point(lambda level: min(255, max(0, 128 + 5 * (level - 128))))
    )
    found = suspicion(Image.composite(SENT, ground, ALPHA), ALPHA)
    assert [reason.measure for reason in found.reasons] == ["clutter"]
    assert found.score < 0.5


@pytest.mark.parametrize(
    "draw",
    [
        lambda draw: draw.rectangle((450, 500, 750, 1300), fill=255),
        lambda draw: [draw.rectangle((x, 400, x + 220, 800), fill=255) for x in (120, 460, 800)],
        lambda draw: [draw.line((600, 600, x, 150), fill=255, width=4) for x in range(100, 1100, 60)],
        lambda draw: draw.ellipse((200, 200, 1000, 1000), outline=255, width=6),
    ],
    ids=["cropped below", "set of three", "thin strands", "thin ring"],
)
def test_uncommon_products_are_no_alarm(draw: object) -> None:
    """A cropped product, a set, thin strands and a thin ring score far below a half if the alpha is exact."""
    alpha = drawn(draw)  # type: ignore[arg-type]
    assert suspicion(picture(alpha), alpha).score < 0.3


def test_a_product_of_the_background_s_lightness_is_no_alarm() -> None:
    """A white product on a ground of nearly the same white, with an exact alpha, scores below a half."""
    levels = Image.composite(Image.new("RGB", ALPHA.size, (238, 238, 238)), picture(ALPHA, GREY), ALPHA)
    assert suspicion(levels, ALPHA).score < 0.5


def _measures(sent: Image.Image, alpha: Image.Image) -> set[str]:
    return {reason.measure for reason in suspicion(sent, alpha).reasons}
