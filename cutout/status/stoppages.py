"""Reasons that stop a job at any position in the queue: breakers, pauses, windows, budgets, accounts."""

from collections.abc import Iterator, Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cutout.billing.learned_limits import circuit_is_open
from cutout.enums import ActionKind, State, Step, Stop
from cutout.models import Account, Batch, Breaker, Job, Limit, Producer, QueueClock, Spending
from cutout.queue.batch_actions.unfinished import unfinished_kinds
from cutout.queue.blocks.approval import NEEDS_APPROVAL
from cutout.queue.blocks.conditions import AWAITS_APPROVAL
from cutout.queue.blocks.isolated_workers import cut_off_workers, others_reach_bucket
from cutout.queue.leader import leader_exists
from cutout.queue.workers import heard_lately
from cutout.status.call_rate import CallSettings, is_named
from cutout.status.explanation import Explanation, database_now, explanation, time_text

FETCH_REMEDY = "check that workers reach that host, and that CUTOUT_RESULT_HOSTS names it"


def stoppages(session: Session, job: Job, settings: CallSettings) -> Iterator[Explanation]:
    """Yield the reasons that stop a queued job, the most important first."""
    yield from process_stoppages(session, job)
    breakers = session.scalars(select(Breaker).where(Breaker.opened_at.is_not(None))).all()
    stops = {Stop(breaker.kind): breaker for breaker in breakers}
    if Stop.BUCKET in stops:
        bucket = stops[Stop.BUCKET]
        text = f"the bucket has not accepted cutouts since {time_text(bucket.opened_at)}: {bucket.reason}"
        yield explanation(job, "storage", text, "fix the bucket; calls resume by themselves")
    if job.step == Step.COPY:
        return
    yield from _producer_stoppages(session, job)
    yield from _result_stoppages(job, stops)
    yield from _worker_stoppages(session, job)
    paused_at = session.scalars(select(QueueClock.paused_at)).one()
    if paused_at is not None:
        text = f"all calls are paused since {time_text(paused_at)}"
        yield explanation(job, "paused", text, "`cutout resume` ends the pause")
    batch = session.get(Batch, job.batch_id) if job.batch_id else None
    if batch is not None:
        yield from batch_stoppages(session, job, batch)
    yield from _day_budget_stoppages(session, job, settings)
    yield from _account_stoppages(session, job, settings)


def process_stoppages(session: Session, job: Job) -> Iterator[Explanation]:
    """Yield the processes that are missing: a leading dispatcher, a live worker."""
    if not leader_exists(session):
        text = "no dispatcher leads, so nothing is dispatched"
        yield explanation(job, "no-dispatcher", text, "start `cutout dispatcher`")
    if not heard_lately(session):
        yield explanation(
            job, "no-worker", "no worker was heard within the last minute", "start `cutout worker`"
        )


def batch_stoppages(session: Session, job: Job, batch: Batch) -> Iterator[Explanation]:
    """Yield the reasons that lie in the batch, by the conditions of `cutout.queue.blocks.conditions`."""
    if batch.cancelled_at is not None:
        text = f"its batch was cancelled at {time_text(batch.cancelled_at)}; nothing more is bought for it"
        if ActionKind.CANCEL in unfinished_kinds(session, batch.id):
            yield explanation(job, "batch-cancelling", f"{text}, and its jobs are being cancelled")
        yield explanation(job, "batch-cancelled", text, f"`cutout cancel {batch.id}` again cancels the rest")
    if session.scalar(select(Batch.id).where(Batch.id == batch.id, AWAITS_APPROVAL)) is not None:
        remedy = f"`cutout approve {batch.id}` starts its batch, `cutout cancel {batch.id}` cancels it"
        text = "its batch waits for approval; nothing is paid for before"
        yield explanation(job, NEEDS_APPROVAL, text, remedy)
    if batch.paused_by_operator_at is not None:
        text = f"an operator paused its batch at {time_text(batch.paused_by_operator_at)}"
        yield explanation(job, "batch-paused", text, f"`cutout resume --batch {batch.id}` ends the pause")
    if batch.paused_at is not None:
        text = f"its batch is paused since {time_text(batch.paused_at)}"
        remedy = f"its producer resumes it, or `cutout resume --as-producer --batch {batch.id}`"
        yield explanation(job, "batch-paused", text, remedy)
    yield from _window_stoppages(session, job, batch)


