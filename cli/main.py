"""The `cutout` command."""

import sys
from importlib import import_module

import typer

from cli.console import Exit, err
from cutout.settings import SettingsError

# In the order of `cutout --help`. Only the module of the command that is run is imported: a worker's start
# need not wait for what `up` needs.
COMMANDS = {
    "up": "cli.up",
    "demo": "cli.demo",
    "ingest": "cli.ingest",
    "approve": "cli.approve",
    "schedule": "cli.schedule",
    "status": "cli.status",
    "results": "cli.results",
    "explain": "cli.explain",
    "ledger": "cli.ledger",
    "accept": "cli.accept",
    "retry": "cli.retry",
    "cancel": "cli.retry",
    "pause": "cli.pause",
    "resume": "cli.pause",
    "budget": "cli.pause",
    "limits": "cli.limits",
    "doctor": "cli.doctor",
    "audit": "cli.audit",
    "forget-missing": "cli.forget_missing",
    "erase": "cli.erase",
    "keys": "cli.keys",
    "producers": "cli.producers",
    "webhooks": "cli.webhooks",
    "migrate": "cli.migrate",
    "api": "cli.processes",
    "dispatcher": "cli.processes",
    "ingester": "cli.processes",
    "worker": "cli.processes",
    "sandbox": "cli.processes",
}
# Commands with commands of their own.
GROUPS = ("keys", "producers", "schedule", "webhooks")
# Options that the sandbox explains itself.
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def main() -> None:
    """Run the command; a missing or wrong setting is one line on stderr and exit code 2."""
    asked = next((word for word in sys.argv[1:] if word in COMMANDS), None)
    try:
        make_app([asked] if asked else list(COMMANDS))()
    except SettingsError as error:
        err.print(str(error))
        sys.exit(Exit.USAGE)


def make_app(names: list[str]) -> typer.Typer:
    """The command with these subcommands."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        help="Cut the background out of product photos: enqueue them, watch them, fetch the results.",
        epilog="Exit codes: 0 all succeeded, 1 something failed, 2 wrong usage or settings, 3 unfinished.",
    )
    app.callback()(lambda: None)
    for name in names:
        command = getattr(import_module(COMMANDS[name]), "app" if name in GROUPS else name.replace("-", "_"))
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, context_settings=PASSED_ON if name == "sandbox" else None)(command)
    return app
