"""The `jobs` table, its constraints and indexes."""

import uuid
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import FINAL_STATES, Priority, QueueState, ReturnForm, State, Step
from cutout.models.columns import NEW_ID, NOW, OWNER, address, one_of
from cutout.models.database import Base


class Job(Base):
    """One picture's cutout.

    `fence` counts dispatches: the message has it, the claim needs it, and every later write of that claim
    repeats it. `tries` counts failures in the present step, never delays for other reasons. A deleted job is
    emptied and has no producer; its row stays for the ledger. A job of a manifest has the line in which its
    record begins, and the source as written there (`manifest_source`; null if that is `source` itself), so
    that results go back to exactly that row.
    """

    __tablename__ = "jobs"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    batch_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("batches.id"))
    external_id: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    source_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    # The time since which its storage does not give the source; empty after any other outcome.
    source_failed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    return_form: Mapped[ReturnForm] = mapped_column(Text, server_default=ReturnForm.RGBA)
    # The form that a call asks for; the return form is derived from it where they differ.
    bought_form: Mapped[ReturnForm] = mapped_column(Text, server_default=ReturnForm.RGBA)
    # Whether its outputs are as large as the source.
    full_size: Mapped[bool] = mapped_column(server_default=text("true"))
    # The renditions asked for: {name: {"recipe": text, "file": template of the file's name}}.
    renditions: Mapped[dict[str, dict[str, str]] | None] = mapped_column(JSONB(none_as_null=True))
    details: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    # The producer's own pairs. SQLAlchemy reserves the name `metadata` in a class.
    metadata_: Mapped[dict[str, str] | None] = mapped_column("metadata", JSONB(none_as_null=True))
    # Return form and external id of a job that is unique among its producer's jobs.
    natural_key: Mapped[str | None] = mapped_column(Text)
    manifest_line: Mapped[int | None] = mapped_column(BigInteger)
    manifest_source: Mapped[str | None] = mapped_column(Text)
    # Notified by a trigger, in the transaction that makes the job final or held.
    webhook_url: Mapped[str | None] = mapped_column(Text)

    state: Mapped[State] = mapped_column(Text, server_default=State.QUEUED)
    step: Mapped[Step] = mapped_column(Text, server_default=Step.CALL)
    queue_state: Mapped[QueueState | None] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text(str(int(Priority.NORMAL))))
    virtual_start: Mapped[float] = mapped_column(Double)
    scheduled_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    # Of a `waiting` job: the job that buys the cutout of the same picture.
    waits_for: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    # Workers that died with it at its present step while no call of it was open: the job may be the cause.
    deaths: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    # No foreign key: a claim must not lock the row that carries its worker's heartbeat.
    worker_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    # The worker's number of heartbeats when it claimed the job; NULL if it had no row then.
    claimed_at_beat: Mapped[int | None]

    result_url: Mapped[str | None] = mapped_column(Text)
    result_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    sent_width: Mapped[int | None]
    sent_height: Mapped[int | None]
    lifeboat_key: Mapped[str | None] = mapped_column(Text)
    # The call that paid for the result; it stays when the result's URL is deleted.
    result_attempt: Mapped[int | None] = mapped_column(BigInteger)
    # Responses of the result's own server that it is gone; `tries` counts all failures.
    gone_tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    # Paid bytes that are no valid cutout: cutout/storage/unexpected_bytes.py.
    unexpected: Mapped[dict[str, Any] | None] = mapped_column(JSONB)

    key: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    media_type: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    warning: Mapped[str | None] = mapped_column(Text)
    reused: Mapped[bool] = mapped_column(server_default=text("false"))

    code: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    # The W3C traceparent of the request that enqueued it, while traces are sent.
    trace: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # From this time on no call of it begins; its state says how it ended.
    cancelled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # A person retried it: another held job for the same picture does not hold it any more.
    released_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        UniqueConstraint("batch_id", "external_id", "return_form"),
        CheckConstraint(one_of("state", State), name="state_is_known"),
        CheckConstraint(one_of("step", Step), name="step_is_known"),
        CheckConstraint(one_of("queue_state", QueueState), name="queue_state_is_known"),
        CheckConstraint(one_of("return_form", ReturnForm), name="return_form_is_known"),
        CheckConstraint(one_of("bought_form", ReturnForm), name="bought_form_is_known"),
        CheckConstraint("bought_form IN ('rgba', return_form)", name="bought_form_gives_return_form"),
        CheckConstraint(
            f"({one_of('state', sorted(FINAL_STATES))}) = (finished_at IS NOT NULL)",
            name="final_if_and_only_if_finished",
        ),
        CheckConstraint(
            "(state = 'queued') = (queue_state IS NOT NULL) OR state = 'held' AND queue_state = 'blocked'",
            name="queued_if_and_only_if_queue_state",
        ),
        CheckConstraint("queue_state <> 'waiting' OR waits_for IS NOT NULL", name="waits_for_somebody"),
        CheckConstraint(
            "(state = 'running') = (worker_id IS NOT NULL)", name="running_if_and_only_if_claimed"
        ),
        CheckConstraint(
            "(state = 'succeeded' AND deleted_at IS NULL) = (key IS NOT NULL)"
            " AND (key IS NULL) = (sha256 IS NULL)",
            name="succeeded_if_and_only_if_stored",
        ),
        CheckConstraint(
            "deleted_at IS NULL OR finished_at IS NOT NULL AND producer_id IS NULL AND external_id IS NULL",
            name="deleted_is_final_and_emptied",
        ),
        CheckConstraint(
            "state NOT IN ('failed', 'held') OR code IS NOT NULL", name="failed_and_held_say_why"
        ),
        CheckConstraint(
            "(result_url IS NULL) = (result_expires_at IS NULL) AND (step = 'copy' OR result_url IS NULL)",
            name="result_url_belongs_to_the_copy",
        ),
        CheckConstraint(
            "state <> 'succeeded' OR result_url IS NULL", name="result_url_is_forgotten_once_copied"
        ),
        CheckConstraint(
            "lifeboat_key IS NULL OR result_url IS NOT NULL", name="lifeboat_holds_a_paid_result"
        ),
        address("webhook_url"),
        # A queue for each producer and priority: see cutout/queue/producer_shares.py.
        Index(
            "ix_jobs_ready",
            "step",
            text(OWNER),
            "priority",
            "virtual_start",
            postgresql_where=text("queue_state = 'ready'"),
        ),
        Index(
            "ix_jobs_copies",
            "result_expires_at",
            postgresql_where=text("queue_state = 'ready' AND step = 'copy'"),
        ),
        Index(
            "ix_jobs_due",
            "queue_state",
            "scheduled_at",
            postgresql_where=text("queue_state IN ('dispatched', 'reusing', 'delayed')"),
        ),
        Index(
            "ix_jobs_waiting",
            "waits_for",
            "priority",
            "virtual_start",
            postgresql_where=text("queue_state = 'waiting'"),
        ),
        Index(
            "ix_jobs_source_limit",
            text(OWNER),
            "priority",
            "virtual_start",
            postgresql_where=text("queue_state = 'source_limit'"),
        ),
        # Each blocked job is in one of these two: blocked by its batch, or over its budget.
        Index(
            "ix_jobs_blocked",
            "batch_id",
            "virtual_start",
            postgresql_where=text("queue_state = 'blocked' AND code IS DISTINCT FROM 'OVER_BUDGET'"),
        ),
        Index(
            "ix_jobs_over_budget",
            "batch_id",
            "virtual_start",
            postgresql_where=text("queue_state = 'blocked' AND code = 'OVER_BUDGET'"),
        ),
        # By the end of the lease under which they were dispatched: see cutout/queue/snapshot_watermarks.py.
        Index("ix_jobs_running", "scheduled_at", postgresql_where=text("state = 'running'")),
        Index("ix_jobs_held", "code", "queue_state", postgresql_where=text("state = 'held'")),
        # Pictures that wait for a person, which are few.
        Index(
            "ix_jobs_held_pictures",
            "source_sha256",
            postgresql_where=text("state = 'held' AND queue_state IS NULL"),
        ),
        Index("ix_jobs_batch_state", "batch_id", "state", postgresql_where=text("batch_id IS NOT NULL")),
        # Producers list jobs by these two. Jobs without a producer are in neither.
        Index("ix_jobs_producer", "producer_id", "id", postgresql_where=text("producer_id IS NOT NULL")),
        Index(
            "ix_jobs_producer_batch",
            "batch_id",
            "id",
            postgresql_where=text("producer_id IS NOT NULL AND batch_id IS NOT NULL"),
        ),
        # A job is added to the next index when it ends, not when it is enqueued.
        Index(
            "ix_jobs_finished",
            "batch_id",
            "finished_at",
            "id",
            postgresql_where=text("finished_at IS NOT NULL AND batch_id IS NOT NULL"),
        ),
        # The failures of a day by reason, of all producers or one: counted by these columns alone.
        Index(
            "ix_jobs_failed",
            "finished_at",
            "id",
            "producer_id",
            "code",
            postgresql_where=text("state = 'failed' AND deleted_at IS NULL"),
        ),
        # Finds jobs that need an uploaded source; jobs with any other source are not in it.
        Index(
            "ix_jobs_uploaded",
            "source",
            postgresql_using="hash",
            postgresql_where=text("source ~ '^s3://[^/]+/sources/'"),
        ),
        Index(
            "uq_jobs_producer_id_natural_key",
            "producer_id",
            "natural_key",
            unique=True,
            postgresql_where=text("natural_key IS NOT NULL"),
        ),
        Index("ix_jobs_key", "key", postgresql_using="hash", postgresql_where=text("key IS NOT NULL")),
    )


JOBS = cast("Table", Job.__table__)
