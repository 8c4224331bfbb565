"""Buttons in a browser: Undo in time, a dialog with the price by keys alone, and no barrier anywhere."""

import re
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import Site, Tab, barriers
from tests.console.test_accepting import CAME, PICTURE
from tests.console.test_buttons import FAILED, HELD, PAID, actions, let
from tests.console.test_screens import SHAPES


@pytest.fixture
def spring(site: Site) -> uuid.UUID:
    """A batch with failed jobs of two reasons, a held one, and some that wait."""
    batch_id = site.make_batch("spring", [f"SKU-{number:02}" for number in range(20)])
    let(site, FAILED, "external_id < 'SKU-09'")
    let(site, PAID, "external_id < 'SKU-02'")
    let(site, HELD, "external_id = 'SKU-10'")
    site.execute("UPDATE batches SET budget = 100, spent = 40")
    return batch_id


BUTTON = "document.activeElement.matches('a, button') ? document.activeElement.textContent : ''"


def enter(site: Site, tab: Tab) -> Page:
    """The page of an operator who signed in."""
    tab.page.goto(site.make_operator())
    tab.page.wait_for_url(re.compile(r"/console$"))
    return tab.page


def tab_to(page: Page, name: str) -> None:
    """Press the tabulator until what has this name is focused."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if name in page.evaluate(BUTTON):
            return
    pytest.fail(f"no “{name}” is reached by the tabulator")


def test_a_pause_is_undone_by_its_toast(site: Site, tab: Tab, spring: uuid.UUID) -> None:
    """The page stays, its button becomes the other one, and the toast goes after 10 s."""
    page = enter(site, tab)
    page.goto(f"{site.url}/console/batches/{spring}")
    page.get_by_role("button", name="Pause").click()
    toast = page.locator(".toast")
    expect(toast).to_contain_text("Paused")
    expect(page.locator("#pause-button button")).to_have_text("Resume")
    toast.get_by_role("button", name="Undo").click()
    expect(page.locator("#pause-button button")).to_have_text("Pause")
    expect(page.locator(".toast")).to_contain_text("Undone.")
    assert [row.undone_by for row in actions(site)] == ["ana"]
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Undo")).to_have_count(1)
    expect(page.get_by_role("button", name="Undo")).to_have_count(0, timeout=60_000)
    assert page.url.endswith(f"/console/batches/{spring}")


def test_without_a_script_the_page_has_the_undo(
    site: Site, open_tab: Callable[..., Tab], spring: uuid.UUID
) -> None:
    """A plain form pauses, the page after it offers Undo, and questions are pages of their own."""
    tab = open_tab(java_script_enabled=False)
    page = tab.page
    page.goto(site.make_operator())
    page.click("button.main")
    page.goto(f"{site.url}/console/batches/{spring}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".notice")).to_contain_text("Paused")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".notice")).to_contain_text("Undone.")
    page.goto(f"{site.url}/console/batches/{spring}")
    page.get_by_role("button", name="Retry 9:").click()
    page.get_by_role("button", name="Retry 9 jobs: up to 7 credits, $0.021").click()
    expect(page.locator(".notice")).to_contain_text("9 jobs go back in the queue")
    assert [row.kind for row in actions(site)] == ["pause", "retry"]


def test_a_retry_is_accepted_by_keys_alone(site: Site, tab: Tab, spring: uuid.UUID) -> None:
    """The dialog opens on its title, not on what spends; Escape does nothing; focus comes back."""
    page = enter(site, tab)
    page.goto(f"{site.url}/console/batches/{spring}")
    page.locator(".as-of .live").wait_for(state="visible")
    tab_to(page, "Retry 9:")
    page.keyboard.press("Enter")
    dialog = page.locator("#asking")
    expect(dialog.get_by_role("heading", name="Retry 9 jobs?")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert "Retry 9:" in page.evaluate(BUTTON)
    assert actions(site) == []
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    tab_to(page, "Retry 9 jobs: up to 7 credits, $0.021 (2 continue with a paid result, at no cost)")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("9 jobs go back in the queue, at most 7 credits")
    expect(dialog).to_be_hidden()
    assert [row.kind for row in actions(site)] == ["retry"]


def test_a_dialog_says_what_changed_meanwhile(site: Site, tab: Tab, spring: uuid.UUID) -> None:
    """The new price stands in the same dialog, and what somebody else did is told in one, too."""
    page = enter(site, tab)
    page.goto(f"{site.url}/console/batches/{spring}")
    page.get_by_role("button", name="Retry 9:").click()
    dialog = page.locator("#asking")
    expect(dialog).to_be_visible()
    let(site, FAILED, "external_id = 'SKU-15'")
    dialog.get_by_role("button", name="Retry 9 jobs").click()
    expect(dialog.get_by_role("alert")).to_contain_text("It changed since: now 10 jobs")
    dialog.get_by_role("button", name="Retry 10 jobs").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Cancel", exact=True).click()
    expect(dialog.get_by_label("type the number of its jobs")).to_be_focused()
    page.keyboard.type("19")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("has 20 jobs, not 19 as typed")
    dialog.get_by_role("link", name="Do nothing").click()
    expect(dialog).to_be_hidden()
    assert [row.kind for row in actions(site)] == ["retry"]
    site.execute("UPDATE batches SET paused_by_operator_at = now()")
    page.get_by_role("button", name="Pause").click()
    expect(dialog).to_contain_text("It was paused already, and nothing was done.")
    page.keyboard.press("Escape")
    expect(page.locator("#pause-button button")).to_have_text("Resume")


@pytest.mark.parametrize("shape", SHAPES)
def test_no_question_has_a_barrier(
    site: Site, open_tab: Callable[..., Tab], spring: uuid.UUID, shape: str
) -> None:
    """As a page and in the dialog, with a fault, a notice and a toast."""
    tab = open_tab(**SHAPES[shape])
    page = enter(site, tab)
    job_id = site.scalar("SELECT id FROM jobs WHERE external_id = 'SKU-01'")
    job = f"/console/jobs/{job_id}"
    batch = f"/console/batches/{spring}"
    held = "/console/trouble/held"
    addresses = [
        f"{held}/release?code=NO_ANSWER",
        f"{held}/cancel?code=NO_ANSWER",
        f"{batch}/cancel",
        f"{batch}/budget",
        f"{batch}/budget?to=200",
        f"{batch}/delete",
    ]
    site.make_batch("autumn", ["unexpected"])
    site.execute(f"{CAME} WHERE external_id = 'unexpected'", found=PICTURE)
    screens = ["/console/trouble", held, "/console/limit", "/console/system", "/console"]
    for address in [*addresses, f"{job}/retry", f"{job}/cancel", job, *screens, batch]:
        page.goto(f"{site.url}{address}")
        assert barriers(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    page.get_by_role("button", name="Pause").click()
    page.locator(".toast").wait_for()
    assert barriers(page) == []
    for open_ in (
        page.get_by_role("button", name="Retry 9:"),
        page.get_by_role("link", name="Cancel", exact=True),
    ):
        open_.click()
        page.locator("#asking").wait_for()
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.keyboard.press("Escape")
