"""Bringing the database up to date."""

from cli.console import out
from cli.database import open_database, plain_errors
from migrations.run import upgrade


def migrate() -> None:
    """Upgrade the database to the newest schema.

    It is safe to run it at every deployment, and twice at the same time.
    """
    with plain_errors():
        upgrade(open_database())
    out.print("the database has the newest schema")
