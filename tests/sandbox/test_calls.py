"""The sandbox's own record of calls: what came, what became of it, what was answered."""

import hashlib
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.sandbox.client import CALL, Client
from tests.support.machine import scaled

Record = dict[str, Any]


@pytest.fixture
def read(client: Client) -> Callable[[], list[Record]]:
    """Every call from now on."""
    client.http.delete("/sandbox/calls").raise_for_status()
    return lambda: list(client.read("calls"))


def until_one(read: Callable[[], list[Record]], condition: Callable[[Record], bool]) -> Record:
    """The only call, once it is as is waited for."""
    deadline = time.monotonic() + scaled(5.0)
    while time.monotonic() < deadline:
        calls = read()
        if len(calls) == 1 and condition(calls[0]):
            return calls[0]
        time.sleep(0.01)
    raise TimeoutError(f"{calls}")


class TestCalls:
    def test_names_picture_charge_and_times(self, client: Client, picture: bytes, read: Any) -> None:
        """A call that is answered has all of them, in order of time."""
        before = time.time()
        answer = client.call(picture)
        call = until_one(read, lambda call: call["answered_at"] is not None)
        assert call["image_sha256"] == hashlib.sha256(picture).hexdigest()
        assert call["request_id"] == answer.json()["request_id"]
        assert (call["http_status"], call["fault"]) == (200, None)
        assert before <= call["arrived_at"] <= call["answered_at"] <= time.time()

    def test_shows_a_call_that_is_not_answered_yet(self, client: Client, picture: bytes, read: Any) -> None:
        """It has come, and has no answer; once its client is gone it never gets one."""
        client.set(latency=0.3, latency_spread=0)
        with pytest.raises(httpx.ReadTimeout):
            client.http.post(
                CALL,
                files={"image": ("picture", picture)},
                headers={"ailabapi-api-key": client.key},
                timeout=httpx.Timeout(5, read=0.1),
            )
        assert until_one(read, lambda _: True)["answered_at"] is None
        charged = until_one(read, lambda call: call["request_id"] is not None)
        assert charged["answered_at"] is None

    @pytest.mark.parametrize("fault", ["drop_after", "drop_midway", "gateway_after"])
    def test_names_the_fault_that_withheld_an_answer(
        self, client: Client, picture: bytes, read: Any, fault: str
    ) -> None:
        """The call is charged; nothing went out whole but the gateway's page."""
        client.fault(fault)
        try:
            client.call(picture)
        except httpx.TransportError:
            assert fault != "gateway_after"
        call = until_one(read, lambda call: call["http_status"] is not None)
        assert (call["fault"], call["request_id"] is None) == (fault, False)
        assert (call["answered_at"] is None) is (fault != "gateway_after")

    def test_has_no_picture_of_a_request_that_broke_off(
        self, client: Client, picture: bytes, read: Any
    ) -> None:
        """Neither picture nor charge: the endpoint never had the whole of it."""
        request = client.http.build_request(
            "POST", CALL, files={"image": ("p", picture)}, headers={"ailabapi-api-key": client.key}
        )
        body = request.read()
        head = [f"POST {CALL} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
        address = urlsplit(client.url)
        with socket.create_connection((str(address.hostname), address.port or 0), 5) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode() + body[: len(body) // 2])
            until_one(read, lambda _: True)
        call = until_one(read, lambda call: call["answered_at"] is None)
        assert (call["image_sha256"], call["request_id"]) == ("", None)
        assert client.charges() == 0
