"""End processes: a stop signal, a time of grace, SIGKILL.

Run as a program, this is the guard: it learns from its parent which processes live, and ends them when the
parent is gone, however it went. It reads lines from a pipe, `+pid signal grace` and `-pid`; the pipe's end
is the parent's end. Nothing but the standard library is imported, to start in milliseconds.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

KILLED_WITHIN_SECONDS = 5.0


class Ward(NamedTuple):
    """A process that leads its own group, and how it is to be ended."""

    pid: int
    stop_signal: int
    grace_seconds: float


def end(wards: Iterable[Ward], lives: Callable[[int], bool]) -> None:
    """Send each its stop signal, and SIGKILL to the whole group of each when it is gone or its grace is over.

    Returns when no ward lives, or seconds after SIGKILL: a process may hang in the kernel, and a zombie stay
    one for want of a parent that asks. `lives` says whether a pid is still the process that was meant.
    """
    started_at = time.monotonic()
    remaining = [ward for ward in wards if lives(ward.pid)]
    for ward in remaining:
        with suppress(ProcessLookupError):
            os.kill(ward.pid, ward.stop_signal)
    pause = 0.002
    while remaining:
        waited = time.monotonic() - started_at
        living = [ward for ward in remaining if lives(ward.pid)]
        for ward in remaining:
            if ward not in living or waited >= ward.grace_seconds:
                kill_group(ward.pid)
        remaining = [ward for ward in living if waited < ward.grace_seconds + KILLED_WITHIN_SECONDS]
        time.sleep(pause if remaining else 0)
        pause = min(pause * 2, 0.05)


def kill_group(pid: int) -> None:
    """SIGKILL every process in the group that this one leads or led."""
    # macOS answers EPERM for a group of nothing but zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def main() -> None:
    """Follow the parent's lines until its end, then end what is left."""
    wards: dict[int, Ward] = {}
    for line in sys.stdin:
        pid, *rest = line[1:].split()
        if line.startswith("+"):
            stop_signal, grace_seconds = rest
            wards[int(pid)] = Ward(int(pid), int(stop_signal), float(grace_seconds))
        else:
            wards.pop(int(pid), None)
    end(wards.values(), _exists)


if __name__ == "__main__":
    main()
