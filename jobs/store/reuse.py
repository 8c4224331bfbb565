"""The same picture is not bought twice: results by content, and whose it is to buy one."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import Boolean, and_, bindparam, func, literal_column, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from jobs.database import Database
from jobs.models import JOBS, RESULTS, SOURCES
from jobs.outcomes import StoredObject
from jobs.states import Standing, State
from jobs.store.claims import FENCED, Claim


@dataclass(frozen=True, slots=True)
class Making:
    """What a cutout is made by, beside its source and form: the endpoint, and our preparation's version."""

    endpoint: str
    preparation: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a server said of a source when it was last fetched, and the SHA-256 of what it was then."""

    etag: str | None
    last_modified: str | None
    content_sha256: bytes


@dataclass(frozen=True, slots=True)
class Mine:
    """The result is this job's to buy."""


@dataclass(frozen=True, slots=True)
class Theirs:
    """Another job is buying it now."""


IDENTITY = and_(
    RESULTS.c.source_sha256 == bindparam("of_sha256", type_=RESULTS.c.source_sha256.type),
    RESULTS.c.return_form == bindparam("of_form", type_=RESULTS.c.return_form.type),
    RESULTS.c.endpoint == bindparam("of_endpoint", type_=RESULTS.c.endpoint.type),
    RESULTS.c.preparation == bindparam("of_preparation", type_=RESULTS.c.preparation.type),
)
# As text: an expression would bring `results` into the subquery, and ask about any row but the one at hand.
ITS_BUYER_IS_OUT = literal_column(
    "NOT EXISTS (SELECT FROM jobs WHERE jobs.id = results.buyer"  # noqa: S608 - our own words
    f" AND jobs.state IN ('{State.QUEUED}', '{State.RUNNING}')"
    f" AND jobs.standing IS DISTINCT FROM '{Standing.PARKED}')",
    Boolean,
)
_NEW = insert(RESULTS).from_select(
    ["source_sha256", "return_form", "endpoint", "preparation", "buyer"],
    select(
        bindparam("of_sha256", type_=RESULTS.c.source_sha256.type),
        JOBS.c.return_form,
        bindparam("of_endpoint", type_=RESULTS.c.endpoint.type),
        bindparam("of_preparation", type_=RESULTS.c.preparation.type),
        JOBS.c.id,
    ).where(FENCED),
)
# Whoever bought it before is done without it (failed, held or cancelled), or waits parked, perhaps for hours.
TAKE = (
    _NEW.on_conflict_do_update(
        index_elements=[*RESULTS.primary_key.columns],
        set_={"buyer": _NEW.excluded.buyer},
        where=and_(
            RESULTS.c.key.is_(None),
            or_(RESULTS.c.buyer == _NEW.excluded.buyer, ITS_BUYER_IS_OUT),
        ),
    )
    .returning(RESULTS.c.buyer)
    .add_cte(
        update(JOBS)
        .where(FENCED)
        .values(source_sha256=bindparam("of_sha256", type_=JOBS.c.source_sha256.type))
        .cte("marked")
    )
)
STORED = tuple(StoredObject.__slots__)
FIND = select(*(RESULTS.c[name] for name in STORED)).where(IDENTITY)
NOT_STORED = {**{name: null() for name in STORED}, "stored_at": null()}
# Only what was found broken, and only once: another may have bought it anew since.
DISOWN = (
    update(RESULTS)
    .where(IDENTITY, RESULTS.c.key == bindparam("broken_key"), select(JOBS.c.id).where(FENCED).exists())
    .values(**NOT_STORED, buyer=bindparam("claimed_job", type_=RESULTS.c.buyer.type))
    .returning(RESULTS.c.buyer)
)
PUBLISH = (
    update(RESULTS)
    .where(
        RESULTS.c.buyer == bindparam("claimed_job"),
        RESULTS.c.key.is_(None),
        RESULTS.c.return_form == JOBS.c.return_form,
        RESULTS.c.source_sha256 == JOBS.c.source_sha256,
        FENCED,
    )
    .values(
        **{name: bindparam(f"new_{name}", type_=RESULTS.c[name].type) for name in STORED},
        stored_at=func.now(),
    )
    .cte("published")
)


def take_result(
    database: Database, claim: Claim, sha256: bytes, making: Making
) -> Mine | Theirs | StoredObject:
    """Whose it is to buy the cutout of a source with this SHA-256; the cutout if it was bought before."""
    parameters = claim.as_parameters() | _identity(claim, sha256, making)
    if database.scalar(TAKE, parameters) is not None:
        return Mine()
    row = database.execute(FIND, parameters).first()
    if row is None or row.key is None:
        return Theirs()
    return StoredObject(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


def disown_result(
    database: Database, claim: Claim, sha256: bytes, making: Making, broken: StoredObject
) -> bool:
    """Forget a cutout that the bucket does not hold any more; this job buys it anew. False: ask again."""
    parameters = claim.as_parameters() | _identity(claim, sha256, making) | {"broken_key": broken.key}
    return database.scalar(DISOWN, parameters) is not None


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


def _identity(claim: Claim, sha256: bytes, making: Making) -> dict[str, object]:
    return {
        "of_sha256": sha256,
        "of_form": claim.return_form,
        "of_endpoint": making.endpoint,
        "of_preparation": making.preparation,
    }
