"""Skipped files: pictures are recognised by bytes, and every other file is counted by reason."""

import io
import os
import time
import unicodedata
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import Engine, text

from cutout.ingest import IngestError, IngestOptions, ReadOptions, estimate, open_source
from cutout.ingest.sources import file_kinds
from cutout.ingest.sources.external_ids import PictureFile, file_records, name_pictures
from cutout.ingest.sources.file_patterns import FilePatterns
from cutout.manifests.field_rules import readable
from cutout.models import Job
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.cutout.ingest.conftest import Run
from tests.support.machine import scaled

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
AVIF = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"
MOVIE = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
PSD = b"8BPS\0\x01"
SHADOW = b"\0\x05\x16\x07\0\x02\0\0"
# Files that a phone, a browser, a NAS and their users leave behind.
DROP = {
    "a.jpg": JPEG,
    "b.JPG": b"any bytes at all",
    "photo.jfif": JPEG,
    "scan.jpe": JPEG,
    "noextension": JPEG,
    "upload.jpg_large": JPEG,
    "shoe.2024": JPEG,
    "odd.txt": JPEG,
    "IMG_1.HEIC": HEIC,
    "iPhone": HEIC,
    "wrong.heic": JPEG,
    "n.avif": AVIF,
    "layered.psd": PSD,
    "DSC_1.NEF": b"MM\0*raw",
    "canon": b"II*\0\x10\0\0\0CR\x02\0",
    "notes.txt": b"hello",
    "film.mov": MOVIE,
    "nothing.dat": b"",
    "Thumbs.db": b"x",
    ".DS_Store": b"x",
    "._a.jpg": SHADOW,
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg": JPEG,
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg": JPEG,
    "sub/.@__thumb/defaulta.jpg": JPEG,
    "#recycle/old.jpg": JPEG,
    "$RECYCLE.BIN/S-1-5-21/$RABC12.jpg": JPEG,
    ".Trash-1000/files/deleted.jpg": JPEG,
    ".thumbnails/1024.jpg": JPEG,
    "sub/__MACOSX/._x.jpg": SHADOW,
    "System Volume Information/x.jpg": JPEG,
    "recycled/bag.jpg": JPEG,
}
TAKEN = ["a", "b", "noextension", "odd.txt", "photo", "recycled/bag", "scan", "shoe.2024", "upload", "wrong"]
SKIPPED = {
    "of a system folder": 9,
    "a system file": 3,
    file_kinds.NO_PICTURE: 2,
    file_kinds.HEIC: 2,
    file_kinds.AVIF: 1,
    file_kinds.PHOTOSHOP: 1,
    file_kinds.CAMERA_RAW: 2,
    file_kinds.EMPTY: 1,
}

Stored = Callable[[], list[Job]]
Rejected = Callable[[], list[list[str]]]


