"""Adding work under what can go wrong: forms replayed, broken off, hostile or stale, and missing rights."""

import re
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect
from sqlalchemy.orm import Session

from cutout.enums import OperatorScope, Scope
from cutout.ingest.pending import next_request
from cutout.ingest.stop import Stop
from cutout.producers.api_keys import make_operator_key, revoke_keys
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.console.conftest import Site, Tab, barriers
from tests.console.test_adding import drop, payloads, pictures, zipped
from tests.support.machine import scaled
from tests.support.pictures import encoded, plain
from tests.support.plain_http import NO_TLS
from tests.support.system import wait_until
from worker.ingester.reader import Reader

OURS = {"Sec-Fetch-Site": "same-origin"}
JPEG = encoded(plain(), "JPEG")
CSV = b"external_id,source\nA,https://shop.example/a.jpg\nB,https://shop.example/b.jpg\nbad,nowhere\n"
Files = list[tuple[str, tuple[str, bytes]]]
Sender = Callable[..., httpx.Response]


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A client that is signed in with the producer's key."""
    with signed_in(site, site.key) as client:
        yield client


@contextmanager
def signed_in(site: Site, key: str) -> Iterator[httpx.Client]:
    """A client that signed in with the key."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(30), headers=OURS) as client:
        assert client.post("/console/sign-in", data={"key": key}).status_code == 303
        yield client


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


FAULTS: dict[str, tuple[dict[str, str], list[tuple[str, bytes]], str]] = {
    "nothing": (form(), [], "There is nothing to read"),
    "an empty file": (form(), [("a.csv", b"")], "has 0 bytes"),
    "a file and an address": (form(url="https://shop.example/a.csv"), [("a.csv", CSV)], "a file and an addr"),
    "a manifest with pictures": (form(), [("a.csv", CSV), ("b.jpg", JPEG)], "is no picture"),
    "pictures with a zip": (form(), [("b.jpg", JPEG), ("c.zip", zipped({}))], "came together with pictures"),
    "a weight of words": (form(weight="heavy"), [("a.csv", CSV)], "weight"),
    "a budget below zero": (form(budget="-1"), [("a.csv", CSV)], "budget"),
    "a budget beyond numbers": (form(budget="9" * 30), [("a.csv", CSV)], "budget"),
    "an unknown form": (form(return_form="psd"), [("a.csv", CSV)], "return_form"),
    "an unknown rendition": (form(outputs="moon"), [("a.csv", CSV)], "moon"),
    "columns that cannot be": (form(map="source"), [("a.csv", CSV)], "map"),
    "a name that hides text": (form(name="a\u202eb"), [("a.csv", CSV)], "name"),
    "a name too long": (form(name="n" * 300), [("a.csv", CSV)], "name"),
    "a private address": (form(url="https://10.0.0.1/a.csv"), [], "The address"),
    "an address of files": (form(url="file:///etc/passwd"), [], "must begin with https://"),
    "a bucket of the operator": (form(url="s3://any/prefix/"), [], "must begin with https://"),
    "no token": (form(token=""), [("a.csv", CSV)], "not complete"),
    "a token of words": (form(token="x' OR 1=1"), [("a.csv", CSV)], "not complete"),
    "a huge field": (form(map="x" * 9000), [("a.csv", CSV)], "is longer than"),
    "many fields": (form(**{f"f{n}": "" for n in range(80)}), [("a.csv", CSV)], "more than 60 fields"),
}


class TestFaults:
    """Forms that cannot be carried out."""

    def test_a_faulty_form_says_why_and_stores_nothing(
        self, site: Site, client: httpx.Client, bucket: Bucket
    ) -> None:
        """The answer names the fault; there is no batch and no object."""
        for case, (fields, files, text) in FAULTS.items():
            answer = send(client, fields, *files)
            assert answer.status_code in {413, 422}, case
            assert text in told(answer), case
        assert nothing_is_left(site, bucket)

    def test_a_damaged_body_is_no_error_of_ours(
        self, site: Site, client: httpx.Client, bucket: Bucket
    ) -> None:
        """Bodies that are no such form, or have no end, are refused."""
        whole = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n' + CSV
        token = f'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\n{uuid.uuid4()}\r\n'.encode()
        multipart = "multipart/form-data; boundary=x"
        for kind, body, status in (
            (multipart, token + whole, 400),
            (multipart, b"no form at all", 400),
            (multipart, b"", 400),
            (multipart, b"--x\r\nContent-Disposition: form-data; name=" + b"a" * 10_000, 400),
            ("multipart/form-data", token + whole, 415),
            (f"multipart/form-data; boundary={'b' * 300}", token, 400),
            ("text/csv", CSV, 415),
            ("application/x-www-form-urlencoded", b"token=1", 415),
        ):
            answer = client.post("/console/add", content=body, headers={"Content-Type": kind})
            assert (answer.status_code, kind) == (status, kind), told(answer)
        assert nothing_is_left(site, bucket)

    def test_more_bytes_than_are_taken_are_refused(
        self, site: Site, client: httpx.Client, bucket: Bucket
    ) -> None:
        """A body above the limit is refused by its length; pictures above an archive's leave nothing."""
        settings = site.app.state.services.settings
        with begun(client, settings.max_manifest_bytes + 1_000_000) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 413")
        object.__setattr__(settings, "max_archive_bytes", 2000)
        answer = send(client, form(), *pictures(9).items())
        assert answer.status_code == 422
        assert "pack several" in told(answer)
        assert nothing_is_left(site, bucket)

    def test_hostile_names_are_rejected_by_name(
        self, site: Site, client: httpx.Client, settings: Settings, bucket: Bucket
    ) -> None:
        """Names that hide, climb, repeat or are huge become no jobs, and the page shows them harmlessly."""
        names = ["good.jpg", "a\u202egpj.exe.jpg", "../../etc/passwd.jpg", "good.jpg", "n" * 900 + ".jpg"]
        names += ["..", "<img src=x onerror=alert(1)>.jpg"]
        batch_id = batch_of(send(client, form(), *((name, JPEG) for name in names)))
        read(site, settings, bucket)
        ids = site.scalar("SELECT array_agg(external_id ORDER BY external_id) FROM jobs")
        assert sorted(ids) == ["<img src=x onerror=alert(1)>", "good.jpg", "passwd"]
        page = client.get(f"/console/batches/{batch_id}").text
        assert "U+202E" in page
        assert "\u202e" not in page
        assert "<img src=x" not in page
        assert "is the name of two files of the archive" in page

    def test_a_name_that_was_given_to_another_form_is_kept(self, client: httpx.Client) -> None:
        """A faulty form comes back with what was typed."""
        answer = send(client, form(name="spring <b>", weight="heavy"), ("a.csv", CSV))
        assert 'value="spring &lt;b&gt;"' in answer.text
        assert 'value="heavy"' in answer.text


