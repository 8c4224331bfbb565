"""Names that an operator gives."""

from cli.console import fail
from cutout.text import name_fault, visible


def plain_name(option: str, name: str) -> str:
    """The name, unless it has characters that nobody sees or that steer a terminal."""
    if fault := name_fault(name):
        fail(f"{option} {visible(name)!r} {fault}")
    return name
