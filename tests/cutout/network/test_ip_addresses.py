"""Public addresses and all others."""

from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest

from cutout.network import AddressPolicy, AddressRefused, HostList, is_public
from tests.cutout.network.test_url_rules import INSIDE

NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - checked, not bound
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.8.9.10",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


# The special-purpose registries of IANA for IPv4 (as of 2024-10) and IPv6 (2025-06): blocks that are not
# globally reachable, and the multicast and site-local blocks, which have registries of their own.
REGISTERED = [
    "0.0.0.0/8",
    "0.0.0.0/32",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::1/128",
    "::/128",
    "::ffff:0:0/120",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:2::/48",
    "2001:10::/28",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]


class TestIsPublic:
    @pytest.mark.parametrize("network", REGISTERED)
    def test_refuses_every_special_block(self, network: str) -> None:
        """Its first address, its last and one in between, whatever this version of Python knows."""
        block = ip_network(network)
        for place in (0, block.num_addresses // 2, block.num_addresses - 1):
            assert not is_public(str(block[place]))

    def test_refuses_what_is_not_assigned_in_ipv6(self) -> None:
        """All global unicast is in 2000::/3 (RFC 4291); a later registry finds the rest refused."""
        for first in range(0x10000):
            if first >> 13 != 1:
                assert not is_public(f"{first:x}:1234::1"), f"{first:x}"

    @pytest.mark.parametrize("url", INSIDE)
    def test_refuses_what_the_spelling_check_refuses(self, url: str) -> None:
        """The check by spelling never refuses a URL that could be fetched."""
        host = urlsplit(url).hostname or ""
        if host[0].isdigit() or ":" in host:
            assert not is_public(host)

    @pytest.mark.parametrize("address", NOT_PUBLIC)
    def test_refuses_what_is_not_of_the_public_internet(self, address: str) -> None:
        """Private, loopback, link-local, metadata, multicast, reserved and hidden IPv4 are not public."""
        assert not is_public(address)

    @pytest.mark.parametrize(
        "address", ["8.8.8.8", "93.184.216.34", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"]
    )
    def test_lets_public_addresses_pass(self, address: str) -> None:
        """Public IPv4 and IPv6 pass, also IPv4 mapped or translated into IPv6."""
        assert is_public(address)


class TestAddressPolicy:
    def test_one_bad_address_among_good_ones_refuses_the_host(self) -> None:
        """A host with one public and one private address is refused, whichever would be used."""
        with pytest.raises(AddressRefused, match=r"shop\.example"):
            AddressPolicy().check("shop.example", 443, ["93.184.216.34", "10.0.0.1"])

    def test_does_not_reveal_what_an_internal_name_resolves_to(self) -> None:
        """The message omits the address."""
        with pytest.raises(AddressRefused) as refused:
            AddressPolicy().check("db.internal", 443, ["10.20.30.40"])
        assert "10.20.30.40" not in str(refused.value)

    def test_exempts_a_host_by_name_and_port(self) -> None:
        """An exempt `host:port` may resolve to any address, on that port only."""
        policy = AddressPolicy(exempt=HostList.parse(["minio:9000"]))
        policy.check("minio", 9000, ["172.18.0.2"])
        with pytest.raises(AddressRefused):
            policy.check("minio", 9001, ["172.18.0.2"])
