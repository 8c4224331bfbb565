"""Decoder process: prepares pictures, one after the other, for a worker at the other end of its pipes.

Started with `python -m` and its memory limit in bytes. It ends when its input ends, as it does when the
worker dies.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from cutout.images.image import PreparedImage, prepare, refit
from cutout.images.unfit_image import UnfitImage

HOW: dict[str, Callable[[bytes], PreparedImage]] = {"prepare": prepare, "refit": refit}
# Score at which the kernel kills this process first when memory is short, not the worker.
KILL_ME_FIRST = "1000"


def write_frame(stream: BinaryIO, header: dict[str, Any], data: bytes = b"") -> None:
    """Write a line of JSON with the size of the data that follows, and the data."""
    stream.write(json.dumps(header | {"size": len(data)}).encode() + b"\n")
    stream.write(data)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read the next frame; None at the end, or if it is incomplete."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    data = stream.read(header["size"])
    return (header, data) if len(data) == header["size"] else None


def answer(request: dict[str, Any], source: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the prepared picture, or the reason why there is none."""
    try:
        image = HOW[request["how"]](source)
    except UnfitImage as error:
        return {"unfit": [error.code, error.message]}, b""
    except MemoryError:
        return {"no_memory": True}, b""
    fields = {
        "media_type": image.media_type,
        "file_name": image.file_name,
        "width": image.width,
        "height": image.height,
        "changes": list(image.changes),
        "notes": list(image.notes),
    }
    return {"image": fields}, image.data


def main() -> None:
    """Answer requests until the input ends."""
    if sys.platform == "linux":  # macOS refuses this limit
        most = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # A crash is expected for some pictures: no core file as large as the memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(KILL_ME_FIRST)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Output that a library prints must not mix with the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while frame := read_frame(sys.stdin.buffer):
        write_frame(answers, *answer(*frame))


if __name__ == "__main__":
    main()
