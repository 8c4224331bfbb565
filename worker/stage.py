"""Stages of a job's processing: each is timed, and is a span of the job's trace."""

import time
from types import TracebackType
from typing import Self

from cutout.telemetry import traces
from worker.metrics import STAGE_SECONDS

PREPARE, SLOT, TURN, CALL, COPY = STAGES = ("prepare", "slot", "turn", "call", "copy")

_SECONDS = {stage: STAGE_SECONDS.labels(stage) for stage in STAGES}


class Stage:
    """The context of one stage; its seconds are counted also if it ends in an error."""

    __slots__ = ("_began", "_name", "_span")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> Self:
        self._span = traces.span(self._name)
        self._span.__enter__()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _SECONDS[self._name].observe(time.perf_counter() - self._began)
        self._span.__exit__(kind, error, trace)
