"""Adding work in a browser: bytes are counted, files dropped anywhere are chosen, nothing is a barrier."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from cutout.settings import Settings
from cutout.storage import Bucket
from tests.console.conftest import Site, Tab, barriers
from tests.console.forms import (
    CSV,
    nothing_is_left,
    read,
)
from tests.console.test_adding import drop, payloads, pictures
from tests.support.system import wait_until


def test_bytes_are_counted_as_they_go(site: Site, tab: Tab, bucket: Bucket) -> None:
    """On a slow line the page says how much is sent, and Stop leaves nothing; the form can be sent again."""
    page = tab.sign_in(site.key)
    page.goto(f"{site.url}/console/add")
    line = tab.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 100_000}
    line.send("Network.emulateNetworkConditions", slow)
    page.set_input_files(
        "#files", payloads({"catalog.csv": CSV + b"x,https://shop.example/x.jpg\n" * 100_000})
    )
    page.get_by_role("button", name="Show the price").click()
    expect(page.locator("#sent")).to_have_text(re.compile(r"of 2\.\d MB"))
    expect(page.get_by_role("button", name="Show the price")).to_be_disabled()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#fault")).to_have_text("Stopped. Nothing was stored.")
    wait_until(lambda: len(site.app.state.services.uploads) == 0, "the place is free")
    assert nothing_is_left(site, bucket)
    line.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})
    page.get_by_role("button", name="Show the price").click()
    page.wait_for_url("**/console/batches/*")
    assert site.scalar("SELECT count(*) FROM batches") == 1


def test_a_file_beside_its_field_does_not_leave_the_page(site: Site, tab: Tab) -> None:
    """Dropped anywhere, files are chosen; too large ones are told before they are sent."""
    page = tab.sign_in(site.key)
    page.goto(f"{site.url}/console/add")
    drop(page, pictures(7))
    expect(page.locator("#chosen")).to_contain_text("7 files")
    page.evaluate("document.querySelector('[data-upload]').dataset.most = '100'")
    drop(page, pictures(2))
    expect(page.locator("#fault")).to_contain_text("at most 0.1 kB are taken")


SHAPES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"color_scheme": "dark", "viewport": {"width": 320, "height": 640}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_form_and_the_plan_have_no_barrier(
    site: Site, open_tab: Callable[..., Tab], settings: Settings, bucket: Bucket, shape: str
) -> None:
    """Axe finds nothing in the form, its fault, and the plan with rejects; none is wider than its window."""
    page = open_tab(**SHAPES[shape]).sign_in(site.key)

    def fits(what: str) -> None:
        assert barriers(page) == [], what
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), what

    page.goto(f"{site.url}/console/add")
    page.get_by_text("More options").click()
    fits("the form")
    page.fill("#weight", "heavy")
    page.set_input_files("#files", payloads({"catalog.csv": CSV}))
    page.get_by_role("button", name="Show the price").click()
    expect(page.locator("#fault")).to_contain_text("weight")
    expect(page.locator("#chosen")).to_contain_text("catalog.csv")
    fits("the fault")
    page.fill("#weight", "2")
    page.get_by_role("button", name="Show the price").click()
    page.wait_for_url("**/console/batches/*")
    fits("while it is read")
    read(site, settings, bucket)
    page.reload()
    expect(page.get_by_role("button", name="Approve 2 jobs: up to 2 credits, $0.01")).to_be_visible()
    page.get_by_text("Discard it").click()
    fits("the plan")
