"""The audit finds what is wrong: each test doctors one thing that the soak must never let pass."""

import hashlib
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import AttemptOutcome
from cutout.images.image import prepare
from cutout.queue.attempts.attempts import Answer
from cutout.queue.attempts.outcomes import Fail, Hold, StoredObject, Succeeded
from cutout.queue.claims import Claim
from cutout.queue.enqueue import NewJob, create_batch, enqueue
from cutout.status.call_rate import CallSettings
from cutout.storage import Bucket
from tests.soak.audit import Charge, Findings, audit
from tests.soak.doubts import Call, Cause
from tests.soak.operator import Held, Ordered, Quiet
from tests.soak.orders import Placed
from tests.soak.pictures import picture
from tests.soak.plan import FIRST, LAST, SILENCE_S, Deed, Kind, Mischief, draw_plan
from tests.soak.reasons import silent_jobs
from tests.soak.report import STRIKES_ENOUGH, Report
from tests.soak.struck import Struck
from tests.soak.system import CALLS_IN_FLIGHT
from tests.support.steps import ACCOUNT, MAKING, SOURCE, claim_one, new_worker

LIFETIME_S = 100.0
CUTOUT = b"a cutout"
STORED = StoredObject("cutouts/1.png", hashlib.sha256(CUTOUT).digest(), "image/png", len(CUTOUT), 10, 20)
# Of the one worker (tests/support/steps.py).
PID = 1
NEEDLESS = "doubts without a cause: 1"


class Books:
    """One job, "1", with its place in all the books; each charge has its request id "1", "2" and so on."""

    def __init__(self, session: Session, bucket: Bucket) -> None:
        self.session = session
        self.bucket = bucket
        self.charges: list[Charge] = []
        self.calls: list[Call] = []
        self.struck: list[Struck] = []
        # Everything that is written before the audit is of one transaction, and so of this moment.
        self.now = float(session.scalars(text("SELECT extract(epoch FROM now())")).one())
        self.batch_id: uuid.UUID = create_batch(session, "soak").id
        self.held = Held()
        self.worker_id = new_worker(session)
        enqueue(session, NewJob(SOURCE, "1"), batch_id=self.batch_id)

    def claim(self) -> Claim:
        """The job in a worker's hands."""
        return claim_one(self.session, self.worker_id)

    def begin(self, claim: Claim, number: int = 1) -> int:
        """A call of its picture, written down."""
        attempt_id = queue.begin_attempt(
            self.session,
            claim,
            number=number,
            account=ACCOUNT,
            image_sha256=hashlib.sha256(picture(1)).digest(),
            source_sha256=claim.job_id.bytes,
            recipe=MAKING,
        )
        assert isinstance(attempt_id, int)
        # A call that repeats another comes long after it.
        begun = text("UPDATE attempts SET begun_at = now() + (number - 1) * interval '100 s' WHERE id = :id")
        self.session.execute(begun, {"id": attempt_id})
        return attempt_id

    def charge(self, data: bytes | None = None) -> str:
        """A call that the sandbox charged and answered at once; returns its request id."""
        request_id = str(len(self.charges) + 1)
        sha256 = hashlib.sha256(data or picture(1)).hexdigest()
        self.charges.append(Charge(time.time(), sha256, request_id))
        self.calls.append(Call(self.now + 1, sha256, request_id, answered_at=self.now + 1))
        return request_id

    def charge_later(self, *, answered_s: float | None = None, fault: str | None = None) -> None:
        """A call that the sandbox charged and answered so many seconds after its begin, or never."""
        request_id = self.charge()
        answered_at = None if answered_s is None else self.now + answered_s
        self.calls[-1] = Call(
            self.now + 0.1, self.charges[-1].image_sha256, request_id, fault, answered_at=answered_at
        )

    def doubt(self, attempt_id: int, after_s: float) -> None:
        """The end of a call that nobody heard, written down so many seconds after its begin."""
        queue.end_attempt(self.session, attempt_id, Answer(AttemptOutcome.UNKNOWN, code="NO_ANSWER"))
        doubted = text("UPDATE attempts SET unknown_at = begun_at + :after * interval '1 s' WHERE id = :id")
        self.session.execute(doubted, {"after": after_s, "id": attempt_id})

    def doubt_one(self, after_s: float) -> None:
        """A job whose first call is in doubt, and that succeeds by its second."""
        claim = self.claim()
        self.doubt(self.begin(claim), after_s)
        self.finish(self.record(claim, self.begin(claim, number=2), self.charge()))

    def strike(self, kind: Kind, after_s: float, seconds: float = 0.0, *, pid: int | None = PID) -> None:
        """The worker was struck so many seconds after everything was begun."""
        began_at = self.now + after_s
        self.struck.append(Struck(after_s, kind, "worker-1.1", began_at, began_at + seconds, pid))

    def record(self, claim: Claim, attempt_id: int, request_id: str) -> Claim:
        """The call's end in our ledger."""
        answer = Answer(AttemptOutcome.CHARGED, http_status=200, request_id=request_id)
        day = timedelta(days=1)
        return claim.with_result(
            queue.record_result(
                self.session, claim, attempt_id, answer, url="https://r/1", lifetime=day, sent=(10, 20)
            )
        )

    def succeed(self) -> Claim:
        """Charge, record, store and settle, as a job goes by itself."""
        claim = self.claim()
        claim = self.record(claim, self.begin(claim), self.charge())
        self.finish(claim)
        return claim

    def finish(self, claim: Claim) -> None:
        """The object in the bucket, the job succeeded."""
        self.bucket.put_cutout(CUTOUT, key=STORED.key, media_type=STORED.media_type, metadata={})
        assert queue.settle(self.session, claim, Succeeded(STORED))

    def audit(self, external_ids: Sequence[str] = ("1",)) -> Findings:
        """Findings of the audit."""
        self.session.commit()
        engine = self.session.get_bind()
        assert isinstance(engine, Engine)
        return audit(
            engine,
            self.bucket,
            self.charges,
            calls=self.calls,
            struck=self.struck,
            batch_id=self.batch_id,
            external_ids=external_ids,
            lifetime_s=LIFETIME_S,
            held=self.held,
        )


