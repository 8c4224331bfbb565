"""Recognition of files by their bytes, and the errors for files that are no pictures."""

import sys
from collections.abc import Iterator

import pytest
from PIL import Image

from cutout.images.image import prepare
from cutout.images.kinds import is_heif_decoded
from cutout.images.not_pictures import login_page_at
from cutout.images.unfit_image import UnfitImage
from tests.cutout.images.pictures import encoded, picture, saved


def refused(source: bytes) -> UnfitImage:
    with pytest.raises(UnfitImage) as unfit:
        prepare(source)
    return unfit.value


class TestAPageInPlaceOfAPicture:
    @pytest.mark.parametrize(
        ("source", "code"),
        [
            (b"<!DOCTYPE html><html><head><title>Shoe</title></head></html>", "IMAGE_IS_WEB_PAGE"),
            (b"\xef\xbb\xbf\r\n  <HTML><BODY>hello</BODY></HTML>", "IMAGE_IS_WEB_PAGE"),
            (b"<!-- cached --><html><a href='/login'>Log in</a><h1>Shoe</h1>", "IMAGE_IS_WEB_PAGE"),
            ("<!doctype html><title>Schuh</title>".encode("utf-16"), "IMAGE_IS_WEB_PAGE"),
            (b"<html><form><input name=p type=password></form>", "IMAGE_IS_LOGIN_PAGE"),
            (b'<html><body><form><INPUT TYPE = "Password"></form>', "IMAGE_IS_LOGIN_PAGE"),
            (b"<html><title>Sign in - Drive</title><script></script>", "IMAGE_IS_LOGIN_PAGE"),
            (b"<html><title>Anmeldung</title>", "IMAGE_IS_LOGIN_PAGE"),
            (b"<html><form method=post action='https://x.example/sso/saml'>", "IMAGE_IS_LOGIN_PAGE"),
            (b'{"error": "not found"}', "IMAGE_IS_JSON"),
            (b' \n[{"url": "https://x.example/a.jpg"}]', "IMAGE_IS_JSON"),
            (b'{"a": 1}\n{"a": 2}\n', "IMAGE_IS_JSON"),
            (b'{"images": [' + b'"x",' * 50_000, "IMAGE_IS_JSON"),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "IMAGE_NOT_A_PICTURE"),
            (b"{not json}", "IMAGE_NOT_A_PICTURE"),
            (b"BMW 320d, red", "IMAGE_NOT_A_PICTURE"),
        ],
    )
    def test_has_a_code_of_its_own(self, source: bytes, code: str) -> None:
        """A web page, a login page and JSON are told apart by their bytes."""
        assert refused(source).code == code

    def test_has_a_message_with_the_remedy(self) -> None:
        """Each message names the content found and the remedy."""
        assert "a web page came, not a picture: give the picture's own address" in refused(b"<html>").message
        assert "needs a login" in refused(b"<html><input type=password>").message
        assert "the address of the picture that the JSON names" in refused(b"{}").message

    def test_is_a_login_page_where_a_login_was_redirected_to(self) -> None:
        """A page built by scripts has no password field; its URL shows that it is a login."""
        page = b"<!doctype html><div id=app></div>"
        found = login_page_at("/users/login", page)
        assert found is not None
        assert found.code == "IMAGE_IS_LOGIN_PAGE"
        assert login_page_at("/shoes/login-slippers.jpg", encoded("JPEG")) is None
        assert login_page_at("/p/4471", page) is None

    def test_of_a_hostile_size_is_read_in_bounds(self) -> None:
        """Only the beginning is read."""
        assert refused(b"<html>" + b"<form action='" * 1_000_000).code == "IMAGE_IS_WEB_PAGE"


