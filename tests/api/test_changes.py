"""PATCH of batches and schedules, and changes under the condition of If-Match."""

import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cutout.enums import Scope
from cutout.producers.ceilings import set_ceilings
from cutout.queue.blocks.blocked_jobs import unblock
from cutout.queue.blocks.pauses import By, pause
from cutout.schedules import manage
from tests.api.conftest import key_for, producer_of
from tests.api.test_jobs import SOURCE, problem_of
from tests.api.test_schedules import ORDER, create

MERGE = {"Content-Type": "application/merge-patch+json"}
JOBS = [{"external_id": "a", "source_url": SOURCE}]


def make_batch(client: httpx.Client, **more: Any) -> str:
    made = client.post("/v1/batches", json={"name": "b", "jobs": JOBS} | more).raise_for_status()
    return f"/v1/batches/{made.json()['id']}"


def etag_of(client: httpx.Client, url: str) -> str:
    tag: str = client.get(url).raise_for_status().headers["etag"]
    return tag


class TestABatch:
    def test_is_changed_in_what_is_given(self, shop: httpx.Client) -> None:
        """By either media type; the rest stays, null clears, and metadata is changed pair by pair."""
        url = make_batch(shop, budget=5, metadata={"a": "1", "b": "2"})
        change: dict[str, Any] = {"name": "spring", "weight": 2.5, "metadata": {"a": None, "c": "3"}}
        changed = shop.patch(url, json=change, headers=MERGE)
        view = changed.raise_for_status().json()
        assert (view["name"], view["weight"], view["budget"]) == ("spring", 2.5, 5)
        assert view["metadata"] == {"b": "2", "c": "3"}
        assert shop.get(url).json()["metadata"] == {"b": "2", "c": "3"}
        assert etag_of(shop, url) == changed.headers["etag"]
        cleared = shop.patch(url, json={"budget": None, "metadata": None}).raise_for_status().json()
        assert (cleared["name"], cleared["budget"], cleared["metadata"]) == ("spring", None, {})
        assert shop.patch(url, json={}).raise_for_status().json() == cleared

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": None}, "name"),
            ({"name": ""}, "name"),
            ({"weight": None}, "weight"),
            ({"weight": 0}, "weight"),
            ({"budget": -1}, "budget"),
            ({"budget": "5"}, "budget"),
            ({"priority": "bulk"}, "priority"),
            ({"id": str(uuid.UUID(int=1))}, "id"),
            ({"metadata": {"k": 1}}, "metadata.k"),
            ([], ""),
        ],
        ids=repr,
    )
    def test_is_not_changed_in_what_cannot_be(self, shop: httpx.Client, change: Any, field: str) -> None:
        """Unknown members and wrong values name their field."""
        url = make_batch(shop)
        before = shop.get(url).json()
        assert problem_of(shop.patch(url, json=change), 422).get("field", "") == field
        assert shop.get(url).json() == before

    def test_takes_no_pairs_beyond_the_bound_by_several_changes(self, shop: httpx.Client) -> None:
        """The whole counts, not what is sent."""
        url = make_batch(shop, metadata={str(n): "" for n in range(16)})
        assert problem_of(shop.patch(url, json={"metadata": {"x": ""}}), 422)["field"] == "metadata"
        shop.patch(url, json={"metadata": {"x": "", "0": None}}).raise_for_status()

    def test_is_not_changed_by_other_media_types(self, shop: httpx.Client) -> None:
        """A JSON Patch is another language."""
        headers = {"Content-Type": "application/json-patch+json"}
        problem_of(shop.patch(make_batch(shop), content="[]", headers=headers), 415)

    def test_may_spend_more_by_an_administrators_key_alone(self, shop: httpx.Client, engine: Engine) -> None:
        """Less, and a first budget, by any key that enqueues."""
        url = make_batch(shop)
        key_for_enqueue(engine, shop)
        for budget in (10, 9):
            assert shop.patch(url, json={"budget": budget}).raise_for_status().json()["budget"] == budget
        for more in (10, None):
            problem = problem_of(shop.patch(url, json={"budget": more}), 403)
            assert problem["type"] == "urn:cutout:problem:scope-missing"
        shop.patch(url, json={"budget": 9, "name": "c"}).raise_for_status()

    def test_keeps_to_its_producers_ceiling(self, shop: httpx.Client, engine: Engine) -> None:
        """A weight above it is refused."""
        with Session(engine) as session, session.begin():
            set_ceilings(session, producer_of(engine), most_weight=2.0)
        url = make_batch(shop)
        assert problem_of(shop.patch(url, json={"weight": 3}), 422)["field"] == "weight"
        shop.patch(url, json={"weight": 2}).raise_for_status()

    def test_has_another_weight_once_a_minute(self, shop: httpx.Client, engine: Engine) -> None:
        """Each moves all of its jobs that wait; what else the refused request asks for is not done either."""
        url = make_batch(shop)
        changed = shop.patch(url, json={"weight": 2}).raise_for_status()
        refused = shop.patch(url, json={"weight": 3, "name": "c"})
        problem = problem_of(refused, 429)
        assert problem["type"] == "urn:cutout:problem:weight-just-changed"
        assert problem["field"] == "weight"
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert etag_of(shop, url) == changed.headers["etag"]
        shop.patch(url, json={"weight": 2, "name": "c"}).raise_for_status()
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE batches SET jobs_moved_at = jobs_moved_at - interval '1 min'")
        assert shop.patch(url, json={"weight": 3}).raise_for_status().json()["weight"] == 3

    def test_lets_jobs_go_that_a_higher_budget_allows(self, shop: httpx.Client, engine: Engine) -> None:
        """Those that were held for want of it, at the dispatcher's next look."""
        url = make_batch(shop, budget=0)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE jobs SET state = 'held', queue_state = 'blocked', code = 'OVER_BUDGET'"
            )
            assert unblock(connection) == 0
        shop.patch(url, json={"budget": 1}).raise_for_status()
        with engine.begin() as connection:
            assert unblock(connection) == 1
        assert [job["state"] for job in shop.get("/v1/jobs").json()["data"]] == ["queued"]

    def test_stays_paused_by_whom_it_was(self, shop: httpx.Client, engine: Engine) -> None:
        """A change lifts neither pause."""
        url = make_batch(shop)
        shop.post(f"{url}/pause").raise_for_status()
        with engine.begin() as connection:
            assert pause(connection, uuid.UUID(url.rpartition("/")[2]), By.OPERATOR)
        view = shop.patch(url, json={"weight": 9, "budget": 3}).raise_for_status().json()
        assert view["paused_at"]
        assert view["paused_by_operator_at"]

    def test_of_another_producer_is_unknown(self, shop: httpx.Client, engine: Engine) -> None:
        """As one that never was."""
        url = make_batch(shop)
        shop.headers.update(key_for(engine, "other"))
        assert problem_of(shop.patch(url, json={"name": "mine"}), 404)["type"].endswith("unknown-batch")


