"""Secrets that sign webhooks: one for each producer, and the installation's for other messages."""

import base64
import hashlib
import hmac
import uuid
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr
from sqlalchemy import func, literal, null, select
from sqlalchemy.dialects.postgresql import insert

from cutout.models import WEBHOOK_SECRETS
from cutout.models.database import Database

INSTALLATION = uuid.UUID(int=0)
FIRST_VERSION = 1
OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class SecretState:
    """The version that signs, and whether the one before it signs as well."""

    version: int = FIRST_VERSION
    overlaps: bool = False

    @property
    def signing(self) -> list[int]:
        """The versions that sign now, the newest first."""
        return [self.version, self.version - 1] if self.overlaps else [self.version]


def secret_state(database: Database, owner: uuid.UUID) -> SecretState:
    """The state of the owner's secrets now."""
    state = select(
        WEBHOOK_SECRETS.c.version, func.coalesce(WEBHOOK_SECRETS.c.overlap_until > func.now(), literal(False))
    ).where(WEBHOOK_SECRETS.c.owner == owner)
    row = database.execute(state).first()
    return SecretState(*row) if row else SecretState()


def rotate(database: Database, owner: uuid.UUID, *, at_once: bool = False) -> SecretState:
    """Sign with a new secret from now on, and for 24 h also with the previous one, unless `at_once`.

    Older secrets sign nothing any more.
    """
    overlap = null() if at_once else func.now() + OVERLAP
    table = WEBHOOK_SECRETS
    database.execute(
        insert(table)
        .values(owner=owner, version=FIRST_VERSION + 1, overlap_until=overlap)
        .on_conflict_do_update(
            index_elements=[table.c.owner], set_={"version": table.c.version + 1, "overlap_until": overlap}
        )
    )
    return secret_state(database, owner)


# The prefix of every secret of Standard Webhooks.
SECRET_PREFIX = "whsec_"  # noqa: S105  # nosec B105


def secret_of(master: SecretStr, owner: uuid.UUID, version: int) -> str:
    """An owner's secret in the notation of Standard Webhooks; `master` is CUTOUT_WEBHOOK_SECRET."""
    purpose = f"cutout webhook {owner} {version}".encode()
    derived = hmac.digest(master.get_secret_value().encode(), purpose, hashlib.sha256)
    return SECRET_PREFIX + base64.b64encode(derived).decode()