class TestRights:
    """Rights to add, approve and discard."""

    def test_scopes_of_a_producer(self, site: Site, settings: Settings, bucket: Bucket) -> None:
        """To look needs `read`, to add and discard `enqueue`, to approve `admin`; others see nothing."""
        with signed_in(site, site.make_key("viewer", Scope.READ)[1]) as viewer:
            assert "Add work" not in viewer.get("/console").text
            assert viewer.get("/console/add").status_code == 403
            assert send(viewer, form(), ("a.csv", CSV)).status_code == 403
        assert nothing_is_left(site, bucket)
        with signed_in(site, site.make_key("adder", Scope.READ, Scope.ENQUEUE)[1]) as adder:
            batch_id = batch_of(send(adder, form(), ("a.csv", CSV)))
            read(site, settings, bucket)
            page = adder.get(f"/console/batches/{batch_id}").text
            assert "needs a key with the right" in page
            shown = shown_on(page)
            assert adder.post(f"/console/batches/{batch_id}/approve", data=shown).status_code == 403
            with signed_in(site, site.key) as other:
                for path in ("", "/rejects"):
                    assert other.get(f"/console/batches/{batch_id}{path}").status_code == 404
                for act in ("approve", "discard"):
                    answer = other.post(f"/console/batches/{batch_id}/{act}", data=shown)
                    assert answer.status_code == 404
            assert adder.post(f"/console/batches/{batch_id}/discard", data=shown).status_code == 303
        assert site.scalar("SELECT count(*) FROM actions WHERE kind = 'cancel'") == 1

    def test_operators_choose_a_producer(self, site: Site, settings: Settings, bucket: Bucket) -> None:
        """An operator adds for a producer, also from a bucket; to approve needs the right to spend."""
        for number in range(2):
            bucket.put_cutout(JPEG + bytes([number]), key=f"in/{number}.jpg", media_type="a/b", metadata={})
        with signed_in(site, operator_key(site, OperatorScope.OPERATE)) as operator:
            prefix = f"s3://{bucket.name}/in/"
            assert "no such producer" in told(send(operator, form(url=prefix)))
            bad = form(url="s3://another/in/", producer=str(site.producer_id))
            assert "another" in told(send(operator, bad))
            fields = form(url=prefix, producer=str(site.producer_id))
            batch_id = batch_of(send(operator, fields))
            assert site.scalar("SELECT producer_id FROM batches") == site.producer_id
            read(site, settings, bucket)
            assert site.scalar("SELECT count(*) FROM jobs") == 2
            shown = shown_on(operator.get(f"/console/batches/{batch_id}").text)
            approve = f"/console/batches/{batch_id}/approve"
            assert operator.post(approve, data=shown | {"most": "2"}).status_code == 403
        with signed_in(site, operator_key(site, OperatorScope.SPEND)) as spender:
            shown = shown_on(spender.get(f"/console/batches/{batch_id}").text)
            assert spender.post(approve, data=shown).status_code == 303
        row = "SELECT string_agg(concat_ws(' ', kind, actor_role, credits), ', ' ORDER BY id) FROM actions"
        assert site.scalar(row) == "add_batch operator, approve operator 2"

    def test_a_viewing_operator_adds_nothing(self, site: Site, bucket: Bucket) -> None:
        """An operator's key that may only look is refused."""
        with signed_in(site, operator_key(site, OperatorScope.VIEW)) as operator:
            fields = form(producer=str(site.producer_id))
            assert send(operator, fields, ("a.csv", CSV)).status_code == 403
        assert nothing_is_left(site, bucket)


