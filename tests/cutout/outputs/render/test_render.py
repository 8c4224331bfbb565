"""Renditions: place, scale, colours, encoding and problems."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from cutout.outputs.output_error import OutputError
from cutout.outputs.recipes import parse_recipe
from cutout.outputs.render import Rendered, render, subject_scale
from tests.cutout.outputs.render.subjects import INK, drawn

BODY = drawn((1000, 800), (200, 100, 800, 700))


def rendered(words: str, subject: Image.Image = BODY, scale: float = 1.0) -> Rendered:
    """Render a subject by a recipe as PNG, so that pixels are exact, unless the recipe says otherwise."""
    text = words if "format=" in words else f"{words} format=png"
    return render(subject, parse_recipe(text), natural_scale=scale)


def picture_of(output: Rendered) -> Image.Image:
    return Image.open(io.BytesIO(output.data))


def box_of(output: Rendered) -> tuple[int, int, int, int]:
    """Return the box of what is not white, or not transparent."""
    picture = picture_of(output)
    if picture.mode == "RGBA":
        box = picture.getchannel("A").getbbox()
    else:
        box = Image.fromarray(255 - np.asarray(picture)).getbbox()
    assert box is not None
    return box


class TestPlace:
    @pytest.mark.parametrize(
        ("words", "box"),
        [
            ("canvas=600x500 fill=0.8", (100, 50, 500, 450)),
            ("canvas=600x500 fill=0.8 align=top", (100, 50, 500, 450)),
            ("canvas=400x600 fill=0.5 align=top", (100, 150, 300, 350)),
            ("canvas=400x600 fill=0.5 align=bottom", (100, 250, 300, 450)),
            ("canvas=600x500 margin=30px", (80, 30, 520, 470)),
            ("canvas=600x500 margin=10%", (100, 50, 500, 450)),
            ("canvas=500x500 fill=1", (0, 0, 500, 500)),
            ("canvas=subject", (0, 0, 600, 600)),
            ("canvas=subject margin=20px", (20, 20, 620, 620)),
            ("canvas=subject margin=10%", (60, 60, 660, 660)),
            ("canvas=source", (200, 100, 800, 700)),
        ],
    )
    def test_box(self, words: str, box: tuple[int, int, int, int]) -> None:
        """The subject lies where the recipe says."""
        output = rendered(words)
        assert box_of(output) == box
        assert output.problems == ()

    def test_canvas_around_subject(self) -> None:
        """A canvas of the subject has its size and the margin on each side."""
        assert picture_of(rendered("canvas=subject margin=20px")).size == (640, 640)

    def test_optical(self) -> None:
        """Optical alignment moves the subject half way towards the balance of its centre of mass."""
        subject = drawn((1000, 1000), (200, 200, 800, 400), (450, 400, 550, 800))
        center = box_of(rendered("canvas=1000x1000 fill=0.6", subject))
        optical = box_of(rendered("canvas=1000x1000 fill=0.6 align=optical", subject))
        mass = (200 * 600 * 300 + 400 * 100 * 600) / (200 * 600 + 400 * 100)
        assert optical[0] == center[0]
        assert optical[1] - center[1] == pytest.approx((500 - mass) / 2, abs=2)

    def test_optical_stays_on_the_canvas(self) -> None:
        """Optical alignment leaves half of the margin."""
        subject = drawn((1000, 1000), (0, 0, 1000, 20), (0, 20, 4, 1000))
        box = box_of(rendered("canvas=500x500 fill=0.98 align=optical cut=float", subject))
        assert min(box[0], box[1], 500 - box[2], 500 - box[3]) >= 2

    @pytest.mark.parametrize(
        ("subject", "box"),
        [
            (drawn((1000, 800), (0, 100, 600, 700)), (0, 100, 400, 500)),
            (drawn((1000, 800), (400, 100, 1000, 700)), (200, 100, 600, 500)),
            (drawn((1000, 800), (200, 0, 800, 600)), (100, 0, 500, 400)),
            (drawn((1000, 800), (200, 200, 800, 800)), (100, 200, 500, 600)),
            (drawn((1000, 800), (400, 200, 1000, 800)), (200, 200, 600, 600)),
            (drawn((900, 800), (0, 200, 900, 650)), (0, 150, 600, 450)),
        ],
    )
    def test_cropped_side_snaps(self, subject: Image.Image, box: tuple[int, int, int, int]) -> None:
        """A subject that the photo crops lies at that edge of the canvas, at the fill asked for."""
        words = "canvas=600x600 fill=0.66667"
        assert box_of(rendered(words, subject)) == pytest.approx(box, abs=1)
        floating = box_of(rendered(f"{words} cut=float", subject))
        assert min(floating[0], floating[1], 600 - floating[2], 600 - floating[3]) >= 99

    def test_given_sides_prevail(self) -> None:
        """Sides that the caller names are those that snap."""
        recipe = parse_recipe("canvas=500x500 fill=0.8 format=png")
        output = render(BODY, recipe, natural_scale=1.0, cut_sides={"bottom"})
        assert box_of(output)[3] == 500

    def test_what_lies_outside_the_box_is_left_out(self) -> None:
        """Specks and haze far from the subject do not reach the canvas."""
        subject = drawn((1000, 800), (200, 100, 800, 700), (2, 2, 6, 6))
        assert box_of(rendered("canvas=600x500 fill=0.8", subject)) == (100, 50, 500, 450)

    def test_soft_shadow_fades_out(self) -> None:
        """A shadow of the photo that fades out does not end in a line where the subject's box ends."""
        ramp = np.clip(100 - 0.2 * np.abs(np.arange(1000) - 500)[:, None] * np.ones((1, 1000)), 0, 255)
        subject = np.zeros((1000, 1000, 4), np.uint8)
        subject[..., 3] = ramp
        pixels = np.asarray(picture_of(rendered("canvas=1000x1000 fill=0.8", Image.fromarray(subject))))
        steps = np.abs(np.diff(pixels[:, 500, 0].astype(int)))
        assert steps.max() <= 6

    def test_specks_near_the_box_are_dropped(self) -> None:
        """A speck that is near enough to be drawn is not."""
        subject = drawn((1000, 800), (200, 100, 800, 700), (180, 400, 184, 404))
        assert box_of(rendered("canvas=800x800 fill=0.75", subject)) == (100, 100, 700, 700)


