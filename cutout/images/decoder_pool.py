"""Pool of decoder processes: a picture that takes all memory or crashes a decoder does not end the worker.

A picture that is sent unchanged is neither decoded nor sent through a pipe.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cutout.images.child_process import ChildProcess
from cutout.images.fair_semaphore import FairSemaphore, Owner
from cutout.images.image import PreparedImage, unchanged
from cutout.images.unfit_image import UnfitImage

log = logging.getLogger(__name__)

# Number of pictures decoded at a time, whatever the number of threads.
CHILDREN = 2
PREPARED_WITHIN_S = 120.0
# One retry in a new process: the first may have been killed for memory that others used.
TRIES = 2
TOO_COSTLY = "IMAGE_TOO_COSTLY"


class Preparer:
    """Pool shared by a worker's threads. Processes start when first needed, and again after a crash."""

    def __init__(self, memory_bytes: int, *, within_s: float = PREPARED_WITHIN_S) -> None:
        self._memory = memory_bytes
        self._within_s = within_s
        self.slots = FairSemaphore(CHILDREN)
        self._lock = threading.Lock()
        self._idle: list[ChildProcess] = []

    def prepare(self, source: bytes, *, owner: Owner = None, in_child: bool = False) -> PreparedImage:
        """Return the picture unchanged if the endpoint surely accepts it, else fitted. Raises UnfitImage.

        Waits for a process in the owner's turn. With `in_child` even the headers are read in the process.
        """
        return (None if in_child else unchanged(source)) or self._ask("prepare", source, owner)

    def refit(self, source: bytes, *, owner: Owner = None) -> PreparedImage:
        """Return the picture as a small baseline JPEG, RGB, for a second try. Raises UnfitImage."""
        return self._ask("refit", source, owner)

    def close(self) -> None:
        """End the processes; none may be in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    def _ask(self, how: str, source: bytes, owner: Owner) -> PreparedImage:
        for left in reversed(range(TRIES)):
            with self._child(owner) as child:
                answer = child.ask({"how": how}, source)
            if answer is not None:
                return _image(*answer)
            log.warning("a process that prepared a picture %s%s", child.end(), "; once more" if left else "")
        raise UnfitImage(
            TOO_COSTLY,
            f"preparing the picture ({len(source):,} bytes) ended its process {TRIES} times, the last time it"
            f" {child.end()}; save it again as a JPEG, or raise CUTOUT_PREPARE_MEMORY_BYTES",
        )

    @contextmanager
    def _child(self, owner: Owner) -> Iterator[ChildProcess]:
        with self.slots.held(owner):
            child = self._take_idle() or ChildProcess(
                "cutout.images.decoder_child", self._memory, self._within_s
            )
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

    def _take_idle(self) -> ChildProcess | None:
        """Return an idle process, or None. A process killed while idle is dropped: no picture killed it."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.is_fit:
                    return child
                child.end()
        return None


def _image(header: dict[str, Any], data: bytes) -> PreparedImage:
    if "unfit" in header:
        raise UnfitImage(*header["unfit"])
    fields = header["image"]
    lists = {name: tuple(fields[name]) for name in ("changes", "notes")}
    return PreparedImage(data, **fields | lists)
