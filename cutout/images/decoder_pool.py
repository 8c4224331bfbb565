"""Pictures are decoded in processes of their own: one that takes all memory, or crashes a decoder, takes no
worker with it.

What is sent byte for byte is not decoded, and not sent through a pipe either.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from cutout.images.decoder_child import read_frame, write_frame
from cutout.images.fair_semaphore import FairPlaces, Owner
from cutout.images.image import PreparedImage, as_it_is
from cutout.images.unfit_image import UnfitImage

log = logging.getLogger(__name__)

# So many pictures at a time, whatever the number of threads.
CHILDREN = 2
PREPARED_WITHIN_S = 120.0
# A decoder that leaks a little is started anew now and then.
MOST_PICTURES = 500
# Once more in a new process: the first may have been ended for want of memory that others took.
TRIES = 2
TOO_COSTLY = "IMAGE_TOO_COSTLY"
# A child needs none of the worker's secrets.
SECRET = ("CUTOUT_", "AWS_")


class Preparer:
    """Shared by the threads of a worker. Processes are started when first needed, and anew after a crash."""

    def __init__(self, memory_bytes: int, *, within_s: float = PREPARED_WITHIN_S) -> None:
        self._memory = memory_bytes
        self._within_s = within_s
        self.places = FairPlaces(CHILDREN)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []

    def prepare(self, source: bytes, *, owner: Owner = None, in_child: bool = False) -> PreparedImage:
        """The picture as it is if the endpoint surely takes it so, else fitted. Raises UnfitImage.

        It waits for a process in a turn of its owner. `in_child`: even its headers are read in there.
        """
        return (None if in_child else as_it_is(source)) or self._ask("prepare", source, owner)

    def refit(self, source: bytes, *, owner: Owner = None) -> PreparedImage:
        """The picture as the plainest there is: a smaller baseline JPEG, RGB. Raises UnfitImage."""
        return self._ask("refit", source, owner)

    def close(self) -> None:
        """End the processes; none may be at work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    def _ask(self, how: str, source: bytes, owner: Owner) -> PreparedImage:
        for left in reversed(range(TRIES)):
            with self._child(owner) as child:
                answer = child.ask(how, source)
            if answer is not None:
                return _image(*answer)
            log.warning("a process that prepared a picture %s%s", child.end(), "; once more" if left else "")
        raise UnfitImage(
            TOO_COSTLY,
            f"preparing the picture ({len(source):,} bytes) ended its process {TRIES} times, the last time it"
            f" {child.end()}; save it anew as a JPEG, or raise CUTOUT_PREPARE_MEMORY_BYTES",
        )

    @contextmanager
    def _child(self, owner: Owner) -> "Iterator[_Child]":
        with self.places.held(owner):
            child = self._take_idle() or _Child(self._memory, self._within_s)
            try:
                yield child
            except BaseException:
                child.end()
                raise
            if child.is_fit:
                with self._lock:
                    self._idle.append(child)
            else:
                child.end()

    def _take_idle(self) -> "_Child | None":
        """One that waits for a picture; those that were ended meanwhile say nothing of the next picture."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.is_fit:
                    return child
                child.end()
        return None


class _Child:
    def __init__(self, memory_bytes: int, within_s: float) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(SECRET)}
        self._within_s = within_s
        self._asked = 0
        self._trouble = ""
        # Its own session: a signal that is meant to end the worker in good order would end it at once.
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "cutout.images.decoder_child", str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kept,
            start_new_session=True,
        )

    @property
    def is_fit(self) -> bool:
        """Whether it may be asked again."""
        return self._process.poll() is None and not self._trouble and self._asked < MOST_PICTURES

    def ask(self, how: str, source: bytes) -> tuple[dict[str, Any], bytes] | None:
        """Its answer; None if it died of the question, or took too long."""
        self._asked += 1
        timer = threading.Timer(self._within_s, self._end_late)
        timer.start()
        try:
            write_frame(cast("BinaryIO", self._process.stdin), {"how": how}, source)
            answer = read_frame(cast("BinaryIO", self._process.stdout))
        except BrokenPipeError:
            answer = None
        finally:
            timer.cancel()
        if answer is not None and "no_memory" not in answer[0]:
            return answer
        self._trouble = self._trouble or ("died" if answer is None else "wanted more memory than it may take")
        return None

    def end(self) -> str:
        """End it if it still runs; says how it ended."""
        if self._trouble != "died":
            self._process.kill()
        status = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    log.debug("a process that prepared pictures left some input unread")
        if self._trouble != "died":
            return self._trouble
        return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"

    def _end_late(self) -> None:
        self._trouble = f"took more than {self._within_s:.0f} s"
        self._process.kill()


def _image(said: dict[str, Any], data: bytes) -> PreparedImage:
    if "unfit" in said:
        raise UnfitImage(*said["unfit"])
    fields = said["image"]
    several = {name: tuple(fields[name]) for name in ("changes", "said")}
    return PreparedImage(data, **fields | several)
