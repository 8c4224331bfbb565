import uuid
from pathlib import Path

from cutout.enums import ReturnForm
from cutout.ingest import IngestOptions
from cutout.ingest.sources.directory import Directory


def test_a_requested_ingest_resumes_although_its_batch_was_changed(tmp_path: Path) -> None:
    """Name, weight and budget of a batch may be changed while its source is read; what it makes may not."""
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    source, request = Directory(tmp_path, max_bytes=100), uuid.uuid4()
    before = IngestOptions("a").fingerprint(source, request)
    assert IngestOptions("b", weight=2.0, budget=5).fingerprint(source, request) == before
    assert IngestOptions("a", forms=(ReturnForm.MASK,)).fingerprint(source, request) != before
    assert IngestOptions("a").fingerprint(source, uuid.uuid4()) != before
    # A command has no batch that could be changed: another name is another command.
    assert IngestOptions("b").fingerprint(source) != IngestOptions("a").fingerprint(source)
