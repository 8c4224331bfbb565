"""Errors that Postgres raises for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text


@contextmanager
def refusing(
    engine: Engine, state: str, on: str = "BEFORE UPDATE ON attempts", condition: str = "true"
) -> Iterator[None]:
    """Let Postgres raise this SQLSTATE for changes of the ledger, or such as these, in the context."""
    make = (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
    )
    with engine.begin() as connection:
        connection.execute(text(make))
        connection.execute(
            text(f"CREATE TRIGGER refuse {on} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()")
        )
    yield
    table = on.rsplit(maxsplit=1)[-1]
    with engine.begin() as connection:
        connection.execute(text(f"DROP TRIGGER refuse ON {table}"))
        connection.execute(text("DROP FUNCTION refuse"))
