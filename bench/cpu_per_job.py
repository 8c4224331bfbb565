"""CPU per job of a bare loop, of a plain Celery worker, and of our worker and dispatcher, in turn in one run.

`python -m bench.cpu_per_job --help` lists the options. Sandbox and servers run too and are not counted, nor
what enqueues jobs or sends the plain worker's messages.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from bench.picture import large_picture, picture_of
from bench.plain_celery.worker import PlainWorker, plain_worker
from bench.stack import stack_of
from bench.table import head, line, put, verdict
from cli.stack import Stack, StackOptions
from cutout.enums import State
from cutout.models.database import connect
from cutout.queue.enqueue import NewJob, create_batch, enqueue_all
from cutout.status.batch_status import batch_status
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source

GIVE_UP_AFTER_S = 600.0
BESIDE_PLAIN_CELERY = 1.2
COLUMNS = (
    "pictures",
    "jobs a round",
    "bare loop",
    "plain Celery",
    "worker + dispatcher",
    "jobs/s",
    "÷ bare loop",
    "goal",
    "",
    "÷ plain Celery",
    "goal",
    "",
)


@dataclass(frozen=True)
class Options:
    """Options: jobs a round of each kind of pictures, `threads` of each contestant, a call's `latency`."""

    jobs: int
    decoded: int
    rounds: int
    threads: int
    kilobytes: int
    latency: float


@dataclass(frozen=True)
class Pictures:
    """A kind of pictures: one picture, jobs a round, and the goal as a multiple of the bare loop."""

    name: str
    data: bytes
    jobs: int
    goal: float
    fits: bool


@dataclass(frozen=True)
class Round:
    """Milliseconds of CPU a job, by contestant, and our jobs a second."""

    bare: float
    celery: float
    worker: float
    dispatcher: float
    per_second: float

    @property
    def beside_bare(self) -> float:
        """Ours as a multiple of the bare loop."""
        return (self.worker + self.dispatcher) / self.bare

    @property
    def beside_celery(self) -> float:
        """Ours as a multiple of the plain Celery worker."""
        return (self.worker + self.dispatcher) / self.celery


def main() -> None:
    """Measure, and print the table."""
    put(table(_options()))


def table(options: Options) -> list[str]:
    """Measure; returns the lines of a table with one row for each kind of pictures, in Markdown."""
    measured = (
        f"medians of {options.rounds} rounds, {options.threads} threads, calls of {options.latency:g} s"
    )
    lines = [f"ms of CPU a job, {measured}:", "", head(*COLUMNS)]
    with _contest(options) as contest:
        lines += [_row(kind, contest.rounds(kind, options.rounds)) for kind in _kinds(options)]
    return lines


def _row(pictures: Pictures, rounds: list[Round]) -> str:
    def median(name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in rounds))

    cells = [
        pictures.name,
        str(pictures.jobs),
        *(f"{median(name):.2f}" for name in ("bare", "celery")),
        f"{median('worker'):.2f} + {median('dispatcher'):.2f}",
        f"{median('per_second'):.0f}",
        *_judged(median("beside_bare"), pictures.goal),
        *_judged(median("beside_celery"), BESIDE_PLAIN_CELERY),
    ]
    return line(*cells)


def _judged(ratio: float, goal: float) -> list[str]:
    return [f"{ratio:.2f}", f"{goal:g}", verdict(ratio <= goal)]


def _kinds(options: Options) -> list[Pictures]:
    small = picture_of(options.kilobytes)
    kinds = [Pictures(f"sent untouched, {len(small) // 1000} KB", small, options.jobs, 1.5, fits=False)]
    if options.decoded:
        large = large_picture()
        name = f"decoded, 12 megapixels, {len(large) / 1e6:.1f} MB"
        kinds.append(Pictures(name, large, options.decoded, 2.2, fits=True))
    return kinds


