"""Actor of a command: the user of this machine who runs it."""

from typing import Annotated

import typer

from cli.console import fail
from cli.user import user
from cutout.actions import Actor, Asked, ReasonError
from cutout.enums import Role

ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, as `cutout actions` will show it.")
]


def asked(reason: str | None = None) -> Asked:
    """The request of an action by this process's user, with a reason; ends the command over a wrong one."""
    try:
        return Asked(Actor(Role.COMMAND, user()), reason)
    except ReasonError as error:
        fail(f"--reason: {error}")
