"""Health checks of Redis' configuration, and of the clocks by which leases and limits are counted."""

import time
from collections.abc import Mapping
from contextlib import suppress
from statistics import median

import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from cutout.monitoring.check import Check, failed, passed
from cutout.monitoring.health import open_redis
from cutout.settings import Settings

MICROSECONDS = 1_000_000
CLOCKS_DIFFER_S = 2.0
# With this many clocks the wrong one can be told.
MAJORITY = 3
HOST = "this host"
EVICTION_REMEDY = "set `maxmemory-policy noeviction`: the limit and the queues are keys without an expiry"
CLOCK_REMEDY = "set it by NTP; due times and expiries are counted by these clocks"


def check_redis_setup(settings: Settings, engine: Engine) -> list[Check]:
    """Check that Redis evicts no keys, and that its clock agrees with Postgres and this host.

    A server that does not answer is left out: another check reports it.
    """
    eviction = Check("eviction", ok=True, found="not checked, Redis is unreachable", needed=False)
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
    """Check the policy: `allkeys-*` lets a full Redis evict keys without an expiry, such as ours."""
    if policy.startswith("allkeys"):
        found = f"maxmemory-policy is {policy}: a full Redis would drop the limit's keys and messages"
        return failed("eviction", found, EVICTION_REMEDY)
    return passed("eviction")


def judge_clocks(clocks: Mapping[str, float]) -> Check:
    """Check the clocks, given in seconds ahead of this host's: of three, one far from the median is wrong."""
    middle = median(clocks.values()) if len(clocks) >= MAJORITY else clocks[HOST]
    off = {name: ahead - middle for name, ahead in clocks.items() if abs(ahead - middle) > CLOCKS_DIFFER_S}
    if not off:
        return passed("clocks")
    found = "; ".join(
        f"the clock of {name} is {abs(ahead):.1f} s {'ahead' if ahead > 0 else 'behind'}"
        for name, ahead in off.items()
    )
    if len(clocks) < MAJORITY:
        found += f" of that of {HOST}; either may be wrong"
    return failed("clocks", found, CLOCK_REMEDY)
