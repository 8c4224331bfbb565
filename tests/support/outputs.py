"""Rows of outputs as renderers leave them, for tests that need no renderer."""

import uuid
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select, update

from cutout.enums import OutputState
from cutout.models import JOBS, OUTPUTS, RENDERERS

MADE: dict[str, Any] = {
    "version": 1,
    "key": "cutouts/full.png",
    "sha256": b"\xcd" * 32,
    "media_type": "image/png",
    "size_bytes": 99_999,
    "width": 40,
    "height": 80,
    "factor": 4.0,
    "measures": {"width": 40},
    "problems": [],
}
REASON: dict[str, Any] = {"measure": "holes", "value": 0.25, "text": "the product has holes"}


def job_id_of(engine: Engine, name: str) -> uuid.UUID:
    """The id of the one job with this id or external id."""
    with suppress(ValueError):
        return uuid.UUID(name)
    with engine.connect() as connection:
        found: uuid.UUID = connection.execute(
            select(JOBS.c.id).where(JOBS.c.external_id == name)
        ).scalar_one()
        return found


def without_outputs(engine: Engine) -> None:
    """Let all jobs deliver what was bought as it is, as jobs do whose source was sent untouched."""
    with engine.begin() as connection:
        connection.execute(delete(OUTPUTS))


def put_output(
    engine: Engine, job: uuid.UUID | str, name: str, state: OutputState = OutputState.WAITING, **values: Any
) -> None:
    """Give a job, by its id or external id, an output in this state; one of that name is replaced."""
    job_id = job if isinstance(job, uuid.UUID) else job_id_of(engine, job)
    ended = {} if state is OutputState.WAITING else {"finished_at": func.now()}
    made = MADE if state is OutputState.MADE and name != "score" else {}
    with engine.begin() as connection:
        connection.execute(delete(OUTPUTS).where(OUTPUTS.c.job_id == job_id, OUTPUTS.c.name == name))
        row = connection.execute(select(JOBS).where(JOBS.c.id == job_id)).one()
        common = {
            "job_id": job_id,
            "name": name,
            "recipe": name,
            "state": state,
            "producer_id": row.producer_id,
            "batch_id": row.batch_id,
            "priority": row.priority,
            "bought_sha256": row.sha256,
            "source_sha256": row.source_sha256,
        }
        connection.execute(insert(OUTPUTS).values(**common | ended | made | values))


def wait_at_full_size(engine: Engine) -> None:
    """Let the picture of every succeeded job wait for its full size, as if its source had been shrunk."""
    with engine.connect() as connection:
        jobs = connection.execute(select(JOBS.c.id).where(JOBS.c.state == "succeeded")).scalars().all()
    for job_id in jobs:
        put_output(engine, job_id, "rgba")


def put_score(engine: Engine, job: uuid.UUID | str, score: float) -> None:
    """Give a job the score of its cutout, with a reason if it is above 0."""
    reasons = [REASON] if score else []
    put_output(
        engine, job, "score", OutputState.MADE, measures={"score": score, "reasons": reasons}, version=1
    )


def make_outputs(engine: Engine, **values: Any) -> None:
    """Make every waiting output but scores."""
    with engine.begin() as connection:
        connection.execute(
            update(OUTPUTS)
            .where(OUTPUTS.c.state == "waiting", OUTPUTS.c.name != "score")
            .values(state="made", finished_at=func.now(), **MADE | values)
        )


def put_renderer(
    engine: Engine, *, processes: int = 1, made: int = 10, busy_seconds: float = 20.0, seen_s_ago: int = 0
) -> None:
    """A renderer that was heard so many seconds ago."""
    with engine.begin() as connection:
        connection.execute(
            insert(RENDERERS).values(
                host="test",
                processes=processes,
                made=made,
                busy_seconds=busy_seconds,
                seen_at=func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seen_s_ago),
            )
        )
