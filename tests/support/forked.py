"""Processes of ours, forked from one that has imported what they need.

A fresh interpreter spends a second or two of CPU on imports. What is forked shares nothing but these, and
reads its settings, its arguments and the program that it is after the fork.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from cli.main import COMMANDS, main

# No program itself, since each is run as __main__; nothing that imports worker.app, which reads the settings.
IMPORTED_ONCE = [
    "api.app",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "celery.fixups.django",
    "celery.worker.components",
    "celery.worker.consumer",
    *COMMANDS.values(),
    "httpx",
    "cutout.monitoring.health",
    "cutout.producers.producers",
    "cutout.storage.uploads",
    "migrations.run",
    "psycopg",
    "rich.progress",
    "sqlalchemy.dialects.postgresql.psycopg",
    "typer.rich_utils",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.h11_impl",
    "worker.broker",
    "worker.pipeline.context",
    "worker.dispatcher.metrics",
    "cutout.endpoint.client",
    "worker.ingester.child_process",
    "worker.ingester.reader",
    "worker.dispatcher.artifact_writer",
    "worker.dispatcher.limit_poller",
    "worker.pipeline.process",
    "worker.dispatcher.schedule_runner",
    "worker.webhooks",
]


class Forked:
    """One such process, with what tests use of a Popen."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED_ONCE)
        self._process: ForkServerProcess = context.Process(target=target, args=arguments, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its pid, also when it has ended."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal's number if by a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; how it ended. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self.returncode


def start_cutout(words: Sequence[str], *, environment: Mapping[str, str], log: Path) -> Forked:
    """`cutout WORDS` for a long-running process in a session of its own; what it says goes on in the log."""
    log.touch(mode=0o600)
    return Forked(_run_cutout, list(words), dict(environment), log)


def start_module(name: str, *words: str, environment: Mapping[str, str], log: Path) -> Forked:
    """`python -m NAME WORDS`, in the same way."""
    log.touch(mode=0o600)
    return Forked(_run_module, name, list(words), dict(environment), log)


def speak_into(stdout: Path, stderr: Path, *, flags: int = os.O_APPEND) -> None:
    """Redirect the output of this process to files."""
    for stream, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600), stream)


def live_in(environment: Mapping[str, str]) -> None:
    """This is the environment from now on."""
    os.environ.clear()
    os.environ.update(environment)


def _run_cutout(words: list[str], environment: dict[str, str], log: Path) -> None:
    with _begun(environment, log):
        sys.argv = ["cutout", *words]
        main()


def _run_module(name: str, words: list[str], environment: dict[str, str], log: Path) -> None:
    with _begun(environment, log):
        sys.argv = [name, *words]
        runpy.run_module(name, run_name="__main__", alter_sys=True)


@contextmanager
def _begun(environment: Mapping[str, str], log: Path) -> Iterator[None]:
    os.setsid()
    speak_into(log, log)
    live_in(environment)
    try:
        yield
    finally:
        # multiprocessing ends without them.
        atexit._run_exitfuncs()
