"""Choice of the picture of a TIFF, and detection of camera raws."""

import io

import pytest
from PIL import Image

from cutout.images.image import PreparedImage, prepare
from cutout.images.unfit_image import UnfitImage
from tests.cutout.images.pictures import encoded
from tests.cutout.images.tiffs import Ifd, tiff_of

GREEN, RED = (30, 200, 60), (200, 40, 40)
FULL, PREVIEW = (400, 300), (160, 120)
REDUCED = {254: [1]}
SENSOR = {254: [0], 256: [6000], 257: [4000], 258: [14], 259: [7], 262: [32803], 277: [1]}


def refused(source: bytes) -> UnfitImage:
    with pytest.raises(UnfitImage) as unfit:
        prepare(source)
    return unfit.value


def colour(prepared: PreparedImage) -> tuple[int, ...]:
    with Image.open(io.BytesIO(prepared.data)) as image:
        pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return pixel


def is_green(prepared: PreparedImage) -> bool:
    return all(abs(a - b) < 8 for a, b in zip(colour(prepared), GREEN, strict=True))


# Pillow reads no big-endian BigTIFF.
@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
class TestTheFullSizePicture:
    @pytest.mark.parametrize(
        ("chain", "number"),
        [
            ([Ifd(PREVIEW, RED, REDUCED), Ifd(FULL, GREEN)], 2),
            ([Ifd(FULL, GREEN), Ifd(PREVIEW, RED, REDUCED)], 1),
            ([Ifd(PREVIEW, RED), Ifd(FULL, GREEN), Ifd((80, 60), RED)], 2),
            ([Ifd(PREVIEW, RED, {255: [2]}), Ifd(FULL, GREEN, {255: [1]})], 2),
            ([Ifd(PREVIEW, RED, REDUCED, [Ifd(FULL, GREEN)])], 2),
            ([Ifd(FULL, GREEN, {}, [Ifd(PREVIEW, RED, REDUCED)])], 1),
            (
                [
                    Ifd(PREVIEW, RED, REDUCED),
                    Ifd((200, 150), RED, REDUCED, [Ifd(FULL, GREEN), Ifd(PREVIEW, RED)]),
                ],
                3,
            ),
            ([Ifd((900, 700), RED, {254: [4]}), Ifd(FULL, GREEN)], 2),
            ([Ifd((900, 700), RED, REDUCED), Ifd(FULL, GREEN)], 2),
            ([Ifd(FULL, GREEN), Ifd(FULL, RED)], 1),
        ],
        ids=[
            "preview first",
            "preview last",
            "not marked",
            "marked in the old way",
            "in a SubIFD",
            "preview in a SubIFD",
            "in a SubIFD of the second",
            "behind a mask",
            "smaller than a marked one",
            "two alike",
        ],
    )
    def test_is_used_wherever_it_is(self, chain: list[Ifd], number: int, order: str, *, big: bool) -> None:
        """Previews, masks and smaller copies are skipped, and a note names the picture used."""
        prepared = prepare(tiff_of(*chain, order=order, big=big))
        assert (prepared.width, prepared.height) == FULL
        assert is_green(prepared)
        assert prepared.notes[0].startswith(f"picture {number} of the TIFF's ")
        assert prepared.changes[0] == prepared.notes[0]

    def test_alone_needs_no_note(self, order: str, *, big: bool) -> None:
        """A TIFF of one picture has no note, also if it calls itself a reduced one."""
        for tags in ({}, REDUCED):
            prepared = prepare(tiff_of(Ifd(FULL, GREEN, tags), order=order, big=big))
            assert is_green(prepared)
            assert prepared.notes == ()

    def test_in_a_sub_directory_inherits_the_orientation(self, order: str, *, big: bool) -> None:
        """The parent directory's orientation is used where the picture's own has none."""
        above = Ifd(PREVIEW, RED, {**REDUCED, 274: [6]}, [Ifd(FULL, GREEN)])
        prepared = prepare(tiff_of(above, order=order, big=big))
        assert (prepared.width, prepared.height) == FULL[::-1]


class TestADirectoryThatLeadsNowhere:
    @pytest.mark.parametrize(
        "source",
        [
            tiff_of(Ifd(FULL, GREEN, {330: [0xFFFFFF, 8, 8]})),
            tiff_of(Ifd(FULL, GREEN, {330: list(range(2, 2000))})),
            tiff_of(*[Ifd(FULL, GREEN)] * 150),
        ],
        ids=["outside the file", "many", "very many pictures"],
    )
    def test_does_no_harm(self, source: bytes) -> None:
        """The readable picture is used."""
        assert is_green(prepare(source))

    def test_in_a_circle_ends(self) -> None:
        """A circular chain is read once."""
        source = bytearray(tiff_of(Ifd(FULL, GREEN), Ifd(PREVIEW, RED)))
        source[-4:] = source[4:8]
        assert is_green(prepare(bytes(source)))


