from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from cutout.storage.uploads import upload_source
from tests.support.sandbox import Sandbox
from tests.support.system import System

DONE = "SELECT bool_and(state IN ('succeeded', 'failed', 'held')) FROM jobs"
Start = Callable[..., System]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """A dispatcher and a worker with settings changed."""
    systems: list[System] = []

    def make(**changed: str) -> System:
        changes = {f"CUTOUT_{name.upper()}": value for name, value in changed.items()}
        systems.append(System(environment | changes, tmp_path, api=False).__enter__())
        return systems[-1]

    yield make
    for system in systems:
        system.__exit__(None, None, None)


@pytest.fixture
def source(bucket: Bucket) -> str:
    """A photo in the bucket that the endpoint takes as it is."""
    photo = Path(__file__).parents[2] / "photos" / "eniko-kis-663725-unsplash.jpg"
    with photo.open("rb") as file:
        return upload_source(bucket, file)


def codes(system: System) -> list[str | None]:
    """The codes of all calls, in order."""
    found: list[str | None] = system.scalar("SELECT array_agg(code ORDER BY id) FROM attempts")
    return found


class TestAnAnswer:
    def test_to_try_again_is_followed_by_another_call(
        self, start: Start, sandbox: Sandbox, source: str
    ) -> None:
        """retry: a second call, a try used, one charge."""
        sandbox.fault("code", code="PROCESSING_FAILURE", next=1)
        system = start()
        system.enqueue(source)
        system.until("SELECT tries = 1 AND standing = 'resting' FROM jobs")
        system.until(DONE, without_rests=True)
        assert codes(system) == ["PROCESSING_FAILURE", None]
        assert (system.scalar("SELECT state FROM jobs"), sandbox.charges()) == ("succeeded", 1)

    @pytest.mark.long("runs everything; tests/cutout/endpoint/test_codes.py has the verdicts")
    def test_to_go_slower_halves_the_limit_and_uses_no_try(
        self, start: Start, sandbox: Sandbox, source: str
    ) -> None:
        """slow: the job comes back by itself, and everybody calls less."""
        sandbox.fault("code", code="EXCEEDING_LIMITS", next=1)
        system = start(calls_in_flight="8")
        system.enqueue(source)
        system.until("SELECT count(*) = 1 FROM limits WHERE slow_at IS NOT NULL AND top < 8 AND level < 8")
        assert system.scalar("SELECT tries FROM jobs") == 0
        system.until(DONE, without_rests=True)
        assert codes(system) == ["EXCEEDING_LIMITS", None]
        assert (system.scalar("SELECT state FROM jobs"), sandbox.charges()) == ("succeeded", 1)

    @pytest.mark.long("runs everything; tests/cutout/endpoint/test_codes.py has the verdicts")
    def test_that_the_account_is_empty_pauses_it_until_it_is_topped_up(
        self, start: Start, sandbox: Sandbox, source: str
    ) -> None:
        """pause: no try is used, no job fails, nothing is called meanwhile; a free question ends it."""
        sandbox.set(credits={sandbox.key: 2})
        system = start(credits_every_seconds="3600")
        system.enqueue(source, 12)
        system.until("SELECT bool_and(paused_at IS NOT NULL) FROM accounts")
        # Those that were on their way to the worker run for a moment, and come back without a call.
        system.until("SELECT count(*) FILTER (WHERE state = 'queued' AND tries = 0) = 10 FROM jobs")
        called = system.scalar("SELECT count(*) FROM attempts")
        system.execute("UPDATE accounts SET probe_at = now()")
        system.until("SELECT bool_and(probe_at > now() + interval '20 s') FROM accounts")
        assert system.scalar("SELECT count(*) FROM attempts") == called
        sandbox.set(credits={sandbox.key: 1000})
        system.execute("UPDATE accounts SET probe_at = now()")
        system.until(DONE, without_rests=True)
        assert system.scalar("SELECT count(*) FROM jobs WHERE state = 'succeeded' AND tries = 0") == 12
        assert sandbox.charges() == 12

    def test_that_the_picture_does_not_suit_is_followed_by_a_plainer_one(
        self, start: Start, sandbox: Sandbox, source: str
    ) -> None:
        """refit: encoded anew and sent once more, and then no more."""
        sandbox.fault("code", code="FILE_DECODING_FAILURE", next=3)
        system = start()
        system.enqueue(source)
        system.until(DONE)
        assert system.scalar("SELECT count(DISTINCT image_sha256) FROM attempts") == 2
        assert codes(system) == ["FILE_DECODING_FAILURE"] * 2
        assert (system.scalar("SELECT state FROM jobs"), sandbox.charges()) == ("failed", 0)

    def test_that_the_picture_is_wrong_ends_its_job(
        self, start: Start, sandbox: Sandbox, source: str
    ) -> None:
        """fail: one call, and the code stands on the job."""
        sandbox.fault("code", code="ERROR_ILLEGAL_FILE", next=1)
        system = start()
        system.enqueue(source)
        system.until(DONE)
        row = system.row("SELECT state, code FROM jobs")
        assert (row["state"], row["code"], codes(system)) == (
            "failed",
            "ERROR_ILLEGAL_FILE",
            ["ERROR_ILLEGAL_FILE"],
        )

    @pytest.mark.long("runs everything; tests/cutout/endpoint/test_codes.py has the verdicts")
    def test_without_a_meaning_here_is_tried_once_more(
        self, start: Start, sandbox: Sandbox, source: str
    ) -> None:
        """unknown: two calls, then the job fails."""
        sandbox.fault("code", code="ERROR_CONTENT_NOT_FOUND", next=5)
        system = start()
        system.enqueue(source)
        system.until(DONE, without_rests=True)
        assert codes(system) == ["ERROR_CONTENT_NOT_FOUND"] * 2
        assert system.scalar("SELECT state FROM jobs") == "failed"

    @pytest.mark.long("runs everything; tests/cutout/endpoint/test_codes.py has the verdicts")
    def test_means_what_a_setting_says(self, start: Start, sandbox: Sandbox, source: str) -> None:
        """CUTOUT_VERDICTS makes a code that fails one that is tried again, as often as it says."""
        sandbox.fault("code", code="ERROR_ILLEGAL_FILE", next=5)
        system = start(
            verdicts='{"ERROR_ILLEGAL_FILE": {"verdict": "retry", "tries": 3, "first_seconds": 0.1}}'
        )
        system.enqueue(source)
        system.until(DONE)
        assert codes(system) == ["ERROR_ILLEGAL_FILE"] * 3


