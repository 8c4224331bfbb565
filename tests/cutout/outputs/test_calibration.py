"""Calibration: the endpoint's own forms beside those derived from its RGBA."""

import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image, ImageChops

from cutout.images.unfit_image import UnfitImage
from cutout.outputs.calibration import BoughtForms, Calibration, PictureCalibration, calibrate
from sandbox.forms import render
from tests.cutout.outputs.score.pictures import drawn, jug, picture

ALPHA = drawn(jug)
SENT = picture(ALPHA)


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"compress_level": 1} if kind == "PNG" else {}), **options)
    return buffer.getvalue()


def forms_of(rgba: Image.Image, sent: Image.Image = SENT) -> BoughtForms:
    """The four forms of an endpoint that derives them all from one RGBA."""
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    alpha = rgba.getchannel("A")
    crop = rgba.crop(alpha.getbbox())
    return BoughtForms("jug", *(encoded(one) for one in (sent, rgba, alpha, white, crop)))


def undecontaminated(alpha: Image.Image = ALPHA, sent: Image.Image = SENT) -> Image.Image:
    rgba = sent.copy()
    rgba.putalpha(alpha)
    return rgba


FORMS = forms_of(undecontaminated())


def compared(forms: BoughtForms) -> PictureCalibration:
    (result,) = calibrate([forms]).pictures
    return result


def test_the_sandbox_s_forms_differ_by_nothing_but_its_jpeg() -> None:
    """Mask and crop are the derived ones, whiteBK nearly so, and the edge colours are cleaned."""
    sent = encoded(SENT, "JPEG", quality=95)
    rgba, mask, white, crop = (render(sent, form) for form in (None, "mask", "whiteBK", "crop"))
    calibration = calibrate([BoughtForms("jug", sent, rgba, mask, white, crop)])
    (result,) = calibration.pictures
    assert (result.mask.mean, result.mask.largest, result.mask.encoding) == (0, 0, "PNG")
    assert (result.crop.mean, result.crop.largest, result.crop_level) == (0, 0, 1)
    assert result.white.encoding == "JPEG"
    assert result.white.mean is not None
    assert 0 < result.white.mean < 1
    assert calibration.is_decontaminated is True


def test_forms_of_one_rgba_differ_by_nothing() -> None:
    """An endpoint that derives its forms as we do, with the colours of the sent picture."""
    calibration = calibrate([FORMS])
    (result,) = calibration.pictures
    for form in (result.mask, result.white, result.crop):
        assert (form.mean, form.largest) == (0, 0)
        assert form.bought_size == form.derived_size
    assert result.edge_pixels > 500
    assert (result.edge_difference, calibration.is_decontaminated) == (0, False)
    assert (result.softness, calibration.softness) == (None, None)


def test_a_mask_of_other_levels_is_measured() -> None:
    """Mean and largest difference are those of the levels over the whole picture."""
    other = ALPHA.copy()
    other.paste(40, (0, 0, 60, 100))
    result = compared(replace(FORMS, mask=encoded(other)))
    assert result.mask.largest == 40
    assert result.mask.mean == pytest.approx(40 * 60 * 100 / (600 * 600))
    assert (result.white.largest, result.crop.largest) == (0, 0)


def test_a_grey_rgb_mask_is_a_mask() -> None:
    """A mask that comes with three equal channels is compared by its levels."""
    assert compared(replace(FORMS, mask=encoded(ALPHA.convert("RGB")))).mask.largest == 0


def test_a_white_that_is_composited_otherwise_is_measured() -> None:
    """One channel of one pixel out of all three counts as a third of it."""
    with Image.open(io.BytesIO(FORMS.white)) as opened:
        white = opened.convert("RGB")
    white.putpixel((0, 0), (255, 155, 255))
    result = compared(replace(FORMS, white=encoded(white)))
    assert result.white.largest == 100
    assert result.white.mean == pytest.approx(100 / (600 * 600 * 3))


def test_a_form_of_another_size_has_no_difference() -> None:
    """Sizes are told instead."""
    result = compared(replace(FORMS, mask=encoded(ALPHA.resize((300, 300)))))
    assert (result.mask.mean, result.mask.largest) == (None, None)
    assert (result.mask.bought_size, result.mask.derived_size) == ((300, 300), (600, 600))


def test_a_crop_by_a_threshold_is_found() -> None:
    """A crop to the pixels that are more opaque than a level names the level and is compared there."""
    haze = ImageChops.lighter(ALPHA, Image.new("L", ALPHA.size, 0))
    haze.paste(30, (50, 60, 90, 100))
    rgba = undecontaminated(haze)
    box = haze.point(lambda level: 255 if level >= 31 else 0).getbbox()
    result = compared(replace(forms_of(rgba), crop=encoded(rgba.crop(box))))
    assert result.crop_level == 31
    assert result.crop.largest == 0


def test_a_crop_with_a_margin_has_no_level() -> None:
    """A crop larger than any box of alpha is told by both sizes."""
    left, top, right, bottom = ALPHA.getbbox() or (0, 0, 0, 0)
    crop = undecontaminated().crop((left - 5, top - 5, right + 5, bottom + 5))
    result = compared(replace(FORMS, crop=encoded(crop)))
    assert (result.crop_level, result.crop.mean) == (None, None)
    assert result.crop.derived_size == (right - left, bottom - top)
    assert result.crop.bought_size == (right - left + 10, bottom - top + 10)


