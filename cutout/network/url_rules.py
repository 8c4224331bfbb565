"""Rules for web URLs that can never be fetched or sent to, by their spelling.

One check for all entry points: jobs, manifests and their rows, schedules, webhooks. The addresses that a name
resolves to are checked when connecting.
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
# Browsers and resolvers read a host as a number if its last label is one, in any of these forms.
NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
ENTRY = re.compile(r"\[?(?P<host>[^\[\]]*?)\]?(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Server:
    """A server to connect to: a host in lower case, without a dot at its end, and a port."""

    scheme: str
    host: str
    port: int


def address_fault(url: str) -> str | None:
    """Return why an http:// or https:// URL can never work, and what to write; None if it may work."""
    found = _server(url)
    return found if isinstance(found, str) else None


def server_of(url: str) -> str:
    """Return the server of a URL, normalized; as written if the URL is invalid."""
    found = _server(url)
    if isinstance(found, str):
        return urlsplit(url).netloc
    host = f"[{found.host}]" if ":" in found.host else found.host
    return host if found.port == DEFAULT_PORTS[found.scheme] else f"{host}:{found.port}"


def reach_fault(url: str, private: Iterable[str]) -> str | None:
    """Return why this installation may not connect to a URL, or None.

    `private` are hosts that the operator named: they may have private addresses and be reached by http.
    """
    found = _server(url)
    if isinstance(found, str):
        return found
    if any(_matches(found, entry) for entry in private):
        return None
    if found.scheme != "https":
        return "is not https; give an https:// address"
    if _is_internal(found.host):
        return "names an address that is not public; give a public host"
    return None


def _server(url: str) -> Server | str:
    """Return the server of a URL, or the fault."""
    parts = PARTS.fullmatch(url)
    if parts is None:
        return "is not a web address; write https://host/path, without a user or password"
    scheme = parts["scheme"].lower()
    port = _port(parts["port"]) if parts["port"] is not None else DEFAULT_PORTS[scheme]
    if isinstance(port, str):
        return port
    if parts["six"] is not None:
        return _ipv6_server(scheme, parts["six"], port)
    host = _ascii(parts["host"]).lower().removesuffix(".")
    return host_fault(host) or Server(scheme, host, port)


def _ascii(host: str) -> str:
    """Return the host in the form that is resolved; an invalid one is returned unchanged."""
    # IDNA only makes it longer, and encoding a long host takes time.
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


def _ipv6_server(scheme: str, text: str, port: int) -> Server | str:
    try:
        return Server(scheme, str(ipaddress.IPv6Address(text)), port)
    except ValueError:
        return f"has the host [{text[:60]}], which is not an IPv6 address; write https://host/path"


def host_fault(host: str) -> str | None:
    """Return the fault of a host that is a name or an IPv4 address, or None."""
    if not host:
        return "has no host; write https://host/path"
    if not NAME.fullmatch(host):
        return (
            f"has the host {host[:60]!r}, which is not a valid name; a name has letters, digits, hyphens"
            " and dots"
        )
    if len(host) > LONGEST_HOST:
        return f"has a host of {len(host)} characters; a name has at most {LONGEST_HOST}"
    labels = host.split(".")
    for label in labels:
        if not LABEL.fullmatch(label) or len(label) > LONGEST_LABEL:
            return (
                f"has the host {host[:60]!r}, which is not a valid name: between its dots are"
                f" 1 to {LONGEST_LABEL} letters, digits or hyphens, no hyphen first or last"
            )
    if NUMBER.fullmatch(labels[-1]) and not _is_ipv4(host):
        return f"has the host {host[:60]!r}, a number that is not an IPv4 address; write the host's name"
    return None


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_internal(host: str) -> bool:
    """Whether a host is internal by its spelling. Other hosts are checked when connecting."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not ip.is_global or ip.is_multicast or ip.is_reserved


def _matches(server: Server, entry: str) -> bool:
    """Whether an entry of a setting, `host`, `host:port`, `[IPv6]:port` or `*.domain`, matches the server."""
    text = f"[{entry}]" if entry.count(":") > 1 and "[" not in entry else entry
    named = ENTRY.fullmatch(text.strip().lower())
    if named is None or (named["port"] and int(named["port"]) != server.port):
        return False
    host = named["host"]
    if host.startswith("*."):
        return server.host.endswith(f".{_ascii(host[2:])}")
    return _plain(_ascii(host)) == server.host


def _plain(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.removesuffix(".")
