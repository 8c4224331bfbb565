"""Watch over a database: statements that read, rewrite or write a large table while others wait for it.

Postgres itself says so: an event trigger sees each change of the schema, with the locks that its transaction
holds and the rows that it has read; nothing depends on how a migration is written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event, text

from migrations.operations import STEP_ROWS
from tests.migrations.filled import LARGE, ROWS

WRITES = ("UPDATE", "DELETE", "INSERT", "WITH")
# Modes in which a table cannot be written by others.
BLOCKING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
# Rows of large tables that this transaction has read, if it keeps others from writing one of them.
READ_UNDER_LOCK = f"""
    SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
    WHERE relname = ANY (ARRAY{list(LARGE)!r}) AND EXISTS (
        SELECT FROM pg_locks JOIN pg_class ON pg_class.oid = pg_locks.relation
        WHERE pid = pg_backend_pid() AND granted AND mode = ANY (ARRAY{list(BLOCKING)!r})
        AND relname = ANY (ARRAY{list(LARGE)!r})
    )
"""  # noqa: S608 - constants
INSTALL = f"""
    CREATE SCHEMA watch;
    CREATE TABLE watch.faults (fault text);
    CREATE FUNCTION watch.look() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF ({READ_UNDER_LOCK}) >= {ROWS} THEN
            INSERT INTO watch.faults VALUES ('reads a table that it locks: ' || left(current_query(), 200));
        END IF;
    END $$;
    CREATE FUNCTION watch.rewrite() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF pg_event_trigger_table_rewrite_oid()::regclass::text = ANY (ARRAY{list(LARGE)!r}) THEN
            INSERT INTO watch.faults VALUES ('rewrites a table: ' || left(current_query(), 200));
        END IF;
    END $$;
    CREATE EVENT TRIGGER look ON ddl_command_end EXECUTE FUNCTION watch.look();
    CREATE EVENT TRIGGER rewrite ON table_rewrite EXECUTE FUNCTION watch.rewrite();
"""  # noqa: S608 - constants
REMOVE = "DROP EVENT TRIGGER look; DROP EVENT TRIGGER rewrite; DROP SCHEMA watch CASCADE"


@contextmanager
def watched(engine: Engine) -> Iterator[list[str]]:
    """Yield a list that holds, at the end of the block, the faults of what ran in it on this engine."""
    faults: list[str] = []

    def forget_earlier(connection: Connection, *_: object) -> None:
        raw = connection.connection.driver_connection
        if raw is not None and raw.info.transaction_status == TransactionStatus.IDLE:
            # What a session has counted is otherwise kept for a second, and looks like this transaction's.
            raw.execute("SELECT pg_stat_force_next_flush()")
            raw.commit()

    def look(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        if statement.split(maxsplit=1)[0] in WRITES and cursor.rowcount > STEP_ROWS:
            faults.append(f"writes {cursor.rowcount} rows at once: {statement[:200]}")
        raw = connection.connection.driver_connection
        if raw is not None and raw.info.transaction_status == TransactionStatus.INTRANS:
            (read,) = raw.execute(READ_UNDER_LOCK).fetchone() or (0,)
            if (read or 0) >= ROWS:
                faults.append(f"reads a table that it locks: {statement[:200]}")

    with engine.begin() as connection:
        connection.exec_driver_sql(INSTALL)
    event.listen(engine, "before_cursor_execute", forget_earlier)
    event.listen(engine, "after_cursor_execute", look)
    try:
        yield faults
    finally:
        event.remove(engine, "before_cursor_execute", forget_earlier)
        event.remove(engine, "after_cursor_execute", look)
        with engine.begin() as connection:
            faults += connection.scalars(text("SELECT fault FROM watch.faults"))
            connection.exec_driver_sql(REMOVE)