class TestScale:
    def test_never_enlarged(self) -> None:
        """A subject with too few pixels is drawn as it is, in the middle, and marked."""
        output = rendered("canvas=2000x2000 fill=0.9")
        assert box_of(output) == (700, 700, 1300, 1300)
        assert output.problems == (
            "fill: 0.300; at least 0.889; the source has too few pixels for enlarge=1",
        )
        assert (output.measures["stretch"], output.measures["is_limited"]) == (1.0, True)

    def test_enlarged_as_far_as_allowed(self) -> None:
        """`enlarge` bounds the stretch of the original's pixels."""
        assert box_of(rendered("canvas=2000x2000 fill=0.9 enlarge=1.5")) == pytest.approx(
            (550, 550, 1450, 1450), abs=3
        )

    def test_pixels_of_the_original_count(self) -> None:
        """A cutout at half size may be drawn twice as large, which is said to lack detail."""
        output = rendered("canvas=1500x1500 fill=0.8", scale=2.0)
        assert output.measures["stretch"] == 1.0
        assert output.problems == (
            "detail: made of a cutout enlarged 2.00 times; the source has more pixels",
        )

    def test_shrunk_source_needs_no_detail(self) -> None:
        """A rendition smaller than the cutout given has all its pixels, however large the original is."""
        output = rendered("canvas=500x500 fill=0.8", scale=4.0)
        assert output.problems == ()
        assert output.measures["stretch"] == pytest.approx(400 / 600 / 4, abs=1e-4)

    @pytest.mark.parametrize(
        ("words", "source", "scale"),
        [
            ("canvas=600x600 fill=0.5", (1000, 800), 0.5),
            ("canvas=600x600 fill=0.5", (4000, 3200), 0.125),
            ("canvas=2000x2000 fill=0.9", (4000, 3200), 0.75),
            ("canvas=2000x2000 fill=0.9", (1000, 800), 1.0),
            ("canvas=2000x2000 fill=0.9 enlarge=3", (1000, 800), 1.0),
            ("canvas=source", (4000, 3200), 1.0),
            ("canvas=subject", (4000, 3200), 1.0),
        ],
    )
    def test_subject_scale(self, words: str, source: tuple[int, int], scale: float) -> None:
        """The caller is told the scale of the source that the rendition shows."""
        recipe = parse_recipe(words)
        assert subject_scale(recipe, BODY.getchannel("A"), source) == pytest.approx(scale)

    @pytest.mark.parametrize(
        "words", ["canvas=1500x1500 fill=0.8", "amazon", "etsy", "canvas=900x700 margin=3%"]
    )
    def test_subject_at_that_scale_suffices(self, words: str) -> None:
        """A cutout made at the scale told gives the rendition without a stretch of its pixels."""
        source, recipe = (6000, 4800), parse_recipe(words)
        scale = subject_scale(recipe, BODY.getchannel("A"), source)
        assert scale is not None
        subject = BODY.resize((round(source[0] * scale), round(source[1] * scale)))
        output = render(subject, recipe, natural_scale=source[0] / subject.width)
        assert output.problems == ()
        assert output.measures["given_stretch"] == pytest.approx(1, abs=0.005)

    def test_no_subject(self) -> None:
        """Nothing visible has no scale."""
        assert subject_scale(parse_recipe("amazon"), Image.new("L", (50, 50)), (50, 50)) is None


