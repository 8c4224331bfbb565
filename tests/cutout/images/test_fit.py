"""Fitting of pictures: colours, alpha, orientation, size and memory."""

import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from cutout.images import fit
from cutout.images.image import ENDPOINT_LIMITS, PLAIN_LIMITS, PreparedImage, prepare, refit
from cutout.images.unfit_image import UnfitImage
from tests.cutout.images.pictures import encoded, noise, picture, png, saved, turned_by_exif

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
PREPARE_IN_80_MB = """
import pathlib, resource, sys
from tests.cutout.images.pictures import encoded
from cutout.images.image import prepare
source = pathlib.Path(sys.argv[1]).read_bytes()
prepare(encoded("JPEG", size=(2100, 100)))
taken = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 80_000_000,) * 2)
prepare(source)
"""
RED, BLACK = (200, 40, 40), (0, 0, 0)


def opened(prepared: PreparedImage) -> Image.Image:
    image = Image.open(io.BytesIO(prepared.data))
    assert (prepared.width, prepared.height) == image.size
    assert prepared.media_type == f"image/{str(image.format).lower()}"
    return image


def near(pixel: object, expected: tuple[int, ...], tolerance: int = 6) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, expected, strict=True))


class TestColours:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            (encoded("TIFF"), RED),
            (encoded("WEBP", lossless=True), RED),
            (saved(picture().convert("P", palette=Image.Palette.ADAPTIVE), "GIF"), RED),
            (encoded("PNG", "L"), (90, 90, 90)),
            (encoded("JPEG", "L"), (90, 90, 90)),
            (encoded("PNG", "1"), (255, 255, 255)),
            (encoded("TIFF", "I;16"), (128, 128, 128)),
            (encoded("PNG", "I;16"), (128, 128, 128)),
            (encoded("PNG", "I;16", transparency=5), (128, 128, 128)),
            (encoded("TIFF", "I;16", size=(2500, 99)), (128, 128, 128)),
            (png(40, 40, depth=16, rows=(b"\0" + b"\x80\x7f" * 120) * 40), (128, 128, 128)),
        ],
        ids=[
            "TIFF",
            "WEBP",
            "GIF",
            "grey PNG",
            "grey JPEG",
            "one bit",
            "16-bit TIFF",
            "16-bit grey PNG",
            "16-bit with a transparent colour",
            "16-bit and large",
            "16-bit PNG",
        ],
    )
    def test_are_kept(self, source: bytes, expected: tuple[int, ...]) -> None:
        """Every kind of picture becomes RGB of equal colour; 16 bits are scaled, not clipped."""
        image = opened(prepare(source))
        assert image.mode == "RGB"
        assert near(image.getpixel((image.width - 2, image.height - 2)), expected)

    def test_of_cmyk_without_a_profile_are_near(self) -> None:
        """Little cyan, much magenta and yellow become red."""
        red, green, blue = _pixel(opened(prepare(encoded("JPEG", "CMYK", quality=95))))
        assert red > 180
        assert green < 110
        assert blue < 110

    def test_of_another_profile_are_brought_to_srgb(self) -> None:
        """A picture with its own profile is converted by it, and the profile is dropped."""
        # The profile of a screen with red and blue exchanged: its red must become blue.
        exchanged = SRGB.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
        for mode in ("RGB", "RGBA"):
            image = opened(prepare(encoded("TIFF", mode, icc_profile=exchanged)))
            red, _, blue = _pixel(image)
            assert blue > 180 > red
            assert image.mode == mode
            assert "icc_profile" not in image.info

    @pytest.mark.parametrize("profile", [b"not a profile", LAB], ids=["broken", "of other colours"])
    def test_of_a_useless_profile_are_left_alone(self, profile: bytes) -> None:
        """A profile that cannot be applied is ignored."""
        assert near(_pixel(opened(prepare(encoded("TIFF", icc_profile=profile)))), RED)

    def test_of_an_uncommon_kind_are_refused(self) -> None:
        """Colours that cannot be converted to RGB are refused with the remedy."""
        with pytest.raises(UnfitImage, match=r"LAB.*8-bit RGB"):
            prepare(saved(Image.new("LAB", (64, 48)), "TIFF"))


def _pixel(image: Image.Image) -> tuple[int, int, int]:
    pixel = image.getpixel((image.width - 2, image.height - 2))
    assert isinstance(pixel, tuple)
    red, green, blue = pixel[:3]
    return int(red), int(green), int(blue)


