import json
import logging
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome, State, Step
from cutout.models import Attempt, Job
from cutout.models.database import is_away
from cutout.queue import workers
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import StoredObject, Succeeded
from cutout.queue.claims import Claim, PaidResult
from cutout.queue.settle import RetryLimits
from tests.support.clock import off_by
from tests.support.steps import begin, claim_new, new_worker
from tests.worker.pipeline.refusing import refusing
from worker.pipeline.call_record import CallRecord, write_call
from worker.pipeline.spool import Spool

URL = "https://results.example/secret.png"
CHARGED = Answer(AttemptOutcome.CHARGED, http_status=200, request_id="r-1", log_id="l-1")
REFUSED = Answer(AttemptOutcome.NOT_CHARGED, http_status=400, code="BAD", message="no")
LIFETIME = timedelta(hours=24)
PAID = PaidResult(URL, 600, 400)
STORED = StoredObject("cutouts/a.png", b"x" * 32, "image/png", 10, 600, 400)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory for the spool, not made yet."""
    return tmp_path / "state" / "spool"


@pytest.fixture
def spool(directory: Path) -> Spool:
    """The spool."""
    return Spool(directory)


@pytest.fixture
def call_out(engine: Engine) -> Callable[[], tuple[Claim, int]]:
    """Begin one more call: its claim and its attempt's id."""

    def make() -> tuple[Claim, int]:
        with Session(engine) as session, session.begin():
            claim = claim_new(session, new_worker(session))
            return claim, begin(session, claim)

    return make


@pytest.fixture
def end(call_out: Callable[[], tuple[Claim, int]]) -> CallRecord:
    """A call that was charged just now."""
    return end_of(*call_out())


def end_of(
    claim: Claim, attempt_id: int, answer: Answer = CHARGED, paid: PaidResult | None = PAID
) -> CallRecord:
    """The end of that call."""
    return CallRecord(claim.job_id, claim.fence, claim.worker_id, attempt_id, answer, paid, LIFETIME)


def leave(spool: Spool, end: CallRecord) -> None:
    """Leave it in the spool, as a worker does that had to stop."""
    with pytest.raises(InterruptedError), spool.keeping(end):
        raise InterruptedError


