"""Pages and what strangers put on them: whose they are, what they escape, and that a look changes nothing."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi.routing import APIRoute

from api.app import create_app
from console import router
from console.faults import PageError
from console.viewer import Right, find_viewer
from cutout.enums import Scope
from cutout.producers.sessions import token_hash
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.console.conftest import Site, Tab, barriers
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS
from tests.support.served import serving

OURS = {"Sec-Fetch-Site": "same-origin"}
# Markup, quotes, another direction of text, controls, and what looks like nothing.
HOSTILE = [
    "<script>window.broken = 1</script>",
    "\"><img src=x onerror='window.broken = 1'>",
    "{{ 7 * 7 }}",
    "SKU-\u202e1234\u202c",
    "\u200b\u2066zero\x1b[31m",
    "javascript:alert(1)",
    "ünïcödé 图片 🖼",
    "x" * 200,
]


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A client that signed in, without a browser's ways."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        answer = client.post("/console/sign-in", data={"key": site.key}, headers=OURS)
        assert answer.status_code == 303
        yield client


def routes() -> list[tuple[str, set[str]]]:
    """The paths of all routes of the console with their methods."""
    found = [route for part in router.routes for route in part.original_router.routes]  # type: ignore[attr-defined]
    return [
        (route.path.replace(":path", ""), route.methods or set())
        for route in found
        if isinstance(route, APIRoute)
    ]


def named(site: Site) -> dict[str, str]:
    """Values for the names in paths."""
    batch_id, job_id = site.scalar("SELECT id FROM batches"), site.scalar("SELECT id FROM jobs")
    names = {"batch_id": batch_id, "job_id": job_id, "name": "rgba", "address": "nothing"}
    names |= {"schedule_id": batch_id, "run_id": batch_id, "kind": "csv", "part": "1"}
    return {name: str(value) for name, value in names.items()}


def screens(site: Site) -> list[str]:
    """The address of each screen."""
    known = named(site)
    others = ("/console/assets", "/console/events", "/console/link", "/files/")
    return [
        path.format_map(known)
        for path, methods in routes()
        if "GET" in methods and not any(part in path for part in others)
    ]


def sent(client: httpx.Client, address: str) -> int:
    """Bytes of the answer as they come."""
    with client.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
        return sum(map(len, answer.iter_raw()))


def contents(site: Site) -> dict[str, str]:
    """A digest of each table, but for when keys and sessions were last used."""
    tables = "SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'public'"
    # Names of our own tables.
    query = "SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {} t"
    named = sorted(set(site.scalar(tables).split(",")) - {"api_keys"})
    assert {"jobs", "batches", "sessions", "sign_in_links", "actions"} <= set(named)
    return {name: site.scalar(query.format(name)) for name in named}


def test_hostile_texts_are_shown_as_they_are(site: Site, tab: Tab) -> None:
    """Nothing of a SKU, name or message becomes markup, and what would hide text is named."""
    # Enqueuing refuses some of them; what is shown does not rely on that.
    batch_id = site.make_batch(HOSTILE[0], [f"SKU-{number}" for number in range(len(HOSTILE))])
    for number, sku in enumerate(HOSTILE):
        site.execute(
            "UPDATE jobs SET external_id = :sku WHERE external_id = :plain", sku=sku, plain=f"SKU-{number}"
        )
    site.execute(
        "UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'A<b>',"
        " message = external_id"
    )
    page = tab.sign_in(site.key)
    page.goto(f"{site.url}/console/batches/{batch_id}")
    shown = page.inner_text("main")
    assert HOSTILE[0] in shown
    assert "{{ 7 * 7 }}" in shown
    assert "SKU-[U+202E]1234[U+202C]" in shown
    assert "[U+200B][U+2066]zero[U+001B][31m" in shown
    assert barriers(page) == []
    for job_id in page.eval_on_selector_all("table.list a", "links => links.map(a => a.href)"):
        page.goto(job_id)
        page.locator("h1").wait_for()
        assert page.evaluate("window.broken") is None
    page.goto(f"{site.url}/console")
    assert page.evaluate("window.broken") is None


def test_a_producer_sees_its_own_alone(site: Site, client: httpx.Client) -> None:
    """Another's batch, job and picture are as none, and its lists are empty."""
    other, _ = site.make_key("other")
    batch_id = site.make_batch("secret plan", ["SKU-1"], producer_id=other)
    job_id = site.scalar("SELECT id FROM jobs")
    for address in (f"batches/{batch_id}", f"jobs/{job_id}", f"jobs/{job_id}/files/rgba"):
        answer = client.get(f"/console/{address}")
        assert answer.status_code == 404
        assert "secret plan" not in answer.text
    for address in ("/console", "/console/batches", "/console/batches?show=open"):
        assert "secret plan" not in client.get(address).text


