"""Pictures by number: each has an address and a content, and every other one was uploaded."""

import hashlib

from cutout.storage.object_keys import sha256_in_key, source_key
from tests.support.steps import MAKING

BUCKET = f"s3://{MAKING.bucket}/"


def source_of(number: int) -> str:
    """The address of a picture: at a shop, or, if uploaded, an address with its SHA-256."""
    if number % 2:
        return f"https://shop.example/{number}.jpg"
    return f"{BUCKET}{source_key(hashlib.sha256(str(number).encode()).hexdigest())}"


def sha256_of(source: str) -> bytes:
    """The SHA-256 of the content at an address."""
    return sha256_in_key(source.removeprefix(BUCKET)) or hashlib.sha256(source.encode()).digest()
