"""Signing in: by a key or a link that works once; whose session ends with its key."""

import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy.orm import Session

from cutout.enums import Scope
from cutout.producers.api_keys import revoke_keys
from cutout.producers.sessions import make_link
from tests.console.conftest import Site, Tab
from tests.support.machine import scaled
from tests.support.plain_http import NO_TLS
from tests.support.system import wait_until

OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A client without a browser's ways."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as client:
        yield client


def sign_in(client: httpx.Client, key: str) -> httpx.Response:
    """Send the form."""
    return client.post("/console/sign-in", data={"key": key}, headers=OURS)


def link_of(site: Site) -> str:
    """A link's address."""
    key_id = site.scalar("SELECT id FROM api_keys")
    with site.engine.begin() as connection:
        return f"/console/link?token={make_link(connection, key_id)}"


def test_a_key_signs_in_and_out(site: Site, tab: Tab) -> None:
    """The page that was asked for comes after the key; signing out ends the session at the server, too."""
    tab.page.goto(f"{site.url}/console/batches?show=open")
    tab.page.fill("#key", site.key)
    tab.page.get_by_role("button", name="Sign in").click()
    tab.page.wait_for_url("**/console/batches?show=open")
    (cookie,) = tab.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert site.scalar("SELECT count(*) FROM sessions") == 1
    tab.page.get_by_role("button", name="Sign out").click()
    tab.page.wait_for_url("**/console/sign-in")
    assert site.scalar("SELECT count(*) FROM sessions") == 0
    kept = {"name": cookie["name"], "value": cookie["value"], "url": site.url}
    tab.context.add_cookies([kept])  # type: ignore[list-item]
    tab.page.goto(f"{site.url}/console")
    assert "/console/sign-in" in tab.page.url


def test_signing_in_again_ends_the_former_session(site: Site, client: httpx.Client) -> None:
    """By a key or a link; somebody else's stays, and a key that is refused ends none."""
    with httpx.Client(base_url=site.url, verify=NO_TLS, timeout=scaled(20)) as other:
        assert sign_in(other, site.key).status_code == 303
    for _ in range(3):
        assert sign_in(client, site.key).status_code == 303
        assert site.scalar("SELECT count(*) FROM sessions") == 2
    token = link_of(site).partition("=")[2]
    assert client.post("/console/link", data={"token": token}, headers=OURS).status_code == 303
    assert sign_in(client, "cutout_" + "A" * 43).status_code == 403
    assert site.scalar("SELECT count(*) FROM sessions") == 2
    assert client.get("/console").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Via", "X-Real-IP"])
def test_a_proxy_makes_no_browser_local(site: Site, client: httpx.Client, header: str) -> None:
    """A proxy that names this machine passes on what came over a network in the clear."""
    data, headers = {"key": site.key}, {**OURS, "Host": "localhost", header: "203.0.113.7"}
    assert client.post("/console/sign-in", data=data, headers=headers).status_code == 403
    del headers[header]
    assert client.post("/console/sign-in", data=data, headers=headers).status_code == 303


def test_wrong_keys_look_alike(site: Site, client: httpx.Client) -> None:
    """Unknown, malformed and revoked keys get the same page after the same time."""
    key_id = site.scalar("SELECT id FROM api_keys")
    with Session(site.engine) as session, session.begin():
        revoke_keys(session, key_id)
    answers = [sign_in(client, key) for key in ("", "x", "cutout_" + "A" * 43, site.key)]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.text for answer in answers}) == 1
    assert min(answer.elapsed.total_seconds() for answer in answers) >= 0.3