@pytest.fixture
def books(engine: Engine, bucket: Bucket) -> Iterator[Books]:
    with Session(engine) as session:
        yield Books(session, bucket)


def report(findings: Findings, struck: Sequence[Struck] = (), placed: Sequence[Placed] = ()) -> Report:
    return Report("command", 1.0, findings, struck, placed)


def broken(findings: Findings, placed: Sequence[Placed] = ()) -> str:
    """The broken promises as one text."""
    return "\n".join(report(findings, placed=placed).broken())


class TestLost:
    def test_finds_nothing_wrong_with_a_job_that_went_well(self, books: Books) -> None:
        """One job, one success, one charge, no promise broken."""
        books.succeed()
        found = books.audit()
        assert (found.jobs, found.succeeded, found.charged, found.charged_more_than_once) == (1, 1, 1, 0)
        assert broken(found) == ""

    def test_counts_a_job_that_is_not_in_the_table(self, books: Books) -> None:
        """Jobs that the producer enqueued must be there."""
        books.succeed()
        assert broken(books.audit(["1", "2"])) == "lost: 1: job 2 is not in the table"

    def test_counts_a_job_that_is_neither_final_nor_held(self, books: Books) -> None:
        """A job still in line at the end is lost."""
        assert "lost: 1: job 1" in broken(books.audit())

    def test_counts_a_success_without_an_object(self, books: Books) -> None:
        """A cutout that is not in the bucket is lost, whatever the table says."""
        books.succeed()
        books.bucket._client.delete_object(Bucket=books.bucket.name, Key=STORED.key)
        assert "cannot be read" in broken(books.audit())

    def test_counts_a_success_with_other_bytes(self, books: Books) -> None:
        """The object's bytes must have the SHA-256 that the job has."""
        books.succeed()
        books.bucket.put_cutout(b"another", key=STORED.key, media_type="image/png", metadata={})
        assert "holds other bytes" in broken(books.audit())


