"""Tell a process from a later one that was given the same pid."""

import subprocess
import sys
from pathlib import Path


def identity(pid: int) -> str | None:
    """Identity that no later process with this pid shares; None when no such process lives.

    Linux: the boot and the start time in ticks since then. Elsewhere: the start time in seconds and the
    command line, from `ps`. A zombie does not live.
    """
    return _from_proc(pid) if sys.platform == "linux" else _from_ps(pid)


def _from_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the name in parentheses, and a name may hold spaces and parentheses itself.
    state, *fields = stat.rpartition(")")[2].split()
    if state in "ZX":
        return None
    return f"{_boot()} {fields[18]}"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:  # some sandboxes have none
        return "?"


def _from_ps(pid: int) -> str | None:
    listing = subprocess.run(  # noqa: S603 - a number is all that varies
        ["/bin/ps", "-ww", "-o", "stat=,lstart=,command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )
    state, _, rest = listing.stdout.strip().partition(" ")
    return None if state in {"", "Z", "Z+"} else rest.strip()
