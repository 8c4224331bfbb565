"""A purchase and its source, whatever the source is: turned, with a profile, grey, with alpha, a strip."""

import hashlib
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bench.preparation.profiles import ADOBE_RGB, rgb_profile
from cutout.images.image import prepare
from cutout.outputs.picture import Picture
from sandbox.forms import render as cut_out

SIZE = (2400, 1500)
TURNED = 6


def scene(size: tuple[int, int] = SIZE) -> Image.Image:
    """A dark subject on a light ground, off the middle, so that a turn is seen."""
    image = Image.new("RGB", size, (228, 226, 222))
    pen = ImageDraw.Draw(image)
    width, height = size
    pen.ellipse((width * 0.15, height * 0.2, width * 0.45, height * 0.7), fill=(120, 30, 40))
    pen.rectangle((width * 0.4, height * 0.5, width * 0.8, height * 0.6), fill=(20, 60, 90))
    return image


def saved(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = TURNED
    return saved(scene(), exif=exif, quality=92)


def with_profile() -> bytes:
    return saved(scene(), icc_profile=rgb_profile(ADOBE_RGB), quality=92)


def with_alpha() -> bytes:
    image = scene().convert("RGBA")
    image.putalpha(Image.new("L", SIZE, 254))
    return saved(image, "PNG")


SOURCES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved(scene(), quality=92),
    "turned by its orientation": turned,
    "with a profile": with_profile,
    "with alpha": with_alpha,
    "grey": lambda: saved(scene().convert("L"), quality=92),
    "cmyk": lambda: saved(scene().convert("CMYK"), quality=92),
    "tiff": lambda: saved(scene(), "TIFF"),
    "strip": lambda: saved(scene((6000, 120)), quality=92),
}


def picture_of(source: bytes, **changed: object) -> Picture:
    """The purchase of a source, as a renderer has it."""
    sent = prepare(source).data
    values: dict[str, object] = {
        "source_file": source,
        "image_sha256": hashlib.sha256(sent).digest(),
        "is_untouched": sent == source,
    }
    return Picture(cut_out(sent, "rgba"), **(values | changed))  # type: ignore[arg-type]


FIRST = ("jpeg", "turned by its orientation")
LONG = pytest.mark.long("cuts a large picture out for each kind; test_picture.py has two of them first")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FIRST else LONG) for name in SOURCES]
)
def test_is_as_large_as_its_source_and_lies_as_what_was_bought(name: str) -> None:
    """Upright, of the source's size; shrunk to the sent size, its alpha is the bought one."""
    source = SOURCES[name]()
    with Image.open(io.BytesIO(source)) as opened:
        size = opened.size[::-1] if "turned" in name else opened.size
    picture = picture_of(source)
    fields, data = picture.make("rgba")
    made = Image.open(io.BytesIO(data))
    assert made.size == size
    assert fields["note"] is None
    shrunk = made.getchannel("A").resize(picture.bought.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(shrunk, np.int16) - np.asarray(picture.bought.getchannel("A"), np.int16))
    assert difference.mean() < 2.0


def test_of_another_source_keeps_its_size_and_says_so() -> None:
    """The hash of what was sent is compared: another picture is never laid under the alpha."""
    picture = picture_of(SOURCES["jpeg"](), source_file=saved(scene().rotate(180), quality=92))
    fields, data = picture.make("mask")
    assert Image.open(io.BytesIO(data)).size == picture.bought.size
    assert "cannot be made again" in fields["note"]


def test_without_its_source_keeps_its_size_and_says_why() -> None:
    picture = picture_of(SOURCES["jpeg"](), source_file=None, problem="SOURCE_MISSING: it is gone")
    fields, _ = picture.make("mask")
    assert fields["factor"] == 1.0
    assert "SOURCE_MISSING" in fields["note"]


def test_sent_as_it_is_needs_no_source() -> None:
    """The bought picture has its size: nothing is fetched, and RGBA is that object itself."""
    small = saved(scene((900, 600)), quality=92)
    picture = picture_of(small, source_file=None)
    assert picture.is_untouched
    assert not picture.needs_source("mask")
    fields, data = picture.make("rgba")
    assert (fields["same"], data) == (True, b"")


def test_shown_small_needs_no_source() -> None:
    """A rendition with fewer pixels than were bought is made of what was bought."""
    picture = picture_of(SOURCES["jpeg"](), source_file=None)
    assert not picture.needs_source("thumb: canvas=300x300".partition(": ")[2])
    assert picture.needs_source("canvas=5000x5000")
