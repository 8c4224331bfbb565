"""Addresses as they may be shown: what can hold a token is left out."""

from urllib.parse import urlsplit, urlunsplit


def without_secrets(url: str) -> str:
    """The address without user, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, host_of(url), parts.path, "", ""))


def host_of(url: str) -> str:
    """The host of an address in small letters, with its port if it names one."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()
