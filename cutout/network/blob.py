"""Downloads of any size: few bytes in memory, many in a file that has no name and is mapped."""

import io
import mmap
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

IN_MEMORY_BYTES = 16_000_000

Blob = bytes | mmap.mmap
"""Both can be sliced, hashed, measured by `len` and sent; a slice is bytes."""


def gather(pieces: Iterable[bytes], directory: Path | None = None) -> Blob:
    """The pieces as one. Past IN_MEMORY_BYTES they lie in `directory`, and leave it whatever dies.

    Raises OSError if there is no room, and whatever `pieces` raises.
    """
    held = bytearray()
    iterator = iter(pieces)
    for piece in iterator:
        held += piece
        if len(held) > IN_MEMORY_BYTES:
            return _spilled(held, iterator, directory)
    return bytes(held)


def mapped(file: IO[bytes]) -> mmap.mmap:
    """A file's bytes, read from it as they are looked at. The file may be closed, and may lose its name."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def stream_of(blob: Blob) -> IO[bytes]:
    """The same to be read from its begin."""
    if isinstance(blob, bytes):
        return io.BytesIO(blob)
    blob.seek(0)
    return cast("IO[bytes]", blob)


def _spilled(begin: bytearray, rest: Iterable[bytes], directory: Path | None) -> mmap.mmap:
    if directory is not None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(begin)
        begin.clear()
        for piece in rest:
            file.write(piece)
        file.flush()
        return mapped(file)
