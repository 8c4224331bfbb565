"""IP addresses that may be connected to when the URL comes from outside."""

import ipaddress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from cutout.network.fetch_errors import AddressRefused
from cutout.network.hosts import HostList

# Not public, though `ipaddress` of some supported Python versions calls them global.
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocol assignments; Oracle Cloud's metadata is in it
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # Azure's host agent, on a public address
        "64:ff9b:1::/48",  # NAT64 for local use
        "2001::/23",  # IETF protocol assignments; Teredo, which carries an IPv4 address, is in it
        "2002::/16",  # 6to4: carries an IPv4 address
        "3fff::/20",  # documentation
    )
)
# The only range of public hosts; the rest of IPv6 is refused, however it will be assigned.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet; also checks an IPv4 address embedded in IPv6."""
    ip: IPv4Address | IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        ip = _embedded_ipv4(ip) or ip
    if any(ip in network for network in _REFUSED):
        return False
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def _embedded_ipv4(ip: IPv6Address) -> IPv4Address | None:
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped


@dataclass(frozen=True)
class AddressPolicy:
    """Policy of public addresses only, except for hosts that the operator exempts by name."""

    exempt: HostList = field(default_factory=HostList)

    def check(self, host: str, port: int, addresses: list[str]) -> None:
        """Raise AddressRefused if any address that the host resolved to is not public.

        The message omits the address: it would reveal what internal names resolve to.
        """
        if self.exempt.allows(host, port):
            return
        if not all(is_public(address) for address in addresses):
            raise AddressRefused(f"{host} leads to an address that is not public; give a public host")
