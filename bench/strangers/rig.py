"""A stack with two producers, and addresses that accept and never answer."""

import os
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from bench.stack import stack_of
from cli.stack import Stack, StackOptions
from cutout.enums import Scope
from cutout.models.database import connect
from cutout.producers.producers import create_producer
from cutout.queue.enqueue import create_batch

LOCAL = "127.0.0.1"
# 127.0.1.1 and the following are this machine's on Linux; each stands for a host of its own.
SILENT_HOSTS = tuple(f"127.0.1.{n}" for n in range(1, 61))
LATENCY_S = 0.5

JOBS = """
    INSERT INTO jobs (producer_id, batch_id, external_id, source, state, queue_state, virtual_start)
    SELECT CAST(:producer AS uuid), CAST(:batch AS uuid), 'SKU-' || n, 'https://shop.example/' || n, 'queued',
        'ready', n
    FROM generate_series(1, :rows) AS n
"""


@dataclass
class Rig:
    """A running stack, the keys of attacker and victim, and the attacker's batches."""

    stack: Stack
    engine: Engine
    attacker: str
    victim: str
    batches: list[uuid.UUID] = field(default_factory=list)

    def client(self, key: str) -> httpx.Client:
        """A client of the API with this key."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.stack.api_url, headers=headers, timeout=60)

    @contextmanager
    def attack(self, name: str, *arguments: str) -> Iterator[None]:
        """A process that makes this attack (bench.strangers.attacks) until the block ends."""
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.strangers.attacks", name, *arguments],
            env={**os.environ, "ATTACKED_URL": self.stack.api_url, "ATTACKER_KEY": self.attacker},
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


@contextmanager
def rig(rows: int) -> Iterator[Rig]:
    """Start it; with `rows` the attacker has two batches of so many jobs. Everything is gone afterwards."""
    hosts = ",".join([LOCAL, *SILENT_HOSTS])
    defaults = {"CUTOUT_SOURCE_PRIVATE_HOSTS": hosts, "CUTOUT_WEBHOOK_PRIVATE_HOSTS": hosts}
    with ExitStack() as context:
        directory = Path(context.enter_context(tempfile.TemporaryDirectory()))
        options = StackOptions(
            directory, workers=2, renderers=0, sandbox_latency_s=LATENCY_S, defaults=defaults
        )
        stack = context.enter_context(stack_of(options))
        engine = connect(stack.settings.database_url.get_secret_value(), connections=2)
        context.callback(engine.dispose)
        with Session(engine) as session, session.begin():
            (attacker, attackers), (_, victims) = (
                create_producer(session, name, scopes=frozenset(Scope)) for name in ("attacker", "victim")
            )
            batches = [
                create_batch(session, "bench", producer_id=attacker.id).id for _ in range(2 if rows else 0)
            ]
            for batch in batches:
                session.execute(text(JOBS), {"producer": attacker.id, "batch": batch, "rows": rows})
        yield Rig(stack, engine, attackers, victims, batches)


@contextmanager
def silent(host: str = LOCAL, backlog: int = 4096) -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen(backlog)
        yield listener.getsockname()[1]
