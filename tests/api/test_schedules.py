import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from api.live.cursors import moment_cursor
from api.routes.schedules import MOST_SCHEDULES
from cutout.actions import Actor, Asked
from cutout.actions import schedules as actions
from cutout.enums import Role
from cutout.models import Schedule
from cutout.queue.blocks.pauses import By
from cutout.schedules import manage
from tests.api.conftest import key_for
from tests.api.test_health import checks
from tests.api.test_jobs import problem_of

URL = "https://shop.example/export.csv"
ORDER: dict[str, Any] = {"name": "nightly", "manifest_url": URL, "cron": "15 1 * * *", "zone": "Europe/Paris"}
EMPTY: dict[str, Any] = {"data": [], "next_cursor": None}
NOBODY = uuid.UUID(int=1)


def create(client: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/schedules", json=ORDER | more)
    assert answer.status_code == 201, answer.text
    view: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/schedules/{view['id']}"
    return view


class TestASchedule:
    def test_comes_back_as_it_was_ordered(self, shop: httpx.Client) -> None:
        """Every option, by POST, by GET and in the list."""
        order = {
            "window": "01:00-06:00",
            "at_window_end": "run_on",
            "return_form": ["whiteBK", "mask"],
            "priority": "normal",
            "weight": 2.0,
            "budget": 5000,
            "month_budget": 90000,
            "reuse": False,
            "encoding": "cp1252",
            "map": {"source": "Image URL"},
            "overlap": "queue",
            "catch_up": "all",
            "jitter_seconds": 600,
            "grace_seconds": 900,
            "min_source_share": 0.75,
            "metadata": {"team": "studio"},
        }
        view = create(shop, **order)
        assert {name: view[name] for name in ORDER | order} == ORDER | order
        assert shop.get(f"/v1/schedules/{view['id']}").json() == view
        assert shop.get("/v1/schedules").json() == {"data": [view], "next_cursor": None}
        fires, due = datetime.fromisoformat(view["next_fire_at"]), datetime.fromisoformat(view["next_due_at"])
        assert timedelta() <= due - fires <= timedelta(seconds=600)

    def test_reads_a_manifest_that_names_pictures_on_the_web_alone(
        self, shop: httpx.Client, engine: Engine
    ) -> None:
        """A producer names no place of ours, in no row."""
        create(shop)
        with engine.connect() as connection:
            source, options = connection.execute(text("SELECT source, options FROM schedules")).one()
        assert (source, options["foreign"], options["keys"]) == (URL, True, False)

    def test_shows_its_next_runs(self, shop: httpx.Client) -> None:
        """Ten of them, in UTC and as clocks there show it."""
        runs = shop.get(f"/v1/schedules/{create(shop)['id']}/next").json()["data"]
        assert len(runs) == 10
        for run in runs:
            local = datetime.fromisoformat(run["local"])
            assert (local.hour, local.minute) == (1, 15)
            assert local == datetime.fromisoformat(run["fire_at"])

    def test_is_paused_and_resumed_however_often(self, shop: httpx.Client) -> None:
        """Asked twice it stays so."""
        url = f"/v1/schedules/{create(shop)['id']}"
        for _ in range(2):
            paused = shop.post(f"{url}/pause").json()
            assert paused["paused_at"]
            assert paused["next_fire_at"] is None
        for _ in range(2):
            going = shop.post(f"{url}/resume").json()
            assert going["paused_at"] is None
            assert going["next_fire_at"]

    @pytest.mark.parametrize("what", ["resume", "run", "remove"])
    def test_that_an_operator_paused_stays_so(self, shop: httpx.Client, engine: Engine, what: str) -> None:
        """Neither resumed nor run nor made anew under its name by its producer; it shows who paused it."""
        made = create(shop)
        url = f"/v1/schedules/{made['id']}"
        with Session(engine) as session, session.begin():
            assert manage.pause(session, uuid.UUID(made["id"]), By.OPERATOR)
        refused = shop.delete(url) if what == "remove" else shop.post(f"{url}/{what}")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:cutout:problem:paused-by-operator")
        shown = shop.get(url).json()
        assert shown["paused_by_operator_at"]
        assert (shown["paused_at"], shown["next_fire_at"]) == (None, None)
        assert shop.get(f"{url}/runs").json() == EMPTY
        with Session(engine) as session, session.begin():
            assert manage.resume(session, session.get_one(Schedule, uuid.UUID(made["id"])), By.OPERATOR)
        assert shop.post(f"{url}/resume").json()["next_fire_at"]

    def test_is_skipped_once_and_restored(self, shop: httpx.Client) -> None:
        """The next run alone, told by the schedule and by its coming runs; while paused there is none."""
        schedule = create(shop)
        path, due = f"/v1/schedules/{schedule['id']}", schedule["next_fire_at"]
        assert schedule["skips_at"] is None
        for _ in range(2):
            skipped = shop.post(f"{path}/skip").raise_for_status().json()
            assert (skipped["skips_at"], skipped["next_fire_at"]) == (due, due)
        coming = shop.get(f"{path}/next", params={"limit": 2}).json()["data"]
        assert [run["skipped"] for run in coming] == [True, False]
        for _ in range(2):
            assert shop.post(f"{path}/restore").raise_for_status().json()["skips_at"] is None
        shop.post(f"{path}/pause").raise_for_status()
        assert shop.post(f"{path}/skip").raise_for_status().json()["skips_at"] is None
        kinds = [each["kind"] for each in shop.get("/v1/actions").json()["data"]]
        assert kinds == ["pause_schedule", "restore_run", "skip_run", "add_schedule"]

    def test_that_an_operator_skipped_is_restored_by_an_operator(
        self, shop: httpx.Client, engine: Engine
    ) -> None:
        """For its producer it is a problem 403 that says why; the run stays skipped, and no row tells."""
        path = f"/v1/schedules/{create(shop)['id']}"
        ana = Asked(Actor(Role.COMMAND, "ana"))
        with Session(engine) as session, session.begin():
            schedule = session.scalars(select(Schedule)).one()
            due = schedule.next_fire_at
            assert actions.skip_run(session, ana, schedule, due)
        refused = problem_of(shop.post(f"{path}/restore"), 403)
        assert refused["type"] == "urn:cutout:problem:skipped-by-operator"
        assert f"an operator skipped the run of {due:%Y-%m-%d %H:%M:%S} UTC" in refused["detail"]
        assert shop.get(path).json()["skips_at"]
        with Session(engine) as session, session.begin():
            assert actions.restore_run(session, ana, session.scalars(select(Schedule)).one(), due)
        assert shop.get(path).json()["skips_at"] is None
        shop.post(f"{path}/skip").raise_for_status()
        assert shop.post(f"{path}/restore").json()["skips_at"] is None
        kinds = [each["kind"] for each in shop.get("/v1/actions").json()["data"]]
        assert kinds == ["restore_run", "skip_run", "restore_run", "skip_run", "add_schedule"]

    def test_is_run_by_hand(self, shop: httpx.Client) -> None:
        """The run waits for the dispatcher and is on record."""
        url = f"/v1/schedules/{create(shop)['id']}"
        answer = shop.post(f"{url}/run")
        assert answer.status_code == 201
        assert answer.json()["state"] == "waiting"
        assert shop.get(f"{url}/runs").json() == {"data": [answer.json()], "next_cursor": None}

    def test_has_no_runs_at_the_end_of_times(self, shop: httpx.Client) -> None:
        """A cursor that we did not give may name any time."""
        made = create(shop)
        url = f"/v1/schedules/{made['id']}/next"
        for year in (9999, 9998, 2300):
            cursor = moment_cursor(datetime(year, 12, 31, tzinfo=UTC), f"coming runs {made['id']}")
            assert problem_of(shop.get(url, params={"cursor": cursor}), 422)["field"] == "cursor"

    def test_is_removed_for_good(self, shop: httpx.Client) -> None:
        """Its name is free again."""
        url = f"/v1/schedules/{create(shop)['id']}"
        assert shop.delete(url).status_code == 204
        assert shop.get(url).status_code == 404
        assert shop.get("/v1/schedules").json() == EMPTY
        create(shop)


# Each is one thing that makes the order wrong, and the field that the answer names.
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"manifest_url": "s3://studio-drop/"}, "manifest_url"),
    ({"manifest_url": "/etc/passwd"}, "manifest_url"),
    ({"manifest_url": "file:///etc/passwd"}, "manifest_url"),
    ({"manifest_url": "https://me:secret@shop.example/"}, "manifest_url"),
    ({"cron": "0 0 30 2 *"}, "cron"),
    ({"cron": "* * * * * *"}, "cron"),
    ({"cron": "* " * 90}, "cron"),
    ({"zone": "Mars/Base"}, "zone"),
    ({"zone": "../../etc/passwd"}, "zone"),
    ({"window": "01:00-01:00"}, "window"),
    ({"window": ""}, "window"),
    ({"map": {"sauce": "x"}}, "map"),
    ({"name": " "}, "name"),
    ({"jitter_seconds": 90_000}, "jitter_seconds"),
]
OUTSIDE_THE_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"name": "a\u0000b"}, "name"),
    ({"budget": -1}, "budget"),
    ({"grace_seconds": 1}, "grace_seconds"),
    ({"min_source_share": 1.5}, "min_source_share"),
    ({"overlap": "both"}, "overlap"),
    ({"source": URL}, "source"),
]


