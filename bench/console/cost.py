"""CPU time of the API's process and of Postgres for it: unlike wall time, other work hardly changes it."""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text

BENCH = "bench"
TICKS = os.sysconf("SC_CLK_TCK")
BACKENDS = text(
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
    " AND application_name NOT IN ('bench', 'cutout-console-slow')"
)


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU."""

    api: float
    postgres: float

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.api - other.api, self.postgres - other.postgres)


class Meter:
    """Reads what the processes have used so far; slow answers, which no page waits for, are left out."""

    def __init__(self, engine: Engine, pid: int) -> None:
        self._engine, self._pid = engine, pid

    def read(self) -> Cost:
        """The CPU time of now."""
        with self._engine.connect() as connection:
            backends = list(connection.scalars(BACKENDS))
        return Cost(_of_process(self._pid), sum(map(_of_thread, backends)))


def _of_process(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _of_thread(pid: int) -> float:
    """Its nanoseconds are exact, where the ticks of `stat` are a hundredth of a second."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except FileNotFoundError:
        return 0.0
