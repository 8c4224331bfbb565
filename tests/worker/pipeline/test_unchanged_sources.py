from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.enums import QueueState, Reuse, State
from cutout.network.url_rules import server_of
from cutout.queue.dispatch import dispatch
from cutout.queue.promote import promote_due
from cutout.queue.reuse.serve_reused import NOT_CONFIRMED, ReuseScope
from tests.support.bench import Bench
from tests.support.machine import scaled
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.steps import LEASE
from tests.support.web import WebServer
from tests.worker.pipeline.test_serve_reused import (
    DONE,
    MOST,
    READY,
    dispatch_reused,
    jobs,
    message_of,
    queue_states,
)
from worker.pipeline import unchanged_sources
from worker.pipeline.process import process
from worker.pipeline.serve_reused import complete_reused
from worker.pipeline.unchanged_sources import ALL_SERVERS, MOST_OTHER_ANSWERS

PATHS = ("/a.png", "/b.png")


@dataclass
class Shop:
    """A server with two pictures whose cutouts are bought, and a worker that may fetch from it."""

    server: WebServer
    bench: Bench
    pictures: list[bytes]

    @property
    def addresses(self) -> list[str]:
        return [f"http://{self.server.host}{path}" for path in PATHS]

    def change(self, path: str) -> None:
        self.server.serve(path, encoded(plain(90, 50), "PNG"), etag='"new"')


@pytest.fixture
def shop(make_bench: Callable[..., Bench]) -> Iterator[Shop]:
    pictures = [encoded(plain(width, 40), "PNG") for width in (60, 70)]
    with WebServer() as server:
        bench = make_bench(
            reuse=Reuse.PRODUCER, source_private_hosts=(server.host.partition(":")[0],), worker_threads=4
        )
        for path, picture in zip(PATHS, pictures, strict=True):
            assert bench.done(server.serve(path, picture, etag=f'"{path}"')).state == State.SUCCEEDED
        yield Shop(server, bench, pictures)


def test_unchanged_pictures_are_served_by_one_request_each(shop: Shop, sandbox: Sandbox) -> None:
    """Nothing is downloaded or called."""
    served = message_of(shop.bench, *shop.addresses)
    complete_reused(shop.bench.context, served)
    assert queue_states(shop.bench, served) == [DONE, DONE]
    assert [job.reused for job in jobs(shop.bench, served)] == [True, True]
    assert [(shop.server.asked(path), shop.server.sent(path)) for path in PATHS] == [(2, 1)] * 2
    assert sandbox.charges() == 2


def test_a_changed_picture_is_bought_once(shop: Shop, sandbox: Sandbox) -> None:
    """It goes the ordinary way, and the other one is served."""
    shop.change(PATHS[0])
    served = message_of(shop.bench, *shop.addresses)
    complete_reused(shop.bench.context, served)
    assert queue_states(shop.bench, served) == [READY, DONE]
    assert jobs(shop.bench, served)[0].code == NOT_CONFIRMED
    shop.bench.work()
    changed, _ = jobs(shop.bench, served)
    assert (changed.state, changed.reused, changed.code) == (State.SUCCEEDED, False, None)
    assert sandbox.charges() == 3


def test_a_changed_picture_whose_server_is_busy_is_not_asked_for_again(shop: Shop) -> None:
    """Its fetch comes back, and no message takes it."""
    shop.change(PATHS[0])
    served = message_of(shop.bench, *shop.addresses)
    complete_reused(shop.bench.context, served)
    context = shop.bench.context
    with ExitStack() as requests:
        for _ in range(context.settings.source_fetches_per_host):
            requests.enter_context(context.hosts.turn(server_of(shop.addresses[0])))
        shop.bench.work()
    changed, _ = jobs(shop.bench, served)
    assert (changed.queue_state, changed.code) == (QueueState.DELAYED, "SOURCE_BUSY")
    with shop.bench.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET scheduled_at = now() WHERE queue_state = 'delayed'"))
        promote_due(connection)
    with Session(shop.bench.engine) as session, session.begin():
        reuse_scope = ReuseScope(context.recipe, context.settings.reuse)
        turns = dispatch(session, MOST, lease=LEASE, reuse_scope=reuse_scope, reuse_room=MOST)
    assert turns.reused == []
    asked = shop.server.asked(PATHS[0])
    for job_id, fence in turns.calls:
        process(context, job_id, fence)
    assert queue_states(shop.bench, served) == [DONE, DONE]
    assert shop.server.asked(PATHS[0]) == asked + 1


