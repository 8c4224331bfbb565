"""Requests are taken for the hosts alone that the operator names, if he names any."""

from collections.abc import Collection
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem

# A balancer asks by the address.
FOR_ALL = frozenset({"/healthz", "/readyz"})


class Hosts:
    """ASGI middleware: a problem 421 unless `Host` is among these, or below one that is written *.domain."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self._names = {host for host in hosts if not host.startswith("*.")}
        self._endings = tuple(host[1:] for host in hosts if host.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in FOR_ALL or self._takes(dict(scope["headers"])):
            await self.app(scope, receive, send)
            return
        text = "the request's Host is not one of this API's; ask for it by its own name"
        answer = problem(HTTPStatus.MISDIRECTED_REQUEST, "wrong-host", text)
        await answer(scope, receive, send)

    def _takes(self, headers: dict[bytes, bytes]) -> bool:
        if not self._names and not self._endings:
            return True
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        return name in self._names or name.endswith(self._endings or ("\0",))
