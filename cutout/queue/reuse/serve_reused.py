"""Jobs that need no call are served by the parcel: nothing of them is claimed, one statement ends them all.

What their row is changed by says under which fence they were handed out, as a claim would.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnElement,
    Integer,
    Interval,
    LargeBinary,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    func,
    null,
    select,
    true,
    update,
)
from sqlalchemy.sql.selectable import TableValuedAlias

from cutout.enums import ReturnForm, Reuse, Standing, State, Step
from cutout.models import BATCHES, JOBS, RESULTS, constant
from cutout.models.database import Database
from cutout.queue.attempts.outcomes import Snooze, StoredObject
from cutout.queue.reuse import missing_results
from cutout.queue.reuse.identity import Making, is_own, owner_in
from cutout.queue.reuse.missing_results import STORED
from cutout.storage.object_keys import uploaded_sources
from cutout.text import cut

HandedOut = list[tuple[uuid.UUID, int]]
"""Ids and new fences, in order."""

SERVING = constant(Standing.SERVING)


@dataclass(frozen=True, slots=True)
class Shelf:
    """What jobs may be served from: cutouts made so, of sources that were uploaded into the same bucket.

    The address of such a source says what it is. Any other may have changed: a worker has to look first.
    """

    making: Making
    reuse: Reuse = Reuse.ALL

    def as_parameters(self) -> dict[str, Any]:
        """The values that IS_BOUGHT waits for."""
        return {
            "has_shelf": True,
            "uploaded": uploaded_sources(self.making.bucket),
            **{f"by_{name}": getattr(self.making, name) for name in MADE_BY},
            "by_scope": self.making.scope if self.reuse is Reuse.ALL else None,
        }


MADE_BY = ("endpoint", "preparation", "bucket")
NO_SHELF = {
    "has_shelf": False,
    "uploaded": "",
    "by_endpoint": "",
    "by_preparation": 0,
    "by_bucket": "",
    "by_scope": "",
}


@dataclass(frozen=True, slots=True)
class Bought:
    """A job in a parcel, and the cutout that was bought of its source.

    `missed` if the bucket was seen without it. A cutout that is not the producer's own is copied to a key of
    the job's, for which the job's own fields are here; `copied_to` is that key.
    """

    job_id: uuid.UUID
    fence: int
    source_sha256: bytes
    stored: StoredObject
    missed: bool = False
    is_own: bool = True
    return_form: ReturnForm = ReturnForm.RGBA
    producer_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None
    external_id: str | None = None
    copied_to: str | None = None


ITS_CONTENT = func.decode(func.substring(JOBS.c.source, bindparam("uploaded", type_=Text)), "hex")
# One scope of all, or that of the job's own producer.
ITS_SCOPE = func.coalesce(bindparam("by_scope", type_=Text), owner_in(JOBS))
ITS_RESULT = and_(
    RESULTS.c.source_sha256 == ITS_CONTENT,
    RESULTS.c.return_form == JOBS.c.return_form,
    *(RESULTS.c[name] == bindparam(f"by_{name}", type_=RESULTS.c[name].type) for name in MADE_BY),
    RESULTS.c.scope == ITS_SCOPE,
    RESULTS.c.key.is_not(None),
)
IS_BOUGHT: ColumnElement[bool] = and_(
    bindparam("has_shelf", type_=Boolean),
    select(RESULTS.c.buyer).where(ITS_RESULT).correlate(JOBS).exists(),
    ~select(BATCHES.c.id).where(BATCHES.c.id == JOBS.c.batch_id, ~BATCHES.c.reuse).exists(),
)


def _parcel(**more: Any) -> TableValuedAlias:
    """The rows that arrays of parameters stand for: ids, fences and what else is named with its type."""
    types = {"id": Uuid(), "fence": Integer()} | more
    arrays = [bindparam(f"its_{name}", type_=ARRAY(kind)) for name, kind in types.items()]
    columns = [Column(name, kind) for name, kind in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name="parcel").render_derived()


def _of(parcel: TableValuedAlias) -> ColumnElement[bool]:
    return and_(JOBS.c.id == parcel.c.id, JOBS.c.fence == parcel.c.fence, JOBS.c.standing == SERVING)


OF_THE_JOB = ("return_form", "producer_id", "batch_id", "external_id")
HANDED = _parcel()
FIND = (
    select(
        JOBS.c.id,
        JOBS.c.fence,
        RESULTS.c.source_sha256,
        RESULTS.c.missing_since,
        is_own().label("is_own"),
        *(JOBS.c[name] for name in OF_THE_JOB),
        *(RESULTS.c[name] for name in STORED),
    )
    .select_from(HANDED)
    .join(JOBS, _of(HANDED))
    .join(RESULTS, ITS_RESULT)
)

FOUND = _parcel(source_sha256=LargeBinary(), key=Text(), sha256=LargeBinary(), copied_to=Text())


def _serve() -> Update:
    # Locked: whoever deletes a cutout waits for these jobs to have it, or they find it gone.
    offered = (
        select(
            FOUND.c.id,
            FOUND.c.fence,
            FOUND.c.copied_to,
            RESULTS.c.source_sha256,
            *(RESULTS.c[name] for name in STORED),
        )
        .select_from(FOUND)
        .join(JOBS, _of(FOUND))
        .join(
            RESULTS,
            and_(
                ITS_RESULT,
                RESULTS.c.source_sha256 == FOUND.c.source_sha256,
                RESULTS.c.key == FOUND.c.key,
                RESULTS.c.sha256 == FOUND.c.sha256,
            ),
        )
        .with_for_update(read=True, key_share=True, of=RESULTS)
        .cte("offered")
    )
    return (
        update(JOBS)
        .where(
            JOBS.c.id == offered.c.id,
            JOBS.c.fence == offered.c.fence,
            JOBS.c.standing == SERVING,
            # A paid result that came late belongs to the copy.
            JOBS.c.step == constant(Step.CALL),
        )
        .values(
            state=constant(State.SUCCEEDED),
            standing=null(),
            finished_at=func.now(),
            code=null(),
            message=null(),
            reused=true(),
            source_sha256=offered.c.source_sha256,
            **{name: offered.c[name] for name in STORED if name != "key"},
            key=func.coalesce(offered.c.copied_to, offered.c.key),
        )
        .returning(JOBS.c.id)
    )


SERVE = _serve()
BACK_IN_LINE = update(JOBS).where(_of(HANDED)).values(standing=constant(Standing.IN_LINE))
REST = (
    update(JOBS)
    .where(_of(HANDED))
    .values(
        standing=constant(Standing.RESTING),
        scheduled_at=func.now() + bindparam("rest", type_=Interval),
        code=bindparam("why", type_=Text),
        message=bindparam("words", type_=Text),
    )
)
# Only what was found broken, and only once: another may have bought it anew since.
AS_IT_WAS = and_(
    JOBS.c.id == bindparam("its_job", type_=Uuid),
    ITS_RESULT,
    RESULTS.c.key == bindparam("its_key", type_=Text),
    RESULTS.c.sha256 == bindparam("its_sha256", type_=LargeBinary),
)
MARK = missing_results.mark(AS_IT_WAS)
DISOWN = missing_results.disown(AS_IT_WAS).values(buyer=JOBS.c.id)
FOUND_AGAIN = missing_results.found_again(AS_IT_WAS)


def find_bought(database: Database, handed_out: HandedOut, shelf: Shelf) -> list[Bought]:
    """What these jobs may be served from, without those whose job was taken or whose cutout is gone."""
    rows = database.execute(FIND, _parameters(handed_out) | shelf.as_parameters())
    return [
        Bought(
            row.id,
            row.fence,
            row.source_sha256,
            StoredObject(*(getattr(row, name) for name in STORED)),
            missed=row.missing_since is not None,
            is_own=row.is_own,
            return_form=ReturnForm(row.return_form),
            producer_id=row.producer_id,
            batch_id=row.batch_id,
            external_id=row.external_id,
        )
        for row in rows
    ]


def serve(database: Database, served: Sequence[Bought], shelf: Shelf) -> int:
    """End jobs whose cutouts the bucket was seen to hold; returns how many, the rest was taken meanwhile."""
    cutouts = {
        "its_source_sha256": [each.source_sha256 for each in served],
        "its_key": [each.stored.key for each in served],
        "its_sha256": [each.stored.sha256 for each in served],
        "its_copied_to": [each.copied_to for each in served],
    }
    handed_out = [(each.job_id, each.fence) for each in served]
    return len(database.scalars(SERVE, _parameters(handed_out) | cutouts | shelf.as_parameters()).all())


def put_back(database: Database, handed_out: HandedOut) -> None:
    """Put what was not served back in line, at once."""
    database.execute(BACK_IN_LINE, _parameters(handed_out))


def put_off(database: Database, handed_out: HandedOut, why: Snooze) -> None:
    """Let what cannot be served now rest."""
    words = {"rest": timedelta(seconds=why.seconds), "why": why.code, "words": cut(why.message)}
    database.execute(REST, _parameters(handed_out) | words)


def miss(database: Database, broken: Bought, shelf: Shelf) -> Snooze | None:
    """Note that the bucket does not hold this cutout as it was stored.

    None if it may be bought anew: back in line, this job does so.
    """
    parameters = _of_it(broken, shelf)
    row = database.execute(MARK, parameters).first()
    if row is None:
        return None
    key = broken.stored.key if broken.is_own else None
    wait = missing_results.why_wait(key, seen_before=row[0], seen_of_late=row[1])
    if wait is None:
        database.execute(DISOWN, parameters)
    return wait


def find_it_again(database: Database, found: Bought, shelf: Shelf) -> None:
    """Note that the bucket holds a cutout that was missing."""
    database.execute(FOUND_AGAIN, _of_it(found, shelf))


def _of_it(bought: Bought, shelf: Shelf) -> dict[str, Any]:
    stored = bought.stored
    of_it = {"its_job": bought.job_id, "its_key": stored.key, "its_sha256": stored.sha256}
    return of_it | shelf.as_parameters()


def _parameters(handed_out: HandedOut) -> dict[str, Any]:
    return {
        "its_id": [job_id for job_id, _ in handed_out],
        "its_fence": [fence for _, fence in handed_out],
    }
