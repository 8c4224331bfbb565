"""The demo's own scene of 24 megapixels, and one edge of it at 100%: sent size beside full size."""

import io
import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

NAME = "wheel-24-megapixels"
SIZE = (6000, 4000)
CENTRE, RIM = (3000, 2000), 1600
SPOKES, WIDTHS = 28, (12, 17, 24)
GROUND, STEEL, TYRE, HUB = (226, 224, 220), (70, 30, 96), (30, 31, 34), (176, 44, 24)
# Where spokes cross: pixels of the scene.
DETAIL = (3470, 1400, 3470 + 420, 1400 + 320)
BEHIND = (38, 110, 160)
GAP, LABEL, LETTERS = 8, 22, 13
INK, PAPER = (40, 40, 40), (250, 250, 250)


def draw_scene() -> bytes:
    """A wheel with thin spokes on a light ground, as a JPEG of 6000x4000 pixels."""
    scene = Image.new("RGB", SIZE, GROUND)
    pen = ImageDraw.Draw(scene)
    for number in range(SPOKES):
        _spoke(pen, number)
    pen.ellipse(_around(RIM + 90), outline=TYRE, width=180)
    pen.ellipse(_around(RIM - 80), outline=STEEL, width=34)
    pen.ellipse(_around(240), fill=HUB)
    pen.ellipse(_around(70), fill=TYRE)
    # As a lens draws it, not as a pen does.
    scene = scene.filter(ImageFilter.GaussianBlur(0.8))
    buffer = io.BytesIO()
    scene.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def draw_detail(bought: Path, full: Path, output: Path) -> None:
    """One edge at 100% of the source's pixels: what was bought, enlarged, beside the full-size cutout."""
    with Image.open(bought) as small, Image.open(full) as large:
        factor = large.width / small.width
        left, top, right, bottom = (side / factor for side in DETAIL)
        size = (DETAIL[2] - DETAIL[0], DETAIL[3] - DETAIL[1])
        enlarged = small.convert("RGBA").resize(size, Image.Resampling.BICUBIC, (left, top, right, bottom))
        cells = {
            f"as sent ({small.width} x {small.height} pixels), enlarged": enlarged,
            f"full size ({large.width} x {large.height} pixels)": large.crop(DETAIL).convert("RGBA"),
        }
    sheet = Image.new("RGB", (2 * size[0] + 3 * GAP, size[1] + 2 * GAP + LABEL), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, (label, cell) in enumerate(cells.items()):
        left = GAP + column * (size[0] + GAP)
        pen.text((left, GAP), label, INK, ImageFont.load_default(LETTERS))
        behind = Image.new("RGBA", size, BEHIND)
        behind.alpha_composite(cell)
        sheet.paste(behind.convert("RGB"), (left, GAP + LABEL))
    sheet.save(output, optimize=True)


def _spoke(pen: ImageDraw.ImageDraw, number: int) -> None:
    angle = 2 * math.pi * number / SPOKES
    # Spokes touch the hub at its side, as those of a wheel do.
    begin = angle + (0.9 if number % 2 else -0.9)
    points = (
        (CENTRE[0] + 200 * math.cos(begin), CENTRE[1] + 200 * math.sin(begin)),
        (CENTRE[0] + RIM * math.cos(angle), CENTRE[1] + RIM * math.sin(angle)),
    )
    pen.line(points, fill=STEEL, width=WIDTHS[number % len(WIDTHS)])


def _around(radius: int) -> tuple[int, int, int, int]:
    return (CENTRE[0] - radius, CENTRE[1] - radius, CENTRE[0] + radius, CENTRE[1] + radius)
