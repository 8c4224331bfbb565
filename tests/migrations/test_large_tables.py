"""Migrations of tables that programs use meanwhile, and that may be large."""

import pytest
from sqlalchemy import Engine, text

from migrations.run import downgrade, upgrade
from tests.migrations.filled import ROWS, fill, revisions
from tests.migrations.schema import schema
from tests.migrations.statement_watch import watched

LATER = revisions()[1:]
# A program of the release before needs these columns: what a migration took from it, and why that is borne.
TAKEN_AWAY = {
    # Before the first release; docs/operate/upgrade.md says to stop the processes first.
    "0028": {("bought_results", "return_form")},
}
COLUMNS = text("""
    SELECT table_name, column_name, data_type, is_nullable = 'YES' OR column_default IS NOT NULL
        OR is_identity = 'YES' OR is_generated = 'ALWAYS'
    FROM information_schema.columns WHERE table_schema = 'public'
""")


def columns(engine: Engine) -> dict[tuple[str, str], tuple[str, bool]]:
    """Type of each column, and whether a row may leave it out."""
    with engine.connect() as connection:
        return {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(COLUMNS)}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX ON jobs (code)",
        "CREATE UNIQUE INDEX ON deliveries (id)",
        "ALTER TABLE jobs ADD CHECK (tries < 100)",
        "ALTER TABLE attempts ADD FOREIGN KEY (job_id) REFERENCES jobs(id)",
        "ALTER TABLE attempts ALTER COLUMN endpoint TYPE varchar(100)",
        "ALTER TABLE jobs ADD COLUMN seen_at timestamptz NOT NULL DEFAULT clock_timestamp()",
        "ALTER TABLE batches ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE jobs ALTER COLUMN created_at SET NOT NULL, ALTER COLUMN details SET NOT NULL",
        "ALTER TABLE jobs ADD CONSTRAINT a CHECK (true) NOT VALID;ALTER TABLE jobs VALIDATE CONSTRAINT a",
        "ALTER TABLE jobs ADD COLUMN note text; SELECT count(*) FROM deliveries",
        "ALTER TABLE jobs ADD COLUMN note text; CREATE INDEX ON deliveries (id)",
        "DO $$ BEGIN CREATE INDEX ON jobs (code); END $$",
        "UPDATE jobs SET warning = 'seen'",
        "LOCK TABLE jobs IN SHARE MODE; SELECT count(*) FROM jobs",
        "CLUSTER jobs USING pk_jobs",
    ],
)
def test_a_statement_that_makes_others_wait_is_seen(filled: Engine, statement: str) -> None:
    """The watch itself: it sees each statement that locks a large table for as long as it reads it."""
    if "details SET NOT NULL" in statement:
        with filled.begin() as connection:
            connection.execute(text("ALTER TABLE jobs DISABLE TRIGGER ALL"))
            connection.execute(text("UPDATE jobs SET details = '{}'"))
    with watched(filled) as faults, filled.begin() as connection:
        connection.exec_driver_sql(statement)
    assert faults


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE jobs ADD COLUMN note text, ADD COLUMN seen boolean NOT NULL DEFAULT false",
        "ALTER TABLE jobs ADD CHECK (tries < 100) NOT VALID",
        "ALTER TABLE jobs DROP COLUMN details",
        "CREATE TABLE notes (job_id uuid PRIMARY KEY REFERENCES jobs(id))",
        "UPDATE jobs SET warning = 'seen' WHERE id IN (SELECT id FROM jobs LIMIT 100)",
    ],
)
def test_a_short_statement_is_no_fault(filled: Engine, statement: str) -> None:
    """The watch itself: what needs a moment is not reported."""
    with watched(filled) as faults, filled.begin() as connection:
        connection.exec_driver_sql(statement)
    assert not faults


def test_no_migration_makes_others_wait(filled: Engine) -> None:
    """No later migration reads or rewrites a large table that it locks, or writes many rows at once."""
    for revision in LATER:
        with watched(filled) as faults:
            upgrade(filled, revision)
        assert not faults, f"migration {revision}: {faults}"
        fill(filled)


def test_a_program_of_the_release_before_finds_its_columns(filled: Engine) -> None:
    """A migration takes no column away, changes no type, adds none that an older INSERT must name."""
    for revision in LATER:
        before = columns(filled)
        upgrade(filled, revision)
        after = columns(filled)
        tables = {table for table, _ in before}
        assert before.keys() - after.keys() == TAKEN_AWAY.get(revision, set())
        for name, (kind, may_be_missing) in after.items():
            if name in before:
                assert (kind, may_be_missing or not before[name][1]) == (before[name][0], True), name
            elif name[0] in tables and name[0] not in {table for table, _ in TAKEN_AWAY.get(revision, ())}:
                assert may_be_missing, name


def test_large_tables_go_down_and_up_again(filled: Engine) -> None:
    """Each later migration can be taken back and made again with rows in all tables, and none is lost."""
    upgrade(filled)
    fill(filled)
    newest = schema(filled)
    for revision in reversed(revisions()[:-1]):
        downgrade(filled, revision)
    upgrade(filled)
    assert schema(filled) == newest
    with filled.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM jobs")) == ROWS


def test_jobs_of_before_keep_the_form_that_they_buy(filled: Engine) -> None:
    """Rows are written in steps, and each of them is."""
    upgrade(filled)
    with filled.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM jobs WHERE bought_form <> return_form")) == 0
        assert (
            connection.scalar(text("SELECT count(*) FROM jobs WHERE bought_form <> 'rgba'")) == ROWS * 3 / 4
        )
