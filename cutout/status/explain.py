"""Why a job is not done yet, or what became of it: the one question that everybody asks."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import ColumnElement, Uuid, cast, func, literal, select, true, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from cutout.audit import findings_of
from cutout.billing.accounts import account_name
from cutout.billing.learned_limits import circuit_is_open
from cutout.enums import FINAL_STATES, AttemptOutcome, QueueState, State, Step, Stop
from cutout.models import Account, Attempt, Batch, Breaker, Job, Limit, Producer, QueueClock, Spending, Worker
from cutout.models.columns import NIL_OWNER
from cutout.models.database import Database
from cutout.queue.blocks import download_limit
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.queue.blocks.conditions import AWAITS_APPROVAL
from cutout.queue.blocks.isolated_workers import cut_off_workers, others_reach_bucket
from cutout.queue.leader import leader_exists
from cutout.queue.producer_shares import eligible_owners
from cutout.queue.queue_scan import IS_READY_FOR_CALL, JOB_OWNER
from cutout.queue.reuse import missing_results
from cutout.queue.workers import heard_lately
from cutout.settings import Settings
from cutout.storage.unexpected_bytes import CODE, Unexpected

# Counting further would cost more than the figure is worth.
MOST_COUNTED = 100_000
SEE_TO_MISSING = (
    "see what emptied the bucket and put the objects back; or `cutout forget-missing` has them bought anew"
)
SEE_TO_RESULTS = "see whether workers reach that host, and whether CUTOUT_RESULT_HOSTS names it"


@dataclass(frozen=True, slots=True)
class Explanation:
    """`why` is stable, for programs; `text` is for people, and `remedy` says what they can do, if anything
    can be done.

    `ahead` counts its producer's calls before this one, at most 100,000; `until` is when it is expected to
    move on.
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
    def of(cls, settings: Settings) -> Self:
        """The same, of the settings. The API knows no key: then it looks at all accounts."""
        names = [account_name(key.get_secret_value()) for key in settings.endpoint_api_keys]
        return cls(names, settings.calls_per_second, settings.day_budget)


def explain(session: Session, job: Job, known: Installation) -> Explanation:
    """Why the job is where it is. ReadPool at what holds everything up before it looks at the place in line."""
    return _with_findings(session, job, without_findings(session, job, known))


def _with_findings(session: Session, job: Job, found: Explanation) -> Explanation:
    """What the auditor finds of the job and its batch comes on top."""
    if job.state in FINAL_STATES:
        return found
    for _, finding in findings_of(session, job.id, job.batch_id):
        words = f"{found.text}. The auditor finds of its {finding.subject} {finding.id}: {finding.text}"
        found = replace(found, text=words, remedy=finding.remedy)
    return found


def without_findings(session: Session, job: Job, known: Installation) -> Explanation:
    """Why the job is where it is, without what the auditor finds of it."""
    match job.state:
        case State.SUCCEEDED:
            return _done(session, job)
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


def _done(session: Session, job: Job) -> Explanation:
    """Where the cutout is, and which picture it is of where the source held several."""
    said = session.scalar(
        select(Attempt.message)
        .where(
            Attempt.job_id == job.id, Attempt.outcome == AttemptOutcome.CHARGED, Attempt.message.is_not(None)
        )
        .order_by(Attempt.id.desc())
        .limit(1)
    )
    warned = f", with a warning: {job.warning}" if job.warning else ""
    return _of(job, "done", f"its cutout is stored as {job.key}{warned}{f'; {said}' if said else ''}")


def _held(session: Session, job: Job) -> Explanation:
    if job.queue_state == QueueState.BLOCKED:
        return _held_by_its_batch(session, job, session.get_one(Batch, job.batch_id))
    calls = session.scalar(select(func.count()).where(Attempt.job_id == job.id))
    words = f"{job.code}: {job.message} ({calls} call{'' if calls == 1 else 's'} so far)"
    return _of(job, job.code or "", words, _remedy_of_held(session, job))


