"""Secrets that webhooks are signed with: derived from one setting, so that the database holds none."""

import base64
import hashlib
import hmac
import uuid

from pydantic import SecretStr

# Begins every secret of Standard Webhooks.
SECRET_PREFIX = "whsec_"  # noqa: S105  # nosec B105


def secret_of(master: SecretStr, owner: uuid.UUID, version: int) -> str:
    """An owner's secret in the notation of Standard Webhooks; `master` is CUTOUT_WEBHOOK_SECRET."""
    purpose = f"cutout webhook {owner} {version}".encode()
    derived = hmac.digest(master.get_secret_value().encode(), purpose, hashlib.sha256)
    return SECRET_PREFIX + base64.b64encode(derived).decode()
