"""The `cutout` command."""

import sys

import typer
from rich.console import Console

from cli import demo, doctor, ingest, keys, look, move, processes, results, up
from jobs.settings import SettingsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Cut the background out of product photos: enqueue them, watch them, fetch the results.",
    epilog="Exit codes: 0 all succeeded, 1 something failed, 2 wrong usage or settings, 3 not finished yet.",
)
app.command()(up.up)
app.command()(demo.demo)
app.command()(ingest.ingest)
app.command()(look.status)
app.command()(results.results)
app.command()(move.retry)
app.command()(move.cancel)
app.command()(doctor.doctor)
app.add_typer(keys.app, name="keys")
app.command()(processes.migrate)
app.command()(processes.api)
app.command()(processes.dispatcher)
app.command()(processes.worker)
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)(processes.sandbox)


def main() -> None:
    """Run the command; a missing or wrong setting is one line on stderr and exit code 2."""
    try:
        app()
    except SettingsError as error:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(str(error))
        sys.exit(2)
