"""Buttons of a reason: release or cancel all jobs that are held for it, whatever their batch."""

from fastapi import Request, Response

from console.changes.carry_out import Done, Sent, refused, stale, unusable
from console.changes.confirmation import (
    Confirmation,
    Entry,
    carry_out_or_ask,
    confirmation_page,
    free_words,
    jobs,
    price,
)
from console.console import console_of
from console.pages import viewer_of
from console.screens.router import screen_router
from console.small_form import small_form
from console.viewer import Right
from cutout.actions.held import MOST_AT_ONCE, HeldJobs, cancel_held, find_held, release_held

router = screen_router()

TROUBLE = "/console/trouble"
LONGEST_CODE = 200


@router.get("/console/trouble/held/release")
async def ask_release(request: Request) -> Response:
    """Ask whether they are to be released, at the price of now."""
    viewer_of(request).require(Right.OPERATE)
    return confirmation_page(request, await _ask_to_release(request, request.query_params.get("code", "")))


@router.post("/console/trouble/held/release")
async def release(request: Request) -> Response:
    """Release as many jobs as were shown, at the price that was shown."""
    code = (await small_form(request)).get("code", "")

    def act(sent: Sent) -> Done:
        held = find_held(sent.session, _code(code), sent.viewer.producer_id, lock=True)
        if (sent.text("jobs"), sent.text("credits")) != (str(len(held.ids)), str(held.credits)):
            raise stale("Other jobs are held for this reason than the page showed")
        if not held.ids:
            raise refused("No job is held for this reason any more.")
        sent.viewer.require(Right.SPEND if held.credits else Right.OPERATE)
        return Done(TROUBLE, release_held(sent.session, sent.asked, held))

    return await carry_out_or_ask(request, Right.OPERATE, act, lambda: _ask_to_release(request, code))


@router.get("/console/trouble/held/cancel")
async def ask_cancel(request: Request) -> Response:
    """Ask for the number of these jobs, before they are cancelled."""
    viewer_of(request).require(Right.OPERATE)
    return confirmation_page(request, await _ask_to_cancel(request, request.query_params.get("code", "")))


@router.post("/console/trouble/held/cancel")
async def cancel(request: Request) -> Response:
    """Cancel the jobs whose number was typed."""
    code = (await small_form(request)).get("code", "")

    def act(sent: Sent) -> Done:
        held = find_held(sent.session, _code(code), sent.viewer.producer_id, lock=True)
        typed = sent.number("count")
        if not held.ids:
            raise refused("No job is held for this reason any more.")
        if typed != len(held.ids):
            raise refused(f"It would be {jobs(len(held.ids))}, not {typed:,} as typed. Nothing was done.")
        return Done(TROUBLE, cancel_held(sent.session, sent.asked, held))

    return await carry_out_or_ask(request, Right.OPERATE, act, lambda: _ask_to_cancel(request, code))


async def _ask_to_release(request: Request, code: str) -> Confirmation:
    held, viewer = await _held(request, code), viewer_of(request)
    number, needed = len(held.ids), Right.SPEND if held.credits else Right.OPERATE
    lacks = None if viewer.may(needed) else needed
    button = f"Release {jobs(number)}: {price(held.credits)}{free_words(held.free)}"
    fields = {"code": held.code, "jobs": str(number), "credits": str(held.credits)}
    title = f"Release {jobs(number)}?"
    return Confirmation(title, _lines(held), f"{TROUBLE}/held/release", button, TROUBLE, fields, lacks=lacks)


async def _ask_to_cancel(request: Request, code: str) -> Confirmation:
    held = await _held(request, code)
    number = len(held.ids)
    entry = Entry("count", "To cancel them, type their number")
    lines = (*_lines(held), "No call of them begins any more. What is paid for is still stored.")
    title, address = f"Cancel {jobs(number)}?", f"{TROUBLE}/held/cancel"
    return Confirmation(
        title, lines, address, f"Cancel {jobs(number)}", TROUBLE, {"code": held.code}, (entry,)
    )


async def _held(request: Request, code: str) -> HeldJobs:
    viewer = viewer_of(request)
    found = await console_of(request).pool.read(
        lambda connection: find_held(connection, _code(code), viewer.producer_id), of=viewer.producer_id
    )
    if not found.ids:
        raise refused("No job is held for this reason any more.")
    return found


def _lines(held: HeldJobs) -> tuple[str, ...]:
    all_ = f"They are held for {held.code}, in all batches."
    return (all_, f"These are the oldest {MOST_AT_ONCE:,}.") if len(held.ids) >= MOST_AT_ONCE else (all_,)


def _code(given: str) -> str:
    if not given or len(given) > LONGEST_CODE or not given.isprintable():
        raise unusable("This form is not complete")
    return given
