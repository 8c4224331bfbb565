import uuid
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.status import NAMED_FAILURES
from cutout.queue.attempts.outcomes import Fail, Hold, StoredObject, Succeeded
from cutout.queue.enqueue import NewJob, enqueue
from tests.cli.command import Cutout
from tests.support.fates import Fates

DONE = Succeeded(StoredObject("cutouts/[b]/a.png", b"\xab" * 32, "image/png", 12_345, 10, 20))
BAD = Fail("IMAGE_BROKEN", "it is [/cut] off")
STOPPED = Hold("UNKNOWN_OUTCOME", "look at the ledger")


def job_id(engine: Engine, name: str) -> str:
    """A new ready job, without a batch."""
    with Session(engine) as session, session.begin():
        return str(enqueue(session, NewJob("https://shop.example/a.jpg", name)))


def only_job(engine: Engine, batch_id: str) -> str:
    """The id of the batch's one job."""
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT id FROM jobs WHERE batch_id = %s", (batch_id,))
        return str(found.scalar_one())


class TestTheStatusOfABatch:
    def test_that_succeeded_is_0(self, cutout: Cutout, make_plain_batch: Callable[[str, Fates], str]) -> None:
        """One line with the count of each state that has jobs; the name is shown as it was given."""
        batch_id = make_plain_batch("[/x]", {"a": DONE, "b": DONE})
        ran = cutout("status", batch_id)
        assert (ran.code, ran.stderr) == (0, "")
        assert ran.stdout == f"batch {batch_id}  [/x]: 2 of 2 done; 2 succeeded\n"

    def test_that_is_under_way_is_3(
        self, cutout: Cutout, make_plain_batch: Callable[[str, Fates], str]
    ) -> None:
        """While a job is to come the exit code says so, whatever became of the others."""
        ran = cutout("status", make_plain_batch("b", {"a": BAD, "b": None}))
        assert ran.code == 3
        assert "1 of 2 done; 1 queued, 1 failed" in ran.stdout

    def test_that_failed_names_the_failures(
        self, cutout: Cutout, make_plain_batch: Callable[[str, Fates], str]
    ) -> None:
        """Failed and held jobs come with their reasons, the first ten of them; the exit code is 1."""
        fates: Fates = {f"SKU-{n}": BAD for n in range(NAMED_FAILURES + 2)}
        batch_id = make_plain_batch("b", {"stopped": STOPPED, **fates, "good": DONE})
        ran = cutout("status", batch_id)
        _, *named, more = ran.stdout.splitlines()
        assert ran.code == 1
        assert named[0] == "  held stopped (rgba): UNKNOWN_OUTCOME: look at the ledger"
        assert named[1] == "  failed SKU-0 (rgba): IMAGE_BROKEN: it is [/cut] off"
        assert len(named) == NAMED_FAILURES
        assert more == f"  and 3 more; `cutout results {batch_id} -o FILE.csv` has them all"


class TestTheStatusOfAJob:
    def test_in_line_is_3(self, cutout: Cutout, engine: Engine) -> None:
        """A job that waits is not finished; its name is shown as it was given."""
        identifier = job_id(engine, "[/x]")
        ran = cutout("status", identifier)
        assert (ran.code, ran.stdout) == (3, f"job {identifier}  [/x]  rgba  queued\n")

    def test_that_succeeded_names_its_cutout(
        self, cutout: Cutout, engine: Engine, make_plain_batch: Callable[[str, Fates], str]
    ) -> None:
        """Key, size and type of the cutout, and exit code 0."""
        ran = cutout("status", only_job(engine, make_plain_batch("b", {"a": DONE})))
        assert ran.code == 0
        assert "  cutouts/[b]/a.png  10x20 image/png, 12,345 bytes\n" in ran.stdout

    def test_that_stopped_says_why_and_what_to_do(
        self, cutout: Cutout, engine: Engine, make_plain_batch: Callable[[str, Fates], str]
    ) -> None:
        """Code, message and the command that goes on, and exit code 1."""
        identifier = only_job(engine, make_plain_batch("b", {"a": STOPPED}))
        ran = cutout("status", identifier)
        assert ran.code == 1
        assert ran.stdout == (
            f"job {identifier}  a  rgba  held\n"
            "  UNKNOWN_OUTCOME: look at the ledger\n"
            f"  go on with `cutout retry {identifier}`\n"
        )


class TestAnIdentifier:
    def test_may_be_cut_short_to_what_is_unique(self, cutout: Cutout, engine: Engine) -> None:
        """The beginning of an id is enough, with or without dashes and in capitals."""
        identifier = job_id(engine, "a")
        for beginning in (identifier[:20], identifier[:6], identifier.replace("-", "")[:16].upper()):
            assert f"job {identifier}" in cutout("status", beginning).stdout

    def test_that_begins_several_is_refused(self, cutout: Cutout, engine: Engine) -> None:
        """Of two that begin alike none is guessed."""
        job_id(engine, "a")
        job_id(engine, "b")
        ran = cutout("status", "0")
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.stderr == "'0' begins the ids of more than one; write more of it\n"

    def test_that_begins_none_is_refused(self, cutout: Cutout) -> None:
        """An unknown id, a word that is none and an empty one are each said in one line."""
        for identifier in (str(uuid.UUID(int=1)), "[/x]", ""):
            ran = cutout("status", identifier)
            assert (ran.code, ran.stdout) == (2, "")
            assert ran.stderr == f"no batch or job has an id that begins with {identifier!r}\n"
