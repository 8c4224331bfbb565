"""Answers that Postgres does not take: the slot, the spool and the heartbeat."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cutout.audit import CHECKS, audit
from cutout.enums import AttemptOutcome, QueueState, State, Step
from cutout.queue.claims import NOT_SENT
from cutout.queue.dispatch import dispatch_calls
from cutout.queue.settle import RetryLimits
from tests.support.bench import Bench
from tests.support.proxy import Mode, Proxy
from tests.support.sandbox import Sandbox
from tests.support.steps import LEASE
from tests.support.system import wait_until
from tests.worker.pipeline.refusing import refusing
from worker.limiter import limiter
from worker.pipeline import call
from worker.pipeline.process import process
from worker.pipeline.spool import Spool
from worker.pipeline.store import Store

RUNNING_JOBS = next(check for check in CHECKS if check.name == "running_jobs")


@pytest.fixture
def bench(make_bench: Callable[..., Bench], tmp_path: Path) -> Bench:
    """A bench with a spool of its own, and without regular heartbeats."""
    return make_bench(spool_dir=str(tmp_path / "spool"), worker_silence_seconds=600)


@pytest.fixture
def line(make_bench: Callable[..., Bench], database_url: str) -> Iterator[Proxy]:
    """The connection between a worker and Postgres."""
    port = make_url(database_url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
def cut_off(
    make_bench: Callable[..., Bench], line: Proxy, database_url: str, tmp_path: Path
) -> Iterator[Bench]:
    """A bench whose worker reaches Postgres through that proxy."""
    through = make_url(database_url).set(port=make_url(line.url).port)
    yield make_bench(
        spool_dir=str(tmp_path / "spool"),
        worker_silence_seconds=600,
        database_url=SecretStr(through.render_as_string(hide_password=False)),
    )
    line.set(Mode.PASS)


def dispatch(bench: Bench, photo: bytes) -> tuple[uuid.UUID, int]:
    """Enqueue one more job and dispatch it."""
    bench.enqueue(photo)
    with Session(bench.engine) as session, session.begin():
        (dispatched,) = dispatch_calls(session, 1, lease=LEASE)
    return dispatched


@contextmanager
def beside(bench: Bench, job_id: uuid.UUID, fence: int) -> Iterator[Future[None]]:
    """Process a job in a thread."""
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(process, bench.context, job_id, fence)


@contextmanager
def during_a_call(bench: Bench, sandbox: Sandbox, photo: bytes) -> Iterator[tuple[uuid.UUID, Future[None]]]:
    """A job whose call of half a second has begun, and the future of its end."""
    job_id, fence = dispatch(bench, photo)
    sandbox.set(latency=0.5)
    with beside(bench, job_id, fence) as begun:
        wait_until(lambda: bool(bench.attempts(job_id)), "a call")
        yield job_id, begun


def beat(bench: Bench, times: int = 1) -> None:
    """Send heartbeats."""
    for _ in range(times):
        with bench.context.engine.connect() as connection:
            bench.context.beat(connection)


def replay(bench: Bench) -> None:
    """Replay the spool, as after a heartbeat."""
    with bench.context.engine.connect() as connection:
        bench.context.spool.replay(connection)


def rescued(bench: Bench) -> int:
    """Count the jobs that the auditor takes from their worker."""
    with bench.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return audit(connection, RUNNING_JOBS, RetryLimits()).repaired


def open_calls(bench: Bench) -> int:
    """Count the slots that are taken."""
    (account,) = bench.context.slots._accounts.values()
    figures = account.limiter.read()
    return figures.open_calls if figures else 0


class TestAnAnswerThatPostgresRefuses:
    @pytest.mark.parametrize("state", ["42501", "42703", "XX000"])
    def test_is_kept_and_used_once_it_takes_it(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, state: str, tmp_path: Path
    ) -> None:
        """The job is not rescued while its answer waits; then it continues with its copy, charged once."""
        job_id, fence = dispatch(bench, photo)
        with refusing(bench.engine, state):
            process(bench.context, job_id, fence)
            assert [path.suffix for path in (tmp_path / "spool").iterdir()] == [".json"]
            beat(bench, times=3)
            assert rescued(bench) == 0
            replay(bench)
        assert bench.job(job_id).state == State.RUNNING
        replay(bench)
        assert (bench.job(job_id).step, bench.job(job_id).result_url is None) == (Step.COPY, False)
        beat(bench, times=2)
        assert rescued(bench) == 1
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED
        assert [attempt.outcome for attempt in bench.attempts(job_id)] == [AttemptOutcome.CHARGED]
        assert sandbox.charges() == 1

    def test_of_a_call_that_cost_nothing_is_kept_as_well(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """The ledger has the refusal in the end."""
        sandbox.fault("code", code="ERROR_ILLEGAL_FILE", next=1)
        job_id, fence = dispatch(bench, photo)
        with refusing(bench.engine, "42501"):
            process(bench.context, job_id, fence)
        replay(bench)
        assert [attempt.outcome for attempt in bench.attempts(job_id)] == [AttemptOutcome.NOT_CHARGED]


class TestAJobThatItsThreadGaveUp:
    def test_since_its_outcome_cannot_be_written_continues_once_it_can(
        self, bench: Bench, sandbox: Sandbox, photo: bytes
    ) -> None:
        """Not even `held` can be written: the auditor sees that its living worker does not carry it."""
        job_id, fence = dispatch(bench, photo)
        ends = "OLD.state = 'running' AND NEW.state <> 'running'"
        with refusing(bench.engine, "42501", "BEFORE UPDATE ON jobs", ends):
            with pytest.raises(DBAPIError):
                process(bench.context, job_id, fence)
            beat(bench)
        assert (bench.job(job_id).state, rescued(bench)) == (State.RUNNING, 0)
        beat(bench)
        assert rescued(bench) == 1
        bench.work()
        assert bench.job(job_id).state == State.SUCCEEDED
        assert sandbox.charges() == 1

    def test_after_an_outage_longer_than_its_patience_continues(
        self, cut_off: Bench, line: Proxy, sandbox: Sandbox, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a day without Postgres the answer is in the spool, and the job does not stay `running`."""
        monkeypatch.setattr(cut_off.context.store, "give_up_after_s", 0.5)
        with during_a_call(cut_off, sandbox, photo) as (job_id, begun):
            line.set(Mode.REFUSE)
            begun.result(timeout=20)
        line.set(Mode.PASS)
        assert cut_off.job(job_id).state == State.RUNNING
        beat(cut_off, times=2)
        assert rescued(cut_off) == 0
        replay(cut_off)
        beat(cut_off)
        assert rescued(cut_off) == 1
        cut_off.work()
        assert cut_off.job(job_id).state == State.SUCCEEDED
        assert sandbox.charges() == 1


