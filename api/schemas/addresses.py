"""Addresses of the web, as the API takes them."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from jobs.addresses import not_an_address
from jobs.enqueueing import LONGEST_SOURCE, NewJob
from jobs.webhooks.addresses import LONGEST_URL

WEB_ADDRESS = (
    r"^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9._-]+(:[0-9]{1,5})?"
    r"([/?#][^\u0000-\u0020\u007f-\u009f]*)?$"
)
PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
WEBHOOK_ADDRESS = rf"^https://[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(:{PORT})?([/?][!\u0022$-~]*)?$"


def _web_address(value: str) -> str:
    if fault := not_an_address(value):
        raise ValueError(fault)
    if not value.lower().startswith(("https://", "http://")):
        raise ValueError(
            "must begin with https://; to send a picture itself, upload it as multipart field `image`"
        )
    return value


def _source_address(value: str) -> str:
    if not re.fullmatch(WEB_ADDRESS[1:-1], _web_address(value)):
        raise ValueError(
            "is no address of the web: write https://host/path, the host a name in ASCII, without user or"
            " password, blanks percent-encoded"
        )
    return value


def _manifest_address(value: str | None) -> str | None:
    if value is not None:
        NewJob(_web_address(value))
    return value


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
        # In full it is in jobs/webhooks/addresses.py: an address in brackets may do, and http to known hosts.
        json_schema_extra={"pattern": WEBHOOK_ADDRESS},
    ),
]
