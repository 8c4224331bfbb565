"""A catalog ingested again: every picture was bought before, nothing is called. `python -m bench.again`.

Each row's cutout is an object of its own; what is asked of the bucket does not depend on its size.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import text

from bench.limit.rig import Rig, rig
from bench.table import Figure, figures, put
from cutout.enums import Reuse
from cutout.queue.reuse.identity import owner_of
from cutout.queue.reuse.recipe import recipe_of
from cutout.storage import Bucket

CUTOUT = b"a cutout"
BOUGHT = """
    INSERT INTO bought_results (source_sha256, bought_form, endpoint, preparation, bucket, scope, buyer, key,
        sha256, media_type, size_bytes, width, height, stored_at)
    SELECT sha256(n::text::bytea), 'rgba', :endpoint, :preparation, :bucket, :scope, uuidv7(),
        'cutouts/earlier/SKU-' || n || '.png', :sha256, 'image/png', :size, 1, 1, now()
    FROM generate_series(1, :rows) n
"""
KEYS = "cutouts/earlier/"
PUTS_AT_ONCE = 8
GIVE_UP_AFTER_S = 240.0
GOAL = 5000
ROWS_A_STATEMENT = 500
PAUSE = "UPDATE queue_clock SET paused_at = now()"
RESUME = "UPDATE queue_clock SET paused_at = NULL"
SERVED = "SELECT count(*) FROM jobs WHERE state = 'succeeded'"
RESET = """
    UPDATE jobs SET state = 'queued', queue_state = 'reusing', scheduled_at = now() + interval '1 hour',
        finished_at = NULL, key = NULL, sha256 = NULL WHERE reused
"""
BARE = """
    UPDATE jobs SET state = 'succeeded', queue_state = NULL, finished_at = now(), reused = true,
        key = its.key, sha256 = :sha256, media_type = 'image/png', size_bytes = :size, width = 1, height = 1
    FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[])) its (id, key) WHERE jobs.id = its.id
"""


@dataclass(frozen=True)
class Again:
    """Rows; seconds of ingesting and of serving them, and of a bare update and listing; calls made."""

    rows: int
    ingested_s: float
    served_s: float
    bare_s: float
    calls: int


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.again", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the catalog")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    options = parser.parse_args()
    put(figures(table(measure(options.rows, options.workers))))


def table(again: Again, *, of: str = "uploads", goal: int = GOAL) -> list[Figure]:
    """The rows of its table."""
    rate = again.rows / again.served_s
    beside = f"… as a multiple of a bare update and listing, {again.bare_s:.1f} s"
    return [
        Figure(f"{of} served again, of {again.rows:,}", f"{rate:,.0f} a second", f"{goal:,}", rate >= goal),
        Figure(beside, f"{again.served_s / again.bare_s:.2f}"),
        Figure("… the ingest before", f"{again.ingested_s:.1f} s"),
        Figure("… calls", f"{again.calls}", "0", again.calls == 0),
    ]


def measure(rows: int = 20_000, workers: int = 2) -> Again:
    """Buy the cutouts of a catalog of uploads, and ingest it again."""
    with rig(workers=workers, reuse=Reuse.PRODUCER, worker_threads=16) as running:
        buy(running, rows)
        return serve(running, [_upload(running, n) for n in range(1, rows + 1)])


def serve(running: Rig, sources: Sequence[str]) -> Again:
    """Ingest a catalog of these sources while the queue is paused, then wait until every job is served."""
    rows = len(sources)
    _execute(running, PAUSE)
    ingested_s = _ingest(running, sources)
    began = time.monotonic()
    _execute(running, RESUME)
    while running.scalar(SERVED) < rows:
        if time.monotonic() - began > GIVE_UP_AFTER_S:
            raise SystemExit(f"not all of {rows} jobs were served")
        time.sleep(0.05)
    served_s = time.monotonic() - began
    calls = running.scalar("SELECT count(*) FROM attempts") + running.statistics(3600)["arrived"]
    return Again(rows, ingested_s, served_s, _bare(running), calls)


def _bare(running: Rig) -> float:
    """Seconds in which one connection ends the same jobs by few statements and lists their objects."""
    _execute(running, PAUSE)
    with running.engine.connect() as connection, closing(Bucket(running.stack.settings)) as bucket:
        jobs = connection.execute(text("SELECT id, key FROM jobs WHERE reused ORDER BY id")).all()
        connection.execute(text(RESET))
        connection.commit()
        began = time.monotonic()
        for start in range(0, len(jobs), ROWS_A_STATEMENT):
            some = jobs[start : start + ROWS_A_STATEMENT]
            ids, keys = [str(row.id) for row in some], [row.key for row in some]
            values = {
                "ids": ids,
                "keys": keys,
                "sha256": hashlib.sha256(CUTOUT).digest(),
                "size": len(CUTOUT),
            }
            connection.execute(text(BARE), values)
            connection.commit()
        deque(bucket.listed(KEYS), maxlen=0)
        return time.monotonic() - began


def _execute(running: Rig, statement: str) -> None:
    with running.engine.begin() as connection:
        connection.execute(text(statement))


def buy(running: Rig, rows: int) -> None:
    sha256 = hashlib.sha256(CUTOUT).digest()
    with closing(Bucket(running.stack.settings, connections=PUTS_AT_ONCE)) as bucket:

        def put(n: int) -> None:
            bucket.put_cutout(CUTOUT, key=f"{KEYS}SKU-{n}.png", media_type="image/png", metadata={})

        with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
            deque(pool.map(put, range(1, rows + 1)), maxlen=0)
    with running.engine.begin() as connection:
        connection.execute(
            text(BOUGHT),
            {
                **asdict(recipe_of(running.stack.settings))
                | {"scope": owner_of(running.scalar("SELECT id FROM producers"))},
                "sha256": sha256,
                "size": len(CUTOUT),
                "rows": rows,
            },
        )


def _upload(running: Rig, n: int) -> str:
    digest = hashlib.sha256(str(n).encode()).hexdigest()
    return f"s3://{running.stack.settings.s3_bucket}/sources/{digest[:2]}/{digest}"


def _ingest(running: Rig, sources: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "catalog.csv"
        file = io.StringIO("external_id,source\n")
        file.seek(0, os.SEEK_END)
        file.writelines(f"SKU-{n},{source}\n" for n, source in enumerate(sources, 1))
        path.write_text(file.getvalue())
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "cli", "ingest", str(path)],
            env={**os.environ, **running.stack.environment},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.monotonic() - began


if __name__ == "__main__":
    main()
