"""Each doubt in the ledger and its cause, by the sandbox's own record of calls and by the strikes.

A doubt needs one: an answer that the sandbox withheld by order or gave too late, or a worker that was struck
between the intent to call and the record of the answer. Any other is a doubt of our own recipe.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from cutout.enums import AttemptOutcome
from tests.soak.plan import SILENCE_S, Kind, Mischief
from tests.soak.struck import Struck
from tests.soak.times import CALL_DEADLINE_S

# What withholds the answer of a call that is charged.
WITHHOLDING = {Mischief.DROP_AFTER, Mischief.DROP_MIDWAY, Mischief.HANG_AFTER, Mischief.GATEWAY_AFTER}
# From the intent to the first byte: a turn that is waited for (worker/limiter/limiter.py).
SENT_WITHIN_S = 5.5
# From the answer to its record, in Postgres or on disk: a second of patience, and a busy machine.
STORED_WITHIN_S = 3.0
# From the answer to its record in Postgres by another worker that finds it on disk.
TOLD_WITHIN_S = 5.0
# A worker is judged dead after its silence, reckoned from its last heartbeat before it was struck.
JUDGED_AFTER_S = SILENCE_S - 2.0
# A judgement that was made at the strike's end is written down by then.
JUDGED_WITHIN_S = 3.0
# A deadline that has just passed.
ROUNDING_S = 0.5

Row = Any


class Cause(StrEnum):
    """Why nobody could know whether a call was charged."""

    WITHHELD = "answer withheld by an order"
    TOO_LATE = "no answer within the call's deadline"
    KILLED = "call out when its worker was killed"
    FROZEN = "call out when its worker was frozen"
    CUT_OFF = "call out when its worker was cut off from Postgres"
    NOT_SENT = "worker struck before the call went out"


DEADLY = {Kind.WORKER_KILLED: Cause.KILLED}
# The worker lives; others judge it dead.
SILENCING = {Kind.WORKER_FROZEN: Cause.FROZEN, Kind.WORKER_WITHOUT_POSTGRES: Cause.CUT_OFF}
# A worker that ends while Postgres is away cannot say that it sent nothing.
ENDING = {Kind.WORKER_REPLACED}
ON_A_CALL = DEADLY.keys() | SILENCING.keys()
OUTAGES = {Kind.POSTGRES_KILLED, Kind.POSTGRES_READ_ONLY, Kind.REDIS_KILLED}


@dataclass(frozen=True)
class Call:
    """A line of the sandbox's record (sandbox/calls.py)."""

    arrived_at: float
    image_sha256: str
    request_id: str | None = None
    fault: str | None = None
    http_status: int | None = None
    answered_at: float | None = None

    def answered_before(self, at: float) -> bool:
        """Whether its answer had gone out by then."""
        return self.answered_at is not None and self.answered_at < at


@dataclass
class Doubts:
    """Findings: the causes of doubts, and doubts without a cause."""

    causes: Counter[str] = field(default_factory=Counter)
    needless: list[str] = field(default_factory=list)
    out_at_strikes: int = 0
    strikes_met_calls: int = 0
    strikes_on_workers: int = 0

    @property
    def total(self) -> int:
        """All doubts on record."""
        return sum(self.causes.values()) + len(self.needless)


def find_doubts(
    attempts: Sequence[Row],
    workers: Iterable[Row],
    call_of: Mapping[int, Call],
    struck: Sequence[Struck],
) -> Doubts:
    """Hold each attempt that was ever in doubt against its call and the strikes on its worker."""
    found = Doubts()
    by_worker = _by_worker(workers, struck)
    outages = [strike for strike in struck if strike.kind in OUTAGES]
    for attempt in attempts:
        if attempt.unknown_at is None:
            continue
        call, strikes = call_of.get(attempt.id), by_worker[attempt.worker_id]
        cause = _cause(attempt, call, strikes, outages)
        if cause is None:
            found.needless.append(_told(attempt, call, strikes))
        else:
            found.causes[cause.value] += 1
    _count_calls_out(found, attempts, call_of, by_worker)
    return found


def match_calls(attempts: Iterable[Row], calls: Iterable[Call]) -> tuple[dict[int, Call], list[Call]]:
    """The call of each attempt, by its request id or by its picture and time; and the calls of none."""
    by_picture: dict[str, list[Call]] = defaultdict(list)
    for came in sorted(calls, key=lambda call: call.arrived_at):
        # What did not come whole has no picture.
        if came.image_sha256:
            by_picture[came.image_sha256].append(came)
    found: dict[int, Call] = {}
    # Those with a request id first, then the last one first: a call belongs to the last intent before it.
    for attempt in sorted(attempts, key=lambda attempt: (not _is_charged(attempt), -_at(attempt.begun_at))):
        left = by_picture[attempt.image_sha256.hex()]
        call = next((call for call in left if _may_be(attempt, call)), None)
        if call is not None:
            found[attempt.id] = call
            left.remove(call)
    return found, [call for left in by_picture.values() for call in left]


def _may_be(attempt: Row, call: Call) -> bool:
    if _is_charged(attempt):
        return bool(attempt.request_id == call.request_id)
    if attempt.outcome == AttemptOutcome.NOT_CHARGED and call.request_id is not None:
        return False
    return call.arrived_at >= _at(attempt.begun_at)


