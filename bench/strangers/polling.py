"""The victim: it asks for one job again and again."""

import statistics
import time
from dataclasses import dataclass

import httpx

from bench.strangers.rig import Rig
from bench.strangers.row import Row

EVERY_S = 0.05
SECONDS = 10.0
# The attack is under way before it counts.
LEAD_S = 3.0
WORST_S = 1.0
TIMES = 2.0


@dataclass(frozen=True)
class Polled:
    """Seconds until the answers came."""

    worst: float
    median: float


def job_of(rig: Rig, key: str) -> str:
    """A job of this producer's; returns its path."""
    with rig.client(key) as client:
        batch = client.post("/v1/batches", json={"name": "polled", "jobs": [_JOB]}).raise_for_status().json()
        # It stays as it is.
        client.post(f"/v1/batches/{batch['id']}/pause").raise_for_status()
        jobs = client.get("/v1/jobs", params={"batch": batch["id"]}).raise_for_status().json()
        return f"/v1/jobs/{jobs['data'][0]['id']}"


_JOB = {"external_id": "polled", "source_url": "https://shop.example/polled.jpg"}


def polled(rig: Rig, path: str, seconds: float = SECONDS) -> Polled:
    """Ask every 50 ms, on a connection that is kept; an answer that is none counts as 60 s."""
    took = list[float]()
    with rig.client(rig.victim) as client:
        began = time.perf_counter()
        while (sent := time.perf_counter()) < began + seconds:
            try:
                client.get(path).raise_for_status()
                took.append(time.perf_counter() - sent)
            except httpx.HTTPError:
                took.append(60.0)
            time.sleep(max(EVERY_S - (time.perf_counter() - sent), 0))
    return Polled(max(took), statistics.median(took))


def compare(what: str, alone: Polled, attacked: Polled) -> list[Row]:
    """The rows of worst and median."""
    times = attacked.median / alone.median
    return [
        Row(f"{what}: worst", alone.worst, attacked.worst, f"{WORST_S:g} s", attacked.worst < WORST_S),
        Row(f"{what}: median", alone.median, attacked.median, f"{TIMES:g} times", times <= TIMES),
    ]