def test_a_look_changes_nothing(site: Site, client: httpx.Client) -> None:
    """Each GET of the console leaves every table as it is, but for when a session was seen."""
    site.make_batch("spring", ["SKU-1"])
    before = contents(site)
    gets = [path for path, methods in routes() if "GET" in methods]
    assert len(gets) > 8
    for path in gets:
        # Events do not end.
        with client.stream("GET", path.format_map(named(site)) + "?token=x&state=failed"):
            pass
    assert contents(site) == before


def test_another_site_can_change_nothing(site: Site, client: httpx.Client) -> None:
    """Each unsafe method needs a page of ours: by Sec-Fetch-Site, or without it by Origin."""
    foreign: tuple[dict[str, str], ...] = (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": site.url},
        {},
    )
    unsafe = [("POST", "/console/sign-out"), ("POST", "/console/sign-in"), ("POST", "/console/link")]
    for method, address in [*unsafe, ("PUT", "/console"), ("DELETE", "/console/batches")]:
        for headers in foreign:
            assert client.request(method, address, headers=headers).status_code in (403, 405), (
                address,
                headers,
            )
    assert client.get("/console").status_code == 200
    assert client.post("/console/sign-out", headers={"Origin": site.url}).status_code == 303


def test_every_page_says_what_a_browser_may_do(site: Site, client: httpx.Client) -> None:
    """No script, style or picture but ours and the bucket's, no frame, no word to other sites."""
    site.make_batch("spring", ["SKU-1"])
    for address in screens(site):
        answer = client.get(address)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_is_small(site: Site, client: httpx.Client) -> None:
    """HTML, stylesheet and module take at most 60 KB on their way, and the module 500 lines."""
    batch_id = site.make_batch("spring", [f"SKU-{number:05}" for number in range(100)])
    names = site.app.state.console.assets.names.values()
    assets = [client.get(f"/console/assets/{name}") for name in names]
    assert all("immutable" in asset.headers["cache-control"] for asset in assets)
    assert sum(sent(client, f"/console/assets/{name}") for name in names) < 20_000
    assert sent(client, f"/console/batches/{batch_id}") < 40_000
    (module,) = (asset.text for asset in assets if "javascript" in asset.headers["content-type"])
    assert len(module.splitlines()) <= 500
    assert client.get("/console/assets/module.0000000000000000.js").status_code == 404


def test_without_scripts_each_screen_works(site: Site, open_tab: Callable[..., Tab]) -> None:
    """Signing in, lists, pages and links need none; what needs one is not shown."""
    site.make_batch("spring", [f"SKU-{number:04}" for number in range(120)])
    tab = open_tab(java_script_enabled=False)
    page = tab.page
    page.goto(f"{site.url}/console")
    page.fill("#key", site.key)
    page.click("button.main")
    page.click("text=spring")
    page.click("text=Next page")
    assert page.locator("table.list tbody tr").first.inner_text().startswith("SKU-0050")
    page.click("text=Next page")
    assert page.locator("table.list tbody tr").count() == 20
    page.click("table.list a >> nth=0")
    assert page.inner_text("h1") == "SKU-0100"
    assert page.locator("#theme").is_hidden()
    page.click("text=Sign out")
    assert "/console/sign-in" in page.url


