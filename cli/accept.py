"""`cutout accept`: the unexpected result of a paid call becomes the cutout of its job."""

import time
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.actor import ReasonOption, asked
from cli.console import Exit, fail, out
from cli.database import find_one, open_database, plain_errors
from cutout.actions.jobs import accept_job
from cutout.enums import State
from cutout.models import Job
from cutout.storage.unexpected_bytes import Unexpected

LOOK_EVERY_S = 0.2


def accept(
    identifier: Annotated[
        str, typer.Argument(metavar="JOB", help="A held job's id, or the beginning of it.")
    ],
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for the worker that copies it.")
    ] = 20,
    reason: ReasonOption = None,
) -> None:
    """Accept the unexpected result of a held job as its cutout.

    No call is made for it.
    """
    engine = open_database()
    with plain_errors():
        job, found = _look(engine, identifier)
        with engine.begin() as connection:
            accepted = accept_job(connection, asked(reason), job.id, found)
        if not accepted:
            fail(f"the job {job.id} moved on at this moment; look at it with `cutout status`", Exit.FAILED)
        out.print(f"accepted {found.key}, {found.width}x{found.height} {found.media_type}", markup=False)
        _say_what_became(engine, job, wait)


def _look(engine: Engine, identifier: str) -> tuple[Job, Unexpected]:
    with Session(engine, expire_on_commit=False) as session:
        job = find_one(session, identifier)
    if not isinstance(job, Job):
        fail(f"{job.id} is a batch; accept its jobs one by one: each is to be looked at")
    found = Unexpected.of(job.unexpected)
    if job.state != State.HELD or found is None:
        fail(f"the job {job.id} is {job.state} and has nothing to accept; see `cutout explain`", Exit.FAILED)
    if not found.is_picture:
        fail(
            f"what came for the job {job.id} is no picture ({found.reason}) and cannot be its cutout;"
            " `cutout explain` has a link to it",
            Exit.FAILED,
        )
    return job, found


def _say_what_became(engine: Engine, job: Job, wait_s: float) -> None:
    ends_at = time.monotonic() + wait_s
    while True:
        with Session(engine) as session:
            now = session.get_one(Job, job.id)
            if now.state == State.SUCCEEDED:
                out.print(f"the job {job.id} succeeded: {now.key}", markup=False)
                return
            if now.state in (State.HELD, State.CANCELLED, State.FAILED):
                fail(f"the job {job.id} is {now.state}: {now.code}: {now.message}", Exit.FAILED)
        if time.monotonic() >= ends_at:
            out.print(f"no worker has copied it yet; `cutout status {job.id}` says when one has")
            raise typer.Exit(Exit.UNFINISHED)
        time.sleep(LOOK_EVERY_S)
