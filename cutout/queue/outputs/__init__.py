"""The queue of outputs: claimed by picture, producers in turn, and finished under a fence."""

from cutout.queue.outputs.claim import (
    ClaimedOutput,
    ClaimedPicture,
    claim_picture,
    others_wait,
    release,
    renew,
)
from cutout.queue.outputs.finish import (
    MOST_TRIES,
    RELEASED_FOR,
    MadeOutput,
    adopt,
    delay,
    fail,
    finish,
    is_valid,
    is_withdrawn,
    remake,
)
from cutout.queue.outputs.made_before import MadeBefore, find_made
from cutout.queue.outputs.renderers import beat, leave

__all__ = [
    "MOST_TRIES",
    "RELEASED_FOR",
    "ClaimedOutput",
    "ClaimedPicture",
    "MadeBefore",
    "MadeOutput",
    "adopt",
    "beat",
    "claim_picture",
    "delay",
    "fail",
    "find_made",
    "finish",
    "is_valid",
    "is_withdrawn",
    "leave",
    "others_wait",
    "release",
    "remake",
    "renew",
]
