"""Batches that repeat: added, looked at, stopped, run by hand."""

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.actor import ReasonOption, asked
from cli.console import Exit, err, fail, out
from cli.database import open_database, plain_errors
from cli.ingest_options import (
    BEFORE_SPENDING,
    OF_A_MANIFEST,
    ColumnsOption,
    DelimiterOption,
    EncodingOption,
    ExcludeOption,
    FileNameOption,
    FormsOption,
    FullSizeOption,
    IncludeOption,
    ManyOption,
    OutputsOption,
    columns_of,
    delimiter_of,
    one_of_priorities,
    outputs_of,
    patterns_of,
    producer_of,
)
from cli.schedule_text import (
    UTC_FORM,
    describe_next,
    describe_report,
    describe_runs,
    describe_schedule,
    find_schedule,
    list_line,
)
from cutout.actions import schedules as actions
from cutout.enums import PRIORITIES, AtWindowEnd, CatchUp, Overlap, ReturnForm
from cutout.models import Schedule
from cutout.queue.blocks.pauses import By, PausedByOperatorError
from cutout.schedules import gather, manage
from cutout.schedules.definition import BUCKET, LEAST_GRACE_S, WEB, NewSchedule, Options
from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.schedules.windows import parse_window
from cutout.settings import read_settings
from cutout.webhooks import InvalidWebhookError, require_webhooks

app = typer.Typer(
    no_args_is_help=True,
    help="Add, list, pause and run batches that repeat.",
)

COMING = 10
LATEST = 10
WHEN = "When"
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A schedule's name, or the beginning of its id.")
]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")],
    *,
    source: Annotated[
        str,
        typer.Option(
            help="What `cutout ingest` accepts: a directory, s3://bucket/prefix, a manifest; or a manifest's"
            " https:// address."
        ),
    ],
    cron: Annotated[
        str,
        typer.Option(
            help="Five fields: minute, hour, day, month, weekday; or @daily, @hourly and so on.",
            rich_help_panel=WHEN,
        ),
    ],
    tz: Annotated[str, typer.Option(help="Time zone, e.g. Europe/Paris.", rich_help_panel=WHEN)] = "UTC",
    window: Annotated[
        str | None,
        typer.Option(
            metavar="FROM-TO",
            help="Hours in which calls are made, e.g. 01:00-06:00.",
            show_default="any hour",
            rich_help_panel=WHEN,
        ),
    ] = None,
    at_window_end: Annotated[
        str,
        typer.Option(
            metavar="wait|run-on",
            help="At the window's end, the jobs left wait for the next window or run on.",
            rich_help_panel=WHEN,
        ),
    ] = "wait",
    overlap: Annotated[
        Overlap,
        typer.Option(help="What a run does if the last one is still under way.", rich_help_panel=WHEN),
    ] = Overlap.SKIP,
    catch_up: Annotated[
        CatchUp,
        typer.Option(help="Which of the runs missed in an outage start later.", rich_help_panel=WHEN),
    ] = CatchUp.LATEST,
    jitter: Annotated[
        int, typer.Option(min=0, help="Delay each run by up to this many seconds.", rich_help_panel=WHEN)
    ] = 0,
    grace: Annotated[
        int,
        typer.Option(
            min=LEAST_GRACE_S, help="Seconds of delay before a run counts as late.", rich_help_panel=WHEN
        ),
    ] = 300,
    return_form: Annotated[
        list[ReturnForm], typer.Option(help="Form of the cutouts that you get; may be repeated.")
    ] = [ReturnForm.RGBA],  # noqa: B006 - typer copies it
    forms: FormsOption = None,
    full_size: FullSizeOption = None,
    output: OutputsOption = None,
    file_name: FileNameOption = None,
    priority: Annotated[str, typer.Option(help=f"{', '.join(PRIORITIES)}.")] = "bulk",
    weight: Annotated[
        float, typer.Option(min=0.001, max=1000, help="Share of the calls, relative to other batches.")
    ] = 1.0,
    budget: Annotated[
        int | None,
        typer.Option(min=0, help="The most credits that a run may cost.", rich_help_panel=BEFORE_SPENDING),
    ] = None,
    month_budget: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The most credits that the runs of a calendar month may cost.",
            rich_help_panel=BEFORE_SPENDING,
        ),
    ] = None,
    min_source_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Do nothing if the source has less than this share of the last run's pictures.",
            rich_help_panel=BEFORE_SPENDING,
        ),
    ] = 0.5,
    reuse: Annotated[
        bool, typer.Option(help="Use cutouts that were bought before.", rich_help_panel=BEFORE_SPENDING)
    ] = True,
    map_: ColumnsOption = "",
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    many: ManyOption = False,
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    keys: Annotated[
        bool,
        typer.Option(
            "--keys",
            help="Sources without a scheme are keys in the bucket, not files.",
            rich_help_panel=OF_A_MANIFEST,
        ),
    ] = False,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="URL to send each run's signed report to.")
    ] = None,
) -> None:
    """Add a schedule.

    Each run ingests the source as `cutout ingest` does.
    """
    options = Options(
        tuple(dict.fromkeys(return_form)),
        PRIORITIES[one_of_priorities(priority)],
        weight,
        reuse,
        columns_of(map_),
        encoding,
        keys,
        delimiter=delimiter_of(delimiter),
        many=many,
        include=patterns_of("--include", include),
        exclude=patterns_of("--exclude", exclude),
        outputs=outputs_of(forms, full_size=full_size, outputs=output, file_name=file_name),
    )
    engine = open_database()
    try:
        with plain_errors(), Session(engine) as session, session.begin():
            new = NewSchedule(
                name,
                _absolute(source),
                cron,
                tz,
                options,
                window=parse_window(window) if window is not None else None,
                at_window_end=_at_window_end(at_window_end),
                run_budget=budget,
                month_budget=month_budget,
                overlap=overlap,
                catch_up=catch_up,
                jitter_seconds=jitter,
                grace_seconds=grace,
                min_source_share=min_source_share,
                producer_id=producer_of(engine, read_settings()),
                webhook_url=webhook,
            )
            if webhook:
                require_webhooks(read_settings(), webhook)
            schedule = actions.add_schedule(session, asked(), new)
            out.print(f"schedule {schedule.id}  {schedule.name}", markup=False)
            describe_next(session, schedule, 1)
    except (InvalidScheduleError, InvalidWebhookError) as error:
        fail(str(error))