def _remedy_of_held(session: Session, job: Job) -> str:
    """Say what a retry would do: it asks a result's URL first, and calls again only without one."""
    found = Unexpected.of(job.unexpected)
    remedies = []
    if job.code == CODE and found is not None and found.is_picture:
        remedies.append(f"`cutout accept {job.id}` makes what came its cutout")
    if _has_raw_answer(session, job):
        remedies.append(f"`cutout explain {job.id} --answer` shows the endpoint's answer, which is a secret")
    remedies.append(_what_a_retry_does(session, job))
    return f"{'; '.join(remedies)}; or `cutout cancel` it"


def _what_a_retry_does(session: Session, job: Job) -> str:
    retry = f"`cutout retry {job.id}`"
    if job.result_url is None:
        return f"release it with {retry}, for another call"
    if job.lifeboat_key is not None:
        return f"{retry} goes on with the copy from the lifeboat, without a call"
    if job.result_expires_at is not None and job.result_expires_at > _now(session):
        until = _at(job.result_expires_at)
        if job.code == "RESULT_EXPIRED":
            return f"{retry} asks its URL once more (until {until}), then calls again for another credit"
        return f"{retry} fetches its result anew (until {until}), without a call"
    return f"{retry} calls again, for another credit: the paid result is past its time"


def _has_raw_answer(session: Session, job: Job) -> bool:
    kept = select(Attempt.id).where(Attempt.job_id == job.id, Attempt.raw_answer.is_not(None)).exists()
    return bool(session.scalar(select(kept)))


def _held_by_its_batch(session: Session, job: Job, batch: Batch) -> Explanation:
    """What of the batch keeps it back now; the dispatcher asks the same, and keeps nothing of it in mind."""
    code = job.code or ""
    if job.code != NEEDS_APPROVAL and batch.budget is not None and batch.spent >= batch.budget:
        words = f"its batch has spent {batch.spent:,} of its budget of {batch.budget:,} credits"
        return _of(job, code, words, f"raise it with `cutout budget {batch.id} CREDITS`")
    stopped = next(_batch_stops(session, job, batch), None) or next(_nobody_moves_it(session, job), None)
    if stopped:
        return stopped
    if job.code == NEEDS_APPROVAL:
        return _of(job, code, "its batch was approved; the dispatcher brings its jobs into line")
    left = "credits left" if batch.budget is None else f"{batch.budget - batch.spent:,} credits left"
    words = f"its batch has {left}, which its jobs under way may take; it comes into line once they do not"
    return _of(job, code, words, f"raise it with `cutout budget {batch.id} CREDITS` to let more go at once")


def _running(session: Session, job: Job) -> Explanation:
    worker = session.get(Worker, job.worker_id)
    where = f"worker {worker.pid} on {worker.host}" if worker else "a worker"
    if job.step == Step.COPY:
        return _of(job, "copying", f"{where} copies its paid result into the bucket{_though(session, job)}")
    begun_at = session.scalar(
        select(func.max(Attempt.begun_at)).where(Attempt.job_id == job.id, Attempt.ended_at.is_(None))
    )
    if begun_at is None:
        words = f"{where} prepares its picture or waits for a slot of the limit{_though(session, job)}"
        return _of(job, "preparing", words)
    ago = _words(_now(session) - begun_at)
    return _of(job, "calling", f"{where} called the endpoint {ago} ago{_though(session, job)}")


def _though(session: Session, job: Job) -> str:
    """What cancelling changes for a job that goes on all the same."""
    batch = session.get(Batch, job.batch_id) if job.batch_id else None
    cancelled_at = job.cancelled_at or (batch.cancelled_at if batch else None)
    if cancelled_at is None:
        return ""
    return f"; it was cancelled at {_at(cancelled_at)}: no call of it begins, and what is paid for is copied"


