"""Ingest of a manifest into durable jobs, beside a bare COPY of the same rows into the same table in one run.

`python -m bench.ingest --help` lists the options. The command is run as its user would, in a process of its
own; its time counts from its start to its end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg
from sqlalchemy import Connection, Engine, text

from bench.table import Figure, figures, put
from cutout.models.database import connect
from cutout.settings import load_settings
from cutout.storage import Bucket
from local import LocalServices
from migrations.run import upgrade

FEW = 10_000
BLOCK = 10_000
GOAL_RATIO, GOAL_SECONDS, GOAL_MEGABYTES, GOAL_GROWTH = 2.5, 60.0, 200.0, 1.10
COPY = """
    COPY jobs (batch_id, external_id, source, return_form, priority, virtual_start, queue_state) FROM STDIN
"""


@dataclass(frozen=True)
class Ran:
    """Seconds and the most memory that the command had, in MB."""

    seconds: float
    megabytes: float


def main() -> None:
    """Measure, and print one row a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name, LocalServices(Path(name)) as services:
        directory = Path(name)
        environment = {**services.environment(), "CUTOUT_S3_BUCKET": "bench-ingest"}
        settings = load_settings(
            **{key.removeprefix("CUTOUT_").lower(): value for key, value in environment.items()}
        )
        Bucket(settings).create()
        engine = connect(services.database_url, connections=1)
        upgrade(engine)
        small = _ingest(engine, environment, directory, FEW)
        bare = _bare(engine, rows)
        large = _ingest(engine, environment, directory, rows)
        planned = _run(environment, directory, rows, "--dry-run")
        engine.dispose()
    _print(rows, bare, small, large, planned)


def _bare(engine: Engine, rows: int) -> float:
    """Seconds of the plainest way: one COPY of lines that are ready, in one transaction."""
    with engine.connect() as connection:
        batch_id = _emptied(connection)
        raw = cast("psycopg.Connection", connection.connection.driver_connection)
        began = time.perf_counter()
        with raw.cursor() as cursor, cursor.copy(COPY) as copy:
            for block in _blocks(batch_id, rows):
                copy.write(block)
        connection.commit()
        return time.perf_counter() - began


def _emptied(connection: Connection) -> uuid.UUID:
    connection.execute(text("TRUNCATE jobs, batches, ingests CASCADE"))
    batch_id: uuid.UUID = connection.execute(
        text("INSERT INTO batches (name) VALUES ('bare') RETURNING id")
    ).scalar_one()
    connection.commit()
    connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("CHECKPOINT"))
    connection.commit()
    connection.execution_options(isolation_level="READ COMMITTED")
    return batch_id


def _blocks(batch_id: uuid.UUID, rows: int) -> Iterator[str]:
    for first in range(0, rows, BLOCK):
        yield "".join(
            f"{batch_id}\t{_id(n)}\t{_source(n)}\trgba\t1\t{n}\tready\n"
            for n in range(first, min(first + BLOCK, rows))
        )


def _id(number: int) -> str:
    return f"SKU-{number:07d}"


def _source(number: int) -> str:
    return f"https://cdn.shop.example/products/{number:07d}/main.jpg"


def _ingest(engine: Engine, environment: dict[str, str], directory: Path, rows: int) -> Ran:
    """Seconds that the command takes for a manifest of so many rows; each must become a ready job."""
    with engine.connect() as connection:
        _emptied(connection)
    ran = _run(environment, directory, rows)
    with engine.connect() as connection:
        due = connection.execute(text("SELECT count(*) FROM jobs WHERE queue_state = 'ready'")).scalar_one()
    assert due == rows, f"{due:,} of {rows:,} rows are ready jobs"
    return ran


def _run(environment: dict[str, str], directory: Path, rows: int, *options: str) -> Ran:
    manifest = directory / f"{rows}.csv"
    if not manifest.exists():
        with manifest.open("w") as file:
            file.write("external_id,source\n")
            file.writelines(f"{_id(n)},{_source(n)}\n" for n in range(rows))
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "ingest", manifest, *options],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **environment},
        cwd=directory,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    assert os.waitstatus_to_exitcode(status) == 0
    return Ran(seconds, usage.ru_maxrss / 1024)


def _print(rows: int, bare: float, small: Ran, large: Ran, planned: Ran) -> None:
    ratio, growth = large.seconds / bare, large.megabytes / small.megabytes
    beside = f"… beside that of {FEW:,} rows, {small.megabytes:.0f} MB"
    measured = [
        Figure(f"bare COPY of {rows:,} rows", f"{bare:.1f} s, {rows / bare:,.0f} rows/s"),
        Figure(
            f"`cutout ingest` of {rows:,} rows",
            f"{large.seconds:.1f} s, {rows / large.seconds:,.0f} rows/s",
            f"{GOAL_SECONDS:.0f} s",
            large.seconds <= GOAL_SECONDS,
        ),
        Figure("… as a multiple of the bare COPY", f"{ratio:.2f}", f"{GOAL_RATIO}", ratio <= GOAL_RATIO),
        Figure(
            "… most memory",
            f"{large.megabytes:.0f} MB",
            f"{GOAL_MEGABYTES:.0f} MB",
            large.megabytes <= GOAL_MEGABYTES,
        ),
        Figure(beside, f"{growth:.2f}", f"{GOAL_GROWTH}", growth <= GOAL_GROWTH),
        Figure(f"`--dry-run` of {rows:,} rows", f"{planned.seconds:.1f} s, {planned.megabytes:.0f} MB"),
    ]
    put(figures(measured))


if __name__ == "__main__":
    main()
