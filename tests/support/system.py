"""Our processes, real ones, on a test's own database, bucket and sandbox."""

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from sqlalchemy import RowMapping, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cutout.enums import Scope
from cutout.models.database import connect
from cutout.producers.producers import create_producer
from cutout.queue.enqueue import NewJob, enqueue_all
from tests.support.forked import Forked, start_cutout
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS

READY_WITHIN_S = 40.0


class System:
    """API, dispatcher and workers as child processes; `client` has a producer's key.

    Without `api` only the dispatcher and the worker run, for jobs that are enqueued in the database.
    """

    def __init__(self, environment: Mapping[str, str], logs: Path, *, api: bool = True) -> None:
        self.environment = {**os.environ, "CUTOUT_SPOOL_DIR": str(logs / "spool"), **environment}
        self._logs = logs
        self._api = api
        self._numbers = itertools.count(1)
        self.processes: dict[str, Forked] = {}
        self.engine = connect(environment["CUTOUT_DATABASE_URL"])
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = str(listener.getsockname()[1])
        url = f"http://127.0.0.1:{self._port}"
        self.client = httpx.Client(base_url=url, timeout=20.0, verify=NO_TLS)

    def start(self, name: str, *command: str) -> Forked:
        """Start `cutout COMMAND` under a name that also names its log."""
        log = self._logs / f"{name}.log"
        self.processes[name] = start_cutout(command, environment=self.environment, log=log)
        return self.processes[name]

    def __enter__(self) -> Self:
        try:
            self._start_all()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(scaled(30))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.engine.dispose()

    def log(self, name: str) -> str:
        """Output of the process so far."""
        return (self._logs / f"{name}.log").read_text()

    def finished(self, batch_id: str, *, within_s: float = 60.0) -> dict[str, int]:
        """The batch's counts once every job is final or held."""
        deadline = time.monotonic() + scaled(within_s)
        while True:
            counts: dict[str, int] = (
                self.client.get(f"/v1/batches/{batch_id}").raise_for_status().json()["counts"]
            )
            if not counts["queued"] + counts["running"]:
                return counts
            assert time.monotonic() < deadline, f"{counts} after {within_s} s; {self.log('worker')[-3000:]}"
            time.sleep(0.1)

    def start_worker(self, name: str) -> None:
        """Start one more worker and wait until it takes messages."""
        self.start(name, "worker")
        self._wait_for_worker(name)

    def kill(self, name: str) -> None:
        """End a process with SIGKILL, as the kernel does when memory is short."""
        self.processes[name].kill()
        self.processes[name].wait()

    def freeze(self, name: str) -> None:
        """Stop a process where it stands, as a paused virtual machine does."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self.processes[name].send_signal(signal.SIGCONT)

    def end(self, name: str, *, within_s: float = READY_WITHIN_S) -> None:
        """Ask a process to end and wait until it has done what it was at."""
        self.processes[name].terminate()
        self.processes[name].wait(within_s)

    def enqueue(self, source: str, count: int = 1) -> None:
        """Enqueue jobs for one picture, each in its own right."""
        with Session(self.engine) as session, session.begin():
            enqueue_all(session, [NewJob(source)] * count)

    def enqueue_different(self, shop: str, count: int = 1) -> None:
        """Enqueue jobs for a picture each, at a server that makes one for every number in the query."""
        with Session(self.engine) as session, session.begin():
            enqueue_all(session, [NewJob(f"{shop}?{next(self._numbers)}") for _ in range(count)])

    def holder(self) -> str:
        """The name of the worker that holds the one running job."""
        pid = self.scalar("SELECT w.pid FROM workers w JOIN jobs j ON j.worker_id = w.id")
        return next(name for name, process in self.processes.items() if process.pid == pid)

    def scalar(self, query: str) -> Any:
        """The one value that a query of the database gives."""
        with self.engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()

    def row(self, query: str) -> RowMapping:
        """The one row that a query of the database gives."""
        with self.engine.connect() as connection:
            return connection.execute(text(query)).mappings().one()

    def execute(self, statement: str) -> None:
        """Change the database, as a person or the passing of time would."""
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def until(self, condition: str, *, within_s: float = READY_WITHIN_S, without_rests: bool = False) -> None:
        """Wait until a query of the database says true; Postgres may be away meanwhile.

        `without_rests` lets no job rest before its next try.
        """

        def holds() -> bool:
            try:
                if without_rests:
                    self.execute("UPDATE jobs SET scheduled_at = now() WHERE queue_state = 'delayed'")
                return bool(self.scalar(condition))
            except OperationalError:
                return False

        wait_until(holds, condition, within_s=within_s)

    def _start_all(self) -> None:
        if self._api:
            self.start("api", "api", "--port", self._port)
        self.start("dispatcher", "dispatcher")
        self.start("worker", "worker")
        if self._api:
            with Session(self.engine) as session, session.begin():
                _, key = create_producer(session, "test", scopes=list(Scope))
            self.client.headers["Authorization"] = f"Bearer {key}"
            self._wait_for_api()
        self._wait_for_worker("worker")

    def _wait_for_worker(self, name: str) -> None:
        deadline = time.monotonic() + scaled(READY_WITHIN_S)
        while " ready." not in self.log(name):
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.05)

    def _wait_for_api(self) -> None:
        deadline = time.monotonic() + scaled(READY_WITHIN_S)
        while time.monotonic() < deadline:
            assert self.processes["api"].poll() is None, self.log("api")
            try:
                if self.client.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise TimeoutError(self.log("api"))


def wait_until(condition: Callable[[], bool], what: str, *, within_s: float = READY_WITHIN_S) -> None:
    """Wait until a condition holds; fails with `what` when it does not in time."""
    deadline = time.monotonic() + scaled(within_s)
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)
