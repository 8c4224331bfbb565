"""Addresses of the web, as the API takes them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from cutout.network.url_hints import not_an_address
from cutout.queue.enqueue import LONGEST_SOURCE, InvalidJobError, NewJob
from cutout.text import REFUSED
from cutout.webhooks.webhook_urls import LONGEST_URL

# Names alone, of which each is at most 63 characters long; a public IP address may do as well.
LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
TOP_LABEL = "[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HOST = rf"({LABEL}\.)*{TOP_LABEL}(:{PORT})?"
# Plain http is for hosts that the operator named, which the schema does not know.
WEB_ADDRESS = rf"^[Hh][Tt][Tt][Pp][Ss]://{HOST}([/?#][^{REFUSED}\u0020]*)?$"
WEBHOOK_ADDRESS = rf"^https://{HOST}([/?][!\u0022$-~]*)?$"


def _web_address(value: str) -> str:
    if fault := not_an_address(value):
        raise ValueError(fault)
    if not value.lower().startswith(("https://", "http://")):
        raise ValueError(
            "must begin with https://; to send a picture itself, upload it as multipart field `image`"
        )
    return value


def _source_address(value: str) -> str:
    try:
        NewJob(_web_address(value))
    except InvalidJobError as error:
        raise ValueError(str(error)) from None
    return value


def _manifest_address(value: str | None) -> str | None:
    return None if value is None else _source_address(value)


SourceUrl = Annotated[
    str,
    Field(
        max_length=LONGEST_SOURCE,
        examples=["https://shop.example/p/4471.jpg"],
        json_schema_extra={"pattern": WEB_ADDRESS},
    ),
    AfterValidator(_source_address),
]
ManifestUrl = Annotated[
    Annotated[str, Field(max_length=LONGEST_SOURCE, json_schema_extra={"pattern": WEB_ADDRESS})] | None,
    Field(examples=["https://shop.example/export.csv"]),
    AfterValidator(_manifest_address),
]
WebhookUrl = Annotated[
    str,
    Field(
        max_length=LONGEST_URL,
        description="Is told, signed, when it has ended; see GET /v1/webhooks/deliveries",
        examples=["https://shop.example/hooks/cutout"],
        # cutout/webhooks/webhook_urls.py has the whole rule: brackets and http to known hosts may do.
        json_schema_extra={"pattern": WEBHOOK_ADDRESS},
    ),
]
