"""The table of problems in docs/reference/problems.md: `python -m tests.docs.problems_table` renews it."""

import re

from api.problem_types import PROBLEM_TYPES
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "problems.md"
BEGIN, END = "<!-- problems -->\n", "<!-- end of problems -->"


def problems_table() -> str:
    """A row for each type, by status."""
    rows = ["| Type | Status | What it means | What to do |", "|---|---|---|---|"]
    for kind, known in sorted(PROBLEM_TYPES.items(), key=lambda item: (item[1].status, item[0])):
        rows.append(f"| `{kind}` | {int(known.status)} | {known.title} | {known.remedy} |")
    return "\n".join(rows) + "\n"


def renewed(page: str) -> str:
    """The page with the table as it should be."""
    marked = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.DOTALL)
    return marked.sub(lambda _: f"\n{problems_table()}\n", page)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
