"""The console's remedies are those of docs/reference/codes.md."""

from tests.docs.remedies_table import TABLE, table


def test_the_remedies_are_those_of_the_page() -> None:
    """`python -m tests.docs.remedies_table` renews the table."""
    made = table()
    assert len(made.splitlines()) > 50
    assert TABLE.read_text(encoding="utf-8") == made
