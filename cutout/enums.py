"""Enumerations: states, steps, queue states, return forms, priorities, scopes and states of runs."""

from collections.abc import Collection
from enum import IntEnum, StrEnum


class State(StrEnum):
    """State of a job. The diagram is in docs/reference/job-states.md."""

    QUEUED = "queued"
    """Waits for its dispatch or for `scheduled_at`. The dispatcher dispatches it, a worker's claim makes it
    running. A crash of either leaves it queued."""

    RUNNING = "running"
    """A worker processes it and settles its outcome. If the worker dies, the dispatcher's rescue makes it
    queued again, at the same step."""

    HELD = "held"
    """Waits for a person to release or cancel it: the reason is in `code` and `message`."""

    SUCCEEDED = "succeeded"
    """Final. The cutout is in the bucket and was verified there."""

    FAILED = "failed"
    """Final. The reason is in `code` and `message`; retrying by hand makes it queued again."""

    CANCELLED = "cancelled"
    """Final. A person or producer cancelled it."""


FINAL_STATES = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
UNFINISHED_STATES = [state for state in State if state not in FINAL_STATES]


class Step(StrEnum):
    """The next step of a job. At `copy` the call is paid and must not be repeated."""

    CALL = "call"
    COPY = "copy"


class QueueState(StrEnum):
    """State of a queued job in the queue."""

    READY = "ready"
    """Due; the dispatcher takes it in order of priority and virtual start."""

    DISPATCHED = "dispatched"
    """A message with its fence is sent; if not claimed by `scheduled_at`, it becomes ready again."""

    REUSING = "reusing"
    """Its cutout was bought before, and no call is needed: a worker completes it without a claim if the
    bucket still holds the cutout. Otherwise it becomes ready again, by `scheduled_at` at the latest."""

    DELAYED = "delayed"
    """Not now: becomes ready at `scheduled_at`."""

    WAITING = "waiting"
    """Another job, `waits_for`, buys the cutout of the same picture. The dispatcher promotes this one once
    the other has the cutout, or does not buy it any more."""

    SOURCE_LIMIT = "source_limit"
    """Its producer has as many downloads from the web as it may: the dispatcher promotes it as they end."""

    BLOCKED = "blocked"
    """Its batch is paused or outside its window, or (held) has spent its budget: the dispatcher unblocks it
    after that."""


class Reuse(StrEnum):
    """Producers whose purchases a job may reuse (CUTOUT_REUSE)."""

    PRODUCER = "producer"
    """Its own producer; jobs without a producer reuse those of one another."""
    ALL = "all"
    """Any producer: a cutout of another producer is copied to a key of the job's own."""
    OFF = "off"
    """None: each job buys its own cutout."""


class ReturnForm(StrEnum):
    """Form of the picture that the endpoint returns."""

    RGBA = "rgba"
    """Four-channel PNG, the endpoint's default."""

    MASK = "mask"
    """One channel."""

    WHITE_BACKGROUND = "whiteBK"
    """On white."""

    CROP = "crop"
    """Four-channel PNG, cropped to what is left."""


class Unique(StrEnum):
    """Jobs among which an external id is given once for each return form."""

    BATCH = "batch"
    """The jobs of the same batch."""
    PRODUCER = "producer"
    """All jobs of the producer that ask for it."""


class Forms(StrEnum):
    """Source of a job's return form: made of bought RGBA, or bought."""

    DERIVED = "derived"
    """RGBA is bought, and the return form is derived from it."""
    BOUGHT = "bought"
    """The return form itself is bought: each form of a picture costs a credit."""


class OutputState(StrEnum):
    """State of one output of a job."""

    WAITING = "waiting"
    """A renderer makes it. A renderer's death leaves it waiting."""
    MADE = "made"
    """Final. It is in the bucket; `problems` name the rules that it does not meet."""
    FAILED = "failed"
    """Final. It was tried three times, or can never be made: the reason is in `code` and `message`."""