class TestAlpha:
    @pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
    def test_is_kept_in_a_png(self, kind: str) -> None:
        """Transparency survives a change of format."""
        image = opened(prepare(encoded(kind, "RGBA")))
        assert (image.format, image.mode) == ("PNG", "RGBA")
        assert image.getpixel((60, 40)) == (*RED, 128) or kind == "WEBP"

    def test_of_a_palette_is_kept(self) -> None:
        """A transparent colour of a palette becomes alpha."""
        source = saved(picture().convert("P", palette=Image.Palette.ADAPTIVE), "PNG", transparency=0)
        assert opened(prepare(source)).mode == "RGBA"

    def test_that_hides_nothing_is_dropped(self) -> None:
        """An opaque picture with an alpha channel does not become a PNG."""
        source = saved(Image.new("RGBA", (64, 48), (*RED, 255)), "WEBP")
        assert opened(prepare(source)).mode == "RGB"

    def test_too_large_for_a_png_is_laid_on_white(self) -> None:
        """A JPEG on white is sent if the PNG would be too large."""
        source = saved(noise((1000, 1000), "RGBA"), "TIFF")
        prepared = prepare(source)
        assert opened(prepared).format == "JPEG"
        assert "laid on white" in prepared.changes


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(2, 9))
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_of_exif_is_applied(self, kind: str, orientation: int) -> None:
        """The black quarter is where a viewer would show it, and no orientation is left."""
        image = opened(prepare(turned_by_exif(orientation, kind)))
        right, bottom = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
        width, height = image.size
        corner = (width - 6 if right else 5, height - 6 if bottom else 5)
        assert near(image.getpixel(corner), BLACK, 12)
        assert image.size == ((48, 64) if orientation >= 5 else (64, 48))
        assert not image.getexif()


class TestSize:
    @pytest.mark.parametrize("size", [(2000, 1500), (1500, 4000), (8000, 6000)])
    def test_is_brought_to_the_limit(self, size: tuple[int, int]) -> None:
        """The longer side becomes 1999 pixels, and the proportion is kept."""
        prepared = prepare(encoded("JPEG", size=size))
        assert max(prepared.width, prepared.height) == 1999
        assert prepared.width / prepared.height == pytest.approx(size[0] / size[1], rel=0.002)
        assert any(change.startswith(f"shrunk from {size[0]}x{size[1]}") for change in prepared.changes)

    def test_in_bytes_is_brought_below_the_limit(self) -> None:
        """A picture of pure noise gets less than three million bytes."""
        prepared = prepare(saved(noise((1999, 1999)), "TIFF"))
        assert len(prepared.data) <= ENDPOINT_LIMITS.max_bytes
        assert opened(prepared).size == (1999, 1999)
        assert prepared.changes[-1].endswith(("quality 90", "quality 85", "quality 75", "quality 60"))

    def test_costs_pixels_when_quality_is_not_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The picture is made smaller where no quality brings it below the limit."""
        monkeypatch.setattr(fit, "_QUALITIES", (95,))
        prepared = prepare(saved(noise((1999, 1999)), "TIFF"))
        assert prepared.width < 1999
        assert len(prepared.data) <= ENDPOINT_LIMITS.max_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="measured through /proc and RLIMIT_AS")
class TestMemory:
    def test_of_a_large_jpeg_stays_small(self, tmp_path: Path) -> None:
        """30 megapixels are fitted in 80 MB, though they take 120 MB decoded at full size."""
        source = tmp_path / "large.jpg"
        source.write_bytes(encoded("JPEG", size=(6000, 5000)))
        subprocess.run([sys.executable, "-c", PREPARE_IN_80_MB, source], check=True, timeout=60)


class TestRefit:
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
    def test_makes_a_smaller_plain_jpeg(self, mode: str) -> None:
        """Any picture becomes a baseline RGB JPEG of at most 1600 pixels without metadata."""
        prepared = refit(encoded("PNG", mode, size=(1999, 1000)))
        image = opened(prepared)
        assert (image.format, image.mode, max(image.size)) == ("JPEG", "RGB", PLAIN_LIMITS.max_side)
        assert not {"exif", "icc_profile", "progressive"} & image.info.keys()
        assert prepared.data != prepare(encoded("PNG", mode, size=(1999, 1000))).data

    def test_encodes_again_what_needed_no_fitting(self) -> None:
        """A picture that was sent unchanged before is encoded again."""
        source = encoded("JPEG", progressive=True)
        assert prepare(source).data is source
        assert refit(source).data != source


class TestConcurrentFits:
    @pytest.mark.parametrize(
        ("kind", "large_pixels", "at_a_time"),
        [("PNG", 20_000_000, 2), ("PNG", 1_000_000, 1), ("JPEG", 1_000_000, 2)],
    )
    def test_are_two_for_a_process(
        self, kind: str, large_pixels: int, at_a_time: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many threads fit pictures, two are decoded at a time, and one large one unless it is a
        JPEG.
        """
        monkeypatch.setattr(fit, "_LARGE_PIXELS", large_pixels)
        lock, busy, most = threading.Lock(), 0, 0
        real = fit._decoded

        def counted(*arguments: object) -> Image.Image:
            nonlocal busy, most
            with lock:
                busy += 1
                most = max(most, busy)
            decoded = real(*arguments)  # type: ignore[arg-type]
            with lock:
                busy -= 1
            return decoded

        monkeypatch.setattr(fit, "_decoded", counted)
        source = encoded(kind, size=(1500, 1500))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(refit, [source] * 16))
        assert most == at_a_time
