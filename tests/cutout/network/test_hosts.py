"""Host lists as operators write them."""

import pytest

from cutout.network import HostList, HostPattern, is_local


class TestMatching:
    @pytest.mark.parametrize(
        ("entry", "host", "port"),
        [
            ("*.ailabtools.com", "ai-result-rapidapi.ailabtools.com", 443),
            ("*.ailabtools.com", "a.b.ailabtools.com", 8443),
            ("Example.COM", "example.com", 443),
            ("127.0.0.1:8123", "127.0.0.1", 8123),
            ("[::1]:8123", "::1", 8123),
            ("::1", "::1", 80),
            ("bücher.example", "xn--bcher-kva.example", 443),
        ],
    )
    def test_allows(self, entry: str, host: str, port: int) -> None:
        """An entry allows its host, and its subdomains if it starts with `*.`, on its port or on all."""
        assert HostList.parse([entry]).allows(host, port)

    @pytest.mark.parametrize(
        ("entry", "host", "port"),
        [
            ("*.ailabtools.com", "ailabtools.com", 443),
            ("*.ailabtools.com", "evilailabtools.com", 443),
            ("*.ailabtools.com", "x.ailabtools.com.evil.example", 443),
            ("*.ailabtools.com", "x.ailabtools.com.", 443),
            ("example.com", "www.example.com", 443),
            ("127.0.0.1:8123", "127.0.0.1", 8124),
            ("127.0.0.1", "127.0.0.10", 80),
        ],
    )
    def test_does_not_allow(self, entry: str, host: str, port: int) -> None:
        """Only whole labels match: no look-alike, no longer name, no other port."""
        assert not HostList.parse([entry]).allows(host, port)

    def test_an_empty_list_allows_nothing(self) -> None:
        """Without entries every host is refused."""
        assert not HostList().allows("example.com", 443)


class TestParsing:
    @pytest.mark.parametrize(
        "entry",
        [
            "",
            "*",
            "*.*.com",
            "a.*.com",
            "https://example.com",
            "example.com/x",
            "me@example.com",
            "a b",
            "a:b",
        ],
    )
    def test_refuses_what_is_no_host(self, entry: str) -> None:
        """An entry that is no host raises an error with the entry and the allowed forms."""
        with pytest.raises(ValueError, match="write 'host'"):
            HostPattern.parse(entry)


class TestLocal:
    def test_keeps_the_entries_that_are_this_machine(self) -> None:
        """`local` keeps localhost and loopback addresses, and never a wildcard."""
        hosts = HostList.parse(
            ["*.ailabtools.com", "127.0.0.1:8123", "localhost", "[::1]:1", "*.localhost", "10.0.0.1"]
        )
        assert [pattern.host for pattern in hosts.local().patterns] == ["127.0.0.1", "localhost", "::1"]

    @pytest.mark.parametrize("host", ["127.1", "localhost.example", "0.0.0.0", "192.168.0.1"])  # noqa: S104
    def test_is_decided_by_the_plain_spelling(self, host: str) -> None:
        """Only `localhost` and a complete loopback address count as local."""
        assert not is_local(host)
