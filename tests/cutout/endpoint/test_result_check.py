"""Checks that a result is the picture that was ordered."""

import pytest
from PIL import Image

from cutout.endpoint.endpoint_errors import ResultDamaged, ResultError, ResultText, ResultWrong
from cutout.endpoint.result_check import check_result
from tests.cutout.images.pictures import encoded, frames, picture, png, saved

CLEAR_PALETTE = saved(picture("RGBA").quantize(8, method=Image.Quantize.FASTOCTREE), "PNG")
GREY_IN_COLOUR = saved(picture("L").convert("RGB"), "PNG")
OPAQUE = saved(Image.new("RGBA", (64, 48), (1, 2, 3, 255)), "PNG")


class TestForms:
    @pytest.mark.parametrize(
        ("return_form", "data", "extension"),
        [
            (None, encoded("PNG", "RGBA"), "png"),
            ("rgba", encoded("PNG", "RGBA"), "png"),
            ("crop", encoded("PNG", "RGBA"), "png"),
            ("crop", encoded("PNG", "RGBA", size=(3, 1)), "png"),
            ("mask", encoded("PNG", "L"), "png"),
            ("mask", encoded("JPEG", "L"), "jpg"),
            ("whiteBK", encoded("PNG"), "png"),
            ("whiteBK", encoded("JPEG"), "jpg"),
            ("whiteBK", OPAQUE, "png"),
        ],
    )
    def test_are_accepted(self, return_form: str | None, data: bytes, extension: str) -> None:
        """Each form in each possible encoding passes, with the type of its bytes."""
        cutout = check_result(data, return_form, 64, 48)
        assert cutout.data is data
        assert cutout.extension == extension
        assert cutout.media_type == {"png": "image/png", "jpg": "image/jpeg"}[extension]
        assert "data" not in repr(cutout)

    @pytest.mark.parametrize(
        ("return_form", "data"),
        [
            (None, encoded("PNG")),
            (None, encoded("PNG", "P")),
            (None, encoded("JPEG", "CMYK")),
            (None, encoded("WEBP")),
            (None, encoded("GIF", "P")),
            (None, b"\0\0\0\x1cftypavif" + bytes(100)),
            ("crop", encoded("JPEG")),
            ("mask", encoded("PNG", "RGBA")),
            ("mask", encoded("PNG")),
            ("mask", encoded("GIF", "P")),
            ("whiteBK", encoded("PNG", "RGBA")),
            ("whiteBK", encoded("WEBP", "RGBA")),
            (None, frames("WEBP")),
        ],
    )
    def test_without_what_was_bought_are_wrong(self, return_form: str | None, data: bytes) -> None:
        """No other download fixes it; the received file is part of the error."""
        with pytest.raises(ResultWrong) as wrong:
            check_result(data, return_form, 64, 48)
        assert wrong.value.found.data is data
        assert "data" not in repr(wrong.value.found)

    @pytest.mark.parametrize(
        ("return_form", "data", "extension", "words"),
        [
            (None, encoded("PNG", "LA"), "png", "grey with alpha png"),
            (None, CLEAR_PALETTE, "png", "palette png with transparency"),
            (None, encoded("WEBP", "RGBA", lossless=True), "webp", "RGBA webp"),
            ("mask", GREY_IN_COLOUR, "png", "RGB png"),
            ("whiteBK", encoded("PNG", "L"), "png", "grey png"),
            ("whiteBK", encoded("WEBP"), "webp", "RGB webp"),
            ("whiteBK", encoded("PNG", "P"), "png", "palette png"),
            ("whiteBK", encoded("JPEG", "CMYK"), "jpg", "CMYK jpg"),
        ],
    )
    def test_with_what_was_bought_in_another_encoding_have_a_warning(
        self, return_form: str | None, data: bytes, extension: str, words: str
    ) -> None:
        """The bytes stay unchanged."""
        cutout = check_result(data, return_form, 64, 48)
        assert cutout.data is data
        assert cutout.extension == extension
        assert words in (cutout.warning or "")

    @pytest.mark.parametrize(
        ("return_form", "size"), [(None, (48, 64)), (None, (63, 48)), ("crop", (65, 48)), ("crop", (64, 49))]
    )
    def test_of_another_size_have_a_warning(self, return_form: str | None, size: tuple[int, int]) -> None:
        """The size is that of the picture sent; only crop may be smaller without a warning."""
        cutout = check_result(encoded("PNG", "RGBA", size=size), return_form, 64, 48)
        assert (cutout.width, cutout.height) == size
        assert cutout.warning == f"{size[0]}x{size[1]} pixels for the 64x48 sent"

    def test_as_ordered_have_no_warning(self) -> None:
        """The usual picture passes without a warning."""
        assert check_result(encoded("PNG", "RGBA"), None, 64, 48).warning is None

    def test_of_more_pixels_than_fit_into_memory_are_not_decoded(self) -> None:
        """A mask of 900 megapixels cannot be decoded; an alpha in the header needs no decoding."""
        with pytest.raises(ResultWrong, match="too many pixels"):
            check_result(png(30_000, 30_000, colour_type=2), "mask", 64, 48)
        assert "30000x30000" in (check_result(png(30_000, 30_000, colour_type=6), None, 64, 48).warning or "")


class TestDamage:
    @pytest.mark.parametrize(
        ("return_form", "data"),
        [(None, encoded("PNG", "RGBA")), ("whiteBK", encoded("JPEG"))],
        ids=["PNG", "JPEG"],
    )
    def test_by_truncation_is_detected_at_every_length(self, return_form: str | None, data: bytes) -> None:
        """Every shorter file is refused."""
        for length in range(len(data)):
            with pytest.raises(ResultError):
                check_result(data[:length], return_form, 64, 48)

    def test_of_any_byte_of_a_png_is_detected(self) -> None:
        """A flipped bit anywhere up to the end fails a checksum or the structure."""
        data = encoded("PNG", "RGBA")
        for position in range(len(data)):
            flipped = bytearray(data)
            flipped[position] ^= 1
            with pytest.raises(ResultError):
                check_result(bytes(flipped), None, 64, 48)

    @pytest.mark.parametrize("data", [b"", b" ", b"<html>later</html>", b'\n{"error": "later"}'])
    def test_a_text_instead_of_a_picture_may_be_temporary(self, data: bytes) -> None:
        """An outage page under status 200 is worth another download."""
        with pytest.raises(ResultText):
            check_result(data, None, 64, 48)

    def test_of_a_webp_is_detected(self) -> None:
        """Its header has its length."""
        with pytest.raises(ResultDamaged, match="incomplete"):
            check_result(encoded("WEBP", "RGBA")[:-20], None, 64, 48)
