"""Webhook endpoints over HTTP, with real messages to a real receiver."""

import json
import uuid
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout import queue
from cutout.enums import Scope
from cutout.models import Delivery
from cutout.queue.attempts.outcomes import Fail
from cutout.queue.enqueue import NewJob, enqueue
from cutout.settings import Settings
from cutout.webhooks.endpoints import MOST_ENDPOINTS
from tests.api.conftest import key_for, producer_of
from tests.api.test_jobs import problem_of
from tests.support.receiver import Receiver
from tests.support.steps import SOURCE, claim_one, new_worker
from tests.worker.webhooks.test_notifier import Running

PATH = "/v1/webhooks/endpoints"
URL = "https://Shop.example:8443/hooks/cutout?token=quirk"
MASTER = "m" * 40
NOBODYS = uuid.UUID(int=7)


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """An installation that can sign, and sends to this machine."""
    return {**environment, "CUTOUT_WEBHOOK_SECRET": MASTER, "CUTOUT_WEBHOOK_PRIVATE_HOSTS": "127.0.0.1"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def running(settings: Settings, engine: Engine) -> Iterator[Running]:
    made = Running(settings, engine)
    yield made
    made.end()


def add(client: httpx.Client, url: str = URL, events: tuple[str, ...] = ("*",)) -> dict[str, object]:
    """A new endpoint, with its secret."""
    made = client.post(PATH, json={"url": url, "events": events}).raise_for_status()
    found: dict[str, object] = made.json()
    return found


class TestAnEndpoint:
    def test_is_added_with_a_secret_that_is_shown_once(self, shop: httpx.Client) -> None:
        """It is shown with host and path, and without its secret, query or master secret."""
        body = {"url": URL, "events": ["batch.finished", "*", "batch.finished"], "description": "ERP"}
        made = shop.post(PATH, json=body)
        assert made.status_code == 201
        endpoint = made.json()
        assert endpoint.pop("secret").startswith("whsec_")
        got = shop.get(made.headers["Location"]).raise_for_status()
        assert got.json() == endpoint
        assert (endpoint["host"], endpoint["has_path_or_query"]) == ("shop.example:8443", True)
        assert (endpoint["events"], endpoint["description"]) == (["batch.finished", "*"], "ERP")
        assert (endpoint["enabled"], endpoint["disabled_reason"]) == (True, None)
        listed = shop.get(PATH)
        assert listed.json() == {"data": [endpoint], "next_cursor": None}
        for text_ in (got.text, listed.text):
            assert "quirk" not in text_
            assert "/hooks" not in text_
            assert "whsec_" not in text_

    @pytest.mark.parametrize(
        ("rest", "has_more"),
        [("", False), ("/", False), ("/7f3a", True), ("/?", True), ("?token=7f3a", True)],
    )
    def test_shows_whether_its_address_has_more_than_a_host(
        self, shop: httpx.Client, rest: str, *, has_more: bool
    ) -> None:
        """And nothing of it: services put their tokens in the path."""
        made = add(shop, url=f"https://shop.example{rest}")
        got = shop.get(f"{PATH}/{made['id']}").raise_for_status()
        assert (got.json()["host"], got.json()["has_path_or_query"]) == ("shop.example", has_more)
        assert "7f3a" not in got.text

    def test_has_a_secret_of_its_own(self, shop: httpx.Client) -> None:
        """Two endpoints of one address verify nothing of each other."""
        assert add(shop)["secret"] != add(shop)["secret"]

    def test_keeps_no_secret_for_its_idempotency_key(self, shop: httpx.Client, engine: Engine) -> None:
        """The answer given again is the same endpoint with null; no row has the secret."""
        headers = {"Idempotency-Key": "first"}
        body = {"url": URL, "events": ["*"]}
        first, again = (shop.post(PATH, json=body, headers=headers) for _ in range(2))
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.headers["Location"] == first.headers["Location"]
        assert again.json() == first.json() | {"secret": None}
        with engine.connect() as connection:
            kept = connection.scalars(text("SELECT convert_from(body, 'UTF8') FROM idempotency_keys")).all()
            assert len(kept) == 1
            assert "whsec_" not in kept[0]
        rotated = [
            shop.post(f"{PATH}/{first.json()['id']}/rotate-secret", headers={"Idempotency-Key": "second"})
            for _ in range(2)
        ]
        assert [bool(answer.json()["secret"]) for answer in rotated] == [True, False]

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "ftp://shop.example/",
            "http://shop.example/",
            "https://me:quirk@shop.example/",
            "https://shop.example/#quirk",
            "https://shop.example/\r\nX-Evil: 1",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://2130706433/",
            "https://10.0.0.1/",
            "//shop.example",
            "https://shop.example/" + "x" * 5000,
        ],
    )
    def test_at_a_hostile_address_is_refused(self, shop: httpx.Client, url: str) -> None:
        """When it is added and when it is changed, with the field and without the address."""
        own = add(shop)["id"]
        for answer in (
            shop.post(PATH, json={"url": url, "events": ["*"]}),
            shop.patch(f"{PATH}/{own}", json={"url": url}),
        ):
            problem = problem_of(answer, 422)
            assert problem["field"] == "url"
            assert "quirk" not in answer.text
        assert len(shop.get(PATH).json()["data"]) == 1

    @pytest.mark.parametrize(
        "body",
        [
            {"url": URL},
            {"url": URL, "events": []},
            {"url": URL, "events": ["job.lost"]},
            {"url": URL, "events": "*"},
            {"url": URL, "events": ["*"], "description": "a\u202eb"},
            {"url": URL, "events": ["*"], "secret": "whsec_mine"},
        ],
    )
    def test_asked_for_wrongly_is_a_problem(self, shop: httpx.Client, body: dict[str, object]) -> None:
        """Unknown events and members are refused."""
        problem_of(shop.post(PATH, json=body), 422)
        assert shop.get(PATH).json()["data"] == []

    def test_needs_admin_to_be_changed(
        self, client: httpx.Client, shop: httpx.Client, engine: Engine
    ) -> None:
        """A key that may only enqueue or read decides nothing about where messages go."""
        own = f"{PATH}/{add(shop)['id']}"
        with Session(engine) as session, session.begin():
            keys = {
                scope: key_for(engine, f"shop {scope}", scopes=(scope,))
                for scope in (Scope.READ, Scope.ENQUEUE)
            }
        for header in keys.values():
            refused = [
                client.post(PATH, json={"url": URL, "events": ["*"]}, headers=header),
                client.patch(own, json={"enabled": False}, headers=header),
                client.delete(own, headers=header),
                client.post(f"{own}/test", headers=header),
                client.post(f"{own}/rotate-secret", headers=header),
            ]
            assert {answer.status_code for answer in refused} == {403}
        assert client.get(PATH, headers=keys[Scope.READ]).status_code == 200
        assert client.get(PATH, headers=keys[Scope.ENQUEUE]).status_code == 403

    def test_of_another_producer_is_not_there(
        self, client: httpx.Client, shop: httpx.Client, engine: Engine
    ) -> None:
        """Every route answers as for an id that never was."""
        own, other = f"{PATH}/{add(shop)['id']}", key_for(engine, "other")
        for path in (own, f"{PATH}/{NOBODYS}"):
            for answer in (
                client.get(path, headers=other),
                client.patch(path, json={"enabled": False}, headers=other),
                client.delete(path, headers=other),
                client.post(f"{path}/test", headers=other),
                client.post(f"{path}/rotate-secret", headers=other),
            ):
                assert problem_of(answer, 404)["type"] == "urn:cutout:problem:unknown-endpoint"
        assert client.get(PATH, headers=other).json() == {"data": [], "next_cursor": None}
        assert shop.get(own).json()["enabled"] is True

    def test_is_one_of_at_most_twenty(self, client: httpx.Client, shop: httpx.Client, engine: Engine) -> None:
        """The next one is a conflict until one is removed; another producer has its own twenty."""
        ids = [str(add(shop)["id"]) for _ in range(MOST_ENDPOINTS)]
        refused = shop.post(PATH, json={"url": URL, "events": ["*"]})
        assert problem_of(refused, 409)["type"] == "urn:cutout:problem:too-many-endpoints"
        seen: list[str] = []
        query: dict[str, str] = {"limit": "8"}
        while query.get("cursor") != "":
            page = shop.get(PATH, params=query).raise_for_status().json()
            seen += [endpoint["id"] for endpoint in page["data"]]
            query["cursor"] = page["next_cursor"] or ""
        assert seen == ids[::-1]
        problem_of(shop.get(PATH, params={"cursor": "AAAA"}), 422)
        assert shop.delete(f"{PATH}/{ids[0]}").status_code == 204
        add(shop)
        client.post(
            PATH, json={"url": URL, "events": ["*"]}, headers=key_for(engine, "other")
        ).raise_for_status()

    def test_is_changed_if_it_is_as_it_was_read(self, shop: httpx.Client) -> None:
        """By If-Match; without it always. What is left out stays."""
        own = f"{PATH}/{add(shop)['id']}"
        tag = shop.get(own).headers["ETag"]
        assert shop.get(own, headers={"If-None-Match": tag}).status_code == 304
        changed = shop.patch(
            own, json={"url": "https://new.example/in", "description": "ERP"}, headers={"If-Match": tag}
        )
        assert (changed.json()["host"], changed.json()["events"]) == ("new.example", ["*"])
        stale = {"If-Match": tag}
        for answer in (
            shop.patch(own, json={"enabled": False}, headers=stale),
            shop.delete(own, headers=stale),
            shop.post(f"{own}/test", headers=stale),
            shop.post(f"{own}/rotate-secret", headers=stale),
        ):
            assert problem_of(answer, 412)["type"] == "urn:cutout:problem:changed-meanwhile"
        fresh = {"If-Match": changed.headers["ETag"]}
        assert shop.patch(own, json={"description": None}, headers=fresh).json()["description"] is None
        # A part of the address that is not shown counts as well.
        before = shop.get(own).headers["ETag"]
        shop.patch(own, json={"url": "https://new.example/in?token=other"}).raise_for_status()
        assert shop.get(own).headers["ETag"] != before
        for body in ({"url": None}, {"events": None}, {"enabled": None}, {"enabled": "no"}):
            problem_of(shop.patch(own, json=body), 422)
        assert shop.delete(own, headers={"If-Match": "*"}).status_code == 204

    def test_that_is_disabled_is_neither_told_nor_tested(self, shop: httpx.Client, engine: Engine) -> None:
        """Until it is enabled again; it says by whom."""
        own = f"{PATH}/{add(shop, events=('job.failed',))['id']}"
        disabled = shop.patch(own, json={"enabled": False}).json()
        assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "by_producer")
        assert disabled["disabled_at"]
        refused = shop.post(f"{own}/test")
        assert problem_of(refused, 409)["type"] == "urn:cutout:problem:endpoint-disabled"
        fail_one(engine)
        with Session(engine) as session:
            assert session.query(Delivery).count() == 0
        assert shop.patch(own, json={"enabled": True}).json()["disabled_reason"] is None
        fail_one(engine)
        with Session(engine) as session:
            assert session.query(Delivery).count() == 1


