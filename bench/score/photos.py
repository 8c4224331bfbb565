"""Photos cut out by the sandbox's matting: six on which thresholds were set, and six that only measure them.

Each was judged by eye before any was scored. Good and faulty ones were then dealt out in turn, by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sandbox.matting.cut_out import cut_out

PHOTOS = Path(__file__).parents[2] / "photos"

FIRST_SIX = {
    "alex-rodriguez-santibanez-200278": "good",
    "eniko-kis-663725": "good",
    "jonathan-talbert-697262": "good",
    "pierre-chatel-innocenti-483198": "good",
    "alexander-andrews-260988": "a patch of shadow was kept",
    "oscar-ivan-esquivel-arteaga-687447": "a patch of shadow was kept",
}
OTHER_SIX = {
    "caleb-george-536388": "good",
    "imani-clovis-234736": "good",
    "nikolai-chernichenko-1299748": "good",
    "ruslan-bardash-351288": "good",
    "charles-deluvio-695736": "ragged ground was kept below the pot",
    "thomas-q-1229169": "the transparent plug is torn",
}


@dataclass(frozen=True)
class Cutout:
    """An RGB picture with its L alpha, and the verdict by eye: `good`, or the fault."""

    name: str
    picture: Image.Image
    alpha: Image.Image
    verdict: str

    @property
    def is_good(self) -> bool:
        return self.verdict == "good"


def cutouts(photos: dict[str, str], longer_side: int | None = None) -> Iterator[Cutout]:
    """Cut the named photos out, at their own size or shrunk to a longer side in pixels."""
    for name, verdict in photos.items():
        with Image.open(PHOTOS / f"{name}-unsplash.jpg") as opened:
            picture = opened.convert("RGB")
        if longer_side:
            picture.thumbnail((longer_side, longer_side))
        yield Cutout(name, picture, cut_out(picture).getchannel("A"), verdict)
