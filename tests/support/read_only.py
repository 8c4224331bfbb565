"""Postgres that answers and takes no writes, as a replica does, or one whose disk is full."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text


@contextmanager
def read_only(admin: Engine) -> Iterator[None]:
    """Every session of the server's takes no writes from now on, until the context ends."""
    # No transaction: ALTER SYSTEM takes none.
    engine = admin.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text("ALTER SYSTEM SET default_transaction_read_only = on"))
        connection.execute(text("SELECT pg_reload_conf()"))
        try:
            yield
        finally:
            connection.execute(text("ALTER SYSTEM RESET default_transaction_read_only"))
            connection.execute(text("SELECT pg_reload_conf()"))
            connection.execute(text("RESET default_transaction_read_only"))
