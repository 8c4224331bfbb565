"""Acquiring: one job buys the cutout of a picture, all others with the same identity reuse it."""

import uuid
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Boolean, Row, and_, bindparam, case, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from cutout.enums import QueueState, State, Step
from cutout.models import ATTEMPTS, JOBS, PRODUCERS, RESULTS
from cutout.models.compiled import Compiled
from cutout.models.database import Database
from cutout.queue.attempts.outcomes import Snooze, StoredObject
from cutout.queue.claims import FENCED, Claim
from cutout.queue.reuse import missing_results
from cutout.queue.reuse.identity import IDENTITY, OF, PARTS, Recipe, identity, is_identity, is_own


@dataclass(frozen=True, slots=True)
class Acquired:
    """This job is to buy the result; `made_otherwise`: one was bought with another preparation."""

    made_otherwise: bool = False


@dataclass(frozen=True, slots=True)
class TakenByOther:
    """Another job, `buyer`, buys it now; None if this claim was lost."""

    buyer: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class BoughtBefore:
    """A stored cutout and its recipe; `missed`: the bucket was seen without it.

    `is_own`: its object was made for the same producer. An object of another producer is copied first.
    """

    stored: StoredObject
    recipe: Recipe
    missed: bool = False
    is_own: bool = True


CLAIM_HOLDS = select(JOBS.c.id).where(FENCED).exists()
# As text: an expression would add the table to the subquery, and match other rows than the conflicting one.
# The rule is that of is_buying in cutout/queue/reuse/waiting_jobs.py.
BUYER_DOES_NOT_BUY = literal_column(
    f"NOT EXISTS (SELECT FROM jobs WHERE jobs.id = {RESULTS.name}.buyer"  # noqa: S608 - constants
    f" AND jobs.state IN ('{State.QUEUED}', '{State.RUNNING}')"
    " AND (jobs.queue_state IS NULL OR jobs.queue_state NOT IN"
    f" ('{QueueState.BLOCKED}', '{QueueState.SOURCE_LIMIT}', '{QueueState.WAITING}')"
    f" AND (jobs.step = '{Step.COPY}' OR NOT EXISTS (SELECT FROM {PRODUCERS.name}"
    " WHERE producers.id = jobs.producer_id AND producers.suspended_at IS NOT NULL))))",
    Boolean,
)
_OTHERS = RESULTS.alias("others")
SAME_PICTURE = ("source_sha256", "bought_form", "endpoint", "bucket", "scope")
MADE_OTHERWISE = (
    select(_OTHERS.c.buyer)
    .where(
        is_identity(_OTHERS, *SAME_PICTURE),
        _OTHERS.c.preparation != OF["preparation"],
        _OTHERS.c.key.is_not(None),
    )
    .exists()
)
_NEW = insert(RESULTS).from_select([*PARTS, "buyer"], select(*OF.values(), JOBS.c.id).where(FENCED))
# The previous buyer ended without it (failed, held or cancelled), or is kept back: blocked, perhaps for
# hours, or waiting for the buyer of another picture, since its source was changed.
TAKE = Compiled(
    _NEW.on_conflict_do_update(
        index_elements=[*RESULTS.primary_key.columns],
        set_={"buyer": _NEW.excluded.buyer},
        where=and_(
            RESULTS.c.key.is_(None),
            or_(RESULTS.c.buyer == _NEW.excluded.buyer, BUYER_DOES_NOT_BUY),
        ),
    )
    .returning(MADE_OTHERWISE)
    .add_cte(update(JOBS).where(FENCED).values(source_sha256=OF["source_sha256"]).cte("marked"))
)
STORED = missing_results.STORED
IS_OWN = case(
    (
        RESULTS.c.key.is_not(None),
        select(JOBS.c.id).where(JOBS.c.id == bindparam("claimed_job"), is_own()).exists(),
    )
).label("is_own")
FOUND = (*(RESULTS.c[name] for name in STORED), RESULTS.c.preparation, RESULTS.c.missing_since, IS_OWN)
FIND = select(RESULTS.c.buyer, *FOUND).where(IDENTITY)
FIND_MADE_OTHERWISE = (
    select(*FOUND)
    .where(
        is_identity(RESULTS, *SAME_PICTURE),
        RESULTS.c.preparation != OF["preparation"],
        RESULTS.c.image_sha256 == bindparam("sent_sha256", type_=RESULTS.c.image_sha256.type),
        RESULTS.c.key.is_not(None),
    )
    .order_by(RESULTS.c.preparation.desc())
    .limit(1)
)
ADOPT = (
    update(RESULTS)
    .where(IDENTITY, RESULTS.c.key.is_(None), CLAIM_HOLDS)
    .values(
        **{name: bindparam(f"new_{name}", type_=RESULTS.c[name].type) for name in STORED},
        image_sha256=bindparam("sent_sha256", type_=RESULTS.c.image_sha256.type),
        stored_at=func.now(),
    )
)
# Only the cutout that was found broken: another job may have bought it again since.
IS_UNCHANGED = and_(IDENTITY, RESULTS.c.key == bindparam("broken_key"), CLAIM_HOLDS)
MARK = missing_results.mark(IS_UNCHANGED)
INVALIDATE = (
    missing_results.invalidate(IS_UNCHANGED)
    .values(buyer=bindparam("claimed_job", type_=RESULTS.c.buyer.type))
    .returning(RESULTS.c.buyer)
)
FOUND_AGAIN = missing_results.found_again(IS_UNCHANGED)
# Under the identity that the paying call was made for: the job may have another source since.
PUBLISH = (
    update(RESULTS)
    .where(
        FENCED,
        JOBS.c.step == bindparam("claimed_step"),
        ~bindparam("new_reused", type_=Boolean),
        ATTEMPTS.c.id == JOBS.c.result_attempt,
        *(RESULTS.c[name] == ATTEMPTS.c[name] for name in ("source_sha256", "endpoint", "preparation")),
        RESULTS.c.scope == ATTEMPTS.c.scope,
        RESULTS.c.bought_form == JOBS.c.bought_form,
        RESULTS.c.bucket == bindparam("new_bucket"),
        RESULTS.c.key.is_(None),
    )
    .values(
        **{name: bindparam(f"new_{name}", type_=RESULTS.c[name].type) for name in STORED},
        image_sha256=ATTEMPTS.c.image_sha256,
        stored_at=func.now(),
        # Another job may have taken the row meanwhile; the buyer is the owner of the object.
        buyer=JOBS.c.id,
    )
    .cte("published")
)


