"""The writer of a page: it changes nothing outside the markers of one bench."""

import pytest

from bench.readme import PAGES, ReadmeError, marked, with_tables
from bench.registry import BENCHES, Bench

PAGE = """# Measurements

<!-- table: first -->
| old |
<!-- end -->

Prose between.

<!-- table: second -->
<!-- end -->
End.
"""


def test_only_the_place_between_the_markers_changes() -> None:
    """All else is as it was, byte for byte."""
    assert with_tables(PAGE, "first", ["| new |", ""]) == PAGE.replace("| old |", "| new |")
    written = with_tables(PAGE, "second", ["stamp", "", "| a |", "|---|"])
    assert written == PAGE.replace("second -->\n", "second -->\nstamp\n\n| a |\n|---|\n")


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.name)
def test_each_bench_can_be_written(bench: Bench) -> None:
    """In its page, its lines take the place of the old ones, and the other tables stay."""
    before = (PAGES / bench.page).read_text()
    after = with_tables(before, bench.name, ["| NEW |"])
    begin, end = f"<!-- table: {bench.name} -->\n", "\n<!-- end -->"
    assert f"{begin}| NEW |{end}" in after
    head, rest = before.split(begin)
    assert after == f"{head}{begin}| NEW |{end}{rest.split(end, 1)[1]}"
    assert marked(after) == marked(before)


@pytest.mark.parametrize(
    ("page", "lines", "said"),
    [
        (PAGE, ["<!-- end -->"], "printed a marker"),
        (PAGE, ["<!-- table: second -->"], "printed a marker"),
        ("", ["| a |"], "must have the line <!-- table: first --> once"),
        (PAGE + PAGE, ["| a |"], "once"),
        (PAGE.replace("| old |\n<!-- end -->\n", ""), ["| a |"], "no line <!-- end -->"),
    ],
)
def test_a_page_that_would_lose_something_is_not_written(page: str, lines: list[str], said: str) -> None:
    """A marker that is missing, twice there or printed by the bench is an error."""
    with pytest.raises(ReadmeError, match=said):
        with_tables(page, "first", lines)
