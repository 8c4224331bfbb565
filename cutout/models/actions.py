"""Actions: changes that were asked for, with who asked, and the quotes by which some may be asked for."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from cutout.enums import CARRIED_OUT, ActionKind, Role, Subject
from cutout.models.columns import NEW_ID, NOW, OWNER, one_of
from cutout.models.database import Base

IS_CARRIED_OUT = f"batch_id IS NOT NULL AND {one_of('kind', CARRIED_OUT)}"
# A reason is a sentence; names are of keys, or of users of a machine.
LONGEST_REASON, LONGEST_ACTOR = 500, 200


class Action(Base):
    """A change that was asked for: by whom, on what, how many, at what price, and whether it was undone.

    Most are finished in the transaction that accepts them. Those of the kinds CARRIED_OUT may be unfinished:
    the leading dispatcher carries them out in portions. `actor_role` is null for those of a version that did
    not record it. `producer_id` owns the subject, `batch_id` is the batch that it is about or in. `expected`
    is the number of jobs or outputs that was accepted, `credits` the most that they may cost.

    `position` is where the next portion begins, `changed` counts the jobs or outputs changed so far. It is
    tried from `due_at` on; `tries` counts the portions begun since the last one that was completed. `code`
    and `message` say why it waits, or why it ended before all was changed. The actions of one batch are
    carried out one at a time, in the order of their ids.
    """

    __tablename__ = "actions"
    __table_args__ = (
        CheckConstraint(one_of("kind", ActionKind), name="kind_is_known"),
        CheckConstraint("changed >= 0 AND tries >= 0", name="counts_are_not_negative"),
        CheckConstraint("(code IS NULL) = (message IS NULL)", name="a_code_has_a_message"),
        CheckConstraint(f"finished_at IS NOT NULL OR ({IS_CARRIED_OUT})", name="others_are_finished"),
        CheckConstraint(one_of("actor_role", Role), name="role_is_known"),
        CheckConstraint(
            f"length(actor) <= {LONGEST_ACTOR} AND length(undone_by) <= {LONGEST_ACTOR}"
            f" AND length(reason) <= {LONGEST_REASON}",
            name="texts_are_short",
        ),
        CheckConstraint(one_of("subject", Subject), name="subject_is_known"),
        CheckConstraint("(undone_at IS NULL) = (undone_by IS NULL)", name="undone_by_somebody"),
        # The oldest of each producer that is not finished.
        Index("ix_actions_unfinished", text(OWNER), "id", postgresql_where=text("finished_at IS NULL")),
        Index("ix_actions_batch", "batch_id", "id"),
        Index("ix_actions_producer", "producer_id", "id"),
        Index("ix_actions_subject", "subject_id", "id", postgresql_where=text("subject_id IS NOT NULL")),
        # Those that batches are shown with, whatever else was done to them.
        Index("ix_actions_carried_out", "batch_id", "id", postgresql_where=text(one_of("kind", CARRIED_OUT))),
        Index(
            "ix_actions_unfinished_of_batch", "batch_id", "id", postgresql_where=text("finished_at IS NULL")
        ),
        # A second one would do what the first is going to do.
        Index(
            "uq_actions_waiting",
            "batch_id",
            "kind",
            unique=True,
            postgresql_where=text("started_at IS NULL AND finished_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    producer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("producers.id"))
    batch_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("batches.id"))
    kind: Mapped[ActionKind] = mapped_column(Text)
    options: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    requested_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    position: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))
    changed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    code: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    actor_role: Mapped[Role | None] = mapped_column(Text)
    actor: Mapped[str | None] = mapped_column(Text)
    actor_key_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    subject: Mapped[Subject | None] = mapped_column(Text)
    subject_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    expected: Mapped[int | None] = mapped_column(BigInteger)
    credits: Mapped[int | None] = mapped_column(BigInteger)
    dollars: Mapped[Decimal | None] = mapped_column(Numeric)
    reason: Mapped[str | None] = mapped_column(Text)
    undone_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    undone_by: Mapped[str | None] = mapped_column(Text)


class Quote(Base):
    """A count and a price that were shown to an actor, who may accept them within a short time, once.

    Of `jobs`, `free` continue with a paid result, and `credits` may be called again, for `dollars`.
    """

    __tablename__ = "quotes"
    __table_args__ = (
        CheckConstraint(
            "jobs >= 0 AND free >= 0 AND credits >= 0 AND free + credits = jobs", name="counts_add_up"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=NEW_ID)
    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("batches.id"))
    actor_role: Mapped[Role] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    actor_key_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    codes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    jobs: Mapped[int] = mapped_column(BigInteger)
    free: Mapped[int] = mapped_column(BigInteger)
    credits: Mapped[int] = mapped_column(BigInteger)
    dollars: Mapped[Decimal] = mapped_column(Numeric)
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)


QUOTES = cast("Table", Quote.__table__)
ACTIONS = cast("Table", Action.__table__)
