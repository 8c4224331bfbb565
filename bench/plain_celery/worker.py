"""The worker as a child process, and the sender of its messages."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from celery import Celery
from sqlalchemy import Engine, text

from cli.stack import Stack

GIVE_UP_AFTER_S = 600.0
TABLE = "CREATE TABLE plain_jobs (id integer PRIMARY KEY, state text NOT NULL, key text)"
NEW = """
    INSERT INTO plain_jobs SELECT n, 'queued'
    FROM generate_series(cast(:first AS integer), cast(:last AS integer)) n
"""
LEFT = "SELECT count(*) FROM plain_jobs WHERE state <> 'succeeded'"


class PlainWorker:
    """A running worker. Its jobs are counted from 1."""

    def __init__(self, process: psutil.Process, engine: Engine, broker: str) -> None:
        self.process = process
        self._engine = engine
        self._sender = Celery("sender", broker=broker)
        self._sender.conf.task_default_queue = "plain"
        self._sent = 0

    def run(self, source: str, jobs: int, *, fits: bool) -> None:
        """Send so many jobs for the picture under the key `source`, and wait until all have succeeded."""
        first, self._sent = self._sent + 1, self._sent + jobs
        with self._engine.begin() as connection:
            connection.execute(text(NEW), {"first": first, "last": self._sent})
        for number in range(first, self._sent + 1):
            self._sender.send_task("plain.cut_out", (number, source, fits))
        deadline = time.monotonic() + GIVE_UP_AFTER_S
        while self._left():
            if time.monotonic() > deadline:
                raise SystemExit("the jobs of the plain Celery worker did not all succeed")
            time.sleep(0.2)

    def _left(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(text(LEFT)).scalar_one())


@contextmanager
def plain_worker(stack: Stack, engine: Engine, threads: int) -> Iterator[PlainWorker]:
    """Start the worker beside the stack, on the same Redis, Postgres and bucket; end it afterwards."""
    with engine.begin() as connection:
        connection.execute(text(TABLE))
    options = ["--pool", "threads", "--concurrency", str(threads), "--loglevel", "ERROR"]
    with subprocess.Popen(
        [sys.executable, "-m", "celery", "--app", "bench.plain_celery.app", "--quiet", "worker", *options],
        env={**os.environ, **stack.environment},
        stdout=subprocess.DEVNULL,
    ) as child:
        try:
            broker = stack.settings.redis_url.get_secret_value()
            yield PlainWorker(psutil.Process(child.pid), engine, broker)
        finally:
            child.terminate()
