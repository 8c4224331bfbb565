"""A ceiling that is known: how much of it is used, and whether it is ever exceeded."""

import os
import time

from bench.limit.busy import CORES, busy_cores
from bench.limit.rig import rig
from bench.limit.wire import wire
from bench.table import Figure
from sandbox.statistics import busiest_second

SECONDS = 60
WARM_UP_S = 8
# Rate, least share of the slots used, most arrivals in any second, cores that other work keeps busy.
GOALS = [(5, 0.97, 5, 0), (30, 0.97, 31, 0), (30, 0.97, 31, CORES), (50, 0.97, 51, 0), (100, 0.97, 102, 0)]
LATENCY_S = 2.1


def measure() -> list[Figure]:
    """One row a ceiling."""
    return [measure_one(*goal) for goal in GOALS]


def idle_30() -> list[Figure]:
    """The ceiling of 30 a second alone."""
    return [measure_one(*GOALS[1])]


def busy_30() -> list[Figure]:
    """The ceiling of 30 calls a second with every core kept busy by other work."""
    return [measure_one(*GOALS[2])]


def idle_100() -> list[Figure]:
    """The ceiling of 100 a second alone."""
    return [measure_one(*GOALS[4])]


def measure_one(rate: int, least: float, most: int, busy: int) -> Figure:
    """Let four workers press against the ceiling, and count what arrives."""
    threads = max(8, int(rate * LATENCY_S * 1.6 / 4) + 8)
    pace = {"calls_per_second": rate, "calls_in_flight": rate * 6, "worker_threads": threads}
    with rig(latency_s=LATENCY_S, **pace) as running, busy_cores(busy), wire(running.port) as line:
        running.enqueue(rate * (SECONDS + WARM_UP_S + 8))
        running.wait_for_arrivals(rate * 2)
        time.sleep(WARM_UP_S)
        running.clear()
        if line:
            line.clear()
        time.sleep(SECONDS)
        seen = running.statistics(SECONDS)
        on_wire = busiest_second(line.arrivals()) if line else None
        load = os.getloadavg()[0]
    arrivals = [at for at in seen["arrivals"] if at >= seen["arrivals"][-1] - SECONDS]
    used = len(arrivals) / (rate * SECONDS)
    slow = sum(seen["refused"].values())
    busiest = seen["busiest_second"] if on_wire is None else on_wire
    beside = f" beside {busy} busy loops" if busy else ""
    return Figure(
        f"ceiling {rate}/s for {SECONDS} s{beside}",
        f"{used:.1%} of the slots, busiest second {busiest} (the busy sandbox saw {seen['busiest_second']}),"
        f" slow answers {slow} (load average {load:.0f})",
        f"at least {least:.0%}, at most {most} in a second, none slow",
        used >= least and busiest <= most and slow == 0,
    )
