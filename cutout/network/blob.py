"""Downloads of any size: small ones in memory, large ones in a memory-mapped file without a name."""

import io
import itertools
import mmap
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

IN_MEMORY_BYTES = 16_000_000

Blob = bytes | mmap.mmap
"""Both can be sliced, hashed, measured by `len` and sent; a slice is bytes."""


def gather(pieces: Iterable[bytes], directory: Path | None = None) -> Blob:
    """Join the pieces. More than IN_MEMORY_BYTES are held in an unnamed file in `directory`, deleted with the
    process.

    Raises OSError if the disk is full, and any exception of `pieces`.
    """
    iterator = iter(pieces)
    first, second = next(iterator, b""), next(iterator, None)
    if second is None and len(first) <= IN_MEMORY_BYTES:
        # Most bodies come in one piece, which need not be copied.
        return first
    held = bytearray()
    for piece in itertools.chain([first, second or b""], iterator):
        held += piece
        if len(held) > IN_MEMORY_BYTES:
            return _spilled(held, iterator, directory)
    return bytes(held)


def mapped(file: IO[bytes]) -> mmap.mmap:
    """Map a file's bytes, which are read on access. The file may be closed and unlinked."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def stream_of(blob: Blob) -> IO[bytes]:
    """Return the bytes as a stream from the start."""
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
