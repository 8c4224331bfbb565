"""Base of the three servers: a directory, ports, a child process, and a check that it answers."""

import os
import re
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from local.child import Child
from local.errors import LocalServiceError, ServerStartError
from local.pidfile import PidFile
from local.ports import keep_ports

READY_WITHIN_SECONDS = 60.0
RETRY_SECONDS = 10.0
LOG_LINES_SHOWN = 12
PORT_TAKEN = re.compile(r"Address already in use|port \d+ .* is not available")


class Server(ABC):
    """A server on loopback whose data, password, ports, log and pid file are kept in one directory.

    Its address is known from the first start on, and stays the same through stop, kill and restart.
    """

    name: ClassVar[str]
    listeners: ClassVar[tuple[str, ...]]  # what it listens for, a port each
    with_second_ports: ClassVar[bool] = False  # each port's number plus 10000 is used too
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    grace_seconds: ClassVar[float] = 10.0
    passing_troubles: ClassVar[tuple[str, ...]] = ()  # words in the log after which a second try may help
    not_ready: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        """`durable=False` is quicker: then a power cut may cost the data. A kill -9 never does."""
        self.directory = directory.absolute()
        self.durable = durable
        self.log = self.directory / "log"
        self._pid_file = PidFile(self.directory / "pid")
        self._ports: dict[str, int] = {}
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The pid while the server runs."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises DirectoryInUseError, MissingServerError, or ServerStartError with the last lines of the log.
        """
        known_by_others = bool(self._ports)
        give_up_at = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                return self._start_once()
            except ServerStartError as error:
                if time.monotonic() > give_up_at:
                    raise
                if PORT_TAKEN.search(str(error)) and not known_by_others:
                    self._ports = {}  # somebody was quicker; choose again
                elif not any(trouble in str(error) for trouble in self.passing_troubles):
                    raise
            time.sleep(0.1)

    def stop(self) -> None:
        """Shut the server down; harmless when it does not run."""
        if self._child:
            self._child.stop()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        if self._child:
            self._child.kill()

    def port(self, listener: str) -> int:
        """The port of one of `listeners`."""
        if not self._ports:
            raise RuntimeError(f"{self.name} has no address before its first start")
        return self._ports[listener]

    def _start_once(self) -> None:
        if self.pid is not None:
            raise RuntimeError(f"{self.name} already runs as process {self.pid}")
        self.stop()
        self._make_directory()
        self._pid_file.acquire()
        try:
            self._prepare()
            self._child = self._new_child()
            self._child.start()
            self._wait_until_ready()
        except BaseException:
            self.kill()
            self._pid_file.release()
            raise

    @abstractmethod
    def _command(self) -> list[str | Path]: ...

    @abstractmethod
    def _check(self) -> None:
        """Return when the server does its work, else raise one of `not_ready`."""

    def _prepare(self) -> None:
        """Make what the server needs before it can be started."""
        if not self._ports:
            kept = keep_ports(
                self.directory / "ports", len(self.listeners), with_second=self.with_second_ports
            )
            self._ports = dict(zip(self.listeners, kept, strict=True))

    def _environment(self) -> Mapping[str, str]:
        # Nothing of ours: servers take settings and credentials from an environment unasked.
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.directory), "LC_ALL": "C", "TZ": "UTC"}

    def _new_child(self) -> Child:
        return self._run(self._command(), self.directory)

    def _run(
        self, command: list[str | Path], directory: Path, account: tuple[int, int] | None = None
    ) -> Child:
        return Child(
            command,
            pid_file=self._pid_file,
            log=self.log,
            environment=self._environment(),
            directory=directory,
            account=account,
            stop_signal=self.stop_signal,
            grace_seconds=self.grace_seconds,
        )

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except PermissionError as error:
            raise LocalServiceError(f"{error}. Choose a data directory that you can write.") from error
        owner = self.directory.stat().st_uid
        if owner != os.geteuid():
            raise LocalServiceError(
                f"{self.directory} belongs to user {owner}, and you are user {os.geteuid()}."
                " Run this as that user, or choose another data directory."
            )

    def _wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            try:
                return self._check()
            except self.not_ready as error:
                if self.pid is None:
                    raise self._start_error("ended while starting") from error
                if time.monotonic() > give_up_at:
                    late = f"did not get ready within {READY_WITHIN_SECONDS:.0f} s ({error})"
                    raise self._start_error(late) from error
            time.sleep(0.02)

    def _start_error(self, what: str) -> ServerStartError:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        shown = "\n  ".join(lines) or "(nothing)"
        return ServerStartError(f"{self.name} {what}. The last lines of {self.log}:\n  {shown}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
