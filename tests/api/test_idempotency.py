import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from api import idempotency
from api.app import ROUTES
from api.bodies.canonical_json import canonical_json
from api.bodies.uploads import meaning_of
from api.dependencies import effect
from api.routes import batch_actions, batches, jobs
from api.schemas import JobOptions
from api.schemas.output_requests import OutputFields
from cutout.producers.api_keys import revoke_keys
from cutout.producers.idempotency import lock_key, prune_answers
from cutout.producers.producers import list_producers
from cutout.storage import Bucket
from tests.api.conftest import key_for
from tests.api.test_jobs import SOURCE, problem_of

# They open the transaction themselves: after the body was read, or beside those of a long action.
BY_HAND = {
    jobs.create_job,
    batches.create,
    batch_actions.cancel,
    batch_actions.retry,
    batch_actions.add_outputs,
    batch_actions.retry_outputs,
    batch_actions.pause,
    batch_actions.resume,
}


ONE = {"external_id": "a", "source_url": SOURCE}


def keyed(key: str = "k-1") -> dict[str, str]:
    return {"Idempotency-Key": key}


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        query = f"SELECT count(*) FROM {table}"  # noqa: S608 - one of our tables
        return int(connection.execute(text(query)).scalar_one())


@pytest.fixture
def held(shop: httpx.Client, engine: Engine) -> Iterator[str]:
    """A key under which a request is being carried out for as long as the test lasts."""
    with Session(engine) as session, session.begin():
        (producer,) = list_producers(session)
        assert lock_key(session, producer.id, "k-1")
        yield "k-1"


