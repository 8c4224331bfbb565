"""Changes that a page asks for: each in one transaction, answered with what was done, or why not."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from console.changes.action_text import find_action, is_undoable, notice_text
from console.console import Console, console_of
from console.faults import PageError, not_found
from console.pages import answer_headers, viewer_of
from console.small_form import small_form
from console.templates import address_with
from console.viewer import Right, Viewer
from cutout.actions import Asked, ReasonError, RightMissingError
from cutout.actions.quotes import QuoteError
from cutout.actions.typed_counts import OtherCountError
from cutout.actions.undo import NotUndoneError
from cutout.administration.delete_batch import NotDeletableError
from cutout.producers.quotas import QuotaReachedError, count_anew
from cutout.queue.batch_actions.unfinished import BatchIsEndingError
from cutout.queue.blocks.pauses import PausedByOperatorError
from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.schedules.skips import SkippedByOperatorError
from cutout.status.action_log import ActionFilter, find_actions
from cutout.status.producer_texts import text_for_producer

# To count the jobs of the largest batch takes longer than a look may.
STATEMENT_S = 10
HOME = "/console"
JSON = "application/json"
LONGEST_NUMBER = 12
WHOLE = re.compile(rf"[0-9]{{1,{LONGEST_NUMBER}}}")
REFUSALS = (
    QuoteError,
    OtherCountError,
    NotUndoneError,
    NotDeletableError,
    BatchIsEndingError,
    PausedByOperatorError,
    InvalidScheduleError,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A form that was sent: by whom, with which fields, and the transaction in which it is carried out.

    `path` has the ids of its address.
    """

    session: Session
    viewer: Viewer
    asked: Asked
    fields: Mapping[str, str]
    path: Mapping[str, str]

    def text(self, name: str) -> str:
        """A field, empty without it."""
        return self.fields.get(name, "").strip()

    def number(self, name: str) -> int:
        """A whole number of the form. Raises PageError, 422, for anything else."""
        return whole_number(self.text(name))

    def id(self, name: str) -> uuid.UUID:
        """An id of the form. Raises PageError, 422, for anything else."""
        try:
            return uuid.UUID(self.text(name))
        except ValueError:
            raise unusable("This form is not complete") from None


@dataclass(frozen=True, slots=True)
class Done:
    """A change that was made: the id of its action, and the page that shows what came of it.

    Without the id it is the latest action on `subject_id`, of the same transaction.
    """

    href: str
    action_id: uuid.UUID | None = None
    subject_id: uuid.UUID | None = None


Act = Callable[[Sent], Done]


def id_in(path: Mapping[str, str], name: str) -> uuid.UUID:
    """The id in an address. Raises PageError, 404, if it is none."""
    try:
        return uuid.UUID(path[name])
    except ValueError:
        raise not_found("such page") from None


async def carry_out(request: Request, right: Right, act: Act) -> Response:
    """Carry out what the form asks for. Raises PageError if it cannot be: then nothing was changed.

    The answer leads to the page that tells it; for a script it is JSON: `text`, `undo` and `href`.
    """
    console, viewer = console_of(request), viewer_of(request)
    viewer.require(right)
    fields = await small_form(request)
    try:
        asked = viewer.asked(fields.get("reason"))
    except ReasonError as error:
        raise unusable(_sentence(str(error))) from None

    def begun(session: Session) -> Sent:
        return Sent(session, viewer, asked, fields, request.path_params)

    try:
        done, told, undoable = await _changed(console, viewer, begun, act)
    except RightMissingError as error:
        raise PageError(HTTPStatus.FORBIDDEN, _sentence(str(error)), "Ask for a key that has it.") from None
    except SkippedByOperatorError as error:
        raise PageError(HTTPStatus.FORBIDDEN, _sentence(str(error)), "Nothing was done.") from None
    except QuotaReachedError as error:
        await _count_anew(console, viewer)
        raise refused(_sentence(str(error)), "Wait until some of the jobs that wait have ended.") from None
    except REFUSALS as error:
        said = str(error) if viewer.is_operator else text_for_producer(str(error))
        raise refused(f"{_sentence(said)} Nothing was done.") from None
    href = address_with(done.href, did=done.action_id)
    if wants_json(request):
        undo = f"/console/actions/{done.action_id}/undo" if undoable else None
        headers = {**answer_headers(console), "Cache-Control": "no-store"}
        return JSONResponse({"text": told, "undo": undo, "href": href}, headers=headers)
    return RedirectResponse(href, status_code=HTTPStatus.SEE_OTHER)


def wants_json(request: Request) -> bool:
    """Whether a script of ours asks."""
    return request.headers.get("accept", "").startswith(JSON)


def whole_number(given: str) -> int:
    """A whole number as people write it. Raises PageError, 422."""
    bare = given.strip().replace(",", "").replace("\u202f", "").replace(" ", "")
    if WHOLE.fullmatch(bare) is None:
        raise unusable(f"“{given[:40]}” is no whole number", "Type it in digits.")
    return int(bare)


def unusable(text_: str, remedy: str = "Go back and try again.") -> PageError:
    """A form that cannot be carried out as it is."""
    end = "" if text_.endswith(".") else ", and nothing was done."
    return PageError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{text_}{end}", remedy)


def refused(text_: str, remedy: str = "Look at it as it is now.") -> PageError:
    """Something that is not as the page showed it, or cannot be done now."""
    return PageError(HTTPStatus.CONFLICT, text_, remedy)


def stale(text_: str = "It was changed meanwhile") -> PageError:
    """A page that shows what was."""
    return refused(f"{text_}, and nothing was done.")


def back_to(given: str, other: str) -> str:
    """The address of the console that a form names; `other` for anything else."""
    path = given.partition("?")[0]
    is_ours = path == HOME or path.startswith(f"{HOME}/")
    return path if is_ours and path.isprintable() and "\\" not in path and "//" not in path else other


async def _changed(
    console: Console, viewer: Viewer, begun: Callable[[Session], Sent], act: Act
) -> tuple[Done, str, bool]:
    def work(connection: Connection) -> tuple[Done, str, bool]:
        connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_S}s'"))
        with Session(connection, join_transaction_mode="rollback_only") as session:
            done = act(begun(session))
            session.flush()
            return _told(session, viewer, done)

    try:
        return await console.pool.change(work, of=viewer.producer_id)
    except PageError as error:
        if error.status is not HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        remedy = "Look whether it was done, before you press again."
        raise PageError(error.status, error.text, remedy, wait_s=error.wait_s) from error


def _told(session: Session, viewer: Viewer, done: Done) -> tuple[Done, str, bool]:
    """The change with the id of its action, its text, and whether it can be undone."""
    wanted = ActionFilter(subject_id=done.subject_id)
    if done.action_id is None and done.subject_id is not None:
        (latest,) = find_actions(session, wanted, limit=1)
        done = Done(done.href, latest.id, done.subject_id)
    if done.action_id is None:
        return done, "Done.", False
    action = find_action(session, viewer, done.action_id)
    return (done, "Done.", False) if action is None else (done, notice_text(action), is_undoable(action))


async def _count_anew(console: Console, viewer: Viewer) -> None:
    producer_id = viewer.producer_id
    if producer_id is not None:
        await console.pool.change(lambda connection: count_anew(connection, producer_id), of=producer_id)


def _sentence(said: str) -> str:
    shown = said[:1].upper() + said[1:]
    return shown if shown.endswith((".", "!", "?")) else f"{shown}."
