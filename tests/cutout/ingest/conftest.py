import csv
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cutout.ingest import Ingest, Ingested, IngestOptions, ReadOptions, RejectsFile, open_source
from cutout.models import Job
from cutout.settings import Settings
from cutout.storage import Bucket

Run = Callable[..., Ingested]


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    """Where rejects go."""
    return tmp_path / "rejects.csv"


@pytest.fixture
def run(engine: Engine, bucket: Bucket, settings: Settings, rejects: Path) -> Run:
    """Ingests a source that a test wrote down."""

    def ingest(named: str | Path, *, changed: dict[str, Any] | None = None, **order: Any) -> Ingested:
        known = settings.model_copy(update=changed or {})
        asked = IngestOptions("test", **order)
        source = open_source(str(named), asked.reading, known, bucket)
        with closing(source), RejectsFile(rejects) as file:
            ingest = Ingest(engine, bucket, source, asked, file)
            return ingest.run(on_resume=lambda *_: None, watch=lambda _: None)

    return ingest


@pytest.fixture
def stored(engine: Engine) -> Callable[[], list[Job]]:
    """Every job, in the order made."""

    def read() -> list[Job]:
        with Session(engine) as session:
            return list(session.scalars(select(Job).order_by(Job.id)))

    return read


@pytest.fixture
def rejected(rejects: Path) -> Callable[[], list[list[str]]]:
    """The lines of the file of rejects below its header."""

    def read() -> list[list[str]]:
        with rejects.open(newline="") as file:
            return list(csv.reader(file))[1:]

    return read


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """A manifest beside which lies one picture, a.jpg."""

    def write(text: str | bytes, name: str = "list.csv") -> Path:
        directory = tmp_path / "catalog"
        directory.mkdir(exist_ok=True)
        (directory / "a.jpg").write_bytes(b"picture")
        path = directory / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


KEYS = ReadOptions(keys=True)
