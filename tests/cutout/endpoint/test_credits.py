"""Credits of the account."""

import json

import pytest

from cutout.endpoint import client as endpoint_client
from cutout.endpoint.answer import Refused
from cutout.endpoint.client import EndpointClient
from cutout.endpoint.credits import MAX_POOLS, CreditPool, credit_pools
from cutout.endpoint.endpoint_errors import NoAnswer
from cutout.endpoint.verdicts import Verdict
from tests.cutout.endpoint.conftest import Sandbox
from tests.worker.wire import answering, response, serving, silent


class TestCredits:
    def test_are_read_from_the_sandbox(self, sandbox: Sandbox, client: EndpointClient) -> None:
        """The balance set in the sandbox is the one read."""
        sandbox.change(credits={"sandbox-key": 12.5})
        pools = client.credits()
        assert isinstance(pools, list)
        assert 12.5 in [pool.balance for pool in pools]

    def test_of_an_unknown_key_are_refused(self, sandbox: Sandbox) -> None:
        """A refusal is classified like that of a call."""
        with EndpointClient(sandbox.base_url, "wrong") as client:
            answer = client.credits()
        assert isinstance(answer, Refused)
        assert answer.verdict == Verdict.PAUSE

    def test_are_waited_for_within_a_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A silent endpoint does not block the probe as long as a call."""
        monkeypatch.setattr(endpoint_client, "CREDITS_DEADLINE_S", 0.3)
        with serving(silent) as url, EndpointClient(url, "key") as client, pytest.raises(NoAnswer):
            client.credits()

    def test_are_read_as_documented(self) -> None:
        """A bare array of pools without any other field of the envelope is accepted."""
        body = json.dumps({"data": [{"unique_sign": "common", "balance": 3.0}]}).encode()
        with serving(answering(response(body))) as url, EndpointClient(url, "key") as client:
            assert client.credits() == [CreditPool("common", "", 3.0, None)]


class TestPools:
    def test_come_as_an_array_or_an_object(self) -> None:
        """Both known shapes give a list."""
        pool = {"unique_sign": "common", "name": "Credits", "balance": 1, "total": 2.5, "first_buy_time": 0}
        expected = [CreditPool("common", "Credits", 1.0, 2.5)]
        assert credit_pools({"data": [pool]}) == expected
        assert credit_pools({"data": pool}) == expected

    @pytest.mark.parametrize("data", [None, 7, "x", [], [None, 7]])
    def test_may_be_none(self, data: object) -> None:
        """A value that is no pool is ignored."""
        assert credit_pools({"data": data}) == []

    @pytest.mark.parametrize("balance", [None, True, "many", [], float("nan"), float("inf"), 10**400])
    def test_without_a_figure_have_none(self, balance: object) -> None:
        """A balance that is no finite number reads as unknown, never as zero."""
        assert credit_pools({"data": {"balance": balance}})[0].balance is None

    def test_are_bounded(self) -> None:
        """An endless list and an endless name are cut."""
        pools = credit_pools({"data": [{"name": "x" * 9999}] * 9999})
        assert len(pools) == MAX_POOLS
        assert len(pools[0].name) <= 100