def operator_key(site: Site, scope: OperatorScope) -> str:
    """A key of an operator who may do so much."""
    with Session(site.engine) as session, session.begin():
        return make_operator_key(session, f"ana {scope}", scopes=[scope])[1]


def shown_on(page: str) -> dict[str, str]:
    """The fields of the plan's forms."""
    return dict(re.findall(r'name="(revision|most)" value="([^"]*)"', page))


class TestStalePages:
    """Answers to a plan that is not any more what the page showed."""

    @pytest.fixture
    def batch_id(self, site: Site, client: httpx.Client, settings: Settings, bucket: Bucket) -> uuid.UUID:
        """A batch with a plan of two jobs."""
        made = batch_of(send(client, form(), ("a.csv", CSV)))
        read(site, settings, bucket)
        return made

    def test_a_changed_batch_is_not_approved(
        self, site: Site, client: httpx.Client, batch_id: uuid.UUID
    ) -> None:
        """Another revision or another price than the page showed: it says so and changes nothing."""
        address = f"/console/batches/{batch_id}"
        shown = shown_on(client.get(address).text)
        assert shown["most"] == "2"
        for wrong in ({"revision": "99"}, {"most": "1"}, {"most": ""}, {"revision": "x" * 300}):
            answer = client.post(f"{address}/approve", data=shown | wrong)
            assert (answer.status_code, wrong) == (409, wrong)
            assert "nothing was done" in told(answer)
        site.execute("UPDATE ingests SET plan = plan || '{\"calls\": 7}'")
        assert client.post(f"{address}/approve", data=shown).status_code == 409
        assert site.scalar("SELECT string_agg(kind, ' ') FROM actions") == "add_batch"
        assert not site.scalar("SELECT options ? 'approved' FROM ingests")

    def test_a_plan_is_answered_once(self, site: Site, client: httpx.Client, batch_id: uuid.UUID) -> None:
        """Approved twice, or discarded after that: the second answer changes nothing; one action is kept."""
        address = f"/console/batches/{batch_id}"
        shown = shown_on(client.get(address).text)
        assert client.post(f"{address}/approve", data=shown).status_code == 303
        assert client.post(f"{address}/approve", data=shown).status_code == 409
        assert client.post(f"{address}/discard", data=shown).status_code == 409
        kinds = "SELECT string_agg(kind, ' ' ORDER BY id) FROM actions"
        assert site.scalar(kinds) == "add_batch approve"
        assert site.scalar("SELECT cancelled_at IS NULL FROM batches")

    def test_a_batch_that_is_read_has_no_price(self, site: Site, client: httpx.Client) -> None:
        """Before its source is read it can be discarded, not approved."""
        batch_id = batch_of(send(client, form(), ("a.csv", CSV)))
        page = client.get(f"/console/batches/{batch_id}").text
        assert "Its source is being read" in page
        assert "Approve" not in page
        revision = shown_on(page)["revision"]
        answer = client.post(f"/console/batches/{batch_id}/approve", data={"revision": revision, "most": "0"})
        assert answer.status_code == 409
        assert client.post(f"/console/batches/{batch_id}/discard", data={"revision": revision}).is_redirect
        assert site.scalar("SELECT cancelled_at IS NOT NULL FROM batches")