@pytest.fixture(autouse=True)
def _without_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither HEIC nor AVIF is decoded, whatever is installed here."""
    monkeypatch.setattr(file_kinds, "decodes_heic", lambda: False)
    monkeypatch.setattr(file_kinds, "decodes_avif", lambda: False)


def fill(directory: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def put(bucket: Bucket, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        bucket.put_cutout(content, key=f"drop/{name}", media_type="image/png", metadata={})
    return f"s3://{bucket.name}/drop/"


Place = Callable[[str, dict[str, bytes]], str]


@pytest.fixture
def place(tmp_path: Path, bucket: Bucket) -> Place:
    """Puts files into a directory, an archive or a bucket; returns its name."""

    def put_there(where: str, files: dict[str, bytes]) -> str:
        match where:
            case "directory":
                return str(fill(tmp_path / "drop", files))
            case "zip":
                return str(pack(tmp_path / "drop.zip", files))
            case _:
                return put(bucket, files)

    return put_there


def counted(engine: Engine) -> dict[str, int]:
    """The counts recorded by the last ingest."""
    with engine.connect() as connection:
        skipped = connection.scalar(text("SELECT skipped FROM ingests ORDER BY created_at DESC LIMIT 1"))
    return {reason["reason"]: reason["count"] for reason in skipped or ()}


everywhere = pytest.mark.parametrize("where", ["directory", "zip", "prefix"])


class TestADrop:
    @everywhere
    def test_is_taken_by_bytes_and_the_rest_is_counted(
        self, run: Run, engine: Engine, stored: Stored, place: Place, where: str
    ) -> None:
        """Equal files give an equal result in a directory, an archive and a bucket."""
        # In a bucket, an object with an ending that no picture has is not opened.
        left = {"odd.txt"} if where == "prefix" else set()
        run(place(where, DROP))
        assert sorted(job.external_id or "" for job in stored()) == [one for one in TAKEN if one not in left]
        assert counted(engine) == SKIPPED | {file_kinds.NO_PICTURE: 2 + len(left)}

    @everywhere
    def test_is_reported_by_a_dry_run(
        self, engine: Engine, bucket: Bucket, settings: Settings, place: Place, where: str
    ) -> None:
        """By reason, with the first names."""
        files = {"a.jpg": JPEG} | {f"{n}.HEIC": HEIC for n in range(7)}
        with closing(open_source(place(where, files), ReadOptions(), settings, bucket)) as source:
            found = estimate(
                engine,
                bucket,
                source,
                IngestOptions("n"),
                None,
                on_reject=lambda _: None,
                watch=lambda _: None,
            )
        assert found.skipped == [
            {"reason": file_kinds.HEIC, "count": 7, "names": [f"{n}.HEIC" for n in range(5)]}
        ]

    @everywhere
    def test_without_pictures_reports_the_skipped_files(self, run: Run, place: Place, where: str) -> None:
        """The error names the skipped files."""
        with pytest.raises(IngestError, match=r"holds no pictures; .*; skipped 2 HEIC, .*: a\.heic, b"):
            run(place(where, {"a.heic": HEIC, "b": HEIC}))

    @everywhere
    def test_is_filtered_by_patterns(
        self, run: Run, engine: Engine, stored: Stored, place: Place, where: str
    ) -> None:
        """By patterns for a name, a folder or a path, in any letter case."""
        names = ("a.jpg", "b.JPG", "c.png", "old/d.jpg", "x/old/e.jpg", "x/f.gif", "x/y/g.jpg", "x/y/h.jpg")
        reading = ReadOptions(include=("*.jpg", "c.*"), exclude=("OLD", "x/y/g*", "nothing"))
        run(place(where, dict.fromkeys(names, JPEG)), reading=reading)
        assert sorted(job.external_id or "" for job in stored()) == ["a", "b", "c", "x/y/h"]
        assert counted(engine) == {"excluded by a pattern": 3, "not included by any pattern": 1}

    @everywhere
    def test_with_decoders_is_taken_too(
        self, run: Run, stored: Stored, place: Place, where: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """HEIC and AVIF are pictures where they can be decoded."""
        monkeypatch.setattr(file_kinds, "decodes_heic", lambda: True)
        monkeypatch.setattr(file_kinds, "decodes_avif", lambda: True)
        run(place(where, {"a.heic": HEIC, "b.avif": AVIF, "c": HEIC}))
        assert sorted(job.external_id or "" for job in stored()) == ["a", "b", "c"]


class TestPictureKinds:
    @pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "MPO", "DIB"])
    def test_are_known_by_their_bytes(self, form: str) -> None:
        """As Pillow writes them; a bare DIB is none, because it looks like other data."""
        file = io.BytesIO()
        Image.new("RGB", (64, 64), (1, 2, 3)).save(file, form)
        expected = file_kinds.NO_PICTURE if form == "DIB" else None
        assert file_kinds.reason_by_bytes(file.getvalue()[:64]) == expected

    @pytest.mark.parametrize("start", [b"", b"BM", b"BMI:\0\0\0", b"RIFF\0\0\0\0AVI ", MOVIE, b"II*"])
    def test_are_not_seen_in_others(self, start: bytes) -> None:
        """Short files, films, and texts that begin like a picture."""
        assert file_kinds.reason_by_bytes(start) is not None


class TestAFolder:
    def test_counts_what_is_no_file(self, run: Run, engine: Engine, tmp_path: Path) -> None:
        """Pipes, broken links and links to folders."""
        directory = fill(tmp_path / "drop", {"a.jpg": JPEG, "sub/b.jpg": JPEG})
        os.mkfifo(directory / "pipe.jpg")
        (directory / "broken.jpg").symlink_to("nowhere")
        (directory / "linked").symlink_to("sub")
        run(directory)
        assert counted(engine) == {"no regular file": 2, "a link to a folder": 1}

    def test_shows_names_that_are_no_utf_8(
        self, run: Run, engine: Engine, rejected: Rejected, tmp_path: Path
    ) -> None:
        """Byte by byte, among skipped and rejected files."""
        directory = fill(tmp_path / "drop", {"a.jpg": JPEG})
        for name in (b"gr\xfcn.txt", b"gr\xfcn.jpg"):
            Path(os.fsdecode(os.fsencode(directory) + b"/" + name)).write_bytes(b"x")
        run(directory)
        with engine.connect() as connection:
            skipped = connection.scalar(text("SELECT skipped FROM ingests"))
        assert skipped[0]["names"] == [r"gr\xFCn.txt"]
        ((_, _, value, reason),) = rejected()
        assert value == r"gr\xFCn.jpg"
        assert "has the byte 0xFC at position 3, which is not UTF-8; rename it" in reason

    def test_gives_composed_ids_to_decomposed_names(self, run: Run, stored: Stored, tmp_path: Path) -> None:
        """Ids are composed, as a keyboard writes them; two names that would become equal stay unchanged."""
        decomposed = unicodedata.normalize("NFD", "Schuh-grün")
        both = ("é", unicodedata.normalize("NFD", "é"))
        run(fill(tmp_path / "drop", {f"{name}.jpg": JPEG for name in (decomposed, *both)}))
        assert {job.external_id for job in stored()} == {"Schuh-grün", *both}

    def test_gives_two_folders_with_equal_composed_names_ids_of_their_own(
        self, run: Run, stored: Stored, tmp_path: Path
    ) -> None:
        """The files of both folders are ingested, as from a zip archive."""
        both = [f"{name}/deep/1" for name in ("é", unicodedata.normalize("NFD", "é"))]
        done = run(fill(tmp_path / "drop", {f"{name}.jpg": JPEG + name.encode() for name in both}))
        assert (done.counts.jobs, done.counts.rejects) == (2, 0)
        assert sorted(str(job.external_id) for job in stored()) == sorted(both)


class TestAnObject:
    def test_of_no_bytes_is_rejected_by_name(
        self, run: Run, engine: Engine, bucket: Bucket, rejected: Rejected
    ) -> None:
        """The reject is that of an empty file; the marker of a folder is not counted."""
        put(bucket, {"": b"", "sub/": b"", "zero.jpg": b"", "empty": b"", "good.jpg": JPEG})
        assert run(f"s3://{bucket.name}/drop/").counts.jobs == 1
        assert [line[2:] for line in rejected()] == [
            ["zero.jpg", "has 0 bytes; 1 to 50,000,000 are taken (CUTOUT_MAX_SOURCE_BYTES)"]
        ]
        assert counted(engine) == {"empty": 1}

    def test_without_an_ending_keeps_its_name_from_others(
        self, run: Run, bucket: Bucket, stored: Stored
    ) -> None:
        """Shoe beside shoe.jpg, whatever is between them in the listing."""
        names = ("shoe", "shoe+a", "shoe-2.jpg", "shoe.jpg", "shoes.jpg", "hat.jpg", "hats")
        run(put(bucket, dict.fromkeys(names, JPEG)))
        assert {job.source.rpartition("/")[2]: job.external_id for job in stored()} == {
            "shoe": "shoe",
            "shoe+a": "shoe+a",
            "shoe-2.jpg": "shoe-2",
            "shoe.jpg": "shoe.jpg",
            "shoes.jpg": "shoes",
            "hat.jpg": "hat",
            "hats": "hats",
        }

    def test_is_opened_once(
        self, run: Run, bucket: Bucket, stored: Stored, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only where its name does not decide, though the listing is read twice."""
        opened: list[str] = []
        begin = Bucket.begin

        def look(self: Bucket, key: str, size: int) -> bytes:
            opened.append(key)
            return begin(self, key, size)

        monkeypatch.setattr(Bucket, "begin", look)
        run(
            put(
                bucket, {"a.jpg": JPEG, "b.txt": b"x", "c.nef": b"x", "d": JPEG, "e": b"x", "f.unknown": JPEG}
            )
        )
        assert sorted(opened) == ["drop/d", "drop/e", "drop/f.unknown"]
        assert sorted(job.external_id or "" for job in stored()) == ["a", "d", "f.unknown"]


