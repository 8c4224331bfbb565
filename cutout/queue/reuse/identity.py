"""Identity of a bought result, as decided in docs/decisions/0018-identify-purchases-by-six-parts.md."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, and_, bindparam, cast, func, literal, or_, select

from cutout.enums import ReturnForm, Reuse
from cutout.models import JOBS, RESULTS
from cutout.storage.object_keys import WITHOUT_PRODUCER

# The scope of one producer is its id; all producers share the scope SHARED.
SHARED = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The parts of a cutout's identity beside its source and bought form.

    `endpoint` is the URL that is called, with scheme, host, port and path; `preparation` the version of our
    preparation of pictures; `bucket` the name of the bucket; `scope` the producers that may reuse it.
    """

    endpoint: str
    preparation: int
    bucket: str
    scope: str = SHARED


def scope_of(reuse: Reuse, producer_id: uuid.UUID | None) -> str:
    """The scope in which a producer's jobs buy and reuse cutouts."""
    return SHARED if reuse is Reuse.ALL else owner_of(producer_id)


def owner_of(producer_id: uuid.UUID | None) -> str:
    """The scope of one producer, or of all jobs without a producer."""
    return WITHOUT_PRODUCER if producer_id is None else str(producer_id)


def owner_in(table: FromClause) -> ColumnElement[str]:
    """The SQL form of owner_of, for a table with a producer_id."""
    return func.coalesce(cast(table.c.producer_id, Text), literal(WITHOUT_PRODUCER, Text))


def is_own(own: FromClause = JOBS) -> ColumnElement[bool]:
    """Whether a result's object was made for the producer of the job in `own`; only then its key is shown.

    In the scope of one producer it always was. In the shared scope the result's buyer decides; a deleted
    buyer counts as another producer's.
    """
    buyer = JOBS.alias("buyer_of_result")
    return or_(
        RESULTS.c.scope != literal(SHARED, Text),
        select(buyer.c.id)
        .where(
            buyer.c.id == RESULTS.c.buyer,
            buyer.c.deleted_at.is_(None),
            buyer.c.producer_id.is_not_distinct_from(own.c.producer_id),
        )
        .correlate(RESULTS, own)
        .exists(),
    )


PARTS = ("source_sha256", "bought_form", "endpoint", "preparation", "bucket", "scope")


def _parameter(name: str) -> Any:
    return bindparam(f"of_{name}", type_=RESULTS.c[name].type)


OF = {name: _parameter(name) for name in PARTS}
"""The parts of an identity as parameters."""


def is_identity(table: FromClause, *parts: str) -> ColumnElement[bool]:
    """Whether these parts of a row, or all parts, equal the parameters."""
    return and_(*(table.c[name] == OF[name] for name in parts or PARTS))


IDENTITY = is_identity(RESULTS)


def identity(sha256: bytes, form: ReturnForm, recipe: Recipe) -> dict[str, object]:
    """The parameters of an identity."""
    return {
        "of_source_sha256": sha256,
        "of_bought_form": form,
        "of_endpoint": recipe.endpoint,
        "of_preparation": recipe.preparation,
        "of_bucket": recipe.bucket,
        "of_scope": recipe.scope,
    }
