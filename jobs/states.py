"""The words of a job: its states, steps, places to stand, return forms and priorities."""

from enum import IntEnum, StrEnum


class State(StrEnum):
    """Where a job is. The picture is in docs/reference/job-states.md."""

    QUEUED = "queued"
    """Waits for its turn or for `scheduled_at`. The dispatcher hands it out, a worker's claim moves it on.
    After a crash of either it is still here."""

    RUNNING = "running"
    """A worker carries it out. That worker's verdict moves it on; if the worker is gone, the dispatcher's
    rescue puts it back, at the same step."""

    HELD = "held"
    """Waits for a person: the reason is in `code` and `message`. Releasing or cancelling moves it on."""

    SUCCEEDED = "succeeded"
    """Final. The cutout is in the bucket and was verified there."""

    FAILED = "failed"
    """Final. The reason is in `code` and `message`; retrying by hand makes it queued again."""

    CANCELLED = "cancelled"
    """Final. A person or producer withdrew it."""


FINAL_STATES = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Step(StrEnum):
    """What is still to do. `copy` means the call is paid and must not be repeated."""

    CALL = "call"
    COPY = "copy"


class Standing(StrEnum):
    """Where a queued job stands."""

    IN_LINE = "in_line"
    """Due; the dispatcher takes it in order of priority and place."""

    HANDED_OUT = "handed_out"
    """A message with its fence is on its way; unless claimed by `scheduled_at`, it rejoins the line."""

    SERVING = "serving"
    """Its cutout was bought before, and no call is needed: a worker ends it without a claim once it saw that
    the bucket still holds the cutout. Otherwise it rejoins the line, by `scheduled_at` at the latest."""

    RESTING = "resting"
    """Not now: rejoins the line at `scheduled_at`."""

    WAITING = "waiting"
    """Another job, `waits_for`, buys the cutout of the same picture. The dispatcher puts it back in line once
    that one has it, or does not buy it any more."""

    SOURCE_LIMIT = "source_limit"
    """Its producer has as many sources on the web being downloaded as it may: the dispatcher puts it back in
    line as they end."""

    PARKED = "parked"
    """Its batch is paused or outside its window, or (held) has spent its budget: the dispatcher puts it back
    in line after that."""


class Reuse(StrEnum):
    """Whose purchases a job may be served from (CUTOUT_REUSE)."""

    PRODUCER = "producer"
    """Those of its own producer; jobs without a producer have those of one another."""
    ALL = "all"
    """Those of any producer: what another one bought is copied to a key of the job's own."""
    OFF = "off"
    """None: each job buys its own."""


class ReturnForm(StrEnum):
    """What the endpoint returns."""

    RGBA = "rgba"
    """Four-channel PNG, the endpoint's default."""

    MASK = "mask"
    """One channel."""

    WHITE_BACKGROUND = "whiteBK"
    """On white."""

    CROP = "crop"
    """Four-channel PNG, cropped to what is left."""


class Priority(IntEnum):
    """Lower goes first."""

    INTERACTIVE = 0
    NORMAL = 1
    BULK = 2


PRIORITIES = {priority.name.lower(): priority for priority in Priority}
"""By the words that producers use."""


class AttemptOutcome(StrEnum):
    """What a paid call cost. A row begins as `unknown` and stays so if nobody lives to tell."""

    CHARGED = "charged"
    NOT_CHARGED = "not_charged"
    UNKNOWN = "unknown"


class Stop(StrEnum):
    """What stops new calls by itself: which breaker."""

    BUCKET = "bucket"
    """The bucket takes no cutouts."""

    RESULTS = "results"
    """Paid results cannot be fetched, or are of a wrong kind."""

    BACKLOG = "backlog"
    """Too many paid results are saved nowhere yet."""


class Change(StrEnum):
    """Why a run of a schedule enqueued a picture."""

    NEW = "new"
    CHANGED = "changed"
    AGAIN = "again"
    """It is as it was and its last jobs did not all succeed, or its source does not say what it is."""


class JobMessages(StrEnum):
    """What a batch's webhook is told of its jobs."""

    NONE = "none"
    """Nothing: of the batch alone."""

    EACH = "each"
    """A message for each."""

    DIGEST = "digest"
    """A message for many, some seconds late."""


class DeliveryState(StrEnum):
    """Where a webhook's message is."""

    WAITING = "waiting"
    """Not taken yet: it is sent at `due_at`, again and again for a day."""

    DELIVERED = "delivered"
    """The receiver said that it has it."""

    GIVEN_UP = "given_up"
    """A day is over, or the receiver can never take it; `last_error` says why. It can be replayed."""
