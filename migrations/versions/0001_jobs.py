"""jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_code", sa.Text(), nullable=True),
        sa.Column("pause_message", sa.Text(), nullable=True),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(paused_at IS NULL) = (pause_code IS NULL) AND (paused_at IS NULL) = (probe_at IS NULL)",
            name=op.f("ck_accounts_a_pause_has_a_reason_and_a_probe"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_accounts")),
    )
    op.create_table(
        "line",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("present", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_line_there_is_one_line")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_line")),
    )
    op.execute("INSERT INTO line DEFAULT VALUES")
    op.create_table(
        "producers",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("last_place", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_producers")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_producers_key_sha256")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "heartbeat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("producer_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("weight", sa.REAL(), server_default=sa.text("1"), nullable=False),
        sa.Column("last_place", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("weight > 0", name=op.f("ck_batches_weight_is_positive")),
        sa.ForeignKeyConstraint(["producer_id"], ["producers.id"], name=op.f("fk_batches_producer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("producer_id", sa.Uuid(), nullable=True),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("return_form", sa.Text(), server_default="rgba", nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("step", sa.Text(), server_default="call", nullable=False),
        sa.Column("standing", sa.Text(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("place", sa.Double(), nullable=False),
        sa.Column(
            "scheduled_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("fence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.Column("result_url", sa.Text(), nullable=True),
        sa.Column("result_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_width", sa.Integer(), nullable=True),
        sa.Column("sent_height", sa.Integer(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.Integer(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(result_url IS NULL) = (result_expires_at IS NULL) AND (step = 'copy' OR result_url IS NULL)",
            name=op.f("ck_jobs_result_url_belongs_to_the_copy"),
        ),
        sa.CheckConstraint(
            "(state = 'queued') = (standing IS NOT NULL)", name=op.f("ck_jobs_queued_if_and_only_if_standing")
        ),
        sa.CheckConstraint(
            "(state = 'running') = (worker_id IS NOT NULL)",
            name=op.f("ck_jobs_running_if_and_only_if_claimed"),
        ),
        sa.CheckConstraint(
            "(state = 'succeeded') = (key IS NOT NULL) AND (key IS NULL) = (sha256 IS NULL)",
            name=op.f("ck_jobs_succeeded_if_and_only_if_stored"),
        ),
        sa.CheckConstraint(
            "(state IN ('cancelled', 'failed', 'succeeded')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_final_if_and_only_if_finished"),
        ),
        sa.CheckConstraint(
            "return_form IN ('rgba', 'mask', 'whiteBK', 'crop')", name=op.f("ck_jobs_return_form_is_known")
        ),
        sa.CheckConstraint(
            "standing IN ('in_line', 'handed_out', 'resting')", name=op.f("ck_jobs_standing_is_known")
        ),
        sa.CheckConstraint(
            "state <> 'succeeded' OR result_url IS NULL",
            name=op.f("ck_jobs_result_url_is_forgotten_once_copied"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'held', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_jobs_state_is_known"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('failed', 'held') OR code IS NOT NULL",
            name=op.f("ck_jobs_failed_and_held_say_why"),
        ),
        sa.CheckConstraint("step IN ('call', 'copy')", name=op.f("ck_jobs_step_is_known")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_jobs_batch_id")),
        sa.ForeignKeyConstraint(["producer_id"], ["producers.id"], name=op.f("fk_jobs_producer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint(
            "batch_id", "external_id", "return_form", name=op.f("uq_jobs_batch_id_external_id_return_form")
        ),
    )
    op.create_index(
        "ix_jobs_batch_state",
        "jobs",
        ["batch_id", "state"],
        unique=False,
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["standing", "scheduled_at"],
        unique=False,
        postgresql_where=sa.text("standing IN ('handed_out', 'resting')"),
    )
    op.create_index(
        "ix_jobs_line",
        "jobs",
        ["step", "priority", "place"],
        unique=False,
        postgresql_where=sa.text("standing = 'in_line'"),
    )
    op.create_index(
        "ix_jobs_running", "jobs", ["worker_id"], unique=False, postgresql_where=sa.text("state = 'running'")
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("image_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.Text(), server_default="unknown", nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("log_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome = 'unknown' OR ended_at IS NOT NULL", name=op.f("ck_attempts_a_known_outcome_has_an_end")
        ),
        sa.CheckConstraint(
            "outcome IN ('charged', 'not_charged', 'unknown')", name=op.f("ck_attempts_outcome_is_known")
        ),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_attempts_account")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("job_id", "number", name=op.f("uq_attempts_job_id_number")),
    )


def downgrade() -> None:
    op.drop_table("attempts")
    op.drop_index("ix_jobs_running", table_name="jobs", postgresql_where=sa.text("state = 'running'"))
    op.drop_index("ix_jobs_line", table_name="jobs", postgresql_where=sa.text("standing = 'in_line'"))
    op.drop_index(
        "ix_jobs_due", table_name="jobs", postgresql_where=sa.text("standing IN ('handed_out', 'resting')")
    )
    op.drop_index("ix_jobs_batch_state", table_name="jobs", postgresql_where=sa.text("batch_id IS NOT NULL"))
    op.drop_table("jobs")
    op.drop_table("batches")
    op.drop_table("workers")
    op.drop_table("producers")
    op.drop_table("line")
    op.drop_table("accounts")
