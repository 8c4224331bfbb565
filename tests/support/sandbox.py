"""The sandbox as a process, and its control routes as methods."""

import secrets
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.machine import scaled

READY_WITHIN_S = 20.0


class Sandbox:
    """Started on a free port with one rich account, no latency and no limit."""

    def __init__(self, log: Path, *options: str) -> None:
        self.key = secrets.token_hex(16)
        self._log = log
        self._options = options

    def __enter__(self) -> Self:
        command = [
            sys.executable,
            "-m",
            "sandbox",
            "--port",
            "0",
            "--latency",
            "0",
            "--key",
            f"{self.key}=1000000",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().split()[-1].rstrip("/")
        self.host = self.url.removeprefix("http://")
        self._control = httpx.Client(base_url=f"{self.url}/sandbox", timeout=10.0)
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()
        self._process.terminate()
        self._process.wait(scaled(10))
        if self._process.stdout:
            self._process.stdout.close()

    def fault(self, kind: str, **options: Any) -> None:
        """Ask for a fault, such as the next two calls answering a code."""
        self._control.post("/faults", json={"kind": kind, **options}).raise_for_status()

    def clear_faults(self) -> None:
        """Let no further call go wrong."""
        self._control.delete("/faults").raise_for_status()

    def set(self, **settings: Any) -> None:
        """Change settings at run time."""
        self._control.post("/settings", json=settings).raise_for_status()

    def ledger(self) -> dict[str, Any]:
        """Every charge."""
        answer: dict[str, Any] = self._control.get("/ledger").raise_for_status().json()
        return answer

    def charges(self) -> int:
        """Count of the calls that were charged."""
        return len(self.ledger()["charges"])

    def stats(self) -> dict[str, int]:
        """Counts of the calls that arrived and of those not answered yet, since it started."""
        answer: dict[str, int] = self._control.get("/stats").raise_for_status().json()
        return answer

    def reset(self) -> None:
        """No faults, no charges, no latency, no limits, and credits enough."""
        self._control.delete("/faults").raise_for_status()
        self._control.delete("/ledger").raise_for_status()
        self.set(latency=0.0, calls_per_second=None, calls_in_flight=None, credits={self.key: 1_000_000})

    def _wait(self) -> None:
        deadline = time.monotonic() + scaled(READY_WITHIN_S)
        while True:
            try:
                self._control.get("/stats").raise_for_status()
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return
