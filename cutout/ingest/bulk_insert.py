"""Bulk insert of jobs: COPY into a temporary table of the session, then INSERT of the rows that are new."""

import uuid
from dataclasses import dataclass
from typing import cast

import psycopg
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    SmallInteger,
    Table,
    Text,
    and_,
    bindparam,
    case,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as insert_new
from sqlalchemy.exc import DBAPIError

from cutout.enums import JobMessages, QueueState, ReturnForm, State
from cutout.ingest.chunks import Chunk
from cutout.ingest.rejects import Conflict
from cutout.models import BATCHES, JOBS
from cutout.models.database_errors import is_unreachable
from cutout.outputs.options import OutputOptions
from cutout.producers.ceilings import top_priority_of
from cutout.queue.blocks.approval import MESSAGE, NEEDS_APPROVAL
from cutout.queue.fairness import last_start, start_before

STAGED = Table(
    "staged_jobs",
    MetaData(),
    Column("n", Integer),
    Column("external_id", Text),
    Column("source", Text),
    Column("source_sha256", LargeBinary),
    Column("return_form", Text),
    Column("priority", SmallInteger),
    Column("details", JSONB),
    Column("manifest_line", BigInteger),
    Column("manifest_source", Text),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)
COPY = f"COPY {STAGED.name} ({', '.join(STAGED.columns.keys())}) FROM STDIN"

BATCH_ID = bindparam("batch", type_=BATCHES.c.id.type)
COUNT = bindparam("count", type_=BigInteger)

# Locked first: approving and cancelling lock the batch and its ingest in this order too.
LOCK_BATCH = select(BATCHES.c.id).where(BATCHES.c.id == BATCH_ID).with_for_update()

# A duplicate leaves its virtual start unused.
ASSIGN_VIRTUAL_STARTS = (
    update(BATCHES)
    .where(BATCHES.c.id == BATCH_ID)
    .values(
        last_virtual_start=last_start(
            BATCHES.c.last_virtual_start, BATCHES.c.producer_id, COUNT, BATCHES.c.weight
        )
    )
    .returning(
        BATCHES.c.last_virtual_start,
        BATCHES.c.weight,
        BATCHES.c.producer_id,
        case((BATCHES.c.webhook_jobs != JobMessages.NONE, BATCHES.c.webhook_url)),
        top_priority_of(BATCHES.c.producer_id),
    )
)

STAGED_COLUMNS = (
    "external_id",
    "source",
    "source_sha256",
    "return_form",
    "priority",
    "details",
    "manifest_line",
    "manifest_source",
)
BATCH_VALUES = (
    *("batch_id", "producer_id", "state", "queue_state", "code", "message", "webhook_url"),
    "full_size",
)
BOUGHT_FORM = case((bindparam("derived", type_=Boolean), ReturnForm.RGBA), else_=STAGED.c.return_form)
ADD_NEW = (
    insert_new(JOBS)
    .from_select(
        ["virtual_start", *STAGED_COLUMNS, "bought_form", *BATCH_VALUES],
        select(
            start_before(
                bindparam("last", type_=JOBS.c.virtual_start.type),
                COUNT - 1 - STAGED.c.n,
                bindparam("weight", type_=JOBS.c.virtual_start.type),
            ),
            *(
                func.greatest(STAGED.c.priority, bindparam("top_priority", type_=JOBS.c.priority.type))
                if name == "priority"
                else STAGED.c[name]
                for name in STAGED_COLUMNS
            ),
            BOUGHT_FORM,
            *(bindparam(name, type_=JOBS.c[name].type) for name in BATCH_VALUES),
        ).order_by(STAGED.c.n),
    )
    .on_conflict_do_nothing(index_elements=["batch_id", "external_id", "return_form"])
    .execution_options(preserve_rowcount=True)
)