def key_for_enqueue(engine: Engine, client: httpx.Client) -> None:
    """Take the scope `admin` from the client's key."""
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE api_keys SET scopes = ARRAY['enqueue', 'read']")
    assert client.get("/v1/jobs").is_success


class TestACondition:
    @pytest.mark.parametrize("action", ["patch", "pause", "resume"])
    def test_that_a_batch_is_as_it_was_read_is_kept(self, shop: httpx.Client, action: str) -> None:
        """After a change 412, and nothing happens; with the new tag it does. Counts do not matter."""
        url = make_batch(shop)
        before = etag_of(shop, url)
        body = {"source_url": SOURCE, "external_id": "b", "batch_id": url.rpartition("/")[2]}
        shop.post("/v1/jobs", json=body).raise_for_status()

        def act(tag: str) -> httpx.Response:
            if action == "patch":
                return shop.patch(url, json={"name": "new"}, headers={"If-Match": tag})
            return shop.post(f"{url}/{action}", headers={"If-Match": tag})

        shop.patch(url, json={"weight": 7}, headers={"If-Match": before}).raise_for_status()
        stale = act(before)
        assert problem_of(stale, 412)["type"] == "urn:cutout:problem:changed-meanwhile"
        view = shop.get(url).json()
        assert (view["name"], view["paused_at"]) == ("b", None)
        act(f'"x", {etag_of(shop, url)}').raise_for_status()
        act("*").raise_for_status()

    def test_is_stale_after_a_pause_and_a_resume(self, shop: httpx.Client) -> None:
        """Each changes what the client saw; one that changes nothing does not."""
        url = make_batch(shop)
        tags = [etag_of(shop, url)]
        for action in ("pause", "resume"):
            shop.post(f"{url}/{action}").raise_for_status()
            tags.append(etag_of(shop, url))
        shop.post(f"{url}/resume").raise_for_status()
        assert etag_of(shop, url) == tags[-1]
        for tag in tags[:-1]:
            assert shop.patch(url, json={"name": "c"}, headers={"If-Match": tag}).status_code == 412
        shop.patch(url, json={"name": "c"}, headers={"If-Match": tags[-1]}).raise_for_status()

    @pytest.mark.parametrize("action", ["patch", "pause", "resume", "run", "delete"])
    def test_that_a_schedule_is_as_it_was_read_is_kept(self, shop: httpx.Client, action: str) -> None:
        """As for a batch; a look with the present tag is answered 304."""
        url = f"/v1/schedules/{create(shop)['id']}"
        before = etag_of(shop, url)
        assert shop.get(url, headers={"If-None-Match": before}).status_code == 304

        def act(tag: str) -> httpx.Response:
            headers = {"If-Match": tag}
            if action == "patch":
                return shop.patch(url, json={"cron": "@hourly"}, headers=headers)
            if action == "delete":
                return shop.delete(url, headers=headers)
            return shop.post(f"{url}/{action}", headers=headers)

        shop.patch(url, json={"budget": 7}).raise_for_status()
        changed = shop.get(url).json()
        assert problem_of(act(before), 412)["type"] == "urn:cutout:problem:changed-meanwhile"
        assert shop.get(url).json() == changed
        assert shop.get(f"{url}/runs").json()["data"] == []
        act(etag_of(shop, url)).raise_for_status()


