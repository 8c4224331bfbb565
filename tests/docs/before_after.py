"""Pictures of README.md: three photos before and after, and an edge at full size, from the demo's files.

`make demo`, then `python -m tests.docs.before_after`; photos/ATTRIBUTION.md belongs into its caption.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image, ImageOps

from tests.docs.pages import ROOT

PICTURE = ROOT / "docs" / "images" / "before-after.png"
DETAIL = ROOT / "docs" / "images" / "full-size.png"
PHOTOS = (
    "pierre-chatel-innocenti-483198-unsplash",
    "eniko-kis-663725-unsplash",
    "nikolai-chernichenko-1299748-unsplash",
)
AFTER = ("{}.png", "{}.crop.png")
CELL = (296, 198)
GAP = 6
MARGIN = 8
SQUARE = 11
LIGHT, DARK = (255, 255, 255), (218, 218, 218)


def draw(made: Path) -> Image.Image:
    """A row a photo: the photo, then the cutout and the cropped cutout, each on a checkerboard."""
    columns = 1 + len(AFTER)
    size = (columns * (CELL[0] + GAP) - GAP, len(PHOTOS) * (CELL[1] + GAP) - GAP)
    sheet = Image.new("RGBA", size)
    for row, photo in enumerate(PHOTOS):
        top = row * (CELL[1] + GAP)
        sheet.paste(_before(ROOT / "photos" / f"{photo}.jpg"), (0, top))
        for column, name in enumerate(AFTER, start=1):
            sheet.paste(_after(made / name.format(photo)), (column * (CELL[0] + GAP), top))
    return sheet


def _before(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return ImageOps.fit(picture.convert("RGBA"), CELL, Image.Resampling.LANCZOS)


def _after(path: Path) -> Image.Image:
    room = (CELL[0] - 2 * MARGIN, CELL[1] - 2 * MARGIN)
    with Image.open(path) as picture:
        small = ImageOps.contain(picture.convert("RGBA"), room, Image.Resampling.LANCZOS)
    cell = _checkerboard()
    cell.alpha_composite(small, ((CELL[0] - small.width) // 2, (CELL[1] - small.height) // 2))
    return cell


def _checkerboard() -> Image.Image:
    across, down = (-(-side // SQUARE) for side in CELL)
    board = Image.new("RGBA", (across, down), LIGHT)
    for y in range(down):
        for x in range(y % 2, across, 2):
            board.putpixel((x, y), (*DARK, 255))
    large = board.resize((across * SQUARE, down * SQUARE), Image.Resampling.NEAREST)
    return large.crop((0, 0, *CELL))


if __name__ == "__main__":
    demo_output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "demo-output"
    PICTURE.parent.mkdir(exist_ok=True)
    draw(demo_output).save(PICTURE, optimize=True)
    shutil.copyfile(demo_output / DETAIL.name, DETAIL)
