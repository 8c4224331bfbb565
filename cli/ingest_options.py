"""What orders have in common, whether given once or every night: options, and whose they are."""

import uuid
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.console import fail
from cutout.enums import PRIORITIES
from cutout.ingest.sources.file_patterns import pattern_fault
from cutout.manifests import parse_columns
from cutout.manifests.delimited import read_delimiter
from cutout.producers.producers import find_producer
from cutout.settings import Settings

OF_A_MANIFEST = "Of a manifest"
OF_FILES = "Of a directory, zip or prefix"
BEFORE_SPENDING = "Before spending"
ColumnsOption = Annotated[
    str,
    typer.Option(
        "--map",
        metavar="TARGET=COLUMN,…",
        help='Which column is which: `external_id=SKU,source="Image URL"`, also return_form, priority and'
        " position; `priority=` if that column is not for us.",
        rich_help_panel=OF_A_MANIFEST,
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        help="If it is not UTF-8: latin-1, cp1252 …; also of the names in a zip.",
        rich_help_panel=OF_A_MANIFEST,
    ),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER",
        help="If the header does not show it: ; or | or tab.",
        rich_help_panel=OF_A_MANIFEST,
    ),
]
ManyOption = Annotated[
    bool,
    typer.Option(
        "--many",
        help="One id may stand for several pictures: they become SKU, SKU-2, … by a column position, else by"
        " their addresses.",
        rich_help_panel=OF_A_MANIFEST,
    ),
]
IncludeOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN", help="Take only files that match; may be repeated.", rich_help_panel=OF_FILES
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Leave out files and folders that match: `thumbs`, `*.gif`, `old/*`; may be repeated.",
        rich_help_panel=OF_FILES,
    ),
]


def delimiter_of(word: str | None) -> str | None:
    """What --delimiter says."""
    try:
        return None if word is None else read_delimiter(word)
    except ValueError as error:
        fail(f"--delimiter: {error}")


def patterns_of(option: str, patterns: list[str] | None) -> tuple[str, ...]:
    """What --include or --exclude says."""
    if fault := pattern_fault(patterns or ()):
        fail(f"{option}: {fault}")
    return tuple(patterns or ())


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