class TestAPrefixThatIsNotAFolder:
    def test_reports_what_it_covers_outside(
        self, settings: Settings, bucket: Bucket, run: Run, engine: Engine
    ) -> None:
        """The remark has the count, comes before anything is stored, and is kept."""
        names = ("photos/a.jpg", "photos/b.jpg", "photos-old/c.jpg", "photos2024/d.jpg")
        put(bucket, dict.fromkeys(names, JPEG))
        address = f"s3://{bucket.name}/drop/photos"
        with closing(open_source(address, ReadOptions(), settings, bucket)) as source:
            (remark,) = source.remarks()
        assert f"{address} is a prefix, not a folder: 2 of 4 pictures lie outside {address}/" in remark
        assert "photos-old/, photos2024/" in remark
        run(address)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT remarks FROM ingests")) == [remark]

    @pytest.mark.parametrize("prefix", ["drop/photos/", "drop/photos/SKU-", "drop/pho"])
    def test_says_nothing_where_none_is_meant(self, settings: Settings, bucket: Bucket, prefix: str) -> None:
        """For a folder, for the beginning of names, for the only folder that begins so."""
        put(bucket, dict.fromkeys(("photos/SKU-1.jpg", "photos/SKU-2.jpg"), JPEG))
        with closing(open_source(f"s3://{bucket.name}/{prefix}", ReadOptions(), settings, bucket)) as source:
            assert source.remarks() == []


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "path", "met"),
        [
            ("*.gif", "a/b.GIF", True),
            ("thumbs", "a/Thumbs/b.jpg", True),
            ("thumbs", "a/thumbs.jpg", False),
            ("thumbs/*", "thumbs/b.jpg", True),
            ("thumbs/", "thumbs/b.jpg", True),
            ("a/thumbs/", "a/thumbs/deep/b.jpg", True),
            ("a/*.jpg", "a/deep/b.jpg", True),
            ("[ab].jpg", "b.jpg", True),
            ("a?c*", "abc.jpg", True),
            ("a/*b/c", "a/xb/c/d.jpg", True),
            ("a/*b/c", "a/xb/cd.jpg", False),
            ("a/*b", "a/b-c/xb/d.jpg", True),
            ("*a/b", "x/a/bc.jpg", False),
        ],
    )
    def test_are_those_of_a_shell(self, pattern: str, path: str, *, met: bool) -> None:
        """A name, a folder's name, or a path."""
        assert (FilePatterns(exclude=(pattern,)).reason(path) is not None) is met

    def test_take_linear_time(self) -> None:
        """Also for thousands of nested folders, which a zip archive may name."""
        began_at = time.monotonic()
        assert FilePatterns(exclude=("*x/y",)).reason("a/" * 30_000 + "b.jpg") is None
        assert time.monotonic() - began_at < scaled(0.5)


class TestVeryLongNames:
    def test_are_not_composed(self) -> None:
        """Thousands of accents on one letter would take seconds; no id is so long."""
        name = "a" + "\u0301\u0316" * 16_000 + ".jpg"
        began_at = time.monotonic()
        (record,) = file_records(name_pictures([PictureFile(name, None)]))
        assert time.monotonic() - began_at < scaled(0.5)
        assert [reject.column for reject in record.rejects] == ["name"]


class TestReadableNames:
    def test_are_as_they_are_where_they_are_text(self) -> None:
        """Only undecodable bytes are escaped."""
        assert readable("Größe 猫.jpg") == "Größe 猫.jpg"
        assert readable("caf\udce9 é \ud800") == r"caf\xE9 é \ud800"