def _is_charged(attempt: Row) -> bool:
    return bool(attempt.outcome == AttemptOutcome.CHARGED)


def _by_worker(workers: Iterable[Row], struck: Iterable[Struck]) -> Mapping[uuid.UUID, list[Struck]]:
    """Strikes on each worker. A pid may have been another worker's before."""
    by_worker: dict[uuid.UUID, list[Struck]] = defaultdict(list)
    known = sorted(workers, key=lambda worker: worker.started_at)
    for strike in struck:
        its = [
            worker.id
            for worker in known
            if worker.pid == strike.pid and _at(worker.started_at) <= strike.ended_at
        ]
        if its:
            by_worker[its[-1]].append(strike)
    return by_worker


def _cause(
    attempt: Row, call: Call | None, strikes: Sequence[Struck], outages: Sequence[Struck]
) -> Cause | None:
    if call is None:
        return Cause.NOT_SENT if _could_not_send(attempt, strikes, outages) else None
    if call.fault in WITHHOLDING:
        return Cause.WITHHELD
    for strike in strikes:
        if strike.kind in DEADLY and _died_with(attempt, call, strike):
            return DEADLY[strike.kind]
        if strike.kind in SILENCING and _was_judged_dead(attempt, call, strike):
            return SILENCING[strike.kind]
    return Cause.TOO_LATE if _waited_in_vain(attempt, call) else None


def _could_not_send(attempt: Row, strikes: Iterable[Struck], outages: Sequence[Struck]) -> bool:
    begun_at, doubted_at = _at(attempt.begun_at), _at(attempt.unknown_at)
    return any(
        begun_at <= strike.ended_at
        and strike.began_at <= doubted_at
        and strike.began_at - begun_at <= SENT_WITHIN_S + _overlap(outages, begun_at, strike.began_at)
        for strike in strikes
        if strike.kind in ON_A_CALL | ENDING
    )


def _died_with(attempt: Row, call: Call, strike: Struck) -> bool:
    return (
        _at(attempt.begun_at) <= strike.ended_at
        and strike.began_at <= _at(attempt.unknown_at)
        and not call.answered_before(strike.began_at - STORED_WITHIN_S)
    )


def _was_judged_dead(attempt: Row, call: Call, strike: Struck) -> bool:
    """In its silence, and before the answer could be told."""
    doubted_at = _at(attempt.unknown_at)
    in_its_silence = strike.began_at + JUDGED_AFTER_S <= doubted_at <= strike.ended_at + JUDGED_WITHIN_S
    if _at(attempt.begun_at) > strike.ended_at or not in_its_silence:
        return False
    if strike.kind is Kind.WORKER_FROZEN:
        return not call.answered_before(strike.began_at - STORED_WITHIN_S)
    return not call.answered_before(doubted_at - TOLD_WITHIN_S)


def _waited_in_vain(attempt: Row, call: Call) -> bool:
    """Its worker waited for the whole deadline, and nothing had come by then."""
    deadline = _at(attempt.begun_at) + CALL_DEADLINE_S - ROUNDING_S
    return _at(attempt.unknown_at) >= deadline and not call.answered_before(deadline)


def _overlap(strikes: Iterable[Struck], begin: float, end: float) -> float:
    return sum(max(min(strike.ended_at, end) - max(strike.began_at, begin), 0.0) for strike in strikes)


def _told(attempt: Row, call: Call | None, strikes: Sequence[Struck]) -> str:
    begun_at = _at(attempt.begun_at)
    came = "never came"
    if call is not None:
        answered = f"{call.answered_at - begun_at:.1f} s" if call.answered_at is not None else "never"
        came = (
            f"came after {call.arrived_at - begun_at:.1f} s ({call.fault or 'no fault'}), answered {answered}"
        )
    its = [
        f"{strike.kind} from {strike.began_at - begun_at:.1f} to {strike.ended_at - begun_at:.1f} s"
        for strike in strikes
    ]
    return (
        f"attempt {attempt.id} of job {attempt.job_id} ({attempt.outcome} {attempt.code}), begun at"
        f" {attempt.begun_at}, doubted after {_at(attempt.unknown_at) - begun_at:.1f} s; its call {came}; its"
        f" worker: {', '.join(its) or 'never struck'}"
    )


def _count_calls_out(
    found: Doubts,
    attempts: Iterable[Row],
    call_of: Mapping[int, Call],
    by_worker: Mapping[uuid.UUID, Sequence[Struck]],
) -> None:
    """Calls that had come and were not answered when their worker was struck."""
    out: Counter[int] = Counter()
    for attempt in attempts:
        call = call_of.get(attempt.id)
        for strike in by_worker.get(attempt.worker_id, ()) if call else ():
            assert call is not None
            has_come = call.arrived_at <= strike.began_at <= _at(attempt.ended_at or attempt.begun_at)
            if strike.kind in ON_A_CALL and has_come:
                out[id(strike)] += not call.answered_before(strike.began_at)
    found.out_at_strikes = out.total()
    found.strikes_met_calls = sum(count > 0 for count in out.values())
    found.strikes_on_workers = sum(
        strike.kind in ON_A_CALL for strikes in by_worker.values() for strike in strikes
    )


def _at(moment: datetime) -> float:
    return moment.timestamp()
