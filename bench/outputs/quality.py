"""Errors of the enlarged alpha and colours along the true outline, beside those of Pillow's bicubic."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bench.outputs.scenes import Photographed, Scene, Size, photographed
from cutout.outputs.enlarge import enlarge
from cutout.outputs.enlarge.box import extremes
from cutout.outputs.enlarge.tiles import Bytes, Flags

# Pixels around an outline that count.
_BAND = 8
_LEVELS = 255
_SHARP_HARD, _SOFT_SPOKES, _SOFT_HAIR = 0.2, 0.65, 0.3
# Of bicubic's colour error at hair: 5 levels of 14.7.
_HAIR_COLOUR = 0.34


@dataclass(frozen=True)
class Quality:
    """A scene with one of its masks. Squared errors are of alpha from 0 to 1; colour errors in levels.

    `colour` is the mean error of the cutout laid on white and on black, along the outline.
    """

    scene: Scene
    mask: str
    bicubic: float
    ours: float
    bicubic_colour: float
    colour: float
    softness: float
    residual: float

    @property
    def ratio(self) -> float:
        return self.ours / self.bicubic

    @property
    def goal(self) -> float:
        """The most that the ratio may be."""
        if self.mask == "sharp":
            return _SHARP_HARD if self.scene.hard else 1.0
        if "hair" in self.scene.name:
            return _SOFT_HAIR
        return _SOFT_SPOKES if "spokes" in self.scene.name else 1.0

    @property
    def is_reached(self) -> bool:
        hair = self.mask == "sharp" and "hair" in self.scene.name
        clean = not hair or self.colour <= _HAIR_COLOUR * self.bicubic_colour
        return self.ratio <= self.goal and clean


def qualities(scene: Scene, size: Size) -> Iterator[Quality]:
    """Photograph a scene and yield its quality with the sharp and with the soft mask."""
    made = photographed(scene, size)
    truth = np.asarray(made.alpha)
    lowest, highest = extremes(truth, _BAND)
    band = lowest != highest
    for mask in ("sharp", "soft"):
        bought = made.bought(mask)
        bicubic = made.original.copy()
        bicubic.putalpha(bought.getchannel("A").resize(size, Image.Resampling.BICUBIC))
        ours = enlarge(made.original, made.sent, bought)
        yield Quality(
            scene,
            mask,
            _squared(_alpha(bicubic), truth, band),
            _squared(_alpha(ours.image), truth, band),
            _colour_error(bicubic, made, band),
            _colour_error(ours.image, made, band),
            ours.softness,
            ours.residual,
        )


def _alpha(image: Image.Image) -> Bytes:
    return np.asarray(image.getchannel("A"))


def _squared(alpha: Bytes, truth: Bytes, band: Flags) -> float:
    differences = alpha[band].astype(np.float32) - truth[band]
    return float(np.square(differences, dtype=np.float64).mean()) / _LEVELS**2


def _colour_error(image: Image.Image, made: Photographed, band: Flags) -> float:
    """Return the mean error in levels of a cutout, laid on white and on black."""
    true = made.subject.convert("RGBA")
    true.putalpha(made.alpha)
    errors = []
    for ground in ("white", "black"):
        one, other = (_laid_on(ground, picture) for picture in (image, true))
        errors.append(float(np.abs(one[band].astype(np.int16) - other[band]).mean()))
    return sum(errors) / len(errors)


def _laid_on(ground: str, picture: Image.Image) -> Bytes:
    result = Image.new("RGB", picture.size, ground)
    result.paste(picture, mask=picture.getchannel("A"))
    return np.asarray(result)
