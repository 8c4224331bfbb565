import os
import pty
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from cutout import queue
from cutout.billing import accounts
from cutout.endpoint.answer import Accepted
from cutout.endpoint.client import CREDITS_PATH, EndpointClient
from cutout.enums import AttemptOutcome
from cutout.images.image import prepare
from cutout.models import Attempt, CreditReading
from cutout.producers.producers import create_producer
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Fail, StoredObject, Succeeded
from cutout.queue.enqueue import NewJob, enqueue
from tests.cli.command import Cutout, Ran
from tests.support.fates import Fates
from tests.support.sandbox import Sandbox
from tests.support.steps import SOURCE, ask_to_begin, begin, claim_one, new_worker
from tests.support.system import System
from tests.support.web import serve

COLUMNS = ["begun", "charged", "not_charged", "unknown", "out_now", "lost", "saved"]
DONE = Succeeded(StoredObject("cutouts/a.png", b"\xab" * 32, "image/png", 12_345, 10, 20))
BAD = Fail("IMAGE_BROKEN", "cut off")
KEY = "key-of-the-bill"
MakeBatch = Callable[[str, Fates], str]


@pytest.fixture
def called(engine: Engine) -> str:
    """A job without batch, [/x], that was refused once and whose second call is out; gives its id."""
    with Session(engine) as session, session.begin():
        job_id = enqueue(session, NewJob(SOURCE, "[/x]"))
        claim = claim_one(session, new_worker(session))
        queue.end_attempt(session, begin(session, claim), Answer(AttemptOutcome.NOT_CHARGED, code="BAD"))
        begin(session, claim, number=2)
        return str(job_id)


@pytest.fixture
def account(cutout: Cutout, sandbox: Sandbox) -> Callable[[float], None]:
    """Sets the credits of an account of this test's own, which the command asks for."""
    cutout.environment["CUTOUT_ENDPOINT_API_KEYS"] = KEY

    def set_credits(balance: float) -> None:
        sandbox.set(credits={KEY: balance})

    set_credits(100)
    return set_credits


def call(sandbox: Sandbox, picture: bytes) -> None:
    """Let another program pay for a call with the same key."""
    with EndpointClient(sandbox.url, KEY) as client:
        assert isinstance(client.cut_out(prepare(picture)), Accepted)


def buy(engine: Engine, sandbox: Sandbox, picture: bytes) -> None:
    """A call as a worker makes it: with its two lines in the ledger."""
    name = accounts.account_name(KEY)
    with Session(engine) as session, session.begin():
        enqueue(session, NewJob(SOURCE))
        claim = claim_one(session, new_worker(session))
        accounts.ensure(session, name)
        attempt_id = ask_to_begin(session, claim, account=name)
        assert isinstance(attempt_id, int)
    call(sandbox, picture)
    with Session(engine) as session, session.begin():
        queue.end_attempt(session, attempt_id, Answer(AttemptOutcome.CHARGED, http_status=200))


def rows(ran: Ran) -> dict[str, list[str]]:
    """The table's lines by what they begin with, without its head."""
    assert (ran.code, ran.stderr) == (0, "")
    # The name of the one batch that was asked for stands above.
    lines = [line for line in ran.stdout.splitlines() if not re.match(r"batch \S+  \S+$", line)]
    assert lines[0].split()[-len(COLUMNS) :] == COLUMNS
    return {(words := re.split(r"\s{2,}", line))[0]: words[1:] for line in lines[1:]}


