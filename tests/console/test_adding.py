"""Adding work in a browser: what is dropped becomes a batch that is bought after its price was approved."""

import base64
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from cutout.storage import Bucket
from tests.console.conftest import Tab
from tests.support.machine import scaled
from tests.support.pictures import encoded, numbered, plain
from tests.support.sandbox import Sandbox
from tests.support.system import System, wait_until
from tests.support.web import serve

JPEG = encoded(plain(), "JPEG")
DROP = """([files]) => {
    const dropped = new DataTransfer();
    for (const [name, text] of files) {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        dropped.items.add(new File([bytes], name));
    }
    for (const kind of ["dragover", "drop"])
        document.querySelector(".drop").dispatchEvent(
            new DragEvent(kind, { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""


def pictures(count: int) -> dict[str, bytes]:
    """Different pictures by file name."""
    return {f"SKU-{number}.jpg": numbered(JPEG, number) for number in range(count)}


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip of the files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def drop(page: Page, files: dict[str, bytes]) -> None:
    """Drop the files on the page, as a hand does."""
    page.evaluate(DROP, [[[name, base64.b64encode(data).decode()] for name, data in files.items()]])


def payloads(files: dict[str, bytes]) -> list[FilePayload]:
    """The files as a file field takes them."""
    return [
        {"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files.items()
    ]


@pytest.fixture
def shop() -> Iterator[str]:
    """A web server of pictures, one for each number in the query."""
    with serve({"/p.jpg": lambda query: numbered(JPEG, int(query))}) as host:
        yield f"http://{host}/p.jpg"


@pytest.fixture
def running(environment: dict[str, str], bucket: Bucket, tmp_path: Path, shop: str) -> Iterator[System]:
    """Everything that buys: API, dispatcher, worker, ingester."""
    host = shop.removeprefix("http://").partition("/")[0]
    with System({**environment, "CUTOUT_SOURCE_PRIVATE_HOSTS": host}, tmp_path) as system:
        system.start("ingester", "ingester")
        yield system


@pytest.fixture
def open_page(browser: Browser, running: System) -> Iterator[Callable[..., Page]]:
    """Opens tabs that are signed in, with Playwright's options of contexts."""
    tabs: list[Tab] = []

    def open_(**options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(scaled(20_000))
        tabs.append(Tab(context, str(running.client.base_url).rstrip("/")))
        return tabs[-1].sign_in(running.client.headers["Authorization"].removeprefix("Bearer "))

    yield open_
    faults = [fault for tab in tabs for fault in tab.errors]
    for tab in tabs:
        tab.context.close()
    assert faults == []


def approve_and_watch(page: Page, running: System, count: int) -> None:
    """Approve what the page shows, and wait until its jobs have succeeded."""
    expect(page.get_by_role("heading", name="Plan: it waits for approval")).to_be_visible()
    button = page.get_by_role("button", name=re.compile("Approve"))
    while button.count() == 0:
        # Without a script it shows what it was when it was loaded.
        page.wait_for_timeout(200)
        page.reload()
    expect(button).to_contain_text(f"Approve {count} jobs: up to {count} credits, $")
    button.click()
    expect(button).to_have_count(0)
    found = re.search(r"batches/([0-9a-f-]{36})", page.url)
    assert found
    wait_until(
        lambda: running.client.get(f"/v1/batches/{found[1]}").json()["counts"]["succeeded"] == count, "bought"
    )


@pytest.mark.long("runs everything; the parts have tests of their own here and of the API's manifests")
class TestTheWholeWay:
    """Files become cutouts, with all processes and the sandbox."""

    def test_what_is_dropped_is_bought_after_approval(
        self, running: System, open_page: Callable[..., Page], sandbox: Sandbox, shop: str
    ) -> None:
        """A manifest, a zip, pictures: the plan says the price, nothing is bought before, then all is."""
        page = open_page()
        rows = "".join(f"SKU-{number},{shop}?{number}\n" for number in range(3))
        sent = {
            "spring.csv": {"spring.csv": f"external_id,source\n{rows}bad,nowhere\n".encode()},
            "shoes.zip": {"shoes.zip": zipped(pictures(3) | {"notes.txt": b"no picture"})},
            "pictures, ": pictures(3),
        }
        for number, (name, files) in enumerate(sent.items(), start=1):
            page.get_by_role("navigation").get_by_role("link", name="Add work").click()
            expect(page.get_by_role("heading", name="Add work")).to_be_visible()
            drop(page, files)
            expect(page.locator("#chosen")).to_contain_text(next(iter(files)))
            page.get_by_role("button", name="Show the price").click()
            expect(page.locator("h1")).to_contain_text(name)
            assert sandbox.charges() == 3 * (number - 1)
            approve_and_watch(page, running, 3)
            assert sandbox.charges() == 3 * number
        ids = running.scalar("SELECT string_agg(DISTINCT external_id, ' ' ORDER BY external_id) FROM jobs")
        assert ids == "SKU-0 SKU-1 SKU-2"

    def test_it_works_without_a_script(
        self, running: System, open_page: Callable[..., Page], sandbox: Sandbox
    ) -> None:
        """A plain form sends pictures; its batch is approved and bought."""
        page = open_page(java_script_enabled=False)
        page.get_by_role("navigation").get_by_role("link", name="Add work").click()
        page.set_input_files("#files", payloads(pictures(2)))
        page.get_by_role("button", name="Show the price").click()
        approve_and_watch(page, running, 2)
        assert sandbox.charges() == 2
