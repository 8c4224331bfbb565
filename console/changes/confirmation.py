"""Questions before a change that spends or is final, on a page or in a dialog."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import Request, Response

from console.changes.carry_out import Act, carry_out
from console.console import console_of
from console.faults import PageError
from console.pages import answer_headers, frame
from console.templates import price_of
from console.viewer import Right
from cutout.models.actions import LONGEST_REASON


@dataclass(frozen=True, slots=True)
class Entry:
    """A field that is to be filled in."""

    name: str
    label: str
    value: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A change that a person is to confirm.

    `action` is where the form goes, with `fields` as they were shown, by POST or, for one that only asks for
    a price, by GET. `lacks` is the right that the viewer would need; without it there is no button. `look` is
    a link and its text, to what is to be looked at before.
    """

    title: str
    lines: Sequence[str]
    action: str
    button: str
    back: str
    fields: Mapping[str, str] = field(default_factory=dict)
    entries: Sequence[Entry] = ()
    choice: tuple[str, str] | None = None
    method: str = "post"
    lacks: Right | None = None
    look: tuple[str, str] | None = None


Ask = Callable[[], Awaitable[Confirmation]]


def confirmation_page(
    request: Request, confirmation: Confirmation, fault: str = "", status: HTTPStatus = HTTPStatus.OK
) -> Response:
    """The page that asks; `fault` says why the answer before was not taken."""
    console = console_of(request)
    values = {
        **frame(request),
        "title": confirmation.title,
        "confirmation": confirmation,
        "fault": fault,
        "longest_reason": LONGEST_REASON,
    }
    page = console.templates.page("confirmation.html", values)
    headers = {**answer_headers(console), "Cache-Control": "no-store"}
    return Response(page, status_code=status, media_type="text/html", headers=headers)


async def carry_out_or_ask(request: Request, right: Right, act: Act, ask: Ask) -> Response:
    """Carry out what the form asks for, or say why not and ask again, with the numbers of now."""
    try:
        return await carry_out(request, right, act)
    except PageError as error:
        if error.status not in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise
        try:
            confirmation = await ask()
        except PageError:
            raise error from None
        return confirmation_page(request, confirmation, error.text, error.status)


def jobs(number: int) -> str:
    """A number of jobs."""
    return "1 job" if number == 1 else f"{number:,} jobs"


def price(credits_: int) -> str:
    """The most that calls may cost: credits and dollars."""
    if not credits_:
        return "no credit"
    return f"up to {credits_:,} {'credit' if credits_ == 1 else 'credits'}, {price_of(credits_)}"


def free_words(free: int) -> str:
    """The jobs of a retry that cost nothing, in brackets."""
    if not free:
        return ""
    return f" ({free:,} {'continues' if free == 1 else 'continue'} with a paid result, at no cost)"
