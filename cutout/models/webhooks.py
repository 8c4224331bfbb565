"""Messages to producers' servers, and the secrets that sign them."""

import uuid
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import DeliveryState, DisabledReason
from cutout.models.columns import NEW_ID, NOW, OWNER, address, one_of
from cutout.models.database import Base


class Delivery(Base):
    """A message to a producer's server. Its id is the `webhook-id`; exactly this payload is signed.

    `due_at` is also the fence: a sender moves it first, and records the response only if it is unchanged
    since then. `tries` counts the tries since the message was created or replayed.
    """

    __tablename__ = "deliveries"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    # No foreign key: the delivery outlives the endpoint.
    endpoint_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    url: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(
        Text, Computed("lower(\"substring\"(url, '://([^/?#]+)'::text))", persisted=True)
    )
    type: Mapped[str] = mapped_column(Text)
    payload: Mapped[str] = mapped_column(Text)
    state: Mapped[DeliveryState] = mapped_column(Text, server_default=DeliveryState.WAITING)
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    # A day after the first try.
    give_up_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_status: Mapped[int | None] = mapped_column(SmallInteger)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Ends after which it was sent again, the first one first: {"state", "at", "tries", "status", "error",
    # "again_at"}.
    past_ends: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))

    __table_args__ = (
        address("url"),
        CheckConstraint(one_of("state", DeliveryState), name="state_is_known"),
        CheckConstraint(
            "(state = 'waiting') = (finished_at IS NULL)", name="waiting_if_and_only_if_not_finished"
        ),
        CheckConstraint("state <> 'given_up' OR last_error IS NOT NULL", name="given_up_says_why"),
        CheckConstraint("tries >= 0", name="tries_are_not_negative"),
        Index(
            "ix_deliveries_due_by_owner",
            text(OWNER),
            "host",
            "due_at",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_deliveries_give_up_at", "give_up_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_deliveries_finished_at", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("ix_deliveries_producer_id_id", "producer_id", "id"),
        Index(
            "ix_deliveries_undelivered", "producer_id", "id", postgresql_where=text("state <> 'delivered'")
        ),
        Index(
            "ix_deliveries_endpoint",
            "producer_id",
            "endpoint_id",
            "id",
            postgresql_where=text("endpoint_id IS NOT NULL"),
        ),
        # Those about jobs: to be searched if one of them is deleted.
        Index(
            "ix_deliveries_endpoint_jobs",
            "producer_id",
            "id",
            postgresql_where=text("endpoint_id IS NOT NULL AND type LIKE 'job%'"),
        ),
        # Those about one job, and the digests of a batch: for the life of a job.
        Index(
            "ix_deliveries_job",
            text("((payload::json -> 'data') ->> 'id')"),
            "id",
            postgresql_where=text("type LIKE 'job.%'"),
        ),
        Index(
            "ix_deliveries_digest",
            text("((payload::json -> 'data') ->> 'batch_id')"),
            "id",
            postgresql_where=text("type = 'jobs.digest'"),
        ),
    )


class Digest(Base):
    """A job that ended or is held, until its digest is made: for its batch's webhook, for endpoints, or both.

    `endpoint_ids` are the endpoints that wanted the event when it happened.
    """

    __tablename__ = "digests"
    __table_args__ = (Index("ix_digests_turns", text(OWNER), "batch_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    batch_id: Mapped[uuid.UUID] = mapped_column(Uuid)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    endpoint_ids: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(Uuid))
    url: Mapped[str | None] = mapped_column(Text)
    job: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


class WebhookSecret(Base):
    """The version of the secret that signs an owner's webhooks; 1 without a row. No secret is stored.

    The owner is a producer, one of its endpoints, or the nil UUID for jobs without a producer. The previous
    version signs as well until `overlap_until`.
    """

    __tablename__ = "webhook_secrets"
    __table_args__ = (CheckConstraint("version > 1", name="the_first_needs_no_row"),)

    owner: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    version: Mapped[int]
    overlap_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class WebhookEndpoint(Base):
    """An address that receives messages about all of a producer's events that `events` names.

    `failing_since` is the time of the first failed try since the last message was accepted.
    """

    __tablename__ = "webhook_endpoints"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("producers.id"))
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    description: Mapped[str | None] = mapped_column(Text)
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    disabled_reason: Mapped[DisabledReason | None] = mapped_column(Text)
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)

    __table_args__ = (
        address("url"),
        CheckConstraint("cardinality(events) > 0", name="events_are_not_empty"),
        CheckConstraint(one_of("disabled_reason", DisabledReason), name="disabled_reason_is_known"),
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_says_why"),
        Index("ix_webhook_endpoints_producer_id_id", "producer_id", "id"),
        Index(
            "ix_webhook_endpoints_failing_since",
            "failing_since",
            postgresql_where=text("failing_since IS NOT NULL AND disabled_at IS NULL"),
        ),
    )


class Receiver(Base):
    """A host that accepted an owner's last webhook; without a row it never did, or not the last one.

    The owner is a producer, or the nil UUID for jobs without one. Each owner proves a host for itself only.
    """

    __tablename__ = "receivers"

    owner: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    host: Mapped[str] = mapped_column(Text, primary_key=True)
    proven_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)

    __table_args__ = (Index("ix_receivers_proven_at", "proven_at"),)


DELIVERIES = cast("Table", Delivery.__table__)
WEBHOOK_SECRETS = cast("Table", WebhookSecret.__table__)
RECEIVERS = cast("Table", Receiver.__table__)
WEBHOOK_ENDPOINTS = cast("Table", WebhookEndpoint.__table__)
