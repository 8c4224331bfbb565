"""Credits, limits, latency, and what the sandbox tells of them."""

import hashlib
import threading
import time
from itertools import count

import httpx
import pytest

from tests.sandbox.client import CREDITS, Client, error_code
from tests.support.machine import scaled
from tests.support.system import wait_until


def call_at_once(client: Client, picture: bytes, count: int) -> list[int]:
    """Make calls in parallel and give their statuses."""
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(client.call(picture).status_code))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


class TestCredits:
    def test_a_success_costs_one(self, client: Client, picture: bytes) -> None:
        """The balance of the general pool falls by one with each success."""
        client.set(credits={"buyer": 5})
        client.call(picture, key="buyer")
        answer = client.http.get(CREDITS, headers={"ailabapi-api-key": "buyer"}).json()
        [pool] = answer["data"]
        assert set(pool) == {
            "unique_sign",
            "name",
            "balance",
            "total",
            "last_recharge_balance",
            "balance_warning",
            "first_buy_time",
            "last_update_time",
        }
        assert (pool["unique_sign"], pool["balance"], pool["total"]) == ("common", 4.0, 5.0)

    def test_none_left_refuses_the_call(self, client: Client, picture: bytes) -> None:
        """An account without credits gets 429 ERROR_NOT_ENOUGH_CREDITS until it is topped up."""
        answer = client.call(picture, key="poor")
        assert (answer.status_code, error_code(answer)) == (429, "ERROR_NOT_ENOUGH_CREDITS")
        client.set(credits={"poor": 1})
        assert client.call(picture, key="poor").status_code == 200
        assert client.call(picture, key="poor").status_code == 429

    def test_cannot_be_overdrawn_by_calls_at_once(self, client: Client, picture: bytes) -> None:
        """Of calls in flight together only as many succeed as there are credits."""
        client.set(credits={client.key: 2}, latency=0.3, latency_spread=0)
        assert sorted(call_at_once(client, picture, 5)) == [200, 200, 429, 429, 429]
        assert client.charges() == 2


def calls_let_in(client: Client, picture: bytes) -> int:
    """Call until the limit refuses; returns how many were let in before."""
    for let_in in count():  # noqa: B007 - it is returned
        answer = client.call(picture)
        if answer.status_code != 200:
            break
    assert (answer.status_code, error_code(answer)) == (429, "EXCEEDING_LIMITS")
    return let_in


class TestLimits:
    def test_calls_per_second_beyond_are_refused(self, client: Client, picture: bytes) -> None:
        """A burst gets one second's worth; a second later there is room again."""
        client.set(calls_per_second=3)
        began = time.monotonic()
        first = calls_let_in(client, picture)
        assert 3 <= first <= 3 + 3 * (time.monotonic() - began)
        time.sleep(0.8)
        second = calls_let_in(client, picture)
        assert second >= 2
        assert first + second <= 3 + 3 * (time.monotonic() - began)

    def test_calls_in_flight_beyond_are_refused(self, client: Client, picture: bytes) -> None:
        """Only as many calls as the limit are carried out together."""
        client.set(calls_in_flight=2, latency=scaled(0.5), latency_spread=0)
        assert sorted(call_at_once(client, picture, 5)) == [200, 200, 429, 429, 429]

    def test_are_each_account_s_own(self, client: Client, picture: bytes) -> None:
        """One account at its limit does not slow another."""
        client.set(calls_per_second=1, credits={"other": 5})
        assert [client.call(picture).status_code for _ in range(2)] == [200, 429]
        assert client.call(picture, key="other").status_code == 200


class TestLatency:
    def test_is_waited_before_the_answer(self, client: Client, picture: bytes) -> None:
        """Without spread every call takes the median."""
        client.set(latency=0.3, latency_spread=0)
        began = time.monotonic()
        client.call(picture)
        assert 0.3 <= time.monotonic() - began < scaled(1)

    def test_outlasted_by_no_client_is_charged_all_the_same(self, client: Client, picture: bytes) -> None:
        """A client that times out while the endpoint works is charged."""
        client.set(latency=0.4, latency_spread=0)
        with pytest.raises(httpx.ReadTimeout):
            client.post(files={"image": ("p", picture)}, timeout=0.1)
        wait_until(lambda: client.charges() == 1, "the charge")