class BatchState(StrEnum):
    """State of a batch as a whole; derived, not stored."""

    ACTIVE = "active"
    """Some jobs have not ended (held ones included), its source is still being read, or a retry waits."""
    FINISHED = "finished"
    CANCELLING = "cancelling"
    """Nothing more is bought; jobs that run or are paid for have not ended yet."""
    CANCELLED = "cancelled"
    """It was cancelled, and all jobs have ended, some of them perhaps succeeded."""
    DELETING = "deleting"
    """Its jobs, files and messages are being deleted; then it is not found any more."""


class Priority(IntEnum):
    """Priority of a job: lower goes first."""

    INTERACTIVE = 0
    NORMAL = 1
    BULK = 2


PRIORITIES = {priority.name.lower(): priority for priority in Priority}
"""Priorities by the names that producers use."""


class AttemptOutcome(StrEnum):
    """Cost of a paid call. An attempt begins as `unknown`, and stays so if its worker dies."""

    CHARGED = "charged"
    NOT_CHARGED = "not_charged"
    UNKNOWN = "unknown"


class Stop(StrEnum):
    """Breaker that stops new calls."""

    BUCKET = "bucket"
    """The bucket takes no cutouts."""

    RESULTS = "results"
    """Paid results cannot be fetched, or are of a wrong kind."""

    BACKLOG = "backlog"
    """Too many paid results are saved nowhere yet."""


class Change(StrEnum):
    """Reason for which a run of a schedule enqueued a picture."""

    NEW = "new"
    CHANGED = "changed"
    AGAIN = "again"
    """Unchanged, but not all of its last jobs succeeded, or the source has no version to compare."""


class ActionKind(StrEnum):
    """Kind of a change that a person, a command or a producer's request made."""

    CANCEL = "cancel"
    RETRY = "retry"
    ADD_OUTPUTS = "add_outputs"
    RETRY_OUTPUTS = "retry_outputs"
    DELETE = "delete"
    """This one and those above are about a whole batch, and continue by themselves: CARRIED_OUT."""

    ADD_BATCH = "add_batch"
    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    BUDGET = "budget"
    CHANGE_BATCH = "change_batch"

    CANCEL_JOB = "cancel_job"
    RETRY_JOB = "retry_job"
    RELEASE_JOB = "release_job"
    ACCEPT_JOB = "accept_job"
    RETRY_JOB_OUTPUTS = "retry_job_outputs"
    DELETE_JOB = "delete_job"

    ADD_SCHEDULE = "add_schedule"
    CHANGE_SCHEDULE = "change_schedule"
    PAUSE_SCHEDULE = "pause_schedule"
    RESUME_SCHEDULE = "resume_schedule"
    RUN_SCHEDULE = "run_schedule"
    SKIP_RUN = "skip_run"
    RESTORE_RUN = "restore_run"
    REMOVE_SCHEDULE = "remove_schedule"

    ADD_ENDPOINT = "add_endpoint"
    CHANGE_ENDPOINT = "change_endpoint"
    TEST_ENDPOINT = "test_endpoint"
    REMOVE_ENDPOINT = "remove_endpoint"
    ROTATE_SECRET = "rotate_secret"  # noqa: S105  # nosec B105
    SHOW_SECRET = "show_secret"  # noqa: S105  # nosec B105
    REPLAY_DELIVERY = "replay_delivery"

    MAKE_KEY = "make_key"
    REVOKE_KEY = "revoke_key"
    LIMIT_PRODUCER = "limit_producer"
    SUSPEND_PRODUCER = "suspend_producer"
    RESUME_PRODUCER = "resume_producer"

    PAUSE_ALL = "pause_all"
    RESUME_ALL = "resume_all"
    FORGET_MISSING = "forget_missing"
    REPAIR = "repair"
    ERASE = "erase"
    MIGRATE = "migrate"


CARRIED_OUT = (
    ActionKind.CANCEL,
    ActionKind.RETRY,
    ActionKind.ADD_OUTPUTS,
    ActionKind.RETRY_OUTPUTS,
    ActionKind.DELETE,
)
"""Kinds that the leading dispatcher carries out in portions, unless a command does."""


class Subject(StrEnum):
    """Type of the thing that an action is about."""

    BATCH = "batch"
    JOB = "job"
    SCHEDULE = "schedule"
    ENDPOINT = "endpoint"
    DELIVERY = "delivery"
    KEY = "key"
    PRODUCER = "producer"
    EVERYTHING = "everything"
    """The whole installation."""


