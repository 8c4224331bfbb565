"""Alembic's entry: one connection, given by migrations.run or made from the settings."""

from alembic import context
from sqlalchemy import Connection

from cutout.models.database import Base, connect
from cutout.settings import read_settings


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with connect(read_settings().database_url.get_secret_value()).connect() as own:
        migrate(own)
