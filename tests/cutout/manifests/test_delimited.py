import csv
import io
import time

import pytest

from tests.cutout.manifests.records import (
    endless_failure,
    failure,
    named,
    only_reject,
    opened,
    pictures,
    read,
    rejects,
)

HEADER = "external_id,source,note\n"


class TestTheDelimiter:
    @pytest.mark.parametrize(
        ("delimiter", "kind"),
        [(",", "CSV manifest"), (";", "CSV manifest"), ("|", "CSV manifest"), ("\t", "TSV manifest")],
    )
    def test_is_the_one_in_the_header(self, delimiter: str, kind: str) -> None:
        """The four delimiters that spreadsheets and databases write."""
        manifest = opened(f"external_id{delimiter}source\nA{delimiter}a.jpg\n")
        assert (manifest.kind, manifest.delimiter) == (kind, delimiter)
        assert named(list(manifest)) == [("A", "a.jpg")]

    def test_is_not_found_in_quotes(self) -> None:
        """A column's name may contain any of them."""
        manifest = opened('external_id;"size, width, height, depth";source\nA;1,2,3,4;a.jpg\n')
        assert manifest.delimiter == ";"
        assert named(list(manifest)) == [("A", "a.jpg")]

    def test_is_not_found_in_rows(self) -> None:
        """The content of the rows does not matter."""
        assert opened(HEADER + "A,a.jpg,;;;;;;;;;;\n" * 50).delimiter == ","

    def test_may_be_set_in_a_separate_line(self) -> None:
        """Excel's `sep=` line has precedence over the header."""
        manifest = opened("sep=|\n\nexternal_id|source|a,b,c,d\nA|a.jpg|\n")
        assert (manifest.delimiter, manifest.header[2]) == ("|", "a,b,c,d")
        assert [record.line for record in manifest] == [4]


class TestRows:
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_end_in_any_way(self, end: str) -> None:
        """Unix, Windows and old Macintosh ends; blank lines count as lines and are skipped."""
        text = HEADER + "A,a.jpg,\n\n   \n,,\nB,b.jpg,\n"
        records = read(text.replace("\n", end))
        assert [(record.line, *named([record])) for record in records] == [
            (2, ("A", "a.jpg")),
            (6, ("B", "b.jpg")),
        ]

    def test_may_lack_the_last_end(self) -> None:
        """The last row needs no line end."""
        assert named(read(HEADER + "A,a.jpg,x")) == [("A", "a.jpg")]

    def test_may_have_lines_and_quotes_in_quotes(self) -> None:
        """A cell keeps its line ends and quotes."""
        (picture,) = pictures(read(HEADER + 'A,a.jpg,"one\r\n""two"",\rthree\n"\n'))
        assert picture.metadata == {"note": 'one\r\n"two",\rthree\n'}

    def test_may_have_quotes_inside_bare_cells(self) -> None:
        """An inch mark needs no doubling there."""
        (picture,) = pictures(read(HEADER + 'A,a.jpg,a 5" pipe\n'))
        assert picture.metadata == {"note": 'a 5" pipe'}

    def test_may_be_long(self) -> None:
        """A cell of half a megabyte exceeds the csv module's default."""
        (picture,) = pictures(read(f'{HEADER}A,a.jpg,"{"x" * 500_000}"\n'))
        assert picture.metadata == {"note": "x" * 500_000}

    def test_may_lack_empty_cells_at_their_end(self) -> None:
        """Excel omits them in blocks of rows, and other programs add some."""
        records = read(HEADER + "A,a.jpg\nB,b.jpg,,,\nC,c.jpg,x, \nD\n")
        assert named(records) == [("A", "a.jpg"), ("B", "b.jpg"), ("C", "c.jpg")]
        assert records[2].pictures[0].metadata == {"note": "x"}
        assert [record.cells for record in records[:2]] == [("A", "a.jpg"), ("B", "b.jpg", "", "", "")]
        assert [(reject.line, reject.column) for reject in rejects(records)] == [(5, "source")]

    @pytest.mark.parametrize(("row", "count"), [("A,a.jpg,x,y", 4), ("A,a.jpg,,,y", 5)])
    def test_of_more_values_than_names_are_rejected(self, row: str, count: int) -> None:
        """It is unknown which cell belongs to which column; the rows around it are read."""
        text = f"{HEADER}A,a.jpg,\n{row}\nB,b.jpg,\n"
        reject = only_reject(text)
        assert (reject.line, reject.column, reject.value) == (3, "", row)
        assert reject.reason.startswith(f"has {count} cells where the header has 3; check for a delimiter")
        assert named(read(text)) == [("A", "a.jpg"), ("B", "b.jpg")]

    def test_with_a_nul_byte_are_rejected(self) -> None:
        """No database stores it; the rows around it are read."""
        text = HEADER + "A,a.jpg,\nB,b.jpg,x\0y\nC,c.jpg,\n"
        reject = only_reject(text)
        assert (reject.line, reject.reason) == (3, "has a NUL byte; remove it")
        assert named(read(text)) == [("A", "a.jpg"), ("C", "c.jpg")]


