"""The tables. Constraints say what can never be, so that no code has to be trusted with it."""

import uuid
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from jobs.database import Base
from jobs.schedules.words import UNDER_WAY, UNFINISHED_RUNS, AtWindowEnd, CatchUp, Overlap, RunState
from jobs.scopes import Scope
from jobs.states import (
    FINAL_STATES,
    AttemptOutcome,
    Change,
    DeliveryState,
    Priority,
    ReturnForm,
    Standing,
    State,
    Step,
)

NEW_ID = text("uuidv7()")
NOW = text("now()")


def _one_of(column: str, values: object) -> str:
    words = ", ".join(f"'{value}'" for value in values)  # type: ignore[attr-defined]
    return f"{column} IN ({words})"


def _address(column: str) -> CheckConstraint:
    # An address without a host would keep what it belongs to from ever being told, and so from ending.
    return CheckConstraint(f"{column} ~ '^https?://[^/?#]+'", name=f"{column}_has_a_host")


def _array_of(values: object) -> str:
    words = ", ".join(f"'{value}'" for value in values)  # type: ignore[attr-defined]
    return f"ARRAY[{words}]"


class Producer(Base):
    """Who enqueues over HTTP, by keys of its own.

    Without `job_quota` it may have any number of unfinished jobs. `quota_taken` is never less than it has,
    but for jobs that were put back by hand; it is counted anew where it would stand in the way.
    `key_sha256` is what programs of the release before know a producer by.
    """

    __tablename__ = "producers"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    name: Mapped[str] = mapped_column(Text)
    key_sha256: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    last_place: Mapped[float] = mapped_column(Double, server_default=text("0"))
    job_quota: Mapped[int | None]
    quota_taken: Mapped[int] = mapped_column(server_default=text("0"))
    quota_counted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (CheckConstraint("job_quota >= 0 AND quota_taken >= 0", name="quota_is_not_negative"),)