def _window_stoppages(session: Session, job: Job, batch: Batch) -> Iterator[Explanation]:
    now = database_now(session)
    if batch.opens_at is not None and batch.opens_at > now:
        text = f"its window opens at {time_text(batch.opens_at)}"
        yield Explanation(State(job.state), "window", text, until=batch.opens_at)
    elif batch.closes_at is not None and batch.closes_at <= now:
        text = f"its window closed at {time_text(batch.closes_at)}; the dispatcher sets the next one now"
        yield explanation(job, "window", text)


def _producer_stoppages(session: Session, job: Job) -> Iterator[Explanation]:
    producer = session.get(Producer, job.producer_id) if job.producer_id else None
    if producer is not None and producer.suspended_at is not None:
        text = f"its producer is suspended since {time_text(producer.suspended_at)}"
        remedy = f"`cutout producers resume {producer.id}` ends the suspension"
        yield explanation(job, "producer-suspended", text, remedy)


def _result_stoppages(job: Job, stops: Mapping[Stop, Breaker]) -> Iterator[Explanation]:
    if Stop.RESULTS in stops:
        results = stops[Stop.RESULTS]
        text = f"paid results cannot be fetched since {time_text(results.opened_at)}: {results.reason}"
        yield explanation(job, "results", text, f"{FETCH_REMEDY}; calls resume once one is stored")
    if Stop.BACKLOG in stops:
        backlog = stops[Stop.BACKLOG]
        text = f"calls wait for copies since {time_text(backlog.opened_at)}: {backlog.reason}"
        yield explanation(job, "backlog", text, "find out why copies are slow; calls resume by themselves")


def _worker_stoppages(session: Session, job: Job) -> Iterator[Explanation]:
    cut_off = cut_off_workers(session)
    if cut_off and not others_reach_bucket(session):
        first = cut_off[0]
        text = f"no worker reaches the bucket since {time_text(first.since)}: {first.reason}"
        remedy = "check the workers' network and S3 keys; calls resume by themselves"
        yield explanation(job, "workers-cut-off", text, remedy)


def _day_budget_stoppages(session: Session, job: Job, settings: CallSettings) -> Iterator[Explanation]:
    if settings.day_budget is None:
        return
    today = func.timezone("UTC", func.now()).cast(Spending.day.type)
    spent = session.scalar(select(Spending.spent).where(Spending.day == today))
    if (spent or 0) >= settings.day_budget:
        text = f"the day's budget of {settings.day_budget:,} credits is spent; calls resume at 00:00 UTC"
        yield explanation(job, "day-budget", text, "raise CUTOUT_DAY_BUDGET to continue today")


def _account_stoppages(session: Session, job: Job, settings: CallSettings) -> Iterator[Explanation]:
    accounts = session.scalars(select(Account).where(is_named(Account.name, settings.accounts))).all()
    if accounts and all(account.paused_at for account in accounts):
        first = accounts[0]
        text = (
            f"the account {first.name} is paused since {time_text(first.paused_at)}: {first.pause_code}:"
            f" {first.pause_message}; the next probe is at {time_text(first.probe_at)}"
        )
        yield Explanation(
            State(job.state), "account-paused", text, "see `cutout limits`", until=first.probe_at
        )
    limits = session.execute(
        select(Limit.circuit_until, circuit_is_open(Limit)).where(is_named(Limit.account, settings.accounts))
    ).all()
    if limits and all(is_open for _, is_open in limits):
        until = min(until for until, _ in limits if until is not None)
        probe = f"at {time_text(until)}" if until > database_now(session) else "now"
        text = f"the endpoint fails for all jobs; one call probes it {probe}"
        yield Explanation(State(job.state), "circuit", text, until=until)
