import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cutout.billing import accounts
from cutout.billing.reconcile import (
    LONGEST_CALL,
    LONGEST_READING,
    CallsBetween,
    Reading,
    SlowReadingError,
    calls_between,
    compare,
    in_credits,
    last_reading,
    record_reading,
)
from cutout.enums import AttemptOutcome
from cutout.models import Attempt, CreditReading
from cutout.queue.enqueue import NewJob, enqueue
from tests.support.steps import ACCOUNT, SOURCE

MOMENT = timedelta(milliseconds=1)
EARLIER = Reading(ACCOUNT, datetime(2026, 3, 1, 12, tzinfo=UTC), 100.0)
LATER = Reading(ACCOUNT, datetime(2026, 3, 1, 18, tzinfo=UTC), 90.0)
# Around each reading: before the balance can have been read, and after it was.
BEFORE_EARLIER, AFTER_EARLIER = EARLIER.read_at - LONGEST_READING, EARLIER.read_at
BEFORE_LATER, AFTER_LATER = LATER.read_at - LONGEST_READING, LATER.read_at
CHARGED, NOT_CHARGED, UNKNOWN = AttemptOutcome.CHARGED, AttemptOutcome.NOT_CHARGED, AttemptOutcome.UNKNOWN


def add_call(
    session: Session,
    begun_at: datetime,
    ended_at: datetime | None,
    outcome: AttemptOutcome = CHARGED,
    account: str = ACCOUNT,
) -> None:
    """A call of a job of its own, with these times."""
    accounts.ensure(session, account)
    session.add(
        Attempt(
            job_id=enqueue(session, NewJob(SOURCE)),
            number=1,
            fence=1,
            worker_id=uuid.uuid4(),
            account=account,
            image_sha256=b"x",
            outcome=outcome,
            begun_at=begun_at,
            ended_at=ended_at,
        )
    )
    session.flush()


def counted(session: Session) -> CallsBetween:
    return calls_between(session, EARLIER, LATER)


class TestReadings:
    def test_of_an_account_that_was_never_read_are_none(self, session: Session) -> None:
        """Before its first reading an account has none, whatever other accounts have."""
        accounts.ensure(session, "other")
        record_reading(session, "other", 5.0)
        assert last_reading(session, ACCOUNT) is None

    def test_are_kept_and_the_last_one_is_found(self, session: Session) -> None:
        """Each reading is kept; the last is the one read last by the database's clock."""
        accounts.ensure(session, ACCOUNT)
        before = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        first, second = (record_reading(session, ACCOUNT, balance) for balance in (10.5, 9.0))
        after = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        assert before < first.read_at < second.read_at < after
        assert last_reading(session, ACCOUNT) == second
        assert session.scalars(select(CreditReading.balance).order_by(CreditReading.id)).all() == [10.5, 9.0]

    def test_that_took_too_long_are_not_kept(self, session: Session) -> None:
        """A slow reading is refused with its duration and the remedy."""
        accounts.ensure(session, ACCOUNT)
        longest = LONGEST_READING.total_seconds()
        with pytest.raises(SlowReadingError, match=r"took 5\.5 s .* try again"):
            record_reading(session, ACCOUNT, 1.0, took_s=longest + 0.5)
        assert last_reading(session, ACCOUNT) is None
        record_reading(session, ACCOUNT, 1.0, took_s=longest)
        assert last_reading(session, ACCOUNT) is not None


