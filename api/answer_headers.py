"""Headers that a request's answer gets whatever it is: good, a problem, or an error that nobody expected."""

from fastapi import Request
from starlette.types import Scope

# Of a request's state.
ANSWER_HEADERS = "answer_headers"


def add_answer_header(request: Request, name: str, value: str) -> None:
    """Let the answer to the request have this header. The value is printable ASCII."""
    request.scope.setdefault("state", {}).setdefault(ANSWER_HEADERS, {})[name] = value


def answer_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The headers that were added, as ASGI has them."""
    added = scope.get("state", {}).get(ANSWER_HEADERS, {})
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in added.items()]
