"""Jobs and batches as the API shows them. Fields that a newer API adds are only in `raw`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

FINAL = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class JobError:
    """Reason why a job failed, is held or is delayed."""

    code: str
    message: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """A cutout: its key in the bucket, its type, hash and size."""

    key: str
    media_type: str
    sha256: str
    size_bytes: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Job:
    """A picture's cutout. `state` is queued, running, held, succeeded, failed or cancelled."""

    id: str
    state: str
    external_id: str | None
    batch_id: str | None
    return_form: str
    credits: int
    created_at: datetime
    finished_at: datetime | None
    error: JobError | None
    result: Result | None
    raw: Mapping[str, Any]

    @property
    def is_final(self) -> bool:
        """Whether the job has ended. Only a retry changes it."""
        return self.state in FINAL

    @property
    def needs_nobody(self) -> bool:
        """Whether the job continues by itself; a held job waits for a person."""
        return not self.is_final and self.state != "held"


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs enqueued together, counted by state."""

    id: str
    name: str
    total: int
    counts: Mapping[str, int]
    created_at: datetime
    finished_at: datetime | None
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job for a new batch. Without a return form it has the batch's."""

    external_id: str
    source_url: str
    return_form: str | None = None


def job_of(view: Mapping[str, Any]) -> Job:
    """The job in an answer."""
    error, result = view["error"], view["result"]
    return Job(
        id=view["id"],
        state=view["state"],
        external_id=view["external_id"],
        batch_id=view["batch_id"],
        return_form=view["return_form"],
        credits=view["credits"],
        created_at=_time(view["created_at"]),
        finished_at=_time(view["finished_at"]) if view["finished_at"] else None,
        error=JobError(error["code"], error["message"]) if error else None,
        result=Result(**{name: result[name] for name in Result.__slots__}) if result else None,
        raw=view,
    )


def batch_of(view: Mapping[str, Any]) -> Batch:
    """The batch in an answer."""
    return Batch(
        id=view["id"],
        name=view["name"],
        total=view["total"],
        counts=view["counts"],
        created_at=_time(view["created_at"]),
        finished_at=_time(view["finished_at"]) if view["finished_at"] else None,
        raw=view,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
