"""Small scenes of known alpha and colours, each with a mask as it might be bought."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from cutout.outputs.enlarge import Enlarged

SIZE, SENT = (1500, 1000), (500, 333)
# Side of what a network sees: its masks are softer than the sent picture.
NETWORK = (256, 256)


@dataclass(frozen=True)
class Drawn:
    original: Image.Image
    sent: Image.Image
    alpha: Image.Image
    subject: Image.Image

    def bought(self, *, soft: bool = False) -> Image.Image:
        mask = self.alpha.resize(NETWORK if soft else SENT, Image.Resampling.LANCZOS)
        return with_alpha(self.sent, mask.resize(SENT, Image.Resampling.BICUBIC))

    def bicubic(self, bought: Image.Image) -> Image.Image:
        return with_alpha(
            self.original, bought.getchannel("A").resize(self.original.size, Image.Resampling.BICUBIC)
        )

    def alpha_error(self, image: Image.Image) -> float:
        """Mean squared error of alpha, in levels squared."""
        differences = np.asarray(image.getchannel("A")).astype(float) - np.asarray(self.alpha)
        return float(np.square(differences).mean())

    def colour_error(self, image: Image.Image) -> float:
        """Mean error in levels of the picture laid on white, where alpha is mixed."""
        mixed = (np.asarray(self.alpha) > 0) & (np.asarray(self.alpha) < 255)
        one, other = (on_white(picture) for picture in (image, with_alpha(self.subject, self.alpha)))
        return float(np.abs(one - other)[mixed].mean())


def with_alpha(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    result = colours.convert("RGBA")
    result.putalpha(alpha)
    return result


def on_white(picture: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return np.asarray(white).astype(float)


def spokes() -> Drawn:
    """Dark spokes of 1 to 6 px before a green ground of soft patches, with a little noise."""
    width, height = SIZE
    large = Image.new("L", (width * 2, height * 2))
    pen = ImageDraw.Draw(large)
    for number in range(40):
        angle = math.tau * (number + 0.37) / 40
        end = (width + 1900 * math.cos(angle), height + 1900 * math.sin(angle))
        pen.line([(width, height), end], fill=255, width=2 * (1 + number % 6))
    pen.ellipse([width - 300, height - 300, width + 300, height + 300], fill=255)
    chance = np.random.default_rng(1)
    patches = Image.fromarray(chance.integers(0, 256, (8, 12), np.uint8)).resize(
        SIZE, Image.Resampling.BICUBIC
    )
    ground = Image.composite(
        Image.new("RGB", SIZE, (150, 210, 130)), Image.new("RGB", SIZE, (200, 230, 190)), patches
    )
    return photographed(large.reduce(2), Image.new("RGB", SIZE, (60, 20, 90)), ground)


def photographed(alpha: Image.Image, subject: Image.Image, ground: Image.Image) -> Drawn:
    chance = np.random.default_rng(2)
    picture = np.asarray(Image.composite(subject, ground, alpha))
    noisy = np.clip(picture + chance.normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8)
    original = Image.fromarray(noisy)
    return Drawn(original, original.resize(SENT, Image.Resampling.LANCZOS), alpha, subject)


def levels(enlarged: Enlarged) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(enlarged.image)
