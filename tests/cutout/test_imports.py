"""Imports without garbage collection, by which commands and processes start."""

import gc
import subprocess
import sys
from importlib import import_module

import pytest

from cutout.imports import uncollected


def test_nothing_is_collected_meanwhile_and_everything_later() -> None:
    """Also if an import fails; what is there at the end is not looked at again."""
    before = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    with pytest.raises(ModuleNotFoundError), uncollected():
        import_module("no_such_module")
    assert gc.isenabled()
    gc.unfreeze()


@pytest.mark.parametrize("arguments", [["status", "--help"], ["ingester"], ["--version"]])
def test_a_command_collects_once_it_runs(arguments: list[str]) -> None:
    """Garbage of a process that runs for months must not stay, whatever it does first."""
    program = f"""
import atexit, gc, sys
atexit.register(lambda: print("collects:", gc.isenabled()))
sys.argv = ["cutout", *{arguments!r}]
from cli.main import main
main()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, text=True)
    assert "collects: True" in ran.stdout


def test_an_ingester_imports_nothing_of_migrations() -> None:
    """Whether migrations are pending is told by the names of files."""
    program = "import sys, worker.ingester.__main__; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert not set(ran.stdout.split()) & {"alembic", "mako", "fastapi", "celery"}
