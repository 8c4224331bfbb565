"""Outputs of jobs in SQL: the picture that a job delivers, all outputs of a page of jobs, and scores."""

import uuid
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    ARRAY,
    REAL,
    ColumnElement,
    FromClause,
    ScalarSelect,
    Subquery,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from cutout.enums import OutputState, ReturnForm
from cutout.models import JOBS, OUTPUTS, Job, constant
from cutout.models.database import Database

SCORE = "score"
"""Name and recipe of the output that is a score, without a file."""

IDS = any_(bindparam("ids", type_=ARRAY(Uuid)))
DELIVERED = OUTPUTS.alias("delivered")
IS_DELIVERED = and_(DELIVERED.c.job_id == JOBS.c.id, DELIVERED.c.name == JOBS.c.return_form)
_NAME_OF_SCORE = literal_column(f"'{SCORE}'", Text)
_SCORES = OUTPUTS.alias("scores")
_MADE = constant(OutputState.MADE)
_FORMS = frozenset(ReturnForm)


class JobOutput(NamedTuple):
    """One output of a job; hashes are hex. `derived_from` is the hash of what was bought."""

    name: str
    state: str
    recipe: str
    version: int | None
    key: str | None
    sha256: str | None
    media_type: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    factor: float | None
    derived_from: str
    measures: dict[str, Any] | None
    problems: list[str] | None
    note: str | None
    tries: int
    code: str | None
    message: str | None

    @classmethod
    def of(cls, found: list[dict[str, Any]] | None) -> tuple[Self, ...]:
        """Build from the JSON column `outputs` of OUTPUTS_OF_JOBS."""
        return tuple(cls(**each) for each in found or ())


class OutputCounts(NamedTuple):
    """Outputs by state, or scores by state."""

    waiting: int = 0
    made: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        return sum(self)


NO_OUTPUTS = OutputCounts()

_FIELDS: dict[str, ColumnElement[Any]] = {
    "sha256": func.encode(OUTPUTS.c.sha256, "hex"),
    "derived_from": func.encode(OUTPUTS.c.bought_sha256, "hex"),
}
_OBJECT = func.json_build_object(
    *(part for name in JobOutput._fields for part in (name, _FIELDS.get(name, OUTPUTS.c.get(name))))
)


def outputs_of_jobs() -> Subquery:
    """The outputs but the score of each of the jobs `ids`, as JSON in the order of their names."""
    return (
        select(OUTPUTS.c.job_id, func.json_agg(aggregate_order_by(_OBJECT, OUTPUTS.c.name)).label("outputs"))
        .where(OUTPUTS.c.job_id == IDS, OUTPUTS.c.name != _NAME_OF_SCORE)
        .group_by(OUTPUTS.c.job_id)
        .subquery("outputs_of_jobs")
    )


def delivered(name: str) -> ColumnElement[Any]:
    """A column of the delivered picture: of the output named like the return form, or of what was bought.

    Needs DELIVERED, joined by IS_DELIVERED. Null while that output is waiting, and if it failed.
    """
    return case((DELIVERED.c.job_id.is_(None), JOBS.c[name]), else_=DELIVERED.c[name])


def score_of(jobs: FromClause) -> ScalarSelect[dict[str, Any]]:
    """The score of a job's cutout and its reasons, as JSON; null if it has none yet.

    A job that reused a cutout has the score of its purchase. `jobs` needs the columns id, reused, sha256 and
    source_sha256.
    """
    measures = select(_SCORES.c.measures).where(_SCORES.c.state == _MADE)
    own = measures.where(_SCORES.c.job_id == jobs.c.id, _SCORES.c.name == _NAME_OF_SCORE)
    of_purchase = measures.where(
        _SCORES.c.bought_sha256 == jobs.c.sha256,
        _SCORES.c.recipe == _NAME_OF_SCORE,
        _SCORES.c.source_sha256.is_not_distinct_from(jobs.c.source_sha256),
    ).limit(1)
    chosen = case(
        (jobs.c.reused, of_purchase.correlate(jobs).scalar_subquery()),
        else_=own.correlate(jobs).scalar_subquery(),
    )
    return select(chosen).correlate(jobs).scalar_subquery()


def score_number(jobs: FromClause) -> ColumnElement[float]:
    """The score as a number from 0 to 1, likewise."""
    return cast(score_of(jobs).op("->>")("score"), REAL)


def states_of(jobs: FromClause) -> ColumnElement[Any]:
    """The states of a job's outputs, its score not among them, as an array.

    Read by a probe of the primary key for each job: no join, for which Postgres might read the whole table.
    """
    found = (
        select(OUTPUTS.c.state)
        .where(OUTPUTS.c.job_id == jobs.c.id, OUTPUTS.c.name != _NAME_OF_SCORE)
        .correlate(jobs)
    )
    return func.array(found.scalar_subquery())


def find_outputs(database: Database, job: Job) -> tuple[tuple[JobOutput, ...], dict[str, Any] | None]:
    """The outputs of a job but its score, and its score with the reasons."""
    outputs = outputs_of_jobs()
    row = database.execute(
        select(outputs.c.outputs, score_of(JOBS))
        .select_from(JOBS)
        .outerjoin(outputs, outputs.c.job_id == JOBS.c.id)
        .where(JOBS.c.id == IDS),
        {"ids": [job.id]},
    ).one()
    return JobOutput.of(row[0]), row[1]


def count_outputs(database: Database, batch_id: uuid.UUID) -> tuple[OutputCounts, OutputCounts]:
    """The outputs of a batch's jobs by state, and their scores by state."""
    # An index-only scan, as that of the jobs.
    is_score = (OUTPUTS.c.name == _NAME_OF_SCORE).label("is_score")
    rows = database.execute(
        select(is_score, OUTPUTS.c.state, func.count())
        .where(OUTPUTS.c.batch_id == batch_id)
        .group_by(is_score, OUTPUTS.c.state)
    ).all()
    outputs, scores = (
        {state: count for score, state, count in rows if score is kind} for kind in (False, True)
    )
    return OutputCounts(**outputs), OutputCounts(**scores)


# A probe of the index for each state and name, not a scan of all outputs.
_NAMES = text(
    """
    WITH RECURSIVE found AS (
        (SELECT state, name FROM outputs WHERE batch_id = :batch ORDER BY state, name LIMIT 1)
        UNION ALL
        SELECT following.state, following.name FROM found CROSS JOIN LATERAL (
            SELECT state, name FROM outputs
            WHERE batch_id = :batch AND (state, name) > (found.state, found.name)
            ORDER BY state, name LIMIT 1
        ) AS following
    )
    SELECT DISTINCT name FROM found WHERE name <> 'score' ORDER BY name
    """
).columns(name=Text)
_IS_RENDITION = (
    select(OUTPUTS.c.name)
    .join_from(OUTPUTS, JOBS, JOBS.c.id == OUTPUTS.c.job_id)
    .where(
        OUTPUTS.c.batch_id == bindparam("batch", type_=Uuid),
        OUTPUTS.c.name == bindparam("name", type_=Text),
        JOBS.c.return_form != OUTPUTS.c.name,
    )
    .limit(1)
)


def renditions_of_batch(database: Database, batch_id: uuid.UUID) -> tuple[str, ...]:
    """The sorted names of the batch's outputs beside the return forms of its jobs."""
    names = database.scalars(_NAMES, {"batch": batch_id}).all()
    return tuple(
        name
        for name in names
        if name not in _FORMS or database.scalar(_IS_RENDITION, {"batch": batch_id, "name": name})
    )