class TestTheCallsBetween:
    def test_are_none_when_nothing_called(self, session: Session) -> None:
        """An empty ledger allows for no credits spent."""
        assert counted(session) == CallsBetween()

    def test_that_were_charged_began_and_ended_between(self, session: Session) -> None:
        """Both bounds count: from the earlier reading until the later one can have begun."""
        add_call(session, AFTER_EARLIER, BEFORE_LATER)
        assert counted(session) == CallsBetween(charged=1)

    @pytest.mark.parametrize(
        ("begun_at", "ended_at"),
        [
            (BEFORE_EARLIER - MOMENT, BEFORE_EARLIER + MOMENT),
            (AFTER_EARLIER - MOMENT, AFTER_EARLIER + MOMENT),
            (BEFORE_LATER - MOMENT, BEFORE_LATER + MOMENT),
            (AFTER_LATER - MOMENT, AFTER_LATER + MOMENT),
            (BEFORE_EARLIER - MOMENT, AFTER_LATER + MOMENT),
        ],
    )
    def test_may_lie_on_either_side_of_a_reading_they_were_out_at(
        self, session: Session, begun_at: datetime, ended_at: datetime
    ) -> None:
        """A charged call that was open during a reading is counted apart."""
        add_call(session, begun_at, ended_at)
        assert counted(session) == CallsBetween(either=1)

    @pytest.mark.parametrize("outcome", [CHARGED, UNKNOWN])
    @pytest.mark.parametrize(
        ("begun_at", "ended_at"),
        [
            (BEFORE_EARLIER - timedelta(minutes=1), BEFORE_EARLIER),
            (AFTER_LATER, AFTER_LATER + timedelta(minutes=1)),
            (BEFORE_EARLIER - LONGEST_CALL, AFTER_LATER),
        ],
    )
    def test_leave_out_what_was_charged_before_or_after(
        self, session: Session, begun_at: datetime, ended_at: datetime, outcome: AttemptOutcome
    ) -> None:
        """Calls that ended before, began after, or began an hour before the first reading do not count."""
        add_call(session, begun_at, ended_at, outcome)
        assert counted(session) == CallsBetween()

    @pytest.mark.parametrize(
        ("begun_at", "ended_at"),
        [
            (AFTER_EARLIER, BEFORE_LATER),
            (BEFORE_EARLIER - MOMENT, AFTER_EARLIER),
            (AFTER_EARLIER, None),
            (BEFORE_EARLIER - MOMENT, None),
            (AFTER_LATER - MOMENT, None),
        ],
    )
    def test_are_unknown_without_an_answer(
        self, session: Session, begun_at: datetime, ended_at: datetime | None
    ) -> None:
        """A call given up or still open is unknown wherever it lies."""
        add_call(session, begun_at, ended_at, UNKNOWN)
        assert counted(session) == CallsBetween(unknown=1)

    def test_leave_out_what_was_not_charged_and_other_accounts(self, session: Session) -> None:
        """Refusals cost nothing, and other accounts pay for their own calls."""
        add_call(session, AFTER_EARLIER, BEFORE_LATER, NOT_CHARGED)
        add_call(session, AFTER_EARLIER, AFTER_LATER, NOT_CHARGED)
        add_call(session, AFTER_EARLIER, BEFORE_LATER, account="other")
        add_call(session, AFTER_EARLIER, None, UNKNOWN, account="other")
        assert counted(session) == CallsBetween()


class TestComparing:
    CALLS = CallsBetween(charged=10, either=3, unknown=2)

    @pytest.mark.parametrize("spent", [10, 10.5, 12, 15])
    def test_adds_up_from_the_charged_to_all_that_may_be(self, spent: float) -> None:
        """Both bounds agree: the charged calls alone, and together with all calls in doubt."""
        compared = compare(100.0, 100.0 - spent, self.CALLS)
        assert (compared.adds_up, compared.spent, compared.words) == (True, spent, "it adds up")

    def test_adds_up_when_nothing_happened(self) -> None:
        """No calls and an unchanged balance agree."""
        assert compare(7.25, 7.25, CallsBetween()).adds_up

    def test_forgives_the_crumbs_of_floats(self) -> None:
        """Ten may come out as 9.999999999999998 or 10.000000000000002; no call costs a thousandth."""
        assert 16.4 - 6.4 < 10 < 16.1 - 6.1
        ten = CallsBetween(charged=10)
        assert compare(16.4, 6.4, ten).adds_up
        assert compare(16.1, 6.1, ten).adds_up
        assert not compare(100.0, 90.002, ten).adds_up
        assert not compare(100.0, 89.998, ten).adds_up

    @pytest.mark.parametrize(
        ("spent", "said"),
        [(16, "1 credit more than"), (15.5, "0.5 credits more"), (1515, "1,500 credits more")],
    )
    def test_names_what_the_ledger_does_not_know_of(self, spent: float, said: str) -> None:
        """More credits are gone than all calls can have cost: another program calls."""
        compared = compare(10_000.0, 10_000.0 - spent, self.CALLS)
        assert not compared.adds_up
        assert said in compared.words
        assert "is another program using this account?" in compared.words

    @pytest.mark.parametrize(("spent", "missing"), [(9, "1 credit"), (0, "10 credits")])
    def test_names_what_should_have_been_spent(self, spent: float, missing: str) -> None:
        """A balance that fell by less than the sure charges means a top-up, or a balance that lags behind."""
        compared = compare(100.0, 100.0 - spent, self.CALLS)
        assert not compared.adds_up
        assert compared.words.startswith(f"the balance fell by {missing} less")
        assert "top-up" in compared.words
        assert "lags" in compared.words

    @pytest.mark.parametrize("calls", [CALLS, CallsBetween()])
    def test_sees_a_top_up_when_the_balance_rose(self, calls: CallsBetween) -> None:
        """A balance that rose hides the cost of the calls, so it does not add up."""
        compared = compare(100.0, 350.0, calls)
        assert (compared.adds_up, compared.spent) == (False, -250.0)
        assert compared.words.startswith("the balance rose by 250 credits: credits were added (a top-up)")


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0.0, "0 credits"),
        (-0.0001, "0 credits"),
        (1.0, "1 credit"),
        (0.9999, "1 credit"),
        (1234.5, "1,234.5 credits"),
        (999_987.0, "999,987 credits"),
        (-3.0, "-3 credits"),
        (100.0, "100 credits"),
    ],
)
def test_credits_are_said_in_words(amount: float, words: str) -> None:
    """Amounts are rounded to a thousandth, without trailing zeros, in the singular for one."""
    assert in_credits(amount) == words
