"""Helpers for reading a manifest that a test wrote."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from cutout.manifests import Manifest, ManifestError, Picture, Record, Reject, open_manifest

EXPORTS = Path(__file__).parent / "exports"
NAME = "list.csv"


def opened(
    content: str | bytes, *, encoding: str | None = None, columns: Mapping[str, str] | None = None
) -> Manifest:
    raw = content.encode() if isinstance(content, str) else content
    return open_manifest(io.BytesIO(raw), name=NAME, encoding=encoding, columns=columns)


def read(
    content: str | bytes, *, encoding: str | None = None, columns: Mapping[str, str] | None = None
) -> list[Record]:
    return list(opened(content, encoding=encoding, columns=columns))


def export(name: str) -> bytes:
    return (EXPORTS / name).read_bytes()


def pictures(records: list[Record]) -> list[Picture]:
    """All pictures, after checking that nothing was rejected."""
    assert rejects(records) == []
    return [picture for record in records for picture in record.pictures]


def rejects(records: list[Record]) -> list[Reject]:
    return [reject for record in records for reject in record.rejects]


def named(records: list[Record]) -> list[tuple[str, str]]:
    """External id and source of each picture."""
    return [(picture.external_id, picture.source) for record in records for picture in record.pictures]


def only_reject(content: str | bytes, *, columns: Mapping[str, str] | None = None) -> Reject:
    """The reject of the only faulty record, which makes no picture."""
    (record,) = [record for record in read(content, columns=columns) if record.rejects]
    assert record.pictures == ()
    (reject,) = record.rejects
    return reject


def failure(content: str | bytes, *, encoding: str | None = None) -> tuple[list[Record], str]:
    """The records before the point where reading fails, and the error text."""
    records: list[Record] = []
    with pytest.raises(ManifestError) as caught:
        records.extend(opened(content, encoding=encoding))
    return records, str(caught.value)


class Endless(io.RawIOBase):
    """A stream of five gigabytes: a start, then one piece repeated. Counts the bytes read."""

    SIZE = 5 * 1024**3

    def __init__(self, start: bytes, piece: bytes) -> None:
        super().__init__()
        self._start = start
        self._piece = piece
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        content = self._start or self._piece
        content, self._start = content[:size], b""
        self.taken += len(content)
        return content if self.taken < self.SIZE else b""


def endless_failure(start: bytes, piece: bytes) -> tuple[int, str]:
    """The number of bytes read before the failure, and the error text."""
    stream = Endless(start, piece)
    with pytest.raises(ManifestError) as caught:
        for _ in open_manifest(cast("io.BytesIO", stream), name=NAME):
            pass
    return stream.taken, str(caught.value)
