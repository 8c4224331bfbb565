"""Bring a database to the newest schema, or say how far it is from it."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

NEWEST = "head"
# Two processes may migrate at once: the second waits for this advisory lock and finds nothing left to do.
LOCK = 7_201_001


class UnknownSchemaError(Exception):
    """The database has a schema that this version cannot upgrade."""

    def __init__(self, current: str) -> None:
        super().__init__(
            f"the database has the schema {current}, which this version does not know; use the version that"
            " made it, or a new database"
        )


def upgrade(engine: Engine, revision: str = NEWEST) -> None:
    """Migrate up to `revision`. Raises UnknownSchemaError."""
    current = _current(engine)
    if current is not None and current not in _revisions()[1]:
        raise UnknownSchemaError(current)
    _with_lock(engine, command.upgrade, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down to `revision`; "base" empties the database."""
    _with_lock(engine, command.downgrade, revision)


def pending(engine: Engine) -> bool:
    """Whether the database lacks a migration that this program knows.

    A newer schema is not pending: what runs bears it, since `cutout migrate` goes first at an upgrade.
    """
    head, known = _revisions()
    current = _current(engine)
    return current != head and (current is None or current in known or current < head)


def _current(engine: Engine) -> str | None:
    """The database's revision, None without one. Alembic's own context logs two lines at each read."""
    with engine.connect() as connection:
        if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    """The newest revision, and all; their names are numbers of four digits."""
    scripts = ScriptDirectory.from_config(_config())
    return str(scripts.get_current_head()), frozenset(script.revision for script in scripts.walk_revisions())


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