class TestAFileOfAnotherKind:
    @pytest.mark.parametrize(
        ("source", "code", "words"),
        [
            (b"PK\x03\x04" + bytes(30), "IMAGE_NOT_A_PICTURE", "a zip archive"),
            (b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(30), "IMAGE_NOT_A_PICTURE", "AppleDouble"),
            (b"\0\0\0\x20ftypisom\0\0\2\0isomavc1mp41" + bytes(30), "IMAGE_NOT_A_PICTURE", "a video"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(30), "IMAGE_NOT_A_PICTURE", "a video"),
            (b"RIFF\x24\0\0\0WAVEfmt " + bytes(30), "IMAGE_NOT_A_PICTURE", "a sound"),
            (bytes(5000), "IMAGE_NOT_A_PICTURE", "a file of zeros"),
            (b"version https://git-lfs.github.com/spec/v1\n", "IMAGE_NOT_A_PICTURE", "Git LFS"),
            (b"8BPS\0\1" + bytes(30), "IMAGE_FORMAT_UNSUPPORTED", "Photoshop"),
            (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30), "IMAGE_FORMAT_UNSUPPORTED", "JPEG XL"),
            (b"<?xml version='1.0'?>\n<!-- x --><svg width='9'/>", "IMAGE_FORMAT_UNSUPPORTED", "SVG"),
            (b"v/1\x01\2\0\0\0" + bytes(30), "IMAGE_FORMAT_UNSUPPORTED", "OpenEXR"),
        ],
    )
    def test_is_named(self, source: bytes, code: str, words: str) -> None:
        """The message names the kind."""
        unfit = refused(source)
        assert (unfit.code, words in unfit.message) == (code, True)


class TestAPhotoOfAPhone:
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
    def test_as_avif_is_accepted(self, mode: str) -> None:
        """AVIF is decoded, with its alpha."""
        prepared = prepare(encoded("AVIF", mode, quality=95))
        assert prepared.media_type == ("image/png" if mode == "RGBA" else "image/jpeg")
        assert (prepared.width, prepared.height) == (64, 48)

    def test_as_avif_that_moves_is_refused(self) -> None:
        """A sequence has no main picture."""
        frames = [Image.new("RGB", (64, 48), (60 * n, 0, 0)) for n in range(2)]
        assert (
            refused(saved(frames[0], "AVIF", save_all=True, append_images=frames[1:])).code
            == "IMAGE_ANIMATED"
        )


class TestHeic:
    @pytest.fixture(autouse=True)
    def _needs_the_extra(self) -> None:
        pytest.importorskip("pillow_heif")
        assert is_heif_decoded()

    @pytest.mark.parametrize("orientation", [1, 3, 6])
    def test_is_decoded_and_turned_once(self, orientation: int) -> None:
        """The rotation of the container is applied, and that of EXIF not again."""
        exif = Image.Exif()
        exif[0x0112] = orientation
        prepared = prepare(saved(picture(size=(64, 48)), "HEIF", exif=exif.tobytes(), quality=95))
        assert (prepared.width, prepared.height) == ((48, 64) if orientation == 6 else (64, 48))

    def test_of_several_pictures_gives_the_main_one_with_a_note(self) -> None:
        """A burst names its main picture."""
        frames = [Image.new("RGB", (64, 48), (60 * n, 0, 0)) for n in range(3)]
        source = saved(frames[0], "HEIF", save_all=True, append_images=frames[1:], primary_index=1)
        assert prepare(source).notes == ("picture 2 of 3 taken: the main one",)

    def test_that_is_truncated_is_refused(self) -> None:
        """Half a file is damaged."""
        source = saved(picture(), "HEIF")
        assert refused(source[: len(source) // 2]).code in ("IMAGE_DAMAGED", "IMAGE_TRUNCATED")


class TestHeicWithoutTheExtra:
    @pytest.fixture
    def _without(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        is_heif_decoded.cache_clear()
        yield
        is_heif_decoded.cache_clear()

    @pytest.mark.usefixtures("_without")
    def test_is_refused_with_its_name(self) -> None:
        """The message names the format, the extra and the alternative."""
        unfit = refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50))
        assert unfit.code == "IMAGE_FORMAT_UNSUPPORTED"
        assert "HEIC is not decoded by this worker; install the extra `heif`" in unfit.message
