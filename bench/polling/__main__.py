"""Polling a million jobs of which a hundred a second change: one table.

`python -m bench.polling --help` lists the parts. The API is one process, as `cutout api` runs it; the polling
and the changes are made by another, on the same machine.
"""

import argparse
import asyncio
import os
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from bench.polling.changes import Changes
from bench.polling.filling import Filled, fill
from bench.polling.parts import Parts
from bench.polling.row import Row
from bench.polling.serving import served
from bench.table import FIGURES, head, put, say
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
        put(head(*FIGURES))
        for part in asked.parts or PARTS:
            say(f"polling: {part}")
            _measure(PARTS[part], filled, to_change)
        engine.dispose()


def _measure(
    part: Callable[[Parts], Awaitable[list[Row]]], filled: Filled, to_change: Iterator[uuid.UUID]
) -> None:
    engine = connect(read_settings().database_url.get_secret_value(), connections=1)
    with served() as (port, pid), Changes(engine, to_change) as changes:
        parts = Parts(port, pid, filled, changes)

        async def measured() -> list[Row]:
            return await part(parts)

        put(map(str, asyncio.run(measured())))
    engine.dispose()


if __name__ == "__main__":
    main()
