"""Keys of one letter: each does what the list of keys says, none while somebody types or has them off."""

import re
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from cutout.enums import OperatorScope
from tests.console.conftest import Site, Tab, barriers
from tests.console.test_buttons import actions
from tests.support.machine import scaled

# As the list of keys must have them; the places of an operator.
GO = {
    "n": ("Now", "/console"),
    "b": ("Batches", "/console/batches"),
    "t": ("Trouble", "/console/trouble"),
    "s": ("Schedules", "/console/schedules"),
    "m": ("Money", "/console/money"),
    "l": ("Limit", "/console/limit"),
    "y": ("System", "/console/system"),
}
OTHERS = {
    "/": "Find a SKU or an id",
    "j k": "Next or previous row",
    "u": "Undo what was just done",
    "Enter": "Open the row",
    "?": "This list",
}
PICKED = "[...document.querySelectorAll('table.list tbody tr')].findIndex((row) => row.matches('.picked'))"
LISTED = """() => [...document.querySelectorAll("#keys .keys > div")].map((each) => [
    [...each.querySelectorAll("kbd")].map((key) => key.textContent).join(" "),
    each.querySelector("dd").textContent,
])"""


@pytest.fixture
def spring(site: Site) -> uuid.UUID:
    """A batch of three jobs."""
    return site.make_batch("spring", ["SKU-1", "SKU-2", "SKU-3"])


def enter(site: Site, tab: Tab, *scopes: OperatorScope) -> Page:
    """The page of an operator who signed in."""
    tab.page.goto(site.make_operator(*scopes))
    tab.page.wait_for_url(re.compile(r"/console$"))
    return tab.page


def press(page: Page, *keys: str) -> None:
    """Press keys one after the other."""
    for key in keys:
        page.keyboard.press(key)


