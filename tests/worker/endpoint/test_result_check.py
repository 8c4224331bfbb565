"""Whether a result is the picture that was asked for."""

import pytest
from PIL import Image

from tests.worker.endpoint.pictures import encoded, saved
from worker.endpoint.errors import ResultError, ResultUnavailable, ResultWrong
from worker.endpoint.result_check import check_result

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
        """Each form in each encoding it may come in passes, with the type its bytes show."""
        cutout = check_result(data, return_form, 64, 48)
        assert cutout.data is data
        assert cutout.extension == extension
        assert cutout.media_type == {"png": "image/png", "jpg": "image/jpeg"}[extension]
        assert "data" not in repr(cutout)

    @pytest.mark.parametrize(
        ("return_form", "data"),
        [
            (None, encoded("PNG")),
            (None, encoded("PNG", "LA")),
            (None, encoded("PNG", "P")),
            (None, encoded("JPEG", "CMYK")),
            ("crop", encoded("JPEG")),
            ("mask", encoded("PNG", "RGBA")),
            ("whiteBK", encoded("PNG", "RGBA")),
            ("whiteBK", encoded("PNG", "L")),
            (None, encoded("WEBP", "RGBA")),
            (None, encoded("GIF", "P")),
        ],
    )
    def test_other_than_asked_for_are_wrong(self, return_form: str | None, data: bytes) -> None:
        """A whole picture of another form is wrong, and no other download will mend it."""
        with pytest.raises(ResultWrong):
            check_result(data, return_form, 64, 48)

    @pytest.mark.parametrize(
        ("return_form", "size"), [(None, (48, 64)), (None, (63, 48)), ("crop", (65, 48)), ("crop", (64, 49))]
    )
    def test_of_another_size_are_wrong(self, return_form: str | None, size: tuple[int, int]) -> None:
        """The size is that of the picture sent; only crop may be smaller, and never larger."""
        with pytest.raises(ResultWrong, match="pixels"):
            check_result(encoded("PNG", "RGBA", size=size), return_form, 64, 48)


class TestDamage:
    @pytest.mark.parametrize(
        ("return_form", "data"),
        [(None, encoded("PNG", "RGBA")), ("whiteBK", encoded("JPEG"))],
        ids=["PNG", "JPEG"],
    )
    def test_by_cutting_is_noticed_at_every_length(self, return_form: str | None, data: bytes) -> None:
        """Every shorter file is refused."""
        for length in range(len(data)):
            with pytest.raises(ResultError):
                check_result(data[:length], return_form, 64, 48)

    def test_of_any_byte_of_a_png_is_noticed(self) -> None:
        """A flipped bit anywhere up to the end fails a checksum or the structure."""
        data = encoded("PNG", "RGBA")
        for position in range(len(data)):
            flipped = bytearray(data)
            flipped[position] ^= 1
            with pytest.raises(ResultError):
                check_result(bytes(flipped), None, 64, 48)

    @pytest.mark.parametrize("data", [b"", b" ", b"<html>later</html>", b'\n{"error": "later"}'])
    def test_a_text_instead_of_a_picture_may_pass(self, data: bytes) -> None:
        """An outage page under status 200 is worth another download."""
        with pytest.raises(ResultUnavailable):
            check_result(data, None, 64, 48)
