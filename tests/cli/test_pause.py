from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.producers.producers import create_producer
from tests.cli.command import Cutout
from tests.support.fates import Fates

MakeBatch = Callable[[str, Fates], str]


def scalar(engine: Engine, query: str) -> object:
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


class TestPause:
    def test_of_a_batch_holds_it_until_it_is_resumed(
        self, cutout: Cutout, engine: Engine, make_batch: MakeBatch
    ) -> None:
        """Each command says what it did and how to undo it; a second time changes nothing: exit code 1."""
        batch = make_batch("b", {"new": None})
        ran = cutout("pause", "--batch", batch)
        assert (ran.code, ran.stdout) == (
            0,
            f"the batch {batch} is paused; `cutout resume --batch {batch}` lets it go on\n",
        )
        assert scalar(engine, "SELECT count(*) FROM batches WHERE paused_by_operator_at IS NOT NULL") == 1
        ran = cutout("pause", "--batch", batch)
        assert (ran.code, ran.stderr) == (1, f"the batch {batch} is paused already\n")
        assert cutout("resume", "--batch", batch).stdout == f"the batch {batch} continues\n"
        assert cutout("resume", "--batch", batch).code == 1
        assert scalar(engine, "SELECT count(*) FROM batches WHERE paused_by_operator_at IS NULL") == 1

    def test_of_a_producer_is_not_the_operators_to_lift_unawares(
        self, cutout: Cutout, engine: Engine, make_batch: MakeBatch
    ) -> None:
        """It stays, and is lifted in the producer's place if that is asked for, not past an operator's."""
        batch = make_batch("b", {"new": None})
        with Session(engine) as session, session.begin():
            producer, _ = create_producer(session, "shop")
            its = "UPDATE batches SET paused_at = now(), producer_id = :id"
            session.execute(text(its), {"id": producer.id})
        assert cutout("pause", "--batch", batch).code == 0
        assert cutout("resume", "--as-producer", "--batch", batch).code == 1
        ran = cutout("resume", "--batch", batch)
        assert ran.code == 0
        assert "is not paused by an operator; its producer paused it at" in ran.stdout
        again = cutout("resume", "--batch", batch)
        assert (again.code, "its producer paused it at" in again.stderr) == (1, True)
        ran = cutout("resume", "--as-producer", "--batch", batch)
        assert ran.stdout == f"the batch {batch} continues\n"

    def test_of_before_the_two_were_told_apart_is_lifted(
        self, cutout: Cutout, engine: Engine, make_batch: MakeBatch
    ) -> None:
        """A batch that has no producer has one pause, in whichever column it is."""
        batch = make_batch("b", {"new": None})
        with engine.begin() as connection:
            connection.execute(text("UPDATE batches SET paused_at = now()"))
        assert cutout("resume", "--batch", batch).stdout == f"the batch {batch} continues\n"

    def test_of_everything_shows_in_the_limits(self, cutout: Cutout, engine: Engine) -> None:
        """Without a batch it is the whole line."""
        assert cutout("pause").stdout == "everything is paused; `cutout resume` lets it go on\n"
        assert scalar(engine, "SELECT count(*) FROM queue_clock WHERE paused_at IS NOT NULL") == 1
        assert cutout("limits").stdout.startswith("all calls are paused since 20")
        assert cutout("resume").stdout == "everything continues\n"

    def test_of_no_batch_says_so(self, cutout: Cutout) -> None:
        """An id that nothing has is wrong usage."""
        assert cutout("pause", "--batch", "abc").code == 2


class TestBudget:
    def test_is_set_raised_and_lifted(self, cutout: Cutout, engine: Engine, make_batch: MakeBatch) -> None:
        """It says the bound and what counts as spent."""
        batch = make_batch("b", {"new": None})
        ran = cutout("budget", batch, "5")
        assert ran.stdout == f"the batch {batch} has a budget of 5 credits; 0 spent or out\n"
        assert scalar(engine, "SELECT budget FROM batches") == 5
        assert "has no bound" in cutout("budget", batch, "--lift").stdout
        assert scalar(engine, "SELECT budget FROM batches") is None

    @pytest.mark.parametrize("arguments", [[], ["5", "--lift"], ["-1"], ["many"]])
    def test_wants_one_bound(self, cutout: Cutout, make_batch: MakeBatch, arguments: list[str]) -> None:
        """Neither none nor two, and no negative one."""
        assert cutout("budget", make_batch("b", {"new": None}), *arguments).code == 2


class TestExplain:
    def test_finds_a_job_by_its_batch_and_external_id(
        self, cutout: Cutout, engine: Engine, make_batch: MakeBatch
    ) -> None:
        """The form in which people know it; the reason and the remedy on lines of their own."""
        batch = make_batch("b", {"SKU-1": None})
        ran = cutout("explain", f"{batch}:SKU-1")
        first, *rest = ran.stdout.splitlines()
        job_id = scalar(engine, "SELECT id FROM jobs")
        assert first == f"queued  {job_id}  SKU-1 rgba"
        assert rest == [
            "  no dispatcher leads, so nothing is dispatched",
            "  start `cutout dispatcher`",
        ]

    def test_of_nothing_says_what_is_missing(self, cutout: Cutout, make_batch: MakeBatch) -> None:
        """A batch alone, an unknown external id, an unknown job."""
        batch = make_batch("b", {"SKU-1": None})
        assert "is a batch; name a job of it as" in cutout("explain", batch).stderr
        assert "has no job with the external_id 'SKU-2'" in cutout("explain", f"{batch}:SKU-2").stderr
        assert cutout("explain", "abc").code == 2


class TestLimits:
    def test_of_an_account_that_never_called_say_so(self, cutout: Cutout) -> None:
        """Ceilings, and that the rest is learned with the first calls."""
        ran = cutout("limits")
        assert "ceilings 1000 calls/s, 100 in flight" in ran.stdout
        assert "nothing is known yet" in ran.stdout

    def test_show_what_was_learned_and_what_is_left(self, cutout: Cutout, engine: Engine) -> None:
        """The level, the ceiling found, credits and the pause."""
        cutout("doctor")
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO accounts (name, credits, credits_at, paused_at, pause_code, pause_message,"
                    " probe_at) VALUES (:name, 50, now(), now(), 'ERROR_USER_LOCKED', 'locked', now())"
                ),
                {"name": account(cutout)},
            )
            connection.execute(
                text(
                    "INSERT INTO limits (account, level, top, open_calls, waiting, calls_per_second,"
                    " latency_seconds) VALUES (:name, 11.8, 12.1, 11, 3, 5.7, 2.05)"
                ),
                {"name": account(cutout)},
            )
        said = cutout("limits").stdout
        for words in (
            "allowed  11.8 in flight (ceiling found 12.1)",
            "in use   11 in flight, 3 waiting, 5.7 calls/s",
            "latency  2.05 s a call",
            "credits  50, 0.0 h at this rate",
            "ERROR_USER_LOCKED: locked",
        ):
            assert words in said


def account(cutout: Cutout) -> str:
    """The name that the command shows."""
    return cutout("limits").stdout.split()[1]