class ApiKey(Base):
    """A producer's key, of which a hash is kept. `last_used_at` is true to the minute or so."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint(f"cardinality(scopes) > 0 AND scopes <@ {_array_of(Scope)}", name="scopes_are_known"),
        Index("ix_api_keys_producer_id", "producer_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("producers.id"))
    name: Mapped[str] = mapped_column(Text)
    key_sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class IdempotencyKey(Base):
    """What a POST was answered, kept with its effect in one transaction, for whoever sends it again."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    producer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("producers.id"), primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(SmallInteger)
    media_type: Mapped[str | None] = mapped_column(Text)
    location: Mapped[str | None] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class Batch(Base):
    """Jobs enqueued together. `last_place` is the place in line of its latest job.

    `spent` counts, once there is a budget, the calls that cost a credit or may: a call takes its credit here
    before it goes out. `parked` says that jobs of it were taken out of the line while it was paused or over
    its budget; `shift` is added to their places when they come back, so that nobody has to wait for it.
    Calls go out from `opens_at` until before `closes_at`, each without a bound if it is not set.
    """

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint("weight > 0", name="weight_is_positive"),
        CheckConstraint("budget >= 0 AND spent >= 0", name="budget_is_not_negative"),
        _address("webhook_url"),
        CheckConstraint("opens_at < closes_at", name="window_has_a_length"),
        Index("ix_batches_parked", "id", postgresql_where=text("parked")),
        Index("ix_batches_without_results", "id", postgresql_where=text("results_key IS NULL")),
        Index("ix_batches_closes_at", "closes_at", postgresql_where=text("closes_at IS NOT NULL")),
        Index("ix_batches_producer", "producer_id", "id", postgresql_where=text("producer_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    name: Mapped[str] = mapped_column(Text)
    weight: Mapped[float] = mapped_column(REAL, server_default=text("1"))
    last_place: Mapped[float] = mapped_column(Double, server_default=text("0"))
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    opens_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    closes_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reuse: Mapped[bool] = mapped_column(server_default=text("true"))
    results_key: Mapped[str | None] = mapped_column(Text)
    # Told by a trigger, in the transaction that writes `results_key`.
    webhook_url: Mapped[str | None] = mapped_column(Text)
    budget: Mapped[int | None]
    spent: Mapped[int] = mapped_column(server_default=text("0"))
    parked: Mapped[bool] = mapped_column(server_default=text("false"))
    shift: Mapped[float | None] = mapped_column(Double)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class Job(Base):
    """One picture's cutout.

    `fence` counts handings-out: the message carries it, the claim needs it, and every later write of
    that claim repeats it. `tries` counts what went wrong in the present step, never what had to wait.
    A deleted job is emptied and no longer its producer's; its row stays for the ledger.
    """

    __tablename__ = "jobs"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    batch_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("batches.id"))
    external_id: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    source_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    return_form: Mapped[ReturnForm] = mapped_column(Text, server_default=ReturnForm.RGBA)
    details: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    # Told by a trigger, in the transaction that makes the job final or held.
    webhook_url: Mapped[str | None] = mapped_column(Text)

    state: Mapped[State] = mapped_column(Text, server_default=State.QUEUED)
    step: Mapped[Step] = mapped_column(Text, server_default=Step.CALL)
    standing: Mapped[Standing | None] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text(str(int(Priority.NORMAL))))
    place: Mapped[float] = mapped_column(Double)
    scheduled_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    # No foreign key: a claim must not lock the row that carries its worker's heartbeat.
    worker_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)

    result_url: Mapped[str | None] = mapped_column(Text)
    result_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    sent_width: Mapped[int | None]
    sent_height: Mapped[int | None]
    lifeboat_key: Mapped[str | None] = mapped_column(Text)

    key: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    media_type: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    reused: Mapped[bool] = mapped_column(server_default=text("false"))

    code: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    # The W3C traceparent of the request that enqueued it, while traces are sent.
    trace: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        UniqueConstraint("batch_id", "external_id", "return_form"),
        CheckConstraint(_one_of("state", State), name="state_is_known"),
        CheckConstraint(_one_of("step", Step), name="step_is_known"),
        CheckConstraint(_one_of("standing", Standing), name="standing_is_known"),
        CheckConstraint(_one_of("return_form", ReturnForm), name="return_form_is_known"),
        CheckConstraint(
            f"({_one_of('state', sorted(FINAL_STATES))}) = (finished_at IS NOT NULL)",
            name="final_if_and_only_if_finished",
        ),
        CheckConstraint(
            "(state = 'queued') = (standing IS NOT NULL) OR state = 'held' AND standing = 'parked'",
            name="queued_if_and_only_if_standing",
        ),
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
        _address("webhook_url"),
        Index("ix_jobs_line", "step", "priority", "place", postgresql_where=text("standing = 'in_line'")),
        Index(
            "ix_jobs_copies",
            "result_expires_at",
            postgresql_where=text("standing = 'in_line' AND step = 'copy'"),
        ),
        Index(
            "ix_jobs_due",
            "standing",
            "scheduled_at",
            postgresql_where=text("standing IN ('handed_out', 'serving', 'resting')"),
        ),
        Index("ix_jobs_parked", "batch_id", "place", postgresql_where=text("standing = 'parked'")),
        Index("ix_jobs_running", "worker_id", postgresql_where=text("state = 'running'")),
        Index("ix_jobs_held", "code", "standing", postgresql_where=text("state = 'held'")),
        Index("ix_jobs_batch_state", "batch_id", "state", postgresql_where=text("batch_id IS NOT NULL")),
        # Producers list jobs by these two. Jobs that have no producer cost them nothing.
        Index("ix_jobs_producer", "producer_id", "id", postgresql_where=text("producer_id IS NOT NULL")),
        Index(
            "ix_jobs_producer_batch",
            "batch_id",
            "id",
            postgresql_where=text("producer_id IS NOT NULL AND batch_id IS NOT NULL"),
        ),
        # A job comes into the next two when it ends, not when it is enqueued.
        Index(
            "ix_jobs_finished",
            "batch_id",
            "finished_at",
            "id",
            postgresql_where=text("finished_at IS NOT NULL AND batch_id IS NOT NULL"),
        ),
        Index("ix_jobs_key", "key", postgresql_using="hash", postgresql_where=text("key IS NOT NULL")),
    )


