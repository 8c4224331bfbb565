"""Host lists of settings: `host`, `host:port`, `*.domain`."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import httpx

_PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(
    r"(?P<wild>\*\.)?(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]/?#@%*]+))(?::(?P<port>\d{1,5}))?"
)


def port_of(url: httpx.URL) -> int:
    return url.port or _PORTS[url.scheme]


def is_local(host: str) -> bool:
    """Whether a host is this machine by its spelling: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class HostPattern:
    """One entry: a host in lower-case ASCII; any port matches if `port` is None.

    `*.domain` matches one or more whole labels before the domain, never the domain itself.
    """

    host: str
    port: int | None = None
    subdomains: bool = False

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Parse an entry. Raises ValueError if it is not a host, `host:port`, `[IPv6]:port` or `*.domain`."""
        text = entry.strip()
        found = _ENTRY.fullmatch(f"[{text}]" if text.count(":") > 1 and "[" not in text else text)
        host = _ascii(found["six"] or found["host"]) if found else None
        if found is None or host is None:
            raise ValueError(
                f"{entry!r} is not a host; write 'host', 'host:port', '[IPv6]:port' or '*.domain'"
            )
        return cls(host, int(found["port"]) if found["port"] else None, subdomains=bool(found["wild"]))

    def matches(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        return host.endswith(f".{self.host}") if self.subdomains else host == self.host


@dataclass(frozen=True)
class HostList:
    patterns: tuple[HostPattern, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Parse the entries of a setting. Raises ValueError with the first invalid one."""
        return cls(tuple(HostPattern.parse(entry) for entry in entries))

    def local(self) -> Self:
        """Return the entries that are this machine by their spelling."""
        return type(self)(tuple(p for p in self.patterns if not p.subdomains and is_local(p.host)))

    def allows(self, host: str, port: int) -> bool:
        return any(pattern.matches(host, port) for pattern in self.patterns)


def _ascii(host: str) -> str | None:
    try:
        return httpx.URL(scheme="http", host=host).raw_host.decode()
    except (ValueError, httpx.InvalidURL):
        return None
