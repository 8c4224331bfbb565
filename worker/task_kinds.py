"""The tasks of messages, and the Celery queue of each."""

from enum import StrEnum

from cutout.enums import Step


class TaskKind(StrEnum):
    """The task that a worker does for a message."""

    CALL = "call"
    COPY = "copy"
    SERVE = "serve"
    """End the jobs of a message with cutouts bought before; this needs no call, as a copy needs none."""


QUEUES = {TaskKind.CALL: Step.CALL, TaskKind.COPY: Step.COPY, TaskKind.SERVE: Step.COPY}
