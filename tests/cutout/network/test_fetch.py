"""Downloads with limits."""

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest

from cutout.network import (
    AddressPolicy,
    AddressRefused,
    BadStatus,
    DeadlinePassed,
    Fetched,
    FetchError,
    GuardedTransport,
    HostList,
    Patience,
    RedirectRefused,
    TooLarge,
    Truncated,
    Unreachable,
    UrlRefused,
    fetch,
    fetch_pieces,
)
from tests.support.machine import scaled
from tests.worker.wire import (
    answering,
    closing_after,
    read_request,
    response,
    serving,
    silent,
    stopping_after,
)

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture
def download() -> Iterator[Callable[..., Fetched]]:
    """Fetch with limits that suit most tests."""
    through = GuardedTransport()

    def run(url: str, **bounds: object) -> Fetched:
        return fetch(through, url, **{"max_bytes": 1000, "deadline_s": 5.0, **bounds})  # type: ignore[arg-type]

    yield run
    through.close()


def routing(routes: dict[bytes, bytes]) -> Callable[[socket.socket], None]:
    """Answer each path with its bytes."""

    def behave(connection: socket.socket) -> None:
        while request := read_request(connection):
            connection.sendall(routes[request.split()[1]])

    return behave


def redirect_to(location: str) -> bytes:
    return response(b"", status="302 Found", headers=f"Location: {location}\r\n")


