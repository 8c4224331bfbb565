"""Pictures that were bought again, and whether what was bought before was in doubt or lost by then."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from cutout.enums import AttemptOutcome

Row = Any


def bought_too_soon(attempts: Iterable[Row]) -> list[str]:
    """A line for each call that began while an earlier one of its picture was out, or well paid for."""
    by_picture: dict[bytes, list[Row]] = defaultdict(list)
    for attempt in sorted(attempts, key=lambda attempt: (attempt.begun_at, attempt.id)):
        by_picture[attempt.image_sha256].append(attempt)
    return [
        f"attempt {again.id} of job {again.job_id} began at {again.begun_at}, when attempt {before.id} of job"
        f" {before.job_id}, begun at {before.begun_at}, was neither in doubt nor lost"
        for its in by_picture.values()
        for place, again in enumerate(its)
        for before in its[:place]
        if before.outcome != AttemptOutcome.NOT_CHARGED and not _is_gone(before, again)
    ]


def _is_gone(before: Row, again: Row) -> bool:
    moments = [moment for moment in (before.unknown_at, before.lost_at) if moment is not None]
    return bool(moments) and min(moments) <= again.begun_at
