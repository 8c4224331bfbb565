"""A ceiling that is known: how much of it is used, and whether it is ever exceeded."""

import time

from bench.limit.rig import rig
from bench.limit.row import Row

SECONDS = 60
WARM_UP_S = 8
# Rate, the least share of the slots used, the most arrivals in any one second.
GOALS = [(5, 0.97, 5.2), (50, 0.98, 52), (100, 0.97, 104)]
LATENCY_S = 2.1


def measure() -> list[Row]:
    """One row a ceiling."""
    return [_measure(*goal) for goal in GOALS]


def _measure(rate: int, least: float, most: float) -> Row:
    threads = max(8, int(rate * LATENCY_S * 1.6 / 4) + 8)
    pace = {"calls_per_second": rate, "calls_in_flight": rate * 6, "worker_threads": threads}
    with rig(latency_s=LATENCY_S, **pace) as running:
        running.enqueue(rate * (SECONDS + WARM_UP_S + 8))
        running.wait_for_arrivals(rate * 2)
        time.sleep(WARM_UP_S)
        running.clear()
        time.sleep(SECONDS)
        seen = running.statistics(SECONDS)
    arrivals = [at for at in seen["arrivals"] if at >= seen["arrivals"][-1] - SECONDS]
    used = len(arrivals) / (rate * SECONDS)
    slow = sum(seen["refused"].values())
    # A window of one second that begins with a call holds one more than the rate, whatever the limiter.
    busiest = seen["busiest_second"]
    allowed = max(most, rate + 1)
    return Row(
        f"ceiling {rate}/s for {SECONDS} s",
        f"{used:.1%} of the slots, busiest second {busiest}, slow answers {slow}",
        f"at least {least:.0%}, at most {most:g} in a second, none slow",
        used >= least and busiest <= allowed and slow == 0,
    )
