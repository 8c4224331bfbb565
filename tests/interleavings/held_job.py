"""A job that a worker holds, with the worker's progress."""

import uuid
from dataclasses import dataclass

from cutout.queue.claims import Claim


@dataclass(eq=False)
class HeldJob:
    """A claim of a worker. `attempt_id` is set once a call began, `url` once it was charged and is unread.

    `buys` is set once this job is the buyer of the cutout.
    """

    worker: uuid.UUID
    claim: Claim
    attempt_id: int | None = None
    url: str | None = None
    buys: bool = False

    @property
    def is_calling(self) -> bool:
        """Whether a call of it is open."""
        return self.attempt_id is not None

    @property
    def acquires(self) -> bool:
        """Whether its next step is to acquire the cutout."""
        return not (self.buys or self.is_calling or self.copies)

    @property
    def may_begin(self) -> bool:
        """Whether its next step is to begin a call."""
        return self.buys and not (self.is_calling or self.copies)

    @property
    def copies(self) -> bool:
        """Whether its next step is the copy."""
        return self.claim.result is not None
