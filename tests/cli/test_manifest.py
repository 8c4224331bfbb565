from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.manifest import Entry, ManifestError, Reject, read_manifest
from jobs.states import Priority, ReturnForm

RGBA = (ReturnForm.RGBA,)
WEB = "https://shop.example/a.jpg"


def written(directory: Path, text: str | bytes) -> Path:
    """A CSV file beside which lies one picture, a.jpg."""
    (directory / "a.jpg").write_bytes(b"picture")
    path = directory / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path: Path, forms: tuple[ReturnForm, ...] = RGBA) -> list[Entry | Reject]:
    return list(read_manifest(path, forms))


def entries(found: list[Entry | Reject]) -> list[Entry]:
    """All of them, after checking that none was rejected."""
    assert not [entry for entry in found if isinstance(entry, Reject)]
    return [entry for entry in found if isinstance(entry, Entry)]


def rejects(found: list[Entry | Reject]) -> list[Reject]:
    return [entry for entry in found if isinstance(entry, Reject)]


class TestADirectory:
    def names(self, directory: Path, *files: str) -> list[str]:
        for file in files:
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / file).write_bytes(b"picture")
        return [entry.external_id for entry in entries(read(directory))]

    def test_gives_each_picture_its_name(self, tmp_path: Path) -> None:
        """The external id is the path below the directory without its ending; other files are left out."""
        names = self.names(tmp_path, "b.PNG", "a.jpg", "shoes/left.webp", "notes.txt", "README")
        assert names == ["a", "b", "shoes/left"]

    def test_tells_equal_names_apart_by_their_endings(self, tmp_path: Path) -> None:
        """shoe.jpg beside shoe.png keep their endings, and no third file's name meets them."""
        names = self.names(tmp_path, "hat.jpg", "shoe.jpg", "shoe.png", "shoe.jpg.png")
        assert names == ["hat", "shoe.jpg", "shoe.jpg.png", "shoe.png"]

    def test_takes_a_name_that_is_hardly_one(self, tmp_path: Path) -> None:
        """A file called `..jpg` has a name left without its ending."""
        assert self.names(tmp_path, "..jpg") == ["."]

    @pytest.mark.parametrize("name", ["a\nb.jpg", "caf\udce9.jpg", f"{'d' * 200}/{'n' * 200}.jpg"])
    def test_rejects_a_name_that_cannot_be_an_id(self, tmp_path: Path, name: str) -> None:
        """A line break, a byte that is not UTF-8, more than 255 characters: named, and the rest goes on."""
        for file in (name, "good.jpg"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(b"picture")
        found = read(tmp_path)
        assert [entry.external_id for entry in found if isinstance(entry, Entry)] == ["good"]
        (reject,) = rejects(found)
        assert reject.origin == str(tmp_path / name)
        assert "external_id" in reject.reason

    def test_without_pictures_says_what_was_looked_for(self, tmp_path: Path) -> None:
        """The error names the directory and the endings."""
        (tmp_path / "notes.txt").write_bytes(b"x")
        with pytest.raises(ManifestError, match=rf"{tmp_path} holds no pictures; looked for .*\.jpg"):
            read(tmp_path)


class TestACsvFile:
    def test_names_pictures_beside_it_and_in_the_web(self, tmp_path: Path) -> None:
        """A relative path is looked for beside the file; an address is taken as it stands."""
        path = written(tmp_path, f"external_id,source\nA-1,a.jpg\nA-2,{WEB}\nA-3,HTTPS://shop.example/b\n")
        found = entries(read(path))
        assert [entry.source for entry in found] == [tmp_path / "a.jpg", WEB, "HTTPS://shop.example/b"]
        assert [entry.external_id for entry in found] == ["A-1", "A-2", "A-3"]
        assert [entry.origin for entry in found] == ["list.csv:2", "list.csv:3", "list.csv:4"]

    def test_may_choose_form_and_priority_by_row(self, tmp_path: Path) -> None:
        """A row's own form replaces those of the command line; an empty one does not."""
        rows = f"external_id,source,return_form,priority\na,{WEB},crop,bulk\nb,{WEB},,\n"
        own, common = entries(read(written(tmp_path, rows), (ReturnForm.MASK, ReturnForm.RGBA)))
        assert (own.forms, own.priority) == ((ReturnForm.CROP,), Priority.BULK)
        assert (common.forms, common.priority) == ((ReturnForm.MASK, ReturnForm.RGBA), Priority.NORMAL)

    @pytest.mark.parametrize(
        "text",
        [
            f"\ufeffexternal_id,source\r\na,{WEB}\r\n",
            f"colour,external_id,source\nred,a,{WEB}\n",
            f"external_id,source\na,{WEB},more,and more\n",
            f'external_id,title,source\na,"two\nlines, ""quoted""",{WEB}\n',
            f"external_id,source\n\na,{WEB}\n\n",
            f"external_id,source,return_form\na,{WEB}\n",
        ],
        ids=["byte-order mark", "extra column", "extra fields", "line break", "blank lines", "short row"],
    )
    def test_is_read_as_spreadsheets_write_it(self, tmp_path: Path, text: str) -> None:
        """Marks, other columns, line breaks in quotes and blank lines change nothing."""
        (entry,) = entries(read(written(tmp_path, text)))
        assert (entry.external_id, entry.source, entry.forms) == ("a", WEB, RGBA)

    def test_may_be_long(self, tmp_path: Path) -> None:
        """Every row of many is there, in order, with its line."""
        rows = "".join(f"{n},{WEB}\n" for n in range(1200))
        found = entries(read(written(tmp_path, f"external_id,source\n{rows}")))
        assert [entry.external_id for entry in found] == [str(n) for n in range(1200)]
        assert found[-1].origin == "list.csv:1201"


class TestARow:
    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ("bad,,,", "the column source is empty"),
            ("bad", "the column source is empty"),
            ("bad,none.jpg,,", "'none.jpg' is not a file"),
            ("bad,.,,", "'.' is not a file"),
            ("bad,../a.jpg,,", "'../a.jpg' lies outside"),
            ("bad,/etc/hostname,,", "'/etc/hostname' lies outside"),
            ("bad,s3://other/a.jpg,,", "'s3://other/a.jpg' is not a file"),
            (f"bad,{'x' * 3000},,", "cannot be the name of a file"),
            ("bad,a\0.jpg,,", "cannot be the name of a file"),
            ("bad,https://user:pw@shop.example/a,,", "without a password"),
            ("bad,https:///a.jpg,,", "not an https:// address"),
            ("bad,https://shop.example/a b.jpg,,", "has blanks"),
            (f"bad,{WEB}?{'x' * 3000},,", "3027 characters; use at most 2048"),
            (f",{WEB},,", "external_id has 0 characters"),
            (f"{'x' * 256},{WEB},,", "external_id has 256 characters; use 1 to 255"),
            (f"b\0d,{WEB},,", "'b\\x00d' has control characters"),
            (f'"b\nd",{WEB},,', "'b\\nd' has control characters"),
            (f"bad,{WEB},svg,", "'svg' is not one of rgba, mask, whiteBK, crop"),
            (f"bad,{WEB},RGBA,", "'RGBA' is not one of"),
            (f"bad,{WEB},,urgent", "'urgent' is not one of interactive, normal, bulk"),
        ],
    )
    def test_that_cannot_become_a_job_is_rejected_alone(self, tmp_path: Path, row: str, said: str) -> None:
        """The reason names the value and the remedy, and the rows around it are taken."""
        (tmp_path / "pictures").mkdir()
        lines = f"external_id,source,return_form,priority\nfirst,{WEB},,\n{row}\nlast,{WEB},,\n"
        found = read(written(tmp_path / "pictures", lines))
        assert [entry.external_id for entry in found if isinstance(entry, Entry)] == ["first", "last"]
        (reject,) = rejects(found)
        assert reject.origin in ("list.csv:3", "list.csv:4")
        assert said in reject.reason

    def test_that_repeats_an_external_id_names_both_lines(self, tmp_path: Path) -> None:
        """The first of them is taken; the reject says where it stands."""
        path = written(tmp_path, f"external_id,source\na,{WEB}\nb,{WEB}\na,{WEB}?2\n")
        *taken, reject = read(path)
        assert [entry.external_id for entry in taken if isinstance(entry, Entry)] == ["a", "b"]
        assert isinstance(reject, Reject)
        assert reject.origin == "list.csv:4"
        assert "'a' stands in list.csv:2 already" in reject.reason

    def test_may_repeat_an_external_id_in_another_form(self, tmp_path: Path) -> None:
        """One picture in two forms is two rows with one id."""
        rows = f"external_id,source,return_form\na,{WEB},rgba\na,{WEB},mask\na,{WEB},mask\n"
        found = read(written(tmp_path, rows))
        assert [type(entry) for entry in found] == [Entry, Entry, Reject]


