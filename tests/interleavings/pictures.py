"""Pictures by their numbers: each has an address and a content, and every other one was uploaded."""

import hashlib

from cutout.storage.object_keys import sha256_in_key, source_key
from tests.support.steps import MAKING

BUCKET = f"s3://{MAKING.bucket}/"


def source_of(number: int) -> str:
    """Where the picture lies: at a shop's, or, uploaded, at an address that says its content."""
    if number % 2:
        return f"https://shop.example/{number}.jpg"
    return f"{BUCKET}{source_key(hashlib.sha256(str(number).encode()).hexdigest())}"


def sha256_of(source: str) -> bytes:
    """The SHA-256 of what lies there."""
    return sha256_in_key(source.removeprefix(BUCKET)) or hashlib.sha256(source.encode()).digest()
