"""The connection to Postgres, and patience with it."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
# A paid result lives no longer.
A_DAY_S = 86_400.0

T = TypeVar("T")

# What a statement can be run on. A session costs twice a connection and keeps objects; a worker needs none.
Database = Session | Connection


class Base(DeclarativeBase):
    """Names every constraint by one rule, so that migrations stay calm."""

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
) -> Engine:
    """An engine that keeps up to `connections` open.

    `check_first` pings before each use; without it the caller repeats what a dead connection broke.
    `autocommit` commits each statement by itself and saves the two round trips of a transaction.
    """
    return create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=check_first,
        # Parameters hold result URLs, which are secrets; errors go to logs.
        hide_parameters=True,
        isolation_level="AUTOCOMMIT" if autocommit else "READ COMMITTED",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": name,
            "options": "-c timezone=UTC",
            # A vanished server is noticed in half a minute instead of the kernel's two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
        },
    )


def patiently(engine: Engine, work: Callable[[Connection], T], *, give_up_after_s: float = A_DAY_S) -> T:
    """Run `work` on a connection, again and again while Postgres is away.

    `work` must be safe to repeat: a statement whose answer was lost is run a second time.
    Raises the last error after `give_up_after_s` seconds.
    """
    deadline = time.monotonic() + give_up_after_s
    delay = FIRST_DELAY_S
    while True:
        try:
            with engine.connect() as connection:
                return work(connection)
        except DBAPIError as error:
            if not _is_away(error) or time.monotonic() + delay > deadline:
                raise
            log.warning("postgres is away (%s), trying again in %.1f s", type(error.orig).__name__, delay)
        time.sleep(delay)
        delay = min(delay * 2, LONGEST_DELAY_S)


def _is_away(error: DBAPIError) -> bool:
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