def replay(spool: Spool, engine: Engine) -> None:
    """Replay the spool, as a worker does at its start."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        spool.replay(connection)


def job_of(engine: Engine, end: CallRecord) -> Job:
    with Session(engine) as session:
        return session.get_one(Job, end.job_id)


def attempt_of(engine: Engine, end: CallRecord) -> Attempt:
    with Session(engine) as session:
        return session.get_one(Attempt, end.attempt_id)


class TestAFile:
    def test_is_there_as_long_as_postgres_has_not_taken_it(
        self, spool: Spool, directory: Path, end: CallRecord
    ) -> None:
        """The paid URL is on disk within the context and gone after it."""
        with spool.keeping(end):
            (path,) = directory.iterdir()
            assert json.loads(path.read_text())["paid"]["url"] == URL
        assert list(directory.iterdir()) == []

    def test_is_readable_by_its_owner_alone(self, spool: Spool, directory: Path, end: CallRecord) -> None:
        """The file holds a secret: mode 0600 in a directory of mode 0700."""
        leave(spool, end)
        (path,) = directory.iterdir()
        modes = [stat.S_IMODE(each.stat().st_mode) for each in (directory, path)]
        assert modes == [0o700, 0o600]

    def test_that_cannot_be_written_does_not_stop_the_worker(
        self, tmp_path: Path, end: CallRecord, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The answer stays in memory, and the log says so without the URL."""
        (tmp_path / "file").touch()
        done = False
        with Spool(tmp_path / "file" / "spool").keeping(end):
            done = True
        assert done
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert "kept in memory alone" in caplog.text
        assert URL not in caplog.text

    def test_that_could_never_be_written_is_logged_at_the_start(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A spool that cannot be written is logged as an error at the start; one not made yet is not."""
        Spool(tmp_path / "not" / "yet").check()
        assert caplog.text == ""
        (tmp_path / "file").touch(mode=0o600)
        Spool(tmp_path / "file" / "spool").check()
        assert "cannot be written" in caplog.text


class TestAnAnswerOnItsWay:
    def test_is_on_disk_once_that_takes_long(self, spool: Spool, directory: Path, end: CallRecord) -> None:
        """It is not on disk before, and only as long as Postgres has not taken it."""
        with spool.watch(end):
            spool.keep_slow(after_s=60.0)
            assert not directory.exists()
            spool.keep_slow(after_s=0.0)
            (path,) = directory.iterdir()
            assert json.loads(path.read_text())["paid"]["url"] == URL
            spool.keep_slow(after_s=0.0)
            assert list(directory.iterdir()) == [path]
        assert list(directory.iterdir()) == []
        spool.keep_slow(after_s=0.0)
        assert list(directory.iterdir()) == []

    def test_is_watched_from_its_arrival_on(self, spool: Spool, directory: Path, end: CallRecord) -> None:
        """Redis may delay its thread before it is written to Postgres."""
        watched = spool.watch(end)
        spool.keep_slow(after_s=0.0)
        assert len(list(directory.iterdir())) == 1
        with watched:
            pass
        assert list(directory.iterdir()) == []

    def test_stays_on_disk_if_it_did_not_arrive(
        self, spool: Spool, directory: Path, engine: Engine, end: CallRecord
    ) -> None:
        """The next worker that reads the spool writes it."""
        watched = spool.watch(end)
        spool.keep_slow(after_s=0.0)
        with pytest.raises(InterruptedError), watched:
            raise InterruptedError
        assert len(list(directory.iterdir())) == 1
        replay(Spool(directory), engine)
        assert attempt_of(engine, end).outcome == AttemptOutcome.CHARGED

    def test_is_logged_once_if_the_disk_takes_nothing(
        self, tmp_path: Path, end: CallRecord, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log has one line, however often the spool is checked."""
        (tmp_path / "file").touch()
        spool = Spool(tmp_path / "file" / "spool")
        with spool.watch(end):
            spool.keep_slow(after_s=0.0)
            spool.keep_slow(after_s=0.0)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert URL not in caplog.text


class TestReplay:
    def test_without_a_directory_does_nothing(self, spool: Spool, directory: Path, engine: Engine) -> None:
        """Nothing is left, and nothing is made."""
        replay(spool, engine)
        assert not directory.exists()

    def test_gives_the_job_its_paid_result(
        self, spool: Spool, directory: Path, engine: Engine, end: CallRecord
    ) -> None:
        """The ledger has the charge, the job continues with its copy, the file is gone."""
        leave(spool, end)
        replay(spool, engine)
        job, attempt = job_of(engine, end), attempt_of(engine, end)
        assert (job.step, job.result_url, job.sent_width, job.sent_height) == (Step.COPY, URL, 600, 400)
        assert (attempt.outcome, attempt.request_id) == (AttemptOutcome.CHARGED, "r-1")
        assert list(directory.iterdir()) == []

    def test_skips_rows_that_others_keep_locked(
        self, spool: Spool, engine: Engine, call_out: Callable[[], tuple[Claim, int]]
    ) -> None:
        """One locked job does not delay the results of the others; its own still counts as unwritten."""
        ends = [end_of(*call_out()) for _ in range(3)]
        for one in ends:
            leave(spool, one)
        lock = text("SELECT FROM jobs WHERE id = :id FOR UPDATE")
        with engine.begin() as other:
            other.execute(lock, {"id": min(ends, key=lambda one: one.attempt_id).job_id})
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("SET lock_timeout = '50ms'"))
                with pytest.raises(DBAPIError, match="lock timeout"):
                    spool.replay(connection)
                connection.execute(text("RESET lock_timeout"))
            assert sorted(job_of(engine, one).step for one in ends) == [Step.CALL, Step.COPY, Step.COPY]
        replay(spool, engine)
        assert {job_of(engine, one).step for one in ends} == {Step.COPY}

    def test_writes_down_a_refusal(
        self, spool: Spool, engine: Engine, call_out: Callable[[], tuple[Claim, int]]
    ) -> None:
        """A call that cost nothing is not in doubt any more."""
        end = end_of(*call_out(), REFUSED, None)
        leave(spool, end)
        replay(spool, engine)
        attempt = attempt_of(engine, end)
        assert (attempt.outcome, attempt.code, attempt.message) == (AttemptOutcome.NOT_CHARGED, "BAD", "no")
        assert job_of(engine, end).step == Step.CALL

    @pytest.mark.parametrize("hours_ago", [1, 25])
    def test_counts_the_results_time_from_the_answer(
        self, spool: Spool, engine: Engine, end: CallRecord, hours_ago: int
    ) -> None:
        """The time that a result waited in the spool is part of its lifetime, and may exceed it."""
        answered_at = datetime.now(UTC) - timedelta(hours=hours_ago)
        leave(spool, replace(end, answered_at=answered_at))
        replay(spool, engine)
        expires_at = job_of(engine, end).result_expires_at
        assert expires_at is not None
        assert abs(expires_at - (answered_at + timedelta(hours=24))) < timedelta(seconds=10)

    @pytest.mark.parametrize("off_s", [-90_000.0, 90_000.0])
    def test_is_right_though_the_clock_was_set_meanwhile(
        self, spool: Spool, engine: Engine, end: CallRecord, off_s: float
    ) -> None:
        """The clock may be off by a day: the answer's time follows from the call's, which Postgres has."""
        with off_by(off_s):
            late = replace(end, answered_at=datetime.now(UTC), answered_after=timedelta(seconds=3))
        leave(spool, late)
        hours = "UPDATE attempts SET begun_at = begun_at - interval '2 h'"
        with engine.begin() as connection:
            connection.execute(text(hours))
        replay(spool, engine)
        expires_at = job_of(engine, end).result_expires_at
        assert expires_at is not None
        assert expires_at == attempt_of(engine, end).begun_at + timedelta(seconds=3) + LIFETIME

    def test_brings_a_result_to_a_job_that_was_given_up(
        self, spool: Spool, engine: Engine, end: CallRecord
    ) -> None:
        """A job that was rescued and held as unknown is queued again with its paid result."""
        leave(spool, end)
        with Session(engine) as session, session.begin():
            workers.rescue(session, [end.worker_id], RetryLimits(unknown=0))
        assert job_of(engine, end).state == State.HELD
        replay(spool, engine)
        job = job_of(engine, end)
        assert (job.state, job.step, job.result_url) == (State.QUEUED, Step.COPY, URL)

    def test_changes_nothing_once_the_job_is_done(
        self, spool: Spool, engine: Engine, call_out: Callable[[], tuple[Claim, int]]
    ) -> None:
        """A file that its worker could not remove does no harm."""
        claim, attempt_id = call_out()
        end = end_of(claim, attempt_id)
        leave(spool, end)
        with Session(engine) as session, session.begin():
            claim = claim.with_result(write_call(session, end))
            assert queue.settle(session, claim, Succeeded(STORED))
        replay(spool, engine)
        assert (job_of(engine, end).state, job_of(engine, end).result_url) == (State.SUCCEEDED, None)
        assert attempt_of(engine, end).outcome == AttemptOutcome.CHARGED

    def test_may_be_done_by_many_at_once(
        self, directory: Path, engine: Engine, call_out: Callable[[], tuple[Claim, int]]
    ) -> None:
        """Workers that share a spool and start together lose nothing and raise no error."""
        ends = [end_of(*call_out()) for _ in range(20)]
        for end in ends:
            leave(Spool(directory), end)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: replay(Spool(directory), engine), range(4)))
        assert [job_of(engine, end).result_url for end in ends] == [URL] * 20
        assert list(directory.iterdir()) == []