class Role(StrEnum):
    """Role of an actor, who asks for an action."""

    OPERATOR = "operator"
    """A person, by an operator's key."""

    PRODUCER = "producer"
    """A program, by a producer's key."""

    COMMAND = "command"
    """A user of a machine with access to the database, by the command line."""


class JobMessages(StrEnum):
    """Messages that a batch's webhook gets about its jobs."""

    NONE = "none"
    """None: only messages about the batch."""

    EACH = "each"
    """A message for each job."""

    DIGEST = "digest"
    """A message for several jobs, some seconds late."""


class DeliveryState(StrEnum):
    """State of a webhook's message."""

    WAITING = "waiting"
    """Not accepted yet: it is sent at `due_at`, and repeated for a day."""

    DELIVERED = "delivered"
    """The receiver accepted it."""

    GIVEN_UP = "given_up"
    """A day is over, or the receiver can never accept it; `last_error` says why. It can be replayed."""


class DisabledReason(StrEnum):
    """Reason for which a webhook endpoint is sent nothing."""

    BY_PRODUCER = "by_producer"
    """Its producer disabled it."""

    GONE = "gone"
    """It answered 410."""

    FAILING = "failing"
    """It accepted nothing for five days."""


class RunState(StrEnum):
    """State of one run of a schedule."""

    WAITING = "waiting"
    """Fired. The leading dispatcher starts it once no other run of its schedule is unfinished."""

    INGESTING = "ingesting"
    """Its batch exists and its source is being read."""

    WORKING = "working"
    """Its source was read; its jobs are processed, or wait for the window."""

    SUCCEEDED = "succeeded"
    """Ended: every job succeeded and no row was rejected; or there was nothing to do."""

    PARTIAL = "partial"
    """Ended: some jobs succeeded, others failed, are held or were cancelled, or rows were rejected."""

    FAILED = "failed"
    """Ended: the source could not be read, or shrank too much, or no job succeeded; the note says why."""

    OVER_BUDGET = "over_budget"
    """Ended: jobs are held because the budget of the run or of the month is spent."""

    LATE = "late"
    """Ended: the window closed before all calls were made. The others continue in the next window."""

    SKIPPED = "skipped"
    """Never started; the note says why."""


UNDER_WAY = (RunState.INGESTING, RunState.WORKING)
UNFINISHED_RUNS = (RunState.WAITING, *UNDER_WAY)


class AtWindowEnd(StrEnum):
    """Rule for calls that were not made when the window closes."""

    WAIT = "wait"
    RUN_ON = "run_on"


class Overlap(StrEnum):
    """Rule for a run that fires while another run of its schedule is unfinished."""

    SKIP = "skip"
    QUEUE = "queue"


class CatchUp(StrEnum):
    """Rule for runs that could not fire within their grace."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


class Scope(StrEnum):
    """A right of an API key, for its own producer's jobs and batches only."""

    ENQUEUE = "enqueue"
    """Create and change jobs and batches."""

    READ = "read"
    """Read jobs and batches and fetch results."""

    ADMIN = "admin"
    """The other two, and all that spends money without asking: schedules, budgets, approvals."""


USUAL_SCOPES = (Scope.ENQUEUE, Scope.READ)


class OperatorScope(StrEnum):
    """A right of an operator's key, for the work of all producers. Each includes those before it."""

    VIEW = "view"
    """Look at everything."""

    OPERATE = "operate"
    """Pause, resume, cancel, and retry at no cost."""

    SPEND = "spend"
    """Whatever may cost credits: budgets, approvals, schedules, retries that may call."""


OPERATOR_SCOPES = tuple(OperatorScope)


def operator_may(scopes: Collection[str], needed: OperatorScope) -> bool:
    """Whether an operator's key with these scopes has the right `needed`."""
    return not {str(scope) for scope in OPERATOR_SCOPES[OPERATOR_SCOPES.index(needed) :]}.isdisjoint(scopes)


def allows(scopes: Collection[str], needed: Scope) -> bool:
    """Whether a key with these scopes has the right `needed`; `admin` has all."""
    return needed in scopes or Scope.ADMIN in scopes
