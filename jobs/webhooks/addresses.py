"""Which addresses a webhook may have. Where a name leads is looked at when it is sent to, not here."""

import re
import unicodedata

from jobs.settings import Settings

LONGEST_URL = 2048
ADDRESS = re.compile(r"https?://(?P<place>[^/?]*)(?:[/?].*)?")
PLACE = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
LAST_PORT = 65_535
UNPRINTABLE = ("Cc", "Cs", "Zs", "Zl", "Zp")


class InvalidWebhookError(ValueError):
    """A webhook cannot be had as it was asked for: the text says why and what to do.

    No text repeats the address, which may hold a token.
    """


def check_webhook_url(url: str) -> None:
    """Raises InvalidWebhookError for an address that can never work."""
    if len(url) > LONGEST_URL:
        raise InvalidWebhookError(
            f"the webhook's address has {len(url)} characters; use at most {LONGEST_URL}"
        )
    if any(unicodedata.category(character) in UNPRINTABLE for character in url):
        raise InvalidWebhookError(
            "the webhook's address has blanks or control characters; percent-encode them"
        )
    if "#" in url:
        raise InvalidWebhookError("the webhook's address has a fragment (#), which is never sent; remove it")
    found = ADDRESS.fullmatch(url)
    if found and "@" in found["place"]:
        raise InvalidWebhookError(
            "the webhook's address has a user or password; remove it, and know us by the signature"
        )
    place = PLACE.fullmatch(found["place"]) if found else None
    if place is None or not 0 < int(place["port"] or 1) <= LAST_PORT:
        raise InvalidWebhookError(
            "the webhook's address is not an https:// address with a host in ASCII; write https://host/path"
        )


def require_webhooks(known: Settings, url: str) -> None:
    """Raises InvalidWebhookError unless this installation can sign, and may send to such an address.

    Plain http is for hosts that the operator named, if any; which they are the dispatcher looks at.
    """
    if known.webhook_secret is None:
        raise InvalidWebhookError(
            "webhooks are not set up here; ask for CUTOUT_WEBHOOK_SECRET to be set, or leave webhook_url out"
        )
    check_webhook_url(url)
    if not url.startswith("https://") and not known.webhook_private_hosts:
        raise InvalidWebhookError("the webhook's address is not https; give an https:// address")
