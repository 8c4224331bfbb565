"""Pictures packed into an archive while they come."""

import io
import tracemalloc
import zipfile
from collections.abc import Iterator

import pytest

from cutout.ingest import packed_pictures
from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.packed_pictures import packed

MEGABYTE = bytes(1_000_000)


def test_the_archive_has_what_came() -> None:
    """Names of any letters, a name that comes twice, and an empty file are all in it."""
    came = [("a.jpg", [b"one", b"", b"two"]), ("é\u202e.png", [b"x" * 100_000]), ("a.jpg", [b"3"]), ("e", [])]
    with zipfile.ZipFile(io.BytesIO(b"".join(packed(came)))) as archive:
        assert archive.testzip() is None
        found = [(member.filename, archive.read(member)) for member in archive.infolist()]
    assert found == [(name, b"".join(pieces)) for name, pieces in came]


def test_more_pictures_than_are_taken_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture too many ends it with the remedy."""
    monkeypatch.setattr(packed_pictures, "MOST_PICTURES", 3)
    with pytest.raises(IngestError, match="more than 3 pictures; pack them into a zip"):
        list(packed((f"{number}.jpg", [b"x"]) for number in range(4)))


def test_memory_does_not_grow_with_the_pictures() -> None:
    """A hundred megabytes pass in pieces; some of them are in memory at a time."""

    def pictures() -> Iterator[tuple[str, Iterator[bytes]]]:
        for number in range(10):
            yield f"{number}.jpg", (MEGABYTE for _ in range(10))

    tracemalloc.start()
    size = sum(len(piece) for piece in packed(pictures()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 100 * len(MEGABYTE)
    assert peak < 8 * len(MEGABYTE)
