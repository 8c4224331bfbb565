"""Frames between a child process and its parent: a line of JSON, and the bytes that follow it."""

import json
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

# Score at which the kernel kills this process first when memory is short, not its parent.
KILL_ME_FIRST = "1000"

Answer = Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]


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


def serve(answer: Answer, memory_bytes: int) -> None:
    """Answer requests from standard input until it ends, within this much memory."""
    if sys.platform == "linux":  # macOS refuses this limit
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # A crash is expected for some pictures: no core file as large as the memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(KILL_ME_FIRST)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Output that a library prints must not mix with the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while frame := read_frame(sys.stdin.buffer):
        write_frame(answers, *answer(*frame))
