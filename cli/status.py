"""Where a batch or a job is."""

from typing import Annotated

import typer
from rich.markup import escape
from sqlalchemy import select
from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from cli.database import find_one, open_database, plain_errors
from cli.output_summary import describe_outputs, describe_outputs_of_job
from cli.unexpected import name_unexpected
from cli.wait import wait_for_batch
from cutout.enums import FINAL_STATES, BatchState, State
from cutout.ingest.skipped_files import reason_text
from cutout.models import Job
from cutout.status.batch_status import BatchStatus, IngestState, batch_status
from cutout.status.outputs import NO_OUTPUTS

NAMED_FAILURES = 10


def status(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="A batch's or job's id, or the beginning of it.")
    ],
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Watch a batch until all jobs and outputs are finished.")
    ] = False,
) -> None:
    """Show the state of a batch or job, and why jobs failed."""
    engine = open_database()
    with plain_errors(), Session(engine) as session:
        found = find_one(session, identifier, batch_first=True)
        session.rollback()
        if watch and not isinstance(found, Job):
            wait_for_batch(engine, found.id)
        if isinstance(found, Job):
            describe_job(found)
            describe_outputs_of_job(session, found)
            raise typer.Exit(_exit_of_job(found))
        counted = batch_status(session, found.id)
        if counted is None:
            fail(f"the batch {found.id} is gone")
        describe_batch(counted)
        describe_skipped(counted)
        name_failures(session, counted)
        describe_outputs(session, counted)
        raise typer.Exit(exit_of_batch(counted))


def describe_job(job: Job) -> None:
    """Print one job."""
    out.print(f"job {job.id}  {escape(job.external_id or '')}  {job.return_form}  [bold]{job.state}[/]")
    if job.key:
        out.print(
            f"  {job.key}  {job.width}x{job.height} {job.media_type}, {job.size_bytes:,} bytes", markup=False
        )
    if job.cancelled_at and job.state not in FINAL_STATES:
        out.print("  cancelling: no call of it begins; what is paid for is copied")
    if job.warning:
        out.print(f"  warning: {job.warning}", markup=False)
    if job.code:
        out.print(f"  {job.code}: {job.message}", markup=False)
    if job.state == State.QUEUED and job.scheduled_at > job.created_at:
        out.print(f"  next at {job.scheduled_at:%Y-%m-%d %H:%M:%S} UTC, step {job.step}, tries {job.tries}")
    name_unexpected(job)
    if job.state in (State.HELD, State.FAILED):
        out.print(f"  go on with `cutout retry {job.id}`")


def describe_batch(batch: BatchStatus) -> None:
    """Print a batch's counts, leaving out states without jobs."""
    counts = ", ".join(f"{count:,} {state}" for state, count in batch.counts.items() if count)
    out.print(
        f"batch {batch.id}  {batch.name}: {batch.done:,} of {batch.total:,} done; {counts or 'no jobs'}",
        markup=False,
    )
    if batch.state is BatchState.DELETING:
        out.print("  deleting: it takes no job, and then it is not found any more")
    elif batch.state is BatchState.CANCELLING:
        out.print("  cancelling: no call of it begins; what runs or is paid for ends by itself")
    elif batch.state is BatchState.CANCELLED:
        out.print("  cancelled")
    describe_actions(batch)
    if batch.ingest and batch.ingest.state != IngestState.READ:
        read = batch.ingest.counts
        why = batch.ingest.error or batch.ingest.message or "its source is still read"
        out.print(
            f"  {why}: {read.records:,} rows so far, {read.rejects:,} rejected",
            markup=False,
        )


def describe_actions(batch: BatchStatus) -> None:
    """Print the changes of the whole batch that wait or are carried out, and why the last one ended early."""
    for action in batch.actions:
        doing = "is carried out" if action.started_at else "waits"
        why = f": {action.message}" if action.message else ""
        if action.finished_at is None:
            out.print(f"  {action.kind} {doing}, {action.changed:,} changed so far{why}", markup=False)
        elif action.code and action is batch.actions[0]:
            out.print(f"  {action.kind} ended after {action.changed:,}{why}", markup=False)


def describe_skipped(batch: BatchStatus) -> None:
    """Print the files of a batch's source that are not taken, and what is to be said of it."""
    if batch.ingest is None:
        return
    for reason in batch.ingest.skipped:
        out.print(f"  skipped {reason_text(reason)}", markup=False)
    for remark in batch.ingest.remarks:
        out.print(f"  note: {remark}", markup=False)


def name_failures(session: Session, batch: BatchStatus) -> None:
    """Print the first jobs that failed or are held, with their reasons."""
    stopped = batch.counts[State.FAILED] + batch.counts[State.HELD]
    jobs = session.scalars(
        select(Job)
        .where(Job.batch_id == batch.id, Job.state.in_([State.FAILED, State.HELD]), Job.deleted_at.is_(None))
        .order_by(Job.id)
        .limit(NAMED_FAILURES)
    )
    for job in jobs:
        out.print(
            f"  {job.state} {job.external_id or job.id} ({job.return_form}): {job.code}: {job.message}",
            markup=False,
        )
    if stopped > NAMED_FAILURES:
        out.print(
            f"  and {stopped - NAMED_FAILURES:,} more; `cutout results {batch.id} -o FILE.csv` has them all"
        )


def exit_of_batch(batch: BatchStatus, *, outputs: bool = True) -> Exit:
    """0 only when every job succeeded and no output failed; 3 while some are still to come.

    Without `outputs` those of the jobs do not count. Scores never do.
    """
    made = batch.outputs if outputs else NO_OUTPUTS
    if batch.counts[State.QUEUED] + batch.counts[State.RUNNING] + made.waiting:
        return Exit.UNFINISHED
    has_failed = batch.counts[State.SUCCEEDED] < batch.total or made.failed
    return Exit.FAILED if has_failed else Exit.SUCCEEDED


def _exit_of_job(job: Job) -> Exit:
    if job.state == State.SUCCEEDED:
        return Exit.SUCCEEDED
    return Exit.FAILED if job.state in FINAL_STATES | {State.HELD} else Exit.UNFINISHED
