"""Scenes of known alpha and colours: photographed as JPEG, prepared as the product does, with two masks."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bench.outputs import shapes
from cutout.images.image import prepare

Size = tuple[int, int]
_NOISE = 2.0
# Side of the square that a network works at.
_NETWORK = 1024


@dataclass(frozen=True)
class Scene:
    """A scene. `hard` says that all edges are sharp, `unseen` that it was drawn once all parameters were set.

    Its JPEG has chroma at half the resolution unless `full_chroma`.
    """

    name: str
    alpha: Callable[[Size], Image.Image]
    subject: Callable[[Size], Image.Image]
    ground: Callable[[Size], Image.Image]
    hard: bool = True
    unseen: bool = False
    full_chroma: bool = False


@dataclass(frozen=True)
class Photographed:
    """The original, what was sent of it, the true alpha, and the subject's colours without a background."""

    original: Image.Image
    sent: Image.Image
    alpha: Image.Image
    subject: Image.Image

    def bought(self, kind: str) -> Image.Image:
        """Return the sent picture with a `sharp` mask, the truth reduced, or one as `soft` as a network's."""
        if kind == "sharp":
            mask = self.alpha.resize(self.sent.size, Image.Resampling.LANCZOS)
        else:
            small = self.alpha.resize((_NETWORK, _NETWORK), Image.Resampling.LANCZOS)
            mask = small.resize(self.sent.size, Image.Resampling.BICUBIC)
        result = self.sent.convert("RGBA")
        result.putalpha(mask)
        return result


def photographed(scene: Scene, size: Size) -> Photographed:
    """Photograph a scene: composited, with noise, as a JPEG of quality 92."""
    alpha, subject = scene.alpha(size), scene.subject(size)
    picture = Image.composite(subject, scene.ground(size), alpha)
    chance = np.random.default_rng(3)
    for top in range(0, size[1], 256):
        part = np.asarray(picture.crop((0, top, size[0], min(top + 256, size[1]))))
        noisy = part + chance.standard_normal(part.shape, np.float32) * np.float32(_NOISE)
        picture.paste(Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)), (0, top))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92, subsampling=0 if scene.full_chroma else 2)
    original = Image.open(file)
    original.load()
    sent = Image.open(io.BytesIO(prepare(file.getvalue()).data)).convert("RGB")
    return Photographed(original, sent, alpha, subject)


def _mottled(
    dark: tuple[int, int, int], light: tuple[int, int, int], cell: int, seed: int
) -> Callable[[Size], Image.Image]:
    """Return a ground between two colours, mottled over three scales from `cell` px."""

    def made(size: Size) -> Image.Image:
        chance = np.random.default_rng(seed)
        total = Image.new("L", size)
        for octave in range(3):
            step = max(1, cell >> (2 * octave))
            few = chance.integers(0, 256, (size[1] // step + 2, size[0] // step + 2), np.uint8)
            patches = Image.fromarray(few).resize(size, Image.Resampling.BICUBIC)
            total = Image.blend(total, patches, 1.0 if octave == 0 else 0.4)
        return Image.composite(Image.new("RGB", size, light), Image.new("RGB", size, dark), total)

    return made


_foliage = _mottled((40, 56, 30), (246, 250, 240), 160, 1)
_equally_bright = _mottled((14, 22, 8), (168, 196, 120), 160, 1)
_studio = _mottled((196, 196, 200), (232, 232, 230), 2400, 2)
_blue = _mottled((60, 90, 170), (110, 150, 220), 1600, 4)
_purple = _mottled((70, 40, 190), (100, 110, 255), 220, 5)
_brown = _mottled((30, 16, 10), (96, 60, 36), 90, 6)
_white = _mottled((222, 221, 218), (240, 240, 238), 400, 8)
_paper = _mottled((248, 248, 248), (254, 254, 254), 1800, 9)
_fair = _mottled((170, 140, 90), (232, 206, 150), 90, 10)
_dusk = _mottled((20, 24, 40), (72, 82, 112), 300, 11)

SCENES = (
    Scene("spokes before foliage", shapes.spokes, _purple, _foliage),
    Scene("spokes before foliage, full chroma", shapes.spokes, _purple, _foliage, full_chroma=True),
    Scene("hair before blue", shapes.hair, _brown, _blue),
    Scene("lettering and holes", shapes.lettering, _brown, _studio),
    Scene("white on white", shapes.product, _white, _paper),
    Scene("defocus and glass", shapes.defocus, _purple, _studio, hard=False),
    Scene("spokes before a studio's ground", shapes.spokes, _purple, _studio),
    Scene("spokes as bright as foliage", shapes.spokes, _purple, _equally_bright, hard=False),
    Scene("hair before foliage", shapes.hair, _brown, _foliage),
    Scene("fair hair before dusk", shapes.hair, _fair, _dusk, unseen=True),
    Scene("lettering before foliage", shapes.lettering, _brown, _foliage, unseen=True),
)