class TestColours:
    def test_edges_have_no_fringe(self) -> None:
        """Colours of transparent pixels do not reach the edge when it is scaled."""
        subject = Image.new("RGBA", (1000, 1000), (0, 255, 0, 0))
        subject.paste((200, 10, 10, 255), (200, 200, 800, 800))
        pixels = np.asarray(picture_of(rendered("canvas=333x333 fill=0.7 background=#c80a0a", subject)))
        assert np.abs(pixels.astype(int) - (200, 10, 10)).max() <= 1

    def test_transparent(self) -> None:
        """A transparent background has alpha 0."""
        picture = picture_of(rendered("canvas=500x500 fill=0.8 background=transparent"))
        assert picture.mode == "RGBA"
        assert picture.getpixel((5, 5)) == (0, 0, 0, 0)
        assert picture.getpixel((250, 250)) == (*INK, 255)

    @pytest.mark.parametrize("shadow", ["contact", "soft"])
    @pytest.mark.parametrize("background", ["#e6ecf4", "transparent"])
    def test_shadow(self, shadow: str, background: str) -> None:
        """A shadow is dark below the subject and gone at the canvas's edge; the subject stays as it is."""
        words = f"canvas=800x800 fill=0.7 background={background}"
        plain, shaded = picture_of(rendered(words)), picture_of(rendered(f"{words} shadow={shadow}"))
        below = (400 + 280 + 6, 400)  # row, column
        ground = Image.new("RGBA", (800, 800), "#e6ecf4")
        both = [Image.alpha_composite(ground, one.convert("RGBA")) for one in (plain, shaded)]
        before, after = (int(np.asarray(one.convert("L"))[below]) for one in both)
        assert after < before - 20
        assert both[0].crop((150, 150, 650, 650)).tobytes() == both[1].crop((150, 150, 650, 650)).tobytes()
        ring = np.abs(np.asarray(both[0]).astype(int) - np.asarray(both[1]))
        assert ring[:8].max() == ring[-8:].max() == ring[:, :8].max() == ring[:, -8:].max() <= 1

    def test_srgb(self) -> None:
        """`profile=srgb` converts by the source's profile, and embeds none."""
        wide = wide_profile()
        output = render(BODY, parse_recipe("canvas=500x500 format=png"), natural_scale=1.0, icc_profile=wide)
        picture = picture_of(output)
        assert "icc_profile" not in picture.info
        assert picture.getpixel((250, 250)) != INK

    @pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif"])
    def test_keep(self, form: str) -> None:
        """`profile=keep` keeps pixels and profile in every format."""
        recipe = parse_recipe(f"canvas=500x500 profile=keep format={form}")
        picture = picture_of(render(BODY, recipe, natural_scale=1.0, icc_profile=wide_profile()))
        assert picture.info["icc_profile"] == wide_profile()
        middle = picture.convert("RGB").getpixel((250, 250))
        assert middle == pytest.approx(INK, abs=3)

    def test_unusable_profile(self) -> None:
        """A profile that is no RGB profile is not embedded."""
        recipe = parse_recipe("canvas=500x500 profile=keep format=png")
        output = render(BODY, recipe, natural_scale=1.0, icc_profile=b"no profile")
        assert "icc_profile" not in picture_of(output).info

    def test_metadata_of_the_subject_is_dropped(self) -> None:
        """Nothing that the subject carries in its info reaches the output."""
        subject = BODY.copy()
        subject.info = {
            "icc_profile": wide_profile(),
            "dpi": (300, 300),
            "comment": "secret",
            "exif": b"secret",
        }
        output = render(subject, parse_recipe("rgba"), natural_scale=1.0)
        assert b"secret" not in output.data
        assert "icc_profile" not in picture_of(output).info
        assert "comment" in subject.info


