"""Jobs and their pictures, as the API shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """The delivered picture, in its form and final size: its key in the bucket, its type, hash and size."""

    key: str
    media_type: str
    sha256: str
    size_bytes: int
    width: int
    height: int
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class BoughtPicture:
    """The picture that was bought, of which the outputs are made; `form` is its form."""

    form: str
    key: str
    media_type: str
    sha256: str
    size_bytes: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Output:
    """A file made of what was bought: the form at full size, or a rendition.

    `state` is waiting, made or failed; `key` to `factor` are None unless it is made. `problems` are the
    demands of its rule that it does not meet, `measures` what was measured of it, by name.
    """

    name: str
    state: str
    key: str | None
    media_type: str | None
    sha256: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    factor: float | None
    derived_from: str
    recipe: str
    version: int | None
    measures: Mapping[str, Any] | None
    problems: tuple[str, ...]
    note: str | None
    error: JobError | None

    @property
    def is_final(self) -> bool:
        """Whether it is made or failed."""
        return self.state != "waiting"


@dataclass(frozen=True, slots=True)
class ScoreReason:
    """A measure that makes a cutout suspicious, with its value and as a sentence."""

    measure: str
    value: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Score:
    """Suspicion of a cutout, from 0 to 1, and the reasons."""

    score: float
    reasons: tuple[ScoreReason, ...]


@dataclass(frozen=True, slots=True)
class Unexpected:
    """Unexpected bytes that came for a paid call, and why they are none of a cutout."""

    reason: str
    media_type: str
    size_bytes: int
    width: int | None
    height: int | None
    accepted: bool


@dataclass(frozen=True, slots=True)
class Job:
    """A job. `state` is queued, running, held, succeeded, failed or cancelled.

    `result` is None until it is made, which may be after the job has succeeded. `poll_after_seconds` says
    when to look again; `etag` is for `if_match`.
    """

    id: str
    state: str
    external_id: str | None
    batch_id: str | None
    return_form: str
    step: str
    tries: int
    credits: int
    scheduled_at: datetime
    created_at: datetime
    finished_at: datetime | None
    cancelled_at: datetime | None
    error: JobError | None
    result: Result | None
    bought: BoughtPicture | None
    outputs: tuple[Output, ...]
    score: Score | None
    unexpected: Unexpected | None
    source_kind: str | None = None
    source_url: str | None = None
    forms: str | None = None
    full_size: bool | None = None
    renditions: tuple[str, ...] = ()
    file_name: str | None = None
    priority: str | None = None
    unique: str | None = None
    webhook_host: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    poll_after_seconds: int | None = None
    etag: str | None = field(default=None, compare=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def has_all_outputs(self) -> bool:
        """Whether no output of it is waiting."""
        return all(output.is_final for output in self.outputs)

    @property
    def is_final(self) -> bool:
        """Whether the job has ended. Only a retry changes it."""
        return self.state in FINAL

    @property
    def needs_nobody(self) -> bool:
        """Whether the job continues by itself; a held job waits for a person."""
        return not self.is_final and self.state != "held"


@dataclass(frozen=True, slots=True)
class OutputExplanation:
    """Why an output is not made yet, or why it failed."""

    name: str
    state: str
    text: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is where it is: `why` for programs, `text` and `remedy` for people.

    `ahead` counts the calls before it; `until` is when it is expected to move on.
    """

    state: str
    why: str
    text: str
    remedy: str | None
    ahead: int | None
    until: datetime | None
    outputs: tuple[OutputExplanation, ...]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class DeletedPart:
    """A part of a deleted job, such as its cutout; `why` says why it is kept, or when it goes."""

    what: str
    key: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Deletion:
    """Parts of a job that were removed, and those that were kept."""

    id: str
    removed: tuple[DeletedPart, ...]
    kept: tuple[DeletedPart, ...]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
