"""Checks of how Redis is set up, and of the clocks that leases and limits are counted by."""

import time
from collections.abc import Mapping
from contextlib import suppress
from statistics import median

import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from cutout.monitoring.health import Check, open_redis
from cutout.settings import Settings

MICROSECONDS = 1_000_000
CLOCKS_DIFFER_S = 2.0
# So many clocks tell which of them is off.
MAJORITY = 3
HOST = "this host"
SET_NOEVICTION = "set `maxmemory-policy noeviction`: the limit and the queues live in keys without an expiry"
SET_CLOCK = "let NTP set it; what is due and what expires is counted by these clocks"


def check_redis_setup(settings: Settings, engine: Engine) -> list[Check]:
    """Whether Redis may evict our keys, and whether its clock is that of Postgres and of this host.

    What does not answer is left out: another check says so.
    """
    eviction = Check("eviction", ok=True, found="not looked at, Redis is away", needed=False)
    clocks = {HOST: 0.0}
    with suppress(redis.RedisError), open_redis(settings) as client:
        eviction = judge_eviction(str(client.info("memory").get("maxmemory_policy", "unknown")))
        began = time.time()
        seconds, microseconds = client.time()
        clocks["Redis"] = seconds + microseconds / MICROSECONDS - (began + time.time()) / 2
    with suppress(SQLAlchemyError), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        began = time.time()
        now = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
        clocks["Postgres"] = float(now or 0) - (began + time.time()) / 2
    return [eviction, judge_clocks(clocks)]


def judge_eviction(policy: str) -> Check:
    """Whether a full Redis throws away keys that have no expiry, which all of ours are."""
    if policy.startswith("allkeys"):
        found = f"maxmemory-policy is {policy}: a full Redis would drop the limit's keys and messages"
        return Check("eviction", ok=False, found=found, remedy=SET_NOEVICTION, needed=False)
    return Check("eviction", ok=True, found="ok", needed=False)


def judge_clocks(clocks: Mapping[str, float]) -> Check:
    """Which clock is off, by seconds ahead of this host's: the one that is far from the middle of three."""
    middle = median(clocks.values()) if len(clocks) >= MAJORITY else clocks[HOST]
    off = {name: ahead - middle for name, ahead in clocks.items() if abs(ahead - middle) > CLOCKS_DIFFER_S}
    if not off:
        return Check("clocks", ok=True, found="ok", needed=False)
    found = "; ".join(
        f"the clock of {name} is {abs(ahead):.1f} s {'ahead' if ahead > 0 else 'behind'}"
        for name, ahead in off.items()
    )
    if len(clocks) < MAJORITY:
        found += f" of that of {HOST}; either may be wrong"
    return Check("clocks", ok=False, found=found, remedy=SET_CLOCK, needed=False)