@pytest.mark.parametrize("harm", ["redirect", "slow"])
def test_another_answer_is_left_to_the_ordinary_way(
    shop: Shop, sandbox: Sandbox, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect is not followed here, and a slow server ends the requests to it; neither costs a call."""
    if harm == "redirect":
        shop.server.serve("/moved.png", shop.pictures[1], etag='"moved"')
        shop.server.move(PATHS[1], "/moved.png")
    else:
        monkeypatch.setattr(unchanged_sources, "ANSWER_WITHIN_S", 0.3)
        shop.server.delay(PATHS[1], 1.0)
    served = message_of(shop.bench, *shop.addresses)
    complete_reused(shop.bench.context, served)
    assert queue_states(shop.bench, served) == [DONE, READY]
    shop.bench.work()
    assert queue_states(shop.bench, served) == [DONE, DONE]
    assert sandbox.charges() == 2


def test_a_server_that_sends_bodies_is_not_asked_for_the_rest(shop: Shop) -> None:
    """After a few changed pictures all others go the ordinary way."""
    shop.change(PATHS[0])
    served = message_of(shop.bench, *shop.addresses[:1] * 10)
    complete_reused(shop.bench.context, served)
    assert queue_states(shop.bench, served) == [READY] * 10
    assert shop.server.asked(PATHS[0]) == 1 + MOST_OTHER_ANSWERS


def test_a_refused_address_is_not_asked(shop: Shop, make_bench: Callable[..., Bench]) -> None:
    """A worker that may not fetch from the server does not connect to it."""
    strict = make_bench(reuse=Reuse.PRODUCER)
    served = message_of(shop.bench, *shop.addresses)
    complete_reused(strict.context, served)
    assert queue_states(strict, served) == [READY, READY]
    assert shop.server.asked(PATHS[0]) == 1


def test_a_producer_whose_messages_ask_already_comes_back(shop: Shop) -> None:
    """Its slow servers do not take the threads of others; its next message is served."""
    served = message_of(shop.bench, *shop.addresses)
    with shop.bench.context.asking.turn(ALL_SERVERS):
        complete_reused(shop.bench.context, served)
    assert [job.queue_state for job in jobs(shop.bench, served)] == [QueueState.DELAYED] * 2
    assert {job.code for job in jobs(shop.bench, served)} == {"MESSAGES_BUSY"}
    assert shop.server.asked(PATHS[0]) == 1
    with shop.bench.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET scheduled_at = now() WHERE queue_state = 'delayed'"))
        promote_due(connection)
    complete_reused(shop.bench.context, dispatch_reused(shop.bench))
    assert queue_states(shop.bench, served) == [DONE, DONE]
    assert shop.server.asked(PATHS[0]) == 2


def test_a_server_with_all_its_requests_is_waited_for(shop: Shop) -> None:
    """As long as a message may ask, those of other messages end meanwhile."""
    served = message_of(shop.bench, *shop.addresses)
    context = shop.bench.context
    (server,) = {server_of(address) for address in shop.addresses}
    with ExitStack() as others, ThreadPoolExecutor(1) as pool:
        for _ in range(context.settings.source_fetches_per_host):
            others.enter_context(context.hosts.turn(server))
        serving = pool.submit(complete_reused, context, served)
        with pytest.raises(TimeoutError):
            serving.result(0.3)
        others.close()
        serving.result(scaled(10))
    assert queue_states(shop.bench, served) == [DONE, DONE]


def test_what_was_erased_meanwhile_is_not_served(shop: Shop) -> None:
    """The hash of the content is forgotten before the message comes."""
    served = message_of(shop.bench, *shop.addresses)
    with shop.bench.engine.begin() as connection:
        connection.execute(text("DELETE FROM sources"))
    complete_reused(shop.bench.context, served)
    assert queue_states(shop.bench, served) == [READY, READY]


def test_a_job_cancelled_meanwhile_stays_cancelled(shop: Shop) -> None:
    """The 304 of its server changes nothing."""
    served = message_of(shop.bench, *shop.addresses)
    shop.bench.change(served[0][0], "state = 'cancelled', queue_state = NULL, finished_at = now()")
    complete_reused(shop.bench.context, served)
    assert queue_states(shop.bench, served) == [(State.CANCELLED, None), DONE]


def test_a_cutout_that_the_bucket_lacks_is_not_served(shop: Shop) -> None:
    """An unchanged source is not enough."""
    served = message_of(shop.bench, *shop.addresses)
    shop.bench.bucket.delete(_key_of(shop))
    complete_reused(shop.bench.context, served)
    missed, other = jobs(shop.bench, served)
    assert (missed.queue_state, missed.code) == (QueueState.DELAYED, "CUTOUT_MISSING")
    assert other.state == State.SUCCEEDED


def test_a_picture_without_validators_is_not_asked_for(shop: Shop) -> None:
    """Its 304 would mean nothing: it is dispatched for a call, and fetched."""
    address = shop.server.serve("/plain.png", shop.pictures[0], etag=None)
    assert shop.bench.done(address).state == State.SUCCEEDED
    with pytest.raises(AssertionError):
        message_of(shop.bench, address)


def _key_of(shop: Shop) -> str:
    with shop.bench.engine.connect() as connection:
        query = "SELECT key FROM jobs WHERE source = :source AND state = 'succeeded'"
        return str(connection.execute(text(query), {"source": shop.addresses[0]}).scalar_one())
