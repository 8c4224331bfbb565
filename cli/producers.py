"""Producers: who may ask for how much, and who is suspended."""

import uuid
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.actor import ReasonOption, asked
from cli.console import Exit, fail, out
from cli.database import open_database, plain_errors
from cli.ingest_options import one_of_priorities
from cli.numbers import counted
from cutout.actions.keys import limit_producer, resume_producer, suspend_producer
from cutout.administration import suspend as suspending
from cutout.administration.suspend import UnderWay
from cutout.enums import PRIORITIES, Priority
from cutout.models import Producer
from cutout.producers.producers import list_producers

app = typer.Typer(no_args_is_help=True, help="List, limit, suspend and resume producers.")

NONE = "none"
ProducerArgument = Annotated[uuid.UUID, typer.Argument(metavar="PRODUCER", help="Id, as `list` shows it.")]


@app.command("list")
def list_() -> None:
    """List the producers.

    Each line has id, date made, state, limits and name.
    """
    with plain_errors(), Session(open_database()) as session:
        for producer in list_producers(session):
            state = "suspended" if producer.suspended_at else "active"
            limits = ", ".join(limits_of(producer)) or "no limits"
            out.print(
                f"{producer.id}  {producer.created_at:%Y-%m-%d}  {state:9}  {limits}  {producer.name}",
                markup=False,
            )


@app.command("show")
def show(producer_id: ProducerArgument) -> None:
    """Show a producer: its limits, and its work under way."""
    with plain_errors(), Session(open_database()) as session:
        producer = _find(session, producer_id)
        out.print(f"producer {producer.id}  {producer.name}", markup=False)
        if producer.suspended_at:
            out.print(f"  suspended since {producer.suspended_at:%Y-%m-%d %H:%M:%S} UTC")
        for limit in limits_of(producer) or ["no limits"]:
            out.print(f"  {limit}")
        out.print(f"  {describe(suspending.under_way(session, producer_id))}")


@app.command("limit")
def limit(
    producer_id: ProducerArgument,
    quota: Annotated[
        str | None, typer.Option(metavar="JOBS", help="The most unfinished jobs, or `none` for no limit.")
    ] = None,
    priority: Annotated[
        str | None, typer.Option(help="The highest priority it may ask for, or `none` for any.")
    ] = None,
    weight: Annotated[
        str | None, typer.Option(help="The largest weight of its batches, or `none` for any.")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(min=0.001, max=1000, help="Its share of the calls, relative to other producers."),
    ] = None,
) -> None:
    """Limit what a producer may ask for.

    Jobs that are enqueued keep what they have; a share holds for them too.
    """
    changed: dict[str, float | None] = {}
    if priority is not None:
        changed["top_priority"] = None if priority == NONE else PRIORITIES[one_of_priorities(priority)]
    if weight is not None:
        changed["most_weight"] = None if weight == NONE else _number("--weight", weight)
    if share is not None:
        changed["share"] = share
    if not changed and quota is None:
        fail("give one of --quota, --priority, --weight and --share")
    with plain_errors(), Session(open_database()) as session, session.begin():
        producer = _find(session, producer_id)
        if quota is not None:
            changed["job_quota"] = None if quota == NONE else int(_number("--quota", quota))
        limit_producer(session, asked(), producer_id, **changed)
        session.refresh(producer)
        said = ", ".join(limits_of(producer)) or "no limits"
    out.print(f"{producer_id} has {said}")


@app.command("suspend")
def suspend(producer_id: ProducerArgument, reason: ReasonOption = None) -> None:
    """Refuse a producer's keys and stop its work.

    No call, schedule, manifest or message of it begins. Calls in flight end, and paid results are copied.
    Nothing is lost: `resume` continues all of it.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        _find(session, producer_id)
        if not suspend_producer(session, asked(reason), producer_id):
            fail(f"{producer_id} is suspended already", Exit.FAILED)
        going = suspending.under_way(session, producer_id)
    out.print(f"{producer_id} is suspended, with {describe(going)}")
    out.print(f"`cutout producers resume {producer_id}` lets it go on")


@app.command("resume")
def resume(producer_id: ProducerArgument, reason: ReasonOption = None) -> None:
    """Continue a suspended producer's work.

    Runs of its schedules that were missed are skipped.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        _find(session, producer_id)
        if not resume_producer(session, asked(reason), producer_id):
            fail(f"{producer_id} is not suspended", Exit.FAILED)
        going = suspending.under_way(session, producer_id)
    out.print(f"{producer_id} continues, with {describe(going)}")


def limits_of(producer: Producer) -> list[str]:
    """Limits of a producer, in words; none if it has no limit and a share of 1."""
    limits = []
    if producer.job_quota is not None:
        limits.append(f"a quota of {counted(producer.job_quota, 'job')}")
    if producer.top_priority is not None:
        limits.append(f"priority {Priority(producer.top_priority).name.lower()} at best")
    if producer.most_weight is not None:
        limits.append(f"weight {producer.most_weight:g} at most")
    if producer.share != 1:
        limits.append(f"a share of {producer.share:g}")
    return limits


def describe(going: UnderWay) -> str:
    """Work of a producer under way, in words."""
    return (
        f"{counted(going.queued, 'job')} queued, {going.running:,} running, {going.held:,} held,"
        f" {counted(going.ingests, 'manifest')} to read, {counted(going.schedules, 'schedule')},"
        f" {counted(going.deliveries, 'message')} to send"
    )


def _find(session: Session, producer_id: uuid.UUID) -> Producer:
    producer = session.get(Producer, producer_id)
    if producer is None:
        fail(f"there is no producer {producer_id}; see `cutout producers list`")
    return producer


def _number(option: str, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = -1.0
    largest = 2**31 - 1
    if option == "--quota" and not (word.isascii() and word.isdecimal() and number <= largest):
        fail(f"{option} {word!r} is no number of jobs; write one from 0 to {largest} or `{NONE}`")
    if option == "--weight" and not 0.001 <= number <= 1000:  # noqa: PLR2004 - as batches may have it
        fail(f"{option} {word!r} is no weight; write one from 0.001 to 1000 or `{NONE}`")
    return number
