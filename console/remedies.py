"""Remedies by the code of a job that failed or is held."""

from functools import cache
from importlib.resources import files

FILE = "remedies.tsv"


@cache
def remedies() -> dict[str, str]:
    """The table, made of docs/reference/codes.md by `python -m tests.docs.remedies_table`."""
    lines = files("console").joinpath(FILE).read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines)


def remedy_of(code: str) -> str:
    """Next step for a code; empty for one of the endpoint's own, whose message says it."""
    return remedies().get(code, "")
