import uuid
from collections.abc import Callable
from typing import ClassVar

import pytest
from sqlalchemy import Engine, text

from cutout import queue
from cutout.models import JOBS
from cutout.queue.attempts.outcomes import Fail, Hold
from cutout.queue.bulk import apply_chunk
from cutout.queue.job_ids import find_ids
from tests.cli.command import Cutout
from tests.support.fates import DONE, Fates

FATES: Fates = {"done": DONE, "bad": Fail("BROKEN", "x"), "held": Hold("LOOK", "x"), "new": None}
MakeBatch = Callable[[str, Fates], str]


def states(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT external_id, state FROM jobs ORDER BY id"))
        return {external_id: state for external_id, state in rows}  # noqa: C416 - rows are no pairs to mypy


def job_id(engine: Engine, external_id: str) -> str:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT id FROM jobs WHERE external_id = :id"), {"id": external_id})
        return str(found.scalar_one())


class TestRetry:
    def test_of_a_batch_takes_what_failed_or_is_held(
        self, cutout: Cutout, engine: Engine, make_batch: MakeBatch
    ) -> None:
        """Both are ready again, the others are left, and the count is said."""
        ran = cutout("retry", make_batch("b", FATES))
        assert (ran.code, ran.stdout) == (0, "2 back in the queue\n")
        assert states(engine) == {"done": "succeeded", "bad": "queued", "held": "queued", "new": "queued"}

    def test_of_a_job_takes_that_one(self, cutout: Cutout, engine: Engine, make_batch: MakeBatch) -> None:
        """Another job that failed stays as it is."""
        make_batch("b", FATES)
        assert cutout("retry", job_id(engine, "bad")).stdout == "1 back in the queue\n"
        assert (states(engine)["bad"], states(engine)["held"]) == ("queued", "held")


class TestRetryOfSome:
    FATES: ClassVar[Fates] = {
        "a": Fail("BROKEN", "x"),
        "b": Fail("GONE", "x"),
        "c": Hold("BROKEN", "x"),
        "d": DONE,
        "e": Fail("LATE", "x"),
    }

    def test_takes_what_stopped_for_that_reason(
        self, cutout: Cutout, engine: Engine, make_batch: MakeBatch
    ) -> None:
        """Failed or held, with any of the codes named; the others stay as they ended."""
        batch_id = make_batch("b", self.FATES)
        make_batch("other", {"x": Fail("BROKEN", "x")})
        ran = cutout("retry", batch_id, "--code", "BROKEN", "--code", "LATE")
        assert (ran.code, ran.stdout) == (0, "3 back in the queue\n")
        assert {name for name, state in states(engine).items() if state == "queued"} == {"a", "c", "e"}

    def test_takes_one_picture(self, cutout: Cutout, engine: Engine, make_batch: MakeBatch) -> None:
        """By its external id, and only if the code fits too."""
        batch_id = make_batch("b", self.FATES)
        ran = cutout("retry", batch_id, "--external-id", "b", "--code", "BROKEN")
        assert (ran.code, ran.stdout) == (1, "")
        assert ran.stderr == "nothing of it is failed or held with BROKEN under the id 'b'\n"
        assert cutout("retry", batch_id, "--external-id", "b").stdout == "1 back in the queue\n"
        assert [name for name, state in states(engine).items() if state == "queued"] == ["b"]

    def test_goes_by_chunks(self, engine: Engine, make_batch: MakeBatch) -> None:
        """Each is committed by itself; all of them are moved, each once."""
        batch_id = make_batch("b", {f"n{n}": Fail("BROKEN", "x") for n in range(7)})
        with find_ids(engine, JOBS.c.batch_id == uuid.UUID(batch_id)) as ids:
            moved = [apply_chunk(engine, queue.retry_all, chunk) for chunk in ids.pages(3)]
        assert moved == [3, 3, 1]
        assert set(states(engine).values()) == {"queued"}


class TestCancel:
    def test_of_a_batch_takes_what_waits(self, cutout: Cutout, engine: Engine, make_batch: MakeBatch) -> None:
        """Queued and held jobs are cancelled; jobs that ended stay as they ended."""
        ran = cutout("cancel", make_batch("b", FATES))
        assert (ran.code, ran.stdout) == (0, "2 cancelled\n")
        assert states(engine) == {
            "done": "succeeded",
            "bad": "failed",
            "held": "cancelled",
            "new": "cancelled",
        }

    def test_of_a_job_takes_that_one(self, cutout: Cutout, engine: Engine, make_batch: MakeBatch) -> None:
        """Another job that waits stays queued."""
        make_batch("b", FATES)
        assert cutout("cancel", job_id(engine, "held")).stdout == "1 cancelled\n"
        assert (states(engine)["held"], states(engine)["new"]) == ("cancelled", "queued")


class TestNothingToMove:
    @pytest.mark.parametrize(
        ("command", "said"),
        [("retry", "nothing of it is failed or held\n"), ("cancel", "nothing of it is still to end\n")],
    )
    def test_is_said_and_is_1(
        self, cutout: Cutout, engine: Engine, make_batch: MakeBatch, command: str, said: str
    ) -> None:
        """A batch and a job that succeeded are left alone."""
        batch_id = make_batch("b", {"done": DONE})
        for identifier in (batch_id, job_id(engine, "done")):
            ran = cutout(command, identifier)
            assert (ran.code, ran.stdout, ran.stderr) == (1, "", said)
        assert states(engine) == {"done": "succeeded"}

    def test_under_an_unknown_id_is_2(self, cutout: Cutout, engine: Engine, make_batch: MakeBatch) -> None:
        """An id of none, and one of several, move nothing."""
        make_batch("b", {"held": FATES["held"]})
        for identifier in ("ffff", "0"):
            assert cutout("cancel", identifier).code == 2
        assert states(engine) == {"held": "held"}
