"""Sessions of the console, and links that make one."""

import uuid
from datetime import datetime
from typing import cast

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, Table, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from cutout.models.columns import NOW
from cutout.models.database import Base


class ConsoleSession(Base):
    """A browser that signed in with a key. The cookie's token is stored as a hash.

    `seen_at` is accurate to a minute. It ends at `ends_at`, when it was idle for long, and with its key.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_ends_at", "ends_at"), Index("ix_sessions_key_id", "key_id"))

    token_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class SignInLink(Base):
    """A link that makes one session of a key. Its token is stored as a hash; the row goes when it is used."""

    __tablename__ = "sign_in_links"
    __table_args__ = (Index("ix_sign_in_links_ends_at", "ends_at"),)

    token_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    key_id: Mapped[uuid.UUID] = mapped_column(Uuid, ForeignKey("api_keys.id", ondelete="CASCADE"))
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


SESSIONS = cast("Table", ConsoleSession.__table__)
SIGN_IN_LINKS = cast("Table", SignInLink.__table__)
