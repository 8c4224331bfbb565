"""A batch's results in each format, beside a bare COPY of the same columns: seconds and peak memory."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from bench.results.filling import fill
from bench.table import head, line, put, verdict
from cutout.models.database import connect
from cutout.settings import read_settings
from cutout.storage import Bucket
from local import LocalServices
from migrations.run import upgrade

FEW = 10_000
GOAL_S = 60
NAMES = (
    "Way",
    "Rows",
    "s",
    "Times COPY",
    "First row, s",
    "CPU, s",
    "MB",
    "Peak, MB",
    f"Peak of {FEW:,} rows, MB",
    "Goal, s",
    "",
)
SEEN = (("first", 1), ("megabytes", 0))
Report = dict[str, float]
WAYS = {
    "copy": "bare COPY",
    "csv": "CSV",
    "ndjson": "NDJSON",
    "links": "CSV with links",
    "as-input": "as the input",
    "bucket": "CSV into the bucket",
}


def main() -> None:
    """Print the table of bench/README.md."""
    options = argparse.ArgumentParser(prog="python -m bench.results", description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000, help="jobs of the batch [%(default)s]")
    options.add_argument("--way", choices=WAYS, action="append", help="only this way [all]")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as directory, LocalServices(Path(directory)) as services:
        os.environ |= {**services.environment(), "CUTOUT_S3_BUCKET": "bench"}
        few, many = _fill(FEW), _fill(asked.rows)
        put(head(*NAMES))
        bare = 0.0
        for way in asked.way or WAYS:
            small, large = _measure(way, few), _measure(way, many)
            bare = bare or large["seconds"]
            put(_row(way, asked.rows, small, large, bare))


def _row(way: str, rows: int, small: Report, large: Report, bare: float) -> str:
    # What goes into the bucket is not seen here.
    first, size = (f"{large[name]:.{n}f}" if large["megabytes"] else "" for name, n in SEEN)
    seconds, cpu = large["seconds"], large["cpu"]
    cells = (WAYS[way], f"{rows:,}", f"{seconds:.1f}", f"{seconds / bare:.1f}", first, f"{cpu:.1f}", size)
    memory, goal = (f"{large['peak']:.0f}", f"{small['peak']:.0f}"), seconds <= GOAL_S
    return line(*cells, *memory, "" if way == "copy" else GOAL_S, verdict(None if way == "copy" else goal))


def _fill(rows: int) -> uuid.UUID:
    settings = read_settings()
    engine, bucket = connect(settings.database_url.get_secret_value()), Bucket(settings)
    upgrade(engine)
    bucket.create()
    batch = fill(engine, bucket, rows)
    engine.dispose()
    bucket.close()
    return batch


def _measure(way: str, batch: uuid.UUID) -> Report:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.results.measure", way, str(batch)],
        check=True,
        stdout=subprocess.PIPE,
    )
    report: Report = json.loads(ran.stdout)
    return report


if __name__ == "__main__":
    main()
