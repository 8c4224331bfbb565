"""Tie the lives of child processes to ours, through one guard process (local/guard.py).

PR_SET_PDEATHSIG would need no guard, but it is Linux's alone, takes the end of the *thread* that started a
child for the parent's, needs code between fork and exec, and reaches no grandchildren.
"""

import os
import subprocess
import sys
import threading
from contextlib import suppress

from local import guard


class Lifeline:
    """Our end of the pipe to the guard, which runs for as long as there is something to guard."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wards: dict[int, guard.Ward] = {}
        self._guard: _Guard | None = None

    def watch(self, ward: guard.Ward) -> None:
        """Have the ward ended when this process ends, even by SIGKILL."""
        with self._lock:
            self._wards[ward.pid] = ward
            try:
                self._told().tell(_line(ward))
            except BrokenPipeError:  # somebody killed the guard
                self._end_guard()
                self._told().tell("".join(map(_line, self._wards.values())))

    def forget(self, pid: int) -> None:
        """The ward has ended; with the last one the guard ends too."""
        with self._lock:
            if self._wards.pop(pid, None) is None:
                return
            with suppress(BrokenPipeError):
                self._told().tell(f"-{pid}\n")
            if not self._wards:
                self._end_guard()

    def _told(self) -> "_Guard":
        if self._guard is None:
            self._guard = _Guard()
        return self._guard

    def _end_guard(self) -> None:
        if self._guard is not None:
            self._guard.end()
            self._guard = None


class _Guard:
    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-I", "-S", guard.__file__],
                stdin=reader,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(reader)

    def tell(self, lines: str) -> None:
        os.write(self._writer, lines.encode())

    def end(self) -> None:
        os.close(self._writer)
        self._process.wait()


def _line(ward: guard.Ward) -> str:
    return f"+{ward.pid} {int(ward.stop_signal)} {ward.grace_seconds}\n"


LIFELINE = Lifeline()
