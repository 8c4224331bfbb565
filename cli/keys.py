"""Producers' API keys, and how much each producer may ask for."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.console import fail, out
from cli.database import open_database, plain_errors
from cli.names import plain_name
from cli.producers import describe
from cutout.administration.suspend import has_valid_key, under_way
from cutout.enums import USUAL_SCOPES, Scope
from cutout.models import ApiKey, Producer
from cutout.producers.api_keys import list_keys, make_key, revoke_keys
from cutout.producers.producers import set_quota

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API keys of producers.")

NO_QUOTA = "none"
LARGEST_QUOTA = 2**31 - 1
LONGEST_NUMBER = 10


@app.command("make")
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key's user, e.g. storefront.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What the key may do; may be repeated.", show_default="enqueue, read"),
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

    It cannot be printed again, because only its hash is stored.
    """
    plain_name("NAME", name)
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    with plain_errors(), Session(open_database()) as session, session.begin():
        owner = _producer(session, producer, name)
        key, text = make_key(session, owner, name, scopes=scope or USUAL_SCOPES, expires_at=expires_at)
        out.print(f"{key.id}  producer {owner}  {','.join(key.scopes)}  {name}", style="dim", markup=False)
        out.print(text)


@app.command("list")
def list_() -> None:
    """List the keys.

    Each line has id, date made, state, scopes, last use, producer, quota and name.
    """
    with plain_errors(), Session(open_database()) as session:
        for key, producer in list_keys(session):
            quota = "" if producer.job_quota is None else f"  quota {producer.job_quota:,}"
            out.print(
                f"{key.id}  {key.created_at:%Y-%m-%d}  {_state(key):7}  {','.join(key.scopes):12}"
                f"  {_used(key):16}  producer {producer.id}{quota}  {key.name}",
                markup=False,
            )


@app.command("revoke")
def revoke(
    key_id: Annotated[
        uuid.UUID,
        typer.Argument(metavar="ID", help="Id of a key or of a producer, as `cutout keys list` shows it."),
    ],
) -> None:
    """Revoke a key, or all keys of a producer.

    Enqueued jobs continue; the command says how many if the producer has no other key.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        revoked = revoke_keys(session, key_id)
        if not revoked:
            fail(f"no valid key is or belongs to {key_id}; see `cutout keys list`")
        key = session.get(ApiKey, key_id)
        owner = key.producer_id if key else key_id
        left = None if has_valid_key(session, owner) else describe(under_way(session, owner))
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
        if not set_quota(session, producer_id, most):
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


def _used(key: ApiKey) -> str:
    return f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
