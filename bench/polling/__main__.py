"""Polling a million jobs of which a hundred a second change: one table.

`python -m bench.polling --help` lists the parts. The API is one process, as `cutout api` runs it; the polling
and the changes are made by another, on the same machine.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.polling.changes import Changes
from bench.polling.filling import Filled, fill
from bench.polling.parts import Parts
from bench.polling.row import Row
from cutout.models.database import connect
from cutout.settings import read_settings
from cutout.storage import Bucket
from local import LocalServices
from migrations.run import upgrade

PARTS: dict[str, Callable[[Parts], Awaitable[list[Row]]]] = {
    "job": Parts.beside_bare,
    "rate": Parts.jobs_at_a_rate,
    "batch": Parts.batch,
    "long-polls": Parts.long_polls,
    "pages": Parts.pages,
}
READY_WITHIN_S = 30.0


def main() -> None:
    """Measure what is asked for, and print a row for each figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.polling", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} [default: all]")
    parser.add_argument("--rows", type=int, default=1_000_000, help="jobs of the batch [%(default)s]")
    asked = parser.parse_args()
    if strange := set(asked.parts) - PARTS.keys():
        parser.error(f"no part is called {', '.join(sorted(strange))}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as directory, LocalServices(Path(directory)) as services:
        os.environ |= {
            **services.environment(),
            "CUTOUT_S3_BUCKET": "bench-polling",
            # One key asks for all.
            "CUTOUT_API_REQUESTS_PER_SECOND": "10000",
        }
        engine = connect(read_settings().database_url.get_secret_value(), connections=2)
        upgrade(engine)
        Bucket(read_settings()).create()
        filled = fill(engine, asked.rows)
        to_change = iter(filled.waiting)
        print("| What | Measured | Goal | |")
        print("|---|---|---|---|")
        for part in asked.parts or PARTS:
            _measure(PARTS[part], filled, to_change)
        engine.dispose()


def _measure(
    part: Callable[[Parts], Awaitable[list[Row]]], filled: Filled, to_change: Iterator[uuid.UUID]
) -> None:
    engine = connect(read_settings().database_url.get_secret_value(), connections=1)
    with _served() as (port, pid), Changes(engine, to_change) as changes:
        parts = Parts(port, pid, filled, changes)

        async def measured() -> list[Row]:
            return await part(parts)

        for row in asyncio.run(measured()):
            print(row, flush=True)
    engine.dispose()


@contextmanager
def _served() -> Iterator[tuple[int, int]]:
    """The API in a process of its own; gives its port and pid."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "bench.polling.server", str(port)])
    try:
        _wait_for(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    gives_up_at = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > gives_up_at:
                raise
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    main()
