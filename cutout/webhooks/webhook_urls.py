"""Rules for the addresses of webhooks. Names are resolved and checked at each send, not here."""

import re

from cutout.network.url_rules import address_fault, reach_fault
from cutout.settings import Settings
from cutout.text import find_unusable

LONGEST_URL = 2048
ADDRESS = re.compile(r"https?://(?P<place>[^/?]*)(?:[/?].*)?")
BLANK = re.compile(r"\s")


class InvalidWebhookError(ValueError):
    """A webhook that is not allowed as requested: the text says why and what to do.

    No text repeats the address, which may contain a token.
    """


def check_webhook_url(url: str) -> None:
    """Raise InvalidWebhookError for an address that can never work."""
    if len(url) > LONGEST_URL:
        raise InvalidWebhookError(
            f"the webhook's address has {len(url)} characters; use at most {LONGEST_URL}"
        )
    if BLANK.search(url) or find_unusable(url):
        raise InvalidWebhookError(
            "the webhook's address has blanks or control or invisible characters; write %20 for a blank, and"
            " remove the others"
        )
    if "#" in url:
        raise InvalidWebhookError("the webhook's address has a fragment (#), which is never sent; remove it")
    found = ADDRESS.fullmatch(url)
    if found and "@" in found["place"]:
        raise InvalidWebhookError(
            "the webhook's address has a user or password; remove it, and verify messages by their signature"
        )
    if found is None or not found["place"].isascii() or address_fault(url):
        raise InvalidWebhookError(
            "the webhook's address is not an https:// address with a valid host in ASCII and an optional port"
            " from 1 to 65535; write https://host/path"
        )


def require_webhooks(settings: Settings, url: str) -> None:
    """Raise InvalidWebhookError unless this installation can sign, and may send to such an address.

    Plain http and private addresses are only for hosts that the operator named.
    """
    if settings.webhook_secret is None:
        raise InvalidWebhookError(
            "webhooks are not set up here; ask the operator to set them up, or omit webhook_url"
        )
    check_webhook_url(url)
    if fault := reach_fault(url, settings.webhook_private_hosts):
        raise InvalidWebhookError(f"the webhook's address {fault}")