class TestAPostThatIsSentAgain:
    @pytest.mark.parametrize(
        ("path", "body", "table"),
        [
            ("/v1/jobs", {"source_url": SOURCE, "external_id": "SKU"}, "jobs"),
            ("/v1/batches", {"name": "b", "jobs": [{"external_id": "a", "source_url": SOURCE}]}, "batches"),
        ],
    )
    def test_has_one_effect_and_one_answer(
        self, shop: httpx.Client, engine: Engine, path: str, body: dict[str, Any], table: str
    ) -> None:
        """Byte for byte the first answer, its status and Location, and a header that says so."""
        first = shop.post(path, json=body, headers=keyed())
        again = shop.post(path, json=body, headers=keyed())
        assert (first.status_code, again.status_code) == (201, 201)
        assert (again.content, again.headers["location"]) == (first.content, first.headers["location"])
        assert again.headers["content-type"] == first.headers["content-type"]
        assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (
            None,
            "true",
        )
        assert count(engine, table) == 1
        assert shop.post(path, json=body, headers=keyed("k-2")).content != first.content
        assert count(engine, table) == 2

    def test_may_be_written_otherwise(self, shop: httpx.Client, engine: Engine) -> None:
        """JSON with other blanks, another order of members, escapes, and 2.0 for 2 means the same."""
        url = f'"manifest_url": "{SOURCE}"'
        texts = [
            f'{{"name": "café", "budget": 2, "map": {{"source": "a", "external_id": "b"}}, {url}}}',
            f'{{{url},"map":{{"external_id":"b","source":"a"}},"budget":2.0,\n "name":"caf\\u00e9"}}',
        ]
        json_of = {"Content-Type": "application/json"}
        first, again = (
            shop.post("/v1/batches", content=body.encode(), headers=keyed() | json_of) for body in texts
        )
        assert (first.status_code, again.content) == (202, first.content)
        other = texts[0].replace('"budget": 2', '"budget": 3').encode()
        refused = shop.post("/v1/batches", content=other, headers=keyed() | json_of)
        assert problem_of(refused, 422)["type"].endswith("idempotency-key-reused")
        assert count(engine, "batches") == 1

    def test_may_have_its_query_in_another_order(self, shop: httpx.Client, engine: Engine) -> None:
        """But not the values of one name: the first of two forms is the one that is bought first."""
        csv = keyed() | {"Content-Type": "text/csv"}

        def send(query: str) -> httpx.Response:
            return shop.post(f"/v1/batches?{query}", content=b"external_id,source\n", headers=csv)

        first, again = send("name=b&many=true"), send("many=true&name=b")
        assert (first.status_code, again.content) == (202, first.content)
        assert send("name=b&many=false").status_code == 422
        assert count(engine, "batches") == 1

    def test_in_any_route_means_the_same(self, shop: httpx.Client) -> None:
        """Also where the framework reads the body."""
        schedule = {"name": "n", "manifest_url": "https://a.example/b", "cron": "0 1 * * *"}
        bodies = [json.dumps(schedule), json.dumps(dict(reversed(schedule.items())), indent=2)]
        headers = keyed() | {"Content-Type": "application/json"}
        first, again = (shop.post("/v1/schedules", content=body, headers=headers) for body in bodies)
        assert (first.status_code, again.content) == (201, first.content)

    def test_is_compared_off_the_event_loop(
        self, shop: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A body of more than 8 kB, in a route whose body the framework reads, and in one that reads it."""
        used: list[str] = []

        def noted(value: object) -> Iterator[bytes]:
            used.append(threading.current_thread().name)
            return canonical_json(value)

        monkeypatch.setattr(idempotency, "canonical_json", noted)
        numbers = ",".join(["1e308"] * 900)
        wide = f'{{"a":[{numbers}],"b":[{numbers}]}}'.encode()
        batch = shop.post("/v1/batches", json={"name": "b"}).json()["id"]
        headers = keyed() | {"Content-Type": "application/json"}
        assert shop.post(f"/v1/batches/{batch}/outputs", content=wide, headers=headers).status_code == 422
        listed = {"name": "c", "jobs": [ONE], "metadata": {f"k{n}": "x" * 500 for n in range(16)}}
        spaced = json.dumps(listed, indent=40).encode() + b" " * 9000
        assert shop.post("/v1/batches", content=spaced, headers=headers).status_code == 201
        assert len(used) == 2
        assert all(name.startswith("AnyIO worker thread") for name in used)

    def test_is_told_its_key_and_when_it_was_answered_first(self, shop: httpx.Client) -> None:
        """The key in every answer, the first one's time in later ones."""
        first = shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed())
        again = shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed())
        refused = shop.post("/v1/jobs", json={}, headers=keyed())
        assert {answer.headers["idempotency-key"] for answer in (first, again, refused)} == {"k-1"}
        assert "idempotent-first-date" not in first.headers
        told = parsedate_to_datetime(again.headers["idempotent-first-date"])
        assert abs(told - parsedate_to_datetime(first.headers["date"])) <= timedelta(seconds=5)

    def test_has_one_key(self, shop: httpx.Client, engine: Engine) -> None:
        """Two lines are refused, also if they say the same: which one counts is not to be guessed."""
        for other in ("k-2", "k-1"):
            headers = [("Idempotency-Key", "k-1"), ("Idempotency-Key", other)]
            answer = shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=headers)
            assert problem_of(answer, 422)["type"].endswith("invalid-idempotency-key")
        assert count(engine, "jobs") == 0

    def test_of_an_upload_without_newer_options_means_what_it_meant_before_them(self) -> None:
        """Else an upload that is sent again after an upgrade would be refused."""
        meaning = meaning_of(JobOptions(), "s3://b/sources/hash", uuid.UUID(int=1)).decode()
        assert not [name for name in OutputFields.model_fields if f'"{name}":' in meaning]
        derived = meaning_of(JobOptions(outputs=["web"]), "s3://b/sources/hash", uuid.UUID(int=1)).decode()
        assert '"outputs":["web"]' in derived

    def test_may_be_an_upload_in_another_form(self, shop: httpx.Client, engine: Engine, photo: bytes) -> None:
        """One picture with one set of fields matches, whatever the boundary; another picture is refused."""

        def upload(picture: bytes) -> httpx.Response:
            return shop.post("/v1/jobs", files={"image": ("a.jpg", picture)}, headers=keyed())

        first, again = upload(photo), upload(photo)
        assert (first.request.headers["content-type"] != again.request.headers["content-type"]) is True
        assert (again.content, count(engine, "jobs")) == (first.content, 1)
        assert problem_of(upload(photo + b"x"), 422)["type"].endswith("idempotency-key-reused")

    def test_may_be_a_manifest(self, shop: httpx.Client, engine: Engine, bucket: Bucket) -> None:
        """One batch and one object in the bucket; another manifest, or other options, are refused."""
        rows, csv = b"external_id,source\na,https://a/b.jpg\n", {"Content-Type": "text/csv"}

        def send(name: str, body: bytes) -> httpx.Response:
            return shop.post("/v1/batches", params={"name": name}, content=body, headers=keyed() | csv)

        first, again = send("n", rows), send("n", rows)
        assert (first.status_code, again.status_code, again.content) == (202, 202, first.content)
        for answer in (send("other", rows), send("n", rows + b"c,https://a/c.jpg\n")):
            assert problem_of(answer, 422)["type"].endswith("idempotency-key-reused")
        assert (count(engine, "batches"), len(bucket.keys("manifests/"))) == (1, 1)

    @pytest.mark.parametrize("body", [{"manifest_url": "https://a/m.csv"}, {"plan": True, "jobs": [ONE]}])
    def test_may_ask_for_a_reading(self, shop: httpx.Client, engine: Engine, body: dict[str, Any]) -> None:
        """Of an address, or of a list that is to be approved first."""
        first = shop.post("/v1/batches", json=body | {"name": "n"}, headers=keyed())
        again = shop.post("/v1/batches", json=body | {"name": "n"}, headers=keyed())
        assert (first.status_code, again.content, count(engine, "batches")) == (202, first.content, 1)

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/jobs", {"source_url": SOURCE, "return_form": "mask"}),
            ("/v1/batches", {"name": "b"}),
        ],
    )
    def test_for_something_else_is_refused(
        self, shop: httpx.Client, engine: Engine, path: str, body: dict[str, Any]
    ) -> None:
        """Another body, or the key at another address: 422, and nothing happens."""
        shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed())
        problem = problem_of(shop.post(path, json=body, headers=keyed()), 422)
        assert (problem["type"], problem["field"]) == (
            "urn:cutout:problem:idempotency-key-reused",
            "Idempotency-Key",
        )
        assert (count(engine, "jobs"), count(engine, "batches")) == (1, 0)

    def test_with_nothing_to_plan_is_refused(
        self, shop: httpx.Client, engine: Engine, bucket: Bucket
    ) -> None:
        """Jobs that came later would not wait for approval."""
        answer = shop.post("/v1/batches", json={"name": "n", "plan": True}, headers=keyed())
        assert problem_of(answer, 422)["field"] == "plan"
        assert (count(engine, "batches"), bucket.keys("")) == (0, [])

    @pytest.mark.parametrize(
        ("action", "status"), [("cancel", 202), ("retry", 202), ("pause", 200), ("resume", 200)]
    )
    def test_may_be_an_action(self, shop: httpx.Client, engine: Engine, action: str, status: int) -> None:
        """On a batch and, where there is one, on a job: the second time nothing is done."""
        batch = shop.post("/v1/batches", json={"name": "b", "jobs": [ONE]}).json()["id"]
        first = shop.post(f"/v1/batches/{batch}/{action}", headers=keyed())
        assert first.status_code == status, first.text
        with engine.begin() as connection:
            connection.execute(text("UPDATE batches SET name = 'another'"))
        again = shop.post(f"/v1/batches/{batch}/{action}", headers=keyed())
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        elsewhere = shop.post(f"/v1/batches/{uuid.UUID(int=1)}/{action}", headers=keyed())
        assert problem_of(elsewhere, 422)["type"].endswith("idempotency-key-reused")

    def test_after_a_refusal_may_be_mended(self, shop: httpx.Client) -> None:
        """A refused request had no effect and left no answer: the key is still free."""
        assert shop.post("/v1/jobs", json={"source_url": "ftp://a/b"}, headers=keyed()).status_code == 422
        assert shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed()).status_code == 201

    def test_while_the_first_is_under_way_is_told_so_at_once(self, shop: httpx.Client, held: str) -> None:
        """409 with a time to come back; no thread waits."""
        answer = shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed(held))
        assert problem_of(answer, 409)["type"].endswith("idempotency-key-in-use")
        assert answer.headers["retry-after"] == "1"
        assert shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed("other")).status_code == 201

    def test_by_many_at_once_has_one_effect(self, shop: httpx.Client, engine: Engine) -> None:
        """Each of twenty twins has the one answer or is told that it is under way."""
        start = threading.Barrier(20)

        def post(_: int) -> httpx.Response:
            start.wait()
            return shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed())

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(post, range(20)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
        assert count(engine, "jobs") == 1

    def test_shows_nothing_to_others(self, shop: httpx.Client, engine: Engine) -> None:
        """Another producer's equal key is its own; a revoked key is told nothing."""
        mine = shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed())
        other = key_for(engine, "other")
        theirs = shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed() | other)
        assert mine.json()["id"] != theirs.json()["id"]
        with Session(engine) as session, session.begin():
            revoke_keys(session, list_producers(session)[0].id)
        problem_of(shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed()), 401)

    @pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "a\tb"])
    def test_under_an_unusable_key_is_refused(self, shop: httpx.Client, engine: Engine, key: str) -> None:
        """1 to 255 printable characters, or 422 and nothing happens."""
        headers = {"Idempotency-Key": key.encode("latin-1")}
        answer = shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=headers)  # type: ignore[arg-type]
        assert problem_of(answer, 422)["type"].endswith("invalid-idempotency-key")
        assert count(engine, "jobs") == 0


