import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text, update
from sqlalchemy.orm import Session

from cutout.audit import CHECKS
from cutout.enums import State
from cutout.models import Job
from cutout.queue import workers
from cutout.queue.settle import RetryLimits
from cutout.queue.workers import Identity, beat
from tests.cli.command import Cutout
from tests.cutout.queue.test_transitions import bought
from tests.support.steps import claim_new, new_worker
from tests.support.working import somebody_works


@pytest.fixture
def stuck(engine: Engine) -> uuid.UUID:
    """The id of a running job that its living worker does not carry."""
    with Session(engine) as session, session.begin():
        claim = claim_new(session, new_worker(session))
        for _ in range(2):
            beat(session, Identity(claim.worker_id, "test", 1))
        return claim.job_id


@pytest.fixture
def held(engine: Engine) -> uuid.UUID:
    """The id of a job that is held with a paid result."""
    with Session(engine) as session, session.begin():
        claim = bought(session, claim_new(session, new_worker(session)))
        workers.rescue(session, [claim.worker_id], RetryLimits())
        session.execute(
            update(Job).values(state=State.HELD, queue_state=None, code="INTERNAL_ERROR", message="x")
        )
        return claim.job_id


@pytest.fixture
def _works(engine: Engine) -> Iterator[None]:
    """A dispatcher leads and a worker lives, as far as the database can tell."""
    with somebody_works(engine):
        yield


class TestAnAudit:
    def test_of_what_agrees_is_well(self, cutout: Cutout) -> None:
        """Each check is one line."""
        ran = cutout("audit")
        assert (ran.code, ran.stderr) == (0, "")
        assert [line.split()[0] for line in ran.stdout.splitlines()] == ["ok"] * len(CHECKS)

    def test_changes_nothing_by_itself(self, cutout: Cutout, engine: Engine, stuck: uuid.UUID) -> None:
        """It names what is wrong, with its id, and ends with 1, as often as it is asked."""
        for _ in range(2):
            ran = cutout("audit")
            assert ran.code == 1
            assert (
                f"job {stuck}: it is running (step call), but worker 1 on test does not run it" in ran.stdout
            )
        with Session(engine) as session:
            assert session.get_one(Job, stuck).state == State.RUNNING

    def test_repairs_when_told_to(self, cutout: Cutout, engine: Engine, stuck: uuid.UUID) -> None:
        """Repairs are counted, and all is well then."""
        ran = cutout("audit", "--repair")
        assert ran.code == 0
        assert "1 repaired" in ran.stdout
        with Session(engine) as session:
            assert session.get_one(Job, stuck).state == State.QUEUED
        assert cutout("audit").code == 0

    def test_says_what_only_a_person_can_repair(self, cutout: Cutout, held: uuid.UUID) -> None:
        """It ends with 1 with --repair too, and says what to do."""
        ran = cutout("audit", "--repair")
        assert ran.code == 1
        assert f"next: `cutout retry {held}`" in ran.stdout


class TestTheDoctor:
    @pytest.mark.usefixtures("_works", "bucket")
    def test_sees_what_the_dispatcher_cannot_repair(self, cutout: Cutout, held: uuid.UUID) -> None:
        """Jobs are taken all the same; and the job itself is explained."""
        ran = cutout("doctor")
        assert ran.code == 1
        (line,) = [line for line in ran.stdout.splitlines() if line.startswith("wrong")]
        assert line.split()[:3] == ["wrong", "audit", "1"]
        assert f"`cutout retry {held}`" in cutout("explain", str(held)).stdout

    @pytest.mark.usefixtures("_works", "bucket", "stuck")
    def test_does_not_name_what_is_repaired_by_itself(self, cutout: Cutout) -> None:
        """It would be gone when somebody looks."""
        assert cutout("doctor").code == 0

    @pytest.mark.usefixtures("bucket")
    def test_sees_that_postgres_takes_no_writes(self, cutout: Cutout, engine: Engine) -> None:
        """It answers, and is not well."""
        name = engine.url.database
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        ran = cutout("doctor")
        assert ran.code == 1
        assert "wrong  database      it accepts no writes" in ran.stdout
        assert cutout("pause").stderr.startswith("the database does not answer: ")
