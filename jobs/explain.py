"""Why a job is not done yet, or what became of it: the one question that everybody asks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from sqlalchemy import ColumnElement, func, select, true, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from jobs.accounts import account_name
from jobs.approval import IS_APPROVED, NEEDS_APPROVAL
from jobs.cut_off import cut_off_workers, others_reach_it
from jobs.database import Database
from jobs.leader import a_dispatcher_leads
from jobs.limits import circuit_is_open
from jobs.models import Account, Attempt, Batch, Breaker, Job, Limit, Line, Spending, Worker
from jobs.settings import Settings
from jobs.states import Standing, State, Step, Stop
from jobs.workers import heard_lately

# Counting further would cost more than the figure is worth.
MOST_COUNTED = 100_000
SEE_TO_RESULTS = "see whether workers reach that host, and whether CUTOUT_RESULT_HOSTS names it"


@dataclass(frozen=True, slots=True)
class Explanation:
    """`why` is stable, for programs; `text` is for people, and `remedy` says what they can do, if anything
    can be done.

    `ahead` counts the calls before this one, at most 100,000; `until` is when it is expected to move on.
    """

    state: State
    why: str
    text: str
    remedy: str | None = None
    ahead: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Installation:
    """What the settings say that bears on waiting: the accounts' names, the ceiling, the day's budget."""

    accounts: Sequence[str]
    calls_per_second: float | None = None
    day_budget: int | None = None

    @classmethod
    def of(cls, known: Settings) -> Self:
        """The same, of the settings. The API knows no key: then it looks at all accounts."""
        names = [account_name(key.get_secret_value()) for key in known.endpoint_api_keys]
        return cls(names, known.calls_per_second, known.day_budget)


def explain(session: Session, job: Job, known: Installation) -> Explanation:
    """Why the job is where it is. Looks at what holds everything up before it looks at the place in line."""
    match job.state:
        case State.SUCCEEDED:
            return _of(job, "done", f"its cutout is stored as {job.key}")
        case State.CANCELLED:
            return _of(job, "cancelled", "it was withdrawn")
        case State.FAILED:
            return _of(
                job, job.code or "", f"{job.code}: {job.message}", f"mend it, then `cutout retry {job.id}`"
            )
        case State.HELD:
            return _held(session, job)
        case State.RUNNING:
            return _running(session, job)
        case _:
            return _queued(session, job, known)


def calls_a_second(database: Database, accounts: Sequence[str], ceiling: float | None) -> float | None:
    """What the limits of the open accounts allow now, in calls a second; None while nothing is known."""
    rows = database.execute(
        select(Limit.level, Limit.latency_seconds)
        .join(Account, Account.name == Limit.account)
        .where(_among(Limit.account, accounts), Account.paused_at.is_(None), Limit.latency_seconds > 0)
    ).all()
    rates = [row.level / row.latency_seconds for row in rows]
    return sum(min(rate, ceiling or rate) for rate in rates) or None


def _among(column: InstrumentedAttribute[str], names: Sequence[str]) -> ColumnElement[bool]:
    return column.in_(names) if names else true()


def _of(job: Job, why: str, words: str, remedy: str | None = None) -> Explanation:
    return Explanation(State(job.state), why, words, remedy)


def _held(session: Session, job: Job) -> Explanation:
    if job.code == NEEDS_APPROVAL:
        remedy = (
            f"`cutout approve {job.batch_id}` lets its batch go, `cutout cancel {job.batch_id}` withdraws it"
        )
        if session.scalar(select(Batch.id).where(Batch.id == job.batch_id, IS_APPROVED)) is None:
            return _of(job, job.code, "its batch waits for approval; nothing of it is paid for", remedy)
        batch = session.get_one(Batch, job.batch_id)
        if batch.budget is None or batch.spent < batch.budget:
            return _of(job, job.code, "its batch was approved; the dispatcher brings its jobs into line")
    if job.standing == Standing.PARKED:
        batch = session.get_one(Batch, job.batch_id)
        words = f"its batch has spent {batch.spent:,} of its budget of {batch.budget or 0:,} credits"
        return _of(job, job.code or "", words, f"raise it with `cutout budget {batch.id} CREDITS`")
    calls = session.scalar(select(func.count()).where(Attempt.job_id == job.id))
    words = f"{job.code}: {job.message} ({calls} call{'' if calls == 1 else 's'} so far)"
    return _of(job, job.code or "", words, f"release it with `cutout retry {job.id}`, or `cutout cancel` it")


def _running(session: Session, job: Job) -> Explanation:
    worker = session.get(Worker, job.worker_id)
    where = f"worker {worker.pid} on {worker.host}" if worker else "a worker"
    if job.step == Step.COPY:
        return _of(job, "copying", f"{where} copies its paid result into the bucket")
    begun_at = session.scalar(
        select(func.max(Attempt.begun_at)).where(Attempt.job_id == job.id, Attempt.ended_at.is_(None))
    )
    if begun_at is None:
        return _of(job, "preparing", f"{where} prepares its picture or waits for a slot of the limit")
    return _of(job, "calling", f"{where} called the endpoint {_ago(begun_at)} ago")


def _queued(session: Session, job: Job, known: Installation) -> Explanation:
    stopped = next(_stoppages(session, job, known), None)
    if stopped:
        return stopped
    if job.standing == Standing.RESTING and job.scheduled_at > datetime.now(UTC):
        reason = f"after {job.code}: {job.message}" if job.code else "as ordered"
        words = f"it goes on at {_at(job.scheduled_at)}, {reason}"
        return Explanation(State(job.state), "resting", words, until=job.scheduled_at)
    if job.standing == Standing.HANDED_OUT:
        return _handed_out(job)
    if job.standing == Standing.SERVING:
        words = "its cutout was bought before; a worker looks whether the bucket still holds it"
        return Explanation(State(job.state), "serving", words, until=job.scheduled_at)
    if job.step == Step.COPY:
        return _of(job, "copy", "it is paid for; its copy is next, before any call")
    return _in_line(session, job, known)


def _stoppages(session: Session, job: Job, known: Installation) -> Iterator[Explanation]:
    """What keeps this job from moving whatever its place, the most telling first."""
    if not a_dispatcher_leads(session):
        yield _of(
            job, "no-dispatcher", "no dispatcher leads, so nothing is handed out", "start `cutout dispatcher`"
        )
    if not heard_lately(session):
        yield _of(job, "no-worker", "no worker was heard within the last minute", "start `cutout worker`")
    breakers = session.scalars(select(Breaker).where(Breaker.opened_at.is_not(None))).all()
    stops = {Stop(breaker.kind): breaker for breaker in breakers}
    if Stop.BUCKET in stops:
        bucket = stops[Stop.BUCKET]
        words = f"the bucket does not take cutouts since {_at(bucket.opened_at)}: {bucket.reason}"
        yield _of(job, "storage", words, "mend the bucket; calls go on by themselves")
    if job.step == Step.COPY:
        return
    yield from _results_stop(job, stops)
    yield from _workers_stop(session, job)
    paused_at = session.scalars(select(Line.paused_at)).one()
    if paused_at is not None:
        yield _of(
            job, "paused", f"all calls are paused since {_at(paused_at)}", "`cutout resume` lets them go on"
        )
    batch = session.get(Batch, job.batch_id) if job.batch_id else None
    if batch is not None and batch.paused_at is not None:
        words = f"its batch is paused since {_at(batch.paused_at)}"
        yield _of(job, "batch-paused", words, f"`cutout resume --batch {batch.id}` lets it go on")
    if batch is not None:
        yield from _window_stops(job, batch)
    if known.day_budget is not None:
        spent = session.scalar(
            select(Spending.spent).where(
                Spending.day == func.timezone("UTC", func.now()).cast(Spending.day.type)
            )
        )
        if (spent or 0) >= known.day_budget:
            words = f"the day's budget of {known.day_budget:,} credits is spent; calls go on at 00:00 UTC"
            yield _of(job, "day-budget", words, "raise CUTOUT_DAY_BUDGET to go on today")
    yield from _accounts_stop(session, job, known)


def _results_stop(job: Job, stops: Mapping[Stop, Breaker]) -> Iterator[Explanation]:
    if Stop.RESULTS in stops:
        results = stops[Stop.RESULTS]
        words = f"paid results cannot be fetched since {_at(results.opened_at)}: {results.reason}"
        yield _of(job, "results", words, f"{SEE_TO_RESULTS}; calls go on once one is stored")
    if Stop.BACKLOG in stops:
        backlog = stops[Stop.BACKLOG]
        words = f"calls wait for copies since {_at(backlog.opened_at)}: {backlog.reason}"
        yield _of(job, "backlog", words, "see why copies are slow; calls go on by themselves")


def _workers_stop(session: Session, job: Job) -> Iterator[Explanation]:
    away = cut_off_workers(session)
    if away and not others_reach_it(session):
        first = away[0]
        words = f"no worker reaches the bucket since {_at(first.since)}: {first.reason}"
        yield _of(job, "workers-cut-off", words, "see to the workers' network and keys; calls go on then")


def _window_stops(job: Job, batch: Batch) -> Iterator[Explanation]:
    now = datetime.now(UTC)
    if batch.opens_at is not None and batch.opens_at > now:
        words = f"its window opens at {_at(batch.opens_at)}"
        yield Explanation(State(job.state), "window", words, until=batch.opens_at)
    elif batch.closes_at is not None and batch.closes_at <= now:
        yield _of(job, "window", f"its window closed at {_at(batch.closes_at)}; the next one is reckoned now")


def _accounts_stop(session: Session, job: Job, known: Installation) -> Iterator[Explanation]:
    accounts = session.scalars(select(Account).where(_among(Account.name, known.accounts))).all()
    if accounts and all(account.paused_at for account in accounts):
        first = accounts[0]
        words = (
            f"the account {first.name} is paused since {_at(first.paused_at)}: "
            f"{first.pause_code}: {first.pause_message}; it is asked again at {_at(first.probe_at)}"
        )
        yield Explanation(
            State(job.state), "account-paused", words, "see `cutout limits`", until=first.probe_at
        )
    its_limits = session.execute(
        select(Limit.circuit_until, circuit_is_open(Limit)).where(_among(Limit.account, known.accounts))
    ).all()
    if its_limits and all(is_open for _, is_open in its_limits):
        until = min(until for until, _ in its_limits if until is not None)
        tried = f"at {_at(until)}" if until > datetime.now(UTC) else "now"
        words = f"the endpoint fails for all jobs; one call tries it again {tried}"
        yield Explanation(State(job.state), "circuit", words, until=until)


def _handed_out(job: Job) -> Explanation:
    words = f"it is on its way to a worker; unless taken, it is handed out again at {_at(job.scheduled_at)}"
    return Explanation(State(job.state), "handed-out", words, until=job.scheduled_at)


def _in_line(session: Session, job: Job, known: Installation) -> Explanation:
    ahead = (
        session.scalar(
            select(func.count()).select_from(
                select(Job.id)
                .where(
                    Job.standing == Standing.IN_LINE,
                    Job.step == Step.CALL,
                    tuple_(Job.priority, Job.place) < tuple_(job.priority, job.place),
                )
                .limit(MOST_COUNTED)
                .subquery()
            )
        )
        or 0
    )
    rate = calls_a_second(session, known.accounts, known.calls_per_second)
    count = f"{'at least ' if ahead == MOST_COUNTED else ''}{ahead:,}"
    words = f"it stands in line behind {count} other{'' if ahead == 1 else 's'}"
    if not rate:
        return Explanation(State(job.state), "in-line", words, ahead=ahead)
    wait = timedelta(seconds=ahead / rate)
    words += f"; at {rate:.1f} calls/s its turn comes in about {_words(wait)}"
    return Explanation(State(job.state), "in-line", words, ahead=ahead, until=datetime.now(UTC) + wait)


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "no time"


def _ago(moment: datetime) -> str:
    return _words(datetime.now(UTC) - moment)


def _words(span: timedelta) -> str:
    seconds = max(int(span.total_seconds()), 0)
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
