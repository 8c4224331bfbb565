"""A job's way through its states. Each change is a conditional UPDATE: whoever comes late changes nothing.

Each function is one statement wherever it can be, so that a worker needs no transaction around it.
The statements on every job's way are built once: building one costs more than running it.
"""

from jobs.store.claims import NOT_SENT, Claim, PaidResult, claim
from jobs.store.hands import cancel, retry
from jobs.store.ledger import Answer, begin_attempt, end_attempt, record_result
from jobs.store.settling import settle

__all__ = [
    "NOT_SENT",
    "Answer",
    "Claim",
    "PaidResult",
    "begin_attempt",
    "cancel",
    "claim",
    "end_attempt",
    "record_result",
    "retry",
    "settle",
]
