"""Changes that people and producers ask for, each with its row in `actions`, in one transaction.

API, commands and pages make their changes by these functions alone. Each takes the request (`Asked`: who, and
why) and records it in the transaction that makes the change; None, or False, says that nothing changed, and
then nothing is recorded. An operator's key that lacks the right is refused there (`RightMissingError`).
"""

from cutout.producers.action_record import EVERYTHING, ONE, About, Extent, about_batch, about_job, record
from cutout.producers.action_rights import RightMissingError, may, right_for
from cutout.producers.actors import Actor, Asked, ReasonError

__all__ = [
    "EVERYTHING",
    "ONE",
    "About",
    "Actor",
    "Asked",
    "Extent",
    "ReasonError",
    "RightMissingError",
    "about_batch",
    "about_job",
    "may",
    "record",
    "right_for",
]
