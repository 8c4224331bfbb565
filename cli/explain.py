"""Why a job waits."""

import unicodedata
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from cli.console import fail, out
from cli.database import find_batch, find_one, open_database, plain_errors
from cli.unexpected import name_unexpected
from cutout.models import Attempt, Job
from cutout.settings import read_settings
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain as explain_job
from cutout.status.explain_outputs import explain_outputs
from cutout.status.explanation import Explanation


def explain(
    identifier: Annotated[
        str, typer.Argument(metavar="JOB", help="A job's id, the beginning of it, or BATCH:EXTERNAL_ID.")
    ],
    *,
    answer: Annotated[
        bool,
        typer.Option(
            "--answer",
            help="Also print the endpoint's answers that were not understood. Keep them secret: whoever has"
            " the URL in one can download the picture.",
        ),
    ] = False,
) -> None:
    """Explain why a job or its output is not finished, and what to do."""
    settings = CallSettings.of(read_settings())
    with plain_errors(), Session(open_database()) as session:
        for job in _jobs(session, identifier):
            _print(job, explain_job(session, job, settings))
            for output in explain_outputs(session, job):
                out.print(f"  output {output.name} {output.state}: {output.text}", markup=False)
                if output.remedy:
                    out.print(f"    {output.remedy}", markup=False)
            if answer:
                _print_answers(session, job)


def _jobs(session: Session, identifier: str) -> list[Job]:
    batch, colon, external_id = identifier.partition(":")
    if not colon:
        found = find_one(session, identifier)
        if isinstance(found, Job):
            return [found]
        fail(f"{found.id} is a batch; name a job of it as {found.id}:EXTERNAL_ID, or see `cutout status`")
    owner = find_batch(session, batch)
    jobs = session.scalars(
        select(Job)
        .where(Job.batch_id == owner.id, Job.external_id.in_(spellings(external_id)))
        .order_by(Job.id)
    ).all()
    if not jobs:
        fail(f"the batch {owner.id} has no job with the external_id {external_id!r}")
    return list(jobs)


def spellings(external_id: str) -> set[str]:
    """The id with its accents as keyboards, and as macOS's file names have them."""
    return {external_id, *(unicodedata.normalize(form, external_id) for form in ("NFC", "NFD"))}


def _print(job: Job, why: Explanation) -> None:
    name = f"{job.external_id or ''} {job.return_form}".strip()
    out.print(f"{why.state}", style="bold", end="")
    out.print(f"  {job.id}  {name}", markup=False)
    out.print(f"  {why.text}", markup=False)
    if why.remedy:
        out.print(f"  {why.remedy}", markup=False)
    name_unexpected(job)


def _print_answers(session: Session, job: Job) -> None:
    kept = session.execute(
        select(Attempt.number, Attempt.begun_at, Attempt.raw_answer)
        .where(Attempt.job_id == job.id, Attempt.raw_answer.is_not(None))
        .order_by(Attempt.number)
    ).all()
    for number, begun_at, raw in kept:
        out.print(f"  answer to call {number} of {begun_at:%Y-%m-%d %H:%M:%S} UTC, a secret:")
        out.print(_printable(raw or ""), markup=False)
    if not kept:
        out.print("  every answer to its calls was understood, and none is kept")


def _printable(raw: str) -> str:
    """The text without what moves a terminal's cursor."""
    return "".join(each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in raw)
