"""Derived forms, held against those that the stand-in for the endpoint gives."""

import io
from pathlib import Path

import pytest
from PIL import Image

from cutout.outputs.recipes import parse_recipe
from cutout.outputs.render import render
from sandbox import forms
from sandbox.upload import ReturnForm
from tests.cutout.outputs.render.subjects import photos


def encoded(picture: Image.Image) -> bytes:
    """Return a picture as the sandbox encodes its white form."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=forms.JPEG_QUALITY)
    return buffer.getvalue()


@pytest.mark.parametrize("photo", photos("cuts each photo out four times"))
def test_forms_of_what_was_bought(photo: Path) -> None:
    """mask, whiteBK and crop made of a bought RGBA have the pixels of those that would be bought."""
    source = photo.read_bytes()
    bought = Image.open(io.BytesIO(forms.render(source, None)))

    own_forms: tuple[ReturnForm | None, ...] = (None, "mask", "crop")
    for form in own_forms:
        rendered = render(bought, parse_recipe(form or "rgba"), natural_scale=1.0)
        derived = Image.open(io.BytesIO(rendered.data))
        own = Image.open(io.BytesIO(forms.render(source, form))) if form else bought
        assert (derived.mode, derived.size, derived.format) == (own.mode, own.size, "PNG")
        assert derived.tobytes() == own.tobytes()
        assert rendered.problems == ()

    white = render(bought, parse_recipe("whiteBK"), natural_scale=1.0)
    assert encoded(Image.open(io.BytesIO(white.data))) == forms.render(source, "whiteBK")
    assert white.problems == ()


def test_white_form_as_jpeg() -> None:
    """The white form is a JPEG if that is asked for."""
    subject = Image.new("RGBA", (50, 40), (200, 10, 10, 128))
    rendered = render(subject, parse_recipe("whiteBK format=jpeg"), natural_scale=1.0)
    assert Image.open(io.BytesIO(rendered.data)).format == "JPEG"
    assert (rendered.media_type, rendered.extension) == ("image/jpeg", "jpg")


def test_form_of_too_few_pixels_is_marked() -> None:
    """A form made of a cutout smaller than the source says so."""
    subject = Image.new("RGBA", (50, 40), (200, 10, 10, 255))
    rendered = render(subject, parse_recipe("rgba"), natural_scale=4.0)
    assert rendered.problems == ("detail: 0.25 of the source's width and height; must be 1",)


@pytest.mark.parametrize("form", ["rgba", "mask", "whiteBK"])
def test_transparent_cutout_keeps_its_forms(form: str) -> None:
    """A form of a wholly transparent cutout is made, and marked."""
    rendered = render(Image.new("RGBA", (50, 40)), parse_recipe(form), natural_scale=1.0)
    assert rendered.problems == ("subject: wholly transparent; no subject was found",)