class TestCharges:
    def test_finds_a_charge_that_the_ledger_does_not_know(self, books: Books) -> None:
        """A second charge for a picture with one attempt is unaccounted, and was doubted by nobody."""
        books.succeed()
        books.charge()
        lines = broken(books.audit())
        assert "unaccounted: 1" in lines
        assert "double charges: 1, of these recorded as unknown or lost only 0" in lines

    def test_finds_a_charge_for_a_picture_that_nobody_sent(self, books: Books) -> None:
        """A charge must belong to an attempt's picture."""
        books.succeed()
        books.charge(b"another picture")
        assert "unaccounted: 1: a charge for a picture that no attempt sent" in broken(books.audit())

    def test_finds_a_charge_that_only_we_know(self, books: Books) -> None:
        """Calls that our ledger has as charged must be in the endpoint's."""
        books.succeed()
        books.charges.clear()
        assert "which the endpoint did not charge" in broken(books.audit())

    def test_lets_a_doubted_call_be_charged_again(self, books: Books) -> None:
        """The doubt was written down, and its worker was killed before the answer."""
        claim = books.claim()
        in_doubt = books.begin(claim)
        books.charge_later()
        books.doubt(in_doubt, SILENCE_S)
        books.strike(Kind.WORKER_KILLED, 0.5)
        claim = books.record(claim, books.begin(claim, number=2), books.charge())
        books.finish(claim)
        found = books.audit()
        assert (found.charged_more_than_once, found.of_these_recorded, found.doubts.total) == (1, 1, 1)
        assert broken(found) == ""

    def test_misses_the_doubt_about_a_double_charge(self, books: Books) -> None:
        """Two charged calls without a recorded doubt break the promise, even if both are accounted for."""
        claim = books.claim()
        books.record(claim, books.begin(claim), books.charge())
        # The store begins no call of a job that is at its copy.
        books.session.execute(
            text("UPDATE jobs SET step = 'call', result_url = NULL, result_expires_at = NULL")
        )
        again = books.record(claim, books.begin(claim, number=2), books.charge())
        books.finish(again)
        lines = broken(books.audit())
        assert "double charges: 1, of these recorded as unknown or lost only 0" in lines
        assert "bought again too soon: 1" in lines

    def test_finds_a_purchase_before_the_doubt(self, books: Books) -> None:
        """The sums agree in the end: two charges, one doubt. It came after the second call."""
        books.charge_later()
        books.strike(Kind.WORKER_KILLED, 0.5)
        books.doubt_one(after_s=101.0)
        assert "bought again too soon: 1: attempt" in broken(books.audit())

    def test_finds_a_call_that_nobody_ended(self, books: Books) -> None:
        """Whoever began a call, or the rescue after it, writes down how it ended."""
        books.begin(books.claim())
        assert "calls that nobody ended: 1" in broken(books.audit())


