import pytest

from cutout.manifests import LONGEST_RECORD, ManifestError
from cutout.manifests.lines import Text, bounded_lines


def lines(*chunks: str) -> list[str]:
    return list(bounded_lines(Text(1, "", iter(chunks)), name="list.csv"))


class TestLines:
    @pytest.mark.parametrize(
        "chunks", [("a\r", "\nb\r", "c\n", "\n", "d"), ("a", "\r\nb", "\rc", "\n\nd"), ("a\r\nb\rc\n\nd",)]
    )
    def test_are_the_same_however_the_text_comes(self, chunks: tuple[str, ...]) -> None:
        """A CRLF may be split between two chunks."""
        assert lines(*chunks) == ["a\r\n", "b\r", "c\n", "\n", "d"]

    def test_end_at_nothing_else(self) -> None:
        """Other Unicode line ends belong to the text."""
        assert lines("a\x0bb\x0cc\x1cd\x85e\u2028f\n") == ["a\x0bb\x0cc\x1cd\x85e\u2028f\n"]

    def test_may_be_a_megabyte(self) -> None:
        """The limit itself is allowed."""
        text = "x" * (LONGEST_RECORD - 1) + "\n"
        assert lines(text[:1000], text[1000:]) == [text]

    def test_may_not_be_a_character_more(self) -> None:
        """One character more is too long, even if the line ends there."""
        with pytest.raises(ManifestError, match="line 1 of"):
            lines("x" * LONGEST_RECORD + "\n")

    def test_are_given_before_one_that_is_too_long(self) -> None:
        """Then the error names its number."""
        found = bounded_lines(Text(7, "a\n", iter(["b\n" + "x" * 600_000, "x" * 600_000])), name="list.csv")
        assert [next(found), next(found)] == ["a\n", "b\n"]
        with pytest.raises(ManifestError, match=r"line 9 of list\.csv has more than 1,048,576 characters"):
            next(found)
