"""The words of a schedule and of its runs."""

from enum import StrEnum


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
