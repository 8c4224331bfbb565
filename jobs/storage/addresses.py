"""Addresses of objects."""


def split_address(source: str) -> tuple[str, str] | None:
    """Bucket and key of an `s3://` address, the key as it stands; None for any other address."""
    scheme, found, rest = source.partition("s3://")
    if scheme or not found:
        return None
    name, _, key = rest.partition("/")
    return name, key
