"""Chromium before the real console: `site` is an installation with a key, `tab` a tab without a fault."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from sqlalchemy import Engine, insert, text
from sqlalchemy.orm import Session

from api.app import create_app
from cutout.enums import OperatorScope, Scope
from cutout.models import BATCHES
from cutout.producers.api_keys import make_operator_key
from cutout.producers.producers import create_producer
from cutout.producers.sessions import make_link
from cutout.queue.enqueue import NewJob, enqueue_all
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.debian import debian_program
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS
from tests.support.served import serving

# Nothing of its own goes out, and a root without namespaces can start it.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]
WITHIN_MS = 10_000
OURS = {"Sec-Fetch-Site": "same-origin"}
# The event says which rule was broken, also where the browser writes nothing.
VIOLATIONS = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (e) =>
        window.violations.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
"""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium without a window. Without it a test fails in CI, and is skipped elsewhere."""
    program = debian_program("chromium", "chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@dataclass(frozen=True)
class Site:
    """A served installation, its database, and a producer with a key that may do everything."""

    url: str
    app: FastAPI
    engine: Engine
    key: str
    producer_id: uuid.UUID

    def make_key(self, name: str, *scopes: Scope) -> tuple[uuid.UUID, str]:
        """Id and key of another producer."""
        with Session(self.engine) as session, session.begin():
            producer, key = create_producer(session, name, scopes=scopes or tuple(Scope))
            return producer.id, key

    def make_batch(
        self, name: str, skus: list[str | None], *, producer_id: uuid.UUID | None = None
    ) -> uuid.UUID:
        """A batch of the producer with a job for each SKU."""
        owner = producer_id or self.producer_id
        with Session(self.engine) as session, session.begin():
            batch_id: uuid.UUID = session.execute(
                insert(BATCHES).values(name=name, producer_id=owner).returning(BATCHES.c.id)
            ).scalar_one()
            jobs = [NewJob(f"https://shop.example/{n}.jpg", external_id=sku) for n, sku in enumerate(skus)]
            enqueue_all(session, jobs, batch_id=batch_id, producer_id=owner)
        return batch_id

    def make_operator(self, *scopes: OperatorScope) -> str:
        """The address that signs in once as an operator with these scopes, without any: with all."""
        with Session(self.engine) as session, session.begin():
            key, _ = make_operator_key(session, "ana", scopes=scopes or tuple(OperatorScope))
            return f"{self.url}/console/link?token={make_link(session.connection(), key.id)}"

    def execute(self, statement: str, **values: Any) -> None:
        """Change the database, as our processes would."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def scalar_of_change(self, statement: str, **values: Any) -> Any:
        """The one value that a change returns."""
        with self.engine.begin() as connection:
            return connection.execute(text(statement), values).scalar()

    def scalar(self, query: str, **values: Any) -> Any:
        """The one value of a query."""
        with self.engine.connect() as connection:
            return connection.execute(text(query), values).scalar()


@pytest.fixture
def site(settings: Settings, bucket: Bucket, engine: Engine) -> Iterator[Site]:
    """The API with the console on a real port, with an empty database."""
    with Session(engine) as session, session.begin():
        producer, key = create_producer(session, "shop", scopes=tuple(Scope))
        producer_id = producer.id
    app = create_app(settings.model_copy(update={"api_requests_per_second": 10_000}))
    with serving(app) as url:
        yield Site(url, app, engine, key, producer_id)


class Tab:
    """A tab that signs in, and says at its end what went wrong in it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context, self.url = context, url
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))

    def sign_in(self, key: str) -> Page:
        """The page after signing in with the key."""
        self.page.goto(f"{self.url}/console")
        self.page.fill("#key", key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(re.compile(r"/console(?!/sign-in)"))
        return self.page

    def faults(self) -> list[str]:
        """Errors of scripts, requests to other hosts, and violations of the policy."""
        broken = self.page.evaluate("window.violations ?? []")
        return [*self.errors, *broken]

    def _heard(self, message: Any) -> None:
        # A refused request is an answer, not a fault.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.errors.append(f"a request to {url}")


@pytest.fixture
def browser_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens tabs at an address, each with cookies of its own; `options` are of Playwright's contexts.

    A fault in one of them fails the test.
    """
    tabs: list[Tab] = []

    def open_(url: str, **options: Any) -> Tab:
        context = browser.new_context(**options)
        context.set_default_timeout(scaled(WITHIN_MS))
        context.add_init_script(VIOLATIONS)
        tabs.append(Tab(context, url))
        return tabs[-1]

    yield open_
    faults = [fault for tab in tabs for fault in tab.faults()]
    for tab in tabs:
        tab.context.close()
    assert faults == []


@pytest.fixture
def open_tab(browser_tab: Callable[..., Tab], site: Site) -> Callable[..., Tab]:
    """Opens tabs of the site, as `browser_tab` does."""
    return partial(browser_tab, site.url)


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    """A tab."""
    return open_tab()


def barriers(page: Page) -> list[str]:
    """Faults that axe finds in the page as it is, each with its element."""
    # What still fades in has less contrast than it will have.
    page.evaluate("Promise.allSettled(document.getAnimations().map(each => each.finished))")
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:120]}" for each in found for node in each["nodes"]]


@contextmanager
def signed_in(site: Site, key: str) -> Iterator[httpx.Client]:
    """A client that signed in with the key."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(30), headers=OURS) as client:
        assert client.post("/console/sign-in", data={"key": key}).status_code == 303
        yield client


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A client that is signed in with the producer's key."""
    with signed_in(site, site.key) as client:
        yield client
