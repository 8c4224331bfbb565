"""What can come of carrying a job out; cutout.queue.settle turns each into one change of state.

"Not now" (Snooze) is another word than "failed" (Retry): it never uses up a try.
"""

import uuid
from dataclasses import dataclass

from cutout.enums import Step


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A cutout in the bucket: its key, and its bytes' SHA-256, type and size (bytes, pixels).

    `warning` says in what it differs from what was ordered, though it is what was bought.
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
    """It went wrong and may go right: counts as a try of `step`, and fails the job after the last one.

    `after_seconds` and `most_tries` override the step's backoff, where the endpoint or its code says better;
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
    """Not now, through no fault of the job's: comes back after `seconds`, no try used.

    `of_source` says that its storage does not give the source: after a day of nothing else the job fails.
    `waits_for` is a job that buys the cutout of the same picture: this one comes back when that one is done.
    """

    code: str
    message: str
    seconds: float
    of_source: bool = False
    waits_for: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The picture or the request is wrong; repeating it would change nothing."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request went out and no answer came: a credit may be spent. Bounded, then held.

    `in_outage`: the endpoint fails for all jobs, so this does not count against the job's bound.
    """

    code: str
    message: str
    in_outage: bool = False


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """Its worker died with it while no call of it was out: no try used, and counted."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The paid result died before it was stored: a credit is gone. Bounded, then held.

    `gone`: its own server said so. `again`: a person has seen the loss and retried, so it is called again.
    """

    code: str
    message: str
    gone: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Only a person can decide. `parked`: over its batch's budget, and goes on once that allows it."""

    code: str
    message: str
    parked: bool = False


Outcome = Succeeded | Retry | Snooze | Fail | Unknown | WorkerDied | Lost | Hold
