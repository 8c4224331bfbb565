"""The operator's ways: the command in a process of its own, and the API; both may meet an outage."""

import time
import uuid

import httpx

from cli.console import Exit
from tests.cli.command import Cutout, Ran
from tests.soak.system import System

# An outage is over by then.
PATIENCE_S = 60.0
PAUSE_S = 0.5
# It did what was asked, or there was nothing to do.
DECIDED = (Exit.SUCCEEDED, Exit.FAILED)


class Desk:
    """Repeats what an outage kept from being done. `wrong` has what no outage explains."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._cutout = Cutout(system.environment, system.directory)
        self.wrong: list[str] = []

    def command(self, *words: str) -> Ran:
        """`cutout WORDS`, again until it is done."""
        ends_at = time.monotonic() + PATIENCE_S
        while True:
            ran = self._cutout(*words)
            if ran.code in DECIDED:
                return ran
            if time.monotonic() > ends_at:
                self.wrong.append(f"cutout {' '.join(words)} was not done: {ran.stderr.strip()}")
                return ran
            time.sleep(PAUSE_S)

    def post(self, path: str) -> None:
        """POST, again with the same key until it is answered."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        ends_at = time.monotonic() + PATIENCE_S
        said = ""
        while time.monotonic() < ends_at:
            try:
                answer = self._system.api.post(path, headers=key)
            except httpx.TransportError as error:
                said = type(error).__name__
            else:
                said = f"{answer.status_code} {answer.text[:200]}"
                if answer.is_success or self._is_decided(answer):
                    return
            time.sleep(PAUSE_S)
        self.wrong.append(f"POST {path} was not done: {said}")

    @staticmethod
    def _is_decided(answer: httpx.Response) -> bool:
        """Whether it came too late: the job has moved on. One with the same key may still be at work."""
        conflict = answer.status_code == httpx.codes.CONFLICT
        return conflict and "idempotency" not in answer.text.lower()