class TestDoubts:
    """Each cause, and what is none: tests/soak/test_doubts.py."""

    def test_are_needless_without_a_cause(self, books: Books) -> None:
        """The call was answered, and its worker lived: a doubt of our own recipe."""
        books.charge_later(answered_s=0.5)
        books.doubt_one(after_s=1.0)
        assert NEEDLESS in broken(books.audit())

    def test_are_needless_of_calls_that_never_went_out(self, books: Books) -> None:
        """Nothing came to the sandbox, and nobody struck the worker."""
        books.doubt_one(after_s=1.0)
        assert NEEDLESS in broken(books.audit())

    def test_are_not_excused_by_a_withheld_answer_or_a_kill_elsewhere(self, books: Books) -> None:
        """The sums would agree: an order that was carried out, a worker that was killed, one doubt."""
        books.charge_later(answered_s=0.5, fault=Mischief.RESULT_GONE)
        books.strike(Kind.WORKER_KILLED, 0.2, pid=PID + 1)
        books.doubt_one(after_s=1.0)
        now = time.time()
        assert NEEDLESS in broken(books.audit(), [Placed(Mischief.DROP_AFTER, now - 5, now)])

    def test_are_looked_at_even_if_the_answer_came_in_the_end(self, books: Books) -> None:
        """Somebody doubted, and may have bought again."""
        claim = books.claim()
        attempt_id = books.begin(claim)
        request_id = books.charge()
        books.doubt(attempt_id, after_s=2.0)
        books.finish(books.record(claim, attempt_id, request_id))
        assert NEEDLESS in broken(books.audit())

    def test_show_their_causes(self, books: Books) -> None:
        """In the table."""
        books.charge_later(fault=Mischief.DROP_AFTER)
        books.doubt_one(after_s=1.0)
        found = books.audit()
        assert broken(found) == ""
        assert f"| recorded unknowns: {Cause.WITHHELD} | 1 |" in report(found).table()

    def test_are_missing_of_a_call_that_the_ledger_does_not_have(self, books: Books) -> None:
        """Even one that cost nothing: it was made without its line before it."""
        books.succeed()
        sha256 = hashlib.sha256(picture(1)).hexdigest()
        books.calls.append(Call(books.now + 2, sha256, answered_at=books.now + 3))
        assert "calls that the ledger does not have: 1" in broken(books.audit())

    def test_are_no_proof_where_no_strike_met_a_call(self, books: Books) -> None:
        """A soak whose kills meet no call has tried nothing."""
        for _ in range(STRIKES_ENOUGH):
            books.strike(Kind.WORKER_KILLED, 30.0)
        books.succeed()
        assert f"strikes in vain: none of {STRIKES_ENOUGH} met a call" in broken(books.audit())


class TestResults:
    @pytest.mark.parametrize(("fault", "is_needless"), [(Mischief.RESULT_GONE, False), (None, True)])
    def test_wants_an_order_for_each_loss(
        self, books: Books, fault: str | None, *, is_needless: bool
    ) -> None:
        """A result lost though its URL lived is a broken promise, however many others were spoilt."""
        books.succeed()
        books.calls[0] = replace(books.calls[0], fault=fault)
        books.session.execute(text("UPDATE attempts SET lost_at = now()"))
        books.session.execute(text("UPDATE jobs SET result_attempt = NULL"))
        found = books.audit()
        assert ("results lost that lived: 1" in broken(found)) is is_needless
        assert (found.losses.recorded, found.losses.ordered) == (1, 1 - is_needless)

    def test_wants_a_loss_for_each_order(self, books: Books) -> None:
        """No job succeeds with a result that was spoilt."""
        books.succeed()
        books.calls[0] = replace(books.calls[0], fault=Mischief.TRUNCATED_IMAGE)
        assert "results used that were spoilt: 1" in broken(books.audit())

    def test_forgives_a_loss_that_nobody_could_see(self, books: Books) -> None:
        """The answer came when its worker was dead: the charge is in doubt, and the loss unknown."""
        books.charge_later(fault=Mischief.RESULT_GONE, answered_s=1.0)
        books.strike(Kind.WORKER_KILLED, 0.5)
        books.doubt_one(after_s=SILENCE_S)
        found = books.audit()
        assert (broken(found), found.losses.recorded, found.losses.ordered) == ("", 0, 1)

    def test_forgives_the_loss_of_what_was_withdrawn(self, books: Books) -> None:
        """It came for a job that an operator had cancelled."""
        books.succeed()
        books.session.execute(text("UPDATE attempts SET lost_at = now()"))
        books.held.cancelled.add(books.batch_id)
        found = books.audit()
        assert (broken(found), found.losses.by_cancelling) == ("", 1)

    def test_tells_how_late_the_latest_copy_was(self, books: Books) -> None:
        """Ten seconds from the result to the job's end, of a hundred that the result lives, are a tenth."""
        books.succeed()
        books.session.execute(
            text("UPDATE jobs SET finished_at = (SELECT ended_at FROM attempts) + interval '10 seconds'")
        )
        assert books.audit().latest_copy == pytest.approx(0.1)


