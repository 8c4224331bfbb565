"""One worker process with 200 calls open."""

import time

import psutil

from bench.limit.rig import rig
from bench.table import Figure

CALLS, LATENCY_S, SECONDS = 200, 2.0, 30


def measure() -> list[Figure]:
    """Peak memory, and CPU while 200 calls of 2 s each are open."""
    pace = {"calls_per_second": 10_000, "calls_in_flight": CALLS, "worker_threads": CALLS + 60}
    with rig(workers=1, latency_s=LATENCY_S, **pace) as running:
        running.enqueue(int(CALLS / LATENCY_S * (SECONDS + 60)))
        running.wait_for_arrivals(CALLS * 3)
        worker = psutil.Process(running.stack.children["worker-1"].pid)
        running.clear()
        before, began, memory, open_calls = _cpu(worker), time.monotonic(), 0, []
        while time.monotonic() - began < SECONDS:
            memory = max(memory, worker.memory_info().rss)
            open_calls.append(running.statistics(1)["in_flight"])
            time.sleep(0.5)
        took, cpu = time.monotonic() - began, _cpu(worker) - before
        calls = running.statistics(SECONDS)["arrived"]
    mean = sum(open_calls) / len(open_calls)
    return [
        Figure(
            f"one worker process, {CALLS} calls open at {LATENCY_S:g} s each",
            f"{mean:.0f} open on average, {calls / took:.0f} calls/s, peak {memory / 1e6:.0f} MB,"
            f" {cpu / took:.0%} of a core, {1000 * cpu / calls:.1f} ms of CPU a job",
        )
    ]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