def _absolute(source: str) -> str:
    """Make a path absolute, since the ingester that reads it has another working directory."""
    if source.startswith((*WEB, BUCKET)) or "://" in source:
        return source
    path = Path(source).absolute()
    if not path.exists():
        err.print(f"{path} is not on this machine; it must be where `cutout ingester` runs")
    return str(path)


def _at_window_end(word: str) -> AtWindowEnd:
    words = {end.replace("_", "-"): end for end in AtWindowEnd}
    if word not in words:
        fail(f"--at-window-end: {word!r} is not one of {', '.join(words)}")
    return words[word]


@app.command("list")
def list_() -> None:
    """List the schedules and the next run of each."""
    with plain_errors(), Session(open_database()) as session:
        for schedule in manage.listed(session):
            out.print(list_line(session, schedule), markup=False)


@app.command("show")
def show(name: NameArgument) -> None:
    """Show a schedule and its latest runs."""
    with plain_errors(), Session(open_database()) as session:
        schedule = find_schedule(session, name)
        describe_schedule(session, schedule)
        latest = manage.latest_runs(session, schedule.id, LATEST)
        describe_runs(latest)
        for run in latest[:1]:
            if run.report_key:
                describe_report(gather(session, run.id), run.report_key)


@app.command("next")
def next_(
    name: NameArgument,
    count: Annotated[int, typer.Option("--count", min=1, max=1000, help="How many runs to show.")] = COMING,
) -> None:
    """Show the next runs of a schedule, in UTC and in its time zone."""
    with plain_errors(), Session(open_database()) as session:
        describe_next(session, find_schedule(session, name), count)


