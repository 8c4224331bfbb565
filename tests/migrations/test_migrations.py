from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from cutout.models.database import Base
from migrations import run
from migrations.run import UnknownSchemaError, downgrade, newer, pending, upgrade
from tests.migrations.filled import revisions
from tests.migrations.schema import COLUMNS, CONSTRAINTS, INDEXES, schema


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


ROUTINES = "SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
TRIGGERS = "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"


def test_a_migration_down_restores_functions_and_triggers(empty: Engine) -> None:
    """Functions and triggers after it are those of a database that never had the migration."""

    def routines() -> set[tuple[str, str]]:
        with empty.connect() as connection:
            return {
                (name, " ".join(definition.split()))
                for query in (ROUTINES, TRIGGERS)
                for name, definition in connection.execute(text(query))
            }

    upgrade(empty, "0028")
    before = routines()
    upgrade(empty, "0031")
    assert routines() != before
    downgrade(empty, "0028")
    assert routines() == before


DIGESTS = """
    INSERT INTO digests (batch_id, url, endpoint_ids, job)
    SELECT uuidv7(), url, ids::uuid[], job
    FROM (VALUES
        ('https://a.example/', NULL, 'webhook'),
        ('https://a.example/', '{00000000-0000-0000-0000-000000000001}', 'both'),
        (NULL, '{00000000-0000-0000-0000-000000000001}', 'endpoints')
    ) AS collected (url, ids, job)
"""


def test_a_migration_down_keeps_what_is_collected_for_webhooks(empty: Engine) -> None:
    """Jobs collected for endpoints alone go with them."""
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text(DIGESTS))
    downgrade(empty, "0030")
    with empty.connect() as connection:
        left = connection.scalars(text("SELECT job FROM digests ORDER BY id")).all()
    assert left == ["webhook", "both"]


def test_a_database_knows_whether_it_is_behind(empty: Engine) -> None:
    """Pending before the migration and not after it; a second run changes nothing."""
    assert pending(empty)
    upgrade(empty)
    assert not pending(empty)
    upgrade(empty)
    assert not pending(empty)


def test_files_have_the_names_of_their_revisions() -> None:
    """Programs know the newest schema by the names of the files, and import none of them."""
    known = revisions()
    assert run._revisions() == (known[-1], frozenset(known))
    assert known == sorted(known)


def test_a_schema_of_another_history_is_refused_by_its_name(empty: Engine) -> None:
    """A revision that this version does not know is neither upgraded nor taken for an empty one."""
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0026'"))
    with pytest.raises(UnknownSchemaError, match="the schema 0026, which this version does not know"):
        upgrade(empty)


def test_a_program_that_was_put_back_leaves_a_newer_schema(empty: Engine) -> None:
    """To the release before, the newest schema is nothing to do: neither pending nor an error."""
    upgrade(empty)
    with patched_head(), empty.connect() as connection:
        assert not pending(empty)
        assert newer(empty) == revisions()[-1]
        upgrade(empty)
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == revisions()[-1]
    assert newer(empty) is None


@contextmanager
def patched_head() -> Iterator[None]:
    """Migrations as the release before has them: without the last."""
    *known, _ = revisions()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_revisions", lambda: (known[-1], frozenset(known)))
        yield


def test_the_rows_that_programs_expect_exist_once_migrated(engine: Engine) -> None:
    """The queue's clock, the share of jobs without a producer and the bucket's breaker exist."""
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, virtual_time FROM queue_clock")).all() == [(1, 0.0)]
        assert connection.execute(text("SELECT virtual_time FROM shares")).all() == [(0.0,)]
        assert connection.execute(text("SELECT kind, opened_at FROM breaker")).all() == [("bucket", None)]
