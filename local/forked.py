"""Client of a fork server: starts it, has it fork processes, and knows when they end."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.guard import Ward
from local.identity import identity
from local.lifeline import LIFELINE

# Of a process whose server died: nobody can be asked for its exit code.
UNKNOWN_CODE = -9
LOOK_EVERY_S = 0.02
READ_BYTES = 65536
# Not by `-m`: importing the package would import it a second time.
PROGRAM = "from local.fork_server import main; main()"


class ForkedProcess:
    """A process of a fork server, with the part of `subprocess.Popen` that its owner needs."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self.pid = pid
        self._server = server
        self._identity = identity(pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, or minus the signal's number; None while the process runs."""
        if self._code is None:
            self._code = self._server.code(self.pid)
        if self._code is None and not self._server.is_alive and identity(self.pid) != self._identity:
            self._code = UNKNOWN_CODE
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit code. Raises subprocess.TimeoutExpired."""
        ends_at = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if ends_at is not None and time.monotonic() > ends_at:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(LOOK_EVERY_S)
        return code


class ForkServer:
    """A server that forks processes that have imported the modules `imports`.

    It ends when we do; each of its processes has to be guarded for itself.
    """

    def __init__(self, imports: Sequence[str], *, log: Path) -> None:
        self._imports = imports
        self._log = log
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._codes: dict[int, int] = {}

    def start(self) -> None:
        """Start the server. It imports meanwhile; the first process waits for it."""
        self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log.touch(mode=0o600)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-c", PROGRAM, *self._imports],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        LIFELINE.watch(Ward(self._process.pid, signal.SIGKILL, 0.0))

    @property
    def is_alive(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.poll() is None

    def fork(
        self, module: str, arguments: Sequence[str], *, environment: Mapping[str, str], log: Path | None
    ) -> ForkedProcess | None:
        """Start the process `python -m module arguments`; None if the server has died."""
        request = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "log": log and str(log),
        }
        with self._lock:
            process = self._process
            if process is None or process.stdin is None or process.stdout is None:
                return None
            try:
                os.write(process.stdin.fileno(), json.dumps(request).encode() + b"\n")
            except BrokenPipeError:
                return None
            while (message := self._next(process, None)) is not None:
                if "pid" in message:
                    return ForkedProcess(self, message["pid"])
        return None

    def code(self, pid: int) -> int | None:
        """The exit code of a forked process; None while it runs, and if the server died before it ended."""
        with self._lock:
            while pid not in self._codes and self._process is not None:
                if self._next(self._process, 0.0) is None:
                    break
            return self._codes.get(pid)

    def stop(self) -> None:
        """End the server; its processes go on."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
            LIFELINE.forget(process.pid)

    def _next(self, process: "subprocess.Popen[bytes]", timeout: float | None) -> dict[str, Any] | None:
        """The server's next message, an end noted; None after the timeout, or when the server has died."""
        if process.stdout is None:
            return None
        pipe = process.stdout.fileno()
        while b"\n" not in self._unread:
            if not select.select([pipe], [], [], timeout)[0]:
                return None
            piece = os.read(pipe, READ_BYTES)
            if not piece:
                return None
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if "ended" in message:
            self._codes[message["ended"]] = message["code"]
        return message

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
