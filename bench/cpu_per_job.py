"""CPU of worker and dispatcher per job, beside a bare loop that does the same work, in turn in one run.

`python -m bench.cpu_per_job --help` lists the options. Sandbox and servers run too and are not counted.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy.orm import Session

from bench.picture import picture_of
from cli.stack import Stack, StackOptions, run_stack
from cutout.enums import ReturnForm, State
from cutout.models.database import connect
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.status.batch_status import batch_status
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source

GIVE_UP_AFTER_S = 600.0


@dataclass(frozen=True)
class Options:
    """Options: `jobs` a round, `threads` in one worker process, pictures of `kilobytes`."""

    jobs: int
    rounds: int
    threads: int
    kilobytes: int
    latency: float


def main() -> None:
    """Measure, and print one row a round and the medians."""
    options = _options()
    pace = {
        "CUTOUT_CALLS_PER_SECOND": "10000",
        "CUTOUT_CALLS_IN_FLIGHT": str(options.threads),
        "CUTOUT_WORKER_THREADS": str(options.threads),
        # Every job is to call, though they are all of one picture.
        "CUTOUT_REUSE": "off",
    }
    with tempfile.TemporaryDirectory() as directory:
        stack_options = StackOptions(Path(directory), sandbox_latency_s=options.latency, defaults=pace)
        with run_stack(stack_options) as stack:
            _run_ours(stack, options.threads, options.kilobytes)
            rounds = [(_bare(stack, options), *_ours(stack, options)) for _ in range(options.rounds)]
    _print(options, rounds)


def _ours(stack: Stack, options: Options) -> tuple[float, float, float]:
    """CPU seconds of worker and dispatcher, and the seconds it took."""
    processes = {name: _process(stack, name) for name in ("worker-1", "dispatcher")}
    before = {name: _cpu(process) for name, process in processes.items()}
    began = time.monotonic()
    _run_ours(stack, options.jobs, options.kilobytes)
    took = time.monotonic() - began
    worker, dispatcher = (_cpu(process) - before[name] for name, process in processes.items())
    return worker, dispatcher, took


def _run_ours(stack: Stack, jobs: int, kilobytes: int) -> None:
    engine = connect(stack.settings.database_url.get_secret_value(), connections=1)
    bucket = Bucket(stack.settings)
    source = upload_source(bucket, io.BytesIO(picture_of(kilobytes)))
    with Session(engine) as session, session.begin():
        batch_id = create_batch(session, "bench").id
        form = ReturnForm.WHITE_BACKGROUND
        enqueue_all(session, [NewJob(source, str(n), form) for n in range(jobs)], batch_id=batch_id)
    deadline = time.monotonic() + GIVE_UP_AFTER_S
    while True:
        with Session(engine) as session:
            status = batch_status(session, batch_id)
        if status and status.counts[State.SUCCEEDED] == jobs:
            break
        if status is None or status.done == jobs or time.monotonic() > deadline:
            raise SystemExit(f"the jobs did not all succeed: {status}")
        time.sleep(0.2)
    engine.dispose()
    bucket.close()


def _bare(stack: Stack, options: Options) -> float:
    arguments = [str(options.jobs), str(options.threads), str(options.kilobytes)]
    ran = subprocess.run(
        [sys.executable, "-m", "bench.bare_loop", *arguments],
        env={**os.environ, **stack.environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(ran.stdout)


def _process(stack: Stack, name: str) -> psutil.Process:
    pid = stack.children[name].pid
    if pid is None:
        raise SystemExit(f"{name} does not run")
    return psutil.Process(pid)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _print(options: Options, rounds: list[tuple[float, float, float, float]]) -> None:
    print(f"{options.jobs} jobs a round, {options.kilobytes} KB, {options.threads} threads, ms of CPU a job")
    print("| round | bare loop | worker | dispatcher | ratio | jobs/s |")
    print("|---|---|---|---|---|---|")
    ratios = []
    for number, (bare, worker, dispatcher, took) in enumerate(rounds, start=1):
        ratios.append((worker + dispatcher) / bare)
        figures = (1000 * seconds / options.jobs for seconds in (bare, worker, dispatcher))
        row = " | ".join(f"{figure:.2f}" for figure in figures)
        print(f"| {number} | {row} | {ratios[-1]:.2f} | {options.jobs / took:.0f} |")
    print(f"median ratio {statistics.median(ratios):.2f}")


def _options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000, help="jobs a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, the bare loop and ours in turn")
    parser.add_argument("--threads", type=int, default=32, help="threads of the worker and of the bare loop")
    parser.add_argument("--kilobytes", type=int, default=300, help="size of the picture")
    parser.add_argument("--latency", type=float, default=0.2, help="median seconds of a call")
    return Options(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
