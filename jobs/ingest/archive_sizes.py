"""The bound on zip archives, which are copied whole to the disk for temporary files before they are read."""

from collections.abc import Iterable, Iterator

ZIP_BEGINS = (b"PK\3\4", b"PK\5\6")
BEGIN = 4


def archives_within(pieces: Iterable[bytes], most: int, too_large: Exception) -> Iterator[bytes]:
    """The same pieces; raises `too_large` once they are those of a zip archive of more than `most` bytes."""
    begin, came, iterator = b"", 0, iter(pieces)
    for piece in iterator:
        begin += piece[: BEGIN - len(begin)]
        came += len(piece)
        if came > most and begin.startswith(ZIP_BEGINS):
            raise too_large
        yield piece
        if len(begin) >= BEGIN and not begin.startswith(ZIP_BEGINS):
            yield from iterator
