"""One purchase in a rendering process: what was bought, its source, and the outputs made of both."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from PIL import Image

from cutout.enums import ReturnForm
from cutout.images.decode import open_image, unfit_on_error
from cutout.images.fit import full_size
from cutout.images.image import prepare, refit
from cutout.outputs.enlarge import enlarge
from cutout.outputs.output_error import OutputError
from cutout.outputs.recipes import Recipe, parse_recipe
from cutout.outputs.render import render, subject_scale
from cutout.outputs.score.suspicion import suspicion

SENT_SIZE = " resolution=sent"
"""Words after a form's recipe: the form as large as the picture that was sent."""
FORMS = frozenset(ReturnForm)
# Beyond 16 times the sent size no output needs more pixels: a source has at most 80 megapixels, of which a
# strip of 32,000 pixels is the longest that matters.
LARGEST_FACTOR = 16
_PICTURES = ("PNG", "WEBP", "JPEG", "TIFF")


@dataclass(frozen=True)
class Subject:
    """A cutout that outputs are made of, RGBA, and its size as a multiple of the sent one.

    `note` is the reason why it is not as large as its source; `measures` are those of its enlargement.
    """

    image: Image.Image
    factor: float
    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    note: str | None = None
    measures: dict[str, float] = field(default_factory=dict)