class Attempt(Base):
    """One paid call that was begun: the ledger. Written before the request goes out.

    It begins as `unknown` without an end, which is the truth if its worker dies. `unknown_at` says when it
    was given up as unknown and stays, should its worker come back and tell; `lost_at` that what it paid for
    died before it was stored.
    """

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        CheckConstraint(_one_of("outcome", AttemptOutcome), name="outcome_is_known"),
        CheckConstraint("outcome = 'unknown' OR ended_at IS NOT NULL", name="a_known_outcome_has_an_end"),
        CheckConstraint("lost_at IS NULL OR outcome = 'charged'", name="only_what_was_paid_can_be_lost"),
        Index("ix_attempts_begun_at", "begun_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    number: Mapped[int] = mapped_column(SmallInteger)
    fence: Mapped[int]
    worker_id: Mapped[uuid.UUID] = mapped_column(Uuid)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    image_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    outcome: Mapped[AttemptOutcome] = mapped_column(Text, server_default=AttemptOutcome.UNKNOWN)
    begun_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    unknown_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    lost_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    http_status: Mapped[int | None] = mapped_column(SmallInteger)
    code: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    log_id: Mapped[str | None] = mapped_column(Text)


class Result(Base):
    """A cutout by what it was made of, bought once for all jobs by the job `buyer`.

    The primary key decides which of two jobs for the same picture calls. Until stored, it is its buyer's
    for as long as that job is under way.
    """

    __tablename__ = "results"
    __table_args__ = (
        CheckConstraint(_one_of("return_form", ReturnForm), name="return_form_is_known"),
        CheckConstraint(
            "(stored_at IS NULL) = (key IS NULL) AND (key IS NULL) = (sha256 IS NULL)",
            name="stored_under_a_key",
        ),
    )

    source_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    return_form: Mapped[ReturnForm] = mapped_column(Text, primary_key=True)
    endpoint: Mapped[str] = mapped_column(Text, primary_key=True)
    preparation: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    buyer: Mapped[uuid.UUID] = mapped_column(Uuid)
    key: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    media_type: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    stored_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Source(Base):
    """What is remembered of a picture on the web or in a bucket: it is fetched again only if it changed.

    `address_sha256` is of its address, `etag` and `last_modified` are its server's words.
    """

    __tablename__ = "sources"

    address_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    etag: Mapped[str | None] = mapped_column(Text)
    last_modified: Mapped[str | None] = mapped_column(Text)
    content_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class Ingest(Base):
    """How far the reading of a manifest into its batch has come; each chunk moves it on with its jobs.

    `records` were read, of which came `pictures` = `jobs` + `rejects` + `duplicates` + `unchanged`.
    `fingerprint` tells the same command from another, so that it goes on where it stopped.

    With a `source` it was requested: an ingester reads it, once `due_at`, and again after trouble that may
    pass. `error` says why it ended before all was read; `plan` what it will cost, if somebody must approve.
    """

    __tablename__ = "ingests"
    __table_args__ = (
        CheckConstraint("pictures = jobs + rejects + duplicates + unchanged", name="counts_add_up"),
        CheckConstraint("(source IS NULL) = (due_at IS NULL)", name="requested_if_and_only_if_due"),
        CheckConstraint("error IS NULL OR finished_at IS NOT NULL", name="an_error_ends_it"),
        Index(
            "ix_ingests_requested",
            "due_at",
            postgresql_where=text("source IS NOT NULL AND finished_at IS NULL"),
        ),
        Index(
            "uq_ingests_fingerprint_unfinished",
            "fingerprint",
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
        ),
    )

    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    kind: Mapped[str] = mapped_column(Text)
    source: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    error: Mapped[str | None] = mapped_column(Text)
    manifest_key: Mapped[str | None] = mapped_column(Text)
    rejects_key: Mapped[str | None] = mapped_column(Text)
    plan: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    options: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    records: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    pictures: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    jobs: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rejects: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    duplicates: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    unchanged: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    changes: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Picture(Base):
    """What a schedule remembers of a picture: its state when last seen, in which run's batch that was, and in
    which one it was last enqueued, and why.
    """

    __tablename__ = "pictures"
    __table_args__ = (CheckConstraint(_one_of("change", Change), name="change_is_known"),)

    schedule_id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    external_id: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[str | None] = mapped_column(Text)
    batch_id: Mapped[uuid.UUID] = mapped_column(Uuid)
    seen_in: Mapped[uuid.UUID] = mapped_column(Uuid)
    change: Mapped[Change] = mapped_column(Text)


class Schedule(Base):
    """A batch that repeats. Whoever fires its run moves `next_fire_at` on, if it is still what was read.

    `options` are of the order that each run makes; `next_due_at` is `next_fire_at` and its jitter. A source
    that has less than the share `shrinks_to` of the last run's pictures left is taken only by a run that is
    `even_if_shrunk`. A schedule that was removed keeps its row for its runs; one that never fires again is
    paused.
    """

    __tablename__ = "schedules"
    __table_args__ = (
        CheckConstraint(_one_of("at_window_end", AtWindowEnd), name="at_window_end_is_known"),
        CheckConstraint(_one_of("overlap", Overlap), name="overlap_is_known"),
        CheckConstraint(_one_of("catch_up", CatchUp), name="catch_up_is_known"),
        CheckConstraint("(window_start IS NULL) = (window_end IS NULL)", name="window_has_two_ends"),
        CheckConstraint("window_start <> window_end", name="window_has_a_length"),
        CheckConstraint("run_budget >= 0 AND month_budget >= 0", name="budgets_are_not_negative"),
        CheckConstraint("jitter_seconds >= 0 AND grace_seconds >= 0", name="durations_are_not_negative"),
        CheckConstraint("shrinks_to >= 0 AND shrinks_to <= 1", name="shrinks_to_is_a_share"),
        CheckConstraint("next_due_at >= next_fire_at", name="due_at_its_time_or_later"),
        Index(
            "uq_schedules_producer_id_name",
            "producer_id",
            "name",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index(
            "ix_schedules_next_due_at",
            "next_due_at",
            postgresql_where=text("paused_at IS NULL AND removed_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    name: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    options: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    cron: Mapped[str] = mapped_column(Text)
    zone: Mapped[str] = mapped_column(Text)
    window_start: Mapped[time | None] = mapped_column(Time)
    window_end: Mapped[time | None] = mapped_column(Time)
    at_window_end: Mapped[AtWindowEnd] = mapped_column(Text, server_default=AtWindowEnd.WAIT)
    run_budget: Mapped[int | None]
    month_budget: Mapped[int | None]
    overlap: Mapped[Overlap] = mapped_column(Text, server_default=Overlap.SKIP)
    catch_up: Mapped[CatchUp] = mapped_column(Text, server_default=CatchUp.LATEST)
    jitter_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    grace_seconds: Mapped[int] = mapped_column(server_default=text("300"))
    shrinks_to: Mapped[float] = mapped_column(REAL, server_default=text("0.5"))
    webhook_url: Mapped[str | None] = mapped_column(Text)
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    next_fire_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    next_due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    removed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Run(Base):
    """One firing of a schedule. The unique key makes it one, whoever fires and however often.

    `closes_at` is when its window ends; `counts` says at its end what came of it; `note` why it was skipped
    or failed, or what else there is to say.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("schedule_id", "fire_at"),
        CheckConstraint(_one_of("state", RunState), name="state_is_known"),
        CheckConstraint(
            f"({_one_of('state', UNFINISHED_RUNS)}) = (finished_at IS NULL)",
            name="ended_if_and_only_if_finished",
        ),
        CheckConstraint(
            "(batch_id IS NULL) = (started_at IS NULL)", name="begun_if_and_only_if_it_has_a_batch"
        ),
        CheckConstraint(
            "(state IN ('waiting', 'skipped')) = (batch_id IS NULL) OR state = 'failed'",
            name="only_what_was_begun_has_a_batch",
        ),
        CheckConstraint(
            "state NOT IN ('skipped', 'failed', 'late') OR note IS NOT NULL", name="what_went_wrong_says_why"
        ),
        Index(
            "uq_runs_schedule_id_under_way",
            "schedule_id",
            unique=True,
            postgresql_where=text(_one_of("state", UNDER_WAY)),
        ),
        Index("ix_runs_waiting", "schedule_id", "fire_at", postgresql_where=text("state = 'waiting'")),
        Index(
            "ix_runs_without_report",
            "id",
            postgresql_where=text("report_key IS NULL AND finished_at IS NOT NULL AND state <> 'skipped'"),
        ),
        Index("ix_runs_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    schedule_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("schedules.id"))
    fire_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    fired_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    state: Mapped[RunState] = mapped_column(Text, server_default=RunState.WAITING)
    batch_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("batches.id"))
    closes_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    even_if_shrunk: Mapped[bool] = mapped_column(server_default=text("false"))
    note: Mapped[str | None] = mapped_column(Text)
    counts: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    report_key: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Worker(Base):
    """A worker process. Silent for too long, or once it has left, its jobs are rescued."""

    __tablename__ = "workers"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    heartbeat_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    left_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Account(Base):
    """An API key at the endpoint, named by a fingerprint. Paused, no call of it goes out."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint(
            "(paused_at IS NULL) = (pause_code IS NULL) AND (paused_at IS NULL) = (probe_at IS NULL)",
            name="a_pause_has_a_reason_and_a_probe",
        ),
    )

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    pause_code: Mapped[str | None] = mapped_column(Text)
    pause_message: Mapped[str | None] = mapped_column(Text)
    probe_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    credits: Mapped[float | None] = mapped_column(Double)
    credits_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Limit(Base):
    """What was learned of an account's limit, and how it stood when the leading dispatcher last looked.

    `level` calls may be open, `top` is the ceiling found, None before the first slow answer; durations in
    seconds. Redis holds the limit itself; this is what it is restored from, and what people see.
    """

    __tablename__ = "limits"

    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"), primary_key=True)
    level: Mapped[float] = mapped_column(Double)
    top: Mapped[float | None] = mapped_column(Double)
    open_calls: Mapped[int]
    waiting: Mapped[int]
    calls_per_second: Mapped[float] = mapped_column(Double)
    latency_seconds: Mapped[float] = mapped_column(Double)
    slow_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    rests_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    circuit_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class Spending(Base):
    """Credits that calls of a day (UTC) cost or may have cost, counted while there is a budget for days."""

    __tablename__ = "spending"
    __table_args__ = (CheckConstraint("spent >= 0", name="spent_is_not_negative"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    spent: Mapped[int] = mapped_column(server_default=text("0"))


class CreditReading(Base):
    """What the endpoint said an account had left, to hold the ledger against."""

    __tablename__ = "credit_readings"
    __table_args__ = (Index("ix_credit_readings_account_read_at", "account", "read_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    read_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    balance: Mapped[float] = mapped_column(Double)


class Breaker(Base):
    """Whether the bucket takes cutouts. Open, no call goes out: never buy what cannot be stored. One row.

    `trips` counts the openings since storage last held for a while; each makes the next probe wait longer.
    """

    __tablename__ = "breaker"
    __table_args__ = (
        CheckConstraint("id = 1", name="there_is_one_bucket"),
        CheckConstraint(
            "(opened_at IS NULL) = (reason IS NULL) AND (opened_at IS NULL) = (probe_at IS NULL)",
            name="open_with_a_reason_and_a_probe",
        ),
    )

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    opened_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reason: Mapped[str | None] = mapped_column(Text)
    probe_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    trips: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))


class Line(Base):
    """The line's present time: the place of the job last handed out. Paused, no call goes out. One row."""

    __tablename__ = "line"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one_line"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    present: Mapped[float] = mapped_column(Double, server_default=text("0"))
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Delivery(Base):
    """A message to a producer's server. Its id is the `webhook-id`, the payload is signed as it stands here.

    `due_at` is also the fence: whoever sends moves it on first, and writes the answer down only if it is
    still what was set then. `tries` counts those begun since it was made or replayed.
    """

    __tablename__ = "deliveries"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    url: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(
        Text, Computed("lower(\"substring\"(url, '://([^/?#]+)'::text))", persisted=True)
    )
    type: Mapped[str] = mapped_column(Text)
    payload: Mapped[str] = mapped_column(Text)
    state: Mapped[DeliveryState] = mapped_column(Text, server_default=DeliveryState.WAITING)
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    give_up_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("(now() + '1 day'::interval)")
    )
    last_status: Mapped[int | None] = mapped_column(SmallInteger)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        _address("url"),
        CheckConstraint(_one_of("state", DeliveryState), name="state_is_known"),
        CheckConstraint(
            "(state = 'waiting') = (finished_at IS NULL)", name="waiting_if_and_only_if_not_finished"
        ),
        CheckConstraint("state <> 'given_up' OR last_error IS NOT NULL", name="given_up_says_why"),
        CheckConstraint("tries >= 0", name="tries_are_not_negative"),
        Index("ix_deliveries_due", "host", "due_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_deliveries_give_up_at", "give_up_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_deliveries_finished_at", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("ix_deliveries_producer_id_id", "producer_id", "id"),
        Index(
            "ix_deliveries_undelivered", "producer_id", "id", postgresql_where=text("state <> 'delivered'")
        ),
    )


class WebhookSecret(Base):
    """Which secret an owner's webhooks are signed with; without a row it is the first. No secret is kept.

    The owner is a producer, or the nil UUID for what belongs to none. The version before it signs as well
    until `overlap_until`.
    """

    __tablename__ = "webhook_secrets"
    __table_args__ = (CheckConstraint("version > 1", name="the_first_needs_no_row"),)

    owner: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    version: Mapped[int]
    overlap_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


# The same tables for statements on every job's way, where the mapping's work would be felt.
JOBS = cast("Table", Job.__table__)
BATCHES = cast("Table", Batch.__table__)
ATTEMPTS = cast("Table", Attempt.__table__)
ACCOUNTS = cast("Table", Account.__table__)
BREAKER = cast("Table", Breaker.__table__)
LINE = cast("Table", Line.__table__)
RESULTS = cast("Table", Result.__table__)
SOURCES = cast("Table", Source.__table__)
INGESTS = cast("Table", Ingest.__table__)
SCHEDULES = cast("Table", Schedule.__table__)
RUNS = cast("Table", Run.__table__)
LIMITS = cast("Table", Limit.__table__)
SPENDING = cast("Table", Spending.__table__)
WORKERS = cast("Table", Worker.__table__)
DELIVERIES = cast("Table", Delivery.__table__)
WEBHOOK_SECRETS = cast("Table", WebhookSecret.__table__)


def constant(word: StrEnum) -> ColumnElement[str]:
    """One of our words, written into a statement: a partial index serves only what the planner can read."""
    return literal_column(f"'{word}'", Text)