class _Contest:
    """The three contestants on one running stack."""

    def __init__(self, stack: Stack, engine: Engine, plain: PlainWorker, options: Options) -> None:
        self._stack, self._engine, self._plain = stack, engine, plain
        self._options = options
        self._bucket = Bucket(stack.settings)

    def rounds(self, pictures: Pictures, count: int) -> list[Round]:
        """Let each contestant do the jobs in turn, so many times, after a few jobs to warm up."""
        source = upload_source(self._bucket, io.BytesIO(pictures.data))
        key = self._bucket.key_of(source)
        if key is None:
            raise SystemExit(f"{source} is not in the bucket of the settings")
        self._plain.run(key, self._options.threads, fits=pictures.fits)
        self._run_ours(source, self._options.threads)
        return [self._round(pictures, source, key) for _ in range(count)]

    def close(self) -> None:
        self._bucket.close()

    def _round(self, pictures: Pictures, source: str, key: str) -> Round:
        jobs, bare = pictures.jobs, self._bare(pictures)
        before = _cpu(self._plain.process)
        self._plain.run(key, jobs, fits=pictures.fits)
        celery = _cpu(self._plain.process) - before
        processes = [_process(self._stack, name) for name in ("worker-1", "dispatcher")]
        before_each = [_cpu(process) for process in processes]
        began = time.monotonic()
        self._run_ours(source, jobs)
        took = time.monotonic() - began
        worker, dispatcher = (
            _cpu(process) - before for process, before in zip(processes, before_each, strict=True)
        )
        ms = 1000 / jobs
        found = Round(bare * ms, celery * ms, worker * ms, dispatcher * ms, jobs / took)
        print(f"{pictures.name}: {found}", file=sys.stderr)
        return found

    def _bare(self, pictures: Pictures) -> float:
        with tempfile.NamedTemporaryFile() as file:
            file.write(pictures.data)
            file.flush()
            arguments = [file.name, str(pictures.fits), str(pictures.jobs), str(self._options.threads)]
            ran = subprocess.run(
                [sys.executable, "-m", "bench.bare_loop", *arguments],
                env={**os.environ, **self._stack.environment},
                stdout=subprocess.PIPE,
                check=True,
            )
        return float(ran.stdout)

    def _run_ours(self, source: str, jobs: int) -> None:
        with Session(self._engine) as session, session.begin():
            batch_id = create_batch(session, "bench").id
            enqueue_all(session, [NewJob(source, str(n)) for n in range(jobs)], batch_id=batch_id)
        deadline = time.monotonic() + GIVE_UP_AFTER_S
        while True:
            with Session(self._engine) as session:
                status = batch_status(session, batch_id)
            if status and status.counts[State.SUCCEEDED] == jobs:
                return
            if status is None or status.done == jobs or time.monotonic() > deadline:
                raise SystemExit(f"the jobs did not all succeed: {status}")
            time.sleep(0.2)


@contextmanager
def _contest(options: Options) -> Iterator[_Contest]:
    pace = {
        "CUTOUT_CALLS_PER_SECOND": "10000",
        "CUTOUT_CALLS_IN_FLIGHT": str(options.threads),
        "CUTOUT_WORKER_THREADS": str(options.threads),
        # Every job is to call, though they are all of one picture.
        "CUTOUT_REUSE": "off",
    }
    with tempfile.TemporaryDirectory() as directory:
        stack_options = StackOptions(
            Path(directory), renderers=0, sandbox_latency_s=options.latency, defaults=pace
        )
        with stack_of(stack_options) as stack:
            engine = connect(stack.settings.database_url.get_secret_value(), connections=1)
            with (
                plain_worker(stack, engine, options.threads) as plain,
                closing(_Contest(stack, engine, plain, options)) as contest,
            ):
                yield contest
            engine.dispose()


def _process(stack: Stack, name: str) -> psutil.Process:
    pid = stack.children[name].pid
    if pid is None:
        raise SystemExit(f"{name} does not run")
    return psutil.Process(pid)


def _cpu(process: psutil.Process) -> float:
    """CPU seconds of a process and its children, which decode pictures, also of those that have ended."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    ended = times[0].children_user + times[0].children_system
    return float(ended + sum(one.user + one.system for one in times))


def _options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=600, help="jobs a round with pictures sent untouched")
    parser.add_argument("--decoded", type=int, default=100, help="jobs a round of 12 megapixels")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all three in turn")
    parser.add_argument("--threads", type=int, default=32, help="threads of each contestant")
    parser.add_argument("--kilobytes", type=int, default=300, help="size of the picture sent untouched")
    parser.add_argument("--latency", type=float, default=0.2, help="median seconds of a call")
    return Options(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
