"""A limit that nobody knows: how soon it is found, how often it is met, and what happens when it moves."""

import time

from bench.limit.rig import Rig, rig
from bench.table import Figure

RATE, IN_FLIGHT = 20, 12
# Where the calls in flight bind, and where the rate does.
LATENCIES_S = (2.1, 0.5)
LEARN_S, WATCH_S, SETTLE_S, REGAIN_S = 60, 60, 30, 90
WINDOW_S = 10


def measure() -> list[Figure]:
    """Rows for each latency."""
    return [row for latency in LATENCIES_S for row in _measure(latency)]


def _measure(latency: float) -> list[Figure]:
    goal = _most(RATE, IN_FLIGHT, latency)
    with rig(latency_s=latency, worker_threads=12) as running:
        running.set(calls_per_second=RATE, calls_in_flight=IN_FLIGHT)
        running.enqueue(int(goal * (LEARN_S + WATCH_S + SETTLE_S * 2 + REGAIN_S + WATCH_S + 60)))
        running.wait_for_arrivals(1)
        name = f"unknown limit {RATE}/s and {IN_FLIGHT} in flight, {latency:g} s a call"
        found_s = _until(running, 0.9 * goal, LEARN_S * 2)
        time.sleep(max(LEARN_S - found_s, 0))
        rate, slow = _watch(running, WATCH_S)
        rows = [
            Figure(f"{name}: within 10%", f"after {found_s:.0f} s", "60 s", found_s <= LEARN_S),
            Figure(f"{name}: then", f"{rate / goal:.0%} of it used", "at least 90%", rate >= 0.9 * goal),
            Figure(f"{name}: then", f"{slow:.2%} slow", "under 1%", slow < 0.01),
        ]
        running.set(calls_per_second=RATE / 2, calls_in_flight=IN_FLIGHT // 2)
        time.sleep(SETTLE_S)
        _, slow = _watch(running, WATCH_S)
        rows.append(
            Figure(f"it halves: 30 s later, over {WATCH_S} s", f"{slow:.2%} slow", "under 1%", slow < 0.01)
        )
        running.set(calls_per_second=RATE, calls_in_flight=IN_FLIGHT)
        regained_s = _until(running, 0.9 * goal, REGAIN_S * 2)
        failed = running.scalar("SELECT count(*) FROM jobs WHERE state IN ('failed', 'held')")
        rows += [
            Figure("it doubles: regained", f"after {regained_s:.0f} s", "90 s", regained_s <= REGAIN_S),
            Figure("jobs failed or held meanwhile", f"{failed}", "0", failed == 0),
        ]
    return rows


def _most(rate: float, in_flight: int, latency: float) -> float:
    # The latency's mean lies a little above its median: log-normal, sigma 0.25.
    return min(rate, in_flight / (latency * 1.032))


def _watch(running: Rig, seconds: float) -> tuple[float, float]:
    """Accepted calls a second, and the share of slow answers."""
    running.clear()
    time.sleep(seconds)
    seen = running.statistics(seconds)
    slow = sum(seen["refused"].values())
    return (seen["arrived"] - slow) / seconds, slow / max(seen["arrived"], 1)


def _until(running: Rig, rate: float, give_up_s: float) -> float:
    """Seconds until so many calls a second are accepted, over some seconds; counted to their end."""
    began = time.monotonic()
    counts: list[tuple[float, int]] = []
    while time.monotonic() - began < give_up_s:
        seen = running.statistics(1)
        counts.append((time.monotonic(), seen["arrived"] - sum(seen["refused"].values())))
        while counts[-1][0] - counts[0][0] > WINDOW_S:
            counts.pop(0)
        (since, before), (now, after) = counts[0], counts[-1]
        if now - since > WINDOW_S * 0.9 and (after - before) / (now - since) >= rate:
            return now - began
        time.sleep(0.25)
    return give_up_s
