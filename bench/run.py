"""One bench in a process of its own: it leaves no environment, memory or servers to the next one."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.registry import Bench
from bench.table import misses

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Outcome:
    """Lines that a bench printed; `fault` says why there is no table, and is None if there is one."""

    bench: Bench
    lines: tuple[str, ...]
    stamp: str
    fault: str | None = None

    @property
    def missed(self) -> int:
        """Rows that miss their goal."""
        return misses(self.lines)


def run(bench: Bench, options: Sequence[str], show: Callable[[str], None]) -> Outcome:
    """Run a bench to its end, and show each line as it comes. Its standard error is this process's."""
    load, began, lines = os.getloadavg()[0], time.monotonic(), []
    with subprocess.Popen(
        [sys.executable, "-m", bench.module, *options], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            show(lines[-1])
    command = " ".join(("python -m", bench.module, *options))
    fault = None
    if process.returncode:
        fault = f"`{command}` ended with {process.returncode}"
    elif not any(lines):
        fault = f"`{command}` printed nothing"
    return Outcome(bench, tuple(lines), _stamp(command, load, time.monotonic() - began), fault)


def _stamp(command: str, load: float, seconds: float) -> str:
    cores = os.cpu_count()
    took = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return (
        f"`{command}`: {took}, {cores} cores, load average {load:.1f} before it,"
        f" Python {platform.python_version()}."
    )
