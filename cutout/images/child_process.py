"""A child process that answers requests about pictures: one that crashes or takes all memory ends alone."""

import logging
import os
import subprocess
import sys
import threading
from typing import Any, BinaryIO, cast

from cutout.images.frames import read_frame, write_frame

log = logging.getLogger(__name__)

# A process is replaced after this many requests, in case its decoder leaks memory.
MOST_REQUESTS = 500
# Prefixes of variables that a child does not get: it needs none of its parent's secrets.
SECRET_PREFIXES = ("CUTOUT_", "AWS_")


class ChildProcess:
    """One child that runs `module` within `memory_bytes`; a request takes at most `within_s` seconds."""

    def __init__(self, module: str, memory_bytes: int, within_s: float) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(SECRET_PREFIXES)
        }
        self._within_s = within_s
        self._requests = 0
        self._failure = ""
        # In its own session: a signal to the worker's process group would end it at once.
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", module, str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Threads of a numeric library would take address space and other processes' time.
            env=environment | {"OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )

    @property
    def is_fit(self) -> bool:
        """Whether it may take another request."""
        return self._process.poll() is None and not self._failure and self._requests < MOST_REQUESTS

    def ask(self, header: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes] | None:
        """Return the child's answer; None if it died or took too long."""
        self._requests += 1
        timer = threading.Timer(self._within_s, self._end_late)
        timer.start()
        try:
            write_frame(cast("BinaryIO", self._process.stdin), header, data)
            answer = read_frame(cast("BinaryIO", self._process.stdout))
        except BrokenPipeError:
            answer = None
        finally:
            timer.cancel()
        if answer is not None and "no_memory" not in answer[0]:
            return answer
        self._failure = self._failure or ("died" if answer is None else "needed more memory than allowed")
        return None

    def end(self) -> str:
        """End the process if it still runs; return how it ended."""
        if self._failure != "died":
            self._process.kill()
        status = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    log.debug("a child process left some input unread")
        if self._failure != "died":
            return self._failure
        return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"

    def _end_late(self) -> None:
        self._failure = f"took more than {self._within_s:.0f} s"
        self._process.kill()