def acquire_result(
    database: Database, claim: Claim, sha256: bytes, recipe: Recipe
) -> Acquired | TakenByOther | BoughtBefore:
    """Acquire the purchase of the cutout of a source with this SHA-256, or find the cutout or its buyer."""
    parameters = claim.as_parameters() | identity(sha256, claim.bought_form, recipe)
    made_otherwise = TAKE.scalar(database, parameters)
    if made_otherwise is not None:
        return Acquired(made_otherwise=made_otherwise)
    row = database.execute(FIND, parameters).first()
    if row is None or row.key is None:
        return TakenByOther(row.buyer if row else None)
    return _bought_before(row, recipe)


def find_made_otherwise(
    database: Database, claim: Claim, sha256: bytes, recipe: Recipe, *, sent_sha256: bytes
) -> BoughtBefore | None:
    """Find a cutout of the same source for which another preparation sent the same bytes."""
    parameters = claim.as_parameters() | identity(sha256, claim.bought_form, recipe)
    row = database.execute(FIND_MADE_OTHERWISE, parameters | {"sent_sha256": sent_sha256}).first()
    return None if row is None else _bought_before(row, recipe)


def adopt_result(
    database: Database,
    claim: Claim,
    sha256: bytes,
    recipe: Recipe,
    stored: StoredObject,
    *,
    sent_sha256: bytes,
) -> None:
    """Let later jobs reuse this cutout, for which another preparation sent the same bytes.

    `stored` is the object as this job has it.
    """
    parameters = claim.as_parameters() | identity(sha256, claim.bought_form, recipe)
    new = {f"new_{name}": getattr(stored, name) for name in STORED}
    database.execute(ADOPT, parameters | new | {"sent_sha256": sent_sha256})


def miss_result(database: Database, claim: Claim, sha256: bytes, broken: BoughtBefore) -> Snooze | None:
    """Record that the bucket lacks this cutout as it was stored; None if this job is to buy it again."""
    parameters = claim.as_parameters() | identity(sha256, claim.bought_form, broken.recipe)
    parameters |= {"broken_key": broken.stored.key}
    row = database.execute(MARK, parameters).first()
    if row is None:
        return Snooze("TWIN_IS_BOUGHT", "another job buys the same cutout again", 0.0)
    snooze = missing_results.snooze_for(
        broken.stored.key if broken.is_own else None, seen_before=row[0], seen_recently=row[1]
    )
    if snooze is not None:
        return snooze
    if database.scalar(INVALIDATE, parameters) is None:
        return Snooze("TWIN_IS_BOUGHT", "another job buys the same cutout again", 0.0)
    return None


def find_again(database: Database, claim: Claim, sha256: bytes, found: BoughtBefore) -> None:
    """Record that the bucket holds a cutout that was missing."""
    parameters = claim.as_parameters() | identity(sha256, claim.bought_form, found.recipe)
    database.execute(FOUND_AGAIN, parameters | {"broken_key": found.stored.key})


def _bought_before(row: Row[Any], recipe: Recipe) -> BoughtBefore:
    stored = StoredObject(*(getattr(row, name) for name in STORED))
    made = replace(recipe, preparation=row.preparation)
    return BoughtBefore(stored, made, missed=row.missing_since is not None, is_own=bool(row.is_own))
