"""Claiming: a renderer takes the due outputs of one purchase, from producers in turn, under a lease.

A renderer that dies loses its lease, and its outputs are due again; each claim counts as a try.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Interval, Row, Uuid, and_, bindparam, func, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from cutout.enums import OutputState, ReturnForm
from cutout.models import ATTEMPTS, JOBS, OUTPUTS, RESULTS, constant
from cutout.models.columns import OWNER
from cutout.queue.attempts.outcomes import StoredObject
from cutout.text import cut

# Outputs of one purchase that are claimed together; jobs without end may have bought it.
MOST_CLAIMED = 64
# One claim at a time: two at once could take outputs of one picture, and make the same thing twice.
CLAIM_LOCK = func.pg_advisory_xact_lock(func.hashtext("outputs"))

NIL_UUID, LAST_UUID = uuid.UUID(int=0), 2**128 - 1
WAITING = constant(OutputState.WAITING)
# Due outputs of one producer among which a picture is looked for that no renderer holds.
MOST_PASSED = 500

IS_DUE = and_(OUTPUTS.c.state == WAITING, OUTPUTS.c.due_at <= func.now())
# The next due output of a producer. Its picture must not be under way: another renderer makes outputs of it,
# or one is delayed.
DUE_OF_OWNER = f"""
    SELECT front.producer_id, front.bought_sha256, front.source_sha256
    FROM (
        SELECT producer_id, bought_sha256, source_sha256 FROM outputs
        WHERE state = 'waiting' AND {OWNER} = owners.owner AND due_at <= now()
        ORDER BY priority, due_at LIMIT {MOST_PASSED}
    ) AS front
    WHERE owners.owner IS DISTINCT FROM :but AND NOT EXISTS (
        SELECT FROM producers WHERE producers.id = owners.owner AND producers.suspended_at IS NOT NULL
    ) AND NOT EXISTS (
        SELECT FROM outputs AS other
        WHERE other.bought_sha256 = front.bought_sha256 AND other.state = 'waiting'
        AND other.due_at > now() AND other.source_sha256 IS NOT DISTINCT FROM front.source_sha256
        AND other.producer_id IS NOT DISTINCT FROM front.producer_id
    )
    LIMIT 1
