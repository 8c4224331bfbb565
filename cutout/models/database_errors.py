"""Errors of Postgres by SQLSTATE: Postgres cannot work now, or it refuses the statement.

Psycopg's classes do not separate the two: for a server that became read-only it raises InternalError.
"""

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError

CLASSES = frozenset(
    {
        "08",  # the connection; also errors of PgBouncer itself
        "28",  # a password that is changed just now
        "40",  # serialization failure, deadlock
        "53",  # out of disk, memory or connections
        "57",  # shutdown, crash, recovery; a statement that a timeout or a person cancelled
        "58",  # the server's own files
    }
)
READ_ONLY = "25006"
IDLE_IN_TRANSACTION = "25P03"
TRANSACTION_TIMEOUT = "25P04"
IN_RECOVERY = "55000"
LOCK_TIMEOUT = "55P03"
# Through a pooler that changes the server's session between transactions.
NOT_PREPARED, PREPARED_ALREADY = "26000", "42P05"
POOLER = frozenset({NOT_PREPARED, PREPARED_ALREADY})
CODES = POOLER | {READ_ONLY, IDLE_IN_TRANSACTION, TRANSACTION_TIMEOUT, IN_RECOVERY, LOCK_TIMEOUT}
# A prepared statement whose tables were migrated meanwhile; its code is that of any unsupported feature.
STALE_PLAN = "RevalidateCachedQuery"


def is_unreachable(error: BaseException) -> bool:
    """Whether the error says that Postgres cannot work now, so that a retry may help.

    If it is frozen or its network is down, all connections of the engine wait for it and none is free.
    """
    if isinstance(error, NoConnectionFreeError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and is_unreachable(error.orig))
    return isinstance(error, psycopg.Error) and _is_unreachable(error)


def sqlstate(error: BaseException | None) -> str | None:
    """The SQLSTATE of the error, if it has one."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def renew_connections(engine: Engine) -> None:
    """Let `engine` drop its connections once one of them leads to a server that cannot serve them.

    A server that became a replica keeps its sessions: only a new connection finds the new primary. Behind a
    pooler that does not keep prepared statements, nothing is prepared after the first such error.
    """
    prepares = True

    @event.listens_for(engine, "handle_error")
    def _drop(context: ExceptionContext) -> None:
        nonlocal prepares
        code = sqlstate(context.original_exception)
        if code in POOLER:
            prepares = False
        if code in POOLER or code == READ_ONLY or _has_stale_plan(context.original_exception):
            context.is_disconnect = True

    @event.listens_for(engine, "connect")
    def _prepare_nothing(connection: psycopg.Connection, _record: object) -> None:
        if not prepares:
            connection.prepare_threshold = None


def _is_unreachable(error: psycopg.Error) -> bool:
    if error.sqlstate is None:
        # An error of the connection itself: refused, timed out, ended by the server.
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in CLASSES or error.sqlstate in CODES or _has_stale_plan(error)


def _has_stale_plan(error: BaseException) -> bool:
    return isinstance(error, psycopg.Error) and error.diag.source_function == STALE_PLAN