class TestTheView:
    @pytest.mark.usefixtures("called")
    def test_is_the_sum_and_the_days(self, cutout: Cutout, make_batch: MakeBatch) -> None:
        """Without options: all of it, then today (UTC), each with every column."""
        make_batch("b", {"a": DONE})
        before = datetime.now(UTC)
        found = rows(cutout("ledger"))
        after = datetime.now(UTC)
        assert found["all"] == ["2", "0", "1", "0", "1", "0", "1"]
        assert set(found) - {"all"} <= {f"{before:%Y-%m-%d}", f"{after:%Y-%m-%d}"}
        assert list(found.values())[1] == found["all"]

    @pytest.mark.usefixtures("called")
    def test_goes_back_as_many_days_as_asked(self, cutout: Cutout, engine: Engine) -> None:
        """30 unless told; what is older still counts in the sum."""
        with engine.begin() as connection:
            connection.execute(update(Attempt).values(begun_at=datetime.now(UTC) - timedelta(days=35)))
        assert list(rows(cutout("ledger"))) == ["all"]
        assert len(rows(cutout("ledger", "--days", "40"))) == 2

    def test_of_an_empty_ledger_is_noughts(self, cutout: Cutout) -> None:
        """Nothing was called yet, which is no error."""
        for by in ("day", "batch", "producer", "job"):
            assert rows(cutout("ledger", "--by", by)) == {"all": ["0"] * 7}

    @pytest.mark.usefixtures("called")
    def test_by_batch_has_a_line_for_each(self, cutout: Cutout, make_batch: MakeBatch) -> None:
        """With the batch's id and name as it was given; jobs without a batch are one line."""
        batch_id = make_batch("[/hats] 2", {"a": DONE, "b": DONE})
        found = rows(cutout("ledger", "--by", "batch"))
        assert list(found) == ["all", batch_id, "no batch"]
        assert found[batch_id] == ["0", "0", "0", "0", "0", "0", "2", "[/hats] 2"]
        assert found["no batch"] == ["2", "0", "1", "0", "1", "0", "0"]

    @pytest.mark.usefixtures("called")
    def test_by_producer_has_a_line_for_each(self, cutout: Cutout, engine: Engine) -> None:
        """With its id and name; what operators enqueued is one line."""
        with Session(engine) as session, session.begin():
            producer_id = create_producer(session, "[/shop]")[0].id
            job_id = enqueue(session, NewJob(SOURCE), producer_id=producer_id)
            claim = claim_one(session, new_worker(session))
            assert claim.job_id == job_id
            queue.end_attempt(session, begin(session, claim), Answer(AttemptOutcome.NOT_CHARGED, code="BAD"))
        found = rows(cutout("ledger", "--by", "producer"))
        assert list(found) == ["all", str(producer_id), "no producer"]
        assert found[str(producer_id)] == ["1", "0", "1", "0", "0", "0", "0", "[/shop]"]

    def test_by_job_has_a_line_for_each_that_called(
        self, cutout: Cutout, called: str, make_batch: MakeBatch
    ) -> None:
        """With the job's id, name and form; a job without calls has none."""
        make_batch("b", {"a": DONE})
        found = rows(cutout("ledger", "--by", "job"))
        assert list(found) == ["all", called]
        assert found[called] == ["2", "0", "1", "0", "1", "0", "0", "[/x] (rgba)"]

    @pytest.mark.usefixtures("called")
    def test_lines_its_figures_up(self, cutout: Cutout, make_batch: MakeBatch) -> None:
        """Each column ends where its heading does, whatever the lines stand for."""
        make_batch("b", {"a": DONE})
        for by in ("day", "batch", "producer", "job"):
            head, *lines = cutout("ledger", "--by", by).stdout.splitlines()
            ends = [match.end() for match in re.finditer(r"\S+", head)][-len(COLUMNS) :]
            for line in lines:
                assert {match.end() for match in re.finditer(r"\S+", line[: ends[-1]])} >= set(ends)


class TestTheViewOfABatch:
    @pytest.mark.usefixtures("called")
    def test_is_its_own_sum(self, cutout: Cutout, make_batch: MakeBatch) -> None:
        """The batch is named, and only its jobs are counted; the beginning of its id is enough."""
        batch_id = make_batch("[/hats]", {"a": DONE, "b": BAD, "c": None})
        ran = cutout("ledger", "--batch", batch_id[:30])
        assert ran.stdout.splitlines()[0] == f"batch {batch_id}  [/hats]"
        assert rows(ran) == {"all": ["0", "0", "0", "0", "0", "0", "1"]}

    def test_may_be_by_job_day_and_batch(
        self, cutout: Cutout, engine: Engine, called: str, make_batch: MakeBatch
    ) -> None:
        """Each of them leaves other batches out."""
        batch_id = make_batch("hats", {})
        make_batch("shoes", {"a": DONE})
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE jobs SET batch_id = :batch WHERE id = :job"), {"batch": batch_id, "job": called}
            )
        figures = ["2", "0", "1", "0", "1", "0", "0"]
        by_job = rows(cutout("ledger", "--batch", batch_id, "--by", "job"))
        assert by_job == {"all": figures, called: [*figures, "[/x] (rgba)"]}
        assert list(rows(cutout("ledger", "--batch", batch_id, "--by", "day")).values()) == [figures] * 2
        by_batch = rows(cutout("ledger", "--batch", batch_id, "--by", "batch"))
        assert by_batch == {"all": figures, batch_id: [*figures, "hats"]}

    def test_needs_a_batch(self, cutout: Cutout, called: str) -> None:
        """A job's id, or one that is none, is refused in one line."""
        for identifier in (called, "ffff", ""):
            ran = cutout("ledger", "--batch", identifier)
            assert (ran.code, ran.stdout) == (2, "")
            assert ran.stderr == f"no batch has an id that begins with {identifier!r}\n"


