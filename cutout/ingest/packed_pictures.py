"""Pictures that come one after the other, packed into a zip archive while they come."""

import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, cast

from cutout.ingest.ingest_errors import IngestError

MOST_PICTURES = 10_000


class _Sink:
    """A file that zipfile writes to and that cannot seek; what was written is taken from it."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        written = b"".join(self._written)
        self._written.clear()
        return written


def packed(pictures: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """Yield the bytes of an archive of pictures that come, as `zipped` does.

    Raises IngestError for more than MOST_PICTURES.
    """
    return zipped(_at_most(pictures))


def zipped(files: Iterable[tuple[str, Iterable[bytes]]], *, may_be_large: bool = True) -> Iterator[bytes]:
    """Yield the bytes of an archive of files: the name of each, and its bytes in pieces.

    A piece and the list of names are in memory, some 0.6 kB a file. Files that are all smaller than 2 GB are
    written without `may_be_large`, as programs can read that do not know the longer form.
    """
    sink = _Sink()
    # Pictures are compressed already.
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in files:
            # Its length is not known before it has come.
            info = zipfile.ZipInfo(name)
            with archive.open(info, "w", force_zip64=may_be_large) as member:
                for piece in pieces:
                    member.write(piece)
                    yield sink.take()
            # Whoever reads the archive says so if a name comes twice; zipfile would warn here.
            archive.NameToInfo.pop(info.filename)
            yield sink.take()
    yield sink.take()


def _at_most(pictures: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[tuple[str, Iterable[bytes]]]:
    for number, picture in enumerate(pictures, start=1):
        if number > MOST_PICTURES:
            raise IngestError(f"there are more than {MOST_PICTURES:,} pictures; pack them into a zip")
        yield picture
