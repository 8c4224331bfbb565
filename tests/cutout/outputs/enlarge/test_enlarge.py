"""Enlargement of a cutout to the original's size: its edges, colours, profile, and odd pictures."""

from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageCms

from cutout.outputs.enlarge import SOFT, Enlarged, enlarge
from tests.cutout.outputs.enlarge.drawn import SENT, SIZE, Drawn, levels, spokes, with_alpha

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# The profile of a screen with red and blue exchanged.
EXCHANGED = SRGB.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


@cache
def scene() -> Drawn:
    return spokes()


@cache
def made(*, soft: bool = False) -> Enlarged:
    return enlarge(scene().original, scene().sent, scene().bought(soft=soft))


class TestAlpha:
    @pytest.mark.parametrize(("soft", "most"), [(False, 0.1), (True, 0.25)], ids=["sharp mask", "soft mask"])
    def test_of_spokes_is_nearer_to_the_truth_than_bicubic(self, soft: bool, most: float) -> None:  # noqa: FBT001
        """The squared error is a small part of bicubic's."""
        bicubic = scene().alpha_error(scene().bicubic(scene().bought(soft=soft)))
        assert scene().alpha_error(made(soft=soft).image) < most * bicubic

    def test_shrinks_back_to_the_bought_mask(self) -> None:
        """Shrunk again, the result is the mask but for a level or so, and the residual says how far off."""
        shrunk = made().image.getchannel("A").resize(SENT, Image.Resampling.HAMMING)
        bought = scene().bought().getchannel("A")
        off = float(np.abs(np.asarray(shrunk).astype(float) - np.asarray(bought)).mean())
        assert off < 1.0
        assert made().residual == pytest.approx(off, abs=0.01)

    def test_is_registered_with_the_original(self) -> None:
        """A result displaced by one pixel in any direction would be worse."""
        image, truth = made().image, scene().alpha_error(made().image)
        for shift in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            moved = image.transform(SIZE, Image.Transform.AFFINE, (1, 0, shift[0], 0, 1, shift[1]))
            assert scene().alpha_error(moved) > 3 * truth

    def test_has_no_level_that_is_almost_empty_or_almost_full(self) -> None:
        """Levels under 3 become 0 and over 252 become 255."""
        found = set(np.unique(levels(made())[:, :, 3]).tolist())
        assert found >= {0, 128, 255}
        assert not found & {1, 2, 253, 254}

    def test_of_equal_colours_is_interpolated(self) -> None:
        """In a grey picture the colours say nothing, and the mask is enlarged smoothly."""
        grey = Image.new("RGB", (300, 200), (128, 128, 128))
        ramp = Image.linear_gradient("L").resize((100, 67))
        found = enlarge(grey, grey.resize((100, 67)), with_alpha(grey.resize((100, 67)), ramp))
        smooth = np.asarray(ramp.resize((300, 200), Image.Resampling.BILINEAR)).astype(float)
        assert np.abs(levels(found)[:, :, 3] - smooth).max() < 6


class TestSoftness:
    def test_tells_a_soft_mask_from_a_sharp_one(self) -> None:
        """A mask as a small network makes it is above the threshold, a perfect one below."""
        assert made().softness < SOFT < made(soft=True).softness

    @pytest.mark.parametrize("soft", [False, True])
    def test_decides_unless_the_setting_does(self, soft: bool) -> None:  # noqa: FBT001
        """The rule's result is that of the setting it stands for, and the other setting's is worse."""
        bought = scene().bought(soft=soft)
        right, wrong = (
            enlarge(scene().original, scene().sent, bought, sharpen=sharpen) for sharpen in (soft, not soft)
        )
        assert (levels(made(soft=soft)) == levels(right)).all()
        assert scene().alpha_error(right.image) < scene().alpha_error(wrong.image)


class TestColours:
    def test_inside_are_those_of_the_original(self) -> None:
        """Where alpha is 255, no pixel is changed; where it is 0, nothing is left of it."""
        pixels, original = levels(made()), np.asarray(scene().original)
        full, empty = pixels[:, :, 3] == 255, pixels[:, :, 3] == 0
        assert (pixels[full][:, :3] == original[full]).all()
        assert not pixels[empty].any()

    def test_at_edges_are_freed_of_the_background(self) -> None:
        """Laid on white, the edges are nearer to the truth than with the original's colours."""
        uncleaned = with_alpha(scene().original, made().image.getchannel("A"))
        assert scene().colour_error(made().image) < 0.8 * scene().colour_error(uncleaned)

    def test_that_were_bought_clean_are_used(self) -> None:
        """A subject whose edges have another colour than its inside keeps it only by the bought colours."""
        fringe = Image.new("RGB", SENT, (250, 60, 10))
        bought = with_alpha(fringe, scene().bought().getchannel("A"))
        taken = enlarge(scene().original, scene().sent, bought, decontaminated=True)
        pixels, before = levels(taken), levels(made())
        mixed = (pixels[:, :, 3] > 60) & (pixels[:, :, 3] < 200)
        assert (pixels[:, :, 3] == before[:, :, 3]).all()
        assert pixels[mixed][:, 0].mean() > before[mixed][:, 0].mean() + 50


