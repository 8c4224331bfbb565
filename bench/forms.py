"""All four forms of many pictures: one call buys each. `python -m bench.forms`.

The catalog has a row for each picture, and is ingested with all forms. Counted are the calls that reached the
sandbox, its charges, and the jobs that were served from what another one bought.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from PIL import Image

from bench.limit.rig import SIDE, Rig, rig
from bench.table import head, line, put, verdict
from cutout.enums import ReturnForm, Reuse
from cutout.storage import Bucket
from cutout.storage.uploads import upload_source

PUTS_AT_ONCE = 8
GIVE_UP_AFTER_S = 3600.0


def main() -> None:
    """Ingest the catalog in four forms, wait until every job is done, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m bench.forms", description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000, help="pictures of the catalog")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    options = parser.parse_args()
    quick = {"latency_s": 0.05, "calls_per_second": 1000, "calls_in_flight": 64, "worker_threads": 32}
    with rig(workers=options.workers, reuse=Reuse.PRODUCER, **quick) as running:
        running.clear()
        began = time.monotonic()
        _ingest(running, _upload(running, options.pictures))
        jobs = options.pictures * len(ReturnForm)
        while running.scalar("SELECT count(*) FROM jobs WHERE state = 'succeeded'") < jobs:
            if time.monotonic() - began > GIVE_UP_AFTER_S:
                raise SystemExit(f"not all of {jobs} jobs succeeded")
            time.sleep(0.5)
        took_s = time.monotonic() - began
        arrived = running.statistics(3600)["arrived"]
        charged = running.scalar("SELECT count(*) FROM attempts WHERE outcome = 'charged'")
        reused = running.scalar("SELECT count(*) FROM jobs WHERE reused")
    put(head("Pictures", "Jobs", "Calls", "Goal", "Charged", "Reused", "Seconds", ""))
    numbers = (
        f"{number:,}" for number in (options.pictures, jobs, arrived, options.pictures, charged, reused)
    )
    put(line(*numbers, f"{took_s:.0f}", verdict(arrived <= options.pictures)))


def _upload(running: Rig, pictures: int) -> list[str]:
    with closing(Bucket(running.stack.settings, connections=PUTS_AT_ONCE)) as bucket:

        def put(number: int) -> str:
            return upload_source(bucket, io.BytesIO(_picture(number)))

        with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
            addresses: deque[str] = deque(pool.map(put, range(pictures)))
    return list(addresses)


def _picture(number: int) -> bytes:
    """A small picture whose first pixels are its number."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    image.paste("red", (SIDE // 4, SIDE // 4, 3 * SIDE // 4, 3 * SIDE // 4))
    image.putpixel((0, 0), (number >> 16 & 255, number >> 8 & 255, number & 255))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _ingest(running: Rig, addresses: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "catalog.csv"
        rows = "".join(f"SKU-{n},{address}\n" for n, address in enumerate(addresses))
        path.write_text(f"external_id,source\n{rows}")
        forms = [word for form in ReturnForm for word in ("--return-form", form)]
        subprocess.run(
            [sys.executable, "-m", "cli", "ingest", str(path), *forms],
            env={**os.environ, **running.stack.environment},
            stdout=subprocess.DEVNULL,
            check=True,
        )


if __name__ == "__main__":
    main()
