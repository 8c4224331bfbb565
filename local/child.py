"""One child process: in its own session, ended with us, found again by its pid file."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from local.forked import ForkedProcess, ForkServer
from local.guard import Ward, end
from local.lifeline import LIFELINE
from local.pidfile import PidFile


class Child:
    """A process that ends when we do: by stop(), by the guard when we are killed, or at the next start."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        pid_file: PidFile,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        account: tuple[int, int] | None = None,
        fork_server: ForkServer | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_seconds: float = 10.0,
    ) -> None:
        """Describe the process; nothing starts yet.

        Output goes to `log`, emptied at each start, or to where ours goes. `environment` stands in for ours.
        `account` is a user and group id. A command `python -m module` is forked by `fork_server`, if there is
        one that is alive. After `grace_seconds` a stop becomes SIGKILL.
        """
        self.command = [str(word) for word in command]
        self.log = log
        self._pid_file = pid_file
        self._environment = environment
        self._directory = directory
        self._account = account
        self._fork_server = fork_server
        self._stop_signal = stop_signal
        self._grace_seconds = grace_seconds
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None

    @property
    def pid(self) -> int | None:
        """The pid while the process runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """Exit code of the last run, or minus the signal's number; None while it runs."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the process, once what an owner now dead left running has been ended.

        Raises DirectoryInUseError when another living process owns the pid file, and OSError when the
        command cannot be run.
        """
        if self.pid is not None:
            raise RuntimeError(f"{self.command[0]} already runs as process {self.pid}")
        self.stop()
        self._pid_file.acquire()
        try:
            self._process = self._spawn()
            ward = Ward(self._process.pid, self._stop_signal, self._grace_seconds)
            LIFELINE.watch(ward)
            self._pid_file.record(ward)
        except BaseException:
            self.kill()
            self._pid_file.release()
            raise

    def stop(self) -> None:
        """Send the stop signal, then SIGKILL to what is left of the group; harmless when it ended.

        Raises TimeoutError when not even that ends it.
        """
        self._end(self._stop_signal)

    def kill(self) -> None:
        """Send SIGKILL to the process and its group, as a crash would end it."""
        self._end(signal.SIGKILL)

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait for the process to end by itself; its exit code. Raises TimeoutError."""
        if self._process is None:
            raise RuntimeError(f"{self.command[0]} was never started")
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.command[0]} still runs after {timeout_seconds} s") from None

    def _spawn(self) -> subprocess.Popen[bytes] | ForkedProcess:
        user, group = self._account or (None, None)
        with self._open_log() or nullcontext() as output:
            return self._fork() or subprocess.Popen(  # noqa: S603 - the command is ours
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output and subprocess.STDOUT,
                env=self._environment,
                cwd=self._directory,
                user=user,
                group=group,
                extra_groups=[] if self._account else None,
                start_new_session=True,
            )

    def _fork(self) -> ForkedProcess | None:
        if self._fork_server is None or self.command[:2] != [sys.executable, "-m"]:
            return None
        module, *arguments = self.command[2:]
        environment = os.environ if self._environment is None else self._environment
        return self._fork_server.fork(module, arguments, environment=environment, log=self.log)

    def _open_log(self) -> BinaryIO | None:
        if self.log is None:
            return None
        self.log.touch(mode=0o600)
        return self.log.open("wb")

    def _end(self, by: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        end([Ward(process.pid, by, self._grace_seconds)], lives=lambda _: process.poll() is None)
        if process.poll() is None:
            raise TimeoutError(f"process {process.pid} ({self.command[0]}) does not end, even by SIGKILL")
        LIFELINE.forget(process.pid)
        self._pid_file.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
