"""Webhooks: their secrets and endpoints, what was sent, and sending it again."""

import uuid
from typing import Annotated
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from cli.actor import asked
from cli.console import fail, out
from cli.database import open_database, plain_errors
from cutout.actions import endpoints as actions
from cutout.enums import DeliveryState
from cutout.models import Delivery, Producer, WebhookEndpoint
from cutout.settings import read_settings
from cutout.webhooks import INSTALLATION, find_deliveries, secret_of
from cutout.webhooks.endpoints import list_endpoints

app = typer.Typer(no_args_is_help=True, help="List endpoints; list, replay messages; print, rotate secrets.")

Owner = Annotated[
    uuid.UUID | None,
    typer.Argument(
        metavar="PRODUCER",
        help="Id of a producer, as `cutout keys list` shows it.",
        show_default="messages of no producer, such as reports",
    ),
]


@app.command("list")
def list_(
    state: Annotated[DeliveryState | None, typer.Option(help="Only deliveries in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the latest to list.")] = 50,
) -> None:
    """List deliveries, latest first.

    Each line has id, time, state, tries, type, host and the last error.
    """
    with plain_errors(), Session(open_database()) as session:
        for delivery in find_deliveries(session, state=state, limit=limit):
            out.print(_line(delivery), markup=False)


@app.command("replay")
def replay_(
    delivery: Annotated[
        uuid.UUID, typer.Argument(metavar="ID", help="Id, as `cutout webhooks list` shows it.")
    ],
) -> None:
    """Send a delivery again, under the same id.

    It is retried for up to 24 h.
    """
    with plain_errors(), Session(open_database()) as session, session.begin():
        replayed = actions.replay_delivery(session, asked(), delivery)
        if replayed is None:
            fail(f"there is no delivery {delivery}; see `cutout webhooks list`")
        out.print(f"{delivery} goes to {replayed.host} again", markup=False)


@app.command("endpoints")
def endpoints_(
    producer: Annotated[
        uuid.UUID | None,
        typer.Argument(
            metavar="PRODUCER",
            help="Id of a producer, as `cutout keys list` shows it.",
            show_default="endpoints of all producers",
        ),
    ] = None,
) -> None:
    """List webhook endpoints, latest first.

    Each line has id, producer, state, host and events.
    """
    with plain_errors(), Session(open_database()) as session:
        if producer is not None:
            _owner(session, producer)
        for endpoint in list_endpoints(session, producer_id=producer):
            out.print(_endpoint_line(endpoint), markup=False)


@app.command("secret")
def secret(producer: Owner = None) -> None:
    """Print the secret with which a receiver verifies signatures."""
    master = _master()
    with plain_errors(), Session(open_database()) as session, session.begin():
        owner = _owner(session, producer)
        state = actions.show_secret(session, asked(), actions.about_secret_of(producer))
        out.print(secret_of(master, owner, state.version), markup=False)


@app.command("rotate")
def rotate_(
    producer: Owner = None,
    *,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Stop signing with the old secret now, e.g. because it leaked.")
    ] = False,
) -> None:
    """Make a new secret and print it.

    For 24 h messages are signed with the old secret too.
    """
    master = _master()
    with plain_errors(), Session(open_database()) as session, session.begin():
        owner = _owner(session, producer)
        about = actions.about_secret_of(producer)
        state = actions.rotate_secret(session, asked(), about, at_once=at_once)
    out.print(secret_of(master, owner, state.version), markup=False)


def _master() -> SecretStr:
    master = read_settings().webhook_secret
    if master is None:
        fail("CUTOUT_WEBHOOK_SECRET is not set; set the one that API and dispatcher have")
    return master


def _owner(session: Session, producer: uuid.UUID | None) -> uuid.UUID:
    if producer is None:
        return INSTALLATION
    if session.scalar(select(Producer.id).where(Producer.id == producer)) is None:
        fail(f"there is no producer {producer}; see `cutout keys list`")
    return producer


def _endpoint_line(endpoint: WebhookEndpoint) -> str:
    state = "enabled"
    if endpoint.disabled_at is not None:
        state = f"disabled {endpoint.disabled_at:%Y-%m-%d %H:%M} ({endpoint.disabled_reason})"
    elif endpoint.failing_since is not None:
        state = f"failing since {endpoint.failing_since:%Y-%m-%d %H:%M}"
    # The rest of the address may be a secret.
    host = urlsplit(endpoint.url).netloc.lower()
    return "  ".join([str(endpoint.id), str(endpoint.producer_id), state, host, " ".join(endpoint.events)])


def _line(delivery: Delivery) -> str:
    tries = f"{delivery.tries} {'try' if delivery.tries == 1 else 'tries'}"
    words = [
        str(delivery.id),
        f"{delivery.created_at:%Y-%m-%d %H:%M:%S}",
        f"{delivery.state:9}",
        f"{tries:8}",
        delivery.type,
        delivery.host,
    ]
    if delivery.last_error:
        words.append(delivery.last_error)
    return "  ".join(words)