class TestProfile:
    def test_of_the_original_is_kept_with_its_pixels(self) -> None:
        """Alpha is that of the same picture in sRGB; colours and profile are the original's own."""
        original = _exchanged(scene().original)
        original.info["icc_profile"] = EXCHANGED
        before = original.tobytes()
        found = enlarge(original, scene().sent, scene().bought())
        assert found.image.info["icc_profile"] == EXCHANGED
        assert original.tobytes() == before
        assert np.abs(levels(found).astype(int)[:, :, [2, 1, 0, 3]] - levels(made())).mean() < 1
        assert scene().alpha_error(found.image) < 1.5 * scene().alpha_error(made().image)

    def test_serves_bought_colours_too(self) -> None:
        """Bought colours, which are sRGB, are brought into the original's profile."""
        original = _exchanged(scene().original)
        original.info["icc_profile"] = EXCHANGED
        bought = with_alpha(scene().subject.resize(SENT), scene().bought().getchannel("A"))
        expected = enlarge(scene().original, scene().sent, bought, decontaminated=True)
        found = enlarge(original, scene().sent, bought, decontaminated=True)
        assert np.abs(levels(found).astype(int)[:, :, [2, 1, 0, 3]] - levels(expected)).mean() < 1


def _exchanged(image: Image.Image) -> Image.Image:
    return Image.merge("RGB", image.split()[::-1])


class TestOddPictures:
    @pytest.mark.parametrize(
        ("size", "sent_size"),
        [
            ((33, 33), (20, 20)),
            ((1, 8000), (1, 1999)),
            ((6000, 2), (1999, 1)),
            ((3, 6000), (1, 1999)),
            ((600, 450), (599, 449)),
            ((65, 64), (64, 64)),
            ((4001, 301), (1999, 150)),
            ((20000, 40), (1999, 4)),
        ],
        ids=str,
    )
    def test_of_any_size_are_enlarged(self, size: tuple[int, int], sent_size: tuple[int, int]) -> None:
        """Half of the picture is subject, and so is half of the result, to a few pixels."""
        longer = 0 if size[0] >= size[1] else 1
        width, height = size
        half = (0, 0, -(-width // 2), height) if longer == 0 else (0, 0, width, -(-height // 2))
        original = Image.new("RGB", size, (230, 240, 220))
        original.paste((60, 20, 90), half)
        sent = original.resize(sent_size, Image.Resampling.LANCZOS)
        mask = Image.new("L", size)
        mask.paste(255, half)
        found = enlarge(original, sent, with_alpha(sent, mask.resize(sent_size, Image.Resampling.LANCZOS)))
        assert found.image.size == size
        assert found.factor == size[0] / sent_size[0]
        off = levels(found)[:, :, 3].astype(float) - np.asarray(mask)
        assert np.abs(off).sum() / 255 / size[1 - longer] < 3

    @pytest.mark.parametrize("level", [0, 255])
    def test_with_uniform_alpha_keep_it(self, level: int) -> None:
        """An empty mask makes an empty picture, a full one the original."""
        bought = with_alpha(scene().sent, Image.new("L", SENT, level))
        found = enlarge(scene().original, scene().sent, bought)
        expected = scene().original.convert("RGBA") if level else Image.new("RGBA", SIZE)
        assert found.image.tobytes() == expected.tobytes()
        assert (found.softness, found.residual) == (0, 0)

    def test_with_one_pixel_of_alpha_keep_its_place(self) -> None:
        """A single pixel of the mask, of a colour of its own, becomes the pixels that it was made of."""
        original = Image.new("RGB", (300, 300), (240, 240, 240))
        original.paste((20, 30, 90), (150, 90, 153, 93))
        sent = original.resize((100, 100), Image.Resampling.BOX)
        mask = Image.new("L", (100, 100))
        mask.putpixel((50, 30), 255)
        found = levels(enlarge(original, sent, with_alpha(sent, mask)))[:, :, 3]
        assert (found[90:93, 150:153] > 220).all()
        assert int(found.sum()) == pytest.approx(9 * 255, rel=0.2)

    def test_without_any_sure_pixel_have_finite_colours(self) -> None:
        """A mask that is half transparent everywhere gives the picture, half transparent."""
        bought = with_alpha(scene().sent, Image.new("L", SENT, 128))
        found = levels(enlarge(scene().original, scene().sent, bought))
        assert (found[:, :, 3] == 128).all()
        assert np.abs(found[:, :, :3].astype(float) - np.asarray(scene().original)).mean() < 20

    def test_as_large_as_what_was_sent_are_as_they_were_bought(self) -> None:
        """Nothing is enlarged; only the colours that nobody sees are gone."""
        bought = with_alpha(scene().sent, scene().bought().getchannel("A"))
        found = enlarge(scene().sent, scene().sent, bought)
        pixels, expected = levels(found), np.asarray(bought)
        shown = expected[:, :, 3] > 0
        assert (found.factor, found.residual) == (1, 0)
        assert (pixels[shown] == expected[shown]).all()
        assert not pixels[~shown].any()


class TestArguments:
    def test_that_do_not_match_are_refused(self) -> None:
        """Modes and sizes that cannot belong to one purchase are named with the remedy."""
        original, sent, bought = scene().original, scene().sent, scene().bought()
        with pytest.raises(ValueError, match=r"'L'.*convert"):
            enlarge(original.convert("L"), sent, bought)
        with pytest.raises(ValueError, match=r"\(500, 300\).*give the picture"):
            enlarge(original, sent, bought.resize((500, 300)))
        with pytest.raises(ValueError, match=r"\(400, 300\) is smaller"):
            enlarge(original.resize((400, 300)), sent, bought)

    def test_are_not_changed(self) -> None:
        """The pictures given stay as they are."""
        given = scene().original, scene().sent, scene().bought()
        before = [image.tobytes() for image in given]
        enlarge(*given, sharpen=True, decontaminated=True)
        assert [image.tobytes() for image in given] == before
