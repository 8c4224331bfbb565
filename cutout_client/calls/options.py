"""Options of requests. Those left out have the API's default; the API refuses a wrong one with its name."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict


class OutputOptions(TypedDict, total=False):
    """Forms and renditions.

    With `forms` `derived` RGBA is bought and forms are made of it, with `bought` each form is bought. With
    `full_size` outputs are as large as the source. `outputs` are renditions such as `amazon` or
    `hero: canvas=1200x1200`, and `file_name` is the template of their files' names.
    """

    forms: str | None
    full_size: bool | None
    outputs: str | Sequence[str]
    file_name: str | None


class JobOptions(OutputOptions, total=False):
    """Options of a job."""

    external_id: str | None
    return_form: str
    priority: str
    batch_id: str | None
    webhook_url: str | None
    metadata: Mapping[str, str]
    # Where an external id may exist once: `batch` or `producer`.
    unique: str


class BatchOptions(OutputOptions, total=False):
    """Options of a batch. `plan` holds its jobs until it is approved; `budget` is in credits."""

    return_form: str | Sequence[str]
    priority: str
    weight: float
    budget: int | None
    reuse: bool
    plan: bool
    metadata: Mapping[str, str]


class ListOptions(BatchOptions, total=False):
    """Options of a batch made of a list. `webhook_jobs` is none, each or digest."""

    webhook_url: str | None
    webhook_jobs: str


class ManifestOptions(BatchOptions, total=False):
    """Options of a batch made of a manifest. `many`: one id may stand for several pictures.

    `map` says which column is which, such as {"external_id": "SKU", "source": "Image URL"}; `include` and
    `exclude` are patterns for the files of a zip. `strict` stops at the first row that is rejected.
    """

    strict: bool
    encoding: str | None
    delimiter: str | None
    many: bool
    include: Sequence[str]
    exclude: Sequence[str]
    map: Mapping[str, str]


class FetchedManifestOptions(ManifestOptions, total=False):
    """Options of a batch made of a manifest at an address. `webhook_jobs` is none, each or digest."""

    webhook_url: str | None
    webhook_jobs: str


class BatchChanges(TypedDict, total=False):
    """Changes of a batch; what is left out stays. A `budget` of None is no bound."""

    name: str
    budget: int | None
    weight: float
    metadata: Mapping[str, str] | None


class ScheduleOptions(OutputOptions, total=False):
    """Options of a schedule; `budget` is of a run, `month_budget` of a month's runs, both in credits."""

    zone: str
    window: str | None
    at_window_end: str
    return_form: str | Sequence[str]
    priority: str
    weight: float
    budget: int | None
    month_budget: int | None
    reuse: bool
    encoding: str | None
    map: Mapping[str, str]
    delimiter: str | None
    many: bool
    include: Sequence[str]
    exclude: Sequence[str]
    overlap: str
    catch_up: str
    jitter_seconds: int
    grace_seconds: int
    min_source_share: float
    webhook_url: str | None
    metadata: Mapping[str, str]


class ScheduleChanges(ScheduleOptions, total=False):
    """Changes of a schedule; what is left out stays."""

    name: str
    manifest_url: str
    cron: str


class JobFilters(TypedDict, total=False):
    """Filters of a list of jobs: those that fit all. A list of values fits any of them."""

    state: str | Sequence[str]
    batch: str
    external_id: str
    code: str | Sequence[str]
    created_after: datetime
    created_before: datetime
    min_score: float
    output_state: str | Sequence[str]
    order: str


class BatchFilters(TypedDict, total=False):
    """Filters of a list of batches: those that fit all. A list of states fits any of them."""

    name: str
    state: str | Sequence[str]
    created_after: datetime
    created_before: datetime
    order: str


def fields_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a JSON body; sequences become lists."""
    made = dict(options)
    for name in ("outputs", "include", "exclude", "return_form"):
        if name in made and not isinstance(made[name], str):
            made[name] = list(made[name])
    return made