class TestReconciling:
    def test_begins_with_a_first_reading(
        self, cutout: Cutout, engine: Engine, account: Callable[[float], None]
    ) -> None:
        """There is nothing to compare yet, which is said; the balance is kept, under no name of the key."""
        account(1234.5)
        ran = cutout("ledger", "--reconcile")
        assert (ran.code, ran.stderr) == (0, "")
        balance, said = ran.stdout.splitlines()
        assert re.fullmatch(r"balance   1,234\.5 credits, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", balance)
        assert said.startswith("the first reading of this account: the next")
        with Session(engine) as session:
            reading = session.scalars(select(CreditReading)).one()
            assert (reading.account, reading.balance) == (accounts.account_name(KEY), 1234.5)

    @pytest.mark.usefixtures("account")
    def test_adds_up_when_only_the_ledger_s_calls_were_paid(
        self, cutout: Cutout, engine: Engine, sandbox: Sandbox, picture: bytes
    ) -> None:
        """Two calls between two readings are two credits gone; the third is held against the second."""
        assert cutout("ledger", "--reconcile").code == 0
        for _ in range(2):
            buy(engine, sandbox, picture)
        _shift(engine)
        ran = cutout("ledger", "--reconcile")
        assert (ran.code, ran.stderr) == (0, "")
        balance, before, *rest = ran.stdout.splitlines()
        assert balance.startswith("balance   98 credits, ")
        assert before.startswith("before    100 credits, ")
        assert rest == [
            "gone      2 credits",
            "ledger    2 to 2 (2 charged, 0 charged around a reading, 0 unknown)",
            "it adds up",
        ]
        assert "gone      0 credits\n" in cutout("ledger", "--reconcile").stdout

    @pytest.mark.usefixtures("account")
    def test_finds_another_program_out(
        self, cutout: Cutout, engine: Engine, sandbox: Sandbox, picture: bytes
    ) -> None:
        """A call that the ledger does not know of is a credit too many, once; the next time starts anew."""
        assert cutout("ledger", "--reconcile").code == 0
        buy(engine, sandbox, picture)
        call(sandbox, picture)
        ran = cutout("ledger", "--reconcile")
        assert (ran.code, ran.stderr) == (1, "")
        assert ran.stdout.splitlines()[-1] == (
            "the endpoint took 1 credit more than the ledger has: is another program using this account?"
        )
        assert cutout("ledger", "--reconcile").code == 0

    def test_cannot_say_after_a_top_up(self, cutout: Cutout, account: Callable[[float], None]) -> None:
        """More than before is a top-up: exit code 1, since nothing is proven."""
        assert cutout("ledger", "--reconcile").code == 0
        account(600)
        ran = cutout("ledger", "--reconcile")
        assert (ran.code, "rose by 500 credits: credits were added (a top-up)" in ran.stdout) == (1, True)

    def test_starts_anew_with_another_key(self, cutout: Cutout, sandbox: Sandbox) -> None:
        """Two keys are two accounts, and the one's balance is never held against the other's."""
        sandbox.set(credits={"one-key": 10, "two-keys": 20})
        for key in ("one-key", "two-keys"):
            ran = cutout("ledger", "--reconcile", settings={"CUTOUT_ENDPOINT_API_KEYS": key})
            assert (ran.code, "the first reading of this account" in ran.stdout) == (0, True)

    @pytest.mark.parametrize("options", [("--batch", "0"), ("--by", "job")])
    def test_is_about_the_whole_account(self, cutout: Cutout, options: tuple[str, str]) -> None:
        """Of a batch or by job there is no balance."""
        ran = cutout("ledger", "--reconcile", *options)
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.stderr == "--reconcile is about the whole account; leave --batch and --by away\n"