@pytest.mark.long("waits for the circuit's probes; tests/worker/limiter/test_limiter.py opens and closes it")
class TestAnEndpointThatFailsForEverybody:
    def test_costs_no_job_its_tries(self, start: Start, sandbox: Sandbox, source: str) -> None:
        """Twenty jobs live through nine failures in a row; once they are a run, no try is used up."""
        sandbox.fault("code", code="AI_SERVICE_ERROR", next=9)
        system = start(calls_in_flight="4")
        system.enqueue(source, 20)
        system.until("SELECT count(*) = 1 FROM limits WHERE circuit_until IS NOT NULL", without_rests=True)
        system.until(DONE, within_s=90, without_rests=True)
        assert system.scalar("SELECT count(*) FROM jobs WHERE state = 'succeeded'") == 20
        assert system.scalar("SELECT max(tries) FROM jobs") <= 2
        assert sandbox.charges() == 20


class TestSeveralAccounts:
    @pytest.mark.long("runs everything; tests/cutout/endpoint/test_codes.py has the verdicts")
    def test_share_the_work_and_stand_in_for_one_another(
        self, start: Start, sandbox: Sandbox, source: str
    ) -> None:
        """Both are called; once one is out of credits the other does the rest, and no job notices."""
        other = f"{sandbox.key}-other"
        sandbox.set(credits={sandbox.key: 1_000_000, other: 3}, latency=0.2)
        system = start(
            endpoint_api_keys=f"{sandbox.key},{other}", calls_in_flight="2", credits_every_seconds="3600"
        )
        system.enqueue(source, 20)
        system.until(DONE, without_rests=True)
        assert system.scalar("SELECT count(*) FROM jobs WHERE state = 'succeeded' AND tries = 0") == 20
        assert system.scalar("SELECT count(DISTINCT account) FROM attempts WHERE outcome = 'charged'") == 2
        assert system.scalar("SELECT count(*) FROM accounts WHERE paused_at IS NOT NULL") == 1
        assert sandbox.charges() == 20

    def test_with_a_reserve_stop_before_the_endpoint_refuses(
        self, start: Start, sandbox: Sandbox, source: str
    ) -> None:
        """The account pauses with its reserve left, and no call is refused.

        The ledger is looked at once a second, so calls of a second or two may go below: the reserve is there
        for them.
        """
        sandbox.set(credits={sandbox.key: 60})
        system = start(calls_per_second="4", calls_in_flight="1", credit_reserve="56")
        system.enqueue(source, 60)
        system.until("SELECT bool_and(pause_code = 'CREDITS_BELOW_RESERVE') FROM accounts")
        system.until("SELECT count(*) = 0 FROM jobs WHERE state = 'running'")
        assert 4 <= sandbox.charges() < 60
        assert system.scalar("SELECT count(*) FROM attempts WHERE outcome <> 'charged'") == 0