class TestBody:
    def test_comes_with_its_claimed_media_type(self, download: Callable[..., Fetched]) -> None:
        """The bytes and the media type without its parameters are returned."""
        with serving(answering(response(b"picture", headers="Content-Type: Image/PNG; q=1\r\n"))) as url:
            assert download(url) == Fetched(b"picture", "image/png")

    def test_declared_larger_than_allowed_is_not_read(self, download: Callable[..., Fetched]) -> None:
        """A Content-Length above the limit is refused at once, without waiting for the body."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"
        with serving(stopping_after(head)) as url, pytest.raises(TooLarge):
            download(url)

    def test_larger_than_allowed_without_a_length_is_aborted(self, download: Callable[..., Fetched]) -> None:
        """A body without a length is aborted once it exceeds the limit."""
        with serving(closing_after(b"HTTP/1.1 200 OK\r\n\r\n", bytes(1001))) as url, pytest.raises(TooLarge):
            download(url)

    def test_as_large_as_allowed_passes(self, download: Callable[..., Fetched]) -> None:
        """The limit itself is allowed."""
        with serving(answering(response(bytes(1000)))) as url:
            assert len(download(url).data) == 1000

    def test_that_is_incomplete_is_truncated(self, download: Callable[..., Fetched]) -> None:
        """Fewer bytes than declared are an error of its own."""
        with (
            serving(closing_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")) as url,
            pytest.raises(Truncated),
        ):
            download(url)

    def test_packed_without_a_request_is_unpacked(self, download: Callable[..., Fetched]) -> None:
        """A gzip body is unpacked, because some stores send it without a request for it."""
        packed = response(gzip.compress(b"picture"), headers="Content-Encoding: gzip\r\n")
        with serving(answering(packed)) as url:
            assert download(url).data == b"picture"

    def test_packed_as_a_bomb_is_refused(self, download: Callable[..., Fetched]) -> None:
        """The limit applies to the unpacked bytes."""
        bomb = response(gzip.compress(bytes(100_000)), headers="Content-Encoding: gzip\r\n")
        with serving(answering(bomb)) as url, pytest.raises(TooLarge):
            download(url)

    def test_packed_and_incomplete_is_truncated(self, download: Callable[..., Fetched]) -> None:
        """Half of a gzip body is truncated, though the HTTP body is complete."""
        half = response(gzip.compress(b"picture" * 9)[:-9], headers="Content-Encoding: gzip\r\n")
        with serving(answering(half)) as url, pytest.raises(Truncated):
            download(url)

    def test_packed_in_an_unknown_way_is_refused(self, download: Callable[..., Fetched]) -> None:
        """An unknown packing is an error that names it."""
        packed = response(b"?", headers="Content-Encoding: br\r\n")
        with serving(answering(packed)) as url, pytest.raises(FetchError, match="'br'"):
            download(url)

    def test_of_several_gzip_members_is_unpacked_whole(self, download: Callable[..., Fetched]) -> None:
        """A file may have several members, and zeros at the end."""
        body = b"".join(gzip.compress(b"%d," % n) for n in range(40)) + bytes(600)
        packed = response(body, headers="Content-Encoding: gzip\r\n")
        with serving(answering(packed)) as url:
            assert download(url, max_bytes=5000).data == b"".join(b"%d," % n for n in range(40))

    @pytest.mark.parametrize("packing", ["gzip", "x-gzip", "deflate"])
    def test_with_bytes_behind_its_packed_end_is_refused(
        self, download: Callable[..., Fetched], packing: str
    ) -> None:
        """It is refused at once: trailing bytes take no quadratic time."""
        pack = zlib.compress if packing == "deflate" else gzip.compress
        body = response(pack(b"hello") + MEGABYTE * 20, headers=f"Content-Encoding: {packing}\r\n")
        began = time.process_time()
        with serving(answering(body)) as url, pytest.raises(FetchError, match="more bytes behind its end"):
            download(url, max_bytes=50_000_000)
        assert time.process_time() - began < scaled(1.0)

    def test_of_endless_tiny_members_is_refused(self, download: Callable[..., Fetched]) -> None:
        """Each member costs more than its bytes."""
        body = response(gzip.compress(b"") * 50_000, headers="Content-Encoding: gzip\r\n")
        with serving(answering(body)) as url, pytest.raises(FetchError, match="gzip members"):
            download(url, max_bytes=50_000_000)

    @pytest.mark.parametrize(
        "packed",
        [
            gzip.compress(b"x") + bytes(2_000_000),
            # A name in the header of a member, and empty blocks.
            b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 2_000_000,
            gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * 400_000,
        ],
    )
    def test_that_unpacks_to_nothing_is_bounded_packed(
        self, download: Callable[..., Fetched], packed: bytes
    ) -> None:
        """The limit applies to the received bytes, too."""
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
        with serving(closing_after(head, packed)) as url, pytest.raises(TooLarge, match="packed bytes"):
            download(url, max_bytes=1_000_000)

    def test_that_comes_by_the_byte_takes_no_more_memory(self, download: Callable[..., Fetched]) -> None:
        """Parts are joined as they come."""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        with serving(closing_after(head, b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n")) as url:
            assert download(url, max_bytes=5000).data == b"x" * 5000


def pull(url: str, patience: Patience) -> int:
    """The number of bytes that came in pieces."""
    through = GuardedTransport()
    with (
        closing(through),
        closing(fetch_pieces(through, url, max_bytes=10**9, deadline_s=60, patience=patience)) as pieces,
    ):
        return sum(map(len, pieces))


def send_slowly(connection: socket.socket, *, head: bytes, drop: bytes, every_s: float) -> None:
    """Send a little again and again, until the client disconnects."""
    read_request(connection)
    connection.sendall(head)
    while True:
        connection.sendall(drop)
        time.sleep(every_s)


class TestPatience:
    @pytest.mark.parametrize(
        ("head", "drop"),
        [
            (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
            # A chunk extension never produces any body.
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x"),
        ],
    )
    def test_ends_with_a_body_that_is_too_slow(self, head: bytes, drop: bytes) -> None:
        """It ends long before the deadline, whatever part is slow."""
        patience = Patience(least_rate=1000, window_s=0.4)
        with (
            serving(lambda connection: send_slowly(connection, head=head, drop=drop, every_s=0.05)) as url,
            pytest.raises(DeadlinePassed, match="below the minimum"),
        ):
            pull(url, patience)

    def test_does_not_end_with_a_body_that_is_fast_enough(self) -> None:
        """A window with enough bytes starts another one."""
        body = b"x" * 100_000

        def behave(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(8):
                connection.sendall(body)
                time.sleep(0.1)
            connection.close()

        patience = Patience(least_rate=1000, window_s=0.2)
        with serving(behave) as url:
            assert pull(url, patience) == 8 * len(body)

    @pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
    def test_ends_when_it_is_stopped(self, head: bytes) -> None:
        """Within a second, before an answer and inside one, though nothing comes."""
        stopped = threading.Event()
        patience = Patience(is_stopped=stopped.is_set)
        with serving(stopping_after(head)) as url:
            threading.Timer(0.2, stopped.set).start()
            began = time.monotonic()
            with pytest.raises(DeadlinePassed, match="stopped"):
                pull(url, patience)
            assert time.monotonic() - began < scaled(2.0)


class TestFailure:
    def test_another_status_is_reported(self, download: Callable[..., Fetched]) -> None:
        """An answer other than 200 raises an error with its status."""
        with (
            serving(answering(response(b"", status="404 Not Found"))) as url,
            pytest.raises(BadStatus) as bad,
        ):
            download(url)
        assert bad.value.status == 404

    def test_a_closed_port_is_unreachable(self, download: Callable[..., Fetched]) -> None:
        """A refused connection is Unreachable."""
        with pytest.raises(Unreachable):
            download("http://127.0.0.1:1/")

    def test_silence_ends_with_the_deadline(self, download: Callable[..., Fetched]) -> None:
        """A silent server is abandoned after `deadline_s`."""
        with serving(silent) as url, pytest.raises(DeadlinePassed):
            download(url, deadline_s=0.3)

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://127.0.0.1/x",
            "file:///etc/passwd",
            "http://",
            "//host/x",
            "http://[::1/x",
            "",
            "http://a:b/",
        ],
    )
    def test_what_is_no_web_address_is_refused(self, url: str, download: Callable[..., Fetched]) -> None:
        """Only http and https URLs with a host are requested."""
        with pytest.raises(UrlRefused):
            download(url)


class TestRedirects:
    def test_are_followed_within_their_number(self, download: Callable[..., Fetched]) -> None:
        """Relative and absolute redirects are followed, up to `max_redirects`."""
        routes = {b"/a": redirect_to("/b"), b"/b": redirect_to("c?x=1"), b"/c?x=1": response(b"picture")}
        with serving(routing(routes)) as url:
            assert download(f"{url}/a", max_redirects=2).data == b"picture"
            with pytest.raises(RedirectRefused, match="more than 1"):
                download(f"{url}/a", max_redirects=1)

    def test_every_hop_is_checked(self, download: Callable[..., Fetched]) -> None:
        """`check_url` gets each URL before it is requested, and may refuse it."""
        seen: list[str] = []

        def check(url: httpx.URL) -> None:
            seen.append(url.path)
            if url.path == "/forbidden":
                raise UrlRefused("not that one")

        routes = {b"/a": redirect_to("/forbidden")}
        with serving(routing(routes)) as url, pytest.raises(RedirectRefused, match="not that one"):
            download(f"{url}/a", max_redirects=3, check_url=check)
        assert seen == ["/a", "/forbidden"]

    @pytest.mark.parametrize("location", ["ftp://x/y", "http://[", "javascript:1"])
    def test_to_what_is_no_web_address_are_refused(
        self, location: str, download: Callable[..., Fetched]
    ) -> None:
        """A redirect away from http and https is refused."""
        with serving(routing({b"/a": redirect_to(location)})) as url, pytest.raises(RedirectRefused):
            download(f"{url}/a", max_redirects=3)

    def test_to_internal_addresses_are_refused(self) -> None:
        """The address policy applies to every hop: an allowed host cannot redirect to a refused one."""
        with (
            serving(answering(response(b"secret"))) as inside,
            serving(routing({b"/a": redirect_to(f"{inside}/x")})) as outside,
        ):
            through = GuardedTransport(
                policy=AddressPolicy(exempt=HostList.parse([outside.removeprefix("http://")]))
            )
            with pytest.raises(AddressRefused):
                fetch(through, f"{outside}/a", max_bytes=99, deadline_s=5, max_redirects=3)
            through.close()

    def test_share_one_deadline(self, download: Callable[..., Fetched]) -> None:
        """The deadline is for all hops together."""
        began = time.monotonic()
        with serving(_slow_redirects) as url, pytest.raises(DeadlinePassed):
            download(f"{url}/a", max_redirects=50, deadline_s=0.5)
        assert time.monotonic() - began < scaled(2)


def _slow_redirects(connection: socket.socket) -> None:
    while read_request(connection):
        time.sleep(0.2)
        connection.sendall(redirect_to("/again"))


class TestSecrecy:
    def test_no_error_shows_the_url(self, download: Callable[..., Fetched]) -> None:
        """Whatever fails, the text of the error contains no part of the path."""
        outcomes = (response(b"", status="500 Oops"), redirect_to("/token-s3cret"), b"nonsense\r\n\r\n")
        for outcome in outcomes:
            with serving(closing_after(outcome)) as url, pytest.raises(FetchError) as failed:
                download(f"{url}/token-s3cret?key=s3cret")
            assert "s3cret" not in str(failed.value)

    def test_nothing_is_logged_above_debug(
        self, download: Callable[..., Fetched], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A download writes no log line with its URL, unlike httpx.Client."""
        caplog.set_level("DEBUG")
        with serving(answering(response(b"picture"))) as url:
            download(f"{url}/token-s3cret")
        assert "s3cret" not in caplog.text
