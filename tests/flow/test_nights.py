"""Three nights of a schedule, end to end on real services."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from cutout.schedules.definition import NewSchedule
from cutout.schedules.manage import add, run_now
from cutout.storage import Bucket
from tests.support.clock import each_day_but_now
from tests.support.pictures import encoded, plain
from tests.support.sandbox import Sandbox
from tests.support.system import System

PICTURES = 8
ENDED = "SELECT count(*) = {} FROM runs WHERE report_key IS NOT NULL"


@pytest.fixture
def system(environment: dict[str, str], bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """Dispatcher, worker and ingester, which take what was bought before."""
    with System(environment | {"CUTOUT_REUSE": "producer"}, tmp_path, api=False) as running:
        running.start("ingester", "ingester")
        yield running


@pytest.fixture
def drop(bucket: Bucket) -> Callable[[int, int], None]:
    """Puts a picture into the studio's prefix, in one of its versions."""

    def put(number: int, version: int = 0) -> None:
        data = encoded(plain(60 + number, 40 + version), "PNG")
        bucket.put_cutout(data, key=f"drop/{number}.png", media_type="image/png", metadata={})

    return put


@pytest.mark.long("three nights end to end; tests/cutout/schedules/ and tests/cutout/ingest/ have each rule")
def test_three_nights_buy_only_what_changed(
    system: System, bucket: Bucket, sandbox: Sandbox, drop: Callable[..., None]
) -> None:
    """A new catalog; nothing changed; five changed, two new, one gone. Each night has its report."""
    with Session(system.engine) as session, session.begin():
        source = f"s3://{bucket.name}/drop/"
        schedule_id = add(session, NewSchedule("nightly", source, each_day_but_now())).id
    nights = 0

    def night() -> dict[str, Any]:
        nonlocal nights
        nights += 1
        with Session(system.engine) as session, session.begin():
            assert run_now(session, schedule_id)
        system.until(ENDED.format(nights), within_s=90, without_rests=True)
        key = system.scalar("SELECT report_key FROM runs ORDER BY fire_at DESC LIMIT 1")
        report: dict[str, Any] = json.loads(bucket.read(key, max_bytes=100_000))
        assert bucket.read(key.replace(".json", ".html"), max_bytes=100_000).startswith(b"<!doctype html>")
        return report

    for number in range(PICTURES):
        drop(number)
    first = night()
    assert (first["state"], first["charged"], sandbox.charges()) == ("succeeded", 8, 8)
    assert changes(first) == {"new": 8, "changed": 0, "again": 0, "unchanged": 0, "vanished": 0}
    assert len(first["slowest"]) == 5

    second = night()
    assert (second["state"], second["charged"], sandbox.charges()) == ("succeeded", 0, 8)
    assert changes(second) == {"new": 0, "changed": 0, "again": 0, "unchanged": 8, "vanished": 0}
    assert second["counts"]["jobs"] == 0

    for number in range(5):
        drop(number, version=1)
    drop(PICTURES)
    drop(PICTURES + 1)
    bucket.delete(f"drop/{PICTURES - 1}.png")
    third = night()
    assert (third["state"], third["charged"], sandbox.charges()) == ("succeeded", 7, 15)
    assert changes(third) == {"new": 2, "changed": 5, "again": 0, "unchanged": 2, "vanished": 1}
    results = bucket.read(third["results_key"], max_bytes=100_000).decode().splitlines()
    assert len(results) == 1 + 7


def changes(report: dict[str, Any]) -> dict[str, int]:
    return {name: report["counts"][name] for name in ("new", "changed", "again", "unchanged", "vanished")}