@app.command("pause")
def pause(name: NameArgument, reason: ReasonOption = None) -> None:
    """Start no further run.

    A run under way continues; `cutout pause --batch` pauses its batch.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        schedule = find_schedule(session, name)
        if actions.pause_schedule(session, asked(reason), schedule) is None:
            fail(f"{schedule.name} is paused already", Exit.FAILED)
        said = schedule.name
    out.print(f"{said} is paused; `cutout schedule resume {said}` lets it fire again", markup=False)


@app.command("resume")
def resume(
    name: NameArgument,
    *,
    as_producer: Annotated[
        bool,
        typer.Option("--as-producer", help="Lift the pause of the schedule's producer, not an operator's."),
    ] = False,
    reason: ReasonOption = None,
) -> None:
    """Start runs again, from now on.

    Runs missed during the pause are skipped.
    """
    by = By.PRODUCER if as_producer else By.OPERATOR
    try:
        with plain_errors(), Session(open_database()) as session, session.begin():
            schedule = find_schedule(session, name)
            if actions.resume_schedule(session, asked(reason), schedule, by) is None:
                fail(f"{schedule.name} is not paused{_by_whom(schedule)}", Exit.FAILED)
            session.refresh(schedule)
            if manage.is_paused(schedule):
                out.print(f"{schedule.name} is not paused{_by_whom(schedule)}", markup=False)
                return
            out.print(f"{schedule.name} continues", markup=False)
            describe_next(session, schedule, 1)
    except PausedByOperatorError as error:
        fail(str(error), Exit.FAILED)
    except InvalidScheduleError as error:
        fail(str(error))


def _by_whom(schedule: Schedule) -> str:
    """Text about the producer's own pause, if there is one; it is the producer's to lift."""
    if schedule.paused_at is None:
        return ""
    return (
        f" by an operator; its producer paused it at {schedule.paused_at:%Y-%m-%d %H:%M:%S} UTC,"
        f" and lets it go on, or `cutout schedule resume --as-producer {schedule.name}`"
    )


@app.command("skip")
def skip(
    name: NameArgument,
    *,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let the next run start that was to be skipped.")
    ] = False,
    reason: ReasonOption = None,
) -> None:
    """Skip the next run; those after it start as ever."""
    with plain_errors(), Session(open_database()) as session, session.begin():
        schedule = find_schedule(session, name)
        fire_at = schedule.next_fire_at
        turn = actions.restore_run if undo else actions.skip_run
        if turn(session, asked(reason), schedule, fire_at) is None:
            fail(_why_not(schedule, undo=undo), Exit.FAILED)
        session.refresh(schedule)
        out.print(f"{schedule.name}: the run of {fire_at:{UTC_FORM}} {'starts' if undo else 'is skipped'}")
        describe_next(session, schedule, 2)


def _why_not(schedule: Schedule, *, undo: bool) -> str:
    """Text about a schedule whose next run is not skipped, or not to be skipped."""
    if manage.is_paused(schedule):
        return f"{schedule.name} is paused: it has no next run"
    if undo:
        return f"the next run of {schedule.name} is not to be skipped; see `cutout schedule next`"
    return (
        f"the next run of {schedule.name} is skipped already, or was just fired; see `cutout schedule next`"
    )


@app.command("run")
def run(
    name: NameArgument,
    *,
    accept_shrunk_source: Annotated[
        bool, typer.Option("--accept-shrunk", help="Accept a source that has lost most of its pictures.")
    ] = False,
    reason: ReasonOption = None,
) -> None:
    """Start one run now.

    It has the same window and budgets as the scheduled runs.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        schedule = find_schedule(session, name)
        run_id = actions.run_schedule(
            session, asked(reason), schedule, accept_shrunk_source=accept_shrunk_source
        )
        if run_id is None:
            fail(f"a run of {schedule.name} was fired at this very instant; look at it first", Exit.FAILED)
        said = schedule.name
    out.print(f"run {run_id} of {said} is fired; see `cutout schedule show {said}`", markup=False)


@app.command("remove")
def remove(name: NameArgument, reason: ReasonOption = None) -> None:
    """Remove a schedule.

    A run under way continues, and what was bought stays.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        schedule: Schedule = find_schedule(session, name)
        said = schedule.name
        actions.remove_schedule(session, asked(reason), schedule)
    out.print(f"{said} is removed", markup=False)
