"""Outputs: files made from one purchase. A call buys `bought_form`; the return form is derived from it.

Jobs and purchases of before keep their own form as the one that was bought.
"""

from pathlib import Path

from alembic import op

from migrations.operations import (
    add_check_not_valid,
    add_columns,
    create_index_concurrently,
    update_in_steps,
    validate,
)

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

SUBJECTS = sorted((Path(__file__).parent / "outputs").glob("*.sql"))


def upgrade() -> None:
    add_columns(
        "jobs",
        "bought_form text NOT NULL DEFAULT 'rgba'",
        "full_size boolean NOT NULL DEFAULT true",
        "renditions jsonb",
    )
    add_columns("batches", "outputs_pending boolean NOT NULL DEFAULT false", "renditions jsonb")
    update_in_steps(
        "jobs", "bought_form = return_form", "return_form <> 'rgba' AND bought_form <> return_form"
    )
    known, gives = "ck_jobs_bought_form_is_known", "ck_jobs_bought_form_gives_return_form"
    add_check_not_valid("jobs", known, "bought_form IN ('rgba', 'mask', 'whiteBK', 'crop')")
    add_check_not_valid("jobs", gives, "bought_form IN ('rgba', return_form)")
    validate("jobs", known)
    validate("jobs", gives)
    create_index_concurrently("ix_batches_outputs_pending", "batches", "id", where="outputs_pending")
    for subject in SUBJECTS:
        op.get_bind().exec_driver_sql(subject.read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute("DROP TRIGGER want_outputs ON jobs")
    op.execute("DROP TRIGGER announce_rendered_batch ON batches")
    op.execute("DROP TABLE outputs, renderers, calibrations")
    op.execute("DROP FUNCTION announce_rendered_batch, announce_outputs, want_outputs, add_outputs")
    op.execute("ALTER TABLE bought_results RENAME COLUMN bought_form TO return_form")
    op.execute(
        "ALTER TABLE bought_results"
        " RENAME CONSTRAINT ck_bought_results_bought_form_is_known TO ck_bought_results_return_form_is_known"
    )
    op.execute(
        "ALTER TABLE bought_results"
        " RENAME CONSTRAINT bought_results_bought_form_not_null TO bought_results_return_form_not_null"
    )
    op.execute("ALTER TABLE batches DROP COLUMN outputs_pending, DROP COLUMN renditions")
    op.execute("ALTER TABLE jobs DROP COLUMN bought_form, DROP COLUMN full_size, DROP COLUMN renditions")
