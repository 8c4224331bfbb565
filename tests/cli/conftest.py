from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.cli.command import Cutout
from tests.support import fates as fates_of
from tests.support.fates import Fates
from tests.support.outputs import without_outputs
from tests.support.pictures import encoded, plain
from tests.support.system import System


@pytest.fixture
def cutout(environment: dict[str, str], tmp_path: Path) -> Cutout:
    """The command, at this test's own database and bucket; nothing else runs."""
    return Cutout(environment, tmp_path)


@pytest.fixture
def picture() -> bytes:
    """A small picture that the endpoint takes."""
    return encoded(plain(), "PNG")


@pytest.fixture
def make_batch(engine: Engine) -> Callable[[str, Fates], str]:
    """Makes a batch of jobs that ended in different ways; gives its id."""

    def make(name: str, fates: Fates) -> str:
        return str(fates_of.make_batch(engine, fates, name=name))

    return make


@pytest.fixture
def make_plain_batch(engine: Engine, make_batch: Callable[[str, Fates], str]) -> Callable[[str, Fates], str]:
    """Makes such a batch whose jobs deliver what was bought as it is, without outputs."""

    def make(name: str, fates: Fates) -> str:
        batch_id = make_batch(name, fates)
        without_outputs(engine)
        return batch_id

    return make


@pytest.fixture
def system(shared_system: System) -> System:
    """API, dispatcher, one worker and one renderer, shared by the tests of a class."""
    if "renderer" not in shared_system.processes:
        shared_system.start("renderer", "renderer")
    return shared_system
