import pytest

from cutout.settings import Settings
from cutout.webhooks import InvalidWebhookError, check_webhook_url, require_webhooks

MASTER = "m" * 40


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation that can sign."""
    changed = {"webhook_secret": MASTER, "webhook_private_hosts": ()}
    return Settings.model_validate(settings.model_dump() | changed)


class TestAnAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "https://shop.example",
            "https://shop.example/hook?token=x%20y&z",
            "https://shop.example:8443?x=é",
            "https://SHOP-1.example./a//b/../c",
            "https://203.0.113.7/",
            "https://[2001:db8::1]:8443/hook",
            "http://shop.example/hook",
        ],
    )
    def test_may_be(self, url: str) -> None:
        """Any web address with a host is allowed."""
        check_webhook_url(url)

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("", "not an https"),
            ("shop.example/hook", "not an https"),
            ("ftp://shop.example/", "not an https"),
            ("HTTPS://shop.example/", "not an https"),
            ("https:///hook", "not an https"),
            ("https://?x", "not an https"),
            ("https:shop.example", "not an https"),
            ("https://shop.example:0/", "not an https"),
            ("https://shop.example:65536/", "not an https"),
            ("https://shop.example:port/", "not an https"),
            ("https://shop.example\\@evil.example/", "user or password"),
            ("https://shop.example\\evil/", "not an https"),
            ("https://bücher.example/", "not an https"),
            ("https://.example/", "not an https"),
            ("https://%31.example/", "not an https"),
            ("https://[::1/", "not an https"),
            ("https://me:secret@shop.example/", "user or password"),
            ("https://shop.example/#here", "fragment"),
            ("https://shop.example/a b", "blanks or control"),
            ("https://shop.example/\r\nHost: evil", "blanks or control"),
            ("https://shop.example/\x00", "blanks or control"),
            ("https://shop.example/\ud800", "blanks or control"),
            ("https://shop.example/\u2028", "blanks or control"),
            ("https://shop.example/" + "x" * 2048, "2069 characters"),
        ],
    )
    def test_may_not_be(self, url: str, reason: str) -> None:
        """A text that is no URL, or hides something, is refused; the reason does not repeat it."""
        with pytest.raises(InvalidWebhookError, match=reason) as caught:
            check_webhook_url(url)
        assert "secret" not in str(caught.value)
        assert "evil" not in str(caught.value)


class TestAnInstallation:
    def test_takes_https(self, settings: Settings) -> None:
        """The name is not resolved: its addresses may change until the send."""
        require_webhooks(settings, "https://shop.example/")

    def test_that_cannot_sign_takes_none(self, settings: Settings) -> None:
        """The error names the missing setting."""
        with pytest.raises(InvalidWebhookError, match="ask the operator to set them up"):
            require_webhooks(settings.model_copy(update={"webhook_secret": None}), "https://shop.example/")

    def test_takes_plain_http_only_where_hosts_are_named(self, settings: Settings) -> None:
        """The receiver's addresses are resolved when it is sent."""
        with pytest.raises(InvalidWebhookError, match="not https"):
            require_webhooks(settings, "http://shop.example/")
        named = settings.model_copy(update={"webhook_private_hosts": ("shop.example",)})
        require_webhooks(named, "http://shop.example/")
