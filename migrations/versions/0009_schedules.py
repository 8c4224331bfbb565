"""schedules"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NEW_ID = sa.text("uuidv7()")
NOTHING = sa.text("0")
STATES = (
    "'waiting', 'ingesting', 'working', 'succeeded', 'partial', 'failed', 'over_budget', 'late', 'skipped'"
)
UNDER_WAY = "state IN ('ingesting', 'working')"


def upgrade() -> None:
    op.add_column("batches", sa.Column("opens_at", WHEN))
    op.add_column("batches", sa.Column("closes_at", WHEN))
    op.create_check_constraint(op.f("ck_batches_window_has_a_length"), "batches", "opens_at < closes_at")
    op.create_index(
        "ix_batches_closes_at", "batches", ["closes_at"], postgresql_where=sa.text("closes_at IS NOT NULL")
    )
    _create_schedules()
    _create_runs()


def _create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("producer_id", sa.Uuid()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("options", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("window_start", sa.Time()),
        sa.Column("window_end", sa.Time()),
        sa.Column("at_window_end", sa.Text(), server_default="wait", nullable=False),
        sa.Column("run_budget", sa.Integer()),
        sa.Column("month_budget", sa.Integer()),
        sa.Column("overlap", sa.Text(), server_default="skip", nullable=False),
        sa.Column("catch_up", sa.Text(), server_default="latest", nullable=False),
        sa.Column("jitter_seconds", sa.Integer(), server_default=NOTHING, nullable=False),
        sa.Column("grace_seconds", sa.Integer(), server_default=sa.text("300"), nullable=False),
        sa.Column("shrinks_to", sa.REAL(), server_default=sa.text("0.5"), nullable=False),
        sa.Column("webhook_url", sa.Text()),
        sa.Column("paused_at", WHEN),
        sa.Column("next_fire_at", WHEN, nullable=False),
        sa.Column("next_due_at", WHEN, nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("removed_at", WHEN),
        sa.CheckConstraint(
            "at_window_end IN ('wait', 'run_on')", name=op.f("ck_schedules_at_window_end_is_known")
        ),
        sa.CheckConstraint("overlap IN ('skip', 'queue')", name=op.f("ck_schedules_overlap_is_known")),
        sa.CheckConstraint(
            "catch_up IN ('skip', 'latest', 'all')", name=op.f("ck_schedules_catch_up_is_known")
        ),
        sa.CheckConstraint(
            "(window_start IS NULL) = (window_end IS NULL)", name=op.f("ck_schedules_window_has_two_ends")
        ),
        sa.CheckConstraint("window_start <> window_end", name=op.f("ck_schedules_window_has_a_length")),
        sa.CheckConstraint(
            "run_budget >= 0 AND month_budget >= 0", name=op.f("ck_schedules_budgets_are_not_negative")
        ),
        sa.CheckConstraint(
            "jitter_seconds >= 0 AND grace_seconds >= 0",
            name=op.f("ck_schedules_durations_are_not_negative"),
        ),
        sa.CheckConstraint(
            "shrinks_to >= 0 AND shrinks_to <= 1", name=op.f("ck_schedules_shrinks_to_is_a_share")
        ),
        sa.CheckConstraint("next_due_at >= next_fire_at", name=op.f("ck_schedules_due_at_its_time_or_later")),
        sa.ForeignKeyConstraint(["producer_id"], ["producers.id"], name=op.f("fk_schedules_producer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    op.create_index(
        "uq_schedules_producer_id_name",
        "schedules",
        ["producer_id", "name"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_schedules_next_due_at",
        "schedules",
        ["next_due_at"],
        postgresql_where=sa.text("paused_at IS NULL AND removed_at IS NULL"),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("fire_at", WHEN, nullable=False),
        sa.Column("due_at", WHEN, nullable=False),
        sa.Column("fired_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("batch_id", sa.Uuid()),
        sa.Column("closes_at", WHEN),
        sa.Column("even_if_shrunk", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("counts", JSONB()),
        sa.Column("started_at", WHEN),
        sa.Column("finished_at", WHEN),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_runs_state_is_known")),
        sa.CheckConstraint(
            "(state IN ('waiting', 'ingesting', 'working')) = (finished_at IS NULL)",
            name=op.f("ck_runs_ended_if_and_only_if_finished"),
        ),
        sa.CheckConstraint(
            "(batch_id IS NULL) = (started_at IS NULL)",
            name=op.f("ck_runs_begun_if_and_only_if_it_has_a_batch"),
        ),
        sa.CheckConstraint(
            "(state IN ('waiting', 'skipped')) = (batch_id IS NULL) OR state = 'failed'",
            name=op.f("ck_runs_only_what_was_begun_has_a_batch"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('skipped', 'failed', 'late') OR note IS NOT NULL",
            name=op.f("ck_runs_what_went_wrong_says_why"),
        ),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedules.id"], name=op.f("fk_runs_schedule_id")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_runs_batch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("schedule_id", "fire_at", name=op.f("uq_runs_schedule_id_fire_at")),
    )
    op.create_index(
        "uq_runs_schedule_id_under_way",
        "runs",
        ["schedule_id"],
        unique=True,
        postgresql_where=sa.text(UNDER_WAY),
    )
    op.create_index(
        "ix_runs_waiting",
        "runs",
        ["schedule_id", "fire_at"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_runs_batch_id", "runs", ["batch_id"], postgresql_where=sa.text("batch_id IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_table("runs")
    op.drop_table("schedules")
    op.drop_index("ix_batches_closes_at", "batches")
    op.drop_constraint(op.f("ck_batches_window_has_a_length"), "batches")
    op.drop_column("batches", "closes_at")
    op.drop_column("batches", "opens_at")
