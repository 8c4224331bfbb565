"""One way of writing results, in a process of its own, so that its memory is its own."""

import json
import resource
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session

from cutout.models.database import connect
from cutout.results import (
    CutoutLinks,
    Format,
    Selection,
    WrittenRows,
    find_manifest,
    keep_results,
    open_results,
    write_as_input,
    write_results,
)
from cutout.settings import Settings, read_settings
from cutout.storage import Bucket

COPY = """
COPY (
    SELECT external_id, return_form, state, key, encode(sha256, 'hex'), media_type, width, height, size_bytes,
        reused, attempts.credits, attempts.count, code, message, attempts.request_id, jobs.id
    FROM jobs LEFT JOIN (
        SELECT job_id, count(*), count(*) FILTER (WHERE outcome = 'charged') AS credits,
            max(request_id) AS request_id
        FROM attempts GROUP BY job_id
    ) AS attempts ON attempts.job_id = jobs.id
    WHERE batch_id = '{batch}' ORDER BY jobs.id
) TO STDOUT (FORMAT csv)
"""


def bare_copy(batch: uuid.UUID) -> Iterator[bytes]:
    url = make_url(read_settings().database_url.get_secret_value()).set(drivername="postgresql")
    with (
        psycopg.connect(url.render_as_string(hide_password=False)) as connection,
        connection.cursor() as cursor,
        cursor.copy(COPY.format(batch=batch).encode()) as copy,
    ):
        yield from map(bytes, copy)


class Ways:
    """The ways by name."""

    def __init__(self, settings: Settings, batch: uuid.UUID) -> None:
        self._engine: Engine = connect(settings.database_url.get_secret_value(), connections=1)
        self._bucket = Bucket(settings, connections=1)
        self._batch = batch

    def pieces(self, way: str) -> Iterator[bytes]:
        ways: dict[str, Callable[[], Iterator[bytes]]] = {
            "copy": lambda: bare_copy(self._batch),
            "csv": lambda: self._results(Format.CSV, None),
            "ndjson": lambda: self._results(Format.NDJSON, None),
            "links": lambda: self._results(Format.CSV, CutoutLinks(self._bucket)),
            "as-input": self._as_input,
            "bucket": self._keep,
        }
        return ways[way]()

    def _results(self, form: Format, links: CutoutLinks | None) -> Iterator[bytes]:
        with open_results(self._engine, Selection(self._batch)) as found:
            yield from write_results(found, form, links, renditions=found.renditions)

    def _as_input(self) -> Iterator[bytes]:
        with Session(self._engine) as session:
            kept = find_manifest(session, self._batch)
        yield from write_as_input(self._engine, self._bucket, kept, None, WrittenRows())

    def _keep(self) -> Iterator[bytes]:
        assert keep_results(self._engine, self._bucket, self._batch)
        yield b""


def _peak_mb() -> float:
    # getrusage would say the parent's, if that was more.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Print seconds, seconds to the first row, bytes and peak memory as JSON."""
    way, batch = sys.argv[1:]
    ways = Ways(read_settings(), uuid.UUID(batch))
    began, first, size = time.perf_counter(), 0.0, 0
    for number, piece in enumerate(ways.pieces(way)):
        size += len(piece)
        if number <= 1:
            first = time.perf_counter() - began
    seconds = time.perf_counter() - began
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "seconds": seconds,
        "first": first,
        "megabytes": size / 1e6,
        "cpu": cpu.ru_utime + cpu.ru_stime,
        "peak": _peak_mb(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
