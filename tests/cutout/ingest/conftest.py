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
    """The path of the rejects file."""
    return tmp_path / "rejects.csv"


@pytest.fixture
def run(engine: Engine, bucket: Bucket, settings: Settings, rejects: Path) -> Run:
    """Ingests a source that a test wrote."""

    def ingest(location: str | Path, *, changed: dict[str, Any] | None = None, **options: Any) -> Ingested:
        changed_settings = settings.model_copy(update=changed or {})
        ingest_options = IngestOptions("test", **options)
        source = open_source(str(location), ingest_options.reading, changed_settings, bucket)
        with closing(source), RejectsFile(rejects) as file:
            ingest = Ingest(engine, bucket, source, ingest_options, file)
            return ingest.run(on_resume=lambda *_: None, watch=lambda _: None)

    return ingest


@pytest.fixture
def stored(engine: Engine) -> Callable[[], list[Job]]:
    """Every job, in the order of insertion."""

    def read() -> list[Job]:
        with Session(engine) as session:
            return list(session.scalars(select(Job).order_by(Job.id)))

    return read


@pytest.fixture
def rejected(rejects: Path) -> Callable[[], list[list[str]]]:
    """The rows of the rejects file below its header."""

    def read() -> list[list[str]]:
        with rejects.open(newline="") as file:
            return list(csv.reader(file))[1:]

    return read


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """A manifest with one picture, a.jpg, beside it."""

    def write(text: str | bytes, name: str = "list.csv") -> Path:
        directory = tmp_path / "catalog"
        directory.mkdir(exist_ok=True)
        (directory / "a.jpg").write_bytes(b"picture")
        path = directory / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


KEYS = ReadOptions(keys=True)
