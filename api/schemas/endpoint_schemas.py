"""Webhook endpoints: requests about them, and how their producer sees them."""

import uuid
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, Strict

from api.schemas.addresses import WEBHOOK_ADDRESS
from api.schemas.fields import PlainText
from cutout.enums import DisabledReason
from cutout.models import WebhookEndpoint
from cutout.webhooks.event_types import EventType
from cutout.webhooks.webhook_urls import LONGEST_URL

LONGEST_DESCRIPTION = 500

EndpointUrl = Annotated[
    str,
    Field(
        max_length=LONGEST_URL,
        description="Where messages are sent; a token may be in its path or query",
        examples=["https://shop.example/hooks/cutout?token=7f3a"],
        json_schema_extra={"pattern": WEBHOOK_ADDRESS},
    ),
]
Events = Annotated[
    # Strict JSON has no enumerations.
    list[Annotated[EventType, Strict(False)]],
    Field(
        min_length=1,
        max_length=len(EventType),
        description="Types of events; `*` is all but those of single jobs (`job.…`), which must be named",
        examples=[["batch.finished", "job.failed"]],
    ),
]
Description = Annotated[
    PlainText | None, Field(max_length=LONGEST_DESCRIPTION, description="A remark of yours")
]
# Never seen: only the given members of a change are read.
LEFT_OUT: Any = None


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


class EndpointRequest(BaseModel):
    """An address that receives messages about everything of yours that happens from now on."""

    model_config = ConfigDict(extra="forbid")

    url: EndpointUrl
    events: Events
    description: Description = None


class EndpointPatch(BaseModel):
    """Members of a webhook endpoint to be changed; null clears the description."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    url: EndpointUrl = LEFT_OUT
    events: Events = LEFT_OUT
    description: Description = LEFT_OUT
    enabled: Annotated[
        bool, Strict(), Field(description="Whether it receives messages; true ends a disablement")
    ] = LEFT_OUT


class EndpointView(BaseModel):
    """A webhook endpoint. Of its address only the host is shown, since the rest may be a secret."""

    id: uuid.UUID
    host: str
    has_path_or_query: Annotated[
        bool, Field(description="Whether its address has more than the host, which is not shown")
    ]
    events: list[EventType]
    description: str | None
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: Annotated[
        DisabledReason | None,
        Field(description="`gone`: it answered 410; `failing`: it accepted nothing for five days"),
    ]
    failing_since: Annotated[
        datetime | None, Field(description="Of the first failed try since it accepted a message")
    ]
    created_at: datetime


class EndpointWithSecret(EndpointView):
    """A webhook endpoint and the secret that signs its messages, which is shown this once."""

    secret: Annotated[
        str | None,
        Field(
            description="As libraries of Standard Webhooks take it; null if the answer is given again for its"
            " Idempotency-Key",
            examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        ),
    ]


class EndpointList(BaseModel):
    """A page of webhook endpoints, the latest first."""

    data: list[EndpointView]
    next_cursor: str | None


def view_endpoint(endpoint: WebhookEndpoint) -> EndpointView:
    """The endpoint as it may be shown."""
    address = urlsplit(endpoint.url)
    return EndpointView(
        id=endpoint.id,
        host=address.netloc.lower(),
        has_path_or_query=address.path not in {"", "/"} or "?" in endpoint.url,
        events=[EventType(event) for event in endpoint.events],
        description=endpoint.description,
        enabled=endpoint.disabled_at is None,
        disabled_at=endpoint.disabled_at,
        disabled_reason=endpoint.disabled_reason and DisabledReason(endpoint.disabled_reason),
        failing_since=endpoint.failing_since,
        created_at=endpoint.created_at,
    )
