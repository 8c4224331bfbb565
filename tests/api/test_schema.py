"""The whole OpenAPI document, tried out by a tool that nobody here wrote."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
# With fewer, whole kinds of input are left out; these take half a minute.
MAX_EXAMPLES = 20


@pytest.mark.timeout(240)
def test_the_document_is_kept_by_the_api(shop: httpx.Client, tmp_path: Path) -> None:
    """All checks and phases of schemathesis, on the app over a real port, find nothing, and no 500."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
        f"{shop.base_url}/openapi.json",
        *("--phases", "examples,coverage,fuzzing,stateful", "--checks", "all", "--mode", "all"),
        *("--max-examples", str(MAX_EXAMPLES), "--seed", "1", "--request-timeout", "20"),
        *("--no-shrink", "--workers", "1"),
    ]
    environment = os.environ | {
        "CUTOUT_TEST_KEY": shop.headers["authorization"].split()[1],
        "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
    }
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
