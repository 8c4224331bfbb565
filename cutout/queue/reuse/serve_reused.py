"""Reusing: jobs that need no call are completed without a claim, all jobs of a message by one statement.

Every UPDATE repeats the fence the job was dispatched under, so no claim is needed.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    not_,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.sql.selectable import TableValuedAlias

from cutout.enums import ReturnForm, Reuse, State
from cutout.models import JOBS, RESULTS, SOURCES, constant
from cutout.models.columns import CALL_STEP, DELAYED, READY, REUSING
from cutout.models.database import Database
from cutout.queue.attempts.outcomes import Snooze, StoredObject
from cutout.queue.blocks.conditions import BATCH_FORBIDS_REUSE
from cutout.queue.blocks.download_limit import is_on_the_web
from cutout.queue.reuse import missing_results
from cutout.queue.reuse.identity import Recipe, is_own, owner_in
from cutout.queue.reuse.known_content import CONTENT_SHA256, IS_REMEMBERED
from cutout.queue.reuse.missing_results import STORED
from cutout.queue.reuse.source_validators import SourceValidator
from cutout.storage.object_keys import uploaded_sources
from cutout.text import cut

Dispatched = list[tuple[uuid.UUID, int]]
"""Ids and new fences, in order."""


@dataclass(frozen=True, slots=True)
class ReuseScope:
    """The cutouts that jobs may reuse: of one recipe, and of sources whose content is known.

    The address of an uploaded source contains its SHA-256. A source on the web may have changed: a worker
    asks its server first. Any other one is fetched.
    """

    recipe: Recipe
    reuse: Reuse = Reuse.ALL

    def as_parameters(self) -> dict[str, Any]:
        """The parameters of IS_BOUGHT."""
        return {
            "may_reuse": True,
            "uploaded": uploaded_sources(self.recipe.bucket),
            **{f"by_{name}": getattr(self.recipe, name) for name in RECIPE_PARTS},
            "by_scope": self.recipe.scope if self.reuse is Reuse.ALL else None,
        }


# The delay of a job whose message waits for others that ask servers: it comes in a message again.
MESSAGES_BUSY = "MESSAGES_BUSY"
RECIPE_PARTS = ("endpoint", "preparation", "bucket")
NO_REUSE = {
    "may_reuse": False,
    "uploaded": "",
    "by_endpoint": "",
    "by_preparation": 0,
    "by_bucket": "",
    "by_scope": "",
}


@dataclass(frozen=True, slots=True)
class ReusableJob:
    """A job of a message, and the cutout that was bought for its source.

    `stored_at` is when it was stored; `missed`: the bucket was seen without it. A cutout of another producer
    is copied to a key of the job's own, `copied_to`, which is made of the job's fields here. The cutout is
    served only if the server of `address`, if there is one, says that the source is unchanged.
    """

    job_id: uuid.UUID
    fence: int
    source_sha256: bytes
    stored: StoredObject
    stored_at: datetime
    missed: bool = False
    is_own: bool = True
    return_form: ReturnForm = ReturnForm.RGBA
    bought_form: ReturnForm = ReturnForm.RGBA
    producer_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None
    external_id: str | None = None
    copied_to: str | None = None
    address: str | None = None
    validator: SourceValidator | None = None


# The shared scope, or that of the job's own producer.
SCOPE = func.coalesce(bindparam("by_scope", type_=Text), owner_in(JOBS))
IS_RESULT_OF_JOB = and_(
    RESULTS.c.source_sha256 == CONTENT_SHA256,
    RESULTS.c.bought_form == JOBS.c.bought_form,
    *(RESULTS.c[name] == bindparam(f"by_{name}", type_=RESULTS.c[name].type) for name in RECIPE_PARTS),
    RESULTS.c.scope == SCOPE,
    RESULTS.c.key.is_not(None),
)
IS_BOUGHT: ColumnElement[bool] = and_(
    bindparam("may_reuse", type_=Boolean),
    select(RESULTS.c.buyer).where(IS_RESULT_OF_JOB).correlate(JOBS).exists(),
    ~BATCH_FORBIDS_REUSE,
    # A source on the web is asked for in a message once, and again if too many messages asked servers then.
    or_(not_(is_on_the_web(JOBS.c.source)), JOBS.c.code.is_(None), JOBS.c.code == MESSAGES_BUSY),
)


def _message(**more: Any) -> TableValuedAlias:
    """A table made of array parameters: ids, fences and further columns, given by name and type."""
    types = {"id": Uuid(), "fence": Integer()} | more
    arrays = [bindparam(f"their_{name}", type_=ARRAY(kind)) for name, kind in types.items()]
    columns = [Column(name, kind) for name, kind in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name="message").render_derived()


# An expression, which matches no index: the planner expects hardly any job in this state, and would read all
# of them from the index of due jobs for each job of the message.
IS_REUSING = func.concat(JOBS.c.queue_state) == REUSING


def _is_in(message: TableValuedAlias) -> ColumnElement[bool]:
    return and_(JOBS.c.id == message.c.id, JOBS.c.fence == message.c.fence, IS_REUSING)


JOB_FIELDS = ("return_form", "bought_form", "producer_id", "batch_id", "external_id")
MESSAGE = _message()
FIND = (
    select(
        JOBS.c.id,
        JOBS.c.fence,
        RESULTS.c.source_sha256,
        RESULTS.c.missing_since,
        RESULTS.c.stored_at,
        is_own().label("is_own"),
        JOBS.c.source,
        SOURCES.c.address_sha256,
        SOURCES.c.etag,
        SOURCES.c.last_modified,
        *(JOBS.c[name] for name in JOB_FIELDS),
        *(RESULTS.c[name] for name in STORED),
    )
    .select_from(MESSAGE)
    .join(JOBS, _is_in(MESSAGE))
    .join(RESULTS, IS_RESULT_OF_JOB)
    .outerjoin(SOURCES, IS_REMEMBERED)
)

FOUND = _message(source_sha256=LargeBinary(), key=Text(), sha256=LargeBinary(), copied_to=Text())


def _complete() -> Update:
    # Locked: a deletion of the cutout waits until these jobs have it, or they do not find it. A subquery for
    # each job: in a join the planner may read all results for each, until it has statistics of them.
    bought = (
        select(RESULTS.c.source_sha256, *(RESULTS.c[name] for name in STORED))
        .where(
            IS_RESULT_OF_JOB,
            RESULTS.c.source_sha256 == FOUND.c.source_sha256,
            RESULTS.c.key == FOUND.c.key,
            RESULTS.c.sha256 == FOUND.c.sha256,
        )
        .with_for_update(read=True, key_share=True)
        .correlate_except(RESULTS)
        .lateral("bought")
    )
    offered = (
        select(FOUND.c.id, FOUND.c.fence, FOUND.c.copied_to, *bought.c)
        .select_from(FOUND)
        .join(JOBS, _is_in(FOUND))
        .join(bought, true())
        .cte("offered")
    )
    return (
        update(JOBS)
        .where(
            JOBS.c.id == offered.c.id,
            JOBS.c.fence == offered.c.fence,
            IS_REUSING,
            # With a late paid result the job continues with its copy.
            JOBS.c.step == CALL_STEP,
        )
        .values(
            state=constant(State.SUCCEEDED),
            queue_state=null(),
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


COMPLETE = _complete()
REQUEUE = update(JOBS).where(_is_in(MESSAGE)).values(queue_state=READY)
NOT_CONFIRMED = "SOURCE_NOT_CONFIRMED"
FETCH = REQUEUE.values(
    code=NOT_CONFIRMED,
    message="its server did not say in time that the source is unchanged: a worker fetches it if it changed",
)
DELAY = (
    update(JOBS)
    .where(_is_in(MESSAGE))
    .values(
        queue_state=DELAYED,
        scheduled_at=func.now() + bindparam("delay", type_=Interval),
        code=bindparam("why", type_=Text),
        message=bindparam("text", type_=Text),
    )
)
# Only the cutout that was found broken: another job may have bought it again since.
IS_UNCHANGED = and_(
    JOBS.c.id == bindparam("its_job", type_=Uuid),
    IS_RESULT_OF_JOB,
    RESULTS.c.key == bindparam("its_key", type_=Text),
    RESULTS.c.sha256 == bindparam("its_sha256", type_=LargeBinary),
)
MARK = missing_results.mark(IS_UNCHANGED)
INVALIDATE = missing_results.invalidate(IS_UNCHANGED).values(buyer=JOBS.c.id)
FOUND_AGAIN = missing_results.found_again(IS_UNCHANGED)


def find_bought(database: Database, dispatched: Dispatched, reuse_scope: ReuseScope) -> list[ReusableJob]:
    """Find the cutouts that these jobs may reuse; omits jobs that were taken and cutouts that are gone."""
    rows = database.execute(FIND, _parameters(dispatched) | reuse_scope.as_parameters())
    return [
        ReusableJob(
            row.id,
            row.fence,
            row.source_sha256,
            StoredObject(*(getattr(row, name) for name in STORED)),
            row.stored_at,
            missed=row.missing_since is not None,
            is_own=row.is_own,
            return_form=ReturnForm(row.return_form),
            bought_form=ReturnForm(row.bought_form),
            producer_id=row.producer_id,
            batch_id=row.batch_id,
            external_id=row.external_id,
            address=row.source if row.address_sha256 else None,
            validator=SourceValidator(row.etag, row.last_modified, row.source_sha256),
        )
        for row in rows
    ]


def complete_reused(database: Database, served: Sequence[ReusableJob], reuse_scope: ReuseScope) -> int:
    """Complete jobs whose cutouts are in the bucket; returns how many, the others were taken meanwhile."""
    cutouts = {
        "their_source_sha256": [each.source_sha256 for each in served],
        "their_key": [each.stored.key for each in served],
        "their_sha256": [each.stored.sha256 for each in served],
        "their_copied_to": [each.copied_to for each in served],
    }
    dispatched = [(each.job_id, each.fence) for each in served]
    return len(
        database.scalars(COMPLETE, _parameters(dispatched) | cutouts | reuse_scope.as_parameters()).all()
    )


def requeue(database: Database, dispatched: Dispatched) -> None:
    """Make these jobs ready again, at once."""
    database.execute(REQUEUE, _parameters(dispatched))


def fetch_sources(database: Database, dispatched: Dispatched) -> None:
    """Make these jobs ready again for a worker that fetches their sources."""
    database.execute(FETCH, _parameters(dispatched))


def delay(database: Database, dispatched: Dispatched, why: Snooze) -> None:
    """Delay jobs that cannot be completed now."""
    values = {"delay": timedelta(seconds=why.seconds), "why": why.code, "text": cut(why.message)}
    database.execute(DELAY, _parameters(dispatched) | values)


def miss(database: Database, broken: ReusableJob, reuse_scope: ReuseScope) -> Snooze | None:
    """Record that the bucket does not hold this cutout as it was stored; returns the job's snooze.

    None if it may be bought again: this job does so once it is ready again.
    """
    parameters = _of_it(broken, reuse_scope)
    row = database.execute(MARK, parameters).first()
    if row is None:
        return None
    key = broken.stored.key if broken.is_own else None
    snooze = missing_results.snooze_for(key, seen_before=row[0], seen_recently=row[1])
    if snooze is None:
        database.execute(INVALIDATE, parameters)
    return snooze


def find_it_again(database: Database, found: ReusableJob, reuse_scope: ReuseScope) -> None:
    """Record that the bucket holds a cutout that was missing."""
    database.execute(FOUND_AGAIN, _of_it(found, reuse_scope))


def _of_it(bought: ReusableJob, reuse_scope: ReuseScope) -> dict[str, Any]:
    stored = bought.stored
    values = {"its_job": bought.job_id, "its_key": stored.key, "its_sha256": stored.sha256}
    return values | reuse_scope.as_parameters()


def _parameters(dispatched: Dispatched) -> dict[str, Any]:
    return {
        "their_id": [job_id for job_id, _ in dispatched],
        "their_fence": [fence for _, fence in dispatched],
    }
