from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout.storage import Bucket
from tests.support.system import System


@pytest.fixture
def system(environment: dict[str, str], bucket: Bucket, tmp_path: Path) -> Iterator[System]:
    """API, dispatcher and one worker, running."""
    with System(environment, tmp_path) as running:
        yield running
