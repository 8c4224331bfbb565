"""Storing many jobs with one statement, whatever their number."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from cutout.models import JOBS

# Each job's own; the others are the same for all.
EACH = ("external_id", "source", "return_form", "priority", "place", "webhook_url")
ALL = ("batch_id", "producer_id", "standing", "trace")

_GIVEN = (
    func.unnest(*(bindparam(name, type_=ARRAY(JOBS.c[name].type)) for name in EACH))
    .table_valued(*(column(name, JOBS.c[name].type) for name in EACH), with_ordinality="n", name="given")
    .render_derived()
)
# An insert that hands back an id per row asks for each row by itself: the ids are made by the server.
_INSERT = (
    insert(JOBS)
    .from_select(
        [*EACH, *ALL],
        select(
            *(_GIVEN.c[name] for name in EACH),
            *(bindparam(name, type_=JOBS.c[name].type) for name in ALL),
        ).order_by(_GIVEN.c.n),
        include_defaults=False,
    )
    .returning(JOBS.c.id)
)


def insert_jobs(
    session: Session, rows: Sequence[Mapping[str, Any]], same: Mapping[str, Any]
) -> list[uuid.UUID]:
    """Store jobs with the columns EACH of their own and ALL alike; returns their ids in the same order.

    Rows are made in the order given, and a session's ids (UUIDv7) only grow.
    """
    given = {name: [row[name] for row in rows] for name in EACH}
    return sorted(session.scalars(_INSERT, given | dict(same)))
