"""Producers' API keys."""

import uuid
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from cli.console import fail, out
from cli.database import open_database, plain_errors
from jobs.producers import create_producer, list_producers, revoke_producer

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API keys of producers.")


@app.command("make")
def make(name: Annotated[str, typer.Argument(help="Who will use it, e.g. storefront.")]) -> None:
    """Make a key and print it once; only its hash is kept."""
    with plain_errors(), Session(open_database()) as session, session.begin():
        producer, key = create_producer(session, name)
        out.print(f"{producer.id}  {name}", style="dim", markup=False)
        out.print(key)


@app.command("list")
def list_() -> None:
    """List the producers that have a key."""
    with plain_errors(), Session(open_database()) as session:
        for producer in list_producers(session):
            state = "revoked" if producer.revoked_at else "valid"
            made = f"{producer.created_at:%Y-%m-%d}"
            out.print(f"{producer.id}  {made}  {state:7}  {producer.name}", markup=False)


@app.command("revoke")
def revoke(producer_id: Annotated[uuid.UUID, typer.Argument(help="As `cutout keys list` shows it.")]) -> None:
    """Refuse a producer's key from now on."""
    with plain_errors(), Session(open_database()) as session, session.begin():
        if not revoke_producer(session, producer_id):
            fail(f"no valid key belongs to {producer_id}; see `cutout keys list`")
    out.print(f"{producer_id} is revoked")
