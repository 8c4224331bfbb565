"""The places of workers and dispatchers: whoever ends in one is followed by another."""

import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from local import Child, PidFile

# A call's deadline and a copy that a frozen bucket holds up.
GRACE_S = 60.0
# What they log once they take messages, or hand jobs out.
AT_WORK = {"worker": " ready.", "dispatcher": "this dispatcher leads"}


class Place:
    """Holds one process of ours at a time. Hold `lock` to strike it or to follow it by another."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        *,
        clock_off_s: float = 0.0,
    ) -> None:
        """`cutout COMMAND`; `clock_off_s` says how fast its clock is, or slow if less than 0."""
        self.name = name
        self.lock = threading.Lock()
        self._command = command
        self._module = ["tests.soak.off_clock", str(clock_off_s)] if clock_off_s else ["cli"]
        self._directory = directory
        self._environment = environment
        self._starts = 0
        self.child = self._start()

    @property
    def at_work(self) -> bool:
        """Whether it runs and has begun to work, as its log says."""
        log, word = self.child.log, AT_WORK.get(self._command[0], "")
        return self.child.pid is not None and log is not None and word in log.read_text(errors="replace")

    def follow(self) -> Child:
        """Start another here, with a log of its own; returns the one before, whatever has become of it."""
        before, self.child = self.child, self._start()
        return before

    def _start(self) -> Child:
        self._starts += 1
        directory = self._directory / f"{self.name}.{self._starts}"
        child = Child(
            [sys.executable, "-m", *self._module, *self._command],
            pid_file=PidFile(directory / "pid"),
            log=directory / "log",
            environment=self._environment,
            # Not where a developer's .env lies.
            directory=self._directory,
            grace_seconds=GRACE_S,
        )
        child.start()
        return child
