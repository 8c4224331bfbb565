"""A job's way through its states. Each change is a conditional UPDATE: whoever comes late changes nothing.

Each function is one statement wherever it can be, so that a worker needs no transaction around it.
The statements on every job's way are built once: building one costs more than running it.
"""

from cutout.queue.actions import CANCELLABLE, RETRIABLE, cancel, cancel_all, release, retry, retry_all
from cutout.queue.attempts.attempts import (
    Answer,
    NotBegun,
    begin_attempt,
    end_attempt,
    record_result,
    save_in_lifeboat,
    withdraw_attempt,
)
from cutout.queue.attempts.unexpected_results import accept, save_unexpected
from cutout.queue.claims import NOT_SENT, Claim, PaidResult, claim, hand_back
from cutout.queue.reuse.acquire import (
    BoughtBefore,
    Mine,
    Remembered,
    Theirs,
    adopt_result,
    find_again,
    find_made_otherwise,
    miss_result,
    recall_source,
    remember_source,
    take_result,
)
from cutout.queue.reuse.held_pictures import HeldPicture, find_held_picture
from cutout.queue.reuse.identity import Making, scope_of
from cutout.queue.reuse.serve_reused import (
    Bought,
    HandedOut,
    Shelf,
    find_bought,
    find_it_again,
    miss,
    put_back,
    put_off,
    serve,
)
from cutout.queue.settle import Bounds, settle

__all__ = [
    "CANCELLABLE",
    "NOT_SENT",
    "RETRIABLE",
    "Answer",
    "Bought",
    "BoughtBefore",
    "Bounds",
    "Claim",
    "HandedOut",
    "HeldPicture",
    "Making",
    "Mine",
    "NotBegun",
    "PaidResult",
    "Remembered",
    "Shelf",
    "Theirs",
    "accept",
    "adopt_result",
    "begin_attempt",
    "cancel",
    "cancel_all",
    "claim",
    "end_attempt",
    "find_again",
    "find_bought",
    "find_held_picture",
    "find_it_again",
    "find_made_otherwise",
    "hand_back",
    "miss",
    "miss_result",
    "put_back",
    "put_off",
    "recall_source",
    "record_result",
    "release",
    "remember_source",
    "retry",
    "retry_all",
    "save_in_lifeboat",
    "save_unexpected",
    "scope_of",
    "serve",
    "settle",
    "take_result",
    "withdraw_attempt",
]
