import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from console.screens.late_copies import COPIED_WITHIN_S, late_copies
from cutout.monitoring.overview import read_overview
from cutout.queue.enqueue import NewJob, enqueue
from cutout.status.call_rate import CallSettings
from tests.support.steps import SOURCE

A_DAY_S = 86_400.0


@pytest.mark.parametrize(("age_s", "late"), [(30, 0), (COPIED_WITHIN_S - 60, 0), (COPIED_WITHIN_S + 60, 1)])
def test_results_count_as_late_once_they_should_be_stored(session: Session, age_s: float, late: int) -> None:
    """A result that is copied just now is no trouble: there are always some while calls are made."""
    enqueue(session, NewJob(SOURCE))
    session.execute(
        text(
            "UPDATE jobs SET step = 'copy', result_url = 'https://r/1',"
            " result_expires_at = now() + make_interval(secs => :left)"
        ),
        {"left": A_DAY_S - age_s},
    )
    assert late_copies(read_overview(session, CallSettings([])), A_DAY_S) == late
