"""URLs that can never work, at every entry point."""

import time
from collections.abc import Callable

import pytest

from cutout.ingest.ingest_errors import UnusableError
from cutout.ingest.sources.source_urls import Addresses
from cutout.network.url_rules import address_fault, reach_fault, server_of
from cutout.queue.enqueue import InvalidJobError, NewJob
from cutout.schedules.definition import require_source
from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.webhooks.webhook_urls import InvalidWebhookError, check_webhook_url
from tests.support.machine import scaled

NEVER = [
    "https://example.com:99999/",
    "https://example.com:65536/",
    "https://example.com:0/",
    "https://example.com:/a",
    "https://example.com:8a/",
    "https://a..b/",
    "https://.a.b/",
    "https://-a.b/",
    "https://a-.b/",
    "https://*.b/",
    "https://a,b/",
    "https://%61.b/",
    f"https://{'a' * 64}.b/",
    f"https://{'a.' * 127}bc/",
    f"https://{'a' * 300}/",
    "https://1.2.3/",
    "https://1.2.3.4.5/",
    "https://1.2.3.256/",
    "https://01.2.3.4/",
    "https://2130706433/",
    "https://0x7f.0.0.1/",
    "https://a.0x/",
    "https://[::1/",
    "https://[::g]/",
    "https://[1.2.3.4]/",
    "https://u@a.b/",
    "https:///a",
]
POSSIBLE = [
    "https://example.com",
    "https://example.com:65535/a",
    "HTTPS://EXAMPLE.COM./a?b#c@d",
    "https://a_b.example/a",
    f"https://{'a' * 63}.b/",
    "https://8.8.8.8/",
    "https://[2606:4700::1111]:8443/a",
    "https://a-1.2b.c3/",
]
INSIDE = [
    "https://localhost/",
    "https://LOCALHOST./",
    "https://a.localhost/",
    "https://127.0.0.1/",
    "https://10.0.0.1:8443/",
    "https://169.254.169.254/latest",
    "https://[::1]/",
    "https://[fd00::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://224.0.0.1/",
    "https://0.0.0.0/",
    "http://shop.example/",
]

ENTRY_POINTS: list[Callable[[str], object]] = [
    NewJob,
    check_webhook_url,
    require_source,
    Addresses("", web_only=True).check,
]
REFUSALS = (InvalidJobError, InvalidWebhookError, InvalidScheduleError, UnusableError)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("url", NEVER)
def test_a_url_that_can_never_work_is_refused(entry_point: Callable[[str], object], url: str) -> None:
    """Invalid ports, invalid hosts, numbers that are no address."""
    with pytest.raises(REFUSALS):
        entry_point(url)


@pytest.mark.parametrize("url", POSSIBLE)
def test_a_url_that_may_work_is_accepted(url: str) -> None:
    """Any name, any public number, any port."""
    assert address_fault(url) is None
    assert reach_fault(url, ()) is None


@pytest.mark.parametrize("url", INSIDE)
def test_an_internal_url_is_for_named_hosts(url: str) -> None:
    """So is plain http; a name is checked when connecting."""
    assert address_fault(url) is None
    assert reach_fault(url, ()) is not None
    assert reach_fault(url, ("other.example", "127.0.0.2", "127.0.0.1:1")) is not None
    with pytest.raises(UnusableError):
        Addresses("", web_only=True).check(url)


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://127.0.0.1:8080/a", "127.0.0.1"),
        ("http://127.0.0.1:8080/a", "127.0.0.1:8080"),
        ("https://127.0.0.1/a", "127.0.0.1:443"),
        ("http://[::1]:80/a", "::1"),
        ("http://[0:0:0:0:0:0:0:1]:80/a", "[::1]:80"),
        ("http://Pictures.Shop.example/a", "pictures.shop.example"),
        ("http://a.b.shop.example/a", "*.shop.example"),
        ("http://xn--bcher-kva.example/a", "bücher.example"),
        ("http://bücher.example/a", "xn--bcher-kva.example"),
    ],
)
def test_a_named_host_may_be_internal(url: str, entry: str) -> None:
    """In any spelling in the setting or in the URL."""
    assert reach_fault(url, (entry,)) is None


def test_no_fault_contains_a_password() -> None:
    """The part before the host is omitted."""
    assert "hush" not in str(address_fault("https://me:hush@shop.example:0/"))


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://shop.example/a", "shop.example"),
        ("HTTPS://Shop.Example:443/a", "shop.example"),
        ("https://shop.example./a?b", "shop.example"),
        ("http://shop.example:443/", "shop.example:443"),
        ("https://[0:0:0:0:0:0:0:1]:8443/", "[::1]:8443"),
    ],
)
def test_a_server_is_one_however_it_is_spelled(url: str, server: str) -> None:
    """A server has one set of slots, however it is spelled."""
    assert server_of(url) == server


def test_a_host_of_thousands_of_letters_is_refused_at_once() -> None:
    """It is checked on an event loop, where some milliseconds would delay all requests."""
    began_at = time.monotonic()
    for _ in range(20):
        assert "which is not a valid name" in (address_fault(f"https://{'ä' * 2000}.example/a.jpg") or "")
    assert time.monotonic() - began_at < scaled(0.1)