class TestWhatIsRefused:
    def test_is_not_what_is_next_to_nothing(self, shop: httpx.Client) -> None:
        """A share too small for its column counts as none."""
        answer = shop.post("/v1/schedules", json=ORDER | {"min_source_share": 1e-143})
        assert (answer.status_code, answer.json()["min_source_share"]) == (201, 0.0)

    def test_names_the_field(self, shop: httpx.Client) -> None:
        """A problem document of a stable type; nothing is kept."""
        for wrong, field in IMPOSSIBLE:
            answer = shop.post("/v1/schedules", json=ORDER | wrong)
            told = answer.json()
            assert (answer.status_code, told["type"]) == (422, "urn:cutout:problem:invalid-schedule"), wrong
            assert told["field"] == field
            assert len(told["detail"]) < 400
        assert shop.get("/v1/schedules").json() == EMPTY

    def test_has_a_name_of_its_own(self, shop: httpx.Client) -> None:
        """A taken name is 409 and names its schedule, also in a change; a removed one frees its name.

        Two would run on the same source night after night.
        """
        first, other = create(shop), create(shop, name="other")
        for answer in (
            shop.post("/v1/schedules", json=ORDER),
            shop.patch(f"/v1/schedules/{other['id']}", json={"name": ORDER["name"]}),
        ):
            told = answer.json()
            assert (answer.status_code, told["type"]) == (409, "urn:cutout:problem:schedule-exists")
            assert (told["field"], told["schedule_id"]) == ("name", first["id"])
            assert answer.headers["location"] == f"/v1/schedules/{first['id']}"
        assert shop.delete(f"/v1/schedules/{first['id']}").status_code == 204
        create(shop)

    def test_fits_its_schema(self, shop: httpx.Client) -> None:
        """The schema of /docs is checked first."""
        for wrong, field in OUTSIDE_THE_SCHEMA:
            answer = shop.post("/v1/schedules", json=ORDER | wrong)
            assert (answer.status_code, answer.json()["field"]) == (422, field), wrong

    def test_is_more_than_a_producer_may_have(self, shop: httpx.Client, engine: Engine) -> None:
        """A hundred."""
        create(shop)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO schedules (producer_id, name, source, cron, zone, next_fire_at, next_due_at)"
                    " SELECT producer_id, name || n, source, cron, zone, next_fire_at, next_due_at"
                    " FROM schedules, generate_series(2, :most) n"
                ),
                {"most": MOST_SCHEDULES},
            )
        answer = shop.post("/v1/schedules", json=ORDER | {"name": "one more"})
        assert answer.json()["type"] == "urn:cutout:problem:too-many-schedules"


