"""What a message sends a worker for, and the queue that it goes through."""

from enum import StrEnum

from cutout.enums import Step


class TaskKind(StrEnum):
    """One of these for each kind of message."""

    CALL = "call"
    COPY = "copy"
    SERVE = "serve"
    """For a message of jobs: hand over what was bought before. As with a copy, no call is to be waited for."""


QUEUES = {TaskKind.CALL: Step.CALL, TaskKind.COPY: Step.COPY, TaskKind.SERVE: Step.COPY}
