"""Recipe of an output: each key typed, and the normalised text that identifies it."""

from dataclasses import dataclass, fields
from typing import Literal

RECIPE_VERSION = 1
"""Version of the code that makes an output of a recipe; part of an output's identity."""

Colour = tuple[int, int, int]
Canvas = tuple[int, int] | Literal["subject", "source"]
Format = Literal["jpeg", "png", "webp", "avif"]

HUNDRED = 100
NO_ALPHA = ("jpeg",)
NO_QUALITY = ("png",)
NO_DPI = ("webp", "avif")


@dataclass(frozen=True, slots=True)
class Margin:
    """Room on every side of the subject's box: pixels, or percent of the side that it lies along."""

    value: float
    unit: Literal["%", "px"]

    def pixels(self, side: int) -> float:
        return self.value * side / HUNDRED if self.unit == "%" else self.value


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe. `preset` names the rule that its output is measured against; None has its words alone.

    `background` None is transparent, `max_bytes` None is no limit, `dpi` None keeps the source's.
    """

    preset: str | None
    canvas: Canvas
    fill: float
    margin: Margin
    align: Literal["center", "optical", "bottom", "top"]
    background: Colour | None
    shadow: Literal["none", "contact", "soft"]
    enlarge: float
    cut: Literal["snap", "float"]
    format: Format
    quality: int
    max_bytes: int | None
    profile: Literal["srgb", "keep"]
    dpi: int | None

    @property
    def text(self) -> str:
        """Normalised text: the preset, then every key in a fixed order. Parsing it gives this recipe."""
        words = [f"{name}={_value_text(name, getattr(self, name))}" for name in KEY_NAMES]
        return " ".join(([self.preset] if self.preset else []) + words)

    def __str__(self) -> str:
        return self.text

    @property
    def extension(self) -> str:
        """Extension of the file, without a dot."""
        return "jpg" if self.format == "jpeg" else self.format

    @property
    def media_type(self) -> str:
        return f"image/{self.format}"

    @property
    def is_mask(self) -> bool:
        """Whether the output is the alpha alone, as a grey picture."""
        return self.preset == MASK

    @property
    def mode(self) -> Literal["L", "RGB", "RGBA"]:
        """Mode of the output, as Pillow names it."""
        if self.is_mask:
            return "L"
        return "RGBA" if self.background is None else "RGB"


MASK = "mask"
KEY_NAMES = tuple(field.name for field in fields(Recipe) if field.name != "preset")
_WITHOUT = {"background": "transparent", "max_bytes": "none", "dpi": "keep"}


def number_text(value: float) -> str:
    """Shortest text of a number of at most four decimals: 0.85, 1, 2.5."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def background_text(background: Colour | None) -> str:
    return "transparent" if background is None else "#" + bytes(background).hex()


def _value_text(name: str, value: object) -> str:
    if value is None:
        return _WITHOUT[name]
    if isinstance(value, Margin):
        return f"{number_text(value.value)}{value.unit}" if value.value else "0"
    if isinstance(value, tuple):
        return "x".join(map(str, value)) if name == "canvas" else "#" + bytes(value).hex()
    return number_text(value) if isinstance(value, float) else str(value)
