"""Screens as people see them: every one without a barrier, light and dark, wide and narrow."""

from collections.abc import Callable
from typing import Any

import pytest

from cutout.enums import OperatorScope
from tests.console.conftest import Site, Tab, barriers


@pytest.fixture
def filled(site: Site) -> Site:
    """An installation with an open batch, and jobs in all states."""
    batch_id = site.make_batch("spring <b>", [f"SKU-{number:04}" for number in range(60)])
    site.execute(
        "UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'SOURCE_MISSING',"
        " message = 'the server answered 404' WHERE external_id < 'SKU-0003' AND batch_id = :batch",
        batch=batch_id,
    )
    site.execute(
        "UPDATE jobs SET state = 'held', queue_state = NULL, code = 'NO_ANSWER', message = 'unknown'"
        " WHERE external_id = 'SKU-0004'"
    )
    return site


SHAPES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"color_scheme": "light", "viewport": {"width": 320, "height": 640}},
}


def test_an_operator_sees_the_work_of_all(filled: Site, tab: Tab) -> None:
    """Batches of all producers with their names, the state of the installation, and what is wrong in it."""
    other, _ = filled.make_key("other shop")
    batch_id = filled.make_batch("autumn", ["A-1"], producer_id=other)
    page = tab.page
    page.goto(filled.make_operator(OperatorScope.VIEW))
    page.wait_for_url(f"{filled.url}/console")
    for screen in ("", "/batches", f"/batches/{batch_id}"):
        page.goto(f"{filled.url}/console{screen}")
        assert "other shop" in page.inner_text("main")
        assert barriers(page) == [], screen
        assert page.locator("#offline").is_hidden()
    page.get_by_role("link", name="A-1").click()
    page.get_by_role("heading", name="A-1").wait_for()
    page.goto(f"{filled.url}/console")
    assert "dispatcher: none leads, so nothing is dispatched" in page.inner_text(".wrong")
    assert "1 job is held for a person: NO_ANSWER 1" in page.inner_text(".wrong")


@pytest.mark.parametrize("shape", SHAPES)
def test_no_screen_has_a_barrier(filled: Site, open_tab: Callable[..., Tab], shape: str) -> None:
    """Axe finds nothing on any screen, and none is wider than its window."""
    tab = open_tab(**SHAPES[shape])
    batch_id = filled.scalar("SELECT id FROM batches")
    job_id = filled.scalar("SELECT id FROM jobs WHERE external_id = 'SKU-0001'")
    tab.page.goto(f"{filled.url}/console/sign-in")
    assert barriers(tab.page) == []
    page = tab.sign_in(filled.key)
    addresses = ["", "/batches", f"/batches/{batch_id}", f"/batches/{batch_id}?state=failed"]
    for address in [*addresses, f"/jobs/{job_id}", "/nothing"]:
        page.goto(f"{filled.url}/console{address}")
        assert barriers(page) == [], address
        assert page.locator("#offline").is_hidden(), address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