class TestAnotherProducersSchedule:
    def test_is_unknown_on_every_route(self, shop: httpx.Client, engine: Engine) -> None:
        """404, as one that never was; its name may be used."""
        url = f"/v1/schedules/{create(shop)['id']}"
        shop.headers.update(key_for(engine, "other"))
        for address in (url, f"/v1/schedules/{NOBODY}"):
            answers = [
                shop.get(address),
                shop.delete(address),
                shop.patch(address, json={"name": "mine"}),
                *(shop.post(f"{address}/{what}") for what in ("pause", "resume", "run")),
                *(shop.get(f"{address}/{what}") for what in ("next", "runs")),
            ]
            assert {answer.status_code for answer in answers} == {404}
            assert {answer.json()["type"] for answer in answers} == {"urn:cutout:problem:unknown-schedule"}
        assert shop.get("/v1/schedules").json() == EMPTY
        create(shop)

    def test_needs_a_key(self, client: httpx.Client) -> None:
        """As all routes for producers do."""
        assert client.get("/v1/schedules").status_code == 401
        assert client.post("/v1/schedules", json=ORDER).status_code == 401


class TestReadiness:
    def test_counts_what_is_late_and_stays(self, shop: httpx.Client, app: FastAPI, engine: Engine) -> None:
        """Whoever asks without a key reads no names; the API is ready all the same."""
        assert "schedules" not in checks(shop, app, 200)
        create(shop)
        assert checks(shop, app, 200)["schedules"] == "ok"
        with engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE schedules SET next_fire_at = now() - interval '1 day',"
                    " next_due_at = now() - interval '1 day'"
                )
            )
        assert checks(shop, app, 200)["schedules"] == "1 late or about to be; see `cutout doctor`"