def wide_profile() -> bytes:
    """Return a profile of wider primaries, made from sRGB's by exchanging red and green."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = bytes(12)  # the time of its making
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 1], data[green : green + 1] = b"g", b"r"
    return bytes(data)


class TestEncoding:
    @pytest.mark.parametrize(
        ("form", "name"), [("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("avif", "AVIF")]
    )
    def test_formats(self, form: str, name: str) -> None:
        """Each format gives its kind of file, with type and extension."""
        output = rendered(f"canvas=300x300 format={form}")
        picture = picture_of(output)
        assert (picture.format, picture.mode, picture.size) == (name, "RGB", (300, 300))
        assert output.media_type == f"image/{form}"
        assert output.extension == {"jpeg": "jpg"}.get(form, form)
        assert output.problems == ()

    @pytest.mark.parametrize("form", ["jpeg", "png"])
    def test_dpi(self, form: str) -> None:
        """The density is written; `keep` writes the source's."""
        for words, dpi in (("dpi=300", 300), ("dpi=keep", 240)):
            recipe = parse_recipe(f"canvas=300x300 format={form} {words}")
            picture = picture_of(render(BODY, recipe, natural_scale=1.0, dpi=(240.0, 240.0)))
            assert picture.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)

    def test_quality_steps_down(self) -> None:
        """Noise that is too large at the quality asked for gets one that fits, in steps of 5."""
        output = rendered("canvas=400x400 format=jpeg max_bytes=75KB fill=1", noise())
        assert len(output.data) <= 75_000
        assert output.measures["quality"] % 5 == 0
        assert 50 <= output.measures["quality"] < 90
        assert output.problems == ()

    def test_few_qualities_are_encoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A limit that nothing meets costs two encodings, one that quality 60 meets at most five."""
        tried: list[int] = []
        save = Image.Image.save

        def count(image: Image.Image, *arguments: Any, **words: Any) -> None:
            tried.append(words["quality"])
            save(image, *arguments, **words)

        monkeypatch.setattr(Image.Image, "save", count)
        picture = noise()
        rendered("canvas=400x400 format=jpeg max_bytes=5KB fill=1", picture)
        assert tried == [90, 50]
        tried.clear()
        output = rendered("canvas=400x400 format=jpeg max_bytes=75KB fill=1", picture)
        assert len(tried) <= 5
        assert output.measures["quality"] in tried
        assert output.measures["quality"] + 5 in tried

    def test_too_large_at_quality_50(self) -> None:
        """A picture that never fits is delivered at quality 50, and marked."""
        output = rendered("canvas=400x400 format=jpeg max_bytes=5KB fill=1", noise())
        assert output.measures["quality"] == 50
        assert output.problems == (f"bytes: {len(output.data)}; at most 5000",)

    def test_quality_under_50_is_kept(self) -> None:
        """A quality under 50 that was asked for is not changed."""
        assert (
            rendered("canvas=400x400 format=jpeg quality=30 max_bytes=5KB", noise()).measures["quality"] == 30
        )

    def test_same_bytes_again(self) -> None:
        """A recipe made twice gives the same bytes, which are addressed by their content."""
        assert rendered("amazon").data == rendered("amazon").data

    def test_longest_side_of_a_format(self) -> None:
        """A strip that the format cannot have is refused with the remedy."""
        strip = drawn((17_000, 33), (10, 5, 16_990, 28))
        with pytest.raises(OutputError, match="webp takes 16383 a side: give format=png") as caught:
            rendered("canvas=source background=transparent format=webp", strip)
        assert caught.value.code == "OUTPUT_FORMAT_LIMIT"


def noise() -> Image.Image:
    """Return an opaque square of noise."""
    pixels = np.random.default_rng(1).integers(0, 256, (400, 400, 4), np.uint8)
    pixels[..., 3] = 255
    return Image.fromarray(pixels)


class TestProblems:
    @pytest.mark.parametrize("words", ["amazon", "canvas=subject", "crop", "web"])
    def test_empty(self, words: str) -> None:
        """A wholly transparent cutout is refused where nothing can be placed."""
        with pytest.raises(OutputError, match="wholly transparent") as caught:
            render(Image.new("RGBA", (500, 400)), parse_recipe(words), natural_scale=1.0)
        assert caught.value.code == "OUTPUT_SUBJECT_EMPTY"

    def test_faint(self) -> None:
        """A cutout of which nothing is visible is refused as an empty one."""
        with pytest.raises(OutputError, match="wholly transparent"):
            rendered("amazon", drawn((500, 400), (10, 10, 400, 300), alpha=8))

    def test_margin_beyond_the_bound(self) -> None:
        """A canvas that its margin makes too large is refused."""
        subject = drawn((5000, 4500), (0, 0, 5000, 4500))
        with pytest.raises(OutputError, match="give a smaller margin") as caught:
            rendered("canvas=subject margin=45%", subject)
        assert caught.value.code == "OUTPUT_TOO_LARGE"

    def test_mode(self) -> None:
        """A subject without alpha is a mistake of the caller."""
        with pytest.raises(ValueError, match="mode RGB; give RGBA"):
            render(BODY.convert("RGB"), parse_recipe("amazon"), natural_scale=1.0)

    def test_measures_are_json(self) -> None:
        """Measures can be stored as they are."""
        measures = rendered("amazon").measures
        assert json.loads(json.dumps(measures)) == measures

    def test_source_is_not_changed(self) -> None:
        """The picture given is as it was."""
        subject = BODY.copy()
        for words in ("rgba", "whiteBK", "web", "canvas=500x500 shadow=soft"):
            render(subject, parse_recipe(words), natural_scale=1.0, icc_profile=wide_profile())
        assert (subject.tobytes(), subject.info) == (BODY.tobytes(), {})
