"""A claimed job in the hands of a worker, as far as the worker has got with it."""

import uuid
from dataclasses import dataclass

from cutout.queue.claims import Claim


@dataclass(eq=False)
class Hand:
    """`attempt_id` once a call was begun, `url` once the endpoint charged for it and the answer is unread.

    `buys` once it is this job's to buy the cutout.
    """

    worker: uuid.UUID
    claim: Claim
    attempt_id: int | None = None
    url: str | None = None
    buys: bool = False

    @property
    def is_calling(self) -> bool:
        """Whether a call of it is out."""
        return self.attempt_id is not None

    @property
    def asks(self) -> bool:
        """Whether its next step is to ask whose it is to buy the cutout."""
        return not (self.buys or self.is_calling or self.copies)

    @property
    def may_begin(self) -> bool:
        """Whether its next step is to begin a call."""
        return self.buys and not (self.is_calling or self.copies)

    @property
    def copies(self) -> bool:
        """Whether its next step is the copy."""
        return self.claim.result is not None
