"""Lateness as one more check of health. Jobs are taken all the same."""

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.orm import Session

from jobs.database import is_away
from jobs.explain import Installation
from jobs.health import Check
from jobs.schedules.late import Finding, late_runs, schedules_exist
from jobs.settings import Settings

NAME = "schedules"


def check_schedules(known: Settings, engine: Engine) -> list[Check]:
    """One check for each schedule that is late, or one that says that none is; none without schedules.

    A database that does not answer, or has no such tables, is another check's to report.
    """
    try:
        found = _look(known, engine)
    except DBAPIError as error:
        if is_away(error) or isinstance(error, ProgrammingError):
            return []
        raise
    return [_late(finding.text, finding.remedy) for finding in found or ()] or _well(found)


def count_late(known: Settings, engine: Engine) -> list[Check]:
    """The same as one check without any name: whoever asks has perhaps shown no key."""
    found = _look(known, engine)
    if not found:
        return _well(found)
    return [_late(f"{len(found)} late or about to be; see `cutout doctor`", "run `cutout doctor`")]


def _look(known: Settings, engine: Engine) -> list[Finding] | None:
    """What is late, or None without any schedule."""
    with Session(engine) as session:
        return late_runs(session, Installation.of(known)) if schedules_exist(session) else None


def _well(found: list[Finding] | None) -> list[Check]:
    return [] if found is None else [Check(NAME, ok=True, found="ok", needed=False)]


def _late(text: str, remedy: str) -> Check:
    return Check(NAME, ok=False, found=text, remedy=remedy, needed=False)
