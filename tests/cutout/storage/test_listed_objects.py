"""Listings: all pages, keys as they are, and errors that must not look like an empty bucket."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cutout.settings import Settings
from cutout.storage import Bucket, StorageError
from tests.cutout.storage.test_bucket import DATA

RESULT = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{}</ListBucketResult>'
ERROR = "<Error><Code>SlowDown</Code><Message>later</Message></Error>"
A = "<Contents><Key>a</Key><ETag>&quot;1&quot;</ETag><Size>7</Size></Contents>"


def put(bucket: Bucket, *keys: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(_put, bucket, key) for key in keys]:
            done.result()


def _put(bucket: Bucket, key: str) -> None:
    bucket.put_cutout(DATA, key=key, media_type="image/png", metadata={})


class TestAListing:
    def test_is_what_boto3_reads(self, bucket: Bucket) -> None:
        """Over more than one page, with keys that XML or URLs write in another way."""
        odd = [
            "drop/a&b <c>.png",
            "drop/a+b c%20.png",
            "drop/ü 猫\u00a0.png",
            'drop/"q".png',
            "drop/tab\there",
        ]
        put(bucket, *odd, *(f"drop/{n:04d}.png" for n in range(1005)), "elsewhere/x.png")
        found = list(bucket.listed("drop/"))
        assert [one.key for one in found] == sorted(bucket.keys("drop/"), key=str.encode)
        assert {one.key for one in found} >= set(odd)
        assert len(found) == 1005 + len(odd)
        for one in (found[0], found[-1]):
            assert one == bucket.describe(one.key)

    def test_of_nothing_is_empty(self, bucket: Bucket) -> None:
        """No object begins with the prefix."""
        assert list(bucket.listed("drop/")) == []

    def test_ends_where_its_reader_stops(self, bucket: Bucket) -> None:
        """The thread that asks for pages ends with it."""
        put(bucket, "drop/a.png", "drop/b.png")
        with closing(bucket.listed("drop/")) as listed:  # type: ignore[type-var]
            assert next(listed).key == "drop/a.png"
        for thread in threading.enumerate():
            if thread.name.startswith("listing"):
                thread.join(5)
                assert not thread.is_alive()


@contextmanager
def server_of(*bodies: str) -> Iterator[str]:
    """A server that gives one body after the other, each with the status 200; then the last one again."""
    left = list(bodies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (left.pop(0) if len(left) > 1 else left[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def bucket_of(settings: Settings) -> Callable[[str], Bucket]:
    """A bucket at another server, asked once."""
    return lambda url: Bucket(settings.model_copy(update={"s3_endpoint_url": url}), patient=False)


class TestAPageThatIsNone:
    @pytest.mark.parametrize(
        "body",
        [
            ERROR,
            f"<?xml version='1.0'?>\n{ERROR}",
            "",
            "<html>sign in</html>",
            RESULT.format(A)[:-30],
            RESULT.format("<Contents><Key>a</Key><Size>x</Size></Contents>"),
        ],
        ids=["error", "error with a head", "nothing", "another page", "cut off", "no size"],
    )
    def test_is_an_error(self, bucket_of: Callable[[str], Bucket], body: str) -> None:
        """Read as an empty listing, it would mean that every picture is gone."""
        with server_of(body) as url, closing(bucket_of(url)) as bucket, pytest.raises(StorageError):
            list(bucket.listed("drop/"))

    def test_after_a_good_one_is_an_error_too(self, bucket_of: Callable[[str], Bucket]) -> None:
        """The objects before it are not taken for all."""
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        with server_of(RESULT.format(A + more), ERROR) as url, closing(bucket_of(url)) as bucket:
            listed = bucket.listed("drop/")
            assert next(listed).key == "a"
            with pytest.raises(StorageError):
                next(listed)
