"""Skip, send again and accept in a browser: at once or in a dialog, with Undo, without a barrier anywhere."""

import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.console.conftest import Site, Tab, barriers
from tests.console.test_accepting import CAME, PICTURE
from tests.console.test_buttons import actions
from tests.console.test_buttons_in_browser import enter
from tests.console.test_messages_again import WEBHOOKS, message
from tests.console.test_screens import SHAPES
from tests.console.test_skipped_runs import SCHEDULE


@pytest.fixture
def job_id(site: Site) -> uuid.UUID:
    """A held job with an unexpected picture and messages, beside a schedule of its producer."""
    site.make_batch("spring", ["SKU-4472"])
    site.execute(CAME, found=PICTURE)
    site.execute("DELETE FROM deliveries")
    found: uuid.UUID = site.scalar("SELECT id FROM jobs")
    message(site, "job.held", {"id": str(found)})
    message(site, "job.rendered", {"id": str(found)}, "delivered")
    site.execute(SCHEDULE.partition(" RETURNING")[0], owner=site.producer_id)
    return found


def test_a_skip_is_undone_by_its_toast(site: Site, tab: Tab, job_id: uuid.UUID) -> None:
    """On the list of schedules: the row says so, its button becomes the opposite, and back."""
    del job_id
    page = enter(site, tab)
    page.goto(f"{site.url}/console/schedules")
    page.get_by_role("button", name="Skip nightly").click()
    expect(page.locator(".toast")).to_contain_text("The next run is skipped")
    expect(page.locator("#t-schedules")).to_contain_text("skipped")
    expect(page.get_by_role("button", name="Let it start nightly")).to_be_visible()
    page.keyboard.press("u")
    expect(page.locator(".toast")).to_contain_text("Undone.")
    expect(page.get_by_role("button", name="Skip nightly")).to_be_visible()
    assert [(row.kind, row.undone_by) for row in actions(site)] == [("skip_run", "ana")]


def test_a_message_is_sent_again_and_a_result_accepted(site: Site, tab: Tab, job_id: uuid.UUID) -> None:
    """Both on the job's page, which changes without being loaded anew."""
    page = enter(site, tab)
    page.goto(f"{site.url}/console/jobs/{job_id}")
    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".toast")).to_contain_text("It is sent again.")
    expect(page.locator(".life")).to_contain_text("webhook job.held to hooks.example is to be sent")
    page.get_by_role("link", name="Accept what came: no credit").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("60 by 40 pixels")
    dialog.get_by_role("button", name="Accept it: no credit").click()
    expect(page.locator(".toast").last).to_contain_text("Accepted: what came becomes its cutout")
    expect(page.get_by_role("link", name="Accept what came")).to_have_count(0)
    assert [row.kind for row in actions(site)] == ["replay_delivery", "accept_job"]


def test_they_work_without_a_script(site: Site, open_tab: Callable[..., Tab], job_id: uuid.UUID) -> None:
    """As forms and pages of their own."""
    tab = open_tab(java_script_enabled=False)
    page = tab.page
    page.goto(site.make_operator())
    page.click("button.main")
    page.goto(f"{site.url}/console/schedules")
    page.get_by_role("button", name="Skip nightly").click()
    expect(page.locator(".notice")).to_contain_text("The next run is skipped")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".notice")).to_contain_text("Undone.")
    page.goto(f"{site.url}{WEBHOOKS}")
    page.get_by_role("link", name="Send all again").click()
    page.get_by_role("button", name="Send 1 message again").click()
    expect(page.locator(".notice")).to_contain_text("It is sent again.")
    page.goto(f"{site.url}/console/jobs/{job_id}")
    page.get_by_role("link", name="Accept what came: no credit").click()
    page.get_by_role("button", name="Accept it: no credit").click()
    expect(page.locator(".notice")).to_contain_text("Accepted")
    assert [row.kind for row in actions(site)] == ["skip_run", "replay_delivery", "accept_job"]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_such_screen_has_a_barrier(
    site: Site, open_tab: Callable[..., Tab], job_id: uuid.UUID, shape: str
) -> None:
    """Axe finds nothing, with buttons, questions and notices; none is wider than its window."""
    schedule = site.scalar("SELECT id FROM schedules")
    page = enter(site, open_tab(**SHAPES[shape]))
    job = f"/console/jobs/{job_id}"
    for address in (job, f"{job}/accept", WEBHOOKS, f"{WEBHOOKS}/replay", "/console/trouble"):
        page.goto(f"{site.url}{address}")
        assert barriers(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    site.execute("UPDATE schedules SET skips_at = next_fire_at")
    for address in (f"/console/schedules/{schedule}", "/console/schedules", "/console"):
        page.goto(f"{site.url}{address}")
        assert "skipped" in page.inner_text("main")
        assert barriers(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
