"""Databases of single tests: emptied and renamed after use, which takes a fifth of the time of a new one."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, TextClause, text
from sqlalchemy.exc import OperationalError

# A table that held more is slow to read, and its statistics are others than those of a new one.
MOST_ROWS = 2_000
OTHERS_END_WITHIN_MS = 10_000
TRIES = 5

# What is named by its oid has the same one in every copy, and its name takes a while to look up.
SCHEMA = b"""
    SELECT md5(string_agg(part, ' ' ORDER BY part)) FROM (
        SELECT concat_ws(' ', oid, relname, relkind, relnatts, relchecks, reloptions) AS part
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', conrelid, conname, convalidated) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', tgrelid, tgname, tgenabled) FROM pg_trigger
        WHERE NOT tgisinternal
        UNION ALL SELECT concat_ws(' ', oid, proname, prosrc) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT nspname::text FROM pg_namespace
        UNION ALL SELECT unnest(setconfig) FROM pg_db_role_setting
        JOIN pg_database ON pg_database.oid = setdatabase AND datname = current_database()
    ) AS parts
"""
# No foreign key is looked at: all tables are emptied.
NO_FOREIGN_KEYS = b"SET session_replication_role = replica"
# Others were never written to. To empty one takes a third of a millisecond, rows or none.
WRITTEN = b"""
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > 0
"""
RESTART_SEQUENCES = sql.SQL(
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
            self._schema = connection.execute(SCHEMA).fetchone()
            self._rows = {table: rows for table in _written(connection) if (rows := _rows(connection, table))}

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
            if connection.execute(SCHEMA).fetchone() != self._schema:
                return False
            connection.execute(NO_FOREIGN_KEYS)
            deletion = _delete(_written(connection))
            filling = [_fill(table, rows) for table, rows in self._rows.items()]
            statements = sql.SQL("; ").join([deletion, *filling, RESTART_SEQUENCES])
            (deleted,) = connection.execute(statements).fetchone() or (0,)
        return bool(deleted <= MOST_ROWS)

    @contextmanager
    def _inside(self, name: str) -> Iterator[psycopg.Connection]:
        """A connection that is closed when it is left: nobody may be in a database to be renamed.

        Without SQLAlchemy, which asks Postgres five questions first.
        """
        url = self._admin.url.set(database=name, drivername="postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            yield connection


def _renamed(connection: Connection, name: str, spare: str) -> bool:
    """End the sessions and rename; one may come back between the two. False if it stays."""
    for _ in range(TRIES):
        connection.execute(END_OTHERS, {"name": name, "within_ms": OTHERS_END_WITHIN_MS})
        with suppress(OperationalError):
            connection.execute(text(f"ALTER DATABASE {name} RENAME TO {spare}"))
            return True
    return False


def _written(connection: psycopg.Connection) -> list[str]:
    """The names of the tables that may have rows."""
    return [name for (name,) in connection.execute(WRITTEN)]


def _delete(tables: list[str]) -> sql.Composed:
    """The statement that empties all tables and says how many rows there were."""
    names = [(sql.Identifier(f"of_{name}"), sql.Identifier(name)) for name in tables]
    deletions = [sql.SQL("{} AS (DELETE FROM {} RETURNING 1)").format(*each) for each in names]
    counts = [sql.SQL("(SELECT count(*) FROM {})").format(deleted) for deleted, _ in names]
    return sql.SQL("WITH {} SELECT {}").format(sql.SQL(", ").join(deletions), sql.SQL(" + ").join(counts))


def _rows(connection: psycopg.Connection, table: str) -> str | None:
    """The rows of a table as JSON, if it has any."""
    query = sql.SQL("SELECT json_agg(its)::text FROM {} AS its").format(sql.Identifier(table))
    (rows,) = connection.execute(query).fetchone() or (None,)
    return None if rows is None else str(rows)


def _fill(table: str, rows: str) -> sql.Composed:
    """The statement that puts rows of the template back."""
    # `line` alone would be a type of Postgres'.
    name = sql.Identifier("public", table)
    insert = "INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_recordset(NULL::{}, {})"
    return sql.SQL(insert).format(name, name, sql.Literal(rows))