class TestAFileThatCannotBeRead:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (b"", "has no column external_id and no column source; its first line names nothing"),
            (b"sku,source\na,b\n", "has no column external_id; its first line names 'sku', 'source', needed"),
            (b"external_id;source\na;b\n", "its first line names 'external_id;source'"),
            (b"external_id,source\n", "has no rows below its first line"),
            (b"external_id,source\n\n\n", "has no rows below its first line"),
            (b'external_id,source\na,b\nc,"d\ne,f\n', "after line 2: unexpected end of data"),
            (b'external_id,source\na,b\nc,"d"e\n', "after line 2: "),
            (b'"external_id,source\na,b\n', "after line 0: unexpected end of data"),
            (b"external_id,source\na,b\ncaf\xe9,b\n", r"byte 0xE9 in line 3.*CSV UTF-8.*iconv"),
            ("external_id,source\na,b\n".encode("utf-16"), "byte 0xFF in line 1"),
        ],
        ids=[
            "empty", "missing column", "semicolons", "header only", "blank rows", "open quote",
            "text after quote", "open quote in header", "Latin-1", "UTF-16",
        ],
    )  # fmt: skip
    def test_is_refused_with_the_place_and_the_remedy(self, tmp_path: Path, text: bytes, said: str) -> None:
        """Missing columns are named, and so are a byte that is not UTF-8 and the line where CSV ends."""
        with pytest.raises(ManifestError, match=said) as error:
            read_manifest(written(tmp_path, text), RGBA)
        assert str(tmp_path / "list.csv") in str(error.value)

    def test_is_refused_before_its_first_row(self, tmp_path: Path) -> None:
        """A wrong byte a thousand rows down gives no entry at all."""
        rows = "".join(f"{n},{WEB}\n" for n in range(1199))
        path = written(tmp_path, f"external_id,source\n{rows}".encode() + b"caf\xe9,x\n")
        with pytest.raises(ManifestError, match="in line 1201"):
            read_manifest(path, RGBA)

    def test_is_refused_if_the_system_does_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the system says against reading it is passed on."""

        def deny(*_: object, **__: object) -> Iterator[str]:
            raise PermissionError(13, "Permission denied")

        path = written(tmp_path, "external_id,source\n")
        monkeypatch.setattr(Path, "open", deny)
        with pytest.raises(ManifestError, match="cannot be read: Permission denied"):
            read_manifest(path, RGBA)

    def test_is_refused_if_it_is_neither_file_nor_directory(self, tmp_path: Path) -> None:
        """A path without anything behind it is named."""
        with pytest.raises(ManifestError, match="nothing-here is neither a directory nor a file"):
            read_manifest(tmp_path / "nothing-here", RGBA)
