"""The queue: a job's transitions, each a conditional UPDATE, so a late one changes nothing.

Each function is one statement wherever possible, so a worker needs no transaction around it. Statements that
run for every job are built once: building one costs more than running it.
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
    Acquired,
    BoughtBefore,
    TakenByOther,
    acquire_result,
    adopt_result,
    find_again,
    find_made_otherwise,
    miss_result,
)
from cutout.queue.reuse.held_pictures import HeldPicture, find_held_picture
from cutout.queue.reuse.identity import Recipe, scope_of
from cutout.queue.reuse.serve_reused import (
    Dispatched,
    ReusableJob,
    ReuseScope,
    complete_reused,
    delay,
    fetch_sources,
    find_bought,
    find_it_again,
    miss,
    requeue,
)
from cutout.queue.reuse.source_validators import SourceValidator, find_validator, save_validator
from cutout.queue.settle import RetryLimits, settle

__all__ = [
    "CANCELLABLE",
    "NOT_SENT",
    "RETRIABLE",
    "Acquired",
    "Answer",
    "BoughtBefore",
    "Claim",
    "Dispatched",
    "HeldPicture",
    "NotBegun",
    "PaidResult",
    "Recipe",
    "RetryLimits",
    "ReusableJob",
    "ReuseScope",
    "SourceValidator",
    "TakenByOther",
    "accept",
    "acquire_result",
    "adopt_result",
    "begin_attempt",
    "cancel",
    "cancel_all",
    "claim",
    "complete_reused",
    "delay",
    "end_attempt",
    "fetch_sources",
    "find_again",
    "find_bought",
    "find_held_picture",
    "find_it_again",
    "find_made_otherwise",
    "find_validator",
    "hand_back",
    "miss",
    "miss_result",
    "record_result",
    "release",
    "requeue",
    "retry",
    "retry_all",
    "save_in_lifeboat",
    "save_unexpected",
    "save_validator",
    "scope_of",
    "settle",
    "withdraw_attempt",
]
