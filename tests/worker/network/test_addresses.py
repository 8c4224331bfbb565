"""Which addresses are public."""

import pytest

from worker.network import AddressPolicy, AddressRefused, HostList, is_public

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


class TestIsPublic:
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
        """A host with one public and one private address is refused, whichever would be connected to."""
        with pytest.raises(AddressRefused, match=r"shop\.example"):
            AddressPolicy().check("shop.example", 443, ["93.184.216.34", "10.0.0.1"])

    def test_does_not_tell_what_an_internal_name_resolves_to(self) -> None:
        """The message leaves the address out."""
        with pytest.raises(AddressRefused) as refused:
            AddressPolicy().check("db.internal", 443, ["10.20.30.40"])
        assert "10.20.30.40" not in str(refused.value)

    def test_exempts_a_host_by_name_and_port(self) -> None:
        """An exempt `host:port` may lead anywhere, and only on that port."""
        policy = AddressPolicy(exempt=HostList.parse(["minio:9000"]))
        policy.check("minio", 9000, ["172.18.0.2"])
        with pytest.raises(AddressRefused):
            policy.check("minio", 9001, ["172.18.0.2"])