def _queued(session: Session, job: Job, known: Installation) -> Explanation:
    stopped = next(_stoppages(session, job, known), None)
    if stopped:
        return stopped
    if job.queue_state == QueueState.BLOCKED:
        words = "its batch kept it back and may go on; the dispatcher brings its jobs back into line"
        return _of(job, "coming-back", words)
    if job.code == missing_results.CODE and missing_results.read_missing(session).stopped:
        return _of(job, "cutout-missing", f"it waits, for {job.message}", SEE_TO_MISSING)
    if job.queue_state == QueueState.DELAYED and job.scheduled_at > _now(session):
        reason = f"after {job.code}: {job.message}" if job.code else "as ordered"
        words = f"it goes on at {_at(job.scheduled_at)}, {reason}"
        return Explanation(State(job.state), "delayed", words, until=job.scheduled_at)
    if job.queue_state == QueueState.WAITING:
        return _waiting(session, job)
    if job.queue_state == QueueState.DISPATCHED:
        return _handed_out(job)
    if job.queue_state == QueueState.REUSING:
        words = "its cutout was bought before; a worker looks whether the bucket still holds it"
        return Explanation(State(job.state), "reusing", words, until=job.scheduled_at)
    if job.step == Step.COPY:
        found = Unexpected.of(job.unexpected)
        if found is not None and found.accepted:
            return _of(job, "copy", f"{found.key} was accepted; its copy is next, without any call")
        return _of(job, "copy", f"it is paid for; its copy is next, before any call{_though(session, job)}")
    return _in_line(session, job, known)


def _stoppages(session: Session, job: Job, known: Installation) -> Iterator[Explanation]:
    """What keeps this job from moving whatever its place, the most telling first."""
    yield from _nobody_moves_it(session, job)
    breakers = session.scalars(select(Breaker).where(Breaker.opened_at.is_not(None))).all()
    stops = {Stop(breaker.kind): breaker for breaker in breakers}
    if Stop.BUCKET in stops:
        bucket = stops[Stop.BUCKET]
        words = f"the bucket does not take cutouts since {_at(bucket.opened_at)}: {bucket.reason}"
        yield _of(job, "storage", words, "mend the bucket; calls go on by themselves")
    if job.step == Step.COPY:
        return
    yield from _producer_stops(session, job)
    yield from _results_stop(job, stops)
    yield from _workers_stop(session, job)
    paused_at = session.scalars(select(QueueClock.paused_at)).one()
    if paused_at is not None:
        yield _of(
            job, "paused", f"all calls are paused since {_at(paused_at)}", "`cutout resume` lets them go on"
        )
    batch = session.get(Batch, job.batch_id) if job.batch_id else None
    if batch is not None:
        yield from _batch_stops(session, job, batch)
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


def _producer_stops(session: Session, job: Job) -> Iterator[Explanation]:
    producer = session.get(Producer, job.producer_id) if job.producer_id else None
    if producer is not None and producer.suspended_at is not None:
        words = f"its producer is suspended since {_at(producer.suspended_at)}"
        yield _of(job, "producer-suspended", words, f"`cutout producers resume {producer.id}` lets it go on")


def _nobody_moves_it(session: Session, job: Job) -> Iterator[Explanation]:
    if not leader_exists(session):
        yield _of(
            job, "no-dispatcher", "no dispatcher leads, so nothing is handed out", "start `cutout dispatcher`"
        )
    if not heard_lately(session):
        yield _of(job, "no-worker", "no worker was heard within the last minute", "start `cutout worker`")


