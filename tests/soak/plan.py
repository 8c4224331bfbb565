"""The plan of strikes: drawn from the seed alone, before anything runs."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

# Silence after which a worker counts as gone, and a freeze that is longer.
SILENCE_S = 5.0
FREEZE_S = 7.0
# When the first and the last strike come, as shares of the time.
FIRST, LAST = 0.02, 0.9
# How long the operator holds something back.
HOLD_S = (1.0, 3.0)


class Kind(StrEnum):
    """A strike on a process or server."""

    WORKER_KILLED = "worker killed"
    WORKER_FROZEN = "worker frozen for longer than its silence"
    WORKER_REPLACED = "worker replaced (SIGTERM)"
    DISPATCHER_KILLED = "dispatcher killed"
    REDIS_KILLED = "Redis killed"
    REDIS_EMPTIED = "Redis emptied"
    POSTGRES_KILLED = "Postgres killed"
    BUCKET_KILLED = "bucket killed"
    BUCKET_FROZEN = "bucket frozen"
    POSTGRES_READ_ONLY = "Postgres read-only"
    WORKER_WITHOUT_POSTGRES = "worker cut off from Postgres alone"
    WORKER_WITHOUT_BUCKET = "worker cut off from the bucket alone"
    RESULTS_REFUSED = "result host refused"
    DECODER_KILLED = "decoding process killed"
    API_KILLED = "API killed"
    INGESTER_KILLED = "ingester killed"


WEIGHTS = {
    Kind.WORKER_KILLED: 6,
    Kind.WORKER_FROZEN: 3,
    Kind.WORKER_REPLACED: 3,
    Kind.DISPATCHER_KILLED: 3,
    Kind.REDIS_KILLED: 2,
    Kind.REDIS_EMPTIED: 2,
    Kind.POSTGRES_KILLED: 2,
    Kind.BUCKET_KILLED: 2,
    Kind.BUCKET_FROZEN: 1,
    Kind.POSTGRES_READ_ONLY: 3,
    Kind.WORKER_WITHOUT_POSTGRES: 3,
    Kind.WORKER_WITHOUT_BUCKET: 3,
    Kind.RESULTS_REFUSED: 3,
    Kind.DECODER_KILLED: 1,
    Kind.API_KILLED: 1,
    Kind.INGESTER_KILLED: 1,
}


class Mischief(StrEnum):
    """A disturbance of one call by the sandbox, or of the messages."""

    DROP_AFTER = "drop_after"
    DROP_MIDWAY = "drop_midway"
    HANG_AFTER = "hang_after"
    TRUNCATED_IMAGE = "truncated_image"
    RESULT_UNAVAILABLE = "result_unavailable"
    RESULT_GONE = "result_gone"
    GATEWAY_AFTER = "gateway_after"
    CODE = "code"
    REPEATED = "messages repeated"
    LATE = "messages repeated late"


MISCHIEF_WEIGHTS = {
    Mischief.DROP_AFTER: 4,
    Mischief.DROP_MIDWAY: 3,
    Mischief.HANG_AFTER: 3,
    Mischief.TRUNCATED_IMAGE: 1,
    Mischief.RESULT_UNAVAILABLE: 3,
    Mischief.RESULT_GONE: 2,
    Mischief.GATEWAY_AFTER: 3,
    Mischief.CODE: 6,
    Mischief.REPEATED: 3,
    Mischief.LATE: 3,
}
HANG_S = 3.0
# A gateway gives up on so many calls in a row; all of them are charged.
MOST_AT_GATEWAY = 4


class Deed(StrEnum):
    """Actions of the operator, by the command or over HTTP."""

    PAUSE_ALL = "everything paused and resumed"
    PAUSE_BATCH = "batch paused and resumed"
    PLAN = "batch planned"
    APPROVE = "plan approved"
    BOUND = "batch with a budget ordered"
    RAISE = "budget raised"
    AGAIN = "pictures ordered again"
    CANCEL_JOB = "job cancelled"
    CANCEL_BATCH = "batch cancelled"
    RETRY = "failed and held jobs retried"
    RUN_SCHEDULE = "schedule run by hand"
    PAUSE_SCHEDULE = "schedule paused and resumed"


DEED_WEIGHTS = {
    Deed.PAUSE_ALL: 2,
    Deed.PAUSE_BATCH: 3,
    Deed.PLAN: 2,
    Deed.APPROVE: 2,
    Deed.BOUND: 2,
    Deed.RAISE: 3,
    Deed.AGAIN: 3,
    Deed.CANCEL_JOB: 3,
    Deed.CANCEL_BATCH: 2,
    Deed.RETRY: 2,
    Deed.RUN_SCHEDULE: 2,
    Deed.PAUSE_SCHEDULE: 1,
}
FIRST_DEEDS = (Deed.PLAN, Deed.BOUND)
# Two that say "again" and two that say "not so fast"; none is charged.
CODES = ("PROCESSING_FAILURE", "ERROR_GATEWAY", "EXCEEDING_LIMITS", "AI_SERVICE_FLOW_RESTRICTION")

K = TypeVar("K", Kind, Mischief, Deed)


@dataclass(frozen=True)
class Strike:
    """`at_s` and how long it lasts in seconds; `which` (0 to 1) picks among several."""

    at_s: float
    kind: Kind
    which: float
    seconds: float


@dataclass(frozen=True)
class Order:
    """`at_s` seconds after the start, or once the order before it has struck. `options` are the fault's."""

    at_s: float
    kind: Mischief
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Act:
    """`at_s` and how long it lasts in seconds; `which` (0 to 1) picks among several batches, jobs or ways."""

    at_s: float
    kind: Deed
    which: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """Everything that shall strike, and what the operator does, in order."""

    strikes: list[Strike]
    orders: list[Order]
    acts: list[Act]