class TestLedger:
    def test_tells_every_charge(self, client: Client, picture: bytes) -> None:
        """A charge names its account, the hash of the received bytes, its time, form and request."""
        answer = client.call(picture, "crop").json()
        ledger = client.read("ledger")
        [charge] = ledger["charges"]
        digest = hashlib.sha256(picture).hexdigest()
        assert charge["at"] == pytest.approx(time.time(), abs=5)
        assert charge | {"at": 0} == {
            "at": 0,
            "account": client.key,
            "image_sha256": digest,
            "return_form": "crop",
            "request_id": answer["request_id"],
        }
        assert (ledger["total"], ledger["by_account"], ledger["by_image"]) == (
            1,
            {client.key: 1},
            {digest: 1},
        )

    def test_counts_a_picture_bought_twice(self, client: Client, picture: bytes) -> None:
        """The totals show the same bytes charged again; without the charges if so asked."""
        client.call(picture)
        client.call(picture)
        ledger = client.read("ledger", charges=False)
        assert (list(ledger["by_image"].values()), ledger["charges"]) == ([2], [])

    def test_is_empty_after_a_clear(self, client: Client, picture: bytes) -> None:
        """DELETE forgets every charge."""
        client.call(picture)
        client.http.delete("/sandbox/ledger")
        assert client.charges() == 0


class TestStatistics:
    def test_tell_arrivals_and_refusals(self, client: Client, picture: bytes) -> None:
        """Every arrival is there with its time, refused calls by their code."""
        client.call(picture)
        client.call(b"no picture")
        stats = client.read("stats")
        assert (stats["arrived"], stats["busiest_second"], stats["in_flight"]) == (2, 2, 0)
        assert stats["arrivals"] == pytest.approx([time.time()] * 2, abs=5)
        assert stats["refused"] == {"FILE_DECODING_FAILURE": 1}

    def test_tell_the_most_in_flight(self, client: Client, picture: bytes) -> None:
        """Three calls at once are seen as three in flight."""
        client.set(latency=scaled(0.4), latency_spread=0)
        call_at_once(client, picture, 3)
        assert client.read("stats")["max_in_flight"] == 3

    def test_look_back_no_further_than_asked(self, client: Client, picture: bytes) -> None:
        """Arrivals before the window are left out of the list, not of the count."""
        client.call(picture)
        time.sleep(0.3)
        stats = client.read("stats", seconds=0.2)
        assert (stats["arrivals"], stats["arrived"]) == ([], 1)


class TestSettings:
    def test_unnamed_stay_as_they_were(self, client: Client) -> None:
        """A change of one setting leaves the others."""
        client.set(calls_in_flight=7)
        client.set(latency=1.5)
        settings = client.read("settings")
        assert (settings["calls_in_flight"], settings["latency"]) == (7, 1.5)

    @pytest.mark.parametrize("wrong", [{"latency": -1}, {"envelope": "odd"}, {"latancy": 1}])
    def test_that_mean_nothing_are_refused(self, client: Client, wrong: dict[str, object]) -> None:
        """A value out of range and a name that does not exist answer 422 and change nothing."""
        before = client.read("settings")
        assert client.http.post("/sandbox/settings", json=wrong).status_code == 422
        assert client.read("settings") == before


class TestControlRoutes:
    @pytest.mark.parametrize("part", ["faults", "ledger", "settings", "stats"])
    def test_answer_to_loopback_names_alone(self, client: Client, part: str) -> None:
        """A Host that is not this machine is refused: a web page could have pointed it here."""
        answer = client.http.get(f"/sandbox/{part}", headers={"host": "attacker.example"})
        assert answer.status_code == 403
        assert client.http.get(f"/sandbox/{part}", headers={"host": "localhost:9"}).status_code == 200