class TestAnEndpointThatDoesNotSay:
    @pytest.fixture
    def odd(self) -> Iterator[str]:
        """An endpoint whose account has pools without a balance."""
        with serve({CREDITS_PATH: b'{"error_code":0,"data":[{"unique_sign":"common"}]}'}) as host:
            yield f"http://{host}"

    def refused(self, cutout: Cutout, engine: Engine, **settings: str) -> str:
        ran = cutout("ledger", "--reconcile", settings={f"CUTOUT_{key}": settings[key] for key in settings})
        assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        with Session(engine) as session:
            assert session.scalars(select(CreditReading)).all() == []
        return ran.stderr

    def test_its_balance_leaves_no_reading(self, cutout: Cutout, engine: Engine, odd: str) -> None:
        """Out of reach, a wrong key, no balance: one line each with what to do, exit code 2."""
        said = self.refused(cutout, engine, ENDPOINT_URL="http://127.0.0.1:1")
        assert said.startswith("the endpoint does not say its balance: ")
        assert said.endswith("try `cutout doctor`\n")
        said = self.refused(cutout, engine, ENDPOINT_API_KEYS="mistyped-word")
        assert said.startswith("the endpoint refused the key: ERROR_")
        assert "answered without a balance" in self.refused(cutout, engine, ENDPOINT_URL=odd)
        assert "copy it again; fix" in self.refused(cutout, engine, ENDPOINT_API_KEYS="two words")
        assert "is missing" in self.refused(cutout, engine, ENDPOINT_API_KEYS="")


class TestARunningSystem:
    @pytest.mark.long("runs everything once; tests/cutout/billing/test_totals.py has the figures")
    def test_pays_what_its_ledger_says(self, system: System, picture: bytes, tmp_path: Path) -> None:
        """Cutouts through dispatcher and worker: the endpoint's balance and the ledger agree."""
        cutout = Cutout(system.environment, tmp_path)
        assert cutout("ledger", "--reconcile").code == 0
        for name in ("hat", "shoe"):
            (tmp_path / f"{name}.png").write_bytes(picture)
        assert cutout("ingest", ".", "--wait").code == 0
        ran = cutout("ledger", "--reconcile")
        assert ran.code == 0
        assert ran.stdout.endswith("it adds up\n")
        assert "gone      2 credits\n" in ran.stdout
        assert rows(cutout("ledger"))["all"] == ["2", "2", "0", "0", "0", "0", "0"]


class TestWhoReadsIt:
    @pytest.mark.usefixtures("called")
    def test_sees_no_colour_but_on_a_terminal(self, cutout: Cutout) -> None:
        """Piped it is plain; on a terminal the head stands out and the figures are the same."""
        leader, follower = pty.openpty()
        cutout.environment |= {"TERM": "xterm", "COLUMNS": "120"}
        process = cutout.start("ledger", stdout=follower)
        os.close(follower)
        said = _read(leader)
        assert cutout.ended(process).code == 0
        plain = cutout("ledger").stdout
        assert "\x1b" not in plain
        assert "\x1b[1m" in said
        assert re.sub(r"\x1b\[[0-9;]*m", "", said).split() == plain.split()

    def test_is_told_of_wrong_words(self, cutout: Cutout) -> None:
        """Usage is exit code 2 with the words that would do."""
        ran = cutout("ledger", "--by", "week")
        assert (ran.code, ran.stdout) == (2, "")
        assert all(word in ran.stderr for word in ("day", "batch", "job"))
        assert cutout("ledger", "--days", "0").code == 2

    def test_is_told_that_the_database_is_away(self, cutout: Cutout) -> None:
        """One line, and no table's head before it."""
        for options in ((), ("--reconcile",)):
            ran = cutout(
                "ledger", *options, settings={"CUTOUT_DATABASE_URL": "postgresql://c:hidden@127.0.0.1:1/c"}
            )
            assert (ran.code, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
            assert ran.stderr.startswith("the database does not answer: ")


def _shift(engine: Engine) -> None:
    """Let the readings and calls so far lie an hour back, the calls well after the readings."""
    hour, most_of_it = timedelta(hours=1), timedelta(minutes=50)
    with engine.begin() as connection:
        connection.execute(update(CreditReading).values(read_at=CreditReading.read_at - hour))
        connection.execute(
            update(Attempt).values(
                begun_at=Attempt.begun_at - most_of_it, ended_at=Attempt.ended_at - most_of_it
            )
        )


def _read(leader: int) -> str:
    """Everything the terminal shows until its other end is closed."""
    said = b""
    try:
        while more := os.read(leader, 4096):
            said += more
    except OSError:
        pass
    os.close(leader)
    return said.decode()
