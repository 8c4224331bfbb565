from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from cutout.models.database import Base, connect
from local import LocalServices
from migrations.run import UnknownSchemaError, downgrade, pending, upgrade
from tests.conftest import url_of

# What Postgres itself says of a schema, whoever made it.
COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
"""
INDEXES = """
    SELECT tablename, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""


@pytest.fixture
def empty(services: LocalServices, admin: Engine) -> Iterator[Engine]:
    """A database without tables."""
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE empty"))
    engine = connect(url_of(services, "empty"))
    yield engine
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE empty WITH (FORCE)"))


def schema(engine: Engine) -> dict[str, set[tuple[object, ...]]]:
    with engine.connect() as connection:
        return {
            query: {tuple(row) for row in connection.execute(text(query))}
            for query in (COLUMNS, CONSTRAINTS, INDEXES)
        }


def test_migrations_make_what_the_models_say(empty: Engine, engine: Engine) -> None:
    """Columns, constraints and indexes of the migrated database are those of the models, to the letter."""
    Base.metadata.create_all(empty)
    migrated, modelled = schema(engine), schema(empty)
    for query in (COLUMNS, CONSTRAINTS, INDEXES):
        assert migrated[query] == modelled[query]
    assert len(migrated[COLUMNS]) > 50


def test_migrations_go_down_and_up_again(empty: Engine) -> None:
    """Down to nothing leaves no table, and up again gives the same schema."""
    upgrade(empty)
    first = schema(empty)
    downgrade(empty, "base")
    assert schema(empty) == {COLUMNS: set(), CONSTRAINTS: set(), INDEXES: set()}
    upgrade(empty)
    assert schema(empty) == first


def test_a_database_knows_whether_it_is_behind(empty: Engine) -> None:
    """Pending before the migration and not after it; a second run changes nothing."""
    assert pending(empty)
    upgrade(empty)
    assert not pending(empty)
    upgrade(empty)
    assert not pending(empty)


def test_a_schema_of_another_history_is_refused_by_its_name(empty: Engine) -> None:
    """A revision that this version does not know is neither upgraded nor taken for an empty one."""
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0026'"))
    with pytest.raises(UnknownSchemaError, match="the schema 0026, which this version does not know"):
        upgrade(empty)


def test_the_rows_that_programs_expect_exist_once_migrated(engine: Engine) -> None:
    """The queue's clock, the share of jobs without a producer and the bucket's breaker exist."""
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, virtual_time FROM queue_clock")).all() == [(1, 0.0)]
        assert connection.execute(text("SELECT virtual_time FROM shares")).all() == [(0.0,)]
        assert connection.execute(text("SELECT kind, opened_at FROM breaker")).all() == [("bucket", None)]