"""  # noqa: S608 - constants
NEXT_OWNER = f"SELECT {OWNER} FROM outputs WHERE state = 'waiting' AND {OWNER} %s ORDER BY {OWNER} LIMIT 1"  # noqa: S608
# Producers from `first` on, by a probe of the index each, until one has an output that is due.
NEXT = text(
    f"""
    WITH RECURSIVE turns AS (
        SELECT owners.owner, due.*
        FROM (SELECT ({NEXT_OWNER % ">= :first"}) AS owner) AS owners
        LEFT JOIN LATERAL ({DUE_OF_OWNER}) AS due ON true
        UNION ALL
        SELECT owners.owner, due.*
        FROM turns CROSS JOIN LATERAL (SELECT ({NEXT_OWNER % "> turns.owner"}) AS owner) AS owners
        LEFT JOIN LATERAL ({DUE_OF_OWNER}) AS due ON true
        WHERE turns.owner IS NOT NULL AND turns.bought_sha256 IS NULL
    )
    SELECT producer_id, bought_sha256, source_sha256 FROM turns WHERE bought_sha256 IS NOT NULL
    """  # noqa: S608
).bindparams(bindparam("first", type_=Uuid), bindparam("but", type_=Uuid))
LEASE_END = func.now() + bindparam("lease", type_=Interval)


@dataclass(frozen=True, slots=True)
class ClaimedOutput:
    """An output that a renderer holds. `file` is the template of its file's name, if it has one.

    `bought_key` is the key of its own job's bought object.
    The fields of its job are those that its key and its file's name are made of.
    """

    job_id: uuid.UUID
    name: str
    recipe: str
    file: str | None
    tries: int
    fence: int
    batch_id: uuid.UUID | None
    producer_id: uuid.UUID | None
    external_id: str | None
    details: dict[str, str] | None
    return_form: ReturnForm
    bought_key: str


@dataclass(frozen=True, slots=True)
class ClaimedPicture:
    """The claimed outputs of one purchase: what was bought, its source, and the hash of what was sent."""

    producer_id: uuid.UUID | None
    bought: StoredObject
    source: str
    source_sha256: bytes | None
    image_sha256: bytes | None
    outputs: tuple[ClaimedOutput, ...]

    @property
    def was_sent_as_it_is(self) -> bool:
        """Whether the source itself was sent: then the bought picture has its size."""
        return self.image_sha256 is not None and self.image_sha256 == self.source_sha256


def claim_picture(
    connection: Connection, last_owner: uuid.UUID | None, lease: timedelta
) -> ClaimedPicture | None:
    """Claim the due outputs of one purchase, of the producer after `last_owner`; None if none is due."""
    with connection.begin():
        connection.execute(select(CLAIM_LOCK))
        picture = _next(connection, last_owner)
        if picture is None:
            return None
        rows = connection.execute(_take(picture), {"lease": lease}).all()
        if not rows:
            return None
        return _describe(connection, rows)


def renew(connection: Connection, outputs: Sequence[ClaimedOutput], lease: timedelta) -> int:
    """Renew the lease of these outputs; returns how many are still held."""
    with connection.begin():
        return sum(
            connection.execute(
                update(OUTPUTS).where(is_held(output)).values(due_at=LEASE_END), {"lease": lease}
            ).rowcount
            for output in outputs
        )


def release(
    connection: Connection,
    outputs: Sequence[ClaimedOutput],
    delay: timedelta,
    reason: tuple[str, str] | None = None,
) -> None:
    """Give outputs back that were not made for a reason outside them, as (code, message): no try is used."""
    given = {} if reason is None else {"code": reason[0], "message": cut(reason[1])}
    with connection.begin():
        for output in outputs:
            connection.execute(
                update(OUTPUTS)
                .where(is_held(output))
                .values(due_at=func.now() + delay, tries=OUTPUTS.c.tries - 1, **given)
            )


def is_held(output: ClaimedOutput) -> ColumnElement[bool]:
    """Whether the claim of this output is still valid."""
    return and_(
        OUTPUTS.c.job_id == output.job_id,
        OUTPUTS.c.name == output.name,
        OUTPUTS.c.fence == output.fence,
        OUTPUTS.c.state == WAITING,
    )


def others_wait(connection: Connection, owner: uuid.UUID | None) -> bool:
    """Whether another producer has an output that a renderer could claim now."""
    with connection.begin():
        return _next(connection, None, but=owner or NIL_UUID) is not None


def _next(
    connection: Connection, last_owner: uuid.UUID | None, *, but: uuid.UUID | None = None
) -> Row[*tuple[Any, ...]] | None:
    firsts = [NIL_UUID]
    if last_owner is not None and last_owner.int < LAST_UUID:
        firsts.insert(0, uuid.UUID(int=last_owner.int + 1))
    for first in firsts:
        found = connection.execute(NEXT, {"first": first, "but": but}).first()
        if found is not None:
            return found
    return None


def _take(picture: Row[*tuple[Any, ...]]) -> Any:
    some = (
        select(OUTPUTS.c.job_id, OUTPUTS.c.name)
        .where(
            IS_DUE,
            OUTPUTS.c.bought_sha256 == picture.bought_sha256,
            OUTPUTS.c.source_sha256.is_not_distinct_from(picture.source_sha256),
            OUTPUTS.c.producer_id.is_not_distinct_from(picture.producer_id),
        )
        .order_by(OUTPUTS.c.priority, OUTPUTS.c.due_at)
        .limit(MOST_CLAIMED)
        .with_for_update(skip_locked=True)
        .cte("some")
    )
    return (
        update(OUTPUTS)
        .where(OUTPUTS.c.job_id == some.c.job_id, OUTPUTS.c.name == some.c.name)
        .values(tries=OUTPUTS.c.tries + 1, fence=OUTPUTS.c.fence + 1, due_at=LEASE_END)
        .returning(
            *(OUTPUTS.c[name] for name in ("job_id", "name", "recipe", "file", "tries", "fence", "priority"))
        )
    )


FIELDS = ("batch_id", "producer_id", "external_id", "details")
STORED = ("key", "sha256", "media_type", "size_bytes", "width", "height")
JOBS_OF_CLAIM = select(
    JOBS.c.id,
    JOBS.c.source,
    JOBS.c.source_sha256,
    JOBS.c.reused,
    JOBS.c.result_attempt,
    JOBS.c.return_form,
    *(JOBS.c[name] for name in (*FIELDS, *STORED)),
)


def _describe(connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]]) -> ClaimedPicture:
    jobs = {
        row.id: row
        for row in connection.execute(JOBS_OF_CLAIM.where(JOBS.c.id.in_({row.job_id for row in rows})))
    }
    first = jobs[rows[0].job_id]
    outputs = tuple(
        ClaimedOutput(
            row.job_id,
            row.name,
            row.recipe,
            row.file,
            row.tries,
            row.fence,
            **{name: getattr(jobs[row.job_id], name) for name in FIELDS},
            return_form=ReturnForm(jobs[row.job_id].return_form),
            bought_key=jobs[row.job_id].key,
        )
        for row in sorted(rows, key=lambda row: (row.priority, row.name))
    )
    return ClaimedPicture(
        first.producer_id,
        StoredObject(*(getattr(first, name) for name in STORED)),
        first.source,
        first.source_sha256,
        _image_sha256(connection, first),
        outputs,
    )


def _image_sha256(connection: Connection, job: Row[*tuple[Any, ...]]) -> bytes | None:
    """The hash of the picture that was sent for this purchase; None if it is not known."""
    of_purchase = (
        select(RESULTS.c.image_sha256)
        .where(
            RESULTS.c.source_sha256 == job.source_sha256,
            RESULTS.c.sha256 == job.sha256,
            RESULTS.c.image_sha256.is_not(None),
        )
        .limit(1)
    )
    of_call = select(ATTEMPTS.c.image_sha256).where(ATTEMPTS.c.id == job.result_attempt)
    found: bytes | None = connection.scalar(of_purchase if job.reused else of_call)
    return found