def test_the_list_has_every_key(site: Site, tab: Tab) -> None:
    """It opens by ?, closes by Escape, and these tests have all that is in it."""
    page = enter(site, tab)
    press(page, "?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    assert barriers(page) == []
    listed = dict(page.evaluate(LISTED))
    assert listed == {f"g {key}": name for key, (name, _) in GO.items()} | OTHERS
    press(page, "Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_g_and_a_letter_go_to_a_screen(site: Site, tab: Tab) -> None:
    """To each that this viewer has, and the letter alone goes nowhere."""
    page = enter(site, tab)
    for key, (_, address) in reversed(GO.items()):
        press(page, "g", key)
        page.wait_for_url(f"{site.url}{address}")
    press(page, "b")
    page.wait_for_timeout(scaled(300))
    assert page.url == f"{site.url}/console"


def test_a_producer_goes_nowhere_that_it_has_not(site: Site, tab: Tab) -> None:
    """The list leaves those screens out, and their keys do nothing."""
    page = tab.sign_in(site.key)
    listed = dict(page.evaluate(LISTED))
    assert "g l" not in listed
    assert "g y" not in listed
    before = page.url
    press(page, "g", "l", "g", "y")
    page.wait_for_timeout(scaled(300))
    assert page.url == before
    press(page, "g", "m")
    page.wait_for_url(f"{site.url}/console/money")


def test_j_and_k_pick_a_row_and_enter_opens_it(site: Site, tab: Tab, spring: uuid.UUID) -> None:
    """Rows are picked from the first to the last and no further."""
    page = enter(site, tab)
    page.goto(f"{site.url}/console/batches/{spring}")
    picked = []
    for key in "jjjjkk":
        press(page, key)
        picked.append(page.evaluate(PICKED))
    assert picked == [0, 1, 2, 2, 1, 0]
    press(page, "j", "Enter")
    page.wait_for_url(re.compile(r"/console/jobs/"))
    assert page.inner_text("h1") == "SKU-2"


def test_a_slash_finds(site: Site, tab: Tab, spring: uuid.UUID) -> None:
    """It leads to the field, and there a letter is a letter."""
    page = enter(site, tab)
    press(page, "/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("g?jku/n")
    expect(page.get_by_role("searchbox")).to_have_value("g?jku/n")
    expect(page.locator("#keys")).to_be_hidden()
    page.get_by_role("searchbox").fill("SKU-3")
    press(page, "Enter")
    page.wait_for_url(re.compile(r"/console/(search|jobs)"))
    assert "SKU-3" in page.inner_text("main")
    assert page.url.startswith(site.url)


def pause(page: Page) -> None:
    """Press the button of a batch's page by keys."""
    page.locator(".as-of .live").wait_for(state="visible")
    page.locator("#pause-button button").focus()
    press(page, "Enter")
    expect(page.locator(".toast")).to_contain_text("Paused")
    expect(page.locator("#pause-button button")).to_have_text("Resume")


def test_u_undoes_what_was_just_done(site: Site, tab: Tab, spring: uuid.UUID) -> None:
    """By the letter, and by the toast's own button without a mouse."""
    page = enter(site, tab)
    page.goto(f"{site.url}/console/batches/{spring}")
    pause(page)
    press(page, "u")
    expect(page.locator(".toast")).to_contain_text("Undone.")
    expect(page.locator("#pause-button button")).to_have_text("Pause")
    assert [bool(row.undone_by) for row in actions(site)] == [True]
    page.reload()
    pause(page)
    for _ in range(80):
        if page.evaluate("document.activeElement.closest('.toast') !== null"):
            break
        press(page, "Tab")
    press(page, "Enter")
    expect(page.locator(".toast")).to_contain_text("Undone.")
    expect(page.locator("#pause-button button")).to_have_text("Pause")
    assert [bool(row.undone_by) for row in actions(site)] == [True, True]


@pytest.mark.long("a toast stays for 10 s; u and the toast's button have tests beside it")
def test_after_its_time_u_does_nothing(site: Site, tab: Tab, spring: uuid.UUID) -> None:
    """The toast is gone after 10 s; what was done stays."""
    page = enter(site, tab)
    page.goto(f"{site.url}/console/batches/{spring}")
    pause(page)
    expect(page.locator(".toast")).to_have_count(0, timeout=scaled(15_000))
    press(page, "u")
    page.wait_for_timeout(scaled(500))
    expect(page.locator("#pause-button button")).to_have_text("Resume")
    assert [bool(row.undone_by) for row in actions(site)] == [False]


def test_keys_can_be_turned_off(site: Site, open_tab: Callable[..., Tab], spring: uuid.UUID) -> None:
    """All but the one for the list, in which they are turned on again; the browser keeps it."""
    tab = open_tab()
    page = enter(site, tab)
    press(page, "?")
    page.get_by_role("checkbox", name="Keys of one letter are on").uncheck()
    press(page, "Escape")
    for address in ("/console", f"/console/batches/{spring}"):
        page.goto(f"{site.url}{address}")
        press(page, "g", "m", "j", "/", "u")
        page.wait_for_timeout(scaled(300))
        assert page.url == f"{site.url}{address}"
        assert page.evaluate(PICKED) == -1
        expect(page.get_by_role("searchbox")).not_to_be_focused()
    press(page, "?")
    page.get_by_role("checkbox", name="Keys of one letter are on").check()
    press(page, "Escape")
    expect(page.locator("#keys")).to_be_hidden()
    # What had the focus in it loses it with the next frame.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    press(page, "j")
    assert page.evaluate(PICKED) == 0


def test_keys_with_a_modifier_are_the_browsers(site: Site, tab: Tab, spring: uuid.UUID) -> None:
    """Ctrl, Alt and Meta with a letter do nothing of ours, and neither does a key beside an open dialog."""
    page = enter(site, tab)
    page.goto(f"{site.url}/console/batches/{spring}")
    for modifier in ("Control", "Alt", "Meta"):
        press(page, f"{modifier}+j", f"{modifier}+k")
    assert page.evaluate(PICKED) == -1
    page.get_by_role("link", name="Cancel", exact=True).click()
    expect(page.locator("#asking")).to_be_visible()
    page.locator("#asking h1").evaluate("each => each.focus()")
    press(page, "j", "g", "m")
    assert page.evaluate(PICKED) == -1
    assert page.url.endswith(str(spring))
