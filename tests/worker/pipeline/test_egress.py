"""Jobs whose sources only the egress proxy reaches: which of its answers cost a try, and for how long."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from cutout.enums import State
from cutout.network import egress_proxy
from tests.support.bench import Bench
from tests.support.connect_proxy import ConnectProxy, Way
from tests.support.web import serve
from worker.pipeline.sources import NOT_REACHED_DELAYS_S

PUBLIC = "93.184.216.34"
SOURCE = f"https://{PUBLIC}/a.jpg"


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    """A proxy that reaches a server at another public address."""
    with serve({}) as shop, ConnectProxy({"93.184.216.35:80": int(shop.rpartition(":")[2])}) as running:
        yield running


@pytest.fixture
def bench(make_bench: Callable[..., Bench], proxy: ConnectProxy) -> Bench:
    return make_bench(egress_proxy=SecretStr(proxy.url))


def connect_another(proxy: ConnectProxy) -> None:
    """Let the proxy connect somebody, as other jobs do."""
    shared = egress_proxy(proxy.url)
    assert shared is not None
    shared.connect("93.184.216.35", 80, 5.0).close()


def rest_of(scheduled_at: datetime) -> float:
    return (scheduled_at - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize(("way", "said"), [(502, "answered 502: it does not reach"), (403, "answered 403")])
def test_a_server_that_is_not_reached_fails_its_job_after_ten_minutes(
    bench: Bench, proxy: ConnectProxy, way: int, said: str
) -> None:
    """Six tries, each minutes after the one before: an outage of some servers does not use them up."""
    job_id = bench.enqueue(SOURCE)
    for tries in range(1, 6):
        connect_another(proxy)
        proxy.way = way
        bench.work()
        proxy.way = Way.OPEN
        job = bench.job(job_id)
        assert (job.state, job.code, job.tries) == (State.QUEUED, "SOURCE_UNAVAILABLE", tries)
        assert rest_of(job.scheduled_at) > NOT_REACHED_DELAYS_S[0] - 10
        assert said in (job.message or "")
    assert 5 * NOT_REACHED_DELAYS_S[0] >= 600
    connect_another(proxy)
    proxy.way = way
    bench.work()
    job = bench.job(job_id)
    assert (job.state, job.code) == (State.FAILED, "SOURCE_UNAVAILABLE")


def test_an_outage_behind_the_proxy_uses_no_try(bench: Bench, proxy: ConnectProxy) -> None:
    """While it reaches nobody jobs wait; a server that is all there is to reach fails its job after a day."""
    job_id = bench.enqueue(SOURCE)
    proxy.way = 504
    for _ in range(8):
        bench.work()
    job = bench.job(job_id)
    assert (job.state, job.code, job.tries) == (State.QUEUED, "EGRESS_AWAY", 0)
    bench.change(job_id, "source_failed_at = source_failed_at - interval '25 hours'")
    bench.work()
    job = bench.job(job_id)
    assert (job.state, job.code) == (State.FAILED, "SOURCE_UNAVAILABLE")
    assert "answered 504, and has reached nobody lately; that lasted for 24 hours" in (job.message or "")


def test_a_proxy_that_is_out_of_order_is_waited_for_without_end(bench: Bench, proxy: ConnectProxy) -> None:
    """Its refused login says nothing of the source, so no day begins."""
    job_id = bench.enqueue(SOURCE)
    proxy.way = 407
    bench.work()
    job = bench.job(job_id)
    assert (job.code, job.tries, job.source_failed_at) == ("EGRESS_AWAY", 0, None)
