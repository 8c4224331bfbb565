"""Refusals by a firewall before the endpoint, of one picture or of all."""

import uuid
from pathlib import Path

import pytest
from sqlalchemy import text

from cutout.enums import State
from tests.support.bench import Bench
from tests.support.sandbox import Sandbox

# The same picture would be held with the job that met the refusal.
OTHER = Path(__file__).parents[3] / "photos" / "charles-deluvio-695736-unsplash.jpg"
PAUSED = text("SELECT pause_code FROM accounts")


def pause(bench: Bench) -> str | None:
    with bench.engine.connect() as connection:
        code: str | None = connection.scalars(PAUSED).one()
    return code


def meets(bench: Bench, sandbox: Sandbox, job_id: uuid.UUID, status: int = 403) -> None:
    """Let a firewall answer the job's next call."""
    sandbox.fault("gateway_before", status=status, next=1)
    bench.change(job_id, "queue_state = 'ready', scheduled_at = now()")
    bench.work()


def both_meet(bench: Bench, sandbox: Sandbox, photo: bytes) -> list[uuid.UUID]:
    """Let two jobs meet a firewall, one after the other."""
    sandbox.fault("gateway_before", next=2)
    jobs = []
    for _ in range(2):
        jobs.append(bench.done(photo).id)
        bench.change(jobs[-1], "queue_state = 'dispatched'")
    return jobs


class TestAFirewallsRefusal:
    @pytest.mark.parametrize("status", [401, 403, 302])
    def test_of_one_picture_does_not_stop_the_account(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, status: int
    ) -> None:
        """Calls of other jobs continue; the picture is held at the third refusal, with a code of its own."""
        job_id = bench.enqueue(photo)
        for times in range(1, 4):
            meets(bench, sandbox, job_id, status)
            assert pause(bench) is None
            assert len(bench.attempts(job_id)) == times
            assert bench.job(job_id).state == (State.QUEUED if times < 3 else State.HELD)
            bench.change(job_id, "scheduled_at = now() + interval '1 hour'")
            if bench.job(job_id).state == State.QUEUED:
                bench.change(job_id, "queue_state = 'dispatched'")
            assert bench.done(OTHER.read_bytes()).state == State.SUCCEEDED
        assert bench.job(job_id).code == "REFUSED_BEFORE_ENDPOINT"
        assert "3 times" in (bench.job(job_id).message or "")

    def test_of_two_jobs_stops_it(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """All calls are stopped then, and no job is held."""
        jobs = both_meet(bench, sandbox, photo)
        assert pause(bench) == "HTTP_403"
        assert [bench.job(job_id).state for job_id in jobs] == [State.QUEUED] * 2

    def test_of_two_pictures_between_good_ones_does_not(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A call that began after the first refusal and succeeded shows that the account works."""
        for _ in range(2):
            sandbox.fault("gateway_before", next=1)
            job_id = bench.done(photo).id
            bench.change(job_id, "queue_state = 'dispatched'")
            assert bench.done(photo).state == State.SUCCEEDED
        assert pause(bench) is None

    def test_long_before_another_does_not(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """Ten minutes apart, they count for two pictures."""
        sandbox.fault("gateway_before", next=2)
        job_id = bench.done(photo).id
        bench.change(job_id, "queue_state = 'dispatched'")
        with bench.engine.begin() as connection:
            connection.execute(text("UPDATE accounts SET doubted_at = now() - interval '11 minutes'"))
        bench.done(photo)
        assert pause(bench) is None

    def test_while_the_account_is_stopped_holds_no_job(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """However often it is refused, the picture is not at fault."""
        first, second = both_meet(bench, sandbox, photo)
        assert pause(bench) == "HTTP_403"
        for job_id in (first, second) * 2:
            with bench.engine.begin() as connection:
                connection.execute(
                    text("UPDATE accounts SET paused_at = NULL, pause_code = NULL, probe_at = NULL")
                )
            for other in (first, second):
                bench.change(other, "queue_state = 'dispatched'")
            meets(bench, sandbox, job_id)
            assert pause(bench) == "HTTP_403"
        assert {bench.job(job_id).state for job_id in (first, second)} == {State.QUEUED}


def test_the_endpoints_own_refusal_stops_the_account_at_once(
    bench: Bench, sandbox: Sandbox, photo: bytes
) -> None:
    """A refusal with the endpoint's envelope is not in doubt."""
    sandbox.fault("code", code="ERROR_NOT_ENOUGH_CREDITS", next=1)
    bench.done(photo)
    assert pause(bench) == "ERROR_NOT_ENOUGH_CREDITS"
