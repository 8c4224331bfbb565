"""The whole OpenAPI document, tried out by a tool that nobody here wrote."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from cutout.enums import Scope
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.api.conftest import key_for, producer_of, serve
from tests.support.fates import DONE, make_batch
from tests.support.outputs import without_outputs

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
# With fewer, whole kinds of input are left out. Each address has a HEAD and an OPTIONS, too.
MAX_EXAMPLES = 20


@pytest.fixture
def api(settings: Settings, bucket: Bucket) -> Iterator[httpx.Client]:
    """The API with webhooks and without a limit that such a tool would meet; its bucket is there."""
    assert bucket.name
    chosen = {"api_requests_per_second": 10_000, "webhook_secret": SecretStr("s" * 32)}
    with serve(settings.model_copy(update=chosen)) as client:
        yield client


@pytest.mark.long("a fuzz of the whole API; the tests beside it have each route")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scopes", [tuple(Scope), *((scope,) for scope in Scope)], ids="+".join)
def test_the_document_is_kept_by_the_api(
    api: httpx.Client, engine: Engine, tmp_path: Path, scopes: tuple[Scope, ...]
) -> None:
    """All checks and phases of schemathesis, on the app over a real port, find nothing, and no 500.

    Whatever the key may do: with every scope, and with each of them alone.
    """
    key = key_for(engine, "shop", scopes=scopes)
    finished = make_batch(engine, {"a": DONE, "b": DONE}, producer_id=producer_of(engine))
    # Nobody makes them, and a batch's stream ends with them.
    without_outputs(engine)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
        f"{api.base_url}/openapi.json",
        *("--phases", "examples,coverage,fuzzing,stateful", "--checks", "all", "--mode", "all"),
        *("--max-examples", str(MAX_EXAMPLES), "--seed", "1", "--request-timeout", "60"),
        # It is not about speed: what takes long has tests of its own, and this machine may be busy.
        *("--max-response-time", "60"),
        *("--no-shrink", "--workers", "1"),
    ]
    environment = os.environ | {
        "CUTOUT_TEST_KEY": key["Authorization"].split()[1],
        "CUTOUT_TEST_FINISHED_BATCH": str(finished),
        "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
    }
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