class TestASchedule:
    @pytest.mark.parametrize(
        "change",
        [
            {"name": "weekly"},
            {"manifest_url": "https://shop.example/other.csv"},
            {"cron": "30 2 * * *"},
            {"zone": "Asia/Tokyo"},
            {"window": "01:00-06:00"},
            {"at_window_end": "run_on"},
            {"return_form": ["mask"]},
            {"forms": "bought"},
            {"full_size": False},
            {"priority": "normal"},
            {"weight": 2.0},
            {"budget": 5},
            {"month_budget": 9},
            {"reuse": False},
            {"encoding": "cp1252"},
            {"map": {"source": "Image URL"}},
            {"delimiter": ";"},
            {"many": True},
            {"include": ["*.jpg"]},
            {"exclude": ["*.png"]},
            {"overlap": "queue"},
            {"catch_up": "all"},
            {"jitter_seconds": 60},
            {"grace_seconds": 900},
            {"min_source_share": 0.75},
            {"metadata": {"a": "1"}},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_is_changed_in_each_member_by_itself(self, shop: httpx.Client, change: dict[str, Any]) -> None:
        """All others stay; so do its id and the run that it had."""
        made = create(shop)
        url = f"/v1/schedules/{made['id']}"
        view = shop.patch(url, json=change, headers=MERGE).raise_for_status().json()
        moved = {"next_fire_at", "next_due_at"} if {"cron", "zone", "jitter_seconds"} & set(change) else set()
        for name, value in (made | change).items():
            if name not in moved:
                assert view[name] == value, name
        assert shop.get(url).json() == view
        if "cron" in change:
            assert view["next_fire_at"] != made["next_fire_at"]

    def test_has_members_cleared_by_null(self, shop: httpx.Client) -> None:
        """Those that may be absent, and pairs of objects; a template goes with its outputs."""
        made = create(
            shop,
            window="01:00-06:00",
            budget=5,
            month_budget=7,
            encoding="cp1252",
            map={"source": "a", "external_id": "b"},
            metadata={"a": "1", "b": "2"},
            outputs=["amazon"],
            file_name="{external_id}.{rendition}.{ext}",
        )
        change: dict[str, Any] = {
            "window": None,
            "budget": None,
            "month_budget": None,
            "encoding": None,
            "map": {"external_id": None},
            "metadata": {"a": None},
            "outputs": [],
        }
        view = shop.patch(f"/v1/schedules/{made['id']}", json=change).raise_for_status().json()
        cleared = ("window", "budget", "month_budget", "encoding", "file_name")
        assert [view[name] for name in cleared] == [None] * 5
        assert (view["map"], view["metadata"], view["outputs"]) == ({"source": "a"}, {"b": "2"}, [])

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": None}, "name"),
            ({"cron": None}, "cron"),
            ({"weight": None}, "weight"),
            ({"cron": "0 0 30 2 *"}, "cron"),
            ({"zone": "Mars/Base"}, "zone"),
            ({"manifest_url": "s3://studio-drop/"}, "manifest_url"),
            ({"map": {"sauce": "x"}}, "map"),
            ({"jitter_seconds": 90_000}, "jitter_seconds"),
            ({"file_name": "{external_id}.{ext}"}, "outputs"),
            ({"next_fire_at": "2026-01-01T00:00:00Z"}, "next_fire_at"),
        ],
        ids=repr,
    )
    def test_is_not_changed_in_what_cannot_be(
        self, shop: httpx.Client, change: dict[str, Any], field: str
    ) -> None:
        """The whole is checked as a new one is; nothing of the change is kept."""
        url = f"/v1/schedules/{create(shop)['id']}"
        before = shop.get(url).json()
        told = problem_of(shop.patch(url, json=change | {"budget": 1}), 422)
        assert told.get("field") in (field, None)
        assert shop.get(url).json() == before

    def test_keeps_what_it_has_seen_and_its_secrets(self, shop: httpx.Client, engine: Engine) -> None:
        """A change of another member leaves the whole address and the pictures of earlier runs."""
        secret = f"{ORDER['manifest_url']}?token=secret"
        url = f"/v1/schedules/{create(shop, manifest_url=secret)['id']}"
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO pictures (schedule_id, external_id, batch_id, seen_in, change)"
                " SELECT id, 'a', id, id, 'new' FROM schedules"
            )
        shop.patch(url, json={"cron": "@hourly"}).raise_for_status()
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM pictures").scalar_one() == 1
            assert connection.exec_driver_sql("SELECT source FROM schedules").scalar_one() == secret

    def test_stays_paused_by_the_operator(self, shop: httpx.Client, engine: Engine) -> None:
        """It may be mended meanwhile, and does not fire."""
        made = create(shop)
        with Session(engine) as session, session.begin():
            assert manage.pause(session, uuid.UUID(made["id"]), By.OPERATOR)
        view = shop.patch(f"/v1/schedules/{made['id']}", json={"cron": "@hourly"}).raise_for_status().json()
        assert (view["cron"], view["next_fire_at"]) == ("@hourly", None)
        assert view["paused_by_operator_at"]

    def test_needs_the_scope_admin(self, client: httpx.Client, engine: Engine) -> None:
        """As making one does."""
        client.headers.update(key_for(engine, "shop", scopes=(Scope.ENQUEUE, Scope.READ)))
        problem_of(client.patch(f"/v1/schedules/{uuid.UUID(int=1)}", json={}), 403)