class TestAQuoteThatIsNotDoubled:
    def test_is_a_reject_where_it_harms_one_line(self) -> None:
        """The rows around it are read."""
        text = HEADER + 'A,a.jpg,\nB,b.jpg,"5" pipe"\nC,c.jpg,\n'
        reject = only_reject(text)
        assert (reject.line, reject.value) == (3, 'B,b.jpg,"5" pipe"')
        assert reject.reason == "has a quote that is not doubled inside quotes; double it"
        assert named(read(text)) == [("A", "a.jpg"), ("C", "c.jpg")]

    def test_is_an_error_where_it_swallows_lines(self) -> None:
        """Rows may be lost in between, so no more is read; the message names the line to fix."""
        records, message = failure(HEADER + 'A,a.jpg,\nB,b.jpg,"5 inch\nC,c.jpg,"red"\nD,d.jpg,\n')
        assert named(records) == [("A", "a.jpg")]
        assert message == (
            "list.csv cannot be read further: the quote that opens in line 3 is not closed, or one inside it"
            " is not doubled; fix that line or export the file again"
        )


class TestAQuoteThatIsNotClosed:
    def test_is_an_error_at_the_end(self) -> None:
        """The rows before it are read."""
        records, message = failure(HEADER + "A,a.jpg,\n" + 'B,b.jpg,"x\n' + "C,c.jpg,\n" * 5)
        assert named(records) == [("A", "a.jpg")]
        assert "the quote that opens in line 3 is not closed" in message

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_is_named_by_the_line_that_it_opens_in(self, end: str) -> None:
        """The message does not name the line in which the record begins, which may be earlier."""
        text = HEADER + 'A,"one\ntwo",\nB,"one\ntwo\nthree","x\nC,c.jpg,\n'
        assert "the quote that opens in line 6 is not closed" in failure(text.replace("\n", end))[1]

    @pytest.mark.parametrize("piece", [b"C,c.jpg,\n" * 7000, b"\n" * 65_536, b"x" * 65_536])
    def test_does_not_read_the_whole_file(self, piece: bytes) -> None:
        """Reading stops after little more than one megabyte of five gigabytes."""
        begun = time.process_time()
        taken, message = endless_failure(HEADER.encode() + b'B,b.jpg,"x\n', piece)
        assert taken < 1.3 * 1024**2
        assert "line 2" in message or "line 3" in message
        assert time.process_time() - begun < 10

    def test_names_the_line_that_its_record_begins_in(self) -> None:
        """This is the error once a record is longer than any product."""
        _, message = endless_failure(HEADER.encode() + b'B,b.jpg,"x\n', b"C,c.jpg,\n" * 7000)
        assert message == (
            "the record that begins in line 2 of list.csv has more than 1,048,576 characters; check there for"
            " a quote that is not closed"
        )


class TestWritingBack:
    def test_gives_the_same_rows(self) -> None:
        """Header, cells and delimiter are enough to write the rows back."""
        text = 'external_id;source;"a;b"\nA;a.jpg;"x ""y""\nz"\nB; b.jpg ;\n'
        manifest = opened(text)
        written = io.StringIO()
        assert manifest.delimiter
        writer = csv.writer(written, delimiter=manifest.delimiter, lineterminator="\n")
        writer.writerow(manifest.header)
        writer.writerows(record.cells for record in manifest)
        assert written.getvalue() == text
