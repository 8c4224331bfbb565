"""Types of both clients, as mypy sees them where the client is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from cutout_client import AsyncClient, Client

client, other = Client("https://a.example", "k"), AsyncClient("https://a.example", "k")
reveal_type(client.jobs.get)
reveal_type(client.jobs.list(state="held"))
reveal_type(client.batches.patch("i", if_match=None, budget=None))
reveal_type(other.jobs.wait("i"))
reveal_type(other.batches.events("i"))
client.jobs.enqueue(source_uri="https://a.example/a.jpg")
client.jobs.get(7)
client.batches.patch("i", weight="heavy")
bad = other.batches.create_from_file("n", 7)
"""
REVEALED = [
    "def (job_id: str) -> Job",
    "Generator[Job, None, None]",
    "Batch",
    "Coroutine[Any, Any, Job]",
    "AsyncGenerator[BatchEvent, None]",
]
# The first is an `await` that was forgotten.
REFUSED = ["unused-coroutine", "call-arg", "arg-type", "arg-type", "arg-type"]


@pytest.mark.long("runs mypy; make check has the client's own types")
def test_a_checker_knows_each_call_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    """Names, arguments and answers of both clients; strict, and with no error inside the client."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--hide-error-context", "--no-error-summary"]
    ran = subprocess.run([*command, program], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    lines = [line for line in ran.stdout.splitlines() if ": error:" in line or "Revealed type" in line]
    revealed = [line.split('"')[1] for line in lines if "Revealed type" in line]
    short = [
        "".join(part.split(".")[-1] if "." in part else part for part in _parts(text)) for text in revealed
    ]
    assert short == REVEALED
    assert [line.rpartition("[")[2].rstrip("]") for line in lines if ": error:" in line] == REFUSED


def _parts(text: str) -> list[str]:
    """The names of a type, and what is between them."""
    parts, name = [], ""
    for character in text:
        if character.isalnum() or character in "._":
            name += character
        else:
            parts += [name, character]
            name = ""
    return [*parts, name]
