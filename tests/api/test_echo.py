"""Options of a request can be read back, and nothing secret of them."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cutout.models import Delivery
from cutout.queue.settle import settle
from cutout.schedules.manage import run_now
from cutout.schedules.start import start
from cutout.settings import Settings
from tests.api.test_jobs import SOURCE, problem_of
from tests.support.fates import DONE
from tests.support.steps import claim_one, new_worker

HOOK = "https://Shop.example:8443/hook?token=secret"
METADATA = {"order": "A-1207", "Größe": ""}
OUTPUTS = ["amazon", "hero: canvas=1200x1200 background=#eeeeee"]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """An installation that can sign."""
    return {**environment, "CUTOUT_WEBHOOK_SECRET": "m" * 40}


class TestAJob:
    def test_shows_how_it_was_asked_for(self, shop: httpx.Client) -> None:
        """Each option by its name; of the webhook its host alone."""
        asked = {
            "source_url": SOURCE,
            "external_id": "a",
            "return_form": "mask",
            "forms": "bought",
            "full_size": False,
            "priority": "bulk",
            "unique": "producer",
            "metadata": METADATA,
        }
        made = shop.post("/v1/jobs", json=asked | {"webhook_url": HOOK})
        assert made.status_code == 201, made.text
        view = made.json()
        assert {name: view[name] for name in asked} == asked
        assert (view["source_kind"], view["webhook_host"]) == ("address", "shop.example:8443")
        assert "secret" not in made.text
        assert shop.get(f"/v1/jobs/{view['id']}").json() == view | {"poll_after_seconds": any_of(view)}
        (listed,) = shop.get("/v1/jobs").json()["data"]
        assert listed["metadata"] == METADATA

    def test_shows_the_renditions_that_it_asked_for(self, shop: httpx.Client) -> None:
        """They can be asked for again as they are shown."""
        asked = {"source_url": SOURCE, "outputs": OUTPUTS, "file_name": "{job}.{rendition}.{ext}"}
        view = shop.post("/v1/jobs", json=asked).raise_for_status().json()
        assert {each.partition(":")[0] for each in view["renditions"]} == {"amazon", "hero"}
        again = asked | {"outputs": view["renditions"], "file_name": view["file_name"]}
        same = shop.post("/v1/jobs", json=again).raise_for_status().json()
        assert (same["renditions"], same["file_name"]) == (view["renditions"], view["file_name"])

    def test_of_a_form_has_its_metadata_as_json_text(self, shop: httpx.Client, photo: bytes) -> None:
        """One field; what is no object of texts is refused."""
        files = {"image": ("a.jpg", photo)}
        view = shop.post("/v1/jobs", data={"metadata": json.dumps(METADATA)}, files=files)
        assert view.raise_for_status().json()["metadata"] == METADATA
        for wrong in ("{", "[]", '{"a": 1}', '"a"', "null"):
            answer = shop.post("/v1/jobs", data={"metadata": wrong}, files=files)
            assert problem_of(answer, 422)["field"].startswith("metadata"), wrong

    @pytest.mark.parametrize(
        "metadata",
        [
            {str(n): "" for n in range(17)},
            {"": "x"},
            {"k" * 41: "x"},
            {"k": "x" * 501},
            {"k": 1},
            {"k": None},
            {"k\u0000": "x"},
            {"k": "\u202e"},
            [],
            "{}",
            None,
        ],
        ids=repr,
    )
    def test_with_metadata_beyond_its_bounds_is_refused(self, shop: httpx.Client, metadata: Any) -> None:
        """16 pairs, keys of 40 characters, texts of 500; nothing that a log cannot show."""
        for path, body in (
            ("/v1/jobs", {"source_url": SOURCE}),
            ("/v1/batches", {"name": "b"}),
            ("/v1/schedules", {"name": "b", "manifest_url": SOURCE, "cron": "@daily"}),
        ):
            problem = problem_of(shop.post(path, json=body | {"metadata": metadata}), 422)
            assert problem["field"].startswith("metadata")

    def test_tells_its_metadata_in_messages_and_results(self, shop: httpx.Client, engine: Engine) -> None:
        """Of a job and of its batch; nothing is left of it once the job is deleted."""
        batch = shop.post("/v1/batches", json={"name": "b", "webhook_url": HOOK, "metadata": {"b": "1"}})
        batch_id = batch.raise_for_status().json()["id"]
        body = {"source_url": SOURCE, "external_id": "a", "batch_id": batch_id, "metadata": METADATA}
        job = shop.post("/v1/jobs", json=body | {"webhook_url": HOOK}).raise_for_status().json()
        with Session(engine) as session, session.begin():
            settle(session, claim_one(session, new_worker(session)), DONE)
        with Session(engine) as session:
            payload = session.scalars(select(Delivery.payload)).one()
        assert json.loads(payload)["data"]["metadata"] == METADATA
        results = shop.get(f"/v1/batches/{batch_id}/results", params={"format": "ndjson"})
        assert json.loads(results.text)["metadata"] == METADATA
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE batches SET results_key = 'x'")
            told = connection.exec_driver_sql("SELECT payload FROM deliveries WHERE type = 'batch.finished'")
            assert json.loads(told.scalar_one())["data"]["metadata"] == {"b": "1"}
        shop.delete(f"/v1/jobs/{job['id']}").raise_for_status()
        with engine.connect() as connection:
            left = connection.exec_driver_sql("SELECT metadata, natural_key FROM jobs").one()
        assert tuple(left) == (None, None)


class TestABatch:
    def test_of_a_list_shows_how_it_was_asked_for(self, shop: httpx.Client) -> None:
        """By POST, by GET and in the list of batches."""
        asked: dict[str, Any] = {
            "name": "b",
            "return_form": ["mask", "rgba"],
            "priority": "bulk",
            "weight": 0.3,
            "budget": 5,
            "reuse": False,
            "plan": False,
            "strict": False,
            "forms": "bought",
            "full_size": False,
            "webhook_jobs": "each",
            "metadata": METADATA,
        }
        jobs = [{"external_id": "a", "source_url": SOURCE}]
        made = shop.post("/v1/batches", json=asked | {"jobs": jobs, "webhook_url": HOOK})
        view = made.raise_for_status().json()
        assert {name: view[name] for name in asked} == asked
        assert view["webhook_host"] == "shop.example:8443"
        assert "secret" not in made.text
        looked_at = shop.get(f"/v1/batches/{view['id']}").json()
        (listed,) = shop.get("/v1/batches").json()["data"]
        for other in (looked_at, listed):
            assert {name: other[name] for name in asked} == asked

    def test_of_an_address_shows_its_options_of_reading(self, shop: httpx.Client) -> None:
        """The address without its query, which may hold a token."""
        asked = {
            "name": "b",
            "map": {"source": "Image URL"},
            "encoding": "cp1252",
            "delimiter": ";",
            "many": True,
            "strict": True,
            "plan": True,
            "include": ["*.jpg"],
            "exclude": ["x*"],
        }
        url = "https://shop.example/export.csv"
        made = shop.post("/v1/batches", json=asked | {"manifest_url": f"{url}?token=secret"})
        view = made.raise_for_status().json()
        assert {name: view[name] for name in asked} == asked
        assert view["manifest_url"] == url
        assert "secret" not in made.text

    def test_of_an_upload_has_metadata_in_the_query(self, shop: httpx.Client) -> None:
        """As JSON text, among the other options."""
        query = {"name": "b", "metadata": json.dumps(METADATA), "outputs": OUTPUTS}
        body: dict[str, Any] = {"content": b"external_id,source\n", "headers": {"Content-Type": "text/csv"}}
        view = shop.post("/v1/batches", params=query, **body).raise_for_status().json()
        assert (view["metadata"], len(view["renditions"]), view["manifest_url"]) == (METADATA, 2, None)
        query["metadata"] = "{}}"
        assert problem_of(shop.post("/v1/batches", params=query, **body), 422)["field"] == "metadata"


class TestASchedule:
    def test_gives_its_metadata_to_the_batch_of_each_run(
        self, shop: httpx.Client, engine: Engine, settings: Settings
    ) -> None:
        """With the address of its manifest, without what may be a token; so shows the schedule itself."""
        asked = {"name": "nightly", "cron": "@daily", "metadata": METADATA, "webhook_url": HOOK}
        url = "https://shop.example/export.csv"
        made = shop.post("/v1/schedules", json=asked | {"manifest_url": f"{url}?token=secret"})
        view = made.raise_for_status().json()
        assert (view["manifest_url"], view["webhook_host"]) == (url, "shop.example:8443")
        assert "secret" not in made.text
        with Session(engine) as session, session.begin():
            run_id = run_now(session, view["id"])
            assert run_id is not None
            start(session, run_id, settings)
        (batch,) = shop.get("/v1/batches").json()["data"]
        assert (batch["metadata"], batch["manifest_url"], batch["priority"]) == (METADATA, url, "bulk")


def any_of(view: dict[str, Any]) -> Any:
    return view["poll_after_seconds"]
