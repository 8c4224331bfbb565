import json
import uuid

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from api.live.cursors import page_cursor
from cutout.models import Batch, Delivery, Job
from cutout.producers.producers import find_producer
from cutout.settings import Settings
from cutout.storage import Bucket
from cutout.webhooks import announce
from tests.api.conftest import key_for
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.web import WebServer
from worker.ingester.loop import Ingester

URL = "https://shop.example/hook?token=secret"
MASTER = "m" * 40


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """An installation that can sign, and takes manifests of this machine."""
    return {**environment, "CUTOUT_WEBHOOK_SECRET": MASTER, "CUTOUT_SOURCE_PRIVATE_HOSTS": "127.0.0.1"}


def tell(engine: Engine, client: httpx.Client, count: int = 1) -> list[str]:
    """Messages of the client's own producer, the latest last."""
    with Session(engine) as session, session.begin():
        producer_id = find_producer(session, client.headers["authorization"].split()[1])
        return [
            str(announce(session, url=URL, kind="job.succeeded", data={}, producer_id=producer_id))
            for _ in range(count)
        ]


class TestAskingToBeTold:
    def test_goes_with_a_job(self, shop: httpx.Client, engine: Engine) -> None:
        """By address or as an upload."""
        shop.post("/v1/jobs", json={"source_url": SOURCE, "webhook_url": URL}).raise_for_status()
        files = {"image": ("a.jpg", b"not empty")}
        shop.post("/v1/jobs", data={"webhook_url": URL}, files=files).raise_for_status()
        with Session(engine) as session:
            assert [job.webhook_url for job in session.query(Job)] == [URL, URL]

    def test_goes_with_a_batch(self, shop: httpx.Client, engine: Engine) -> None:
        """The batch is then notified as a whole; its jobs are not."""
        jobs = [{"external_id": "a", "source_url": SOURCE}]
        body = {"name": "b", "webhook_url": URL, "jobs": jobs}
        shop.post("/v1/batches", json=body).raise_for_status()
        with Session(engine) as session:
            assert session.query(Batch).one().webhook_url == URL
            assert session.query(Job).one().webhook_url is None

    @pytest.mark.parametrize("tells", ["each", "digest"])
    def test_goes_with_a_batchs_jobs_by_choice(self, shop: httpx.Client, engine: Engine, tells: str) -> None:
        """Of jobs that are sent with it and of those that are added."""
        jobs = [{"external_id": "a", "source_url": SOURCE}]
        body = {"name": "b", "webhook_url": URL, "webhook_jobs": tells, "jobs": jobs}
        batch = shop.post("/v1/batches", json=body).raise_for_status().json()
        more = {"external_id": "b", "source_url": SOURCE, "batch_id": batch["id"]}
        shop.post("/v1/jobs", json=more).raise_for_status()
        with Session(engine) as session:
            assert session.query(Batch).one().webhook_jobs == tells
            assert [job.webhook_url for job in session.query(Job)] == [URL, URL]

    def test_with_its_jobs_needs_an_address(self, shop: httpx.Client) -> None:
        """Nobody could be told of them."""
        body = {"name": "b", "webhook_jobs": "digest", "jobs": [{"external_id": "a", "source_url": SOURCE}]}
        assert problem_of(shop.post("/v1/batches", json=body), 422)["field"] == "webhook_jobs"

    def test_goes_with_a_manifests_jobs(self, shop: httpx.Client, settings: Settings, engine: Engine) -> None:
        """Those that the ingester makes."""
        pixels = b"external_id,source\na,https://shop.example/a.jpg\n"
        with WebServer() as web:
            url = web.serve("/export.csv", pixels, etag=None)
            body = {"name": "b", "webhook_url": URL, "webhook_jobs": "digest", "manifest_url": url}
            answer = shop.post("/v1/batches", json=body)
            known = settings.model_copy(update={"source_private_hosts": (web.host,)})
            answer.raise_for_status()
            bucket = Bucket(settings)
            assert Ingester(known, engine, bucket).serve()
            bucket.close()
        with Session(engine) as session:
            assert session.query(Job).one().webhook_url == URL

    def test_goes_with_a_manifest(self, shop: httpx.Client, settings: Settings, engine: Engine) -> None:
        """That cannot be read: what is told is why, since a batch without a job never ends."""
        body = {"name": "b", "webhook_url": URL, "manifest_url": "https://127.0.0.1/export.csv"}
        batch = shop.post("/v1/batches", json=body).raise_for_status().json()
        bucket = Bucket(settings)
        # Its own look says no, as to a name that leads inside.
        assert Ingester(settings.model_copy(update={"source_private_hosts": ()}), engine, bucket).serve()
        bucket.close()
        with Session(engine) as session:
            delivery = session.query(Delivery).one()
            data = json.loads(delivery.payload)["data"]
        assert (delivery.type, delivery.url) == ("ingest.failed", URL)
        assert (data["batch_id"], data["jobs"]) == (batch["id"], 0)
        assert "not public" in data["error"]

    def test_does_not_go_with_a_query(self, shop: httpx.Client) -> None:
        """Addresses of requests are written into logs by many a proxy."""
        answer = shop.post(
            "/v1/batches",
            params={"name": "b", "webhook_url": URL},
            content=b"external_id,source\n",
            headers={"Content-Type": "text/csv"},
        )
        assert problem_of(answer, 422)["field"] == "webhook_url"

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "ftp://shop.example/",
            "http://shop.example/",
            "https://me:secret@shop.example/",
            "https://shop.example/#x",
            "https://shop.example/\u0000",
            "https://shop.example/\r\nX-Evil: 1",
            "//shop.example",
        ],
    )
    def test_at_a_wrong_address_is_refused(self, shop: httpx.Client, engine: Engine, url: str) -> None:
        """With the field and the remedy, and nothing stored, neither job nor batch nor picture."""
        for path, body in (
            ("/v1/jobs", {"source_url": SOURCE, "webhook_url": url}),
            ("/v1/batches", {"name": "b", "webhook_url": url}),
        ):
            problem = problem_of(shop.post(path, json=body), 422)
            assert problem["field"] == "webhook_url"
            assert "secret" not in problem["detail"]
        with Session(engine) as session:
            assert (session.query(Job).count(), session.query(Batch).count()) == (0, 0)

    def test_at_a_very_long_address_is_refused(self, shop: httpx.Client) -> None:
        """2048 characters at most."""
        body = {"source_url": SOURCE, "webhook_url": "https://shop.example/" + "x" * 5000}
        assert problem_of(shop.post("/v1/jobs", json=body), 422)["field"] == "webhook_url"


