"""Alembic's entry: one connection, given by migrations.run or made from the settings."""

from alembic import context
from sqlalchemy import Connection

from cutout.models.database import Base, connect
from cutout.settings import read_settings
from migrations.lock_waits import WITHOUT_END, set_lock_timeout


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    set_lock_timeout(connection)
    connection.commit()
    try:
        with context.begin_transaction():
            context.run_migrations()
    finally:
        connection.rollback()
        set_lock_timeout(connection, WITHOUT_END)
        connection.commit()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with connect(read_settings().database_url.get_secret_value()).connect() as own:
        migrate(own)
