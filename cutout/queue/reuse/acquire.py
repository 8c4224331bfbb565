"""The same picture is not bought twice: results by their identity, and whose it is to buy one."""

import hashlib
import uuid
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Boolean, Row, and_, bindparam, case, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from cutout.enums import Standing, State, Step
from cutout.models import ATTEMPTS, JOBS, PRODUCERS, RESULTS, SOURCES
from cutout.models.compiled import Compiled
from cutout.models.database import Database
from cutout.queue.attempts.outcomes import Snooze, StoredObject
from cutout.queue.claims import FENCED, Claim
from cutout.queue.reuse import missing_results
from cutout.queue.reuse.identity import IDENTITY, OF, PARTS, Making, identity, is_identity, is_own


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a server said of a source when it was last fetched, and the SHA-256 of what it was then."""

    etag: str | None
    last_modified: str | None
    content_sha256: bytes


@dataclass(frozen=True, slots=True)
class Mine:
    """The result is this job's to buy; `made_otherwise` if it was bought under another preparation."""

    made_otherwise: bool = False


@dataclass(frozen=True, slots=True)
class Theirs:
    """Another job, `buyer`, is buying it now; None if this claim was lost."""

    buyer: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class BoughtBefore:
    """The cutout as it was stored, and by what it was made; `missed` if the bucket was seen without it.

    `is_own` if its object was made for the same producer: any other is copied before it is handed over.
    """

    stored: StoredObject
    making: Making
    missed: bool = False
    is_own: bool = True