@dataclass
class Picture:
    """A purchase: the bought file, its source if it could be fetched, a full-size cutout made before.

    `image_sha256` is the hash of the picture that was sent. `problem` is the reason why there is no source,
    and `is_untouched` says that the source itself was sent, so that what was bought is as large.
    Everything is decoded when it is first needed, and kept.
    """

    bought_file: bytes = field(repr=False)
    source_file: bytes | None = field(default=None, repr=False)
    full_file: bytes | None = field(default=None, repr=False)
    image_sha256: bytes | None = None
    problem: str | None = None
    is_untouched: bool = False
    sharpen: bool | None = None
    decontaminated: bool = False

    @classmethod
    def of(cls, parts: Mapping[str, bytes], request: Mapping[str, Any]) -> "Picture":
        """Open the parts that a renderer sends: `bought`, and `source` and `full` if it has them."""
        sent = bytes.fromhex(request["image_sha256"]) if request["image_sha256"] else None
        return cls(
            parts["bought"],
            parts.get("source"),
            parts.get("full"),
            sent,
            problem=request["problem"],
            is_untouched=request["is_untouched"],
            sharpen=request["sharpen"],
            decontaminated=request["decontaminated"],
        )

    @property
    def pixels(self) -> int:
        """Number of pixels of the largest picture here, by its header."""
        if self.source_file is not None:
            width, height = open_image(self.source_file).image.size
        else:
            width, height = _opened(self.full_file or self.bought_file).size
        return width * height

    def needs_source(self, text: str) -> bool:
        """Whether the output shows more than the bought picture has, so that its source is needed."""
        if self.full_file is not None or self.is_untouched:
            return False
        recipe, at_sent_size = _parsed(text)
        if at_sent_size:
            return False
        return recipe.preset in FORMS or _shows_more(recipe, self.bought)

    def make(self, text: str) -> tuple[dict[str, Any], bytes]:
        """Make an output by its recipe: its fields, and the file. Raises OutputError and UnfitImage.

        RGBA at the size of what was bought is that object itself: `same` is set, without a file.
        """
        recipe, at_sent_size = _parsed(text)
        subject = self._subject(recipe, at_sent_size=at_sent_size)
        fields: dict[str, Any] = {"factor": subject.factor, "note": subject.note}
        if text.removesuffix(SENT_SIZE) == "rgba" and subject.image is self.bought:
            width, height = self.bought.size
            return fields | {"same": True, "width": width, "height": height, "problems": []}, b""
        made = render(
            subject.image,
            recipe,
            natural_scale=1.0,
            icc_profile=subject.profile,
            dpi=subject.dpi,
        )
        fields |= {
            "media_type": made.media_type,
            "extension": made.extension,
            "width": made.width,
            "height": made.height,
            "measures": made.measures | subject.measures,
            "problems": list(made.problems),
        }
        return fields, made.data

    def score(self) -> dict[str, Any]:
        """The suspicion score of the cutout, from the picture that was sent. Raises OutputError."""
        sent = self.sent
        if sent is None:
            raise OutputError(
                "OUTPUT_SOURCE_CHANGED", self.problem or "the picture sent cannot be made again"
            )
        found = suspicion(sent, self.bought.getchannel("A"))
        reasons = [
            {"measure": each.measure, "value": each.value, "text": each.text} for each in found.reasons
        ]
        return {"measures": {"score": found.score, "reasons": reasons}, "problems": []}

    @cached_property
    def bought(self) -> Image.Image:
        """The bought cutout, RGBA."""
        with unfit_on_error():
            image = _opened(self.bought_file)
            if "A" not in image.getbands() and "transparency" not in image.info:
                raise OutputError(
                    "OUTPUT_WITHOUT_ALPHA",
                    f"what was bought is {image.mode} without alpha; nothing can be derived from it",
                )
            return image.convert("RGBA")

    @cached_property
    def sent(self) -> Image.Image | None:
        """The picture that was sent, RGB, made again from its source; None if it is not the same any more."""
        if self.source_file is None:
            return None
        for make_again in (prepare, refit):
            data = make_again(self.source_file).data
            if self.image_sha256 is None or hashlib.sha256(data).digest() == self.image_sha256:
                with unfit_on_error():
                    image = _opened(data).convert("RGB")
                if image.size == self.bought.size:
                    return image
        self.problem = self.problem or "what was sent cannot be made again from the source"
        return None

    @cached_property
    def full(self) -> Subject:
        """The cutout as large as its source, or as what was bought, with the reason."""
        if self.full_file is not None:
            with unfit_on_error():
                image = _opened(self.full_file)
                profile, dpi = image.info.get("icc_profile"), image.info.get("dpi")
                image = image.convert("RGBA")
            return Subject(image, image.width / self.bought.width, profile, dpi)
        if self.is_untouched:
            return Subject(self.bought, 1.0)
        sent = self.sent
        if self.source_file is None or sent is None:
            note = f"not as large as its source: {self.problem or 'the source is not known'}"
            return Subject(self.bought, 1.0, note=note)
        return self._enlarged(self.source_file, sent)

    def _enlarged(self, source: bytes, sent: Image.Image) -> Subject:
        original = full_size(open_image(source))
        if original.width <= sent.width and original.height <= sent.height:
            return Subject(self.bought, 1.0)
        made = enlarge(original, sent, self.bought, sharpen=self.sharpen, decontaminated=self.decontaminated)
        profile, dpi = original.info.get("icc_profile"), original.info.get("dpi")
        found = {"softness": round(made.softness, 4), "residual": round(made.residual, 4)}
        return Subject(made.image, made.factor, profile, dpi, measures=found)

    def _subject(self, recipe: Recipe, *, at_sent_size: bool) -> Subject:
        if at_sent_size:
            return Subject(self.bought, 1.0)
        if recipe.preset in FORMS or _shows_more(recipe, self.bought):
            return self.full
        return Subject(self.bought, 1.0)


def _shows_more(recipe: Recipe, bought: Image.Image) -> bool:
    """Whether the output, made of a source of any size, shows more pixels than the bought picture has."""
    size = (bought.width * LARGEST_FACTOR, bought.height * LARGEST_FACTOR)
    share = subject_scale(recipe, bought.getchannel("A"), size)
    return share is not None and share * LARGEST_FACTOR > 1


def _parsed(text: str) -> tuple[Recipe, bool]:
    return parse_recipe(text.removesuffix(SENT_SIZE), check_rule=False), text.endswith(SENT_SIZE)


def _opened(data: bytes) -> Image.Image:
    with unfit_on_error():
        return Image.open(io.BytesIO(data), formats=_PICTURES)
