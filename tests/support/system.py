"""Our processes, real ones, on a test's own database, bucket and sandbox."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from sqlalchemy import text
from sqlalchemy.orm import Session

from jobs.database import connect
from jobs.producers import create_producer

READY_WITHIN_S = 40.0


class System:
    """API, dispatcher and workers as child processes; `client` has a producer's key."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self.environment = {**os.environ, **environment}
        self._logs = logs
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.engine = connect(environment["CUTOUT_DATABASE_URL"])
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = str(listener.getsockname()[1])
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=20.0)

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start `cutout COMMAND` under a name that also names its log."""
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli", *command],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

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
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.engine.dispose()

    def log(self, name: str) -> str:
        """What the process said so far."""
        return (self._logs / f"{name}.log").read_text()

    def finished(self, batch_id: str, *, within_s: float = 60.0) -> dict[str, int]:
        """The batch's counts once every job is final or held."""
        deadline = time.monotonic() + within_s
        while True:
            counts: dict[str, int] = (
                self.client.get(f"/v1/batches/{batch_id}").raise_for_status().json()["counts"]
            )
            if not counts["queued"] + counts["running"]:
                return counts
            assert time.monotonic() < deadline, f"{counts} after {within_s} s; {self.log('worker')[-3000:]}"
            time.sleep(0.1)

    def until(self, condition: str, *, within_s: float = READY_WITHIN_S) -> None:
        """Wait until a query of the database says true."""
        deadline = time.monotonic() + within_s
        while True:
            with self.engine.connect() as connection:
                if connection.execute(text(condition)).scalar_one():
                    return
            assert time.monotonic() < deadline, f"not within {within_s} s: {condition}"
            time.sleep(0.05)

    def _start_all(self) -> None:
        self.start("api", "api", "--port", self._port)
        self.start("dispatcher", "dispatcher")
        self.start("worker", "worker")
        with Session(self.engine) as session, session.begin():
            _, key = create_producer(session, "test")
        self.client.headers["Authorization"] = f"Bearer {key}"
        self._wait_for_api()
        self._wait_for_worker()

    def _wait_for_worker(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while " ready." not in self.log("worker"):
            assert time.monotonic() < deadline, self.log("worker")
            time.sleep(0.05)

    def _wait_for_api(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            assert self.processes["api"].poll() is None, self.log("api")
            try:
                if self.client.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise TimeoutError(self.log("api"))
