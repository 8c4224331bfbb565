"""Rules for a call, and the code for each rule that it breaks."""

import os

import pytest
from PIL import Image

from tests.sandbox.client import Client, error_code
from tests.sandbox.pictures import encoded, png_of, product

NOISE = Image.frombytes("RGB", (1200, 1200), os.urandom(1200 * 1200 * 3))

ACCEPTED = {
    "JPEG": encoded(product()),
    "progressive JPEG": encoded(product(), progressive=True),
    "8-bit RGB PNG": encoded(product(), "PNG"),
    "8-bit RGBA PNG": encoded(product().convert("RGBA"), "PNG"),
    "24-bit BMP": encoded(product(), "BMP"),
    "1999 pixels a side": encoded(product((1999, 60))),
    "33 pixels a side": encoded(product((33, 33))),
}

REFUSED = {
    "WEBP": (encoded(product(), "WEBP"), 415, "UNSUPPORTED_FILE_TYPES"),
    "GIF": (encoded(product(), "GIF"), 415, "UNSUPPORTED_FILE_TYPES"),
    "TIFF": (encoded(product(), "TIFF"), 415, "UNSUPPORTED_FILE_TYPES"),
    "palette PNG": (encoded(product().convert("P"), "PNG"), 415, "UNSUPPORTED_FILE_TYPES"),
    "palette BMP": (encoded(product().convert("P"), "BMP"), 415, "UNSUPPORTED_FILE_TYPES"),
    "16-bit RGB PNG": (png_of(50, 50, 16, 2), 415, "UNSUPPORTED_FILE_TYPES"),
    "16-bit RGBA PNG": (png_of(50, 50, 16, 6), 415, "UNSUPPORTED_FILE_TYPES"),
    "16-bit grey PNG": (png_of(50, 50, 16, 0), 415, "UNSUPPORTED_FILE_TYPES"),
    "CMYK JPEG": (encoded(product().convert("CMYK")), 415, "UNSUPPORTED_FILE_TYPES"),
    "grey JPEG": (encoded(product().convert("L")), 415, "ERROR_UNSUPPORTED_GRAYSCALE_IMAGE"),
    "grey PNG": (encoded(product().convert("L"), "PNG"), 415, "ERROR_UNSUPPORTED_GRAYSCALE_IMAGE"),
    "grey PNG with alpha": (png_of(50, 50, 8, 4), 415, "ERROR_UNSUPPORTED_GRAYSCALE_IMAGE"),
    "text": (b"this is no picture", 422, "FILE_DECODING_FAILURE"),
    "truncated JPEG": (ACCEPTED["JPEG"][:-200], 422, "FILE_DECODING_FAILURE"),
    "JPEG header alone": (ACCEPTED["JPEG"][:20], 422, "FILE_DECODING_FAILURE"),
    "truncated PNG": (ACCEPTED["8-bit RGB PNG"][:-20], 422, "FILE_DECODING_FAILURE"),
    "damaged PNG": (
        ACCEPTED["8-bit RGB PNG"][:100] + b"\0\1\2\3" + ACCEPTED["8-bit RGB PNG"][104:],
        422,
        "FILE_DECODING_FAILURE",
    ),
    "truncated BMP": (ACCEPTED["24-bit BMP"][:-1000], 422, "FILE_DECODING_FAILURE"),
    "over 3 MB": (
        ACCEPTED["JPEG"] + bytes(3_000_001 - len(ACCEPTED["JPEG"])),
        413,
        "FILE_SIZE_EXCEEDS_LIMIT",
    ),
    "over 3 MB of pixels": (encoded(NOISE, "BMP"), 413, "FILE_SIZE_EXCEEDS_LIMIT"),
    "2000 pixels wide": (encoded(product((2000, 60))), 413, "FILE_RESOLUTION_EXCEEDS_LIMITS"),
    "2000 pixels high": (encoded(product((60, 2000))), 413, "FILE_RESOLUTION_EXCEEDS_LIMITS"),
    "32 pixels high": (encoded(product((200, 32))), 422, "ERROR_LOW_RESOLUTION"),
}


