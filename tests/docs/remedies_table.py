"""Renew console/remedies.tsv from docs/reference/codes.md: `python -m tests.docs.remedies_table`."""

import re

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "codes.md"
TABLE = ROOT / "console" / "remedies.tsv"
COLUMNS = 4


def table() -> str:
    """A line for each code: the code, a tab, what to do, without links and marks."""
    lines = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("| `") or len(cells) != COLUMNS:
            continue
        if cells[-1].startswith("See ["):
            continue
        remedy = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", cells[-1])
        lines += [f"{code}\t{remedy}\n" for code in re.findall(r"`([A-Z_]+)`", cells[0])]
    return "".join(lines)


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
