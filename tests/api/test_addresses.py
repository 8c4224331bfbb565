"""Addresses that can never work are refused by the POST that names them."""

import httpx
import pytest
from sqlalchemy import Engine

from tests.api.test_hardening import stored
from tests.api.test_jobs import problem_of

NEVER = [
    "https://example.com:99999/",
    "https://example.com:0/",
    "https://a..b/",
    f"https://{'a' * 300}/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://localhost/",
    "http://shop.example/",
]


@pytest.mark.parametrize("url", NEVER)
def test_what_can_never_work_is_a_422(shop: httpx.Client, engine: Engine, url: str) -> None:
    """A source, a list's source, a manifest and a schedule's manifest; nothing is stored."""
    job = {"external_id": "a", "source_url": url}
    asked = [
        ("/v1/jobs", {"source_url": url}, "source_url"),
        ("/v1/batches", {"name": "n", "jobs": [job]}, "source_url"),
        ("/v1/batches", {"name": "n", "jobs": [job], "plan": True}, "source_url"),
        ("/v1/batches", {"name": "n", "manifest_url": url}, "manifest_url"),
        ("/v1/schedules", {"name": "n", "manifest_url": url, "cron": "15 1 * * *"}, "manifest_url"),
    ]
    for path, body, field in asked:
        assert problem_of(shop.post(path, json=body), 422)["field"].endswith(field)
    assert stored(engine) == 0
