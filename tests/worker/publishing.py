"""A process that sends messages, since worker.app reads the settings when it is imported."""

import atexit
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.support.forked import Forked, live_in, speak_into
from tests.support.machine import scaled

WITHIN_S = 40.0

HandedOut = list[tuple[uuid.UUID, int]]


def publish(handed_out: HandedOut, environment: Mapping[str, str], logs: Path, **bounds: int) -> int:
    """Count of messages that another process sent; `bounds` are constants of worker.dispatcher.messages."""
    answer = logs / "published"
    process = Forked(_publish, handed_out, dict(environment), answer, logs / "publisher.log", bounds)
    assert process.wait(scaled(WITHIN_S)) == 0, (logs / "publisher.log").read_text()
    return int(answer.read_text())


def _publish(
    handed_out: HandedOut, environment: dict[str, str], answer: Path, log: Path, bounds: dict[str, int]
) -> None:
    live_in(environment)
    speak_into(log, log)
    from worker.dispatcher import messages  # noqa: PLC0415 - not before its settings are there
    from worker.task_kinds import Errand  # noqa: PLC0415 - the same

    for name, value in bounds.items():
        setattr(messages, name, value)
    answer.write_text(str(messages.publish(Errand.CALL, handed_out)))
    # multiprocessing ends without them.
    atexit._run_exitfuncs()