def test_an_effect_without_its_answer_cannot_be(shop: httpx.Client, engine: Engine) -> None:
    """Where the answer cannot be kept, nothing of the request is: it may be sent again and is done once."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE idempotency_keys ADD CHECK (status = 0) NOT VALID"))
    answer = shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed())
    assert problem_of(answer, 500)["type"].endswith("internal-error")
    answer = shop.post("/v1/batches", json={"name": "b"}, headers=keyed())
    assert answer.status_code == 500
    assert (count(engine, "jobs"), count(engine, "batches")) == (0, 0)


def test_answers_are_forgotten_after_a_day(shop: httpx.Client, engine: Engine) -> None:
    """Younger ones stay."""
    for key in ("old", "new"):
        shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed(key))
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old'")
        )
        assert prune_answers(connection) == 1
        assert connection.execute(text("SELECT key FROM idempotency_keys")).scalars().all() == ["new"]


def test_every_post_can_be_sent_again() -> None:
    """Each POST under /v1 has its effect in the transaction that keeps its answer."""
    posts = [
        route
        for routes in ROUTES
        for route in routes.router.routes
        if isinstance(route, APIRoute) and "POST" in (route.methods or ())
    ]
    assert len(posts) > 10
    for route in posts:
        within = {dependency.call for dependency in route.dependant.dependencies}
        assert effect in within or route.endpoint in BY_HAND, route.path


def test_keys_are_any_printable_text(shop: httpx.Client) -> None:
    """A UUID, a SKU with blanks, 255 characters."""
    for key in (str(uuid.uuid4()), "SKU 4471 / white", "~" * 255):
        assert shop.post("/v1/jobs", json={"source_url": SOURCE}, headers=keyed(key)).status_code == 201


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 5.0, "b": [1, 2.0]}, {"b": [1.0, 2], "a": 5}, True),
        ({"a": list(range(200))}, {"a": [float(n) for n in range(200)]}, True),
        ({"a": list(range(200))}, {"a": list(range(201))}, False),
        ({"a": [1, [2]]}, {"a": [[1], 2]}, False),
        ({"a": []}, {"a": [[]]}, False),
        ({"a": 1e308}, {"a": 1e307}, False),
    ],
)
def test_values_share_a_form_if_they_are_equal(one: object, other: object, same: bool) -> None:  # noqa: FBT001 - a case
    """However their lists are cut into pieces."""
    assert (b"".join(canonical_json(one)) == b"".join(canonical_json(other))) == same


def test_a_number_is_not_written_with_all_its_digits() -> None:
    """A body of 5 bytes a number would be a hundred times as long, and cost 10 µs for each."""
    assert len(b"".join(canonical_json({"a": [1e308] * 1000}))) < 10_000
