"""Bringing the database up to date."""

from cli.console import out
from cli.database import open_database, plain_errors
from migrations.run import upgrade


def migrate() -> None:
    """Bring the database to the newest schema. Safe to run at every deploy, and twice at once."""
    with plain_errors():
        upgrade(open_database())
    out.print("the database has the newest schema")
