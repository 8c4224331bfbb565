"""Changes of large tables that make no program wait for longer than a moment.

Each commits by itself, with what the migration did before it, and is safe to repeat: a migration that was cut
off begins anew. So a migration calls these first, and does the rest after them, in the transaction that also
writes its number. An index, check or foreign key of a new table needs none of this.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from alembic import op
from sqlalchemy import Connection, text

from migrations.lock_waits import HARMLESS_WAIT_S, repeat_while_locked, set_lock_timeout

# Rows that one statement may write: their locks are held for less than a second.
STEP_ROWS = 5_000
# Of statements that may wait long: a deadlock is worth another try, an hour of waiting is not.
HARMLESS_TRIES = 2


def create_index_concurrently(
    name: str,
    table: str,
    columns: str,
    *,
    where: str | None = None,
    unique: bool = False,
    using: str = "btree",
) -> None:
    """Create the index while rows are written; one that an earlier run left invalid is dropped first.

    `columns` is the list between the parentheses, as in "batch_id, state". It waits until every transaction
    that is open now has ended.
    """
    kind = "UNIQUE INDEX" if unique else "INDEX"
    condition = f" WHERE {where}" if where else ""
    definition = f"{kind} CONCURRENTLY {name} ON {table} USING {using} ({columns}){condition}"

    def create() -> None:
        valid = connection.scalar(
            text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"), {"name": name}
        )
        if valid is False:
            _execute(connection, f"DROP INDEX CONCURRENTLY {name}")
        if not valid:
            _execute(connection, f"CREATE {definition}")

    with _autocommit(HARMLESS_WAIT_S) as connection:
        repeat_while_locked(create, tries=HARMLESS_TRIES)


def drop_index_concurrently(name: str) -> None:
    """Drop the index, if there is one, while rows are read and written."""
    with _autocommit(HARMLESS_WAIT_S) as connection:
        _run(connection, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def add_columns(table: str, *definitions: str) -> None:
    """Add the columns that the table lacks, each as in "note text" or "tries integer NOT NULL DEFAULT 0".

    A default must be a constant: Postgres then keeps it beside the table and writes no row.
    """
    with _autocommit() as connection:
        missing = [each for each in definitions if not _has_column(connection, table, each.split()[0])]
        if missing:
            _run(connection, f"ALTER TABLE {table} " + ", ".join(f"ADD COLUMN {each}" for each in missing))


def drop_columns(table: str, *names: str) -> None:
    """Drop the columns that the table still has, with their indexes and constraints. For a downgrade."""
    with _autocommit() as connection:
        there = [name for name in names if _has_column(connection, table, name)]
        if there:
            _run(connection, f"ALTER TABLE {table} " + ", ".join(f"DROP COLUMN {name}" for name in there))


def add_check_not_valid(table: str, name: str, condition: str) -> None:
    """Add a check that holds for what is written from now on; `validate` makes it hold for all rows."""
    _add_constraint(table, name, f"CHECK ({condition})")


def add_foreign_key_not_valid(table: str, name: str, columns: str, references: str) -> None:
    """Add a foreign key for what is written from now on; `references` is as in "batches(id)"."""
    _add_constraint(table, name, f"FOREIGN KEY ({columns}) REFERENCES {references}")


def validate(table: str, name: str) -> None:
    """Check all rows against the constraint while rows are written."""
    with _autocommit(HARMLESS_WAIT_S) as connection:
        if not _is_validated(connection, table, name):
            _run(connection, f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def drop_constraints(table: str, *names: str) -> None:
    """Drop the constraints that the table still has."""
    with _autocommit() as connection:
        there = [name for name in names if _is_validated(connection, table, name) is not None]
        if there:
            _run(connection, f"ALTER TABLE {table} " + ", ".join(f"DROP CONSTRAINT {name}" for name in there))


def set_not_null(table: str, column: str) -> None:
    """Let the column refuse null. A check that all rows have passed saves Postgres the look at them."""
    check = f"ck_{table}_{column}_is_set"
    with _autocommit() as connection:
        if not _is_nullable(connection, table, column):
            return
    add_check_not_valid(table, check, f"{column} IS NOT NULL")
    validate(table, check)
    with _autocommit() as connection:
        _run(connection, f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL, DROP CONSTRAINT {check}")


def drop_not_null(table: str, column: str) -> None:
    """Let the column take null."""
    with _autocommit() as connection:
        if not _is_nullable(connection, table, column):
            _run(connection, f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")


def update_in_steps(table: str, assignments: str, where: str, *, key: str = "id") -> int:
    """Update the rows that match, STEP_ROWS at a time along the primary key `key`; returns their number.

    `where` must no longer match an updated row, since an interrupted run begins anew.
    """
    updated = 0

    def step(condition: str, values: dict[str, object]) -> None:
        nonlocal updated
        # A migration's own text.
        statement = f"UPDATE {table} SET {assignments} WHERE ({where}) AND {condition}"  # noqa: S608
        updated += connection.execute(text(statement), values).rowcount

    with _autocommit() as connection:
        for condition, values in _steps(connection, table, key):
            repeat_while_locked(partial(step, condition, values))
    return updated


def _steps(connection: Connection, table: str, key: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Conditions that together match every row, each STEP_ROWS of them."""
    above, values = "true", dict[str, object]()
    while True:
        # A migration's own text.
        query = f"SELECT {key} FROM {table} WHERE {above} ORDER BY {key} OFFSET {STEP_ROWS - 1} LIMIT 1"  # noqa: S608
        last = connection.scalar(text(query), values)
        if last is None:
            yield above, values
            return
        yield f"{above} AND {key} <= :last", {**values, "last": last}
        above, values = f"{key} > :after", {"after": last}


@contextmanager
def _autocommit(lock_timeout_s: float | None = None) -> Iterator[Connection]:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        set_lock_timeout(connection, lock_timeout_s)
        try:
            yield connection
        finally:
            set_lock_timeout(connection)


def _run(connection: Connection, statement: str) -> None:
    """Run one statement, again while it does not get its locks."""
    repeat_while_locked(lambda: _execute(connection, statement))


def _execute(connection: Connection, statement: str) -> None:
    # Without parameters, so that neither % nor : has a meaning in it.
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _add_constraint(table: str, name: str, definition: str) -> None:
    with _autocommit() as connection:
        if _is_validated(connection, table, name) is None:
            _run(connection, f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID")


def _is_validated(connection: Connection, table: str, name: str) -> bool | None:
    """None without such a constraint."""
    validated: bool | None = connection.scalar(
        text(
            "SELECT convalidated FROM pg_constraint WHERE conrelid = to_regclass(:table) AND conname = :name"
        ),
        {"table": table, "name": name},
    )
    return validated


def _has_column(connection: Connection, table: str, name: str) -> bool:
    return _is_nullable(connection, table, name) is not None


def _is_nullable(connection: Connection, table: str, name: str) -> bool | None:
    """None without such a column."""
    nullable: bool | None = connection.scalar(
        text(
            "SELECT NOT attnotnull FROM pg_attribute"
            " WHERE attrelid = to_regclass(:table) AND attname = :name AND NOT attisdropped"
        ),
        {"table": table, "name": name},
    )
    return nullable
