"""From lines to jobs: COPY into a table of this session's own, and from there those that are new."""

import uuid
from dataclasses import dataclass
from typing import cast

import psycopg
from sqlalchemy import (
    BigInteger,
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

from cutout.enums import JobMessages, QueueState, State
from cutout.ingest.chunks import Chunk
from cutout.ingest.id_conflicts import Conflict
from cutout.models import BATCHES, JOBS
from cutout.models.database_errors import is_unreachable
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

THE_BATCH = bindparam("batch", type_=BATCHES.c.id.type)
COUNT = bindparam("count", type_=BigInteger)

# First of all: approving and cancelling take the batch and its ingest in this order too.
LOCK_BATCH = select(BATCHES.c.id).where(BATCHES.c.id == THE_BATCH).with_for_update()

# A duplicate leaves its virtual start unused.
TAKE_PLACES = (
    update(BATCHES)
    .where(BATCHES.c.id == THE_BATCH)
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

ALIKE = (
    "external_id",
    "source",
    "source_sha256",
    "return_form",
    "priority",
    "details",
    "manifest_line",
    "manifest_source",
)
GIVEN = ("batch_id", "producer_id", "state", "queue_state", "code", "message", "webhook_url")
ADD_NEW = (
    insert_new(JOBS)
    .from_select(
        ["virtual_start", *ALIKE, *GIVEN],
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
                for name in ALIKE
            ),
            *(bindparam(name, type_=JOBS.c[name].type) for name in GIVEN),
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
            JOBS.c.batch_id == THE_BATCH,
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
# An older release did not write the lines down: its own rows are none.
CONFLICTS_WITH_ROWS = CONFLICTS.where(JOBS.c.manifest_line.is_not(None))


@dataclass(frozen=True, slots=True)
class Added:
    """What came of a chunk: how many jobs are new, and which pictures have the id of another one."""

    jobs: int = 0
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True)
class InitialState:
    """How new jobs stand: in line, or held until somebody approves of them."""

    state: State = State.QUEUED
    queue_state: QueueState = QueueState.READY
    code: str | None = None
    message: str | None = None

    @classmethod
    def awaiting_approval(cls) -> "InitialState":
        return cls(State.HELD, QueueState.BLOCKED, NEEDS_APPROVAL, MESSAGE)


def prepare(connection: Connection) -> None:
    """Make the staging table for this session. It is empty at the begin of every transaction."""
    # A connection of a pool may have been here before.
    connection.execute(text("DISCARD TEMP"))
    STAGED.create(connection, checkfirst=False)


def stage(connection: Connection, chunk: Chunk) -> None:
    """Copy a chunk's lines into the staging table, in the caller's transaction."""
    raw = cast("psycopg.Connection", connection.connection.driver_connection)
    try:
        with raw.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.write("".join(chunk.lines))
    except psycopg.Error as error:
        if not is_unreachable(error):
            raise
        # As SQLAlchemy would say it, past which this goes.
        connection.invalidate(error)
        raise DBAPIError(COPY, None, error, connection_invalidated=True) from error


def add_jobs(connection: Connection, batch_id: uuid.UUID, chunk: Chunk, queue_states: InitialState) -> Added:
    """Make jobs of a chunk, in order and with their virtual starts, in the caller's transaction.

    The batch has the others' external id and form already: for the same source, or for another one.
    """
    if not chunk.lines:
        return Added()
    stage(connection, chunk)
    connection.execute(LOCK_BATCH, {"batch": batch_id})
    counted = {"batch": batch_id, "count": len(chunk.lines)}
    last, weight, producer_id, webhook_url, top_priority = connection.execute(TAKE_PLACES, counted).one()
    added = connection.execute(
        ADD_NEW,
        {
            "count": len(chunk.lines),
            "last": last,
            "weight": weight,
            "top_priority": top_priority,
            "batch_id": batch_id,
            "producer_id": producer_id,
            "state": queue_states.state,
            "queue_state": queue_states.queue_state,
            "code": queue_states.code,
            "message": queue_states.message,
            "webhook_url": webhook_url,
        },
    )
    if added.rowcount == len(chunk.lines):
        return Added(added.rowcount)
    return Added(added.rowcount, _conflicts(connection, CONFLICTS, batch_id))


def find_conflicts(connection: Connection, batch_id: uuid.UUID, chunk: Chunk) -> tuple[Conflict, ...]:
    """Pictures of a chunk that was stored before whose id is another one's. Nothing is stored."""
    if not chunk.lines:
        return ()
    try:
        stage(connection, chunk)
        return _conflicts(connection, CONFLICTS_WITH_ROWS, batch_id)
    finally:
        connection.rollback()


def _conflicts(
    connection: Connection, statement: Select[*tuple[object, ...]], batch_id: uuid.UUID
) -> tuple[Conflict, ...]:
    return tuple(Conflict._make(row) for row in connection.execute(statement, {"batch": batch_id}))