class TestAnAnswerThatIsNotWritten:
    def test_is_named_until_it_is(self, spool: Spool, engine: Engine, end: CallRecord) -> None:
        """Its worker's heartbeat has the job, so that it is not called again."""
        assert spool.unwritten() == set()
        leave(spool, end)
        assert spool.unwritten() == {(end.job_id, end.fence)}
        replay(spool, engine)
        assert spool.unwritten() == set()

    def test_is_named_no_more_once_another_worker_wrote_it(
        self, spool: Spool, directory: Path, engine: Engine, end: CallRecord
    ) -> None:
        """Workers of a machine share the directory."""
        leave(spool, end)
        replay(Spool(directory), engine)
        replay(spool, engine)
        assert spool.unwritten() == set()

    def test_is_kept_in_memory_if_the_disk_takes_nothing(
        self, tmp_path: Path, engine: Engine, end: CallRecord
    ) -> None:
        """It is written from there, also after its thread has ended."""
        (tmp_path / "file").touch()
        spool = Spool(tmp_path / "file" / "spool")
        leave(spool, end)
        assert spool.unwritten() == {(end.job_id, end.fence)}
        replay(spool, engine)
        assert job_of(engine, end).result_url == URL
        assert spool.unwritten() == set()


class TestAFileThatCannotBeReplayed:
    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"url": "%s"}' % URL.encode(), b"[]"])
    def test_is_moved_aside_and_hinders_nothing(
        self, spool: Spool, directory: Path, engine: Engine, end: CallRecord, content: bytes
    ) -> None:
        """A damaged file is kept for a person, and the other files are replayed."""
        leave(spool, end)
        (directory / "0.json").write_bytes(content)
        replay(spool, engine)
        assert job_of(engine, end).result_url == URL
        assert [path.name for path in directory.iterdir()] == ["0.json.bad"]
        assert (directory / "0.json.bad").read_bytes() == content

    def test_is_named_in_the_log_and_not_quoted(
        self, spool: Spool, directory: Path, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An error names the file and not its content, which is secret."""
        directory.mkdir(parents=True)
        (directory / "0.json").write_text(json.dumps({"url": URL}))
        replay(spool, engine)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert str(directory / "0.json") in caplog.text
        assert URL not in caplog.text

    def test_because_postgres_refuses_it_stays_and_hinders_nothing(
        self, spool: Spool, directory: Path, engine: Engine, call_out: Callable[[], tuple[Claim, int]]
    ) -> None:
        """It is tried again with each heartbeat, and neither a start nor other files wait for it."""
        refused, good = (end_of(*call_out()) for _ in range(2))
        leave(spool, replace(refused, paid=replace(PAID, url="https://results.example/\0")))
        leave(spool, good)
        replay(spool, engine)
        (path,) = directory.iterdir()
        assert path.name.endswith(f"{refused.job_id}.json")
        assert job_of(engine, good).result_url == URL

    @pytest.mark.parametrize("state", ["25006", "57P03", "53100", "40001", "55P03", "26000", "42P05"])
    def test_for_a_postgres_that_cannot_now_is_raised_and_used_later(
        self, spool: Spool, directory: Path, engine: Engine, end: CallRecord, state: str
    ) -> None:
        """The error is raised, and the file stays."""
        leave(spool, end)
        with refusing(engine, state), pytest.raises(DBAPIError):
            replay(spool, engine)
        assert [path.suffix for path in directory.iterdir()] == [".json"]
        replay(spool, engine)
        assert job_of(engine, end).result_url == URL

    @pytest.mark.parametrize("state", ["42501", "42703", "23514", "XX000"])
    def test_for_any_other_error_of_postgres_is_used_later(
        self, spool: Spool, directory: Path, engine: Engine, end: CallRecord, state: str
    ) -> None:
        """A botched GRANT or an upgrade in the wrong order costs no paid result."""
        leave(spool, end)
        with refusing(engine, state):
            replay(spool, engine)
        assert [path.suffix for path in directory.iterdir()] == [".json"]
        replay(spool, engine)
        assert job_of(engine, end).result_url == URL

    def test_because_postgres_takes_no_writes_stays_where_it_is(
        self, spool: Spool, directory: Path, engine: Engine, end: CallRecord
    ) -> None:
        """While a server is a replica for some seconds the answer waits; it is used afterwards."""
        leave(spool, end)
        read_only = text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(read_only)
            with pytest.raises(DBAPIError, match="read-only") as caught:
                spool.replay(connection)
            assert is_away(caught.value)
            assert caught.value.connection_invalidated
        assert [path.suffix for path in directory.iterdir()] == [".json"]
        replay(spool, engine)
        assert job_of(engine, end).result_url == URL

    def test_because_it_is_of_another_database_stays_for_that_one(
        self,
        spool: Spool,
        directory: Path,
        engine: Engine,
        end: CallRecord,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Two systems with one directory do not write to each other's ledgers; it is logged once."""
        with Session(engine) as session, session.begin():
            other = claim_new(session, new_worker(session))
        foreign = replace(end, job_id=other.job_id)
        leave(spool, foreign)
        replay(spool, engine)
        replay(spool, engine)
        assert attempt_of(engine, end).outcome == AttemptOutcome.UNKNOWN
        assert len(list(directory.glob("*.json"))) == 1
        assert caplog.text.count("does not know") == 1

    def test_because_postgres_is_unreachable_stays_where_it_is(
        self, spool: Spool, directory: Path, engine: Engine, end: CallRecord
    ) -> None:
        """The error of an unreachable Postgres is raised, so that the replay is repeated."""
        leave(spool, end)
        with engine.connect() as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            with pytest.raises(Exception, match="terminat"):
                spool.replay(connection)
        assert len(list(directory.glob("*.json"))) == 1
