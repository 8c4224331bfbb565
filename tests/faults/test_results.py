from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.faults.evidence import Ledger, arrived, ledger, whole
from tests.support.sandbox import Sandbox
from tests.support.system import System

DONE = "SELECT bool_and(state = 'succeeded') FROM jobs"
HELD = "SELECT bool_and(state = 'held') FROM jobs"


@pytest.fixture
def system(environment: dict[str, str], shop: str, bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher and one worker."""
    assert shop, bucket
    with System(environment, tmp_path, api=False) as running:
        yield running


@pytest.fixture
def buying_again(environment: dict[str, str]) -> None:
    """One lost result of a job may be bought again."""
    environment["CUTOUT_RETRY_LOST"] = "1"


class TestAnEndpointThatDropsAfterCharging:
    @pytest.mark.long("runs everything; tests/worker/pipeline/test_process.py has the outcome")
    def test_is_called_once_more(self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str) -> None:
        """The credit that bought nothing is in the ledger as unknown, at once and for good."""
        sandbox.fault("drop_after", next=1)
        system.enqueue_different(shop)
        system.until(DONE)
        assert sandbox.charges() == 2
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=1, doubted=1, lost=0)
        assert whole(system, bucket) == 1

    @pytest.mark.long("runs everything; tests/worker/pipeline/test_process.py has the outcome")
    def test_twice_holds_the_job(self, system: System, sandbox: Sandbox, shop: str) -> None:
        """One repetition is the bound: then a person decides, and no third call goes out."""
        sandbox.fault("drop_after", next=3)
        system.enqueue_different(shop)
        system.until(HELD)
        assert system.scalar("SELECT code FROM jobs") == "NO_ANSWER"
        assert sandbox.charges() == 2
        assert ledger(system) == Ledger(charged=0, not_charged=0, unknown=2, doubted=2, lost=0)


class TestATruncatedResult:
    @pytest.mark.long("runs everything; tests/worker/pipeline/test_copy.py has the outcome")
    def test_is_fetched_again_until_it_dies_and_never_bought_again(
        self, system: System, sandbox: Sandbox, shop: str
    ) -> None:
        """Another download may be whole, so the copy goes on; once its time is over it is lost and held."""
        sandbox.fault("truncated_image", next=1)
        system.enqueue_different(shop)
        tried = "SELECT tries >= 5 AND step = 'copy' AND code = 'RESULT_UNAVAILABLE' FROM jobs"
        system.until(tried, without_rests=True)
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=0, doubted=0, lost=0)
        system.execute("UPDATE jobs SET result_expires_at = now()")
        system.until(HELD, without_rests=True)
        assert system.scalar("SELECT code FROM jobs") == "RESULT_EXPIRED"
        assert sandbox.charges() == 1
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=0, doubted=0, lost=1)


@pytest.mark.long(
    "waits between tries for a result that is gone; tests/worker/pipeline/test_copy.py has each try"
)
class TestAResultThatIsGone:
    def test_is_recorded_as_lost(self, system: System, sandbox: Sandbox, shop: str) -> None:
        """The job is held, with a credit that bought nothing; nothing is bought again unasked."""
        sandbox.fault("result_gone", next=1)
        system.enqueue_different(shop)
        system.until(HELD, without_rests=True)
        assert system.scalar("SELECT code FROM jobs") == "RESULT_EXPIRED"
        assert sandbox.charges() == 1
        assert ledger(system) == Ledger(charged=1, not_charged=0, unknown=0, doubted=0, lost=1)

    @pytest.mark.usefixtures("buying_again")
    def test_is_bought_again_as_often_as_allowed(
        self, system: System, sandbox: Sandbox, bucket: Bucket, shop: str
    ) -> None:
        """With CUTOUT_RETRY_LOST=1 the job is called once more: two charges, one of them lost."""
        sandbox.fault("result_gone", next=1)
        system.enqueue_different(shop)
        system.until(DONE, without_rests=True)
        assert sandbox.charges() == 2
        assert ledger(system) == Ledger(charged=2, not_charged=0, unknown=0, doubted=0, lost=1)
        assert whole(system, bucket) == 1

    @pytest.mark.usefixtures("buying_again")
    def test_is_not_bought_more_often_than_allowed(self, system: System, sandbox: Sandbox, shop: str) -> None:
        """The second loss holds the job; both are in the ledger."""
        before = arrived(sandbox)
        sandbox.fault("result_gone", next=3)
        system.enqueue_different(shop)
        system.until(HELD, without_rests=True)
        assert arrived(sandbox) - before == sandbox.charges() == 2
        assert ledger(system) == Ledger(charged=2, not_charged=0, unknown=0, doubted=0, lost=2)