def test_jobs_without_an_id_of_the_catalog_come_last(site: Site, client: httpx.Client) -> None:
    """A list of both kinds goes on from one to the other, and has each job once."""
    batch_id = site.make_batch("mixed", [*(f"SKU-{n:03}" for n in range(70)), *([None] * 50)])
    seen: list[str] = []
    address = f"/console/batches/{batch_id}"
    while address:
        text = client.get(address).text
        seen += [part.partition('"')[0] for part in text.split('href="/console/jobs/')[1:]]
        following = text.partition('rel="next"')[0].rpartition('href="')[2] if 'rel="next"' in text else ""
        address = following.partition('"')[0].replace("&amp;", "&").partition("#")[0]
    assert len(seen) == len(set(seen)) == 120


def test_filters_are_in_the_address(site: Site, client: httpx.Client) -> None:
    """A state and a code select jobs; a wrong word selects nothing less."""
    batch_id = site.make_batch("spring", ["SKU-1", "SKU-2", "SKU-3"])
    site.execute(
        "UPDATE jobs SET state = 'failed', queue_state = NULL, finished_at = now(), code = 'SOURCE_MISSING'"
        " WHERE external_id = 'SKU-2'"
    )
    failed = client.get(f"/console/batches/{batch_id}", params={"state": "failed", "code": "SOURCE_MISSING"})
    assert ">SKU-2<" in failed.text
    assert ">SKU-1<" not in failed.text
    assert "Correct the address or upload again" in failed.text
    assert ">SKU-1<" in client.get(f"/console/batches/{batch_id}", params={"state": "no such"}).text


def test_bad_addresses_are_pages(site: Site, client: httpx.Client) -> None:
    """Wrong ids, huge fields and unknown pages are answered with 404 or the list, never with an error."""
    site.make_batch("spring", ["SKU-1"])
    for address in ("batches/x", "jobs/%00", "jobs/x/files/y", "no/such", "assets/..%2f..%2fpyproject.toml"):
        answer = client.get(f"/console/{address}")
        assert answer.status_code == 404, address
        assert answer.headers["content-type"].startswith("text/html")
    for query in ("after=x", "after=" + "9" * 4000, "show=%00", "show=all&show=open", "after=%F0%28"):
        assert client.get(f"/console/batches?{query}").status_code == 200, query


@pytest.mark.parametrize("name", ["content", "head", "../live", "", "x" * 5_000])
def test_a_part_that_no_page_has_is_not_found(client: httpx.Client, name: str) -> None:
    """Blocks that need the whole page are no parts, and no name is an error of the server."""
    assert client.get("/console", headers={"Cutout-Fragment": "live"}).status_code == 200
    assert client.get("/console", headers={"Cutout-Fragment": name}).status_code == 404


def test_a_key_of_few_rights_is_told_what_it_lacks(site: Site) -> None:
    """Its rights are those of its scopes."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        _, key = site.make_key("reader", Scope.READ)
        client.post("/console/sign-in", data={"key": key}, headers=OURS)
        (token,) = client.cookies.values()
    with site.engine.begin() as connection:
        viewer = find_viewer(connection, token_hash(token))
    assert viewer is not None
    assert viewer.rights == {Right.VIEW}
    with pytest.raises(PageError, match="spend"):
        viewer.require(Right.SPEND)


def test_the_console_can_be_left_off(settings: Settings, bucket: Bucket) -> None:
    """Then its addresses are as any other that is not there."""
    app = create_app(settings.model_copy(update={"console": False}))
    with serving(app) as url, httpx.Client(base_url=url, verify=NO_TLS, timeout=scaled(20)) as client:
        for address in ("/console", "/console/sign-in", "/console/assets/x"):
            answer = client.get(address)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
