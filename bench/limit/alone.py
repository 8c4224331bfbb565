"""The limiter alone: callers that take a slot, send nothing, and hold it as long as a call takes.

Beside the part `ceiling` it says what of a loss is the limiter's, and what the lack of processors.
"""

import multiprocessing
import multiprocessing.queues
import os
import tempfile
import threading
import time
from pathlib import Path

import redis

from bench.table import Figure
from local import LocalServices
from sandbox.statistics import busiest_second
from worker.limiter.limiter import Ceilings, Limiter, LimiterFeedback, LimitReached

RATES, PROCESSES = (30, 100), 4
LATENCY_S, WARM_UP_S, SECONDS = 2.1, 5, 60
LEAST, NAME = 0.97, "bench"

Said = multiprocessing.queues.SimpleQueue[tuple[list[float], float]]
"""When calls were sent, and the longest wait past a turn."""


def measure() -> list[Figure]:
    """One row a ceiling."""
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        with LocalServices(data, database_url="none", s3_endpoint_url="none") as services:
            return [_measure(services.redis_url, rate) for rate in RATES]


def _measure(url: str, rate: int) -> Figure:
    context = multiprocessing.get_context("spawn")
    sent = context.SimpleQueue()
    until = time.monotonic() + WARM_UP_S + SECONDS + 5
    callers = [context.Process(target=_call, args=(url, rate, until, sent)) for _ in range(PROCESSES)]
    for caller in callers:
        caller.start()
    heard = [sent.get() for _ in callers]
    times = sorted(at for sent_at, _ in heard for at in sent_at)
    longest_wait = max(wait for _, wait in heard)
    for caller in callers:
        caller.join()
    # The monotonic clock is one for all processes of a machine.
    counted = [at for at in times if until - SECONDS <= at < until]
    used, busiest = len(counted) / (rate * SECONDS), busiest_second(counted)
    return Figure(
        f"the limiter alone at {rate}/s, {PROCESSES} processes",
        f"{used:.1%} of the slots, busiest second {busiest}, at most {longest_wait:.1f} s past a turn"
        f" (load average {os.getloadavg()[0]:.0f})",
        f"at least {LEAST:.0%}, at most {rate} in a second",
        used >= LEAST and busiest <= rate,
    )


def _call(
    url: str, rate: int, until: float, sent: "multiprocessing.SimpleQueue[tuple[list[float], float]]"
) -> None:
    times: list[float] = []
    waits: list[float] = []
    with redis.Redis.from_url(url) as client:
        limiter = Limiter(client, f"{NAME}{rate}", Ceilings(rate, rate * 6), lambda: None)
        threads = [
            threading.Thread(target=_keep_calling, args=(limiter, until, times, waits))
            for _ in range(int(rate * LATENCY_S * 1.6 / PROCESSES) + 8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        limiter.close()
    sent.put((times, max(waits)))


def _keep_calling(limiter: Limiter, until: float, times: list[float], waits: list[float]) -> None:
    while time.monotonic() < until:
        try:
            with limiter.slot(longest_wait_s=3.0) as slot:
                slot.await_turn()
                asked = time.monotonic()
                slot.await_permission()
                times.append(time.monotonic())
                waits.append(times[-1] - asked)
                slot.sent()
                time.sleep(LATENCY_S)
                slot.ended(LimiterFeedback.OK, took_s=LATENCY_S)
        except LimitReached as reached:
            time.sleep(reached.retry_in_s)
