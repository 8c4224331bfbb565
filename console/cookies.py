"""The session's cookie: over TLS, or on the machine itself."""

from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address

from fastapi import Request, Response

from console.faults import PageError
from cutout.producers.sessions import SESSION_LASTS

SECURE_NAME = "__Host-cutout"
# Cookies do not know ports: two installations on one machine must not end each other's sessions.
LOCAL_NAME = "cutout-local-{}"
THEME = "cutout-theme"
THEMES = ("light", "dark")
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


def is_local(request: Request) -> bool:
    """Whether the browser asks for this machine by a name of it: no network carries its cookie.

    A proxy may name this machine for a browser that is elsewhere. A container's host has a private address.
    """
    if any(name in request.headers for name in FORWARDED) or not _is_near(request):
        return False
    host = request.url.hostname or ""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def require_private(request: Request) -> None:
    """Raise PageError, 403, if a key or cookie would pass a network in the clear."""
    if request.url.scheme != "https" and not is_local(request):
        raise PageError(
            HTTPStatus.FORBIDDEN,
            "Without TLS the console signs in on the machine itself alone: others could read your key.",
            "Open it by https. Behind a proxy that has the certificate, its address belongs into"
            " CUTOUT_API_TRUSTED_PROXIES.",
        )


def session_token(request: Request) -> str | None:
    """The token that the request's cookie has."""
    return request.cookies.get(_name(request)) or None


def set_session(request: Request, response: Response, token: str) -> None:
    """Let the browser keep the token; scripts cannot read it, and other sites do not send it."""
    response.set_cookie(
        _name(request),
        token,
        max_age=int(SESSION_LASTS.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def drop_session(request: Request, response: Response) -> None:
    """Let the browser forget the token."""
    response.delete_cookie(
        _name(request), path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict"
    )


def theme_of(request: Request) -> str:
    """The theme that was chosen in this browser; empty if it follows the system."""
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in THEMES else ""


def _is_near(request: Request) -> bool:
    address = _address(request.client.host) if request.client else None
    return address is not None and address.is_private


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _name(request: Request) -> str:
    return SECURE_NAME if request.url.scheme == "https" else LOCAL_NAME.format(request.url.port or 80)
