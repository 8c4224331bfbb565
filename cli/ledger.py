"""`cutout ledger`: the cost of calls, and its comparison with the endpoint's balance."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import astuple, fields
from enum import StrEnum
from itertools import chain
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.console import Exit, fail, out
from cli.database import find_batch, open_database, plain_errors
from cutout.billing import accounts
from cutout.billing.reconcile import (
    CallsBetween,
    Reading,
    SlowReadingError,
    calls_between,
    compare,
    in_credits,
    last_reading,
    record_reading,
)
from cutout.billing.totals import Totals, by_batch, by_day, by_job, by_producer, totals
from cutout.endpoint.answer import Refused
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.endpoint_errors import EndpointError
from cutout.settings import Settings, read_settings

HEADINGS = ["out_now" if field.name == "out" else field.name for field in fields(Totals)]
# A line by day fits into 80 columns.
WIDTHS = [9, 9, 11, 8, 8, 8, 9]
DAY_WIDTH, ID_WIDTH = 10, 36
# A hundred years.
MOST_DAYS = 36_500

# What a line begins with, its figures, and the name at its end.
Line = tuple[str, Totals, str]


class By(StrEnum):
    """Unit that a line of the table stands for."""

    DAY = "day"
    BATCH = "batch"
    PRODUCER = "producer"
    JOB = "job"


def ledger(
    batch: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this batch: its id, or the beginning of it.")
    ] = None,
    by: Annotated[
        By | None, typer.Option(help="One line for each.", show_default="day, unless --batch is given")
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=MOST_DAYS, help="With --by day: how many days, today (UTC) included.")
    ] = 30,
    reconcile: Annotated[
        bool,
        typer.Option("--reconcile", help="Read the endpoint's balance, which is free; compare and store it."),
    ] = False,
) -> None:
    """Add up what calls cost, or check it against the balance.

    [bold]begun[/]        calls recorded before they were sent
    [bold]charged[/]      calls that cost one credit each
    [bold]not_charged[/]  calls that cost nothing
    [bold]unknown[/]      calls that ended without an answer: the cost is unknown
    [bold]out_now[/]      calls in flight
    [bold]lost[/]         calls charged whose result was lost before it was stored
    [bold]saved[/]        jobs that succeeded without a charge of their own

    With --reconcile, the credits that left the balance since the last
    reading must be those charged. Calls with an unknown outcome, and calls
    in flight during a reading, may add to them.

    Exit codes: 0 done, and it adds up; 1 it does not add up; 2 wrong usage,
    or no balance could be read.
    """
    if reconcile:
        if batch is not None or by is not None:
            fail("--reconcile is about the whole account; leave --batch and --by away")
        raise typer.Exit(reconcile_all(read_settings()))
    with plain_errors(), Session(open_database()) as session:
        found = None if batch is None else find_batch(session, batch)
        if found is None:
            by = by or By.DAY
        else:
            out.print(f"batch {found.id}  {found.name}", markup=False)
        batch_id = found.id if found else None
        print_table(by, totals(session, batch_id), lines(session, batch_id, by, days))


def lines(session: Session, batch_id: uuid.UUID | None, by: By | None, days: int) -> Iterator[Line]:
    """One line a day, batch, producer or job, of a batch or over all. Streamed."""
    match by:
        case By.DAY:
            for day in by_day(session, days, batch_id):
                yield day.day.isoformat(), day.totals, ""
        case By.BATCH:
            for row in by_batch(session, batch_id):
                yield str(row.batch_id or "no batch"), row.totals, row.name or ""
        case By.PRODUCER:
            for producer in by_producer(session, batch_id):
                first = str(producer.producer_id or "no producer")
                yield first, producer.totals, producer.name or ""
        case By.JOB:
            for job in by_job(session, batch_id):
                yield str(job.job_id), job.totals, f"{job.external_id or ''} ({job.return_form})".strip()


def print_table(by: By | None, whole: Totals, rows: Iterator[Line]) -> None:
    """Print the totals and the lines in fixed columns: a table of rich's would have to hold them all."""
    width = DAY_WIDTH if by in (By.DAY, None) else ID_WIDTH
    headings = [f"{heading:>{size}}" for heading, size in zip(HEADINGS, WIDTHS, strict=True)]
    out.print(f"{by or '':{width}}", *headings, style="bold", markup=False)
    for first, counted, name in chain([("all", whole, "")], rows):
        figures = [f"{figure:>{size},}" for figure, size in zip(astuple(counted), WIDTHS, strict=True)]
        out.print("  ".join([" ".join([f"{first:{width}}", *figures]), name]).rstrip(), markup=False)


def reconcile_all(settings: Settings) -> Exit:
    """Hold every account against the ledger; the worst of what came of it."""
    keys = [key.get_secret_value() for key in settings.require_endpoint_api_keys()]
    codes = []
    for key in keys:
        if len(keys) > 1:
            out.print(f"account {accounts.account_name(key)}", style="bold")
        codes.append(reconcile_account(settings, key))
    return max(codes)


def reconcile_account(settings: Settings, api_key: str) -> Exit:
    """Read and store an account's balance, compare it with the last one stored, and say what came of it."""
    account = accounts.account_name(api_key)
    with plain_errors(), Session(open_database()) as session, session.begin():
        earlier = last_reading(session, account)
        began = time.monotonic()
        balance = read_balance(settings, api_key)
        accounts.ensure(session, account)
        try:
            later = record_reading(session, account, balance, took_s=time.monotonic() - began)
        except SlowReadingError as error:
            fail(str(error))
        calls = calls_between(session, earlier, later) if earlier else None
    print_reading("balance", later)
    if earlier is None or calls is None:
        out.print("the first reading of this account: the next `cutout ledger --reconcile` compares with it")
        return Exit.SUCCEEDED
    print_reading("before", earlier)
    return print_comparison(earlier, later, calls)


def read_balance(settings: Settings, api_key: str) -> float:
    """The credits left, of all pools that say a balance; ends the command when nobody says any."""
    try:
        with EndpointClient(settings.endpoint_url, api_key, proxy=settings.egress_to_endpoint) as client:
            answer = client.credits()
    except ValueError as error:
        fail(f"{error}; fix CUTOUT_ENDPOINT_URL or CUTOUT_ENDPOINT_API_KEYS")
    except EndpointError as error:
        fail(f"the endpoint does not say its balance: {error}; try `cutout doctor`")
    if isinstance(answer, Refused):
        fail(f"the endpoint refused the key: {answer.code} {answer.message}; try `cutout doctor`")
    balances = [pool.balance for pool in answer if pool.balance is not None]
    if not balances:
        fail("the endpoint answered without a balance; look at its own pages")
    return sum(balances)


def print_reading(title: str, reading: Reading) -> None:
    """Print a balance and when it was read."""
    out.print(f"{title:8}  {in_credits(reading.balance)}, {reading.read_at:%Y-%m-%d %H:%M:%S} UTC")


def print_comparison(earlier: Reading, later: Reading, calls: CallsBetween) -> Exit:
    """Print what left the balance beside what the ledger knows, and whether the one fits the other."""
    compared = compare(earlier.balance, later.balance, calls)
    out.print(f"{'gone':8}  {in_credits(compared.spent)}")
    parts = f"{calls.charged:,} charged, {calls.either:,} charged around a reading, {calls.unknown:,} unknown"
    out.print(f"{'ledger':8}  {calls.least:,} to {calls.most:,} ({parts})")
    out.print(compared.words, style="green" if compared.adds_up else "red", markup=False)
    return Exit.SUCCEEDED if compared.adds_up else Exit.FAILED
