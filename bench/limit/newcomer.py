"""A small batch that comes when a large one is queued."""

import time

from bench.limit.rig import rig
from bench.table import Figure

RATES = (20, 50)
LARGE, SMALL = 100_000, 10


def measure() -> list[Figure]:
    """One row a rate."""
    return [_measure(rate) for rate in RATES]


def _measure(rate: int) -> Figure:
    with rig(calls_per_second=rate, calls_in_flight=rate * 6, worker_threads=rate // 4 * 4 + 8) as running:
        running.enqueue(LARGE)
        running.wait_for_arrivals(rate * 5)
        batch = running.enqueue(SMALL)
        begun = "SELECT count(*) FROM attempts JOIN jobs ON jobs.id = job_id WHERE batch_id = :batch"
        while running.scalar(begun, batch=batch) < SMALL:
            time.sleep(0.1)
        took: float = running.scalar(
            "SELECT extract(epoch FROM max(begun_at) - min(batches.created_at))::float8 FROM attempts"
            " JOIN jobs ON jobs.id = job_id JOIN batches ON batches.id = batch_id WHERE batch_id = :batch",
            batch=batch,
        )
    goal = 2 * SMALL / (rate / 2)
    return Figure(
        f"{LARGE:,} queued at {rate}/s, then a batch of {SMALL}",
        f"the {SMALL} all called {took:.2f} s after they came",
        f"{goal:g} s",
        took <= goal,
    )
