"""Chunks of rows with several pictures each: within the quota and the memory, and all counted."""

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor as Pool
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.enums import Priority, ReturnForm
from cutout.ingest import ReadOptions, open_source
from cutout.ingest import chunks as ingest_chunks
from cutout.ingest.chunks import ChunkReader, Defaults
from cutout.ingest.quota_room import IngestDelayedError
from cutout.ingest.sources.contents import Hash
from cutout.manifests import Reject
from cutout.models import Job
from cutout.producers.producers import create_producer, set_quota
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.cutout.ingest.conftest import Run


@pytest.fixture
def producer(engine: Engine) -> Callable[[int], uuid.UUID]:
    """A producer with a quota."""

    def make(quota: int) -> uuid.UUID:
        with Session(engine) as session, session.begin():
            made, _ = create_producer(session, "shop")
            set_quota(session, made.id, quota)
            return made.id

    return make


def rows_of(count: int, pictures: int) -> str:
    """Rows with this number of pictures each."""
    lines = ["external_id,source"]
    for row in range(count):
        cell = " ".join(f"https://shop.example/{row}/{n}.jpg" for n in range(pictures))
        lines.append(f"{row},{cell}")
    return "\n".join(lines) + "\n"


class TestRowsOfSeveralPictures:
    def test_fill_the_quota_as_far_as_whole_rows_go(
        self,
        run: Run,
        written: Callable[[str], Path],
        stored: Callable[[], list[Job]],
        producer: Callable[[int], uuid.UUID],
    ) -> None:
        """A chunk ends before the row that exceeds the quota: the ingest neither fails nor is delayed for
        ever.
        """
        with pytest.raises(IngestDelayedError):
            run(written(rows_of(7, 3)), producer_id=producer(10))
        assert len(stored()) == 9

    def test_of_which_all_fit_are_all_stored(
        self, run: Run, written: Callable[[str], Path], producer: Callable[[int], uuid.UUID]
    ) -> None:
        """The quota is exactly the number of pictures."""
        assert run(written(rows_of(4, 3)), producer_id=producer(12)).counts.jobs == 12

    def test_are_counted_one_by_one_where_none_of_them_is_left(
        self, run: Run, written: Callable[[str], Path], rejected: Callable[[], list[list[str]]]
    ) -> None:
        """There are as many rejects as lines in the file, also for a row whose pictures all have other
        pictures' ids.
        """
        head = "Handle,Image Src,Image Position,Variant Image,Variant SKU\n"
        rows = [f"hat,https://shop.example/{n}.jpg,1,https://shop.example/v{n}.jpg,S\n" for n in range(2)]
        path = written(head + "".join(rows) + "cap,https://shop.example/cap.jpg,1,,C\n")
        counts = run(path).counts
        assert counts.rejects == len(rejected()) == 4
        assert counts.pictures == counts.jobs + counts.rejects == 5


class TestAChunk:
    def test_ends_where_rejects_are_many(
        self,
        settings: Settings,
        bucket: Bucket,
        written: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """One row may have thousands: they are reported before the next rows are read."""
        monkeypatch.setattr(ingest_chunks, "MOST_REJECTS", 100)
        bad = [{"external_id": str(n), "source": [f"s3://x/{m}" for m in range(60)]} for n in range(10)]
        path = written("".join(f"{json.dumps(row)}\n" for row in bad), "list.ndjson")
        reported: list[Reject] = []
        with closing(open_source(str(path), ReadOptions(), settings, bucket)) as source, Pool(1) as pool:
            asking = Defaults((ReturnForm.RGBA,), Priority.NORMAL)
            reader = ChunkReader(source, asking, Hash(bucket.name), pool, reported.append)
            chunks = list(iter(reader.read, None))
        assert [chunk.records for chunk in chunks] == [2, 2, 2, 2, 2]
        assert len(reported) == sum(chunk.rejects for chunk in chunks) == 600
