"""The address of a request's client, as the connection or a trusted proxy gives it."""

import ipaddress

from starlette.types import Scope


def client_address(scope: Scope) -> str:
    """The IP address, without a zone; empty if it is none: a proxy may pass on any text of the client's."""
    given: str = scope["client"][0] if scope.get("client") else ""
    try:
        # A zone may hold any characters.
        return str(ipaddress.ip_address(given.partition("%")[0]))
    except ValueError:
        return ""
