"""Paper, 200% zoom and reduced motion: nothing is cut, and nothing moves that need not."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import Site, Tab
from tests.console.test_reading import FOR_ALL, FOR_OPERATORS, fill
from tests.console.test_today import LIST

# Elements that leave the window at the side, but for tables that scroll, and texts that are cut in their box.
CUT = """() => {
    const told = (each) => `${each.tagName} ${each.className} ${each.textContent.trim().slice(0, 40)}`;
    const all = [...document.querySelectorAll("body *")].filter((each) =>
        each.checkVisibility() && !each.closest(".unseen, .skip, .scroll > *, pre, svg, select"));
    const wide = all.filter((each) => each.getBoundingClientRect().right > innerWidth + 1);
    const cut = all.filter((each) => getComputedStyle(each).overflowX === "hidden"
        && each.scrollWidth > each.clientWidth + 1 && !each.matches("progress, meter"));
    return [...wide, ...cut].map(told);
}"""
# Beside that, on paper nothing scrolls.
CUT_ON_PAPER = """() => [...document.querySelectorAll("main table")]
    .filter((table) => table.checkVisibility() && table.getBoundingClientRect().right > innerWidth + 1)
    .map((table) => table.closest("[aria-label]")?.getAttribute("aria-label") ?? table.textContent.trim())"""
HIDDEN_ON_PAPER = (".bar nav", ".search", ".who", "#toasts", ".filters", ".buttons", "button", "details")
SHOWN = "all => all.filter((each) => each.checkVisibility()).map((each) => each.outerHTML.slice(0, 200))"
# A4 between margins of 1 cm at 96 dots an inch.
PAPER = {"width": 718, "height": 1000}


def enter(site: Site, tab: Tab) -> Page:
    """The page of an operator who signed in."""
    tab.page.goto(site.make_operator())
    tab.page.wait_for_url(re.compile(r"/console$"))
    return tab.page


@pytest.fixture
def troubled(site: Site) -> Site:
    """An installation with everything in it."""
    fill(site)
    return site


def screens(site: Site) -> list[str]:
    """All screens with something on them."""
    batch_id = site.scalar("SELECT id FROM batches LIMIT 1")
    job_id = site.scalar("SELECT id FROM jobs WHERE state = 'failed' LIMIT 1")
    own = ["", "/batches", f"/batches/{batch_id}", f"/jobs/{job_id}", "/add", LIST.removeprefix("/console")]
    return [*own, f"/batches/{batch_id}/cancel", *FOR_ALL, *FOR_OPERATORS]


ZOOMED: dict[str, dict[str, Any]] = {
    "the page": {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
    "the text": {"viewport": {"width": 1280, "height": 800}},
}


@pytest.mark.parametrize("zoomed", ZOOMED)
def test_at_200_percent_nothing_is_cut(troubled: Site, open_tab: Callable[..., Tab], zoomed: str) -> None:
    """A window of 1280 pixels, as the browser enlarges it, or with letters of twice the size."""
    page = enter(troubled, open_tab(**ZOOMED[zoomed]))
    for address in screens(troubled):
        page.goto(f"{troubled.url}/console{address}")
        if zoomed == "the text":
            page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
        assert page.evaluate(CUT) == [], address


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_prints(troubled: Site, open_tab: Callable[..., Tab], theme: str) -> None:
    """Dark letters on white whatever the theme; no buttons; tables are whole."""
    page = enter(troubled, open_tab(color_scheme=theme, viewport=PAPER))
    button = page.locator("#theme")
    button.click()
    button.click()
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.emulate_media(media="print", color_scheme=theme)  # type: ignore[arg-type]
    for address in screens(troubled):
        page.goto(f"{troubled.url}/console{address}")
        colors = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        assert colors == ["rgb(255, 255, 255)", "rgb(29, 33, 37)"], address
        for hidden in HIDDEN_ON_PAPER:
            assert page.locator(hidden).evaluate_all(SHOWN) == [], (address, hidden)
        assert page.evaluate(CUT_ON_PAPER) == [], address
        expect(page.locator("h1").first).to_be_attached()
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("wish", ["reduce", "no-preference"])
def test_nothing_moves_for_those_who_wish_so(troubled: Site, open_tab: Callable[..., Tab], wish: str) -> None:
    """A toast rises for the others alone, and nothing else is moved for anybody."""
    page = enter(troubled, open_tab(reduced_motion=wish))
    batch_id = troubled.scalar("SELECT id FROM batches LIMIT 1")
    page.goto(f"{troubled.url}/console/batches/{batch_id}")
    page.locator("#pause-button button").click()
    toast = page.locator(".toast")
    expect(toast).to_be_visible()
    assert toast.evaluate("each => getComputedStyle(each).animationName") == (
        "none" if wish == "reduce" else "rise"
    )
    for address in screens(troubled):
        page.goto(f"{troubled.url}/console{address}")
        assert page.evaluate("document.getAnimations().length") == 0, address
        assert (
            page.evaluate(
                "[...document.querySelectorAll('*')].filter((each) =>"
                " getComputedStyle(each).transitionDuration !== '0s'"
                " || getComputedStyle(each).scrollBehavior === 'smooth').length"
            )
            == 0
        ), address
