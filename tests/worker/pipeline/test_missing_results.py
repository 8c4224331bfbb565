"""Bought cutouts that are missing in the bucket."""

import uuid
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from cutout.enums import QueueState, State
from cutout.models import Job
from cutout.queue.dispatch import dispatch
from cutout.queue.reuse import missing_results
from cutout.queue.reuse.serve_reused import Dispatched, ReuseScope
from tests.support.bench import Bench
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.steps import LEASE
from tests.worker.pipeline.test_reuse import let_minutes_pass
from worker.pipeline.serve_reused import complete_reused

Carry = Callable[[Bench], None]


def carry_as_calls(bench: Bench) -> None:
    """Process each job by a claim of its own, as for a picture on the web."""
    bench.work()


def carry_in_one_message(bench: Bench) -> None:
    """Process bought pictures in one message and the others by claims, as the dispatcher does."""
    with Session(bench.engine) as session, session.begin():
        session.query(Job).filter(Job.queue_state == QueueState.DELAYED).update(
            {"queue_state": QueueState.READY}
        )
        turns = dispatch(
            session,
            0,
            lease=LEASE,
            reuse_scope=ReuseScope(bench.context.recipe, bench.context.settings.reuse),
            reuse_room=50,
        )
        served: Dispatched = [*turns.reused]
    if served:
        complete_reused(bench.context, served)
    bench.work()


@pytest.fixture
def pictures() -> list[bytes]:
    """A catalog so large that the loss of all its cutouts is no accident."""
    return [encoded(plain(width), "PNG") for width in (60, 61, 62, 63)]


def order(bench: Bench, pictures: list[bytes]) -> list[uuid.UUID]:
    return [bench.enqueue(picture) for picture in pictures]


@pytest.mark.parametrize("carry", [carry_as_calls, carry_in_one_message])
class TestABucketThatWasEmptied:
    @pytest.fixture
    def lost(self, reusing: Bench, pictures: list[bytes]) -> dict[str, bytes]:
        """The cutouts that were in the bucket."""
        for picture in pictures:
            reusing.done(picture)
        bucket = reusing.bucket
        objects = {key: bucket.read(key, max_bytes=1_000_000) for key in bucket.keys("cutouts/")}
        for key in objects:
            bucket.delete(key)
        return objects

    def states(self, bench: Bench, ordered: list[uuid.UUID]) -> set[tuple[State, str | None]]:
        return {(job.state, job.code) for job in map(bench.job, ordered)}

    def test_is_no_reason_to_buy(
        self, reusing: Bench, sandbox: Sandbox, pictures: list[bytes], lost: dict[str, bytes], carry: Carry
    ) -> None:
        """However often it is checked, a person decides whether they are bought anew."""
        ordered = order(reusing, pictures)
        for _ in range(3):
            carry(reusing)
            let_minutes_pass(reusing)
        assert self.states(reusing, ordered) == {(State.QUEUED, "CUTOUT_MISSING")}
        with reusing.engine.connect() as connection:
            assert missing_results.read_missing(connection) == missing_results.Missing(
                len(lost), stopped=True
            )
        other = reusing.done(encoded(plain(70), "PNG"))
        assert (other.state, sandbox.charges()) == (State.SUCCEEDED, len(pictures) + 1)
        with reusing.engine.begin() as connection:
            assert missing_results.forget(connection) == len(lost)
        carry(reusing)
        assert self.states(reusing, ordered) == {(State.SUCCEEDED, None)}
        assert sandbox.charges() == 2 * len(pictures) + 1

    def test_and_filled_again_costs_nothing(
        self, reusing: Bench, sandbox: Sandbox, pictures: list[bytes], lost: dict[str, bytes], carry: Carry
    ) -> None:
        """The jobs that waited are served, and nothing is reported missing any more."""
        ordered = order(reusing, pictures)
        carry(reusing)
        let_minutes_pass(reusing)
        for key, data in lost.items():
            reusing.bucket.put_cutout(data, key=key, media_type="image/png", metadata={})
        carry(reusing)
        assert self.states(reusing, ordered) == {(State.SUCCEEDED, None)}
        assert sandbox.charges() == len(pictures)
        with reusing.engine.connect() as connection:
            assert missing_results.read_missing(connection) == missing_results.Missing(0, stopped=False)


def test_what_is_missed_for_a_moment_is_not_bought(reusing: Bench, sandbox: Sandbox, photo: bytes) -> None:
    """A replicated store may report for a while that an object is missing."""
    key = reusing.done(photo).key
    assert key
    data = reusing.bucket.read(key, max_bytes=10_000_000)
    reusing.bucket.delete(key)
    waiting = reusing.done(photo)
    assert waiting.code == "CUTOUT_MISSING"
    reusing.bucket.put_cutout(data, key=key, media_type="image/png", metadata={})
    reusing.work()
    assert (reusing.job(waiting.id).reused, sandbox.charges()) == (True, 1)
