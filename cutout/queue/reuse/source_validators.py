"""Validators of sources: ETag and Last-Modified as in RFC 9110, and the SHA-256 of the content."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from cutout.models import SOURCES
from cutout.models.database import Database


@dataclass(frozen=True, slots=True)
class SourceValidator:
    """Validators that a server sent when a source was last fetched, and the SHA-256 of its content then."""

    etag: str | None
    last_modified: str | None
    content_sha256: bytes


def find_validator(database: Database, address: str) -> SourceValidator | None:
    """Find the validators of a source by its address."""
    found = select(SOURCES.c.etag, SOURCES.c.last_modified, SOURCES.c.content_sha256)
    row = database.execute(found.where(SOURCES.c.address_sha256 == address_sha256(address))).first()
    return SourceValidator(row.etag, row.last_modified, row.content_sha256) if row else None


def save_validator(database: Database, address: str, seen: SourceValidator) -> None:
    """Save the validators of a source that was fetched."""
    values = {
        "etag": seen.etag,
        "last_modified": seen.last_modified,
        "content_sha256": seen.content_sha256,
        "seen_at": func.now(),
    }
    new = insert(SOURCES).values(address_sha256=address_sha256(address), **values)
    database.execute(new.on_conflict_do_update(index_elements=["address_sha256"], set_=values))


def address_sha256(address: str) -> bytes:
    """The key of a row in `sources`: an address may be too long for an index."""
    return hashlib.sha256(address.encode()).digest()