class TestWithoutASecret:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"webhook_secret": None})

    def test_no_endpoint_is_added(self, shop: httpx.Client) -> None:
        """Said when it is asked for."""
        problem = problem_of(shop.post(PATH, json={"url": URL, "events": ["*"]}), 422)
        assert problem["type"] == "urn:cutout:problem:invalid-webhook"


def fail_one(engine: Engine, producer: str = "shop") -> uuid.UUID:
    """A job of the producer, which fails."""
    with Session(engine) as session, session.begin():
        job_id = enqueue(session, NewJob(SOURCE, "SKU-1"), producer_id=producer_of(engine, producer))
        assert queue.settle(session, claim_one(session, new_worker(session)), Fail("IMAGE_EMPTY", "empty"))
        return job_id


def list_of(client: httpx.Client, **query: str) -> list[dict[str, object]]:
    """The deliveries, the latest first."""
    page = client.get("/v1/webhooks/deliveries", params=query).raise_for_status().json()
    found: list[dict[str, object]] = page.get("data", page.get("deliveries"))
    return found


class TestATestMessage:
    def test_arrives_signed(self, shop: httpx.Client, receiver: Receiver, running: Running) -> None:
        """It is an ordinary delivery of that endpoint alone, whatever its events."""
        made, other = (add(shop, receiver.url(), events=("job.held",)) for _ in range(2))
        answer = shop.post(f"{PATH}/{made['id']}/test")
        assert answer.status_code == 202
        delivery = answer.json()
        assert (delivery["type"], delivery["endpoint_id"]) == ("webhook.test", made["id"])
        running.until(lambda: list_of(shop)[0]["state"] == "delivered")
        (message,) = receiver.messages
        assert message.id == delivery["id"]
        message.verify(str(made["secret"]))
        assert json.loads(message.body)["data"]["endpoint_id"] == made["id"]
        assert [one["id"] for one in list_of(shop, endpoint_id=str(made["id"]))] == [delivery["id"]]
        assert list_of(shop, endpoint_id=str(other["id"])) == []

    def test_shows_both_secrets_while_they_change(
        self, shop: httpx.Client, receiver: Receiver, running: Running
    ) -> None:
        """After a rotation both sign for a day; after one at once only the new one does."""
        made = add(shop, receiver.url())
        own, old = f"{PATH}/{made['id']}", str(made["secret"])
        new = shop.post(f"{own}/rotate-secret").raise_for_status().json()["secret"]
        shop.post(f"{own}/test").raise_for_status()
        running.until(lambda: len(receiver.messages) == 1)
        last = shop.post(f"{own}/rotate-secret", params={"at_once": True}).json()["secret"]
        shop.post(f"{own}/test").raise_for_status()
        running.until(lambda: len(receiver.messages) == 2)
        both, alone = receiver.messages
        assert len({old, new, last}) == 3
        both.verify(old)
        both.verify(new)
        alone.verify(last)
        for former in (old, new):
            with pytest.raises(Exception, match="No matching signature"):
                alone.verify(former)
