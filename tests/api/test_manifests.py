"""Batches made of a manifest: sent, or at an address; read by an ingester."""

import io
import socket
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text

from api.app import create_app
from cutout.ingest.uploads import left_behind
from cutout.models.database import PostgresAwayError
from cutout.queue.blocks.blocked_jobs import unblock
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.api.conftest import key_for
from tests.api.conftest import serve as serve_api
from tests.support.web import serve
from worker.ingester.loop import Ingester

CSV = {"Content-Type": "text/csv"}
ROWS = b"external_id,source\na,https://shop.example/a.jpg\nb,https://shop.example/b.jpg\n"


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """One that takes addresses of this machine, among them one that the ingester may not fetch from."""
    hosts = ("127.0.0.1", "127.0.0.2")
    return create_app(settings.model_copy(update={"source_private_hosts": hosts, "max_batch_jobs": 3}))


@pytest.fixture
def ingester(settings: Settings, engine: Engine, bucket: Bucket) -> Ingester:
    """One that may fetch from this machine."""
    return Ingester(
        settings.model_copy(update={"source_private_hosts": ("127.0.0.1",), "max_manifest_bytes": 10_000}),
        engine,
        bucket,
    )


@pytest.fixture
def by_itself(ingester: Ingester) -> Iterator[None]:
    """Nothing is left to read afterwards."""
    yield
    assert not ingester.serve()


def read(shop: httpx.Client, ingester: Ingester, answer: httpx.Response) -> dict[str, Any]:
    """The batch once its manifest was read."""
    assert answer.status_code == 202, answer.text
    asked = answer.json()
    assert asked["ingest"]["state"] == "reading"
    assert asked["finished_at"] is None
    assert ingester.serve()
    found: dict[str, Any] = shop.get(answer.headers["Location"]).json()
    return found


def rejects(shop: httpx.Client, batch: dict[str, Any]) -> str:
    """The file of rejects."""
    redirect = shop.get(batch["ingest"]["rejects_url"])
    assert redirect.status_code == 307
    return httpx.get(redirect.headers["Location"]).text