def test_tries_are_limited_by_address(site: Site, client: httpx.Client) -> None:
    """After some fifty wrong keys an address waits, also with a right one that was never seen."""
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: sign_in(client, f"cutout_{n:043}"), range(80)))
    assert {answer.status_code for answer in answers} == {403, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1


def test_a_key_that_may_not_read_sees_nothing(site: Site, client: httpx.Client) -> None:
    """It is told so, and gets no session."""
    _, key = site.make_key("writer", Scope.ENQUEUE)
    assert "has not the scope" in sign_in(client, key).text
    assert site.scalar("SELECT count(*) FROM sessions") == 0


def test_a_revoked_key_ends_its_pages(site: Site, tab: Tab) -> None:
    """An open page goes to the sign-in by itself, soon after its key was revoked."""
    page = tab.sign_in(site.key)
    page.locator(".as-of .live").wait_for(state="visible")
    with Session(site.engine) as session, session.begin():
        revoke_keys(session, site.producer_id)
    page.wait_for_url(re.compile("/console/sign-in"), timeout=scaled(4_000))


def test_a_suspended_producer_is_signed_out(site: Site, client: httpx.Client) -> None:
    """Its session is worth nothing while it is suspended, and no new one is made."""
    assert sign_in(client, site.key).status_code == 303
    site.execute("UPDATE producers SET suspended_at = now()")
    assert client.get("/console").headers["location"].startswith("/console/sign-in")


def test_sessions_end_when_they_are_idle_or_old(site: Site, client: httpx.Client) -> None:
    """After 12 hours without a request, and after 7 days."""
    for column, age in (("seen_at", "12 hours"), ("ends_at", "0 s")):
        assert sign_in(client, site.key).status_code == 303
        assert client.get("/console").status_code == 200
        # Columns and ages of this test.
        site.execute(f"UPDATE sessions SET {column} = now() - interval '{age}'")  # noqa: S608
        assert client.get("/console").status_code == 303


def test_a_link_signs_in_once(site: Site, open_tab: Callable[..., Tab]) -> None:
    """The first use makes a session; the second is told that the link is used up."""
    address = f"{site.url}{link_of(site)}"
    first = open_tab()
    first.page.goto(address)
    first.page.wait_for_url(f"{site.url}/console")
    second = open_tab()
    second.page.goto(address)
    second.page.get_by_text("was used already").wait_for()
    assert site.scalar("SELECT count(*) FROM sessions") == 1


def test_looking_at_a_link_uses_nothing_up(site: Site, client: httpx.Client) -> None:
    """A program that follows links does not sign in; a link is over after 10 minutes."""
    address = link_of(site)
    assert client.get(address).status_code == 200
    token = address.partition("token=")[2]
    assert site.scalar("SELECT count(*) FROM sign_in_links") == 1
    site.execute("UPDATE sign_in_links SET ends_at = now()")
    assert client.post("/console/link", data={"token": token}, headers=OURS).status_code == 403


def test_two_who_use_a_link_at_once_get_one_session(site: Site, client: httpx.Client) -> None:
    """One of them is refused."""
    token = link_of(site).partition("token=")[2]
    with ThreadPoolExecutor(4) as pool:
        uses = [
            pool.submit(client.post, "/console/link", data={"token": token}, headers=OURS) for _ in range(4)
        ]
        assert sorted(use.result().status_code for use in uses) == [303, 403, 403, 403]


def test_a_link_works_on_the_machine_itself_alone(site: Site, client: httpx.Client) -> None:
    """Not by another name, whatever the token."""
    token = link_of(site).partition("token=")[2]
    headers = {"Host": "cutout.example", **OURS}
    assert client.post("/console/link", data={"token": token}, headers=headers).status_code == 403
    assert site.scalar("SELECT count(*) FROM sign_in_links") == 1


def test_without_tls_only_the_machine_itself_signs_in(site: Site, client: httpx.Client) -> None:
    """By another name the key would pass a network in the clear; behind a proxy with TLS it would not."""
    plain = {"Host": "cutout.example", **OURS}
    refused = client.post("/console/sign-in", data={"key": site.key}, headers=plain)
    assert refused.status_code == 403
    assert "Without TLS" in refused.text
    assert "set-cookie" not in refused.headers


def test_the_cookie_over_tls_is_bound_to_the_host(site: Site, client: httpx.Client) -> None:
    """Its name has the prefix by which browsers hold it to this host, and it is Secure."""
    by_proxy = {"Host": "cutout.example", "X-Forwarded-Proto": "https", **OURS}
    answer = client.post("/console/sign-in", data={"key": site.key}, headers=by_proxy)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-cutout=")
    assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


def test_the_cookie_opens_no_api_and_the_bearer_no_page(site: Site, client: httpx.Client) -> None:
    """Each door has its own key."""
    bearer = {"Authorization": f"Bearer {site.key}"}
    assert client.get("/console", headers=bearer).status_code == 303
    assert sign_in(client, site.key).status_code == 303
    assert client.get("/console").status_code == 200
    assert client.get("/v1/jobs").status_code == 401


def test_sessions_and_links_are_pruned(site: Site, client: httpx.Client) -> None:
    """Those that are over are deleted, and no other."""
    from cutout.producers.sessions import prune_sessions  # noqa: PLC0415 - beside its use

    sign_in(client, site.key)
    # Another browser: its session is not ended by this signing in.
    client.cookies.clear()
    sign_in(client, site.key)
    link_of(site)
    site.execute("UPDATE sign_in_links SET ends_at = now()")
    site.execute("UPDATE sessions SET ends_at = now() WHERE made_at = (SELECT min(made_at) FROM sessions)")
    with site.engine.begin() as connection:
        assert prune_sessions(connection) == 2
    assert site.scalar("SELECT count(*) FROM sessions") == 1


def test_no_token_is_stored(site: Site, client: httpx.Client) -> None:
    """The database has a hash of it alone."""
    sign_in(client, site.key)
    (token,) = client.cookies.values()
    stored = site.scalar("SELECT encode(token_sha256, 'escape') || sessions::text FROM sessions")
    assert token not in stored


def test_where_one_goes_after_signing_in_is_of_the_console(site: Site, client: httpx.Client) -> None:
    """No other site, whatever the form says."""
    for onward in ("https://evil.example", "//evil.example", "/console//evil", "/v1/jobs", "/console/\\x"):
        fields = {"key": site.key, "next": onward}
        answer = client.post("/console/sign-in", data=fields, headers=OURS)
        assert answer.headers["location"] == "/console", onward


def test_sessions_of_one_key_are_few(
    site: Site, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest end when there are too many."""
    monkeypatch.setattr("cutout.producers.sessions.MOST_OF_A_KEY", 3)
    for _ in range(6):
        sign_in(client, site.key)
    assert site.scalar("SELECT count(*) FROM sessions") <= 4
    assert uuid.UUID(str(site.scalar("SELECT key_id FROM sessions LIMIT 1")))
    wait_until(lambda: client.get("/console").status_code == 200, "the newest is open")
