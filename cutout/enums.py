"""The words of a job: its states, steps, places to stand, return forms and priorities."""

from collections.abc import Collection
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
UNFINISHED_STATES = [state for state in State if state not in FINAL_STATES]


class Step(StrEnum):
    """What is still to do. `copy` means the call is paid and must not be repeated."""

    CALL = "call"
    COPY = "copy"


class QueueState(StrEnum):
    """Where a queued job stands."""

    READY = "ready"
    """Due; the dispatcher takes it in order of priority and place."""

    DISPATCHED = "dispatched"
    """A message with its fence is on its way; unless claimed by `scheduled_at`, it rejoins the line."""

    REUSING = "reusing"
    """Its cutout was bought before, and no call is needed: a worker ends it without a claim once it saw that
    the bucket still holds the cutout. Otherwise it rejoins the line, by `scheduled_at` at the latest."""

    DELAYED = "delayed"
    """Not now: rejoins the line at `scheduled_at`."""

    WAITING = "waiting"
    """Another job, `waits_for`, buys the cutout of the same picture. The dispatcher puts it back in line once
    that one has it, or does not buy it any more."""

    SOURCE_LIMIT = "source_limit"
    """Its producer has as many sources on the web being downloaded as it may: the dispatcher puts it back in
    line as they end."""

    BLOCKED = "blocked"
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


class RunState(StrEnum):
    """Where one run of a schedule is."""

    WAITING = "waiting"
    """Fired. The leading dispatcher begins it once no other run of its schedule is under way."""

    INGESTING = "ingesting"
    """Its batch exists and its source is being read."""

    WORKING = "working"
    """Its source was read; its jobs are under way, or wait for the window."""

    SUCCEEDED = "succeeded"
    """Ended: every job succeeded and no row was rejected; or there was nothing to do."""

    PARTIAL = "partial"
    """Ended: some jobs succeeded, others failed, are held or were cancelled, or rows were rejected."""

    FAILED = "failed"
    """Ended: the source could not be read, or shrank too much, or no job succeeded; the note says why."""

    OVER_BUDGET = "over_budget"
    """Ended: jobs are held because the budget of the run or of the month is spent."""

    LATE = "late"
    """Ended: the window closed before all calls were made. What is left goes on in the next window."""

    SKIPPED = "skipped"
    """Never begun; the note says why."""


UNDER_WAY = (RunState.INGESTING, RunState.WORKING)
UNFINISHED_RUNS = (RunState.WAITING, *UNDER_WAY)


class AtWindowEnd(StrEnum):
    """What becomes of calls that were not made when the window closes."""

    WAIT = "wait"
    RUN_ON = "run_on"


class Overlap(StrEnum):
    """What becomes of a run that fires while another of its schedule is under way."""

    SKIP = "skip"
    QUEUE = "queue"


class CatchUp(StrEnum):
    """What becomes of runs that could not fire within their grace."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


class Scope(StrEnum):
    """A right that a key has. All of them end at its own producer's jobs and batches."""

    ENQUEUE = "enqueue"
    """Make and change jobs and batches."""

    READ = "read"
    """Look at jobs and batches and fetch results."""

    ADMIN = "admin"
    """The other two, and what spends money by itself: schedules, budgets, approvals."""


USUAL_SCOPES = (Scope.ENQUEUE, Scope.READ)


def allows(scopes: Collection[str], needed: Scope) -> bool:
    """Whether a key with these scopes may do it; `admin` may do everything."""
    return needed in scopes or Scope.ADMIN in scopes
