"""Outputs of a batch or job as commands print them."""

import uuid

from sqlalchemy import REAL, cast, column, literal, select, text
from sqlalchemy.orm import Session

from cli.console import out
from cli.numbers import counted
from cutout.enums import OutputState
from cutout.models import JOBS, OUTPUTS, Job
from cutout.status.batch_status import BatchStatus
from cutout.status.outputs import SCORE, JobOutput, OutputCounts, find_outputs
from cutout.status.render_rate import read_render_rate

START_ONE = "start one with `cutout renderer`"
# A score from which a cutout is named; below it most are good.
SUSPICIOUS = 0.5
NAMED = 5
MOST_NAMED_FAILURES = 10
# The name of the rule is what a problem begins with.
PROBLEMS = text(
    """
    SELECT split_part(problem, ':', 1) AS rule, count(DISTINCT (job_id, name))
    FROM outputs CROSS JOIN LATERAL jsonb_array_elements_text(problems) AS problem
    WHERE batch_id = :batch AND state = 'made'
    GROUP BY rule ORDER BY 2 DESC, 1
    """
)


def say_without_renderer(session: Session, waiting: int) -> bool:
    """Print that no renderer runs, if none does; returns whether it was printed."""
    if read_render_rate(session).processes:
        return False
    subject = f"{counted(waiting, 'output')} wait" if waiting else "outputs will wait"
    out.print(f"  {subject}: no renderer runs; {START_ONE}")
    return True


def describe_outputs(session: Session, batch: BatchStatus) -> None:
    """Print the outputs of a batch by state, the problems by rule, and the most suspicious cutouts."""
    if batch.outputs.total:
        problems = _problems_text(session, batch.id)
        out.print(f"  outputs: {counts_text(batch.outputs)}{problems}", markup=False)
        if problems:
            out.print("  which they are: `cutout results`, in the columns NAME_problems")
    if batch.scores.total:
        out.print(f"  scores: {counts_text(batch.scores)}")
    if batch.waiting_outputs:
        say_without_renderer(session, batch.waiting_outputs)
    if batch.outputs.failed:
        _name_failures(session, batch)
    for name, score, reasons in _suspicious(session, batch.id) if batch.scores.made else ():
        why = ", ".join(reason["text"] for reason in reasons)
        out.print(f"  suspicious {name}: {score:.2f} of 1: {why}", markup=False)


def describe_outputs_of_job(session: Session, job: Job) -> None:
    """Print each output of a job, and its score."""
    outputs, score = find_outputs(session, job)
    for output in outputs:
        out.print(f"  {_line(output)}", markup=False)
    if score is not None:
        reasons = "".join(f"; {reason['text']}" for reason in score["reasons"])
        out.print(f"  suspicion {score['score']:.2f} of 1{reasons}", markup=False)


def counts_text(counts: OutputCounts) -> str:
    """The counts by state, without states that have none."""
    return ", ".join(f"{count:,} {state}" for state, count in counts._asdict().items() if count)


def _line(output: JobOutput) -> str:
    line = f"{output.name} {output.state}"
    if output.key:
        line += (
            f"  {output.key}  {output.width}x{output.height} {output.media_type}, {output.size_bytes:,} bytes"
        )
    if output.note:
        line += f"; {output.note}"
    if output.code:
        line += f": {output.code}: {output.message}"
    return line + "".join(f"; problem: {problem}" for problem in output.problems or ())


def _problems_text(session: Session, batch_id: uuid.UUID) -> str:
    """The made outputs with problems, by the rule that they do not meet; empty if there are none."""
    found = session.execute(PROBLEMS, {"batch": batch_id}).all()
    return f"; problems: {', '.join(f'{count:,} of {name}' for name, count in found)}" if found else ""


def _name_failures(session: Session, batch: BatchStatus) -> None:
    found = session.execute(
        select(JOBS.c.external_id, JOBS.c.id, OUTPUTS.c.name, OUTPUTS.c.code, OUTPUTS.c.message)
        .join_from(OUTPUTS, JOBS, JOBS.c.id == OUTPUTS.c.job_id)
        .where(OUTPUTS.c.batch_id == batch.id, OUTPUTS.c.state == OutputState.FAILED, OUTPUTS.c.name != SCORE)
        .order_by(OUTPUTS.c.job_id, OUTPUTS.c.name)
        .limit(MOST_NAMED_FAILURES)
    ).all()
    for external_id, job_id, name, code, message in found:
        out.print(f"  failed output {name} of {external_id or job_id}: {code}: {message}", markup=False)
    if batch.outputs.failed > MOST_NAMED_FAILURES:
        out.print(f"  and {batch.outputs.failed - MOST_NAMED_FAILURES:,} more failed outputs")
    out.print(f"  once the cause is removed: cutout render {batch.id} --again")


def _suspicious(session: Session, batch_id: uuid.UUID) -> list[tuple[str, float, list[dict[str, str]]]]:
    score = cast(OUTPUTS.c.measures["score"].astext, REAL)
    found = session.execute(
        select(JOBS.c.external_id, JOBS.c.id, score.label("score"), OUTPUTS.c.measures["reasons"])
        .join_from(OUTPUTS, JOBS, JOBS.c.id == OUTPUTS.c.job_id)
        .where(
            OUTPUTS.c.batch_id == batch_id,
            OUTPUTS.c.state == OutputState.MADE,
            OUTPUTS.c.name == SCORE,
            score >= literal(SUSPICIOUS),
        )
        .order_by(column("score").desc(), JOBS.c.id)
        .limit(NAMED)
    )
    return [(external_id or str(job_id), value, reasons) for external_id, job_id, value, reasons in found]
