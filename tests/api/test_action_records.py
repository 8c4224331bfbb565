"""`GET /v1/actions`: a producer's own, and no operator's name; keys of operators under /v1."""

import uuid

import httpx
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.actions import Actor, Asked
from cutout.actions.batches import pause_batch, resume_batch
from cutout.actions.keys import make_operator_key
from cutout.enums import OPERATOR_SCOPES, Role
from tests.api.conftest import key_for, producer_of
from tests.api.test_jobs import problem_of
from tests.support.asked import COMMAND

ANA = Asked(Actor(Role.OPERATOR, "ana-of-the-shop", uuid.uuid4(), scopes=("spend",)), "secret reason")


def batch_of(client: httpx.Client, name: str = "b") -> str:
    return str(client.post("/v1/batches", json={"name": name}).raise_for_status().json()["id"])


class TestTheRecord:
    def test_is_of_what_is_the_producers_own(self, shop: httpx.Client, engine: Engine) -> None:
        """By its key with the key's name, by an operator without name and reason; nothing of others."""
        batch_id, other = batch_of(shop), key_for(engine, "other")
        shop.post(f"/v1/batches/{batch_id}/pause").raise_for_status()
        with Session(engine) as session, session.begin():
            pause_batch(session, ANA, uuid.UUID(batch_id))
        answer = shop.get("/v1/actions").raise_for_status()
        by_operator, own, added = answer.json()["data"]
        with engine.connect() as connection:
            key_id = connection.scalar(text("SELECT id FROM api_keys ORDER BY id LIMIT 1"))
        assert (own["by"], own["key_id"], own["key_name"]) == ("producer", str(key_id), "shop")
        assert (added["kind"], added["changed"], added["key_name"]) == ("add_batch", 0, "shop")
        assert (own["kind"], own["subject"], own["subject_id"]) == ("pause", "batch", batch_id)
        assert (by_operator["by"], by_operator["key_id"], by_operator["key_name"]) == ("operator", None, None)
        for hidden in ("ana-of", "secret reason", "command"):
            assert hidden not in answer.text
        assert shop.get("/v1/actions", headers=other).json() == {"data": [], "next_cursor": None}
        assert shop.get("/v1/actions", params={"batch": batch_id}, headers=other).json()["data"] == []

    def test_is_read_in_pages_and_bounded(self, shop: httpx.Client, engine: Engine) -> None:
        first, second = batch_of(shop, "a"), batch_of(shop, "b")
        for action in ("pause", "resume", "pause"):
            shop.post(f"/v1/batches/{first}/{action}").raise_for_status()
        with Session(engine) as session, session.begin():
            pause_batch(session, COMMAND, uuid.UUID(second))
        with Session(engine) as session, session.begin():
            resume_batch(session, COMMAND, uuid.UUID(second))
        page = shop.get("/v1/actions", params={"batch": first, "limit": 2}).json()
        assert [each["kind"] for each in page["data"]] == ["pause", "resume"]
        query = {"batch": first, "limit": 2, "cursor": page["next_cursor"]}
        rest = shop.get("/v1/actions", params=query).json()
        assert ([each["kind"] for each in rest["data"]], rest["next_cursor"]) == (
            ["pause", "add_batch"],
            None,
        )
        of_other = {"batch": second, "cursor": page["next_cursor"]}
        assert problem_of(shop.get("/v1/actions", params=of_other), 422)["type"].endswith("wrong-cursor")
        since = page["data"][0]["requested_at"]
        assert len(shop.get("/v1/actions", params={"since": since}).json()["data"]) == 3
        far = shop.get("/v1/actions", params={"since": "0001-01-01T00:00:00Z"}).json()
        assert len(far["data"]) == 7
        assert shop.get("/v1/actions", params={"since": "9999-12-31T23:59:59Z"}).json()["data"] == []

    def test_of_a_deleted_batch_stays(self, shop: httpx.Client, engine: Engine) -> None:
        """It has no text of the producer's."""
        batch_id = batch_of(shop, "very-own-name")
        patch = {"Content-Type": "application/merge-patch+json"}
        shop.patch(
            f"/v1/batches/{batch_id}", json={"name": "other-own-name"}, headers=patch
        ).raise_for_status()
        shop.delete(f"/v1/batches/{batch_id}").raise_for_status()
        kinds = [each["kind"] for each in shop.get("/v1/actions").json()["data"]]
        assert kinds == ["delete", "change_batch", "add_batch"]
        with engine.connect() as connection:
            rows = str(connection.execute(text("SELECT * FROM actions")).all())
        assert "own-name" not in rows


class TestAnOperatorsKey:
    def test_is_refused_by_every_route(self, client: httpx.Client, engine: Engine) -> None:
        """It says what it is for; a revoked one is as unknown as any."""
        with Session(engine) as session, session.begin():
            row, key = make_operator_key(session, COMMAND, "ana", scopes=OPERATOR_SCOPES)
            row_id = row.id
        client.headers["Authorization"] = f"Bearer {key}"
        for method, path in (("GET", "/v1/whoami"), ("GET", "/v1/jobs"), ("POST", "/v1/batches")):
            problem = problem_of(client.request(method, path, json={"name": "b"}), 403)
            assert problem["type"].endswith("operator-key")
            assert "good for the console alone" in problem["detail"]
        assert producer_count(engine) == 0
        with engine.begin() as connection:
            connection.execute(text("UPDATE api_keys SET revoked_at = now() WHERE id = :id"), {"id": row_id})
        problem = problem_of(client.post("/v1/batches", json={"name": "b"}), 401)
        assert problem["type"].endswith("wrong-key")

    def test_is_no_producers(self, shop: httpx.Client, engine: Engine) -> None:
        """Keys of both stand in one table, and each is what it is."""
        with Session(engine) as session, session.begin():
            make_operator_key(session, COMMAND, "shop", scopes=OPERATOR_SCOPES)
        assert shop.get("/v1/whoami").json()["producer"]["id"] == str(producer_of(engine))


def producer_count(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM producers")).scalar_one())
