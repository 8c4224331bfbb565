"""Identity of cutouts: what a worker takes for the same purchase."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from cutout.endpoint.client import CUT_OUT_PATH, call_url
from cutout.enums import Reuse, State
from cutout.images.image import PREPARATION
from tests.support.bench import Bench
from tests.support.sandbox import Sandbox


def test_a_trial_at_the_sandbox_is_not_served_as_the_endpoints(
    make_bench: Callable[..., Bench], sandbox: Sandbox, photo: bytes
) -> None:
    """A change to the live endpoint on the same database buys anew."""
    trial = make_bench(reuse=Reuse.PRODUCER)
    trial.done(photo)
    known = trial.context.settings
    hosts = tuple(host.replace("127.0.0.1", "localhost") for host in known.result_hosts)
    live = make_bench(
        reuse=Reuse.PRODUCER,
        endpoint_url=known.endpoint_url.replace("127.0.0.1", "localhost"),
        result_hosts=(*known.result_hosts, *hosts),
    )
    assert not live.done(photo).reused
    assert (trial.done(photo).reused, live.done(photo).reused) == (True, True)
    assert sandbox.charges() == 2


@pytest.mark.parametrize(
    ("base", "called"),
    [
        ("https://www.ailabapi.com/", "https://www.ailabapi.com"),
        ("HTTPS://WWW.AILABAPI.COM:443", "https://www.ailabapi.com"),
        ("http://127.0.0.1:8900", "http://127.0.0.1:8900"),
        ("https://gateway.example/ailab", "https://gateway.example/ailab"),
    ],
)
def test_an_endpoint_is_known_by_the_address_that_is_called(base: str, called: str) -> None:
    """The identity has the canonical form of the address."""
    assert call_url(base) == f"{called}{CUT_OUT_PATH}"


class TestANewPreparation:
    @pytest.fixture
    def grown(self, reusing: Bench, photo: bytes) -> Bench:
        """A bench on which one picture was bought under the previous preparation."""
        reusing.done(photo)
        reusing.context.recipe = replace(reusing.context.recipe, preparation=PREPARATION + 1)
        return reusing

    def test_buys_nothing_that_is_sent_as_before(self, grown: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """The bytes that are sent are the same; from then on the cutout is found at once."""
        jobs = [grown.done(photo) for _ in range(2)]
        assert [(job.state, job.reused) for job in jobs] == [(State.SUCCEEDED, True)] * 2
        assert sandbox.charges() == 1
        with grown.engine.connect() as connection:
            assert connection.scalar(text("SELECT count(DISTINCT key) FROM bought_results")) == 1
            assert connection.scalar(text("SELECT count(*) FROM bought_results WHERE key IS NOT NULL")) == 2

    def test_buys_what_is_sent_otherwise(self, grown: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """A picture that is sent differently is bought again."""
        with grown.engine.begin() as connection:
            connection.execute(text("UPDATE bought_results SET image_sha256 = 'other bytes'"))
        assert not grown.done(photo).reused
        assert sandbox.charges() == 2

    def test_does_not_buy_at_once_what_is_missing(self, grown: Bench, sandbox: Sandbox, photo: bytes) -> None:
        """The bucket is checked again first, as for any other cutout."""
        for key in grown.bucket.keys("cutouts/"):
            grown.bucket.delete(key)
        assert grown.done(photo).code == "CUTOUT_MISSING"
        assert sandbox.charges() == 1


@pytest.mark.parametrize("reuse", [Reuse.PRODUCER, Reuse.OFF])
def test_a_picture_that_waits_for_a_person_is_not_called_as_another_job(
    make_bench: Callable[..., Bench], sandbox: Sandbox, photo: bytes, *, reuse: Reuse
) -> None:
    """It is held for the same reason, and names the other job. A retry of it calls."""
    bench = make_bench(reuse=reuse, retry_unknown=0)
    sandbox.fault("drop_after", next=1)
    first, second = bench.done(photo), bench.done(photo)
    assert (first.state, second.state, second.code) == (State.HELD, State.HELD, "NO_ANSWER")
    assert second.message
    assert f"held as job {first.id}" in second.message
    assert bench.attempts(second.id) == []
    assert sandbox.charges() == 1
