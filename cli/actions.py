"""`cutout actions`: who changed what."""

import json
import sys
import uuid
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from cli.console import fail, out
from cli.database import find_batch, open_database, plain_errors
from cutout.enums import ActionKind
from cutout.status.action_log import ActionFilter, LoggedAction, find_actions
from cutout.text import visible

A_PAGE = 500
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
MOST_DIGITS = 6


def actions(
    *,
    batch: Annotated[
        str | None, typer.Option(metavar="ID", help="Only about this batch and its jobs.")
    ] = None,
    producer: Annotated[uuid.UUID | None, typer.Option(help="Only about what is this producer's.")] = None,
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this user, operator or key; or a key's id.")
    ] = None,
    kind: Annotated[list[ActionKind] | None, typer.Option(help="Only of this kind; may be repeated.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only since then: 2026-11-30, 2026-11-30T14:02, 90m, 12h or 7d."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many of the latest to list.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List what people, commands and producers changed, latest first.

    Each line has time, who, what, on what, how many, the price if there is one, and what became of it.
    Times are in UTC.
    """
    begins = None if since is None else _moment(since)
    with plain_errors(), Session(open_database()) as session:
        batch_id = None if batch is None else find_batch(session, batch).id
        wanted = ActionFilter(producer, batch_id, None, who, kind or None, begins)
        before, left = None, limit
        while left:
            page = find_actions(session, wanted, before=before, limit=min(left, A_PAGE))
            for action in page:
                _print(action, as_json=as_json)
            if len(page) < min(left, A_PAGE):
                return
            before, left = page[-1].id, left - len(page)


def _print(action: LoggedAction, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(asdict(action), default=_plain) + "\n")
    else:
        out.print(_line(action), markup=False, soft_wrap=True)


def _line(action: LoggedAction) -> str:
    words = [
        f"{action.requested_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        f"{action.actor_role or 'unknown'} {visible(action.actor or '')}".strip(),
        str(action.kind),
        f"{action.subject or 'batch'} {action.subject_id or action.batch_id or ''}".strip(),
        _how_many(action),
    ]
    if action.credits is not None:
        price = "" if action.dollars is None else f" ${action.dollars:,.2f}"
        words.append(f"at most {action.credits:,} credits{price}")
    if action.undone_at is not None:
        words.append(f"undone by {visible(action.undone_by or '')}")
    elif action.finished_at is None:
        words.append("under way")
    if action.code is not None:
        words.append(f"{action.code}: {action.message}")
    if action.reason is not None:
        words.append(f"reason: {visible(action.reason)}")
    return "  ".join(words)


def _how_many(action: LoggedAction) -> str:
    if action.expected is None or action.expected == action.changed:
        return f"{action.changed:,} changed"
    return f"{action.changed:,} of {action.expected:,} changed"


def _moment(text: str) -> datetime:
    unit = UNITS.get(text[-1:])
    if unit is not None and text[:-1].isascii() and text[:-1].isdecimal() and len(text) <= MOST_DIGITS:
        return datetime.now(UTC) - int(text[:-1]) * unit
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--since: {text!r} is no time; write a date, a time such as 2026-11-30T14:02, or 90m, 12h, 7d")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _plain(value: Any) -> str | float:
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
