"""Options for outputs at every door, with the settings as their defaults."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.enums import Forms, ReturnForm, Reuse
from cutout.schedules.fire import fire
from cutout.schedules.manage import run_now
from cutout.schedules.start import start
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.api.conftest import key_for
from tests.api.conftest import serve as serve_api
from worker.ingester.loop import Ingester

PICTURE = "https://shop.example/a.jpg"
CSV = {"Content-Type": "text/csv"}
ROWS = f"external_id,source\na,{PICTURE}\n".encode()
LIST = {"name": "l", "jobs": [{"external_id": "a", "source_url": PICTURE}]}
SCHEDULE = {"name": "s", "manifest_url": "https://shop.example/a.csv", "cron": "0 1 * * *"}

Door = Callable[[httpx.Client, dict[str, Any]], httpx.Response]


def _as_texts(asked: dict[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() for name, value in asked.items()}


def a_job(shop: httpx.Client, asked: dict[str, Any]) -> httpx.Response:
    return shop.post("/v1/jobs", json={"source_url": PICTURE, "return_form": "mask"} | asked)


def an_upload(shop: httpx.Client, asked: dict[str, Any]) -> httpx.Response:
    fields = {"return_form": "mask"} | _as_texts(asked)
    return shop.post("/v1/jobs", files={"image": ("a.jpg", b"picture")}, data=fields)


def a_list(shop: httpx.Client, asked: dict[str, Any]) -> httpx.Response:
    return shop.post("/v1/batches", json=LIST | {"return_form": "mask"} | asked)


def a_list_with_a_plan(shop: httpx.Client, asked: dict[str, Any]) -> httpx.Response:
    return shop.post("/v1/batches", json=LIST | {"return_form": "mask", "plan": True} | asked)


def a_manifest(shop: httpx.Client, asked: dict[str, Any]) -> httpx.Response:
    query = {"name": "m", "return_form": "mask"} | _as_texts(asked)
    return shop.post("/v1/batches", params=query, content=ROWS, headers=CSV)


def as_stored(engine: Engine) -> tuple[str, str, bool]:
    """Return form, bought form and full size of the only job."""
    with engine.connect() as connection:
        row = connection.execute(text("SELECT return_form, bought_form, full_size FROM jobs")).one()
    return row.return_form, row.bought_form, row.full_size


@pytest.fixture(params=["derived", "bought"])
def installed(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings with each default of CUTOUT_FORMS, the second with outputs of the sent size."""
    forms = Forms(request.param)
    return settings.model_copy(update={"forms": forms, "full_size": forms is Forms.DERIVED})


@pytest.fixture
def shop(installed: Settings, engine: Engine, bucket: Bucket) -> Iterator[httpx.Client]:
    with serve_api(installed) as client:
        client.headers.update(key_for(engine, "shop"))
        yield client


@pytest.fixture
def ingester(installed: Settings, engine: Engine, bucket: Bucket) -> Ingester:
    return Ingester(installed, engine, bucket)


class TestEachDoor:
    @pytest.mark.parametrize("door", [a_job, an_upload, a_list, a_list_with_a_plan, a_manifest])
    @pytest.mark.parametrize(
        ("asked", "bought", "full_size"),
        [
            ({}, None, None),
            ({"forms": "bought", "full_size": True}, "mask", True),
            ({"forms": "derived", "full_size": False}, "rgba", False),
        ],
    )
    def test_takes_what_is_given_and_the_setting_otherwise(
        self,
        shop: httpx.Client,
        installed: Settings,
        engine: Engine,
        ingester: Ingester,
        *,
        door: Door,
        asked: dict[str, Any],
        bought: str | None,
        full_size: bool | None,
    ) -> None:
        """A job for a mask has the form that a call is to ask for, and the size of its outputs."""
        door(shop, asked).raise_for_status()
        ingester.serve()
        form = bought or {Forms.DERIVED: "rgba", Forms.BOUGHT: "mask"}[installed.forms]
        size = installed.full_size if full_size is None else full_size
        assert as_stored(engine) == ("mask", form, size)

    @pytest.mark.parametrize("door", [a_job, an_upload, a_list, a_manifest])
    def test_names_the_forms_that_there_are(self, shop: httpx.Client, door: Door) -> None:
        """422 with the field."""
        answer = door(shop, {"forms": "drawn"})
        assert (answer.status_code, answer.json()["field"]) == (422, "forms")


class TestAPlan:
    @pytest.mark.parametrize(("forms", "calls"), [("derived", 1), ("bought", 4)])
    def test_counts_derived_forms_of_a_picture_as_one_call(
        self,
        shop: httpx.Client,
        installed: Settings,
        engine: Engine,
        bucket: Bucket,
        *,
        forms: str,
        calls: int,
    ) -> None:
        """The other jobs have the same picture; forms that are bought cost a credit each."""
        reusing = installed.model_copy(update={"reuse": Reuse.PRODUCER})
        asked = LIST | {"return_form": list(ReturnForm), "plan": True, "forms": forms}
        batch = shop.post("/v1/batches", json=asked).raise_for_status().json()
        assert Ingester(reusing, engine, bucket).serve()
        plan = shop.get(f"/v1/batches/{batch['id']}").json()["ingest"]["plan"]
        assert (plan["calls"], plan["same_picture"]) == (calls, 4 - calls)


class TestASchedule:
    @pytest.mark.parametrize("asked", [{}, {"forms": "bought", "full_size": False}])
    def test_stores_what_is_given_and_follows_the_setting_otherwise(
        self, shop: httpx.Client, installed: Settings, engine: Engine, asked: dict[str, Any]
    ) -> None:
        """Null is shown where the setting applies, as it is when a run starts."""
        made = shop.post("/v1/schedules", json=SCHEDULE | {"return_form": "mask"} | asked).raise_for_status()
        view = made.json()
        assert (view["forms"], view["full_size"]) == (asked.get("forms"), asked.get("full_size"))
        with Session(engine) as session, session.begin():
            fire(session)
            run_id = run_now(session, uuid.UUID(view["id"]))
            assert run_id is not None
            start(session, run_id, installed)
            options = session.execute(text("SELECT options FROM ingests")).scalar_one()
        forms = Forms(asked.get("forms") or installed.forms)
        assert options.get("form_purchase", "derived") == forms
        full_size = asked.get("full_size", installed.full_size)
        assert options.get("sent_size", False) is not full_size