class TestAServerThatTakesNoWritesForAWhile:
    def test_costs_no_answer(self, bench: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """The worker waits for it, as for a server that does not answer."""
        with during_a_call(bench, sandbox, photo) as (job_id, begun):
            with refusing(bench.engine, "25006"):
                wait_until(lambda: bool(bench.context.spool.unwritten()), "an answer in the spool")
                assert not begun.done()
            begun.result(timeout=20)
        assert bench.job(job_id).state == State.SUCCEEDED
        assert sandbox.charges() == 1


class TestAServerThatSaysNothing:
    def test_keeps_no_answer_from_the_disk(
        self, cut_off: Bench, line: Proxy, sandbox: Sandbox, photo: bytes, tmp_path: Path
    ) -> None:
        """Without even an error the answer is on disk: another worker writes it, and a kill costs nothing."""
        with during_a_call(cut_off, sandbox, photo) as (job_id, begun):
            line.set(Mode.STALL)
            wait_until(lambda: any((tmp_path / "spool").glob("*.json")), "an answer in the spool")
            assert not begun.done()
            with cut_off.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as another:
                Spool(tmp_path / "spool").replay(another)
            (attempt,) = cut_off.attempts(job_id)
            assert (attempt.outcome, cut_off.job(job_id).step) == (AttemptOutcome.CHARGED, Step.COPY)
            line.set(Mode.PASS)
            begun.result(timeout=20)
        assert cut_off.job(job_id).state == State.SUCCEEDED
        assert sandbox.charges() == 1
        assert list((tmp_path / "spool").glob("*.json")) == []


class TestASlot:
    def test_is_free_while_the_answer_waits_for_postgres(
        self, cut_off: Bench, line: Proxy, sandbox: Sandbox, photo: bytes
    ) -> None:
        """A worker that cannot reach Postgres does not keep a slot from the others."""
        with during_a_call(cut_off, sandbox, photo) as (job_id, begun):
            line.set(Mode.REFUSE)
            wait_until(lambda: bool(cut_off.context.spool.unwritten()), "an answer in the spool")
            assert open_calls(cut_off) == 0
            assert not begun.done()
            line.set(Mode.PASS)
            begun.result(timeout=20)
        assert cut_off.job(job_id).state == State.SUCCEEDED
        assert sandbox.charges() == 1

    def test_is_free_soon_when_its_call_cannot_be_written_down(
        self,
        cut_off: Bench,
        line: Proxy,
        sandbox: Sandbox,
        photo: bytes,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """No call goes out, and the job waits without a slot: nothing was begun, nothing is charged."""
        monkeypatch.setattr(call, "BEGIN_PATIENCE_S", 0.5)
        job_id, fence = dispatch(cut_off, photo)
        begin = Store.begin_attempt

        def cut(*arguments: Any, **named: Any) -> object:
            line.set(Mode.REFUSE)
            return begin(*arguments, **named)

        monkeypatch.setattr(Store, "begin_attempt", cut)
        with beside(cut_off, job_id, fence) as begun:
            wait_until(lambda: open_calls(cut_off) == 1, "a slot")
            wait_until(lambda: open_calls(cut_off) == 0, "a slot that is free again")
            assert not begun.done()
            line.set(Mode.PASS)
            begun.result(timeout=20)
        assert (cut_off.job(job_id).queue_state, cut_off.job(job_id).code) == (
            QueueState.DELAYED,
            "NOT_BEGUN",
        )
        assert cut_off.attempts(job_id) == []
        assert sandbox.charges() == 0

    def test_that_lapsed_while_its_call_was_written_down_makes_no_call(
        self, bench: Bench, sandbox: Sandbox, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A caller that waits too long for a lock loses the slot: the ledger says that nothing was sent."""
        monkeypatch.setattr(limiter, "BEGIN_WITHIN_S", 0.2)
        job_id, fence = dispatch(bench, photo)
        with bench.engine.connect() as other:
            other.execute(text("SELECT FROM accounts FOR UPDATE"))
            with beside(bench, job_id, fence) as begun:
                wait_until(lambda: open_calls(bench) == 1, "a slot")
                with pytest.raises(TimeoutError):
                    begun.result(timeout=0.5)
                other.rollback()
                begun.result(timeout=20)
        (attempt,) = bench.attempts(job_id)
        assert (attempt.outcome, attempt.code) == (AttemptOutcome.NOT_CHARGED, NOT_SENT)
        assert (bench.job(job_id).queue_state, bench.job(job_id).code) == (QueueState.DELAYED, "NOT_BEGUN")
        assert sandbox.charges() == 0


class TestAWorkersRow:
    def test_that_was_lost_is_added_anew(self, bench: Bench) -> None:
        """The next heartbeat adds it; the jobs in flight are in the one after it."""
        with bench.engine.begin() as connection:
            connection.execute(text("DELETE FROM workers"))
        beat(bench)
        with bench.engine.connect() as connection:
            row = connection.execute(text("SELECT id, host, pid, beats, carried_jobs FROM workers")).one()
        assert (row.id, row.carried_jobs) == (bench.context.worker_id, None)
        beat(bench)
        with bench.engine.connect() as connection:
            assert connection.scalar(text("SELECT carried_jobs FROM workers")) == []