class TestWithoutASecret:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"webhook_secret": None})

    def test_nobody_can_be_told(self, shop: httpx.Client) -> None:
        """Said when it is asked for, not a day later."""
        answer = shop.post("/v1/jobs", json={"source_url": SOURCE, "webhook_url": URL})
        problem = problem_of(answer, 422)
        assert "not set up" in problem["detail"]
        assert problem["type"] == "urn:cutout:problem:invalid-webhook"
        shop.post("/v1/jobs", json={"source_url": SOURCE}).raise_for_status()


class TestDeliveries:
    def test_are_listed_page_by_page(self, shop: httpx.Client, engine: Engine) -> None:
        """The latest first; the address is not shown, only its host."""
        ids = tell(engine, shop, 5)
        seen: list[str] = []
        before: dict[str, str] = {}
        for count in (2, 2, 1):
            answer = shop.get("/v1/webhooks/deliveries", params={"limit": "2", **before})
            page = answer.raise_for_status().json()
            assert "secret" not in answer.text
            assert len(page["data"]) == count
            seen += [delivery["id"] for delivery in page["data"]]
            before = {"cursor": page["next_cursor"]}
        assert page["next_cursor"] is None
        assert seen == ids[::-1]
        first = page["data"][0]
        assert (first["type"], first["host"], first["state"]) == ("job.succeeded", "shop.example", "waiting")

    def test_of_one_state_are_listed(self, shop: httpx.Client, engine: Engine) -> None:
        """Those given up say why."""
        ids = tell(engine, shop, 2)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE deliveries SET state = 'given_up', finished_at = now(), last_status = 410,"
                    " last_error = 'answered 410' WHERE id = :id"
                ),
                {"id": ids[0]},
            )
        page = shop.get("/v1/webhooks/deliveries", params={"state": "given_up"}).raise_for_status().json()
        (delivery,) = page["data"]
        assert (delivery["id"], delivery["last_status"], delivery["last_error"], delivery["due_at"]) == (
            ids[0],
            410,
            "answered 410",
            None,
        )

    @pytest.mark.parametrize(
        "asked",
        [{"state": "lost"}, {"limit": "0"}, {"limit": "201"}, {"cursor": "x"}, {"cursor": "' OR 1=1"}],
    )
    def test_asked_for_wrongly_are_a_problem(self, shop: httpx.Client, asked: dict[str, str]) -> None:
        """The answer names the field."""
        problem = problem_of(shop.get("/v1/webhooks/deliveries", params=asked), 422)
        assert problem["field"] in asked

    def test_are_sent_again(self, shop: httpx.Client, engine: Engine) -> None:
        """They wait again, with all their tries."""
        (its_id,) = tell(engine, shop)
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE deliveries SET state = 'delivered', tries = 3, finished_at = now()")
            )
        answer = shop.post(f"/v1/webhooks/deliveries/{its_id}/replay")
        assert answer.status_code == 202
        assert (answer.json()["id"], answer.json()["state"], answer.json()["tries"]) == (its_id, "waiting", 0)

    def test_of_another_are_not_there(self, shop: httpx.Client, client: httpx.Client, engine: Engine) -> None:
        """Neither in the list, nor to be sent again, nor by a cursor of theirs; nor without a key."""
        (its_id,) = tell(engine, shop)
        with engine.begin() as connection:
            announce(connection, url=URL, kind="schedule.report", data={})
        other = key_for(engine, "other")
        for params in ({}, {"cursor": page_cursor(uuid.UUID(int=2**128 - 1), "deliveries None None")}):
            page = client.get("/v1/webhooks/deliveries", headers=other, params=params).json()
            assert page == {"data": [], "next_cursor": None}
        replayed = f"/v1/webhooks/deliveries/{its_id}/replay"
        problem_of(client.post(replayed, headers=other), 404)
        problem_of(client.post(replayed, headers={"Authorization": ""}), 401)
        problem_of(client.get("/v1/webhooks/deliveries", headers={"Authorization": ""}), 401)
