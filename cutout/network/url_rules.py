"""Addresses of the web that can never be fetched from or sent to, by their spelling alone.

One look for every door: jobs, manifests and their rows, schedules, webhooks. Where a name leads is looked at
when it is connected to.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST_HOST = 253
LONGEST_LABEL = 63
LAST_PORT = 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}

PARTS = re.compile(
    r"(?P<scheme>https?)://(?![^/?#]*@)"
    r"(?:\[(?P<six>[^\]/?#]*)\]|(?P<host>[^/?#:\[\]]*))(?::(?P<port>[^/?#]*))?(?:[/?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
NAME = re.compile(r"[A-Za-z0-9._-]+")
LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?")
# Browsers and resolvers take a host for a number whose last label is one, in any of these forms.
NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
ENTRY = re.compile(r"\[?(?P<host>[^\[\]]*?)\]?(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """Who is to be connected to: a host in lower case, without a dot at its end, and a port."""

    scheme: str
    host: str
    port: int


def address_fault(url: str) -> str | None:
    """Why an http:// or https:// address can never work, and what to write; None if it may."""
    found = _place(url)
    return found if isinstance(found, str) else None


def server_of(url: str) -> str:
    """The server of an address, one however its host and port are spelled; as it stands if it is none."""
    found = _place(url)
    if isinstance(found, str):
        return urlsplit(url).netloc
    host = f"[{found.host}]" if ":" in found.host else found.host
    return host if found.port == DEFAULT_PORTS[found.scheme] else f"{host}:{found.port}"


def reach_fault(url: str, private: Iterable[str]) -> str | None:
    """What keeps this installation from connecting to an address, or None.

    `private` are the hosts that an operator named: they may be on private addresses, and be asked by http.
    """
    found = _place(url)
    if isinstance(found, str):
        return found
    if any(_is_named(found, entry) for entry in private):
        return None
    if found.scheme != "https":
        return "is not https; give an https:// address"
    if _is_inside(found.host):
        return "names an address that is not public; give a host that everybody reaches"
    return None


def _place(url: str) -> Place | str:
    """The place, or what is wrong with it."""
    parts = PARTS.fullmatch(url)
    if parts is None:
        return "is no address of the web; write https://host/path, without a user or password"
    scheme = parts["scheme"].lower()
    port = _port(parts["port"]) if parts["port"] is not None else DEFAULT_PORTS[scheme]
    if isinstance(port, str):
        return port
    if parts["six"] is not None:
        return _six(scheme, parts["six"], port)
    host = _ascii(parts["host"]).lower().removesuffix(".")
    return host_fault(host) or Place(scheme, host, port)


def _ascii(host: str) -> str:
    """The host as it is looked up; one that cannot be stays as it is."""
    # In ASCII it is longer yet, and a long one takes its time.
    if host.isascii() or len(host) > LONGEST_HOST:
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _port(text: str) -> int | str:
    if text.isascii() and text.isdigit() and len(text) <= len(str(LAST_PORT)) and 0 < int(text) <= LAST_PORT:
        return int(text)
    return f"has the port {text[:20]!r}; give one from 1 to {LAST_PORT}, or none"


def _six(scheme: str, text: str, port: int) -> Place | str:
    try:
        return Place(scheme, str(ipaddress.IPv6Address(text)), port)
    except ValueError:
        return f"has the host [{text[:60]}], which is no IPv6 address; write https://host/path"


def host_fault(host: str) -> str | None:
    """What is wrong with a host that is a name or an IPv4 address, or None."""
    if not host:
        return "has no host; write https://host/path"
    if not NAME.fullmatch(host):
        return f"has the host {host[:60]!r}, which is no name; a name has letters, digits, hyphens and dots"
    if len(host) > LONGEST_HOST:
        return f"has a host of {len(host)} characters; a name has at most {LONGEST_HOST}"
    labels = host.split(".")
    for label in labels:
        if not LABEL.fullmatch(label) or len(label) > LONGEST_LABEL:
            return (
                f"has the host {host[:60]!r}, which is no name: between its dots are 1 to {LONGEST_LABEL}"
                " letters, digits or hyphens, no hyphen first or last"
            )
    if NUMBER.fullmatch(labels[-1]) and not _is_ipv4(host):
        return f"has the host {host[:60]!r}, a number that is no IPv4 address; write the host's name"
    return None


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_inside(host: str) -> bool:
    """Whether a host is inside by its spelling. What is not refused here is looked at when connecting."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not ip.is_global or ip.is_multicast or ip.is_reserved


def _is_named(place: Place, entry: str) -> bool:
    """Whether an entry of a setting, `host`, `host:port`, `[IPv6]:port` or `*.domain`, is of this place."""
    text = f"[{entry}]" if entry.count(":") > 1 and "[" not in entry else entry
    named = ENTRY.fullmatch(text.strip().lower())
    if named is None or (named["port"] and int(named["port"]) != place.port):
        return False
    host = named["host"]
    if host.startswith("*."):
        return place.host.endswith(f".{_ascii(host[2:])}")
    return _plain(_ascii(host)) == place.host


def _plain(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.removesuffix(".")