class TestACameraRaw:
    @pytest.mark.parametrize(
        ("source", "name"),
        [
            (
                tiff_of(Ifd(PREVIEW, tags={**REDUCED, 271: b"NIKON CORPORATION\0"}, sub=[Ifd(tags=SENSOR)])),
                "Nikon NEF",
            ),
            (
                tiff_of(Ifd(PREVIEW, tags={271: b"SONY\0"}, sub=[Ifd(tags={**SENSOR, 259: [32767]})])),
                "Sony ARW",
            ),
            (tiff_of(Ifd(PREVIEW, tags={50706: bytes([1, 4, 0, 0])}, sub=[Ifd(tags=SENSOR)])), "DNG"),
            (tiff_of(Ifd((1200, 800), tags={50706: bytes([1, 4, 0, 0])})), "DNG"),
            (tiff_of(Ifd(tags={**SENSOR, 259: [65535], 271: b"PENTAX \0"}), order=">"), "Pentax PEF"),
            (
                tiff_of(Ifd(PREVIEW, tags={271: b"SAMSUNG\0"}, sub=[Ifd(tags={**SENSOR, 259: [32770]})])),
                "Samsung SRW",
            ),
            (
                tiff_of(Ifd(PREVIEW, tags={271: b"Hasselblad\0"}, sub=[Ifd(tags=SENSOR)]), order=">"),
                "Hasselblad 3FR",
            ),
            (tiff_of(Ifd(FULL, tags={262: [34892], 271: b"Leaf\0"})), "Leaf MOS"),
            (tiff_of(Ifd(PREVIEW, tags={**REDUCED, 271: b"Unheard-of\0"})), "of a maker not named"),
            (tiff_of(Ifd(FULL, tags={33422: bytes([0, 1, 1, 2]), 271: b"Canon\0"})), "Canon CR2"),
            (b"II*\0\x10\0\0\0CR\x02\0" + bytes(100), "Canon CR2"),
            (b"II*\0\x10\0\0\0IIII" + bytes(100), "Phase One IIQ"),
            (b"IIRO\x08\0\0\0" + bytes(100), "Olympus ORF"),
            (b"IIRS\x08\0\0\0" + bytes(100), "Olympus ORF"),
            (b"IIU\0\x18\0\0\0" + bytes(100), "Panasonic RW2"),
            (b"FUJIFILMCCD-RAW 0201" + bytes(100), "Fujifilm RAF"),
            (b"II\x1a\0\0\0HEAPCCDR" + bytes(100), "Canon CRW"),
            (b"FOVb" + bytes(100), "Sigma X3F"),
            (b"\0MRM" + bytes(100), "Minolta MRW"),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(100), "Canon CR3"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_is_refused_by_its_name(self, source: bytes, name: str) -> None:
        """The preview is not bought, whatever the maker: the name and the remedy are reported."""
        unfit = refused(source)
        assert unfit.code == "IMAGE_FORMAT_UNSUPPORTED"
        assert f"a camera raw ({name})" in unfit.message
        assert "export it as JPEG or TIFF" in unfit.message

    def test_is_not_what_a_camera_or_scanner_develops(self) -> None:
        """A full-size TIFF with a maker and a preview is accepted."""
        first = Ifd(
            FULL, GREEN, {271: b"NIKON CORPORATION\0", 272: b"LS-5000\0"}, [Ifd(PREVIEW, RED, REDUCED)]
        )
        assert is_green(prepare(tiff_of(first)))


class TestAWholeFileOfAnUnreadKind:
    @pytest.mark.parametrize(
        ("tags", "words"),
        [
            ({258: [32, 32, 32], 339: [3, 3, 3]}, "32, 32, 32 bits a channel, floating-point numbers"),
            ({258: [64]}, "64 bits a channel"),
            ({259: [34887]}, "compression 34887"),
            ({262: [34666]}, "colours 34666"),
            ({277: [7], 258: [8] * 7}, "8, 8, 8, 8, 8, 8, 8 bits"),
        ],
    )
    def test_is_not_called_damaged(self, tags: dict[int, list[int]], words: str) -> None:
        """Floats and rare compressions are named, with the remedy."""
        unfit = refused(tiff_of(Ifd((64, 48), tags=tags)))
        assert unfit.code == "IMAGE_FORMAT_UNSUPPORTED"
        assert words in unfit.message
        assert "save it as 8 or 16 bits" in unfit.message

    def test_unless_it_is_truncated(self) -> None:
        """A file whose pixels are outside of it is damaged."""
        source = tiff_of(Ifd((64, 48), tags={258: [32, 32, 32], 339: [3, 3, 3], 279: [10_000_000]}))
        assert refused(source).code == "IMAGE_DAMAGED"

    @pytest.mark.filterwarnings("ignore")  # Pillow warns of what it cannot read
    def test_as_a_big_endian_bigtiff(self) -> None:
        """An unsupported structure is no damage."""
        assert refused(tiff_of(Ifd(FULL), order=">", big=True)).code == "IMAGE_FORMAT_UNSUPPORTED"

    def test_as_a_jpeg(self) -> None:
        """A lossless or 12-bit JPEG, as in medicine, is named."""
        source = encoded("JPEG")
        at = source.index(b"\xff\xc0")
        lossless = source[:at] + b"\xff\xc3" + source[at + 2 :]
        twelve = source[: at + 4] + b"\x0c" + source[at + 5 :]
        assert (refused(lossless).code, refused(twelve).code) == ("IMAGE_FORMAT_UNSUPPORTED",) * 2
        assert "a lossless JPEG" in refused(lossless).message
        assert "12 bits a channel" in refused(twelve).message