# Rows of one external id and form: with one source they are duplicates, with another they are conflicts.
CONFLICTS = (
    select(STAGED.c.manifest_line, STAGED.c.external_id, JOBS.c.manifest_line)
    .join_from(
        STAGED,
        JOBS,
        and_(
            JOBS.c.batch_id == BATCH_ID,
            JOBS.c.external_id == STAGED.c.external_id,
            JOBS.c.return_form == STAGED.c.return_form,
        ),
    )
    .where(
        func.coalesce(JOBS.c.manifest_source, JOBS.c.source)
        != func.coalesce(STAGED.c.manifest_source, STAGED.c.source)
    )
    .order_by(STAGED.c.n)
)
# An older release did not record the line of a job: its rows are not conflicts.
CONFLICTS_WITH_LINE = CONFLICTS.where(JOBS.c.manifest_line.is_not(None))


@dataclass(frozen=True, slots=True)
class Inserted:
    """Result of inserting a chunk: number of new jobs, and pictures whose id belongs to another picture."""

    jobs: int = 0
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True)
class InitialState:
    """State of new jobs: ready, or held until someone approves the batch."""

    state: State = State.QUEUED
    queue_state: QueueState = QueueState.READY
    code: str | None = None
    message: str | None = None

    @classmethod
    def awaiting_approval(cls) -> "InitialState":
        return cls(State.HELD, QueueState.BLOCKED, NEEDS_APPROVAL, MESSAGE)


def prepare(connection: Connection) -> None:
    """Create the staging table for this session. It is empty at the start of every transaction."""
    # A pooled connection may have created it before.
    connection.execute(text("DISCARD TEMP"))
    STAGED.create(connection, checkfirst=False)


def stage(connection: Connection, chunk: Chunk) -> None:
    """Copy a chunk's rows into the staging table, in the caller's transaction."""
    raw = cast("psycopg.Connection", connection.connection.driver_connection)
    try:
        with raw.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.write("".join(chunk.lines))
    except psycopg.Error as error:
        if not is_unreachable(error):
            raise
        # Raised as SQLAlchemy would raise it, because this statement bypasses SQLAlchemy.
        connection.invalidate(error)
        raise DBAPIError(COPY, None, error, connection_invalidated=True) from error


def insert_jobs(
    connection: Connection, batch_id: uuid.UUID, chunk: Chunk, initial: InitialState, outputs: OutputOptions
) -> Inserted:
    """Insert the jobs of a chunk, in order and with their virtual starts, in the caller's transaction.

    A row whose external id and form the batch already has is a duplicate if the source is equal, else a
    conflict.
    """
    if not chunk.lines:
        return Inserted()
    stage(connection, chunk)
    connection.execute(LOCK_BATCH, {"batch": batch_id})
    last, weight, producer_id, webhook_url, top_priority = connection.execute(
        ASSIGN_VIRTUAL_STARTS, {"batch": batch_id, "count": len(chunk.lines)}
    ).one()
    inserted = connection.execute(
        ADD_NEW,
        {
            "count": len(chunk.lines),
            "last": last,
            "weight": weight,
            "top_priority": top_priority,
            "batch_id": batch_id,
            "producer_id": producer_id,
            "state": initial.state,
            "queue_state": initial.queue_state,
            "code": initial.code,
            "message": initial.message,
            "webhook_url": webhook_url,
            "derived": outputs.derived,
            "full_size": outputs.full_size,
        },
    )
    if inserted.rowcount == len(chunk.lines):
        return Inserted(inserted.rowcount)
    return Inserted(inserted.rowcount, _conflicts(connection, CONFLICTS, batch_id))


def find_conflicts(connection: Connection, batch_id: uuid.UUID, chunk: Chunk) -> tuple[Conflict, ...]:
    """Find pictures of a stored chunk whose id belongs to another picture. Stores nothing."""
    if not chunk.lines:
        return ()
    try:
        stage(connection, chunk)
        return _conflicts(connection, CONFLICTS_WITH_LINE, batch_id)
    finally:
        connection.rollback()


def _conflicts(
    connection: Connection, statement: Select[*tuple[object, ...]], batch_id: uuid.UUID
) -> tuple[Conflict, ...]:
    return tuple(Conflict._make(row) for row in connection.execute(statement, {"batch": batch_id}))
