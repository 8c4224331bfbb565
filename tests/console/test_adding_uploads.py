"""Uploads of work: sent twice, broken off, of a revoked key, or too many at once."""

from collections.abc import Iterator

import httpx
from sqlalchemy.orm import Session

from cutout.producers.api_keys import revoke_keys
from cutout.storage import Bucket
from tests.console.conftest import Site
from tests.console.forms import (
    CSV,
    JPEG,
    batch_of,
    begun,
    form,
    nothing_is_left,
    send,
    told,
    uploads,
)
from tests.support.system import wait_until


class TestSending:
    """Forms as they come."""

    def test_a_form_sent_twice_is_one_batch(self, site: Site, client: httpx.Client, bucket: Bucket) -> None:
        """The second sending leads to the batch of the first, stores nothing, and its page says so."""
        fields = form(name="spring")
        first, second = send(client, fields, ("a.csv", CSV)), send(client, fields, ("b.csv", CSV))
        assert batch_of(first) == batch_of(second)
        assert "nothing was added by sending it again" in client.get(second.headers["Location"]).text
        assert site.scalar("SELECT count(*) FROM batches") == 1
        assert len(uploads(bucket)) == 1
        assert batch_of(send(client, form(name="spring"), ("a.csv", CSV))) != batch_of(first)

    def test_an_upload_that_breaks_off_leaves_nothing(
        self, site: Site, client: httpx.Client, bucket: Bucket
    ) -> None:
        """The browser goes away half-way: no batch, no object, and the place is free again."""
        begin = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in form().items()
        )
        begin += '--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        places = site.app.state.services.uploads
        with begun(client, 50_000_000) as connection:
            connection.sendall(begin.encode() + JPEG[:300])
            wait_until(lambda: len(places) == 1, "the upload holds a place")
            connection.sendall(b"a" * 6_000_000)
        wait_until(lambda: len(places) == 0, "the place is free")
        assert nothing_is_left(site, bucket)

    def test_a_key_revoked_meanwhile_leaves_nothing(
        self, site: Site, client: httpx.Client, bucket: Bucket
    ) -> None:
        """A key that ends while the files come leads to the sign-in, and to no batch."""
        key_id = site.scalar("SELECT id FROM api_keys")

        def body() -> Iterator[bytes]:
            for name, value in form().items():
                yield f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.csv"\r\n\r\n'
            yield CSV
            wait_until(lambda: len(site.app.state.services.uploads) == 1, "the upload is under way")
            with Session(site.engine) as session, session.begin():
                revoke_keys(session, key_id)
            yield b"\r\n--x--\r\n"

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = client.post("/console/add", content=body(), headers=kind)
        assert answer.headers["Location"].startswith("/console/sign-in")
        assert nothing_is_left(site, bucket)

    def test_uploads_of_one_producer_leave_places_to_others(self, site: Site, client: httpx.Client) -> None:
        """Past the producer's share the page says to wait, and nothing is stored."""
        places = site.app.state.services.uploads
        places._of[site.producer_id] = places.most
        answer = send(client, form(), ("a.csv", CSV))
        places._of[site.producer_id] = 0
        assert answer.status_code == 429
        assert answer.headers["Retry-After"]
        assert "Nothing was stored." in told(answer)

    def test_another_site_cannot_send_it(self, site: Site, client: httpx.Client, bucket: Bucket) -> None:
        """A form of another origin is refused before it is read."""
        client.headers["Sec-Fetch-Site"] = "cross-site"
        assert send(client, form(), ("a.csv", CSV)).status_code == 403
        assert nothing_is_left(site, bucket)
