"""Health checks of progress: a leading dispatcher, live workers, calls that may begin, cutouts that exist."""

from sqlalchemy import Engine, func, select

from cutout.billing.learned_limits import circuit_is_open
from cutout.enums import Stop
from cutout.models import Account, Breaker, Limit, QueueClock
from cutout.models.database import Database
from cutout.monitoring.check import Check, failed, passed
from cutout.queue.blocks.isolated_workers import cut_off_workers
from cutout.queue.leader import leader_exists
from cutout.queue.reuse import missing_results
from cutout.queue.workers import heard_lately
from cutout.status.explain import MISSING_REMEDY
from cutout.status.stoppages import FETCH_REMEDY

OPEN_BREAKERS = select(Breaker.kind, Breaker.reason).where(Breaker.opened_at.is_not(None))

Fault = tuple[str, str]
"""A fault and its remedy."""


def check_progress(engine: Engine) -> list[Check]:
    """Check whether accepted jobs are carried out: dispatcher, workers, calls, cutouts in the bucket."""
    with engine.connect() as connection:
        faults = {
            "dispatcher": _dispatcher_fault(connection),
            "worker": _worker_fault(connection),
            "calls": _call_fault(connection),
            "cutouts": _cutout_fault(connection),
        }
    return [failed(name, *fault) if fault else passed(name) for name, fault in faults.items()]


def _dispatcher_fault(database: Database) -> Fault | None:
    if leader_exists(database):
        return None
    return "none leads, so nothing is dispatched", "start `cutout dispatcher`"


def _worker_fault(database: Database) -> Fault | None:
    if not heard_lately(database):
        return "none was heard within the last minute", "start `cutout worker`"
    cut_off = cut_off_workers(database)
    if cut_off:
        names = "; ".join(f"{worker.pid} on {worker.host}: {worker.reason}" for worker in cut_off)
        return f"{len(cut_off)} do not reach the bucket and make no calls", f"check the network of {names}"
    return None


def _call_fault(database: Database) -> Fault | None:
    if database.scalar(select(QueueClock.paused_at)) is not None:
        return "all calls are paused by an operator", "`cutout resume` ends the pause"
    breakers = {row.kind: row for row in database.execute(OPEN_BREAKERS)}
    if Stop.BUCKET in breakers:
        return "the bucket does not accept cutouts", "fix the bucket; calls resume by themselves"
    if Stop.RESULTS in breakers:
        return "paid results cannot be fetched", f"{FETCH_REMEDY} ({breakers[Stop.RESULTS].reason})"
    if Stop.BACKLOG in breakers:
        return "too many paid results wait for their copy", f"find out why: {breakers[Stop.BACKLOG].reason}"
    accounts, paused = database.execute(select(func.count(), func.count(Account.paused_at))).one()
    if accounts and accounts == paused:
        codes = sorted({str(code) for code in database.scalars(select(Account.pause_code))})
        return f"every account is paused: {', '.join(codes)}", "see `cutout limits`"
    limits = database.execute(
        select(func.count(), func.count().filter(circuit_is_open(Limit)))
        .join(Account, Account.name == Limit.account)
        .where(Account.paused_at.is_(None))
    ).one()
    if limits[0] and limits[0] == limits[1]:
        return "the endpoint fails for all jobs", "see `cutout limits`; it is probed by itself"
    return None


def _cutout_fault(database: Database) -> Fault | None:
    found = missing_results.read_missing(database)
    if not found.stopped:
        return None
    return f"the bucket lacks {found.cutouts:,} that were bought and are needed again", MISSING_REMEDY
