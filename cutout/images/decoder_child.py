"""A process that prepares pictures, one after the other, for a worker at the other end of its pipes.

Started with `python -m`, with the most memory that it may take, in bytes. It ends when its input does, as it
does when the worker dies.
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
# What the kernel ends first when memory is short: not the worker.
KILL_ME_FIRST = "1000"


def write_frame(stream: BinaryIO, said: dict[str, Any], data: bytes = b"") -> None:
    """Write a line of JSON with the size of what follows it."""
    stream.write(json.dumps(said | {"size": len(data)}).encode() + b"\n")
    stream.write(data)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next frame; None at the end, or where one breaks off."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    said = json.loads(line)
    data = stream.read(said["size"])
    return (said, data) if len(data) == said["size"] else None


def answer(asked: dict[str, Any], source: bytes) -> tuple[dict[str, Any], bytes]:
    """A prepared picture, or why there is none."""
    try:
        image = HOW[asked["how"]](source)
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
        "said": list(image.said),
    }
    return {"image": fields}, image.data


def main() -> None:
    """Answer until the input ends."""
    if sys.platform == "linux":  # macOS refuses to bound it
        most = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # A crash is expected of some pictures: it leaves no file of the size of its memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(KILL_ME_FIRST)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Whatever a library prints must not stand between answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while frame := read_frame(sys.stdin.buffer):
        write_frame(answers, *answer(*frame))


if __name__ == "__main__":
    main()
