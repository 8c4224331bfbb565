"""Bring a database to the newest schema, or say how far it is from it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

NEWEST = "head"
# Two processes may migrate at once: the second waits for this advisory lock and finds nothing left to do.
LOCK = 7_201_001


def upgrade(engine: Engine, revision: str = NEWEST) -> None:
    """Migrate up to `revision`."""
    _with_lock(engine, command.upgrade, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down to `revision`; "base" empties the database."""
    _with_lock(engine, command.downgrade, revision)


def pending(engine: Engine) -> bool:
    """Whether the database is not at the newest schema."""
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return current != ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _with_lock(engine: Engine, change: object, revision: str) -> None:
    config = _config()
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.commit()
        try:
            config.attributes["connection"] = connection
            change(config, revision)  # type: ignore[operator]
            connection.commit()
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
            connection.commit()
