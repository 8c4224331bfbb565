"""Jobs that are polled: a new one, one in a worker's hands, and one that changes."""

import httpx
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from cutout.models import JOBS
from tests.api.test_jobs import SOURCE
from tests.support.steps import claim_one, new_worker


def new_job(shop: httpx.Client) -> str:
    job_id: str = shop.post("/v1/jobs", json={"source_url": SOURCE}).json()["id"]
    return job_id


def claim(engine: Engine) -> None:
    """A worker takes the first ready job."""
    with Session(engine) as session, session.begin():
        claim_one(session, new_worker(session))


def change(engine: Engine, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(update(JOBS).values(**values))
