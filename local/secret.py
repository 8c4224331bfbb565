"""A password made once and kept in a file that its owner alone can read."""

import secrets
from pathlib import Path


def keep_secret(path: Path) -> str:
    """The secret in the file (mode 0600), made now if there is none: 43 characters safe in a URL."""
    path.touch(mode=0o600)
    secret = path.read_text()
    if not secret:
        secret = secrets.token_urlsafe(32)
        path.write_text(secret)
    return secret