def test_bytes_are_counted_as_they_go(site: Site, tab: Tab, bucket: Bucket) -> None:
    """On a slow line the page says how much is sent, and Stop leaves nothing; the form can be sent again."""
    page = tab.sign_in(site.key)
    page.goto(f"{site.url}/console/add")
    line = tab.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 100_000}
    line.send("Network.emulateNetworkConditions", slow)
    page.set_input_files(
        "#files", payloads({"catalog.csv": CSV + b"x,https://shop.example/x.jpg\n" * 100_000})
    )
    page.get_by_role("button", name="Show the price").click()
    expect(page.locator("#sent")).to_have_text(re.compile(r"of 2\.\d MB"))
    expect(page.get_by_role("button", name="Show the price")).to_be_disabled()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#fault")).to_have_text("Stopped. Nothing was stored.")
    wait_until(lambda: len(site.app.state.services.uploads) == 0, "the place is free")
    assert nothing_is_left(site, bucket)
    line.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})
    page.get_by_role("button", name="Show the price").click()
    page.wait_for_url("**/console/batches/*")
    assert site.scalar("SELECT count(*) FROM batches") == 1


def test_a_file_beside_its_field_does_not_leave_the_page(site: Site, tab: Tab) -> None:
    """Dropped anywhere, files are chosen; too large ones are told before they are sent."""
    page = tab.sign_in(site.key)
    page.goto(f"{site.url}/console/add")
    drop(page, pictures(7))
    expect(page.locator("#chosen")).to_contain_text("7 files")
    page.evaluate("document.querySelector('[data-upload]').dataset.most = '100'")
    drop(page, pictures(2))
    expect(page.locator("#fault")).to_contain_text("at most 0.1 kB are taken")


SHAPES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"color_scheme": "dark", "viewport": {"width": 320, "height": 640}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_form_and_the_plan_have_no_barrier(
    site: Site, open_tab: Callable[..., Tab], settings: Settings, bucket: Bucket, shape: str
) -> None:
    """Axe finds nothing in the form, its fault, and the plan with rejects; none is wider than its window."""
    page = open_tab(**SHAPES[shape]).sign_in(site.key)

    def fits(what: str) -> None:
        assert barriers(page) == [], what
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), what

    page.goto(f"{site.url}/console/add")
    page.get_by_text("More options").click()
    fits("the form")
    page.fill("#weight", "heavy")
    page.set_input_files("#files", payloads({"catalog.csv": CSV}))
    page.get_by_role("button", name="Show the price").click()
    expect(page.locator("#fault")).to_contain_text("weight")
    expect(page.locator("#chosen")).to_contain_text("catalog.csv")
    fits("the fault")
    page.fill("#weight", "2")
    page.get_by_role("button", name="Show the price").click()
    page.wait_for_url("**/console/batches/*")
    fits("while it is read")
    read(site, settings, bucket)
    page.reload()
    expect(page.get_by_role("button", name="Approve 2 jobs: up to 2 credits, $0.01")).to_be_visible()
    page.get_by_text("Discard it").click()
    fits("the plan")


class TestWindows:
    """Hours of the day in which the calls of a batch go out."""

    def test_are_those_of_the_form(self, site: Site) -> None:
        """The batch has the opening, and its page says the hours with their zone."""
        with signed_in(site, site.key) as client:
            sent = form(url="https://shop.example/a.csv", opens="22:00", closes="06:00", zone="Europe/Paris")
            answer = send(client, sent)
            assert answer.status_code == 303
            page = client.get(answer.headers["location"]).text
        assert "each day 22:00-06:00 in Europe/Paris until it is done" in page
        length = site.scalar("SELECT closes_at - opens_at FROM batches WHERE closes_at > now()")
        assert 7 <= length.total_seconds() / 3600 <= 9

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"opens": "22:00"}, "A window has two times"),
            ({"closes": "06:00"}, "A window has two times"),
            ({"opens": "22:00", "closes": "22:00"}, "is empty"),
            ({"opens": "x" * 200, "closes": "06:00"}, "is not two times of a day"),
            ({"opens": "22:00", "closes": "06:00", "zone": "Mars/<b>"}, "does not exist"),
        ],
    )
    def test_that_cannot_be_are_told(self, site: Site, fields: dict[str, str], words: str) -> None:
        """The form comes back with what was typed, and nothing is stored."""
        with signed_in(site, site.key) as client:
            answer = send(client, form(url="https://shop.example/a.csv", **fields))
        assert answer.status_code == 422
        assert words in answer.text
        assert '<details class="more" open>' in answer.text
        assert "Mars/<b>" not in answer.text
        assert site.scalar("SELECT count(*) FROM batches") == 0