def draw_plan(*, kills: int, seconds: float, seed: int) -> Plan:
    """Draw `kills` strikes and as many orders and acts (at least one of each kind) over `seconds`."""
    rng = random.Random(seed)  # noqa: S311 - a plan that can be repeated
    kinds = _draw(rng, WEIGHTS, kills)
    strikes = [
        Strike(at_s, kind, rng.random(), _duration(rng, kind))
        for at_s, kind in zip(_times(rng, kills, seconds), kinds, strict=True)
    ]
    mischief = _draw(rng, MISCHIEF_WEIGHTS, max(kills, len(Mischief)))
    # A damaged result is fetched again until its URL dies: it comes first, to be dead by the end.
    mischief.sort(key=lambda kind: kind is not Mischief.TRUNCATED_IMAGE)
    times = _times(rng, len(mischief), seconds)
    orders = [Order(at_s, kind, _options(rng, kind)) for at_s, kind in zip(times, mischief, strict=True)]
    return Plan(strikes, orders, _acts(rng, kills, seconds))


def _acts(rng: random.Random, kills: int, seconds: float) -> list[Act]:
    deeds = _draw(rng, DEED_WEIGHTS, max(kills, len(Deed)))
    # One of each that the others are done to, before those.
    for deed in FIRST_DEEDS:
        deeds.remove(deed)
    deeds = [*FIRST_DEEDS, *deeds]
    return [
        Act(at_s, deed, rng.random(), rng.uniform(*HOLD_S))
        for at_s, deed in zip(_times(rng, len(deeds), seconds), deeds, strict=True)
    ]


def _draw(rng: random.Random, weights: Mapping[K, int], count: int) -> list[K]:
    """One of each kind, the heaviest first should they not all have room; the rest by weight; shuffled."""
    heaviest_first = sorted(weights, key=lambda kind: -weights[kind])[:count]
    rest = rng.choices(list(weights), list(weights.values()), k=count - len(heaviest_first))
    drawn = heaviest_first + rest
    rng.shuffle(drawn)
    return drawn


def _times(rng: random.Random, count: int, seconds: float) -> list[float]:
    """Evenly over the time, each somewhere in the middle of its slot, so that they overlap little."""
    slot = (LAST - FIRST) * seconds / count
    return [FIRST * seconds + slot * (n + rng.uniform(0.2, 0.8)) for n in range(count)]


def _duration(rng: random.Random, kind: Kind) -> float:
    match kind:
        case Kind.WORKER_FROZEN:
            return FREEZE_S
        case Kind.POSTGRES_KILLED:
            return rng.choice([0.0, rng.uniform(3, 8)])
        case Kind.BUCKET_KILLED:
            return rng.uniform(2, 6)
        case Kind.BUCKET_FROZEN | Kind.RESULTS_REFUSED:
            return rng.uniform(2, 5)
        case Kind.POSTGRES_READ_ONLY:
            return rng.uniform(2, 7)
        case Kind.WORKER_WITHOUT_POSTGRES | Kind.WORKER_WITHOUT_BUCKET:
            return rng.choice([rng.uniform(2, 4), FREEZE_S])
        case _:
            return 0.0


def _options(rng: random.Random, kind: Mischief) -> dict[str, object]:
    match kind:
        case Mischief.CODE:
            return {"code": rng.choice(CODES)}
        case Mischief.HANG_AFTER:
            return {"seconds": HANG_S}
        case Mischief.GATEWAY_AFTER:
            return {"next": rng.randint(1, MOST_AT_GATEWAY)}
        case _:
            return {}
