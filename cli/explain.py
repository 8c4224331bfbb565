"""Why a job waits."""

from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from cli.console import fail, out
from cli.database import find_batch, find_one, open_database, plain_errors
from jobs.explain import Explanation, Installation
from jobs.explain import explain as explain_job
from jobs.models import Job
from jobs.settings import settings


def explain(
    identifier: Annotated[
        str, typer.Argument(metavar="JOB", help="A job's id or its beginning, or BATCH:EXTERNAL_ID.")
    ],
) -> None:
    """Say why a job is not done yet, or what became of it, and what can be done about it."""
    known = Installation.of(settings())
    with plain_errors(), Session(open_database()) as session:
        for job in _jobs(session, identifier):
            _print(job, explain_job(session, job, known))


def _jobs(session: Session, identifier: str) -> list[Job]:
    batch, colon, external_id = identifier.partition(":")
    if not colon:
        found = find_one(session, identifier)
        if isinstance(found, Job):
            return [found]
        fail(f"{found.id} is a batch; name a job of it as {found.id}:EXTERNAL_ID, or see `cutout status`")
    owner = find_batch(session, batch)
    jobs = session.scalars(
        select(Job).where(Job.batch_id == owner.id, Job.external_id == external_id).order_by(Job.id)
    ).all()
    if not jobs:
        fail(f"the batch {owner.id} has no job with the external_id {external_id!r}")
    return list(jobs)


def _print(job: Job, why: Explanation) -> None:
    name = f"{job.external_id or ''} {job.return_form}".strip()
    out.print(f"{why.state}", style="bold", end="")
    out.print(f"  {job.id}  {name}", markup=False)
    out.print(f"  {why.text}", markup=False)
    if why.remedy:
        out.print(f"  {why.remedy}", markup=False)
