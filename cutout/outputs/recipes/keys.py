"""Keys of a recipe: how each value is read, its range, and its default."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cutout.outputs.recipes.recipe import Canvas, Colour, Margin

SIDE_MIN, SIDE_MAX = 32, 10_000
PIXELS_MAX = 80_000_000
FILL_MIN, FILL_MAX = 0.1, 1.0
MARGIN_MAX_PERCENT, MARGIN_MAX_PIXELS = 45.0, 4_000.0
ENLARGE_MAX = 8.0
QUALITY_MAX = 100
BYTES_MIN, BYTES_MAX = 1_000, 1_000_000_000
DPI_MIN, DPI_MAX = 72, 1_200

_DECIMALS = 4
_UNITS = {"": 1, "KB": 1_000, "MB": 1_000_000}
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}")
_SIZE = re.compile(r"([0-9]{1,6})x([0-9]{1,6})")
_MARGIN = re.compile(r"([0-9.]{1,10})(%|px)")
_BYTES = re.compile(r"([0-9]{1,10})(|KB|MB)")
_COLOUR = re.compile(r"#([0-9a-f]{3}|[0-9a-f]{6})")


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its default as text, the values that it takes in words, and the parser of one.

    The parser returns the value, or raises ValueError if it is none of them.
    """

    default: str
    values: str
    parse: Callable[[str], Any]


def _choice(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return parse


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if _NUMBER.fullmatch(text) is None or not least <= float(text) <= most:
            raise ValueError(text)
        return round(float(text), _DECIMALS)

    return parse


def _integer(least: int, most: int, **words: None) -> Callable[[str], int | None]:
    """Return a parser of a whole number; each of `words` stands for no number."""

    def parse(text: str) -> int | None:
        if text in words:
            return None
        value = _number(least, most)(text)
        if not value.is_integer():
            raise ValueError(text)
        return int(value)

    return parse


def _canvas(text: str) -> Canvas:
    if text == "subject":
        return "subject"
    if text == "source":
        return "source"
    found = _SIZE.fullmatch(text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if min(width, height) < SIDE_MIN or max(width, height) > SIDE_MAX or width * height > PIXELS_MAX:
        raise ValueError(text)
    return width, height


def _margin(text: str) -> Margin:
    if text == "0":
        return Margin(0.0, "%")
    found = _MARGIN.fullmatch(text)
    if found is None:
        raise ValueError(text)
    if found[2] == "%":
        return Margin(_number(0, MARGIN_MAX_PERCENT)(found[1]) or 0.0, "%")
    value = _number(0, MARGIN_MAX_PIXELS)(found[1])
    return Margin(value, "px" if value else "%")


def _background(text: str) -> Colour | None:
    if text == "transparent":
        return None
    found = _COLOUR.fullmatch(text.lower())
    if found is None:
        raise ValueError(text)
    digits = found[1] if len(found[1]) == len("rrggbb") else "".join(digit * 2 for digit in found[1])
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _max_bytes(text: str) -> int | None:
    if text == "none":
        return None
    found = _BYTES.fullmatch(text)
    value = int(found[1]) * _UNITS[found[2]] if found else 0
    if not BYTES_MIN <= value <= BYTES_MAX:
        raise ValueError(text)
    return value


KEYS = MappingProxyType(
    {
        "canvas": Key(
            "2000x2000",
            f"WxH with sides of {SIDE_MIN} to {SIDE_MAX} pixels and at most {PIXELS_MAX} pixels in all; "
            "subject; source",
            _canvas,
        ),
        "fill": Key("0.85", f"{FILL_MIN} to 1", _number(FILL_MIN, FILL_MAX)),
        "margin": Key(
            "0",
            f"0% to {MARGIN_MAX_PERCENT:.0f}%, or 0px to {MARGIN_MAX_PIXELS:.0f}px",
            _margin,
        ),
        "align": Key("center", "center, optical, bottom, top", _choice("center", "optical", "bottom", "top")),
        "background": Key("#ffffff", "#rgb, #rrggbb, transparent", _background),
        "shadow": Key("none", "none, contact, soft", _choice("none", "contact", "soft")),
        "enlarge": Key("1", f"1 to {ENLARGE_MAX:.0f}", _number(1, ENLARGE_MAX)),
        "cut": Key("snap", "snap, float", _choice("snap", "float")),
        "format": Key("jpeg", "jpeg, png, webp, avif", _choice("jpeg", "png", "webp", "avif")),
        "quality": Key("90", f"1 to {QUALITY_MAX}", _integer(1, QUALITY_MAX)),
        "max_bytes": Key("none", "1KB to 1000MB such as 500KB, 5MB or 5000000; none", _max_bytes),
        "profile": Key("srgb", "srgb, keep", _choice("srgb", "keep")),
        "dpi": Key("72", f"{DPI_MIN} to {DPI_MAX}; keep", _integer(DPI_MIN, DPI_MAX, keep=None)),
    }
)
"""Keys in the order of a normalised recipe."""
