"""Live pages: what changed shows by itself, also after the tab was hidden or Postgres was away."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cutout.producers.api_keys import make_key
from tests.console.conftest import Site, Tab
from tests.support import event_loop
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS
from tests.support.system import System, wait_until

OURS = {"Sec-Fetch-Site": "same-origin"}
END_ALL = (
    "UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'SOURCE_MISSING',"
    " message = 'gone' WHERE state = 'queued'"
)
# As a browser does when another tab is chosen.
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_page_shows_what_changed(site: Site, tab: Tab) -> None:
    """Numbers change within seconds without loading the page anew, and the focus stays where it was."""
    batch_id = site.make_batch("spring", ["SKU-1", "SKU-2"])
    page = tab.sign_in(site.key)
    page.goto(f"{site.url}/console/batches/{batch_id}")
    page.evaluate("window.same = true")
    page.get_by_role("link", name="SKU-2").focus()
    site.execute(END_ALL)
    page.get_by_text("2 of 2 have ended").wait_for()
    assert page.evaluate("window.same && document.activeElement.textContent") == "SKU-2"


def test_a_hidden_tab_asks_nothing_and_catches_up(site: Site, tab: Tab) -> None:
    """While it is hidden it has no stream; what ended meanwhile shows once it is seen again."""
    batch_id = site.make_batch("spring", ["SKU-1"])
    page = tab.sign_in(site.key)
    page.goto(f"{site.url}/console/batches/{batch_id}")
    page.locator(".as-of .live").wait_for(state="visible")
    hub = site.app.state.console.hub
    page.evaluate(HIDE, True)
    wait_until(lambda: len(hub) == 0, "the stream is closed")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    site.execute(END_ALL)
    page.wait_for_timeout(2500)
    assert asked == []
    assert "1 of 1 have ended" not in page.inner_text("main")
    page.evaluate(HIDE, False)
    page.get_by_text("1 of 1 have ended").wait_for()
    wait_until(lambda: len(hub) == 1, "the stream is open again")


def test_an_open_page_is_sent_what_changed(site: Site, tab: Tab) -> None:
    """It asks for nothing by itself, and its time goes on while nothing changes."""
    site.make_batch("spring", ["SKU-1"])
    page = tab.sign_in(site.key)
    page.locator(".as-of .live").wait_for(state="visible")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    read_at = page.locator("[data-read-at] time")
    first = read_at.get_attribute("datetime") or ""
    page.wait_for_function(
        "(first) => document.querySelector('[data-read-at] time').dateTime > first", arg=first
    )
    assert asked == []
    assert page.locator("#offline").is_hidden()


def test_what_is_as_before_is_not_sent_again(site: Site, tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that did not change since a page without a stream asked is answered with 304."""
    monkeypatch.setattr("console.live.MOST_STREAMS", 0)
    monkeypatch.setattr("console.live.POLL_S", 1)
    site.make_batch("spring", ["SKU-1"])
    page = tab.sign_in(site.key)
    with page.expect_event("response", lambda answer: answer.status == 304):
        pass
    assert page.locator("#offline").is_hidden()


def test_without_room_for_a_stream_a_page_looks_by_itself(
    site: Site, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told when to come again, and shows the change then."""
    monkeypatch.setattr("console.live.MOST_STREAMS", 0)
    monkeypatch.setattr("console.live.POLL_S", 1)
    batch_id = site.make_batch("spring", ["SKU-1"])
    page = tab.sign_in(site.key)
    page.goto(f"{site.url}/console/batches/{batch_id}")
    site.execute(END_ALL)
    page.get_by_text("1 of 1 have ended").wait_for()
    assert page.locator(".as-of .live").is_hidden()


def more_key(site: Site, name: str) -> str:
    """The text of one more key of the producer."""
    with Session(site.engine) as session, session.begin():
        return make_key(session, site.producer_id, name)[1]


def test_one_producer_takes_a_quarter_of_the_streams(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are left to other producers, however many keys it has and if it asks for all at once."""
    monkeypatch.setattr("console.live.MOST_OF_ONE", 3)
    hub = site.app.state.console.hub
    statuses: list[int] = []
    all_answered = asyncio.Event()

    async def main() -> None:
        async with httpx.AsyncClient(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
            cookies = []
            for key in (site.key, *(more_key(site, name) for name in ("second", "third"))):
                client.cookies.clear()
                await client.post("/console/sign-in", data={"key": key}, headers=OURS)
                cookies.append(dict(client.cookies))

            async def watch(number: int) -> None:
                client.cookies = cookies[number % len(cookies)]
                page = {"page": "/console"}
                async with client.stream("GET", "/console/events", params=page) as stream:
                    statuses.append(stream.status_code)
                    if len(statuses) == 10:
                        all_answered.set()
                    await all_answered.wait()

            await asyncio.gather(*(watch(number) for number in range(10)))

    event_loop.run(main())
    assert sorted(statuses) == [200] * 3 + [429] * 7
    wait_until(lambda: len(hub) == 0, "all are left")
    assert not hub._of


@pytest.mark.long("kills every connection of a database; tests/console/test_pages.py has the page itself")
def test_a_page_survives_an_absence_of_postgres(site: Site, tab: Tab, admin: Engine) -> None:
    """It says that the server does not answer, keeps what it showed, and recovers by itself."""
    site.make_batch("spring", ["SKU-1"])
    page = tab.sign_in(site.key)
    name = site.scalar("SELECT current_database()")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
        connection.execute(end, {"name": name})
        page.locator("#offline").wait_for(state="visible")
        assert "spring" in page.inner_text("main")
        other = tab.context.new_page()
        other.goto(f"{site.url}/console/batches")
        assert "Postgres does not answer" in other.inner_text("main")
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    page.locator("#offline").wait_for(state="hidden", timeout=scaled(40_000))
    other.get_by_role("heading", name="Batches").wait_for(timeout=scaled(40_000))


@pytest.mark.long("starts every process; the tests above change the database as they do")
def test_a_batch_is_watched_to_its_end(
    shared_system: System, browser_tab: Callable[[str], Tab], photo: bytes
) -> None:
    """With all processes: uploaded over HTTP, watched until it has ended, and its picture opened."""
    key = shared_system.client.headers["Authorization"].removeprefix("Bearer ")
    batch = shared_system.client.post("/v1/batches", json={"name": "live"}).raise_for_status().json()
    tab = browser_tab(str(shared_system.client.base_url))
    page = tab.sign_in(key)
    page.goto(f"{tab.url}/console/batches/{batch['id']}")
    fields = {"external_id": "SKU-1", "batch_id": batch["id"]}
    sent = shared_system.client.post("/v1/jobs", data=fields, files={"image": ("a.jpg", photo)})
    sent.raise_for_status()
    page.get_by_text("1 of 1 have ended").wait_for(timeout=scaled(60_000))
    page.get_by_role("link", name="SKU-1").click()
    page.get_by_text("charged").wait_for()
    answer = tab.context.request.get(f"{tab.url}/console/jobs/{sent.json()['id']}/files/rgba")
    assert answer.body().startswith(b"\x89PNG")
