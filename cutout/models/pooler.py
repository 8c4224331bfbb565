"""Support for a pooler in front of Postgres, such as PgBouncer in transaction mode."""

import logging
from collections.abc import Mapping

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

log = logging.getLogger(__name__)

# A setting without a meaning: if it does not arrive, the others do not either.
DIRECT = "cutout.direct"
POOLED = "cutout_pooled"
OFF = "0"


def support_pooler(engine: Engine, server_settings: Mapping[str, str]) -> None:
    """Let `engine` work through a pooler that takes no settings of a session (`ignore_startup_parameters`).

    Then no statement is prepared, times are in UTC, which PgBouncer keeps for each client, and the settings
    are made in each transaction. Statements that commit by themselves go without them; a warning is logged if
    the pooler sets no time limit of its own.
    """
    warned: set[str] = set()

    @event.listens_for(engine, "connect")
    def _detect(connection: psycopg.Connection, entry: ConnectionPoolEntry) -> None:
        with connection.cursor() as cursor:
            pooled = cursor.execute("SELECT current_setting(%s, true)", [DIRECT]).fetchone() != ("on",)
            entry.info[POOLED] = pooled
            if pooled:
                connection.prepare_threshold = None
                cursor.execute("SET TIME ZONE 'UTC'")
                if connection.autocommit:
                    _check_limits(cursor, server_settings, warned)
        if not connection.autocommit:
            connection.commit()

    @event.listens_for(engine, "begin")
    def _set(connection: Connection) -> None:
        raw = connection.connection.driver_connection
        if connection.connection.info.get(POOLED) and raw is not None and not raw.autocommit:
            with raw.cursor() as cursor:
                for name, value in server_settings.items():
                    cursor.execute("SELECT set_config(%s, %s, true)", [name, value])


def _check_limits(cursor: psycopg.Cursor, server_settings: Mapping[str, str], warned: set[str]) -> None:
    for name, value in server_settings.items():
        if name.endswith("_timeout") and name not in warned:
            warned.add(name)
            if cursor.execute("SELECT current_setting(%s)", [name]).fetchone() == (OFF,):
                log.warning(
                    "the pooler before Postgres sets no %s: add SET %s = '%s' to its connect_query",
                    name,
                    name,
                    value,
                )
