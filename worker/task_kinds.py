"""The tasks of messages, and the Celery queue of each."""

from enum import StrEnum

from cutout.enums import Step


class TaskKind(StrEnum):
    """The task that a worker does for a message."""

    CALL = "call"
    COPY = "copy"
    SERVE = "serve"
    """End the jobs of a message with cutouts bought before. It needs no call, so the copies' queue carries it."""


QUEUES = {TaskKind.CALL: Step.CALL, TaskKind.COPY: Step.COPY, TaskKind.SERVE: Step.COPY}