class TestOperator:
    def test_misses_jobs_of_a_batch_that_was_ordered(self, books: Books) -> None:
        """Jobs that the command reported as enqueued must be there."""
        books.succeed()
        books.held.ordered.append(Ordered(books.batch_id, 2))
        assert "has 1 jobs, and 2 were enqueued" in broken(books.audit())

    def test_finds_a_budget_that_was_passed(self, books: Books) -> None:
        """Each call that may be charged counts."""
        books.succeed()
        books.held.ordered.append(Ordered(books.batch_id, 1, budget=0))
        assert "spent 1 of 0 credits" in broken(books.audit())

    @pytest.mark.parametrize(("written", "is_wrong"), [(1, False), (None, False), (0, True)])
    def test_finds_credits_that_are_not_what_was_charged(
        self, books: Books, written: int | None, *, is_wrong: bool
    ) -> None:
        """Of an ended batch; a number that is empty is counted by whoever asks."""
        books.succeed()
        ended = text("UPDATE batches SET results_key = 'x', credits = :credits")
        books.session.execute(ended, {"credits": written})
        assert ("batches with wrong credits: 1" in broken(books.audit())) == is_wrong

    def test_finds_a_call_without_approval(self, books: Books) -> None:
        """Nobody approved the plan."""
        books.succeed()
        books.held.ordered.append(Ordered(books.batch_id, 1, awaits_approval=True))
        assert "was not approved and spent 1" in broken(books.audit())

    @pytest.mark.parametrize("of_all", [True, False])
    def test_finds_a_call_that_began_during_a_pause(self, books: Books, *, of_all: bool) -> None:
        """Of this batch, or of everything."""
        begins_at = datetime.now(UTC) - timedelta(hours=1)
        books.succeed()
        ends_at = datetime.now(UTC) + timedelta(hours=1)
        books.held.quiet.append(Quiet(begins_at, ends_at, None if of_all else books.batch_id))
        assert "calls begun during a pause or outside a window: 1" in broken(books.audit())
        books.held.quiet = [Quiet(begins_at, ends_at, uuid.uuid4()), Quiet(begins_at, begins_at, None)]
        assert broken(books.audit()) == ""

    def test_wants_an_order_for_each_cancelled_job(self, books: Books) -> None:
        """Of the job or of its batch."""
        books.session.execute(
            text("UPDATE jobs SET state = 'cancelled', queue_state = NULL, finished_at = now()")
        )
        assert "was cancelled by nobody" in broken(books.audit())
        books.held.cancelled.add(books.batch_id)
        found = books.audit()
        assert (broken(found), found.cancelled) == ("", 1)

    def test_wants_a_bad_picture_for_each_failed_job(self, books: Books) -> None:
        """The job's picture is a good one."""
        queue.settle(books.session, books.claim(), Fail("IMAGE_DAMAGED", "it is damaged"))
        assert "job 1 (" in broken(books.audit())
        assert "failed: IMAGE_DAMAGED" in broken(books.audit())

    def test_wants_a_reason_for_each_wait(self, books: Books) -> None:
        """A person sees why, and for what is held also what to do."""
        queue.settle(books.session, books.claim(), Hold("LOOK", "for a person"))
        books.session.commit()
        engine = books.session.get_bind()
        assert isinstance(engine, Engine)
        assert silent_jobs(engine, CallSettings(())) == []
        books.session.execute(text("UPDATE jobs SET code = ''"))
        books.session.commit()
        assert silent_jobs(engine, CallSettings(())) != []

    def test_finds_more_calls_at_once_than_are_allowed(self, books: Books) -> None:
        """By the sandbox's own count."""
        books.succeed()
        found = replace(report(books.audit()), most_in_flight=CALLS_IN_FLIGHT + 1)
        assert found.broken() == [f"calls at once: {CALLS_IN_FLIGHT + 1}, allowed are {CALLS_IN_FLIGHT}"]

    def test_finds_a_process_that_ended_by_itself(self, books: Books) -> None:
        """Another follows it, as under a supervisor; nobody had struck it all the same."""
        books.succeed()
        found = replace(report(books.audit()), ended=["worker-1.1 ended with code 1"])
        assert found.broken() == ["ended by themselves: 1: worker-1.1 ended with code 1"]


