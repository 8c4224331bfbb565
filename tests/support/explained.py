"""The rows that a statement reads, by EXPLAIN: its cost is known without a clock."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ClauseElement, Executable
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


class explained(Executable, ClauseElement):  # noqa: N801 - reads as a function where it is used
    """The plan of a statement that is carried out, with what it did."""

    inherit_cache = False

    def __init__(self, statement: ClauseElement) -> None:
        self.statement = statement


@compiles(explained)
def _compile(explaining: explained, compiler: SQLCompiler, **options: Any) -> str:
    its = compiler.process(explaining.statement, **options)
    return f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {its}"


def rows_looked_at(plan: dict[str, Any]) -> Iterator[int]:
    """For each part of the plan the rows that it gave or threw away, all its runs together."""
    gone = sum(plan.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
    yield int((plan["Actual Rows"] + gone) * plan["Actual Loops"])
    for part in plan.get("Plans", ()):
        yield from rows_looked_at(part)


def buffers(plan: dict[str, Any]) -> int:
    """Pages that the whole statement looked at."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
