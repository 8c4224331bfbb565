"""Rows for tables that may be large, at whatever revision a table first exists."""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

import migrations
from migrations.operations import STEP_ROWS

# More than one statement may write.
ROWS = 2 * STEP_ROWS + 1_000
FORMS = "(ARRAY['rgba', 'mask', 'whiteBK', 'crop'])[1 + n % 4]"
STATEMENTS = {
    "batches": "INSERT INTO batches (name) SELECT 'batch ' || n FROM generate_series(1, :rows) n",
    "jobs": f"""
        INSERT INTO jobs (source, return_form, queue_state, virtual_start, created_at)
        SELECT 'https://shop.example/' || n || '.jpg', {FORMS}, 'ready', n, now() - n * interval '1 s'
        FROM generate_series(1, :rows) n
    """,  # noqa: S608 - constants
    "attempts": """
        WITH account AS (INSERT INTO accounts (name) VALUES ('account') RETURNING name)
        INSERT INTO attempts (job_id, number, fence, worker_id, account, image_sha256)
        SELECT jobs.id, 1, 1, jobs.id, account.name, '' FROM jobs, account
    """,
    "bought_results": f"""
        INSERT INTO bought_results (source_sha256, return_form, endpoint, preparation, bucket, scope, buyer)
        SELECT sha256(n::text::bytea), {FORMS}, 'https://endpoint.example/', 1, 'cutouts', '', uuidv7()
        FROM generate_series(1, :rows) n
    """,  # noqa: S608 - constants
    "deliveries": """
        INSERT INTO deliveries (url, type, payload)
        SELECT 'https://shop.example/hook', 'job.succeeded', '{}' FROM generate_series(1, :rows)
    """,
    "outputs": """
        INSERT INTO outputs (job_id, name, priority, recipe, bought_sha256)
        SELECT id, 'score', 1, 'score', '' FROM jobs
    """,
}
LARGE = tuple(STATEMENTS)


def revisions() -> list[str]:
    """All revisions, the initial one first."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def fill(engine: Engine) -> None:
    """Put ROWS rows into each table of STATEMENTS that exists and is empty."""
    with engine.begin() as connection:
        for table, statement in STATEMENTS.items():
            if _is_empty(connection, table):
                connection.execute(text(statement), {"rows": ROWS} if ":rows" in statement else {})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _is_empty(connection: Connection, table: str) -> bool:
    if connection.scalar(text("SELECT to_regclass(:table)"), {"table": table}) is None:
        return False
    return connection.scalar(text(f"SELECT NOT EXISTS (SELECT FROM {table})")) is True  # noqa: S608 - constants
