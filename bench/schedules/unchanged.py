"""Nights on which nothing changed, in turn with bare listings: an ingester lists the prefix, and enqueues and
fetches nothing.
"""

import os
import statistics
import subprocess
import sys
import time
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import botocore.session
import psutil
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from bench.table import Figure, say
from cutout.ingest import IngestOptions
from cutout.ingest.pending import request_ingest
from cutout.models.database import connect
from cutout.settings import Settings, load_settings
from cutout.storage import Bucket
from local import LocalServices
from migrations.run import upgrade

PUTS_AT_ONCE = 24
GOAL_S, GOAL_RATIO, GOAL_GROWTH = 60.0, 1.5, 1.1
FEW = 10_000
LOOK_EVERY_S = 0.05
SUCCEED = """
    UPDATE jobs SET state = 'succeeded', queue_state = NULL, finished_at = now(), key = 'k', sha256 = '\\x00',
        media_type = 'image/png', size_bytes = 1, width = 1, height = 1
    WHERE state = 'queued'
"""


@dataclass(frozen=True, slots=True)
class Night:
    """Seconds of one run, and the CPU seconds and largest memory of the ingester until its end."""

    seconds: float
    cpu_s: float
    megabytes: float
    jobs: int
    unchanged: int


class Nights:
    """Nights of one schedule over a prefix of this bucket."""

    def __init__(self, services: LocalServices, bucket: Bucket, engine: Engine, prefix: str) -> None:
        self._environment, self._engine, self._schedule_id = services.environment(), engine, uuid.uuid4()
        self._source = f"s3://{bucket.name}/{prefix}/"

    def run(self) -> Night:
        """Run one, from the start of an ingester's process to the end of the ingest."""
        ingester = subprocess.Popen(
            [sys.executable, "-m", "cli", "ingester"],
            env={**os.environ, **self._environment},
            stderr=subprocess.DEVNULL,
        )
        began = time.monotonic()
        # The least share of a schedule by default: the pictures of the last night are counted for it.
        options = IngestOptions("night", schedule_id=self._schedule_id, min_source_share=0.5)
        with Session(self._engine) as session, session.begin():
            batch_id = request_ingest(session, self._source, options)
        row = self._wait(batch_id)
        seconds = time.monotonic() - began
        cpu, megabytes = psutil.Process(ingester.pid).cpu_times(), _most_memory(ingester.pid)
        ingester.terminate()
        ingester.wait()
        assert row.error is None, row.error
        return Night(seconds, cpu.user + cpu.system, megabytes, row.jobs, row.unchanged)

    def _wait(self, batch_id: uuid.UUID) -> Any:
        query = text("SELECT finished_at, error, jobs, unchanged FROM ingests WHERE batch_id = :batch")
        while True:
            with self._engine.connect() as connection:
                row = connection.execute(query, {"batch": batch_id}).one()
            if row.finished_at:
                return row
            time.sleep(LOOK_EVERY_S)


def measure(objects: int, rounds: int) -> list[Figure]:
    """Put the objects, run a first night, then bare listings and nights without changes in turn."""
    with TemporaryDirectory() as directory, LocalServices(Path(directory), durable=False) as services:
        names = {
            name.removeprefix("CUTOUT_").lower(): value for name, value in services.environment().items()
        }
        settings = load_settings(**names)
        engine = connect(settings.database_url.get_secret_value())
        upgrade(engine)
        bucket = Bucket(settings, connections=PUTS_AT_ONCE)
        bucket.create()
        few, many = Nights(services, bucket, engine, "few"), Nights(services, bucket, engine, "many")
        _first(few, engine, bucket, "few", FEW)
        first = _first(many, engine, bucket, "many", objects)
        small = _checked(few.run(), FEW)
        turns = [(_bare(settings, "many/", objects), _checked(many.run(), objects)) for _ in range(rounds)]
        bucket.put_cutout(b"another", key="many/0000000.jpg", media_type="image/jpeg", metadata={})
        changed = many.run()
        assert (changed.jobs, changed.unchanged) == (1, objects - 1)
        engine.dispose()
        bucket.close()
    return _figures(objects, first, small, turns, changed)