class TestPicture:
    @pytest.mark.parametrize("kind", ACCEPTED)
    def test_within_the_limits_is_taken_and_cut_out(self, client: Client, kind: str) -> None:
        """A picture within every limit is charged, and its result can be downloaded."""
        assert client.cut_out(ACCEPTED[kind]).status_code == 200
        assert client.charges() == 1

    @pytest.mark.parametrize("kind", REFUSED)
    def test_beyond_a_limit_gets_its_code(self, client: Client, kind: str) -> None:
        """A picture that breaks a limit is refused with the limit's code and costs nothing."""
        image, status, code = REFUSED[kind]
        answer = client.call(image)
        assert (answer.status_code, error_code(answer)) == (status, code)
        assert client.charges() == 0

    def test_of_exactly_3_000_000_bytes_is_taken(self, client: Client) -> None:
        """The limit on bytes is inclusive."""
        jpeg = ACCEPTED["JPEG"]
        assert client.call(jpeg + bytes(3_000_000 - len(jpeg))).status_code == 200


class TestForm:
    @pytest.mark.parametrize("form", [None, "mask", "whiteBK", "crop"])
    def test_documented_values_are_taken(self, client: Client, picture: bytes, form: str | None) -> None:
        """The three forms, and none at all, are taken and written to the ledger."""
        assert client.call(picture, form).status_code == 200
        assert client.read("ledger")["charges"][0]["return_form"] == form

    @pytest.mark.parametrize(
        ("form", "code"),
        [
            ("", "PARAMETERS_CANNOT_EMPTY"),
            ("whitebk", "UNSUPPORTED_PARAMETER_VALUES"),
            ("default", "UNSUPPORTED_PARAMETER_VALUES"),
        ],
    )
    def test_other_values_are_refused(self, client: Client, picture: bytes, form: str, code: str) -> None:
        """An empty return_form, one in another case and one that is not documented are refused."""
        answer = client.call(picture, form)
        assert (answer.status_code, error_code(answer)) == (400, code)


class TestBody:
    def test_without_an_image_misses_a_parameter(self, client: Client) -> None:
        """Multipart without the image field is MISSING_PARAMETERS."""
        assert error_code(client.post(files={"other": b"x"})) == "MISSING_PARAMETERS"

    def test_that_is_not_multipart_misses_a_parameter(self, client: Client) -> None:
        """A JSON body holds no file, so the image is missing."""
        assert error_code(client.post(json={"image": "x"})) == "MISSING_PARAMETERS"

    def test_with_an_image_part_without_file_name_misses_a_parameter(
        self, client: Client, picture: bytes
    ) -> None:
        """A part without a file name is a text field, not a file."""
        assert error_code(client.post(files={"image": (None, picture)})) == "MISSING_PARAMETERS"

    def test_with_an_empty_file_is_refused(self, client: Client) -> None:
        """A file of no bytes is PARAMETERS_CANNOT_EMPTY."""
        assert error_code(client.call(b"")) == "PARAMETERS_CANNOT_EMPTY"

    def test_with_two_images_is_refused(self, client: Client, picture: bytes) -> None:
        """One call takes one picture."""
        two = [("image", ("a.jpg", picture)), ("image", ("b.jpg", picture))]
        assert error_code(client.post(files=two)) == "ERROR_TOO_MANY_FILES"

    def test_that_is_malformed_is_refused(self, client: Client) -> None:
        """Multipart whose parts cannot be told apart is ERROR_PARAMETERS."""
        answer = client.http.post(
            "/api/cutout/general/commodity-background-removal",
            content=b"no boundary here",
            headers={"ailabapi-api-key": client.key, "content-type": "multipart/form-data; boundary=x"},
        )
        assert error_code(answer) == "ERROR_PARAMETERS"

    def test_over_ten_million_bytes_is_refused(self, client: Client) -> None:
        """A body far over the picture's limit is not read to its end."""
        assert error_code(client.call(bytes(10_100_000))) == "ERROR_REQUEST_BODY_TOO_LARGE"