def test_colours_under_alpha_0_do_not_count_in_a_crop() -> None:
    """Two crops that look alike are alike."""
    rgba = undecontaminated()
    cleared = Image.composite(
        rgba, Image.new("RGBA", rgba.size), ALPHA.point(lambda level: 255 * (level > 0))
    )
    result = compared(replace(FORMS, crop=encoded(cleared.crop(ALPHA.getbbox()))))
    assert result.crop.largest == 0


@pytest.mark.parametrize(("shift", "is_decontaminated"), [(3, False), (5, True)])
def test_edge_colours_that_differ_by_more_than_4_levels_are_cleaned(
    shift: int, *, is_decontaminated: bool
) -> None:
    """The colours of half transparent pixels alone decide."""
    lighter = SENT.point(lambda level: level + shift)
    result = calibrate([forms_of(undecontaminated(sent=lighter))])
    assert result.edge_difference == pytest.approx(shift)
    assert result.is_decontaminated is is_decontaminated
    edge = ALPHA.point(lambda level: 255 if 0 < level < 255 else 0)
    elsewhere = undecontaminated(sent=Image.composite(SENT, lighter, edge))
    assert calibrate([forms_of(elsewhere)]).edge_difference == 0


def test_pictures_count_by_their_edge_pixels() -> None:
    """A picture without a soft edge says nothing about the colours."""
    hard = undecontaminated(ALPHA.point(lambda level: 255 * (level > 127)), SENT)
    assert calibrate([forms_of(hard)]).is_decontaminated is None
    lighter = forms_of(undecontaminated(sent=SENT.point(lambda level: level + 9)))
    assert calibrate([forms_of(hard), lighter]).edge_difference == pytest.approx(9)


def test_an_empty_cutout_is_compared_too() -> None:
    """A picture in which the endpoint found nothing has an empty derived crop."""
    empty = undecontaminated(Image.new("L", SENT.size, 0))
    forms = replace(FORMS, rgba=encoded(empty), crop=encoded(empty.crop((0, 0, 1, 1))))
    result = compared(forms)
    assert (result.crop.derived_size, result.crop_level, result.edge_pixels) == ((0, 0), None, 0)


def test_softness_is_measured_by_the_function_given() -> None:
    """It gets the sent picture and the alpha; the calibration's is the median of those measured."""
    seen: list[tuple[str, str]] = []
    values = iter([0.02, None, 0.08, 0.05])

    def softness(sent: Image.Image, alpha: Image.Image) -> float | None:
        seen.append((sent.mode, alpha.mode))
        return next(values)

    calibration = calibrate([FORMS] * 4, softness)
    assert seen == [("RGB", "L")] * 4
    assert [one.softness for one in calibration.pictures] == [0.02, None, 0.08, 0.05]
    assert calibration.softness == 0.05


def test_an_rgba_of_another_size_than_sent_is_compared_without_its_colours() -> None:
    """Its own forms still are; colours and softness need the sent picture's pixels."""
    small = undecontaminated().resize((300, 300))
    result = calibrate([forms_of(small)], lambda _, __: 0.5).pictures[0]
    assert (result.mask.largest, result.edge_difference, result.softness) == (0, None, None)


def test_it_is_stored_as_json_and_read_again() -> None:
    """Reading what was written gives an equal calibration, None and sizes included."""
    other = replace(FORMS, crop=encoded(ALPHA.convert("RGBA").resize((7, 9))))
    calibration = calibrate([FORMS, other], lambda _, __: 0.03)
    text = calibration.to_json()
    assert Calibration.from_json(text) == calibration
    assert json.loads(text)["pictures"][0]["mask"]["largest"] == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: "[]",
        lambda _: "{}",
        lambda data: json.dumps({**data, "version": 0}),
        lambda data: json.dumps({**data, "pictures": [{"name": "jug"}]}),
        lambda data: json.dumps({**data, "pictures": [{**data["pictures"][0], "more": 1}]}),
    ],
    ids=["empty", "a list", "an empty object", "another version", "missing fields", "unknown fields"],
)
def test_other_json_is_refused_with_the_remedy(spoil: Callable[[dict[str, object]], str]) -> None:
    """Text that is no calibration of this version raises ValueError."""
    data = json.loads(calibrate([FORMS]).to_json())
    with pytest.raises(ValueError, match="calibrate the endpoint again"):
        Calibration.from_json(spoil(data))


def test_the_table_has_a_row_for_each_picture() -> None:
    """Sizes stand where there is no difference."""
    other = replace(FORMS, name="another", mask=encoded(ALPHA.resize((9, 7))))
    head, first, second = calibrate([FORMS, other], lambda _, __: 0.0345).rows()
    assert head[:2] == ("picture", "size")
    assert (first[:3], first[-1]) == (("jug", "600x600", "0.00/0 PNG"), "0.0345")
    assert second[2] == "9x7 for 600x600"
    assert len(head) == len(first) == len(second)


@pytest.mark.parametrize("form", ["sent", "rgba", "mask", "white", "crop"])
@pytest.mark.parametrize("kind", ["text", "truncated", "too large"])
def test_a_file_that_cannot_be_read_is_named(form: str, kind: str) -> None:
    """Text, half a picture and a picture larger than any sent raise UnfitImage with picture and form."""
    whole = getattr(FORMS, form)
    large = encoded(Image.new("L", (2001, 40)))
    data = {"text": b"<html>busy</html>", "truncated": whole[: len(whole) // 2], "too large": large}[kind]
    with pytest.raises(UnfitImage, match=rf"jug, {form}: "):
        calibrate([replace(FORMS, **{form: data})])


def test_without_a_picture_there_is_no_calibration() -> None:
    """An empty calibration would say that nothing differs."""
    with pytest.raises(ValueError, match="at least one"):
        calibrate([])
