"""Bringing the database up to date."""

from cli.actor import asked
from cli.console import out
from cli.database import open_database, plain_errors
from cutout.actions.installation import record_migration
from migrations.run import newer, newest, pending, upgrade


def migrate() -> None:
    """Upgrade the database to the newest schema.

    It is safe to run it at every deployment, and twice at the same time. Programs that run meanwhile go on:
    it waits for a table that they use for a second at most, then lets them pass and tries again.
    """
    engine = open_database()
    with plain_errors():
        was_pending = pending(engine)
        upgrade(engine)
        later = newer(engine)
        if was_pending:
            record_migration(engine, asked(), newest())
    if later:
        out.print(f"the database has the schema {later} of a newer version, which this one works with")
    else:
        out.print("the database has the newest schema")
