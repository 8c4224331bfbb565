"""Schedules and their runs, for people."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from cli.console import fail, out
from cli.numbers import counted, in_words
from cutout.enums import AtWindowEnd, RunState
from cutout.ingest.skipped_files import reason_text
from cutout.models import Run, Schedule
from cutout.outputs.options import RequestedOutputs
from cutout.schedules import Report
from cutout.schedules.definition import Options
from cutout.schedules.manage import coming_runs, listed

UTC_FORM, LOCAL_FORM = "%Y-%m-%d %H:%M:%S UTC", "%a %Y-%m-%d %H:%M:%S %Z"
COUNTED = (
    "new",
    "changed",
    "again",
    "unchanged",
    "vanished",
    "succeeded",
    "failed",
    "held",
    "rejected",
    "skipped",
)
COLOURS = {RunState.SUCCEEDED: "green", RunState.FAILED: "red", RunState.LATE: "red"}


def find_schedule(session: Session, word: str) -> Schedule:
    """The schedule of that name, or whose id begins so; ends the command unless there is one."""
    schedules = listed(session)
    found = [one for one in schedules if one.name == word] or [
        one for one in schedules if word and str(one.id).startswith(word.lower())
    ]
    if not found:
        fail(f"there is no schedule {word!r}; see `cutout schedule list`")
    if len(found) > 1:
        fail(f"{word!r} means more than one schedule; write the beginning of an id of `cutout schedule list`")
    return found[0]


def list_line(session: Session, schedule: Schedule) -> str:
    """Its id, name, recurrence and next run."""
    fires = [run for run in coming_runs(session, schedule, 2) if not run.skipped]
    upcoming = f"next {fires[0].due_at:{UTC_FORM}}" if fires else "never again"
    paused = _paused(schedule)
    state = paused or upcoming
    return f"{schedule.id}  {schedule.name:20}  {schedule.cron} {schedule.zone}  {state}"


def _paused(schedule: Schedule) -> str | None:
    """Since when, and by whom if that was an operator."""
    if schedule.paused_by_operator_at is not None:
        return f"paused since {schedule.paused_by_operator_at:{UTC_FORM}} by an operator"
    return f"paused since {schedule.paused_at:{UTC_FORM}}" if schedule.paused_at else None


def describe_next(session: Session, schedule: Schedule, count: int) -> None:
    """Print the coming runs, each in UTC and as clocks there show it."""
    if paused := _paused(schedule):
        out.print(f"{paused}; if it went on, it would fire", markup=False)
    for run in coming_runs(session, schedule, count):
        spread = f"  begins {run.due_at:{UTC_FORM}}" if run.due_at != run.fire_at else ""
        skipped = "  skipped" if run.skipped else ""
        local = _local(run.fire_at, schedule.zone)
        out.print(f"{run.fire_at:{UTC_FORM}}  {local}{spread}{skipped}", markup=False)


def describe_schedule(session: Session, schedule: Schedule) -> None:
    """Print what was ordered, and when it fires next."""
    out.print(f"schedule {schedule.id}  {schedule.name}", markup=False)
    for what, words in _ordered(schedule):
        out.print(f"  {what:<10}{words}", markup=False)
    for run in coming_runs(session, schedule, 2 if schedule.skips_at else 1):
        word = "skipped" if run.skipped else "next"
        out.print(f"  {word:<10}{run.due_at:{UTC_FORM}}  {_local(run.due_at, schedule.zone)}", markup=False)


def _ordered(schedule: Schedule) -> Iterator[tuple[str, str]]:
    options = Options.of(schedule.options)
    yield "source", schedule.source
    yield "cron", f"{schedule.cron} {schedule.zone}"
    if paused := _paused(schedule):
        yield "paused", paused.removeprefix("paused ")
    if schedule.window_start is not None:
        then = "runs on" if schedule.at_window_end == AtWindowEnd.RUN_ON else "waits for the next one"
        yield "window", f"{schedule.window_start:%H:%M}-{schedule.window_end:%H:%M}; what is left {then}"
    yield "forms", ", ".join(options.forms)
    if words := _outputs(options.outputs):
        yield "outputs", words
    yield "priority", options.priority.name.lower()
    for what, budget in (("a run", schedule.run_budget), ("a month", schedule.month_budget)):
        if budget is not None:
            yield "budget", f"{counted(budget, 'credit')} {what}"
    yield "policy", f"overlap {schedule.overlap}, catch-up {schedule.catch_up}"


def _outputs(outputs: RequestedOutputs) -> str:
    """The options given; empty where the settings decide."""
    size = {None: "", True: "full size", False: "sent size"}[outputs.full_size]
    forms = outputs.forms and f"forms {outputs.forms}"
    return ", ".join(word for word in (forms, size, *outputs.renditions) if word)


def describe_runs(runs: list[Run]) -> None:
    """Print runs, a line each, and what there is to say of them below."""
    if not runs:
        out.print("no run yet")
    for run in runs:
        state = RunState(run.state)
        colour = COLOURS.get(state)
        out.print(f"{run.fire_at:{UTC_FORM}}", end="  ")
        out.print(f"[{colour}]{state:<12}[/]" if colour else f"{state:<12}", end="  ")
        out.print(", ".join(_told(run)), markup=False)
        if run.note:
            out.print(f"  {run.note}", markup=False)


def describe_report(report: Report, key: str) -> None:
    """Print what stopped in the latest run, what took long, and where all of it is."""
    out.print("the latest run")
    out.print(
        f"  {counted(report.charged, 'credit')}, {report.unknown:,} perhaps, {report.saved:,} saved by reuse",
        markup=False,
    )
    for found in report.skipped:
        out.print(f"  skipped {reason_text(found)}", markup=False)
    for remark in report.remarks:
        out.print(f"  {remark}", markup=False)
    for trouble in report.troubles:
        said = f": {trouble.message}" if trouble.message else ""
        out.print(f"  {trouble.jobs:,} {trouble.state} {trouble.code}{said}", markup=False)
    if report.slowest:
        calls = ", ".join(f"{call.external_id} {call.seconds:.1f} s" for call in report.slowest)
        out.print(f"  slowest: {calls}", markup=False)
    out.print(f"  report: {key}, with report.html and results.csv beside it", markup=False)


def _told(run: Run) -> Iterator[str]:
    counts = run.counts or {}
    if counts:
        yield f"{counted(counts['jobs'], 'job')}"
        yield from (f"{counts[word]:,} {word}" for word in COUNTED if counts.get(word))
        yield counted(counts["credits"], "credit")
    if run.started_at and run.finished_at:
        yield in_words((run.finished_at - run.started_at).total_seconds())
    if run.batch_id:
        yield f"batch {run.batch_id}"


def _local(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):{LOCAL_FORM}}"
