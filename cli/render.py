"""Renditions of pictures that were bought."""

import uuid
from collections.abc import Mapping
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.actor import asked
from cli.console import Exit, fail, out
from cli.database import find_batch, find_one, open_database, plain_errors
from cli.ingest_options import FileNameOption, OutputsOption, outputs_of
from cli.numbers import counted
from cli.output_summary import describe_outputs
from cli.status import exit_of_batch
from cli.wait import wait_for_batch
from cutout.actions.at_once import add_outputs_now, retry_outputs_now
from cutout.actions.jobs import retry_job_outputs
from cutout.models import Job
from cutout.outputs.recipes import RecipeError
from cutout.queue.outputs.ask import OtherRecipeError


def render(
    identifier: Annotated[
        str,
        typer.Argument(
            metavar="BATCH", help="A batch's id, or the beginning of it; with --again also a job's."
        ),
    ],
    output: OutputsOption = None,
    file_name: FileNameOption = None,
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Make the outputs that failed again, with all their tries.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all of the batch are made.")] = False,
) -> None:
    """Make renditions of the pictures that a batch has bought.

    It costs no credit. Jobs that have not succeeded yet get them when they do. Renderers make them: see
    `cutout renderer`.
    """
    renditions = outputs_of(None, full_size=None, outputs=output, file_name=file_name).renditions
    if not renditions and not again:
        fail("name at least one --output, such as --output amazon, or give --again for those that failed")
    engine = open_database()
    with plain_errors():
        batch_id, job_id = _find(engine, identifier, of_jobs=again and not renditions)
        if renditions and batch_id:
            _ask(engine, batch_id, renditions)
        if again:
            _repeat(engine, batch_id, job_id)
        if not wait or batch_id is None:
            return
        batch_now = wait_for_batch(engine, batch_id)
        with Session(engine) as session:
            describe_outputs(session, batch_now)
    raise typer.Exit(exit_of_batch(batch_now))


def _find(engine: Engine, identifier: str, *, of_jobs: bool) -> tuple[uuid.UUID | None, uuid.UUID | None]:
    """The batch, and the job if that is meant; the batch of a job is None if it has none."""
    with Session(engine) as session:
        if not of_jobs:
            return find_batch(session, identifier).id, None
        found = find_one(session, identifier, batch_first=True)
        return (found.batch_id, found.id) if isinstance(found, Job) else (found.id, None)


def _ask(engine: Engine, batch_id: uuid.UUID, renditions: Mapping[str, Mapping[str, str]]) -> None:
    try:
        added = add_outputs_now(engine, asked(), batch_id, renditions)
    except (OtherRecipeError, RecipeError) as error:
        fail(f"{'--output' if isinstance(error, OtherRecipeError) else '--file-name'}: {error}")
    out.print(f"{counted(added, 'output')} to make, for no credit")


def _repeat(engine: Engine, batch_id: uuid.UUID | None, job_id: uuid.UUID | None) -> None:
    repeated = 0
    if job_id is not None:
        with engine.begin() as connection:
            repeated = retry_job_outputs(connection, asked(), job_id)
    elif batch_id is not None:
        repeated = retry_outputs_now(engine, asked(), batch_id)
    if not repeated:
        fail("no output of it has failed", Exit.FAILED)
    out.print(f"{counted(repeated, 'failed output')} to make again, for no credit")
