"""What orders have in common, whether given once or every night: options, and whose they are."""

import uuid
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.console import fail
from jobs.manifest import parse_columns
from jobs.producers import find_producer
from jobs.settings import Settings
from jobs.states import PRIORITIES

OF_A_MANIFEST = "Of a manifest"
BEFORE_SPENDING = "Before spending"
ColumnsOption = Annotated[
    str,
    typer.Option(
        "--map",
        metavar="TARGET=COLUMN,…",
        help='Which column is which: `external_id=SKU,source="Image URL"`.',
        rich_help_panel=OF_A_MANIFEST,
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(help="If it is not UTF-8: latin-1, cp1252 …", rich_help_panel=OF_A_MANIFEST),
]


def columns_of(text: str) -> dict[str, str]:
    """What --map says."""
    try:
        return parse_columns(text) if text else {}
    except ValueError as error:
        fail(f"--map: {error}")


def one_of_priorities(word: str) -> str:
    """The word, if it is one."""
    if word not in PRIORITIES:
        fail(f"--priority: {word!r} is not one of {', '.join(PRIORITIES)}")
    return word


def producer_of(engine: Engine, known: Settings) -> uuid.UUID | None:
    """Whose key the settings have, if they have one."""
    if not known.api_key:
        return None
    with Session(engine) as session:
        producer_id = find_producer(session, known.api_key.get_secret_value())
    if producer_id is None:
        fail("CUTOUT_API_KEY is no producer's key, or it was revoked; see `cutout keys list`, or unset it")
    return producer_id
