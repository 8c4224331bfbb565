"""Buttons of a reason: release or cancel all jobs that are held for it, whatever their batch."""

from fastapi import Request

from console.changes.asked_first import asked_first
from console.changes.carry_out import Done, Sent, refused, stale, unusable
from console.changes.confirmation import Confirmation, Entry, free_words, jobs, price
from console.console import console_of
from console.pages import viewer_of
from console.screens.router import screen_router
from console.small_form import small_form
from console.viewer import Right
from cutout.actions.held import MOST_AT_ONCE, HeldJobs, cancel_held, find_held, release_held

router = screen_router()

TROUBLE = "/console/trouble"
LONGEST_CODE = 200


def release(sent: Sent) -> Done:
    """Release as many jobs as were shown, at the price that was shown."""
    held = _locked(sent)
    if (sent.text("jobs"), sent.text("credits")) != (str(len(held.ids)), str(held.credits)):
        raise stale("Other jobs are held for this reason than the page showed")
    sent.viewer.require(Right.SPEND if held.credits else Right.OPERATE)
    return Done(TROUBLE, release_held(sent.session, sent.asked, held))


def cancel(sent: Sent) -> Done:
    """Cancel the jobs whose number was typed."""
    held, typed = _locked(sent), sent.number("count")
    if typed != len(held.ids):
        raise refused(f"It would be {jobs(len(held.ids))}, not {typed:,} as typed. Nothing was done.")
    return Done(TROUBLE, cancel_held(sent.session, sent.asked, held))


async def ask_release(request: Request) -> Confirmation:
    """Ask whether they are to be released, at the price of now."""
    held, viewer = await _held(request), viewer_of(request)
    number, needed = len(held.ids), Right.SPEND if held.credits else Right.OPERATE
    lacks = None if viewer.may(needed) else needed
    button = f"Release {jobs(number)}: {price(held.credits)}{free_words(held.free)}"
    fields = {"code": held.code, "jobs": str(number), "credits": str(held.credits)}
    title = f"Release {jobs(number)}?"
    return Confirmation(title, _lines(held), f"{TROUBLE}/held/release", button, TROUBLE, fields, lacks=lacks)


async def ask_cancel(request: Request) -> Confirmation:
    """Ask for the number of these jobs, before they are cancelled."""
    held = await _held(request)
    number = len(held.ids)
    entry = Entry("count", "To cancel them, type their number")
    lines = (*_lines(held), "No call of them begins any more. What is paid for is still stored.")
    title, address = f"Cancel {jobs(number)}?", f"{TROUBLE}/held/cancel"
    return Confirmation(
        title, lines, address, f"Cancel {jobs(number)}", TROUBLE, {"code": held.code}, (entry,)
    )


async def _held(request: Request) -> HeldJobs:
    viewer = viewer_of(request)
    given = request.query_params if request.method == "GET" else await small_form(request)
    code = _code(given.get("code", ""))
    found = await console_of(request).pool.read(
        lambda connection: find_held(connection, code, viewer.producer_id), of=viewer.producer_id
    )
    return _some(found)


def _locked(sent: Sent) -> HeldJobs:
    return _some(find_held(sent.session, _code(sent.text("code")), sent.viewer.producer_id, lock=True))


def _some(held: HeldJobs) -> HeldJobs:
    if not held.ids:
        raise refused("No job is held for this reason any more.")
    return held


def _lines(held: HeldJobs) -> tuple[str, ...]:
    all_ = f"They are held for {held.code}, in all batches."
    return (all_, f"These are the oldest {MOST_AT_ONCE:,}.") if len(held.ids) >= MOST_AT_ONCE else (all_,)


def _code(given: str) -> str:
    if not given or len(given) > LONGEST_CODE or not given.isprintable():
        raise unusable("This form is not complete")
    return given


asked_first(router, f"{TROUBLE}/held/release", Right.OPERATE, ask=ask_release, act=release)
asked_first(router, f"{TROUBLE}/held/cancel", Right.OPERATE, ask=ask_cancel, act=cancel)
