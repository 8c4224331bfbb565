"""Alpha of the scenes, drawn at twice the size and reduced."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Size = tuple[int, int]
_DRAWN = 2
_HAIRS, _SPOKES = 5000, 90
_GLASS = 90


def spokes(size: Size) -> Image.Image:
    """Spokes of 1 to 10 px from a hub, inside rims."""

    def draw(pen: ImageDraw.ImageDraw, width: int, height: int) -> None:
        middle, reach = (width / 2, height / 2), width * 0.47
        for number in range(_SPOKES):
            angle = math.tau * (number + 0.37) / _SPOKES
            end = (middle[0] + reach * math.cos(angle), middle[1] + reach * math.sin(angle))
            pen.line([middle, end], fill=255, width=_DRAWN * (1 + number * 7 % 10))
        for radius, thick in ((0.1, 60), (0.31, 7), (0.45, 24)):
            around = [middle[0] - radius * width, middle[1] - radius * width]
            around += [middle[0] + radius * width, middle[1] + radius * width]
            pen.ellipse(around, outline=255, width=thick * _DRAWN)

    return _drawn(size, draw)


def hair(size: Size) -> Image.Image:
    """A head with 5,000 curved hairs of 1 to 4 px."""

    def draw(pen: ImageDraw.ImageDraw, width: int, height: int) -> None:
        chance = np.random.default_rng(7)
        middle, radius = np.array((width / 2, height * 0.55)), height * 0.26
        pen.ellipse([*(middle - radius), *(middle + radius)], fill=255)
        steps = np.linspace(0, 1, 14)[:, None]
        for _ in range(_HAIRS):
            angle, bend = chance.uniform(0, math.tau), chance.normal(0, 0.5)
            length = radius * chance.uniform(0.2, 0.8)
            out = np.array((math.cos(angle), math.sin(angle)))
            aside = np.array((-out[1], out[0]))
            points = middle + out * (radius * 0.97 + length * steps) + aside * (length * bend * steps**2)
            pen.line([tuple(point) for point in points], fill=255, width=int(chance.integers(2, 9)))

    return _drawn(size, draw)


def lettering(size: Size) -> Image.Image:
    """Letters of several sizes, a plate with holes, a mesh and saw teeth."""

    def draw(pen: ImageDraw.ImageDraw, width: int, height: int) -> None:
        for row, points in enumerate((30, 60, 110, 200)):
            font = ImageFont.load_default(points * _DRAWN)
            text = "Hamburgefonstiv 0123456789 &@ " * 4
            pen.text((width * 0.03, height * (0.04 + 0.1 * row)), text, fill=255, font=font)
        pen.rectangle([width * 0.05, height * 0.5, width * 0.45, height * 0.95], fill=255)
        for number in range(140):
            across, down = number % 20, number // 20
            radius = _DRAWN * (1 + number % 14)
            at = width * (0.07 + 0.0185 * across), height * (0.54 + 0.06 * down)
            pen.ellipse([at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius], fill=0)
        for number in range(60):
            at_x, at_y = width * (0.5 + number * 0.004), height * (0.5 + number * 0.006)
            pen.line(
                [at_x, height * 0.5, at_x + 30, height * 0.86], fill=255, width=_DRAWN * (1 + number % 4)
            )
            pen.line([width * 0.5, at_y, width * 0.74, at_y + 20], fill=255, width=_DRAWN * (1 + number % 3))
        teeth = [
            (width * (0.76 + 0.0028 * number), height * (0.6 + 0.05 * (number % 2))) for number in range(80)
        ]
        pen.polygon([*teeth, (width * 0.98, height * 0.95), (width * 0.76, height * 0.95)], fill=255)

    return _drawn(size, draw)


def product(size: Size) -> Image.Image:
    """A rounded body with a handle, as a white product before a white ground has."""

    def draw(pen: ImageDraw.ImageDraw, width: int, height: int) -> None:
        turns = np.linspace(0, math.tau, 900)
        swell = 1 + 0.12 * np.sin(3 * turns) + 0.03 * np.sin(17 * turns) + 0.008 * np.sin(90 * turns)
        across = width * 0.5 + height * 0.36 * swell * np.cos(turns)
        down = height * 0.5 + height * 0.4 * swell * np.sin(turns)
        pen.polygon(list(zip(across.tolist(), down.tolist(), strict=True)), fill=255)
        pen.arc(
            [width * 0.7, height * 0.3, width * 0.86, height * 0.7], -110, 110, fill=255, width=60 * _DRAWN
        )

    return _drawn(size, draw)


def defocus(size: Size) -> Image.Image:
    """Discs and bars with edges blurred by 2 to 18 px, and a pane of glass."""
    width, height = size
    result = Image.new("L", size)
    columns = 8
    for number in range(columns):
        wide = width // columns

        def draw(pen: ImageDraw.ImageDraw, wide: int, tall: int) -> None:
            pen.ellipse([wide * 0.15, tall * 0.05, wide * 0.85, tall * 0.05 + wide * 0.7], fill=255)
            pen.polygon(
                [(wide * 0.2, tall * 0.5), (wide * 0.8, tall * 0.45), (wide * 0.7, tall * 0.7)], fill=255
            )
            for bar in range(4):
                at = wide * (0.2 + 0.17 * bar)
                pen.line(
                    [at, tall * 0.73, at + wide * 0.05, tall * 0.97], fill=255, width=_DRAWN * 12 * (bar + 1)
                )

        part = _drawn((wide, height), draw)
        blur = 2 + 16 * number / (columns - 1)
        if number == columns // 2:
            part = part.point(lambda level: level * _GLASS // 255)
            blur = 0
        result.paste(part.filter(ImageFilter.GaussianBlur(blur)) if blur else part, (number * wide, 0))
    return result


def _drawn(size: Size, draw: Callable[[ImageDraw.ImageDraw, int, int], None]) -> Image.Image:
    large = Image.new("L", (size[0] * _DRAWN, size[1] * _DRAWN))
    draw(ImageDraw.Draw(large), *large.size)
    return large.reduce(_DRAWN)
