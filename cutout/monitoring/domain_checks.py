"""Health checks of the data: late schedules, keys that expire soon, findings that only a person can repair.

They return nothing where Postgres is unreachable or has no schema, which other checks report.
"""

from collections import Counter

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cutout.audit.audit_run import findings
from cutout.monitoring.check import Check, failed, is_reported_elsewhere, passed
from cutout.producers.key_expiry import expiring_keys
from cutout.schedules.lateness import LateSchedule, late_schedules, schedules_exist
from cutout.settings import Settings
from cutout.status.call_rate import CallSettings


def check_audit(engine: Engine) -> list[Check]:
    """Check that the auditor finds nothing that only a person can repair; the dispatcher repairs the rest."""
    try:
        with engine.connect() as connection:
            found = Counter(check.description for check, _ in findings(connection) if check.repair is None)
    except DBAPIError as error:
        if is_reported_elsewhere(error):
            return []
        raise
    if not found:
        return [passed("audit")]
    text = "; ".join(f"{number} violate: {description}" for description, number in found.items())
    return [failed("audit", text, "see the rows with `cutout audit`")]


def check_schedules(settings: Settings, engine: Engine) -> list[Check]:
    """One failed check for each late schedule, or a passed one; none without schedules."""
    try:
        found = _find_late(settings, engine)
    except DBAPIError as error:
        if is_reported_elsewhere(error):
            return []
        raise
    if not found:
        return _none_late(found)
    return [failed("schedules", late.text, late.remedy) for late in found]


def check_keys(engine: Engine) -> list[Check]:
    """One check for each key that expires within 14 days; none without any. Nothing is wrong yet."""
    try:
        with Session(engine) as session:
            found = [
                (key.name, key.expires_at, owner.id if owner else None)
                for key, owner in expiring_keys(session)
            ]
    except DBAPIError as error:
        if is_reported_elsewhere(error):
            return []
        raise
    return [
        Check(
            "keys",
            ok=True,
            found=f"the key {name!r} of {f'producer {owner}' if owner else 'an operator'} expires at"
            f" {ends:%Y-%m-%d %H:%M} UTC",
            remedy="give its user another: `cutout keys make"
            f" {f'NAME --producer {owner}' if owner else '--operator NAME'}`",
            needed=False,
        )
        for name, ends, owner in found
    ]


def count_late(settings: Settings, engine: Engine) -> list[Check]:
    """One check without any schedule's name, for callers that may have shown no key."""
    found = _find_late(settings, engine)
    if not found:
        return _none_late(found)
    text = f"{len(found)} late or about to be; see `cutout doctor`"
    return [failed("schedules", text, "run `cutout doctor`")]


def _find_late(settings: Settings, engine: Engine) -> list[LateSchedule] | None:
    """The late schedules; None if there are no schedules at all."""
    with Session(engine) as session:
        return late_schedules(session, CallSettings.of(settings)) if schedules_exist(session) else None


def _none_late(found: list[LateSchedule] | None) -> list[Check]:
    return [] if found is None else [passed("schedules")]
