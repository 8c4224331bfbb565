"""Buttons that ask before they act: one address, asked by GET and carried out by POST."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response

from console.changes.carry_out import Act
from console.changes.confirmation import Confirmation, carry_out_or_ask, confirmation_page
from console.pages import viewer_of
from console.viewer import Right

Ask = Callable[[Request], Awaitable[Confirmation]]


def asked_first(router: APIRouter, path: str, right: Right, *, ask: Ask, act: Act) -> None:
    """Serve a button for viewers with the right: what `ask` shows, and `act` once a person said yes."""

    async def question(request: Request) -> Response:
        viewer_of(request).require(right)
        return confirmation_page(request, await ask(request))

    async def yes(request: Request) -> Response:
        return await carry_out_or_ask(request, right, act, lambda: ask(request))

    router.add_api_route(path, question, methods=["GET"], name=ask.__name__)
    router.add_api_route(path, yes, methods=["POST"], name=act.__name__)
