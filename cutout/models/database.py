"""The connection to Postgres, and retries while it is unreachable."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError
from sqlalchemy.orm import DeclarativeBase, Session

from cutout.models.database_errors import is_unreachable, renew_connections
from cutout.models.database_errors import sqlstate as sqlstate_of
from cutout.models.pooler import DIRECT, support_pooler
from cutout.models.pools import MeasuredPool, know

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
# A paid result lives no longer.
A_DAY_S = 86_400.0
# Patience of a process that must end: from the request to stop, or from the begin of the call if later.
STOP_PATIENCE_S = 10.0
VANISHED_AFTER_S = 30

T = TypeVar("T")

# What a statement may raise while Postgres is unreachable; `Patience.wait_after` tells.
POSTGRES_ERRORS = (DBAPIError, NoConnectionFreeError)

# What a statement can be run on. A session costs twice a connection and keeps objects; a worker needs none.
Database = Session | Connection


class Base(DeclarativeBase):
    """The base of all mapped classes; names every constraint by one rule, as migrations need it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def connect(
    url: str,
    *,
    connections: int = 5,
    name: str = "cutout",
    check_first: bool = True,
    autocommit: bool = False,
    server_settings: Mapping[str, str] | None = None,
) -> Engine:
    """Create an engine that keeps up to `connections` open.

    `check_first` pings before each use; without it the caller repeats statements after a dead connection.
    `autocommit` commits each statement by itself and saves the two round trips of a transaction.
    `server_settings` are settings of Postgres for these sessions, their values without blanks.
    """
    chosen = {"timezone": "UTC", DIRECT: "on"} | dict(server_settings or {})
    engine = create_engine(
        url,
        poolclass=MeasuredPool,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=check_first,
        # Parameters hold result URLs, which are secrets; errors go to logs.
        hide_parameters=True,
        isolation_level="AUTOCOMMIT" if autocommit else "READ COMMITTED",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": name,
            "options": " ".join(f"-c {name}={value}" for name, value in chosen.items()),
            # A vanished server is noticed in half a minute instead of the kernel's two hours, or quarter of
            # an hour during a statement.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": VANISHED_AFTER_S * 1000,
        },
    )
    renew_connections(engine)
    support_pooler(engine, server_settings or {})
    know(engine, name)
    return engine


class PostgresAwayError(Exception):
    """Postgres was unreachable for longer than the caller could wait."""


def patiently(
    engine: Engine,
    work: Callable[[Connection], T],
    *,
    give_up_after_s: float = A_DAY_S,
    stopping: threading.Event | None = None,
    stop_patience_s: float = STOP_PATIENCE_S,
) -> T:
    """Run `work` on a connection, and repeat it while Postgres is unreachable.

    `work` must be safe to repeat: a statement whose reply was lost is run a second time.
    Raises PostgresAwayError after `give_up_after_s` seconds, or `stop_patience_s` after `stopping` was set.
    """
    patience = Patience(give_up_after_s, stopping, stop_patience_s)
    while True:
        try:
            with engine.connect() as connection:
                return work(connection)
        except POSTGRES_ERRORS as error:
            patience.wait_after(error)


def is_away(error: Exception) -> bool:
    """Whether the error says that Postgres cannot work now, and not that it refused the statement.

    Also true for PostgresAwayError.
    """
    return isinstance(error, PostgresAwayError) or is_unreachable(error)


def kind_of(error: Exception) -> str:
    """The error's class and SQLSTATE, for a log: its text may contain secrets."""
    kind, code = type(getattr(error, "orig", None) or error).__name__, sqlstate_of(error)
    return f"{kind} {code}" if code else kind


class Patience:
    """The waits between tries, growing up to LONGEST_DELAY_S."""

    def __init__(
        self,
        seconds: float,
        stopping: threading.Event | None = None,
        when_stopping_s: float = STOP_PATIENCE_S,
    ) -> None:
        self._stopping = stopping or threading.Event()
        self._when_stopping_s = when_stopping_s
        self._hurries = False
        self._ends_at = time.monotonic() + seconds
        self._delay = FIRST_DELAY_S
        self._hurry_if_stopping()

    def wait_after(self, error: Exception) -> None:
        """Wait before the next try, at most until the process stops.

        Raises the error itself unless it says that Postgres is unreachable, and PostgresAwayError once
        patience is over.
        """
        if not is_away(error):
            raise error
        self._hurry_if_stopping()
        kind = kind_of(error)
        if time.monotonic() + self._delay > self._ends_at:
            raise PostgresAwayError(f"Postgres is unreachable ({kind})") from error
        log.warning("Postgres is unreachable (%s), trying again in %.1f s", kind, self._delay)
        if self._hurries:
            time.sleep(self._delay)
        else:
            self._stopping.wait(self._delay)
        self._delay = min(self._delay * 2, LONGEST_DELAY_S)

    def _hurry_if_stopping(self) -> None:
        if self._stopping.is_set() and not self._hurries:
            self._hurries = True
            self._ends_at = min(self._ends_at, time.monotonic() + self._when_stopping_s)
            self._delay = FIRST_DELAY_S