IT_IS_FENCED = select(JOBS.c.id).where(FENCED).exists()
# As text: an expression would bring the table into the subquery, and ask about any row but the one at hand.
ITS_BUYER_IS_OUT = literal_column(
    f"NOT EXISTS (SELECT FROM jobs WHERE jobs.id = {RESULTS.name}.buyer"  # noqa: S608 - words of ours
    f" AND jobs.state IN ('{State.QUEUED}', '{State.RUNNING}')"
    " AND (jobs.standing IS NULL OR jobs.standing NOT IN"
    f" ('{Standing.PARKED}', '{Standing.SOURCE_LIMIT}', '{Standing.WAITING}')"
    f" AND (jobs.step = '{Step.COPY}' OR NOT EXISTS (SELECT FROM {PRODUCERS.name}"
    " WHERE producers.id = jobs.producer_id AND producers.suspended_at IS NOT NULL))))",
    Boolean,
)
_OTHERS = RESULTS.alias("others")
SAME_PICTURE = ("source_sha256", "return_form", "endpoint", "bucket", "scope")
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
# Whoever bought it before is done without it (failed, held or cancelled), or waits: parked, perhaps for
# hours, or for who buys another picture, since its source was changed.
TAKE = Compiled(
    _NEW.on_conflict_do_update(
        index_elements=[*RESULTS.primary_key.columns],
        set_={"buyer": _NEW.excluded.buyer},
        where=and_(
            RESULTS.c.key.is_(None),
            or_(RESULTS.c.buyer == _NEW.excluded.buyer, ITS_BUYER_IS_OUT),
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
    .where(IDENTITY, RESULTS.c.key.is_(None), IT_IS_FENCED)
    .values(
        **{name: bindparam(f"new_{name}", type_=RESULTS.c[name].type) for name in STORED},
        image_sha256=bindparam("sent_sha256", type_=RESULTS.c.image_sha256.type),
        stored_at=func.now(),
    )
)
# Only what was found broken, and only once: another may have bought it anew since.
AS_IT_WAS = and_(IDENTITY, RESULTS.c.key == bindparam("broken_key"), IT_IS_FENCED)
MARK = missing_results.mark(AS_IT_WAS)
DISOWN = (
    missing_results.disown(AS_IT_WAS)
    .values(buyer=bindparam("claimed_job", type_=RESULTS.c.buyer.type))
    .returning(RESULTS.c.buyer)
)
FOUND_AGAIN = missing_results.found_again(AS_IT_WAS)
# Of what the call was made for that brought the result, whatever the job's source is by now.
PUBLISH = (
    update(RESULTS)
    .where(
        FENCED,
        JOBS.c.step == bindparam("claimed_step"),
        ~bindparam("new_reused", type_=Boolean),
        ATTEMPTS.c.id == JOBS.c.result_attempt,
        *(RESULTS.c[name] == ATTEMPTS.c[name] for name in ("source_sha256", "endpoint", "preparation")),
        RESULTS.c.scope == ATTEMPTS.c.scope,
        RESULTS.c.return_form == JOBS.c.return_form,
        RESULTS.c.bucket == bindparam("new_bucket"),
        RESULTS.c.key.is_(None),
    )
    .values(
        **{name: bindparam(f"new_{name}", type_=RESULTS.c[name].type) for name in STORED},
        image_sha256=ATTEMPTS.c.image_sha256,
        stored_at=func.now(),
        # Another may have taken the row meanwhile: its buyer says whose the object is.
        buyer=JOBS.c.id,
    )
    .cte("published")
)


def take_result(
    database: Database, claim: Claim, sha256: bytes, making: Making
) -> Mine | Theirs | BoughtBefore:
    """Whose it is to buy the cutout of a source with this SHA-256; the cutout if it was bought before."""
    parameters = claim.as_parameters() | identity(sha256, claim.return_form, making)
    made_otherwise = TAKE.scalar(database, parameters)
    if made_otherwise is not None:
        return Mine(made_otherwise=made_otherwise)
    row = database.execute(FIND, parameters).first()
    if row is None or row.key is None:
        return Theirs(row.buyer if row else None)
    return _bought_before(row, making)


def find_made_otherwise(
    database: Database, claim: Claim, sha256: bytes, making: Making, *, sent_sha256: bytes
) -> BoughtBefore | None:
    """A cutout of the same source that another preparation made of the same bytes."""
    parameters = claim.as_parameters() | identity(sha256, claim.return_form, making)
    row = database.execute(FIND_MADE_OTHERWISE, parameters | {"sent_sha256": sent_sha256}).first()
    return None if row is None else _bought_before(row, making)


def adopt_result(
    database: Database,
    claim: Claim,
    sha256: bytes,
    making: Making,
    stored: StoredObject,
    *,
    sent_sha256: bytes,
) -> None:
    """Let whoever asks next be served from this cutout, which another preparation made of the same bytes.

    `stored` is as this job has it.
    """
    parameters = claim.as_parameters() | identity(sha256, claim.return_form, making)
    new = {f"new_{name}": getattr(stored, name) for name in STORED}
    database.execute(ADOPT, parameters | new | {"sent_sha256": sent_sha256})


def miss_result(database: Database, claim: Claim, sha256: bytes, broken: BoughtBefore) -> Snooze | None:
    """Note that the bucket does not hold this cutout as it was stored; None if this job is to buy it anew."""
    parameters = claim.as_parameters() | identity(sha256, claim.return_form, broken.making)
    parameters |= {"broken_key": broken.stored.key}
    row = database.execute(MARK, parameters).first()
    if row is None:
        return Snooze("TWIN_IS_BOUGHT", "another job buys the same cutout anew", 0.0)
    wait = missing_results.why_wait(
        broken.stored.key if broken.is_own else None, seen_before=row[0], seen_of_late=row[1]
    )
    if wait is not None:
        return wait
    if database.scalar(DISOWN, parameters) is None:
        return Snooze("TWIN_IS_BOUGHT", "another job buys the same cutout anew", 0.0)
    return None


def find_again(database: Database, claim: Claim, sha256: bytes, found: BoughtBefore) -> None:
    """Note that the bucket holds a cutout that was missing."""
    parameters = claim.as_parameters() | identity(sha256, claim.return_form, found.making)
    database.execute(FOUND_AGAIN, parameters | {"broken_key": found.stored.key})


def recall_source(database: Database, address: str) -> Remembered | None:
    """What is remembered of a source, by its address."""
    found = select(SOURCES.c.etag, SOURCES.c.last_modified, SOURCES.c.content_sha256)
    row = database.execute(found.where(SOURCES.c.address_sha256 == address_sha256(address))).first()
    return Remembered(row.etag, row.last_modified, row.content_sha256) if row else None


def remember_source(database: Database, address: str, seen: Remembered) -> None:
    """Write down what a source was when it was fetched."""
    values = {
        "etag": seen.etag,
        "last_modified": seen.last_modified,
        "content_sha256": seen.content_sha256,
        "seen_at": func.now(),
    }
    new = insert(SOURCES).values(address_sha256=address_sha256(address), **values)
    database.execute(new.on_conflict_do_update(index_elements=["address_sha256"], set_=values))


def address_sha256(address: str) -> bytes:
    """The key of `sources`: addresses may be longer than an index takes."""
    return hashlib.sha256(address.encode()).digest()


def _bought_before(row: Row[Any], making: Making) -> BoughtBefore:
    stored = StoredObject(*(getattr(row, name) for name in STORED))
    made = replace(making, preparation=row.preparation)
    return BoughtBefore(stored, made, missed=row.missing_since is not None, is_own=bool(row.is_own))
