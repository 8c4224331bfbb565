import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from console.screens.unsaved_results import COPIED_WITHIN_S, unsaved_results
from cutout.monitoring.overview import read_overview
from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.status.call_rate import CallSettings
from tests.support.machine import scaled
from tests.support.steps import SOURCE

A_DAY_S = 86_400.0


@pytest.mark.parametrize(("age_s", "late"), [(30, 0), (COPIED_WITHIN_S - 60, 0), (COPIED_WITHIN_S + 60, 1)])
def test_results_count_as_late_once_they_should_be_stored(session: Session, age_s: float, late: int) -> None:
    """A result that is copied just now is no trouble: there are always some while calls are made."""
    buy(session, 1, age_s)
    assert unsaved_results(read_overview(session, CallSettings([])), A_DAY_S).late == late


@pytest.mark.parametrize(
    ("count", "age_s", "is_slow"),
    [(5, 5, False), (5, 20, True), (1, 20, False), (5, COPIED_WITHIN_S + 60, False)],
)
def test_several_results_that_wait_for_seconds_are_told(
    session: Session, count: int, age_s: float, *, is_slow: bool
) -> None:
    """A bucket that hangs ends no request for half a minute; one result alone may be tried again."""
    buy(session, count, age_s)
    unsaved = unsaved_results(read_overview(session, CallSettings([])), A_DAY_S)
    assert unsaved.are_slow == is_slow
    assert unsaved.count == count
    assert unsaved.age_s == pytest.approx(age_s, abs=scaled(2))


def test_none_is_neither_late_nor_slow(session: Session) -> None:
    unsaved = unsaved_results(read_overview(session, CallSettings([])), A_DAY_S)
    assert (unsaved.count, unsaved.late, unsaved.are_slow) == (0, 0, False)


def buy(session: Session, count: int, age_s: float) -> None:
    """Jobs whose results were paid for so many seconds ago."""
    enqueue_all(session, [NewJob(SOURCE)] * count)
    session.execute(
        text(
            "UPDATE jobs SET step = 'copy', result_url = 'https://r/1',"
            " result_expires_at = now() + make_interval(secs => :left)"
        ),
        {"left": A_DAY_S - age_s},
    )
