"""Forms that add work, sent as a browser sends them, and the texts of the pages that answer."""

import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from cutout.ingest.pending import next_request
from cutout.ingest.stop import Stop
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.console.conftest import Site
from tests.support.pictures import encoded, plain
from worker.ingester.reader import Reader

JPEG = encoded(plain(), "JPEG")
CSV = b"external_id,source\nA,https://shop.example/a.jpg\nB,https://shop.example/b.jpg\nbad,nowhere\n"


def form(**fields: str) -> dict[str, str]:
    """A form that is complete, with a token of its own."""
    return {"token": str(uuid.uuid4()), "weight": "1", "return_form": "rgba"} | fields


def send(client: httpx.Client, fields: dict[str, str], *files: tuple[str, bytes]) -> httpx.Response:
    """Send the form with files."""
    parts = [("files", (name, data, "application/octet-stream")) for name, data in files]
    return client.post("/console/add", data=fields, files=parts or [("files", ("", b""))])


def batch_of(answer: httpx.Response) -> uuid.UUID:
    """The batch to whose page the answer leads."""
    assert answer.status_code == 303, told(answer)
    found = re.fullmatch(r"/console/batches/([0-9a-f-]{36})(\?sent=again)?", answer.headers["Location"])
    assert found
    return uuid.UUID(found[1])


def told(answer: httpx.Response) -> str:
    """The texts of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text.partition("<main")[2]))


@contextmanager
def begun(client: httpx.Client, length: int) -> Iterator[socket.socket]:
    """A connection on which a form of so many bytes was begun."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
    address = client.base_url
    with socket.create_connection((address.host, address.port or 80)) as connection:
        head = (
            f"POST /console/add HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
            f"Sec-Fetch-Site: same-origin\r\nCookie: {cookies}\r\nContent-Length: {length}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        connection.sendall(head.encode())
        yield connection


def uploads(bucket: Bucket) -> list[str]:
    """The keys of what was sent and stored."""
    return bucket.keys("manifests/")


def read(site: Site, settings: Settings, bucket: Bucket) -> None:
    """Read what was asked for, as an ingester does."""
    with site.engine.connect() as connection, next_request(connection, to_fetch=False) as request:
        assert request is not None
        Reader(settings, site.engine, bucket).read(connection, request, Stop())


def nothing_is_left(site: Site, bucket: Bucket) -> bool:
    """Whether no batch was made and no object is stored."""
    return site.scalar("SELECT count(*) FROM batches") == 0 and uploads(bucket) == []


def shown_on(page: str) -> dict[str, str]:
    """The fields of the plan's forms."""
    return dict(re.findall(r'name="(revision|most)" value="([^"]*)"', page))
