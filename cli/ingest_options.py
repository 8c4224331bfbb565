"""Options that `cutout ingest` and `cutout schedule add` share."""

import uuid
from typing import Annotated

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cli.console import fail
from cutout.enums import PRIORITIES, Forms
from cutout.ingest.sources.file_patterns import pattern_fault
from cutout.manifests import parse_columns
from cutout.manifests.delimited import read_delimiter
from cutout.outputs.options import OutputDefaults, OutputOptions, RequestedOutputs, parse_renditions
from cutout.outputs.recipes import PRESETS, RecipeError, parse_outputs
from cutout.producers.producers import find_producer
from cutout.settings import Settings

OF_A_MANIFEST = "For a manifest"
OF_FILES = "For a directory, zip or prefix"
BEFORE_SPENDING = "Before spending"
OF_OUTPUTS = "Outputs"
ColumnsOption = Annotated[
    str,
    typer.Option(
        "--map",
        metavar="TARGET=COLUMN,…",
        help='Names of the columns: `external_id=SKU,source="Image URL"`, also return_form, priority and'
        " position. `priority=` ignores a column of that name.",
        rich_help_panel=OF_A_MANIFEST,
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        help="Encoding of the manifest, or of the names in a zip, e.g. latin-1 or cp1252.",
        rich_help_panel=OF_A_MANIFEST,
    ),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER",
        help="Character between columns, if the header does not show it: ; or | or tab.",
        rich_help_panel=OF_A_MANIFEST,
    ),
]
ManyOption = Annotated[
    bool,
    typer.Option(
        "--many",
        help="One id may have several pictures: SKU, SKU-2, …, in the order of the column position, or else"
        " of their addresses.",
        rich_help_panel=OF_A_MANIFEST,
    ),
]
IncludeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Only files that match; may be repeated.", rich_help_panel=OF_FILES),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Leave out files and folders that match: `thumbs`, `*.gif`, `old/*`; may be repeated.",
        rich_help_panel=OF_FILES,
    ),
]
FormsOption = Annotated[
    Forms | None,
    typer.Option(
        help="derived: buy RGBA once and make every form of it; bought: buy each form.",
        show_default="CUTOUT_FORMS",
        rich_help_panel=BEFORE_SPENDING,
    ),
]
FullSizeOption = Annotated[
    bool | None,
    typer.Option(
        "--full-size/--sent-size",
        help="Outputs as large as the source, or as what was sent to the endpoint.",
        rich_help_panel=OF_OUTPUTS,
        show_default="CUTOUT_FULL_SIZE",
    ),
]
OutputsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="OUTPUT",
        help=f"Rendition to make of each cutout: a preset ({', '.join(PRESETS)}), words after it, or"
        ' "NAME: WORDS"; may be repeated.',
        rich_help_panel=OF_OUTPUTS,
    ),
]
FileNameOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEMPLATE",
        help="Names of the renditions' files; columns of the manifest are fields of it too.",
        show_default="{external_id}.{rendition}.{ext}",
        rich_help_panel=OF_OUTPUTS,
    ),
]


def outputs_of(
    forms: Forms | None, *, full_size: bool | None, outputs: list[str] | None, file_name: str | None
) -> RequestedOutputs:
    """The options for outputs; ends the process if one is wrong."""
    option = "--output"
    try:
        parse_outputs(outputs or ())
        option = "--file-name"
        return RequestedOutputs(forms, full_size, parse_renditions(outputs or (), file_name))
    except RecipeError as error:
        fail(f"{option}: {error}")


def complete_outputs(requested: RequestedOutputs, defaults: OutputDefaults) -> OutputOptions:
    """The options with the settings' defaults; ends the process if they contradict each other."""
    try:
        return requested.complete(defaults)
    except RecipeError as error:
        fail(f"--output: {error}")


def delimiter_of(word: str | None) -> str | None:
    """Read --delimiter; ends the command if it is wrong."""
    try:
        return None if word is None else read_delimiter(word)
    except ValueError as error:
        fail(f"--delimiter: {error}")


def patterns_of(option: str, patterns: list[str] | None) -> tuple[str, ...]:
    """Read --include or --exclude; ends the command if a pattern is wrong."""
    if fault := pattern_fault(patterns or ()):
        fail(f"{option}: {fault}")
    return tuple(patterns or ())


def columns_of(text: str) -> dict[str, str]:
    """Read --map; ends the command if it is wrong."""
    try:
        return parse_columns(text) if text else {}
    except ValueError as error:
        fail(f"--map: {error}")


def one_of_priorities(word: str) -> str:
    """The word, if it is one."""
    if word not in PRIORITIES:
        fail(f"--priority: {word!r} is not one of {', '.join(PRIORITIES)}")
    return word


def producer_of(engine: Engine, settings: Settings) -> uuid.UUID | None:
    """Find the producer whose key the settings have; None without a key."""
    if not settings.api_key:
        return None
    with Session(engine) as session:
        producer_id = find_producer(session, settings.api_key.get_secret_value())
    if producer_id is None:
        fail("CUTOUT_API_KEY is no producer's key, or it was revoked; see `cutout keys list`, or unset it")
    return producer_id
