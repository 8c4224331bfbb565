"""The whole product on this machine, for a bench."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

from cli.stack import Stack, StackOptions, run_stack


@contextmanager
def stack_of(options: StackOptions) -> Iterator[Stack]:
    """Start it; its report of the start goes to standard error, since it is no part of a table."""
    with ExitStack() as stack:
        with redirect_stdout(sys.stderr):
            started = stack.enter_context(run_stack(options))
        yield started
