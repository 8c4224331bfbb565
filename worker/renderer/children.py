"""Child processes that make outputs: one per thread, with bounded memory, replaced when it dies."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from cutout.images.child_process import ChildProcess
from cutout.outputs.child_protocol import MAKE, NEEDS, OPEN, PARTS, SCORE
from cutout.outputs.output_error import OutputError
from cutout.queue.outputs.calibrated import EndpointProperties

log = logging.getLogger(__name__)

# 80 megapixels took some 60 s; a child that takes longer hangs.
WITHIN_S = 300.0
# Larger pictures are made one at a time in a renderer, to bound its memory.
LARGE_PIXELS = 25_000_000


class ChildDiedError(Exception):
    """The process that made an output died, hung, or needed more memory than it may have."""


@dataclass(frozen=True, slots=True)
class PictureFiles:
    """The files of a picture. `source` is None if no output needs it, or if it is gone: see `problem`.

    `full` is the full-size cutout, if one was made before.
    """

    bought: bytes = field(repr=False)
    source: bytes | None = field(default=None, repr=False)
    full: bytes | None = field(default=None, repr=False)
    image_sha256: bytes | None = None
    problem: str | None = None
    is_untouched: bool = False
    properties: EndpointProperties = field(default_factory=EndpointProperties)

    def as_request(self) -> tuple[dict[str, Any], bytes]:
        """The request that opens the picture in a child."""
        parts = {name: getattr(self, name) for name in PARTS}
        given = {name: data for name, data in parts.items() if data is not None}
        sent = self.image_sha256.hex() if self.image_sha256 else None
        header = {
            "op": OPEN,
            "sizes": {name: len(data) for name, data in given.items()},
            "image_sha256": sent,
            "problem": self.problem,
            "is_untouched": self.is_untouched,
            "sharpen": self.properties.sharpen,
            "decontaminated": self.properties.decontaminated,
        }
        return header, b"".join(given.values())


class RenderChild:
    """One thread's child process. Large pictures take `large`, which all threads share."""

    def __init__(self, memory_bytes: int, large: threading.Lock) -> None:
        self._memory = memory_bytes
        self._large = large
        self._holds_large = False
        self._process: ChildProcess | None = None
        self._opened: PictureFiles | None = None

    def open(self, files: PictureFiles) -> None:
        """Open a picture, unless it is open. Raises ChildDiedError, OutputError."""
        if files is self._opened:
            return
        self.close_picture()
        header, _ = self._ask(*files.as_request())
        if header["pixels"] > LARGE_PIXELS:
            self._large.acquire()
            self._holds_large = True
        self._opened = files

    def needs_source(self, recipes: Sequence[str]) -> bool:
        """Whether one of these outputs needs the source of the opened picture. Raises as `make` does."""
        header, _ = self._ask({"op": NEEDS, "recipes": list(recipes)})
        return bool(header["source"])

    def make(self, recipe: str) -> tuple[Mapping[str, Any], bytes]:
        """Make an output: its fields and its file.

        Raises ChildDiedError, or OutputError if it can never be made.
        """
        return self._ask({"op": SCORE} if recipe == SCORE else {"op": MAKE, "recipe": recipe})

    def close_picture(self) -> None:
        """Forget the opened picture, so that another thread may make a large one."""
        self._opened = None
        if self._holds_large:
            # Its memory stays with the process, which may keep it: a new one has none.
            self._end()
            self._holds_large = False
            self._large.release()

    def close(self) -> None:
        """End the process."""
        self.close_picture()
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, header: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        if self._process is None or not self._process.is_fit:
            self._end()
            self._process = ChildProcess("cutout.outputs.child", self._memory, WITHIN_S)
            if self._opened is not None:
                self._ask(*self._opened.as_request())
        answer = self._process.ask(header, data)
        if answer is None:
            how = self._process.end()
            self._process = None
            log.warning("a process that made an output %s", how)
            raise ChildDiedError(f"the process that made it {how}")
        if "unfit" in answer[0]:
            raise OutputError(*answer[0]["unfit"])
        return answer

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None
