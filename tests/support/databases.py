"""Databases of single tests: emptied and renamed after use, which takes a fifth of the time of a new one."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, NullPool, TextClause, create_engine, text
from sqlalchemy.exc import OperationalError

# A table that held more is slow to read, and its statistics are others than those of a new one.
MOST_ROWS = 2_000
OTHERS_END_WITHIN_MS = 10_000
TRIES = 5

SCHEMA = text(
    """
    SELECT md5(string_agg(part, ' ' ORDER BY part)) FROM (
        SELECT concat_ws(' ', oid::regclass, relkind, relnatts, relchecks, reloptions) AS part
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, convalidated) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', tgrelid::regclass, tgname, tgenabled) FROM pg_trigger
        WHERE NOT tgisinternal
        UNION ALL SELECT concat_ws(' ', oid::regprocedure, prosrc) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT nspname::text FROM pg_namespace
        UNION ALL SELECT unnest(setconfig) FROM pg_db_role_setting
        JOIN pg_database ON pg_database.oid = setdatabase AND datname = current_database()
    ) AS parts
    """
)
RESTART_SEQUENCES = text(
    "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)"
    " FROM pg_sequences WHERE last_value IS NOT NULL"
)
END_OTHERS = text(
    "SELECT pg_terminate_backend(pid, :within_ms) FROM pg_stat_activity"
    " WHERE datname = :name AND pid <> pg_backend_pid()"
)


def copy_of(template: str, name: str) -> TextClause:
    """The statement that makes a database: through the log, as is the default, takes twice the CPU."""
    return text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")


class Databases:
    """Gives out migrated databases without jobs, each under a name that it never had before.

    A client of an earlier test that still runs finds no database of its name.
    """

    def __init__(self, admin: Engine, template: str) -> None:
        self._admin = admin
        self._template = template
        self._spare: list[str] = []
        with self._inside(template) as connection:
            self._schema = connection.scalar(SCHEMA)
            self._rows = _rows(connection)

    def take(self) -> str:
        """Rename an emptied database, or make one; returns its name."""
        name = f"test_{uuid.uuid4().hex}"
        with self._admin.connect() as connection:
            if self._spare:
                connection.execute(text(f"ALTER DATABASE {self._spare.pop()} RENAME TO {name}"))
            else:
                connection.execute(copy_of(self._template, name))
        return name

    def give_back(self, name: str) -> None:
        """End the sessions of a database and empty it for the next test; drop one that was changed."""
        spare = f"spare_{uuid.uuid4().hex}"
        with self._admin.connect() as connection:
            if not _renamed(connection, name, spare):
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            elif self._emptied(spare):
                self._spare.append(spare)
            else:
                connection.execute(text(f"DROP DATABASE {spare} WITH (FORCE)"))

    def _emptied(self, name: str) -> bool:
        with self._inside(name) as connection:
            if connection.scalar(SCHEMA) != self._schema:
                return False
            # No foreign key is looked at: all tables are emptied.
            connection.execute(text("SET session_replication_role = replica"))
            deleted = connection.scalar(_delete(list(self._rows)))
            for table, rows in self._rows.items():
                if rows:
                    connection.execute(_fill(table), {"rows": rows})
            connection.execute(RESTART_SEQUENCES)
            connection.commit()
        return bool(deleted <= MOST_ROWS)

    @contextmanager
    def _inside(self, name: str) -> Iterator[Connection]:
        """A connection that is closed when it is left: nobody may be in a database to be renamed."""
        engine = create_engine(self._admin.url.set(database=name), poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


def _renamed(connection: Connection, name: str, spare: str) -> bool:
    """End the sessions and rename; one may come back between the two. False if it stays."""
    for _ in range(TRIES):
        connection.execute(END_OTHERS, {"name": name, "within_ms": OTHERS_END_WITHIN_MS})
        with suppress(OperationalError):
            connection.execute(text(f"ALTER DATABASE {name} RENAME TO {spare}"))
            return True
    return False


def _rows(connection: Connection) -> dict[str, Any]:
    """The rows of each table as JSON."""
    tables = MetaData()
    tables.reflect(connection)
    return {
        name: connection.scalar(text(f"SELECT json_agg(its)::text FROM {name} AS its"))  # noqa: S608
        for name in tables.tables
    }


def _delete(tables: list[str]) -> TextClause:
    """The statement that empties all tables and says how many rows there were."""
    deletions = ", ".join(f"of_{name} AS (DELETE FROM {name} RETURNING 1)" for name in tables)  # noqa: S608
    counts = " + ".join(f"(SELECT count(*) FROM of_{name})" for name in tables)  # noqa: S608
    return text(f"WITH {deletions} SELECT {counts}")


def _fill(table: str) -> TextClause:
    """The statement that puts rows of the template back."""
    rows = f"json_populate_recordset(NULL::public.{table}, CAST(:rows AS json))"
    return text(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {rows}")  # noqa: S608
