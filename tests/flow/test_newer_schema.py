"""Processes of one version on the schema of the next: what an upgrade does before they are replaced."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.support.system import System

# What a migration may do to tables that are in use (tests/migrations/test_large_tables.py).
NEXT_MIGRATION = """
    ALTER TABLE jobs ADD COLUMN later text;
    ALTER TABLE batches ADD COLUMN later boolean NOT NULL DEFAULT false;
    ALTER TABLE attempts ADD COLUMN later jsonb;
    ALTER TABLE outputs ADD COLUMN later text;
    ALTER TABLE deliveries ADD COLUMN later text;
    ALTER TABLE ingests ADD COLUMN later text;
    ALTER TABLE workers ADD COLUMN later text;
    ALTER TABLE producers ADD COLUMN later integer NOT NULL DEFAULT 1;
    ALTER TABLE api_keys ADD COLUMN later text;
    CREATE TABLE laters (id uuid PRIMARY KEY REFERENCES jobs(id));
    UPDATE alembic_version SET version_num = '9999'
"""
CATALOG = b"external_id,source\nrow-1,https://shop.example/private\n"


@pytest.fixture
def system(environment: dict[str, str], bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """API, dispatcher, worker, ingester and renderer, running."""
    assert bucket
    with System(environment, tmp_path) as running:
        running.start("ingester", "ingester")
        running.start("renderer", "renderer")
        yield running


def run_one(system: System, photo: bytes, name: str) -> None:
    """A batch with a cutout, its outputs, and a catalog that is read."""
    batch = system.client.post("/v1/batches", json={"name": name}).raise_for_status().json()["id"]
    system.client.post(
        "/v1/jobs", files={"image": ("a.jpg", photo)}, data={"batch_id": batch, "return_form": "whiteBK"}
    ).raise_for_status()
    assert system.finished(batch)["succeeded"] == 1
    system.until("SELECT count(*) > 0 AND bool_and(state = 'made') FROM outputs")
    catalog = system.client.post(
        "/v1/batches", params={"name": "catalog"}, content=CATALOG, headers={"Content-Type": "text/csv"}
    )
    catalog.raise_for_status()
    system.until("SELECT bool_and(finished_at IS NOT NULL AND error IS NULL) FROM ingests")


@pytest.mark.long("runs jobs before, after and once more; test_health.py has the API's readiness")
def test_every_process_goes_on_and_starts(system: System, photo: bytes) -> None:
    """Processes go on with a newer schema, are ready, and start on it, as a program that was put back."""
    run_one(system, photo, "before")
    system.execute(NEXT_MIGRATION)
    assert system.client.get("/readyz").status_code == 200
    run_one(system, photo, "after")
    for name in ("dispatcher", "ingester", "renderer"):
        system.end(name)
        system.start(name, name)
    system.end("worker")
    system.start_worker("worker")
    run_one(system, photo, "started again")
    migrate = system.start("migrate", "migrate")
    assert migrate.wait(30) == 0
    assert "the schema 9999 of a newer version" in system.log("migrate")