class TestPagesOfSchedules:
    def test_give_each_once_by_name(self, shop: httpx.Client) -> None:
        """Also if the last one of a page is removed before the next page is asked for."""
        made = {name: create(shop, name=name)["id"] for name in "ebdac"}
        page = shop.get("/v1/schedules", params={"limit": 2}).json()
        assert [each["name"] for each in page["data"]] == ["a", "b"]
        shop.delete(f"/v1/schedules/{made['b']}").raise_for_status()
        rest = shop.get("/v1/schedules", params={"limit": 3, "cursor": page["next_cursor"]}).json()
        assert ([each["name"] for each in rest["data"]], rest["next_cursor"]) == (["c", "d", "e"], None)

    def test_of_runs_and_of_coming_runs_go_on_where_they_ended(
        self, shop: httpx.Client, engine: Engine
    ) -> None:
        """No run twice, none left out; a cursor of another list is refused."""
        url = f"/v1/schedules/{create(shop)['id']}"
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO runs (schedule_id, fire_at, due_at)"
                " SELECT id, now() - n * interval '1 day', now() FROM schedules, generate_series(1, 5) n"
            )
        seen: list[str] = []
        cursor: dict[str, str] = {}
        for count in (2, 2, 1):
            page = shop.get(f"{url}/runs", params={"limit": "2"} | cursor).raise_for_status().json()
            assert len(page["data"]) == count
            seen += [run["fire_at"] for run in page["data"]]
            cursor = {"cursor": page["next_cursor"]}
        assert page["next_cursor"] is None
        assert (seen, len(set(seen))) == (sorted(seen, reverse=True), 5)
        all_of_them = shop.get(f"{url}/next", params={"limit": 7}).json()["data"]
        first = shop.get(f"{url}/next", params={"limit": 3}).json()
        rest = shop.get(f"{url}/next", params={"limit": 4, "cursor": first["next_cursor"]}).json()
        assert first["data"] + rest["data"] == all_of_them
        answer = shop.get(f"{url}/runs", params={"cursor": first["next_cursor"]})
        assert problem_of(answer, 422)["type"] == "urn:cutout:problem:wrong-cursor"
