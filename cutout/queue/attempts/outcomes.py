"""Outcomes of processing a job; cutout.queue.settle turns each into one change of state.

Snooze ("not now") is not Retry ("failed"): it never uses up a try.
"""

import uuid
from dataclasses import dataclass

from cutout.enums import Step


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A cutout in the bucket: its key, and its bytes' SHA-256, type and size (bytes, pixels).

    `warning` says in what a valid cutout differs from the request.
    """

    key: str
    sha256: bytes
    media_type: str
    size_bytes: int
    width: int
    height: int
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The cutout is stored and verified, in `bucket`; `reused` if it was bought before, by another job."""

    stored: StoredObject
    reused: bool = False
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """A failure that may pass: counts as a try of `step`, and fails the job after the last one.

    `after_seconds` and `most_tries` override the step's backoff, where the endpoint or the code says better;
    `at_most_seconds` bounds it, where time runs out. `gone`: the result's own server said that it is gone.
    """

    step: Step
    code: str
    message: str
    after_seconds: float | None = None
    most_tries: int | None = None
    at_most_seconds: float | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Snooze:
    """A delay for a reason outside the job ("not now"): it waits `seconds`, and no try is used.

    `of_source`: its storage does not give the source; after a day of nothing else the job fails. `waits_for`
    is a job that buys the cutout of the same picture: this one is promoted when that one is done.
    """

    code: str
    message: str
    seconds: float
    of_source: bool = False
    waits_for: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """A final failure: the picture or the request is wrong, and a retry would change nothing."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request was sent and no response came: a credit may be spent. Repeated a few times, then held.

    `in_outage`: the endpoint fails for all jobs, so this does not count against the job's limit.
    """

    code: str
    message: str
    in_outage: bool = False


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The worker died with the job while no call of it was open: no try is used, the death is counted."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The paid result expired before it was stored: a credit is lost. Repeated a few times, then held.

    `gone`: its own server said so. `again`: a person saw the loss and retried, so the job is called again.
    """

    code: str
    message: str
    gone: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Only a person can decide. `blocked`: over its batch's budget; the job continues once that allows it."""

    code: str
    message: str
    blocked: bool = False


Outcome = Succeeded | Retry | Snooze | Fail | Unknown | WorkerDied | Lost | Hold
