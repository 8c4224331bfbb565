import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from svix.webhooks import Webhook, WebhookVerificationError

from cutout.network import (
    AddressRefused,
    DeadlinePassed,
    FetchError,
    HostList,
    Timeouts,
    Unreachable,
    UrlRefused,
)
from cutout.webhooks.outbox import Taken
from tests.support.machine import scaled
from tests.support.receiver import Receiver
from tests.worker.wire import answering, closing_after, dribbling, response, serving, silent
from worker.webhooks import post as posting
from worker.webhooks.post import WebhookPoster, WebhookResponse, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PAYLOAD = '{"type" : "job.succeeded", "data" : {"external_id" : "é☃"}}'
LOCAL = HostList.parse(["127.0.0.1"])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def poster() -> Iterator[WebhookPoster]:
    """A poster that may send to this machine."""
    with closing(WebhookPoster(LOCAL)) as made:
        yield made


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poster with a deadline of half a second instead of ten."""
    monkeypatch.setattr(posting, "TIMEOUTS", Timeouts(connect=0.5, write=0.5, read=0.5, total=0.5))


def message(url: str, *, at: datetime | None = None) -> Taken:
    now = datetime.now(UTC)
    return Taken(uuid.uuid4(), None, url, "host", "job.succeeded", PAYLOAD, 1, now, at or now)


def post(url: str, *, private: HostList = LOCAL) -> WebhookResponse:
    with closing(WebhookPoster(private)) as poster:
        return poster.post(message(url), [SECRET])


class TestAMessage:
    def test_is_signed_as_other_libraries_expect(self, receiver: Receiver, poster: WebhookPoster) -> None:
        """The bytes are those announced, under an id, a time and a signature."""
        taken = message(receiver.url("/hook?token=x"))
        assert poster.post(taken, [SECRET]) == WebhookResponse(204, None)
        (came,) = receiver.messages
        came.verify(SECRET)
        assert (came.path, came.body.decode(), came.id) == ("/hook?token=x", PAYLOAD, str(taken.id))
        assert came.headers["content-type"] == "application/json"
        assert int(came.headers["webhook-timestamp"]) == int(taken.taken_at.timestamp())
        with pytest.raises(WebhookVerificationError):
            came.verify(OTHER)
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(came.body.replace(b"succeeded", b"failed"), came.headers)

    def test_has_the_signature_that_is_published(self) -> None:
        """The example is that of the Standard Webhooks libraries in other languages."""
        at = datetime.fromtimestamp(1614265330, UTC)
        signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}')
        assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_may_be_signed_twice(self, receiver: Receiver, poster: WebhookPoster) -> None:
        """While a secret is being changed, either one is valid."""
        poster.post(message(receiver.url()), [SECRET, OTHER])
        (came,) = receiver.messages
        came.verify(SECRET)
        came.verify(OTHER)

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_of_a_clock_that_is_off_is_refused_by_the_receiver(
        self, receiver: Receiver, poster: WebhookPoster, hours: int
    ) -> None:
        """Verifiers allow less than an hour, which prevents replays of old messages."""
        at = datetime.now(UTC) + timedelta(hours=hours)
        poster.post(message(receiver.url(), at=at), [SECRET])
        (came,) = receiver.messages
        with pytest.raises(WebhookVerificationError, match="too old" if hours < 0 else "too new"):
            came.verify(SECRET)

    def test_uses_a_connection_again(self, poster: WebhookPoster) -> None:
        """Two messages to one receiver need one handshake."""
        accepted = []

        def counting(connection: socket.socket) -> None:
            accepted.append(connection)
            answering(response(b"thanks"))(connection)

        with serving(counting) as url:
            for _ in range(2):
                assert poster.post(message(url), [SECRET]).status == 200
        assert len(accepted) == 1


class TestAnAddressInside:
    @pytest.mark.parametrize(
        "url",
        [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0/",
            "https://169.254.169.254/latest/meta-data/",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fe80::1]/",
            "https://localhost/",
            "https://100.64.0.1/",
        ],
    )
    def test_is_never_asked(self, url: str) -> None:
        """An internal address is refused in any spelling."""
        with pytest.raises(AddressRefused, match="not public"):
            post(url, private=HostList())

    def test_is_found_behind_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A public name that resolves to an internal address is refused without naming the address."""
        real = socket.getaddrinfo

        def look_up(host: str, port: int, *given: Any, **named: Any) -> Any:
            return real("10.1.2.3" if host == "shop.example" else host, port, *given, **named)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with pytest.raises(AddressRefused) as caught:
            post("https://shop.example/hook?token=secret", private=HostList())
        assert "10.1" not in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_may_be_named_by_the_operator(self, receiver: Receiver) -> None:
        """A host is allowed with its port, and with no other port."""
        assert post(receiver.url(), private=HostList.parse([receiver.host])).status == 204
        with pytest.raises(UrlRefused):
            post(receiver.url(), private=HostList.parse(["127.0.0.1:1"]))

    def test_is_not_reached_by_a_redirect(self, receiver: Receiver) -> None:
        """Redirects are not followed."""
        receiver.always = (301, {"Location": receiver.url("/inside")})
        assert post(receiver.url()).status == 301
        assert [came.path for came in receiver.messages] == ["/hook"]

    def test_is_not_asked_by_plain_http(self) -> None:
        """Plain http is refused for public hosts too."""
        with pytest.raises(UrlRefused, match="plain http"):
            post("http://203.0.113.7/", private=HostList())


@pytest.mark.usefixtures("hurried")
class TestAReceiverThatMisbehaves:
    @pytest.mark.parametrize(
        ("behaviour", "error"),
        [
            (silent, DeadlinePassed),
            (dribbling(b""), DeadlinePassed),
            (dribbling(b"HTTP/1.1 200 OK\r\nX: "), DeadlinePassed),
            (closing_after(), Unreachable),
            (closing_after(b"not http at all\r\n\r\n"), Unreachable),
        ],
    )
    def test_takes_no_longer_than_the_deadline(
        self, behaviour: Callable[[socket.socket], None], error: type[FetchError]
    ) -> None:
        """The receiver never answers, trickles, closes, or answers nonsense."""
        began = time.monotonic()
        with serving(behaviour) as url, pytest.raises(error):
            post(url)
        assert time.monotonic() - began < scaled(2)

    @pytest.mark.parametrize("prefix", [b"", b"x" * 100_000])
    def test_that_streams_forever_is_accepted_at_its_status(self, prefix: bytes) -> None:
        """The body is neither kept nor read past the deadline."""
        began = time.monotonic()
        with serving(dribbling(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + prefix)) as url:
            assert post(url).status == 200
        assert time.monotonic() - began < scaled(2)

    def test_that_is_not_there_is_unreachable(self) -> None:
        """The port has no listener."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(Unreachable):
            post(f"http://127.0.0.1:{port}/hook?token=secret")
