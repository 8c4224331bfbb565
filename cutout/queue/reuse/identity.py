"""The identity of what was bought: decided in docs/decisions/0018-identify-purchases-by-six-parts.md."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, and_, bindparam, cast, func, literal, or_, select

from cutout.enums import ReturnForm, Reuse
from cutout.models import JOBS, RESULTS
from cutout.storage.object_keys import WITHOUT_PRODUCER

# Scopes: a producer's own is its id. SHARED is of all producers together.
SHARED = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a cutout's identity has beside its source and form.

    `endpoint` is the address that is called, with scheme, host, port and path; `preparation` our version of
    what is done to a picture before it is sent; `bucket` the name of the bucket; `scope` whose it is.
    """

    endpoint: str
    preparation: int
    bucket: str
    scope: str = SHARED


def scope_of(reuse: Reuse, producer_id: uuid.UUID | None) -> str:
    """The scope that a producer's jobs buy in and are served from."""
    return SHARED if reuse is Reuse.ALL else owner_of(producer_id)


def owner_of(producer_id: uuid.UUID | None) -> str:
    """The scope of one producer alone, or of all jobs without one."""
    return WITHOUT_PRODUCER if producer_id is None else str(producer_id)


def owner_in(table: FromClause) -> ColumnElement[str]:
    """The same of a row with a producer's id, in SQL."""
    return func.coalesce(cast(table.c.producer_id, Text), literal(WITHOUT_PRODUCER, Text))


def is_own(own: FromClause = JOBS) -> ColumnElement[bool]:
    """Whether a result's object was made for the producer of the job in `own`: only then is its key shown.

    In a scope of one producer it always was. Among all, the result's buyer says whose it is; a buyer that was
    deleted says nothing.
    """
    buyer = JOBS.alias("its_buyer")
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


PARTS = ("source_sha256", "return_form", "endpoint", "preparation", "bucket", "scope")


def _of(name: str) -> Any:
    return bindparam(f"of_{name}", type_=RESULTS.c[name].type)


OF = {name: _of(name) for name in PARTS}
"""Each part of an identity as a parameter."""


def is_identity(table: FromClause, *parts: str) -> ColumnElement[bool]:
    """Whether these parts of a row, or all, are those of the parameters."""
    return and_(*(table.c[name] == OF[name] for name in parts or PARTS))


IDENTITY = is_identity(RESULTS)


def identity(sha256: bytes, form: ReturnForm, recipe: Recipe) -> dict[str, object]:
    """The parameters of an identity."""
    return {
        "of_source_sha256": sha256,
        "of_return_form": form,
        "of_endpoint": recipe.endpoint,
        "of_preparation": recipe.preparation,
        "of_bucket": recipe.bucket,
        "of_scope": recipe.scope,
    }
