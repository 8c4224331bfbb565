"""API keys of producers and operators, and how much each producer may ask for."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer
from sqlalchemy.orm import Session

from cli.actor import ReasonOption, asked
from cli.console import fail, out
from cli.database import open_database, plain_errors
from cli.names import plain_name
from cli.producers import describe
from cutout.actions.keys import limit_producer, make_key, make_operator_key, revoke_keys
from cutout.administration.suspend import has_valid_key, under_way
from cutout.enums import OPERATOR_SCOPES, USUAL_SCOPES, OperatorScope, Scope
from cutout.models import ApiKey, Producer
from cutout.producers.api_keys import list_keys
from cutout.producers.key_expiry import expires_soon

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API keys of producers and operators.")

AnyScope = TypeVar("AnyScope", Scope, OperatorScope)

NO_QUOTA = "none"
LARGEST_QUOTA = 2**31 - 1
LONGEST_NUMBER = 10


@app.command("make")
def make(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Name of the key's user, e.g. storefront.", show_default=False),
    ] = None,
    *,
    operator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Make the key of an operator of this name, for the console, instead."
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="The operator may view, and change nothing.")
    ] = False,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help=f"What the key may do; may be repeated: {', '.join(Scope)}; an operator's:"
            f" {', '.join(OperatorScope)}.",
            show_default="enqueue, read; all of an operator's",
        ),
    ] = None,
    producer: Annotated[
        uuid.UUID | None,
        typer.Option(
            help="Id of the producer that gets another key, as `list` shows it.",
            show_default="a new producer",
        ),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Days until the key expires.")] = None,
) -> None:
    """Make a key and print it.

    It cannot be printed again, because only its hash is stored. A producer's key is for the API, an
    operator's for the console; `operate` includes `view`, `spend` includes both.
    """
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    if operator is not None:
        if name is not None or producer is not None:
            fail("--operator makes a key of no producer; leave NAME and --producer out")
        plain_name("--operator", operator)
        rights = [OperatorScope.VIEW] if read_only and not scope else _words(OperatorScope, scope)
        if read_only and rights != [OperatorScope.VIEW]:
            fail("--read-only is the scope view alone; leave one of --read-only and --scope out")
        _make_operators(operator, rights or OPERATOR_SCOPES, expires_at)
        return
    if name is None:
        fail("give the NAME of the key's user, or --operator NAME")
    if read_only:
        fail("--read-only is for an operator's key; give a producer's --scope read")
    plain_name("NAME", name)
    scopes = _words(Scope, scope) or USUAL_SCOPES
    with plain_errors(), Session(open_database()) as session, session.begin():
        owner = _producer(session, producer, name)
        key, text = make_key(session, asked(), owner, name, scopes=scopes, expires_at=expires_at)
        out.print(f"{key.id}  producer {owner}  {','.join(key.scopes)}  {name}", style="dim", markup=False)
        out.print(text)


def _make_operators(name: str, rights: Sequence[OperatorScope], expires_at: datetime | None) -> None:
    with plain_errors(), Session(open_database()) as session, session.begin():
        key, text = make_operator_key(session, asked(), name, scopes=rights, expires_at=expires_at)
        out.print(f"{key.id}  operator  {','.join(key.scopes)}  {name}", style="dim", markup=False)
        out.print(text)


def _words(scopes: type[AnyScope], given: list[str] | None) -> list[AnyScope]:
    known = {str(scope): scope for scope in scopes}
    for word in given or ():
        if word not in known:
            fail(f"--scope: {word!r} is not one of {', '.join(known)}")
    return [known[word] for word in given or ()]


@app.command("list")
def list_() -> None:
    """List the keys.

    Each line has id, date made, state, scopes, last use, producer and quota or `operator`, name, and the end
    of a key that has one, marked SOON in its last 14 days.
    """
    with plain_errors(), Session(open_database()) as session:
        for key, producer in list_keys(session):
            owner = "operator"
            if producer is not None:
                quota = "" if producer.job_quota is None else f"  quota {producer.job_quota:,}"
                owner = f"producer {producer.id}{quota}"
            out.print(
                f"{key.id}  {key.created_at:%Y-%m-%d}  {_state(key):7}  {','.join(key.scopes):12}"
                f"  {_used(key):16}  {owner}  {key.name}{_end(key)}",
                markup=False,
            )


@app.command("revoke")
def revoke(
    key_id: Annotated[
        uuid.UUID,
        typer.Argument(metavar="ID", help="Id of a key or of a producer, as `cutout keys list` shows it."),
    ],
    reason: ReasonOption = None,
) -> None:
    """Revoke a key, or all keys of a producer.

    Enqueued jobs continue; the command says how many if the producer has no other key.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        revoked = revoke_keys(session, asked(reason), key_id)
        if not revoked:
            fail(f"no valid key is or belongs to {key_id}; see `cutout keys list`")
        key = session.get(ApiKey, key_id)
        owner = key.producer_id if key else key_id
        left = None
        if owner is not None and not has_valid_key(session, owner):
            left = describe(under_way(session, owner))
    out.print(f"{key_id} is revoked" if revoked == 1 else f"{revoked} keys of {key_id} are revoked")
    if left is not None:
        out.print(
            f"the producer {owner} has no valid key any more, and continues with {left};"
            f" `cutout producers suspend {owner}` stops that"
        )


@app.command("quota")
def quota(
    producer_id: Annotated[
        uuid.UUID,
        typer.Argument(metavar="PRODUCER", help="Id of a producer, as `cutout keys list` shows it."),
    ],
    jobs: Annotated[
        str, typer.Argument(metavar="JOBS", help="The most unfinished jobs, or `none` for no limit.")
    ],
) -> None:
    """Limit how many unfinished jobs a producer may have.

    The API refuses more.
    """
    if jobs != NO_QUOTA and not (jobs.isdecimal() and jobs.isascii() and len(jobs) <= LONGEST_NUMBER):
        fail(f"{jobs!r} is no number of jobs; write one from 0 to {LARGEST_QUOTA} or `{NO_QUOTA}`")
    most = None if jobs == NO_QUOTA else min(int(jobs), LARGEST_QUOTA)
    with plain_errors(), Session(open_database()) as session, session.begin():
        if not limit_producer(session, asked(), producer_id, job_quota=most):
            fail(f"there is no producer {producer_id}; see `cutout keys list`")
    out.print(f"{producer_id} may have {'any number of' if most is None else f'{most:,}'} unfinished jobs")


def _producer(session: Session, producer_id: uuid.UUID | None, name: str) -> uuid.UUID:
    if producer_id is None:
        made = Producer(name=name)
        session.add(made)
        session.flush()
        return made.id
    if session.get(Producer, producer_id) is None:
        fail(f"there is no producer {producer_id}; see `cutout keys list`")
    return producer_id


def _state(key: ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= datetime.now(UTC) else "valid"


def _end(key: ApiKey) -> str:
    """The end of a valid key that has one; marked in its last 14 days."""
    if key.expires_at is None or _state(key) != "valid":
        return ""
    return f"  expires {key.expires_at:%Y-%m-%d %H:%M}{' SOON' if expires_soon(key.expires_at) else ''}"


def _used(key: ApiKey) -> str:
    return f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
