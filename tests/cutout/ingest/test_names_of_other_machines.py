"""Names that another machine wrote: in archives, and in rows that name files."""

import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cutout.ingest import IngestError, ReadOptions
from cutout.ingest.sources import spellings
from cutout.models import Job
from tests.cutout.ingest.conftest import Run

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
Written = Callable[..., Path]
Stored = Callable[[], list[Job]]
Rejected = Callable[[], list[list[str]]]


def pack(path: Path, names: list[bytes], *, extra: dict[bytes, str] | None = None) -> Path:
    """An archive whose members have these bytes as names, without the UTF-8 flag."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            member = zipfile.ZipInfo(name.decode("ascii", "replace").replace("\ufffd", "?"))
            if extra and name in extra:
                own = b"\1" + struct.pack("<I", zlib.crc32(name)) + extra[name].encode()
                member.extra = struct.pack("<HH", 0x7075, len(own)) + own
            archive.writestr(member, JPEG)
    content = path.read_bytes()
    for name in names:
        content = content.replace(name.decode("ascii", "replace").replace("\ufffd", "?").encode(), name)
    path.write_bytes(content)
    return path


def remarks(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalar(text("SELECT remarks FROM ingests")) or ())


class TestAnArchive:
    def test_of_windows_may_have_backslashes(
        self, run: Run, stored: Stored, rejected: Rejected, tmp_path: Path
    ) -> None:
        """They are read as slashes; a path that leads out is rejected, and a folder is not a file."""
        names = [
            b"Shoes\\red.jpg",
            b"Shoes\\",
            b"top.jpg",
            b"..\\evil.jpg",
            b"C:\\evil.jpg",
            b"x\\..\\..\\e.jpg",
        ]
        run(pack(tmp_path / "w.zip", names))
        assert {job.external_id for job in stored()} == {"Shoes/red", "top"}
        assert [line[3].partition(";")[0] for line in rejected()] == ["points outside the archive"] * 3

    def test_of_the_finder_has_utf_8_without_the_flag(
        self, run: Run, stored: Stored, engine: Engine, tmp_path: Path
    ) -> None:
        """Its accents are decomposed; ids have them composed, as a keyboard writes them."""
        names = [unicodedata.normalize("NFD", name).encode() for name in ("Café crème.jpg", "Größe 42.jpg")]
        run(pack(tmp_path / "m.zip", [*names, b"__MACOSX/._x.jpg", b"sub/__MACOSX/._x.jpg", b".DS_Store"]))
        assert {job.external_id for job in stored()} == {"Café crème", "Größe 42"}
        assert remarks(engine) == []

    @pytest.mark.parametrize(
        ("encoding", "name"), [("cp932", "靴.jpg"), ("cp850", "Größe.jpg"), ("gbk", "红色鞋子.jpg")]
    )
    def test_of_another_code_page_needs_its_encoding(  # noqa: PLR0917 - fixtures
        self, run: Run, stored: Stored, engine: Engine, tmp_path: Path, encoding: str, name: str
    ) -> None:
        """With the encoding its names are right; without it they are read as cp437, with a remark."""
        path = pack(tmp_path / "j.zip", [name.encode(encoding), "öö.jpg".encode()])
        run(path, reading=ReadOptions(encoding=encoding))
        assert name.removesuffix(".jpg") in {job.external_id for job in stored()}
        with engine.begin() as connection:
            connection.execute(text("TRUNCATE jobs, batches, ingests CASCADE"))
        run(path)
        (remark,) = remarks(engine)
        assert "1 name is in an encoding that the archive does not declare" in remark
        assert "`--encoding cp932`" in remark
        assert {job.external_id for job in stored()} == {
            name.encode(encoding).decode("cp437").removesuffix(".jpg"),
            "öö",
        }

    def test_may_have_a_field_for_the_name(self, run: Run, stored: Stored, tmp_path: Path) -> None:
        """Info-ZIP's field has precedence over any guess."""
        name = "é.jpg".encode("cp437")
        run(pack(tmp_path / "i.zip", [name], extra={name: "猫.jpg"}))
        assert {job.external_id for job in stored()} <= {"猫", "é"}
        assert len(stored()) == 1

    def test_with_an_unknown_encoding_is_refused(self, run: Run, tmp_path: Path) -> None:
        """The error comes before anything is read."""
        with pytest.raises(IngestError, match="the encoding 'rot13' is not known"):
            run(pack(tmp_path / "a.zip", [b"a.jpg"]), reading=ReadOptions(encoding="rot13"))


class TestARowThatSpellsItsFileOtherwise:
    @pytest.fixture
    def photos(self, written: Written) -> Path:
        path = written("")
        for name in (unicodedata.normalize("NFD", "Schuh-grün.jpg"), "DSC_0042.JPG", "images/Bag.jpg"):
            (path.parent / name).parent.mkdir(exist_ok=True)
            (path.parent / name).write_bytes(name.encode())
        return path

    @pytest.mark.parametrize(
        ("named", "meant"),
        [
            ("Schuh-grün.jpg", unicodedata.normalize("NFD", "Schuh-grün.jpg")),
            ("dsc_0042.jpg", "DSC_0042.JPG"),
            ("images\\Bag.jpg", "images/Bag.jpg"),
            (".\\IMAGES\\bag.JPG", "images/Bag.jpg"),
            ("./images/Bag.jpg", None),
        ],
    )
    def test_is_accepted_if_exactly_one_is_similar(  # noqa: PLR0917 - fixtures
        self, run: Run, photos: Path, stored: Stored, engine: Engine, named: str, meant: str | None
    ) -> None:
        """A remark reports it."""
        photos.write_text(f"external_id,source\nA,{named}\n", encoding="utf-8")
        assert run(photos).counts.jobs == 1
        (job,) = stored()
        assert job.manifest_source == named
        taken = "1 row names its file in another spelling; the only similar name is used"
        said = [f"{taken}: {named} is {meant}"]
        assert remarks(engine) == (said if meant else [])

    def test_is_rejected_where_two_are_similar(self, run: Run, photos: Path, rejected: Rejected) -> None:
        """The reason names both."""
        (photos.parent / "dsc_0042.jpg").write_bytes(b"x")
        photos.write_text("external_id,source\nA,Dsc_0042.jpg\n")
        run(photos)
        assert "more than one name is similar: DSC_0042.JPG, dsc_0042.jpg; write one" in rejected()[0][3]

    @pytest.mark.parametrize(
        ("named", "said"),
        [
            (
                "C:\\Users\\me\\Desktop\\DSC_0042.JPG",
                "is a path of another machine; .*DSC_0042.JPG is there: write",
            ),
            ("\\\\nas\\photos\\x.jpg", "is a path of another machine; put the picture into"),
            ("..\\x.jpg", "is no file in"),
            ("nothing.jpg", "is no file in"),
            ("images", "is no regular file"),
            ("IMAGES", "is no file in"),
        ],
    )
    def test_is_rejected_where_none_is(
        self, run: Run, photos: Path, rejected: Rejected, named: str, said: str
    ) -> None:
        """The reason names the remedy."""
        photos.write_text(f"external_id,source\nA,{named}\n")
        run(photos)
        assert pytest.raises(ValueError, match=said).matches(ValueError(rejected()[0][3]))

    def test_is_found_in_a_large_folder_by_a_few_guesses(
        self, run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Names of a large folder are not kept in memory."""
        monkeypatch.setattr(spellings, "MOST_NAMES", 2)
        photos.write_text("external_id,source\nA,dsc_0042.jpg\nB,Schuh-grün.jpg\n", encoding="utf-8")
        assert run(photos).counts.jobs == 2
