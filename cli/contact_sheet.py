"""One picture of all results: each photo in a row, before and after, on a checkerboard."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

CELL = 220
GAP = 8
HEADER = 24
SQUARE = 11
PAPER = (250, 250, 250)
INK = (40, 40, 40)
LIGHT, DARK = (255, 255, 255), (214, 214, 214)


def draw_sheet(
    photos: Sequence[Path], files: Mapping[tuple[Path, str], Path], names: Sequence[str], output: Path
) -> None:
    """Write a PNG of one row a photo: the photo, then the file of each name; a missing one stays blank."""
    columns = ["before", *names]
    size = (len(columns) * (CELL + GAP) + GAP, HEADER + len(photos) * (CELL + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(columns):
        pen.text((GAP + column * (CELL + GAP), GAP), title, fill=INK)
    for row, photo in enumerate(photos):
        top = HEADER + GAP + row * (CELL + GAP)
        _paste(sheet, photo, (GAP, top))
        for column, name in enumerate(names, start=1):
            if cutout := files.get((photo, name)):
                _paste(sheet, cutout, (GAP + column * (CELL + GAP), top))
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(output, optimize=True)


def _paste(sheet: Image.Image, path: Path, corner: tuple[int, int]) -> None:
    with Image.open(path) as picture:
        small = ImageOps.contain(ImageOps.exif_transpose(picture).convert("RGBA"), (CELL, CELL))
    cell = _checkerboard()
    cell.paste(small, ((CELL - small.width) // 2, (CELL - small.height) // 2), small)
    sheet.paste(cell, corner)


def _checkerboard() -> Image.Image:
    squares = CELL // SQUARE
    board = Image.new("RGB", (squares, squares), LIGHT)
    for y in range(squares):
        for x in range(y % 2, squares, 2):
            board.putpixel((x, y), DARK)
    return board.resize((CELL, CELL), Image.Resampling.NEAREST)
