"""Difference of a prepared picture from what is to be seen of its source, in levels of 0 to 255."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bench.preparation.pictures import Case, in_srgb
from cutout.images.image import prepare

MEAN, PERCENTILE_99 = 3.0, 24.0


@dataclass(frozen=True)
class Difference:
    """Mean and 99th percentile over all pixels and channels."""

    name: str
    mean: float
    percentile_99: float
    changes: tuple[str, ...]

    @property
    def is_small(self) -> bool:
        return self.mean <= MEAN and self.percentile_99 <= PERCENTILE_99


def difference(case: Case) -> Difference:
    """Prepare the picture, and compare it with what is to be seen, made smaller at once to the same size."""
    prepared = prepare(case.data)
    with Image.open(io.BytesIO(prepared.data)) as sent:
        got = in_srgb(sent, None)  # whoever takes it may honour no profile
    shown = case.shown()
    if shown.size != got.size:
        if abs(shown.width / shown.height - got.width / got.height) > 0.01:
            return Difference(f"{case.name}: {shown.size} became {got.size}", 255, 255, prepared.changes)
        shown = shown.resize(got.size, Image.Resampling.LANCZOS)
    levels = np.abs(_on_white(got) - _on_white(shown))
    return Difference(case.name, float(levels.mean()), float(np.percentile(levels, 99)), prepared.changes)


def _on_white(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return np.asarray(image.convert("RGB"), dtype=np.int16)
