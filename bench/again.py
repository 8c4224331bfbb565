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
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import text

from bench.limit.rig import Rig, rig
from cutout.enums import Reuse
from cutout.queue.reuse.identity import owner_of
from cutout.queue.reuse.recipe import recipe_of
from cutout.storage import Bucket

CUTOUT = b"a cutout"
BOUGHT = """
    INSERT INTO bought_results (source_sha256, return_form, endpoint, preparation, bucket, scope, buyer, key,
        sha256, media_type, size_bytes, width, height, stored_at)
    SELECT sha256(n::text::bytea), 'rgba', :endpoint, :preparation, :bucket, :scope, uuidv7(),
        'cutouts/' || n, :sha256, 'image/png', :size, 1, 1, now() FROM generate_series(1, :rows) n
"""
PUTS_AT_ONCE = 8
GIVE_UP_AFTER_S = 1200.0


def main() -> None:
    """Ingest the catalog, wait until every job is served, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m bench.again", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the catalog")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    options = parser.parse_args()
    with rig(workers=options.workers, reuse=Reuse.PRODUCER, worker_threads=16) as running:
        _buy(running, options.rows)
        ingested_s = _ingest(running, options.rows)
        began = time.monotonic()
        while running.scalar("SELECT count(*) FROM jobs WHERE state = 'succeeded'") < options.rows:
            if time.monotonic() - began > GIVE_UP_AFTER_S:
                raise SystemExit(f"not all of {options.rows} jobs were served")
            time.sleep(0.2)
        served_s = time.monotonic() - began
        calls = running.scalar("SELECT count(*) FROM attempts") + running.statistics(3600)["arrived"]
        reused = running.scalar("SELECT count(*) FROM jobs WHERE reused")
    print(f"{options.rows:,} rows ingested in {ingested_s:.1f} s, {options.workers} worker processes")
    print(f"{reused:,} served {served_s:.1f} s later, {options.rows / (ingested_s + served_s):.0f} a second")
    print(f"{calls} calls")


def _buy(running: Rig, rows: int) -> None:
    sha256 = hashlib.sha256(CUTOUT).digest()
    with closing(Bucket(running.stack.settings, connections=PUTS_AT_ONCE)) as bucket:

        def put(n: int) -> None:
            bucket.put_cutout(CUTOUT, key=f"cutouts/{n}", media_type="image/png", metadata={})

        with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
            deque(pool.map(put, range(1, rows + 1)), maxlen=0)
    with running.engine.begin() as connection:
        connection.execute(
            text(BOUGHT),
            {
                **asdict(recipe_of(running.stack.settings)) | {"scope": owner_of(None)},
                "sha256": sha256,
                "size": len(CUTOUT),
                "rows": rows,
            },
        )


def _ingest(running: Rig, rows: int) -> float:
    bucket = running.stack.settings.s3_bucket
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "catalog.csv"
        file = io.StringIO("external_id,source\n")
        file.seek(0, os.SEEK_END)
        for n in range(1, rows + 1):
            digest = hashlib.sha256(str(n).encode()).hexdigest()
            file.write(f"SKU-{n},s3://{bucket}/sources/{digest[:2]}/{digest}\n")
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
