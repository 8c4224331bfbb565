"""A file that says who runs what, locked for as long as its owner lives."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from local.errors import DirectoryInUseError
from local.guard import Ward, end
from local.identity import identity


class PidFile:
    """The pid of a child of ours, kept for the next start, should this one be killed.

    The lock (flock) is the owner's and ends with it, however it ends; the file stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether the lock is ours."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock, unless it is held already, and end what an owner now dead left running.

        Raises DirectoryInUseError when another owner lives.
        """
        if self.held:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DirectoryInUseError(self.path.parent, self._read().get("owner")) from None
        self._descriptor = descriptor
        self._end_left_behind()
        self._write({"owner": os.getpid()})

    def record(self, ward: Ward) -> None:
        """Note the process that this file now stands for."""
        self._write({"owner": os.getpid(), "identity": identity(ward.pid), **ward._asdict()})

    def release(self) -> None:
        """Empty the file and give the lock up; harmless when it is not held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            # Closing is not enough: a process that is being forked has the same open file until its exec.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    def _end_left_behind(self) -> None:
        left = self._read()
        if left.get("identity"):
            ward = Ward(left["pid"], left["stop_signal"], left["grace_seconds"])
            end([ward], lives=lambda pid: identity(pid) == left["identity"])

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text())
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, content: dict[str, Any]) -> None:
        if self._descriptor is None:
            raise RuntimeError(f"{self.path} is written by its owner, after acquire()")
        text = json.dumps(content).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))