@pytest.mark.usefixtures("by_itself")
class TestAManifestThatIsSent:
    def test_becomes_jobs(self, shop: httpx.Client, ingester: Ingester) -> None:
        """A row, two forms: two jobs; the counts add up."""
        answer = shop.post(
            "/v1/batches",
            params={"name": "spring", "return_form": ["rgba", "mask"]},
            content=ROWS,
            headers=CSV,
        )
        batch = read(shop, ingester, answer)
        assert (batch["name"], batch["total"], batch["counts"]["queued"]) == ("spring", 4, 4)
        ingest = batch["ingest"]
        assert (ingest["state"], ingest["records"], ingest["jobs"], ingest["rejects"]) == ("read", 2, 4, 0)
        assert ingest["kind"] == "CSV manifest"

    def test_keeps_what_is_no_job(self, shop: httpx.Client, ingester: Ingester, bucket: Bucket) -> None:
        """Rows that name a file, a bucket's object or an inner scheme are rejected."""
        rows = ROWS + (
            b"c,photos/c.jpg\n"
            b"d,/etc/passwd\n"
            + f"e,s3://{bucket.name}/sources/aa/secret\n".encode()
            + b"f,file:///etc/passwd\n"
            b"a,https://shop.example/a.jpg\n"
            b"b,https://shop.example/another.jpg\n"
        )
        batch = read(
            shop, ingester, shop.post("/v1/batches", params={"name": "n"}, content=rows, headers=CSV)
        )
        ingest = batch["ingest"]
        assert (ingest["pictures"], ingest["jobs"], ingest["rejects"], ingest["duplicates"]) == (8, 2, 5, 1)
        lines = rejects(shop, batch).splitlines()
        assert [line.split(",")[0] for line in lines] == ["line", "4", "5", "6", "7", "9"]
        assert "line 3 names one and line 9 another" in lines[-1]

    def test_of_rejects_alone_is_finished(self, shop: httpx.Client, ingester: Ingester) -> None:
        """There is nothing to wait for."""
        answer = shop.post("/v1/batches?name=n", content=b"external_id,source\na,b\n", headers=CSV)
        batch = read(shop, ingester, answer)
        assert (batch["total"], batch["ingest"]["rejects"]) == (0, 1)
        assert batch["finished_at"] is not None

    def test_names_its_columns(self, shop: httpx.Client, ingester: Ingester) -> None:
        """`map` is the command's."""
        answer = shop.post(
            "/v1/batches",
            params={"name": "n", "map": 'external_id=SKU,source="Image URL"'},
            content=b"SKU;Image URL\r\n1;https://shop.example/1.jpg\r\n",
            headers=CSV,
        )
        assert read(shop, ingester, answer)["ingest"]["jobs"] == 1

    def test_may_be_a_zip_of_pictures(
        self, shop: httpx.Client, ingester: Ingester, engine: Engine, bucket: Bucket
    ) -> None:
        """They go to the bucket."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("shoe.jpg", b"a shoe")
            archive.writestr("../hat.jpg", b"a hat")
        answer = shop.post(
            "/v1/batches?name=n", content=packed.getvalue(), headers={"Content-Type": "application/zip"}
        )
        batch = read(shop, ingester, answer)
        assert (batch["ingest"]["jobs"], batch["ingest"]["rejects"]) == (1, 1)
        with engine.connect() as connection:
            source = connection.scalar(text("SELECT source FROM jobs"))
        key = bucket.key_of(source)
        assert key
        assert bucket.read(key, max_bytes=100) == b"a shoe"

    def test_stops_where_strict(self, shop: httpx.Client, ingester: Ingester) -> None:
        """Its reading fails with the line and the reason."""
        answer = shop.post(
            "/v1/batches?name=n&strict=true", content=b"external_id,source\na,b\n", headers=CSV
        )
        ingest = read(shop, ingester, answer)["ingest"]
        assert ingest["state"] == "failed"
        assert "line 2, source: 'b' is no address" in ingest["error"]

    def test_of_nothing_readable_fails_with_the_reason(self, shop: httpx.Client, ingester: Ingester) -> None:
        """As the command would say it."""
        ingest = read(shop, ingester, shop.post("/v1/batches?name=n", content=b"a,b\n1,2\n", headers=CSV))[
            "ingest"
        ]
        assert ingest["state"] == "failed"
        assert "external_id" in ingest["error"]

    def test_waits_for_approval_with_its_price(
        self, shop: httpx.Client, ingester: Ingester, engine: Engine
    ) -> None:
        """All is held; once approved it may go, and can be approved once."""
        twice = ROWS + b"c,https://shop.example/b.jpg\n"
        answer = shop.post("/v1/batches?name=n&plan=true", content=twice, headers=CSV)
        batch = read(shop, ingester, answer)
        assert batch["counts"]["held"] == 3
        plan = batch["ingest"]["plan"]
        # The tests' environment buys each picture anew.
        priced = {"calls": 3, "dollars": 0.009}
        # By usual ones, since none was made yet.
        outputs = {"outputs": 3, "output_cpu_seconds": 6, "output_bytes": 9_000_000}
        assert plan == {"already_bought": 0, "missing": 0, "same_picture": 0} | priced | outputs
        assert shop.post(f"/v1/batches/{batch['id']}/approve").status_code == 200
        with engine.connect() as connection:
            assert unblock(connection) == 3
        again = shop.post(f"/v1/batches/{batch['id']}/approve")
        assert (again.status_code, again.json()["type"]) == (409, "urn:cutout:problem:not-awaiting-approval")

    def test_that_was_cancelled_is_not_read(
        self, shop: httpx.Client, ingester: Ingester, engine: Engine
    ) -> None:
        """Nobody enqueues what was withdrawn."""
        assert shop.post("/v1/batches?name=n", content=ROWS, headers=CSV).status_code == 202
        with engine.begin() as connection:
            connection.execute(text("UPDATE ingests SET finished_at = now()"))
        assert not ingester.serve()


@pytest.mark.usefixtures("by_itself")
class TestAListWithAPlan:
    def test_is_held_as_a_manifest_is(self, shop: httpx.Client, ingester: Ingester) -> None:
        """Its jobs wait for approval, in their own forms."""
        jobs = [{"external_id": "a", "source_url": "https://shop.example/a.jpg", "return_form": "mask"}]
        batch = read(shop, ingester, shop.post("/v1/batches", json={"name": "n", "plan": True, "jobs": jobs}))
        assert batch["counts"]["held"] == 1
        assert batch["ingest"]["plan"]["calls"] == 1

    def test_has_the_addresses_that_were_sent(
        self, shop: httpx.Client, ingester: Ingester, engine: Engine
    ) -> None:
        """One that holds another is one address, as it is without a plan."""
        url = "https://shop.example/join?of=https://shop.example/1.jpg,https://shop.example/2.jpg"
        asked = {"name": "n", "jobs": [{"external_id": "a", "source_url": url}]}
        assert shop.post("/v1/batches", json=asked).status_code == 201
        batch = read(shop, ingester, shop.post("/v1/batches", json=asked | {"plan": True}))
        assert (batch["total"], batch["ingest"]["rejects"]) == (1, 0)
        with engine.connect() as connection:
            sources = connection.scalars(text("SELECT source FROM jobs")).all()
        assert sources == [url, url]

    def test_is_refused_with_an_id_that_it_would_not_keep(self, shop: httpx.Client) -> None:
        """Rows lose the blanks around their values."""
        jobs = [{"external_id": " a", "source_url": "https://shop.example/a.jpg"}]
        answer = shop.post("/v1/batches", json={"name": "n", "plan": True, "jobs": jobs})
        assert (answer.status_code, answer.json()["field"]) == (422, "external_id")


@pytest.mark.usefixtures("by_itself")
class TestAManifestAtAnAddress:
    def test_is_fetched_and_kept(self, shop: httpx.Client, ingester: Ingester, bucket: Bucket) -> None:
        """By way of a redirect; what was read stays in the bucket."""
        with serve({"/m.csv": ROWS, "/go": "/m.csv"}) as host:
            answer = shop.post("/v1/batches", json={"name": "n", "manifest_url": f"http://{host}/go"})
            batch = read(shop, ingester, answer)
        assert batch["ingest"]["jobs"] == 2
        assert bucket.read(f"manifests/{batch['id']}", max_bytes=1000) == ROWS

    def test_that_is_not_there_fails(self, shop: httpx.Client, ingester: Ingester) -> None:
        """At once: asking again would not help."""
        with serve({}) as host:
            answer = shop.post("/v1/batches", json={"name": "n", "manifest_url": f"http://{host}/m.csv"})
            ingest = read(shop, ingester, answer)["ingest"]
        assert ingest["state"] == "failed"
        assert "404" in ingest["error"]

    @pytest.mark.parametrize(
        ("status", "remedy"),
        [
            (401, "the address needs a login: give a public or signed address, or upload the manifest"),
            (403, "it refuses this program: allow the user agent cutout there, or upload the manifest"),
            (404, "nothing is at this address: correct it"),
            (451, "give one that shows the manifest alone"),
        ],
    )
    def test_that_is_refused_has_a_remedy(
        self, shop: httpx.Client, ingester: Ingester, status: int, remedy: str
    ) -> None:
        """Of each status its own."""
        with serve({"/m.csv": status}) as host:
            answer = shop.post("/v1/batches", json={"name": "n", "manifest_url": f"http://{host}/m.csv"})
            ingest = read(shop, ingester, answer)["ingest"]
        assert ingest["error"].endswith(remedy)

    def test_that_does_not_answer_rests(self, shop: httpx.Client, ingester: Ingester, engine: Engine) -> None:
        """It is tried again later, and is still being read."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/m.csv"
            batch = read(shop, ingester, shop.post("/v1/batches", json={"name": "n", "manifest_url": url}))
        assert batch["ingest"]["state"] == "reading"
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT tries = 1 AND due_at > now() FROM ingests"))

    def test_that_is_a_zip_too_large_to_be_copied_fails(
        self, shop: httpx.Client, settings: Settings, engine: Engine, bucket: Bucket
    ) -> None:
        """As one that is sent does."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.jpg", bytes(300_000))
        changed = {"source_private_hosts": ("127.0.0.1",), "max_archive_bytes": 100_000}
        ingester = Ingester(settings.model_copy(update=changed), engine, bucket)
        with serve({"/m.zip": packed.getvalue()}) as host:
            answer = shop.post("/v1/batches", json={"name": "n", "manifest_url": f"http://{host}/m.zip"})
            ingest = read(shop, ingester, answer)["ingest"]
        assert "it is a zip archive, and at most 100,000 bytes are accepted" in ingest["error"]

    def test_that_is_too_large_fails(self, shop: httpx.Client, ingester: Ingester) -> None:
        """Nothing of it is kept."""
        with serve({"/m.csv": ROWS * 1000}) as host:
            answer = shop.post("/v1/batches", json={"name": "n", "manifest_url": f"http://{host}/m.csv"})
            ingest = read(shop, ingester, answer)["ingest"]
        assert "more than the 10000 allowed" in ingest["error"]

    @pytest.mark.parametrize("host", ["127.0.0.3", "169.254.169.254", "[::1]", "2130706433", "localhost"])
    def test_inside_is_refused_at_once(self, shop: httpx.Client, host: str) -> None:
        """No address that is not public, however it is written."""
        answer = shop.post("/v1/batches", json={"name": "n", "manifest_url": f"https://{host}/m.csv"})
        assert (answer.status_code, answer.json()["field"]) == (422, "manifest_url")

    def test_inside_is_never_connected_to(self, shop: httpx.Client, ingester: Ingester) -> None:
        """Whoever fetches looks again where the address leads."""
        answer = shop.post("/v1/batches", json={"name": "n", "manifest_url": "https://127.0.0.2/m.csv"})
        ingest = read(shop, ingester, answer)["ingest"]
        assert ingest["state"] == "failed"
        assert "cannot be read" in ingest["error"]


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("", "name"),
            ("name=n&priority=now", "priority"),
            ("name=n&map=x", "map"),
            ("name=n&map=sku%3Dx", "map"),
            ("name=n&weight=0", "weight"),
            ("name=n&retrun_form=rgba", "retrun_form"),
            ("name=n&return_form=gif", "return_form.0"),
        ],
    )
    def test_a_wrong_query(self, shop: httpx.Client, query: str, field: str) -> None:
        """It is said before the manifest is stored."""
        answer = shop.post(f"/v1/batches?{query}", content=ROWS, headers=CSV)
        assert (answer.status_code, answer.json()["field"]) == (422, field)

    @pytest.mark.usefixtures("bucket")
    def test_an_empty_body(self, shop: httpx.Client, bucket: Bucket) -> None:
        """There is nothing to read, and nothing is kept."""
        answer = shop.post("/v1/batches?name=n", content=b"", headers=CSV)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:cutout:problem:empty-manifest")
        assert bucket.keys("manifests/") == []

    def test_jobs_beside_a_manifest(self, shop: httpx.Client) -> None:
        """An ambiguous name is refused."""
        jobs = [{"external_id": "a", "source_url": "https://shop.example/a.jpg"}]
        answer = shop.post(
            "/v1/batches", json={"name": "n", "jobs": jobs, "manifest_url": "https://shop.example/m.csv"}
        )
        assert (answer.status_code, answer.json()["field"]) == (422, "manifest_url")

    @pytest.mark.parametrize(
        "url", ["ftp://shop.example/m", "s3://bucket/m.csv", "/etc/passwd", "https://u:p@x/m"]
    )
    def test_an_address_that_is_not_of_the_web(self, shop: httpx.Client, url: str) -> None:
        """Neither files nor buckets of ours."""
        answer = shop.post("/v1/batches", json={"name": "n", "manifest_url": url})
        assert (answer.status_code, answer.json()["field"]) == (422, "manifest_url")

    def test_a_body_that_breaks_off_leaves_nothing(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """Neither an object nor a batch."""
        with socket.create_connection((shop.base_url.host, shop.base_url.port or 80)) as half:
            head = (
                "POST /v1/batches?name=n HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                f"Authorization: {shop.headers['Authorization']}\r\nContent-Length: 20000000\r\n\r\n"
            )
            half.sendall(head.encode() + b"x" * 6_000_000)
            time.sleep(0.3)
        time.sleep(0.5)
        assert bucket.keys("manifests/") == []
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM batches")) == 0

    def test_more_than_the_limit(self, settings: Settings, shop: httpx.Client) -> None:
        """By its declared length, at once."""
        with socket.create_connection((shop.base_url.host, shop.base_url.port or 80)) as large:
            head = (
                "POST /v1/batches?name=n HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
                f"Authorization: {shop.headers['Authorization']}\r\n"
                f"Content-Length: {settings.max_manifest_bytes + 1}\r\n\r\n"
            )
            large.sendall(head.encode())
            assert b"413" in large.recv(100)

    @pytest.mark.parametrize("kind", ["application/zip", "application/octet-stream"])
    def test_a_zip_that_no_ingester_has_room_for(
        self, settings: Settings, engine: Engine, bucket: Bucket, kind: str
    ) -> None:
        """It is said at once, whatever it is called and whether it says its size; nothing of it is kept."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.jpg", bytes(300_000))
        body = packed.getvalue()
        with serve_api(settings.model_copy(update={"max_archive_bytes": 100_000})) as small:
            small.headers.update(key_for(engine, "small"))
            for content in (body, (body[begin : begin + 7000] for begin in range(0, len(body), 7000))):
                answer = small.post("/v1/batches?name=n", content=content, headers={"Content-Type": kind})
                assert (answer.status_code, answer.json()["type"]) == (
                    413,
                    "urn:cutout:problem:body-too-large",
                )
            rows = b"external_id,source\n" + ROWS[-44:] * 5000
            assert small.post("/v1/batches?name=n", content=rows, headers=CSV).status_code == 202
        assert len(bucket.keys("manifests/")) == 1

    def test_rejects_of_another_producer(self, shop: httpx.Client, engine: Engine) -> None:
        """404, as if there were none."""
        batch_id = shop.post("/v1/batches", json={"name": "n"}).json()["id"]
        others = key_for(engine, "other")
        for call in ("GET rejects", "POST approve"):
            method, what = call.split()
            answer = shop.request(method, f"/v1/batches/{batch_id}/{what}", headers=others)
            assert answer.status_code == 404
        assert shop.get(f"/v1/batches/{batch_id}/rejects").status_code == 409