def _batch_stops(session: Session, job: Job, batch: Batch) -> Iterator[Explanation]:
    """What cutout.queue.blocks.conditions asks of the batch."""
    if batch.cancelled_at is not None:
        words = f"its batch was cancelled at {_at(batch.cancelled_at)}; nothing more of it is bought"
        yield _of(job, "batch-cancelled", words, f"`cutout cancel {batch.id}` again withdraws what is left")
    if session.scalar(select(Batch.id).where(Batch.id == batch.id, AWAITS_APPROVAL)) is not None:
        remedy = f"`cutout approve {batch.id}` lets its batch go, `cutout cancel {batch.id}` withdraws it"
        yield _of(job, NEEDS_APPROVAL, "its batch waits for approval; nothing of it is paid for", remedy)
    if batch.paused_by_operator_at is not None:
        words = f"an operator paused its batch at {_at(batch.paused_by_operator_at)}"
        yield _of(job, "batch-paused", words, f"`cutout resume --batch {batch.id}` lets it go on")
    if batch.paused_at is not None:
        words = f"its batch is paused since {_at(batch.paused_at)}"
        remedy = f"its producer lets it go on, or `cutout resume --as-producer --batch {batch.id}`"
        yield _of(job, "batch-paused", words, remedy)
    yield from _window_stops(session, job, batch)


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
    if away and not others_reach_bucket(session):
        first = away[0]
        words = f"no worker reaches the bucket since {_at(first.since)}: {first.reason}"
        yield _of(job, "workers-cut-off", words, "see to the workers' network and keys; calls go on then")


def _window_stops(session: Session, job: Job, batch: Batch) -> Iterator[Explanation]:
    now = _now(session)
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
        tried = f"at {_at(until)}" if until > _now(session) else "now"
        words = f"the endpoint fails for all jobs; one call tries it again {tried}"
        yield Explanation(State(job.state), "circuit", words, until=until)


def _waiting(session: Session, job: Job) -> Explanation:
    words = (
        "another job buys the cutout of the same picture; it goes on, in its old place, once that one is done"
    )
    buyer = session.get(Job, job.waits_for)
    if buyer is None or buyer.producer_id != job.producer_id:
        return _of(job, "twin", words)
    return _of(job, "twin", f"{words}: {buyer.id}", f"see `cutout explain {buyer.id}`")


def _source_limit(job: Job) -> Explanation:
    words = (
        "as many pictures of its producer are being fetched from the web as may be beside those of others;"
        " it goes on, in its old place, as these are there or fail"
    )
    return _of(job, "source-limit", words, "see that the servers of its pictures answer, or upload them")


def _handed_out(job: Job) -> Explanation:
    words = f"it is on its way to a worker; unless taken, it is handed out again at {_at(job.scheduled_at)}"
    return Explanation(State(job.state), "handed-out", words, until=job.scheduled_at)


def _in_line(session: Session, job: Job, known: Installation) -> Explanation:
    if download_limit.is_over_limit(session, job):
        return _source_limit(job)
    ahead = (
        session.scalar(
            select(func.count()).select_from(
                select(Job.id)
                .where(
                    IS_READY_FOR_CALL,
                    func.coalesce(cast(literal(job.producer_id), Uuid), NIL_OWNER) == JOB_OWNER,
                    tuple_(Job.priority, Job.virtual_start) < tuple_(job.priority, job.virtual_start),
                )
                .limit(MOST_COUNTED)
                .subquery()
            )
        )
        or 0
    )
    rate = (calls_a_second(session, known.accounts, known.calls_per_second) or 0) * _part_of(session, job)
    count = f"{'at least ' if ahead == MOST_COUNTED else ''}{ahead:,}"
    words = f"it stands in line behind {count} other{'' if ahead == 1 else 's'}"
    if not rate:
        return Explanation(State(job.state), "in-line", words, ahead=ahead)
    wait = timedelta(seconds=ahead / rate)
    words += f"; at {rate:.1f} calls/s its turn comes in about {_words(wait)}"
    return Explanation(State(job.state), "in-line", words, ahead=ahead, until=_now(session) + wait)


def _part_of(session: Session, job: Job) -> float:
    """Which part of the calls its producer gets now, by the shares of those that have jobs in line."""
    served = eligible_owners().owners
    owner = job.producer_id or uuid.UUID(int=0)
    its = func.max(served.c.weight).filter(served.c.owner == owner)
    part: float | None = session.scalar(select(its / func.sum(served.c.weight)))
    return part or 1.0


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "no time"


def _now(session: Session) -> datetime:
    """By Postgres' clock, which set the times that are compared with it; this machine's may be wrong."""
    return session.scalars(select(func.now())).one()


def _words(span: timedelta) -> str:
    seconds = max(int(span.total_seconds()), 0)
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
