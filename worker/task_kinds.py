"""What a message sends a worker for, and the queue that it goes through."""

from enum import StrEnum

from cutout.enums import Step


class Errand(StrEnum):
    """One of these for each kind of message."""

    CALL = "call"
    COPY = "copy"
    SERVE = "serve"
    """For a parcel of jobs: hand over what was bought before. As with a copy, no call is to be waited for."""


QUEUES = {Errand.CALL: Step.CALL, Errand.COPY: Step.COPY, Errand.SERVE: Step.COPY}