@pytest.mark.usefixtures("by_itself")
class TestWhatIsSaidOfASource:
    def test_counts_the_files_of_a_zip_that_are_not_taken(
        self, shop: httpx.Client, ingester: Ingester
    ) -> None:
        """By reason with the first names; patterns choose, and names are read as told."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name in ("a.jpg", "b.png", "old/c.jpg", "notes.txt", "@eaDir/a.jpg"):
                archive.writestr(name, b"\xff\xd8\xff\xe0" if name != "notes.txt" else b"x")
        answer = shop.post(
            "/v1/batches",
            params={"name": "n", "include": ["*.jpg", "*.png", "*.txt"], "exclude": ["old", "*.png"]},
            content=packed.getvalue(),
            headers={"Content-Type": "application/zip"},
        )
        ingest = read(shop, ingester, answer)["ingest"]
        assert ingest["jobs"] == 1
        assert sorted((found["reason"], found["count"], found["names"]) for found in ingest["skipped"]) == [
            ("excluded by a pattern", 2, ["b.png", "old/c.jpg"]),
            ("no picture", 1, ["notes.txt"]),
            ("of a system folder", 1, ["@eaDir/a.jpg"]),
        ]
        assert ingest["remarks"] == []

    def test_may_number_the_pictures_of_an_id(
        self, shop: httpx.Client, ingester: Ingester, engine: Engine
    ) -> None:
        """By the same options as the command's, sent or at an address."""
        rows = b"SKU|Pic, main\nA|https://shop.example/b.jpg\nA|https://shop.example/a.jpg\n"
        options = {"name": "n", "many": True, "delimiter": "|"}
        columns = {"external_id": "SKU", "source": "Pic, main"}
        with serve({"/m.csv": rows}) as host:
            body = {**options, "map": columns, "manifest_url": f"http://{host}/m.csv"}
            assert read(shop, ingester, shop.post("/v1/batches", json=body))["ingest"]["jobs"] == 2
        mapped = 'external_id=SKU,source="Pic, main"'
        query = {"name": "n", "delimiter": "|", "many": "true", "map": mapped}
        answer = shop.post("/v1/batches", params=query, content=rows, headers=CSV)
        assert read(shop, ingester, answer)["ingest"]["jobs"] == 2
        with engine.connect() as connection:
            ids = connection.execute(text("SELECT external_id, source FROM jobs ORDER BY id")).all()
        pair = [("A-2", "https://shop.example/b.jpg"), ("A", "https://shop.example/a.jpg")]
        assert [tuple(row) for row in ids] == pair * 2

    def test_of_a_list_with_a_plan_rejects_a_second_picture_of_an_id(
        self, shop: httpx.Client, ingester: Ingester
    ) -> None:
        """It is read as a manifest; without a plan the list is refused whole."""
        jobs = [
            {"external_id": "a", "source_url": f"https://shop.example/{name}.jpg"} for name in ("x", "y", "x")
        ]
        answer = shop.post("/v1/batches", json={"name": "n", "jobs": jobs})
        assert (answer.status_code, "comes twice as rgba" in answer.text) == (422, True)
        ingest = read(
            shop, ingester, shop.post("/v1/batches", json={"name": "n", "plan": True, "jobs": jobs})
        )
        counts = ingest["ingest"]
        assert (counts["jobs"], counts["rejects"], counts["duplicates"]) == (1, 1, 1)

    @pytest.mark.parametrize("query", ["delimiter=ab", "delimiter=", "include=", "many=perhaps"])
    def test_is_refused_if_it_means_nothing(self, shop: httpx.Client, query: str) -> None:
        """Before the body is stored."""
        answer = shop.post(f"/v1/batches?name=n&{query}", content=ROWS, headers=CSV)
        assert answer.status_code == 422


class TestAManifestWhoseBatchMayBeThere:
    @pytest.mark.parametrize(("error", "stays"), [(PostgresAwayError("away"), True), (ValueError(), False)])
    def test_stays_where_postgres_went_away(self, bucket: Bucket, error: Exception, stays: bool) -> None:  # noqa: FBT001 - a case
        """The commit may have been done without an answer; then an ingester reads it."""
        bucket.put_pieces([b"source\n"], key="manifests/uploads/a", media_type="text/csv")
        with pytest.raises(type(error)), left_behind(bucket, "manifests/uploads/a"):
            raise error
        assert bucket.has("manifests/uploads/a") is stays
