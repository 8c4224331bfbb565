"""A night on which nothing changed: an ingester lists the prefix, and enqueues and fetches nothing."""

import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.ingest import IngestOptions
from cutout.ingest.pending import request_ingest
from cutout.models.database import connect
from cutout.settings import load_settings
from cutout.storage import Bucket
from local import LocalServices
from migrations.run import upgrade

PUTS_AT_ONCE = 24
GOAL_S = 60.0
FEW = 10_000
LOOK_EVERY_S = 0.05
SUCCEED = """
    UPDATE jobs SET state = 'succeeded', queue_state = NULL, finished_at = now(), key = 'k', sha256 = '\\x00',
        media_type = 'image/png', size_bytes = 1, width = 1, height = 1
    WHERE state = 'queued'
"""


@dataclass(frozen=True, slots=True)
class Night:
    """Seconds of one run, and the largest memory of the ingester until its end."""

    seconds: float
    megabytes: float
    jobs: int
    unchanged: int


def measure(objects: int) -> None:
    """Put the objects, run a first night, and then one on which nothing changed; print what it took."""
    with TemporaryDirectory() as directory, LocalServices(Path(directory), durable=False) as services:
        environment = services.environment()
        settings = load_settings(
            **{name.removeprefix("CUTOUT_").lower(): value for name, value in environment.items()}
        )
        engine = connect(settings.database_url.get_secret_value())
        upgrade(engine)
        bucket = Bucket(settings, connections=PUTS_AT_ONCE)
        bucket.create()
        few = _nights(engine, bucket, environment, "few", FEW)
        many = _nights(engine, bucket, environment, "many", objects)
        began = time.monotonic()
        listed = sum(1 for _ in bucket.listed("many/"))
        bare_s = time.monotonic() - began
        assert listed == objects
        engine.dispose()
        bucket.close()
    _print(objects, bare_s, few, many)


def _nights(
    engine: Engine, bucket: Bucket, environment: dict[str, str], prefix: str, objects: int
) -> tuple[Night, Night]:
    """The first night and the next one."""

    def put(number: int) -> None:
        data = number.to_bytes(8)
        bucket.put_cutout(data, key=f"{prefix}/{number:07d}.jpg", media_type="image/jpeg", metadata={})

    with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
        list(pool.map(put, range(objects)))
    schedule_id, source = uuid.uuid4(), f"s3://{bucket.name}/{prefix}/"
    first = _night(engine, environment, schedule_id, source)
    with engine.begin() as connection:
        connection.execute(text(SUCCEED))
    second = _night(engine, environment, schedule_id, source)
    assert (first.jobs, first.unchanged, second.jobs, second.unchanged) == (objects, 0, 0, objects)
    return first, second


def _night(engine: Engine, environment: dict[str, str], schedule_id: uuid.UUID, source: str) -> Night:
    ingester = subprocess.Popen(
        [sys.executable, "-m", "cli", "ingester"],
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
    )
    began = time.monotonic()
    with Session(engine) as session, session.begin():
        batch_id = request_ingest(session, source, IngestOptions("night", schedule_id=schedule_id))
    asked = {"batch": batch_id}
    while True:
        with engine.connect() as connection:
            row = connection.execute(
                text("SELECT finished_at, error, jobs, unchanged FROM ingests WHERE batch_id = :batch"), asked
            ).one()
        if row.finished_at:
            break
        time.sleep(LOOK_EVERY_S)
    seconds = time.monotonic() - began
    megabytes = _most_memory(ingester.pid)
    ingester.terminate()
    ingester.wait()
    assert row.error is None, row.error
    return Night(seconds, megabytes, row.jobs, row.unchanged)


def _most_memory(pid: int) -> float:
    """MB. What the system counts of an ended child includes this process, whose copy it was at first."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) / 1024


def _print(objects: int, bare_s: float, few: tuple[Night, Night], many: tuple[Night, Night]) -> None:
    first, second = many
    print("| What | Measured | Goal |")
    print("|---|---|---|")
    print(f"| bare listing of {objects:,} objects | {bare_s:.1f} s | |")
    print(f"| first night: {first.jobs:,} jobs | {first.seconds:.1f} s | |")
    print(
        f"| nothing changed: {second.jobs} jobs, 0 pictures read | {second.seconds:.1f} s | {GOAL_S:.0f} s |"
    )
    print(f"| … as a multiple of the bare listing | {second.seconds / bare_s:.2f} | |")
    print(
        f"| … most memory, and with {FEW:,} objects | {second.megabytes:.0f} MB, {few[1].megabytes:.0f} MB |"
        " flat |"
    )