class TestHeldJobs:
    def test_have_what_their_code_says(self, books: Books) -> None:
        """Whoever asks a person without need makes work: no doubt, no loss, no budget, no plan is there."""
        queue.settle(books.session, books.claim(), Hold("CODE", "for a person"))
        for code in ("NO_ANSWER", "RESULT_EXPIRED", "OVER_BUDGET", "NEEDS_APPROVAL", "INTERNAL_ERROR"):
            books.session.execute(text("UPDATE jobs SET code = :code"), {"code": code})
            assert "held without need: 1: job 1 " in broken(books.audit())

    def test_may_have_been_in_doubt_twice(self, books: Books) -> None:
        """Once is repeated."""
        for number, is_explained in ((1, False), (2, True)):
            books.charge_later(fault=Mischief.DROP_AFTER)
            books.session.execute(
                text("UPDATE jobs SET state = 'queued', queue_state = 'ready', code = NULL")
            )
            claim = books.claim()
            books.doubt(books.begin(claim, number), 1.0)
            queue.settle(books.session, claim, Hold("NO_ANSWER", "for a person"))
            found = books.audit()
            assert (found.needlessly_held == []) is is_explained

    def test_may_be_of_a_batch_without_credits_or_approval(self, books: Books) -> None:
        """The batch's own row, and what the operator did."""
        queue.settle(books.session, books.claim(), Hold("OVER_BUDGET", "it has spent it"))
        books.session.execute(text("UPDATE batches SET budget = 3, spent = 3"))
        assert books.audit().needlessly_held == []
        books.session.execute(text("UPDATE jobs SET code = 'NEEDS_APPROVAL'"))
        assert books.audit().needlessly_held != []
        books.held.ordered.append(Ordered(books.batch_id, 1, awaits_approval=True))
        assert books.audit().needlessly_held == []

    def test_may_be_of_a_picture_that_is_held_as_another_job(self, books: Books) -> None:
        """The resolved address is checked itself."""
        message = "the same picture is held as job 7: no answer; retry either of them"
        queue.settle(books.session, books.claim(), Hold("NO_ANSWER", message))
        assert books.audit().needlessly_held == []


class TestReport:
    def test_shows_every_figure_of_the_table(self, books: Books) -> None:
        """The words are those that the pages quote."""
        books.succeed()
        books.strike(Kind.WORKER_KILLED, 60.0)
        table = report(books.audit(), books.struck).table()
        for row in (
            "| jobs | 1 |",
            "| succeeded | 1 |",
            "| failed | 0 |",
            "| lost | 0 |",
            "| charged | 1 |",
            "| charged more than once | 0 |",
            "| of these recorded as unknown or lost | 0 |",
            "| unaccounted charges | 0 |",
            "| kills | 1 |",
            "| kills: worker killed | 1 |",
        ):
            assert row in table
        assert "| latest copy, as a share of its deadline | 0.0" in table


class TestPlan:
    def test_is_drawn_from_the_seed_alone(self) -> None:
        """One seed makes the same strikes each time; another makes others."""
        plans = [draw_plan(kills=20, seconds=60, seed=seed) for seed in (1, 1, 2)]
        assert plans[0] == plans[1] != plans[2]

    def test_has_every_kind_of_strike(self) -> None:
        """With room for all, none is left to chance; they come in order and within the time."""
        plan = draw_plan(kills=len(Kind), seconds=100, seed=3)
        assert {strike.kind for strike in plan.strikes} == set(Kind)
        assert {order.kind for order in plan.orders} == set(Mischief)
        assert {act.kind for act in plan.acts} == set(Deed)
        times = [strike.at_s for strike in plan.strikes]
        assert times == sorted(times)
        assert times[0] >= FIRST * 100
        assert times[-1] <= LAST * 100

    def test_gives_each_job_a_picture_of_its_own_that_is_sent_as_it_is(self) -> None:
        """The sandbox's hashes are those of the uploads, but for pictures that had to be fitted."""
        pictures = [picture(number) for number in range(50)]
        assert len(set(pictures)) == 50
        assert prepare(pictures[7]).data == pictures[7]
