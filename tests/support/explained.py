"""The rows that a statement reads, by EXPLAIN: its cost is known without a clock."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy import ClauseElement, Connection, Executable, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

CARRIED_OUT = "ANALYZE, BUFFERS, FORMAT JSON"
PLANNED = "FORMAT JSON"
SET = text("SELECT set_config(:name, :value, true)")
# Workers count their rows apart, and whether there are any depends on the machine.
SETTINGS = {"max_parallel_workers_per_gather": "0", "jit": "off"}


class _Explained(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: ClauseElement, how: str) -> None:
        self.statement = statement
        self.how = how


@compiles(_Explained)
def _compile(explaining: _Explained, compiler: SQLCompiler, **options: Any) -> str:
    its = compiler.process(explaining.statement, **options)
    # Its answer is a plan, whatever it writes and returns.
    compiler.isinsert = compiler.isupdate = compiler.isdelete = False
    return f"EXPLAIN ({explaining.how}) {its}"


def plan_of(
    database: Session | Connection,
    statement: ClauseElement,
    values: Mapping[str, Any] | None = None,
    **settings: str,
) -> dict[str, Any]:
    """The plan of a statement that is carried out, with what it did.

    The tables are analyzed first, in the same transaction: whether autovacuum came before decides nothing,
    and it cannot come between. `settings` are Postgres's own, such as `enable_seqscan="off"`.
    """
    connection = _connection_of(database)
    with _one_transaction(connection):
        for name, value in (SETTINGS | settings).items():
            connection.execute(SET, {"name": name, "value": value})
        (planned,) = connection.scalar(_Explained(statement, PLANNED), values)
        for table in sorted({*_tables(planned["Plan"])}):
            connection.exec_driver_sql(f'ANALYZE "{table}"')
        (found,) = connection.scalar(_Explained(statement, CARRIED_OUT), values)
    plan: dict[str, Any] = found["Plan"]
    return plan


def _connection_of(database: Session | Connection) -> Connection:
    if isinstance(database, Connection):
        return database
    database.flush()
    return database.connection()


@contextmanager
def _one_transaction(connection: Connection) -> Iterator[None]:
    """The transaction that is open, or one of its own on a connection that commits each statement."""
    raw: Any = connection.connection.driver_connection
    if not raw.autocommit or raw.info.transaction_status != TransactionStatus.IDLE:
        yield
        return
    with raw.transaction():
        yield


def _tables(plan: Mapping[str, Any]) -> Iterator[str]:
    if "Relation Name" in plan:
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from _tables(part)


def rows_looked_at(plan: Mapping[str, Any]) -> Iterator[int]:
    """For each part of the plan the rows that it gave or threw away, all its runs together."""
    thrown = ("Rows Removed by Filter", "Rows Removed by Index Recheck", "Rows Removed by Join Filter")
    gone = sum(plan.get(name, 0) for name in thrown)
    yield int((plan["Actual Rows"] + gone) * plan["Actual Loops"])
    for part in plan.get("Plans", ()):
        yield from rows_looked_at(part)


def buffers(plan: Mapping[str, Any]) -> int:
    """Pages that the whole statement looked at."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