def _first(nights: Nights, engine: Engine, bucket: Bucket, prefix: str, objects: int) -> Night:
    """Put the objects, let each become a job, and end the jobs."""
    say(f"{objects:,} objects and a first night")

    def put(number: int) -> None:
        data = number.to_bytes(8)
        bucket.put_cutout(data, key=f"{prefix}/{number:07d}.jpg", media_type="image/jpeg", metadata={})

    with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
        deque(pool.map(put, range(objects)), maxlen=0)
    first = nights.run()
    assert (first.jobs, first.unchanged) == (objects, 0)
    with engine.begin() as connection:
        connection.execute(text(SUCCEED))
    return first


def _checked(night: Night, objects: int) -> Night:
    assert (night.jobs, night.unchanged) == (0, objects)
    say(f"a night without changes over {objects:,} objects: {night.seconds:.1f} s")
    return night


@dataclass(frozen=True, slots=True)
class Bare:
    """Seconds of one listing, and its CPU seconds in this process."""

    seconds: float
    cpu_s: float


def _bare(settings: Settings, prefix: str, objects: int) -> Bare:
    """List by boto3's own paginator, but with times unparsed, as nobody needs them here."""
    secret, core = settings.s3_secret_key, botocore.session.get_session()
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    client = boto3.session.Session(botocore_session=core).client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
    )
    began, cpu_began = time.monotonic(), time.process_time()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=settings.s3_bucket, Prefix=prefix)
    listed = sum(1 for page in pages for _ in page.get("Contents", []))
    bare = Bare(time.monotonic() - began, time.process_time() - cpu_began)
    assert listed == objects
    say(f"bare listing: {bare.seconds:.1f} s")
    return bare


def _most_memory(pid: int) -> float:
    """MB. What the system counts of an ended child includes this process, whose copy it was at first."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) / 1024


def _figures(
    objects: int, first: Night, small: Night, turns: list[tuple[Bare, Night]], changed: Night
) -> list[Figure]:
    bare_s = statistics.median(bare.seconds for bare, _ in turns)
    night_s = statistics.median(night.seconds for _, night in turns)
    ratios = [night.seconds / bare.seconds for bare, night in turns]
    ratio, all_ratios = statistics.median(ratios), ", ".join(f"{one:.2f}" for one in ratios)
    cpu_s = [statistics.median(one.cpu_s for one in kind) for kind in zip(*turns, strict=True)]
    megabytes = max(night.megabytes for _, night in turns)
    memory = f"{megabytes:.0f} MB, {small.megabytes:.0f} MB"
    return [
        Figure(f"bare listing of {objects:,} objects, median", f"{bare_s:.1f} s"),
        Figure(f"first night: {first.jobs:,} jobs", f"{first.seconds:.1f} s"),
        Figure(
            "nothing changed: 0 jobs, 0 pictures read, median",
            f"{night_s:.1f} s",
            f"{GOAL_S:.0f} s",
            night_s <= GOAL_S,
        ),
        Figure(
            "… as a multiple of the bare listing, median",
            f"{ratio:.2f} ({all_ratios})",
            f"{GOAL_RATIO}",
            ratio <= GOAL_RATIO,
        ),
        Figure(
            f"… CPU of the ingester, {cpu_s[1]:.1f} s, as a multiple of the bare listing's, {cpu_s[0]:.1f} s",
            f"{cpu_s[1] / cpu_s[0]:.2f}",
        ),
        Figure(
            f"one object changed: 1 job, {changed.seconds:.1f} s, as a multiple of the bare listing",
            f"{changed.seconds / bare_s:.2f}",
        ),
        Figure(
            f"most memory without changes, and with {FEW:,} objects",
            memory,
            f"{GOAL_GROWTH} times",
            megabytes <= GOAL_GROWTH * small.megabytes,
        ),
    ]
