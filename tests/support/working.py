"""Signs of life of a dispatcher and a worker, without either."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

from cutout.queue.leader import LEADER_LOCK


@contextmanager
def somebody_works(engine: Engine) -> Iterator[None]:
    """A dispatcher's lock is held, and a worker's heart has just beaten."""
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO workers (host, pid) VALUES ('here', 1)"))
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LEADER_LOCK})
        yield
