"""What the auditor finds and cannot repair, as a check of health. Jobs are taken all the same."""

from collections import Counter

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, ProgrammingError

from cutout.audit.audit_run import findings
from cutout.models.database import is_away
from cutout.monitoring.health import Check

NAME = "audit"


def check_audit(engine: Engine) -> list[Check]:
    """One check; none where the database does not answer, which is another check's to report.

    What the dispatcher that leads repairs within a minute is not counted.
    """
    try:
        with engine.connect() as connection:
            found = Counter(check.description for check, _ in findings(connection) if check.repair is None)
    except DBAPIError as error:
        if is_away(error) or isinstance(error, ProgrammingError):
            return []
        raise
    if not found:
        return [Check(NAME, ok=True, found="ok", needed=False)]
    words = "; ".join(f"{number} against: {description}" for description, number in found.items())
    return [Check(NAME, ok=False, found=words, remedy="`cutout audit` names them", needed=False)]
