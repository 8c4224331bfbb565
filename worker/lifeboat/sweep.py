"""Removal of lifeboat entries that no job needs any more."""

import logging
import uuid
from functools import partial
from typing import Protocol

from sqlalchemy import Engine, select

from cutout.enums import FINAL_STATES
from cutout.models import JOBS
from cutout.models.database import Database, patiently
from worker.lifeboat.lifeboat_errors import LifeboatError

log = logging.getLogger(__name__)

AT_ONCE = 1000


class Sweepable(Protocol):
    """The methods of a lifeboat that a sweep needs."""

    def keys(self) -> list[str]: ...

    def remove(self, key: str) -> None: ...


def sweep(lifeboat: Sweepable, engine: Engine) -> None:
    """Remove the entries of jobs in a final state: their worker died before it could, or they were cancelled.

    Any other entry stays. Even one that no job names may be the last copy: its worker may have died between
    saving it and recording that. A lifeboat that cannot be reached is logged and left for the next start.
    """
    try:
        keys = lifeboat.keys()
        for first in range(0, len(keys), AT_ONCE):
            for key in patiently(engine, partial(_of_final_jobs, keys=keys[first : first + AT_ONCE])):
                lifeboat.remove(key)
    except LifeboatError as error:
        log.error("the lifeboat cannot be swept: %s", error)  # noqa: TRY400 - the message is enough


def _of_final_jobs(database: Database, keys: list[str]) -> list[str]:
    final = select(JOBS.c.id).where(JOBS.c.id.in_(map(uuid.UUID, keys)), JOBS.c.state.in_(FINAL_STATES))
    return [str(job_id) for job_id in database.scalars(final)]
