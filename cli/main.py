"""The `cutout` command."""

import inspect
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup

from cli.about import VersionOption
from cli.audit_log import record
from cli.console import Exit, err, fail
from cutout.imports import uncollected

# Only the module of the command that is run is imported: a worker's start need not wait for what `up` needs.
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
    "render": "cli.render",
    "pause": "cli.pause",
    "resume": "cli.pause",
    "budget": "cli.pause",
    "limits": "cli.limits",
    "doctor": "cli.doctor",
    "actions": "cli.actions",
    "calibrate": "cli.calibrate",
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
    "renderer": "cli.processes",
    "worker": "cli.processes",
    "sandbox": "cli.processes",
}
# The order of `cutout --help`.
PANELS = {
    "Work": ("ingest", "approve", "status", "results", "render", "explain", "retry", "cancel", "accept"),
    "Money": ("ledger", "budget", "limits", "calibrate"),
    "Schedules": ("schedule",),
    "Operate": (
        "doctor",
        "actions",
        "pause",
        "resume",
        "keys",
        "producers",
        "webhooks",
        "audit",
        "forget-missing",
        "erase",
        "migrate",
    ),
    "Run": ("up", "demo", "api", "dispatcher", "ingester", "worker", "renderer", "sandbox"),
}
# Packages for development, which the image for production does not have.
NEEDS = {"up": ("local", "sandbox"), "demo": ("local", "sandbox"), "sandbox": ("sandbox",)}
# Commands with commands of their own.
GROUPS = ("keys", "producers", "schedule", "webhooks")
# A shell that completes a line names what is typed so far: bash by the first, the others by the second.
COMPLETION = "_CUTOUT_COMPLETE"
TYPED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
# Options that the sandbox explains itself.
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def main() -> None:
    """Run the command; a missing or wrong setting is one line on stderr and exit code 2."""
    names = _commands_needed()
    if not names:
        make_app(names)()  # ends the process
    with uncollected():
        app = make_app(names)
        # After that, since it takes a second, for which a shell that completes a word would wait.
        from cutout.settings import SettingsError  # noqa: PLC0415

    try:
        app()
    except SettingsError as error:
        err.print(str(error))
        sys.exit(Exit.USAGE)
    except SystemExit as end:
        # Typer ends the process by it, also after success.
        record(sys.argv[1:], end.code if isinstance(end.code, int) else 0)
        raise


def _commands_needed() -> list[str]:
    """The command that is run or completed; all of them for the help, none for a mere name."""
    completes = COMPLETION in os.environ
    words = os.environ.get(TYPED[0], os.environ.get(TYPED[1], "")).split() if completes else sys.argv[1:]
    asked = [word for word in words if word in COMMANDS]
    shows_help = not completes and (not words or "--help" in words)
    return asked[:1] or (list(COMMANDS) if shows_help else [])


class _InOrder(TyperGroup):
    """Commands in the order of PANELS; typer puts those with commands of their own last."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = [name for members in PANELS.values() for name in members]
        return sorted(super().list_commands(ctx), key=order.index)


def make_app(names: list[str]) -> typer.Typer:
    """The command with these subcommands; of the others it has the names alone."""
    app = typer.Typer(
        cls=_InOrder,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        help="Cut the background out of product photos: enqueue them, watch them, fetch the results.",
        epilog="Exit codes: 0 all succeeded, 1 something failed, 2 wrong usage or settings, 3 unfinished.",
    )
    app.callback()(_root)
    for panel, members in PANELS.items():
        for name in members:
            if name in names:
                _add(app, name, panel)
            else:
                app.command(name, rich_help_panel=panel)(_not_imported)
    return app


def _root(*, version: VersionOption = False) -> None:
    """Options that need no command."""


def _not_imported() -> None:
    """Stand for a command of which completion and an error need the name alone."""


def _add(app: typer.Typer, name: str, panel: str) -> None:
    if absent := [package for package in NEEDS.get(name, ()) if find_spec(package) is None]:
        app.command(name, help="Not installed here.", context_settings=PASSED_ON, rich_help_panel=panel)(
            _absent(name, absent)
        )
        return
    command = getattr(import_module(COMMANDS[name]), "app" if name in GROUPS else name.replace("-", "_"))
    if isinstance(command, typer.Typer):
        for each in command.registered_commands:
            each.help = _help_of(each.callback)
        app.add_typer(command, name=name, rich_help_panel=panel)
    else:
        settings = PASSED_ON if name == "sandbox" else None
        help_ = _help_of(command)
        app.command(name, help=help_, context_settings=settings, rich_help_panel=panel)(command)


def _absent(name: str, packages: list[str]) -> Callable[[], None]:
    """A command that says why it cannot run."""

    def fail_() -> None:
        fail(
            f"`cutout {name}` is for development, and not in this image: it needs {' and '.join(packages)} of"
            " the repository; for the sandbox, build the target `sandbox` of the Dockerfile"
        )

    return fail_


def _help_of(command: object) -> str:
    """The docstring with each paragraph in one line, for the terminal to wrap; rows of tables begin bold."""
    return re.sub(r"(?<!\n)\n(?!\n|\[bold\])", " ", inspect.getdoc(command) or "")
