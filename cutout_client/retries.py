"""Retries of requests, and the waits before them."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from cutout_client.errors import PREFIX, NoAnswerError

AGAIN = frozenset({429, 502, 503, 504})
# The same request is being carried out: its answer will be the answer to this one.
TWIN = f"{PREFIX}idempotency-key-in-use"


@dataclass(frozen=True, slots=True)
class Retries:
    """Limits of retries: `tries` in all, and no wait that ends later than `patience_s` after the first."""

    tries: int = 6
    patience_s: float = 60.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 15.0

    def send(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """The first answer that is final, or else the last. Raises NoAnswerError if there was none.

        `send` must be safe to repeat: it reads, or sends the same idempotency key each time.
        """
        ends_at = time.monotonic() + self.patience_s
        for n in range(1, self.tries + 1):
            answer, broke = _try(send)
            if answer is not None and not _is_passing(answer):
                return answer
            wait = self._wait(n, answer)
            if n == self.tries or time.monotonic() + wait > ends_at:
                if answer is not None:
                    return answer
                raise NoAnswerError(f"no answer after {n} tries: {type(broke).__name__}: {broke}") from broke
            if answer is not None:
                answer.close()
            time.sleep(wait)
        raise ValueError(f"Retries needs a try at least, not {self.tries}")

    def _wait(self, tries: int, answer: httpx.Response | None) -> float:
        asked = answer.headers.get("retry-after", "") if answer is not None else ""
        if asked.isascii() and asked.isdigit():
            return float(asked)
        doubled = min(self.first_wait_s * 2.0 ** (tries - 1), self.longest_wait_s)
        return doubled * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load


def _try(send: Callable[[], httpx.Response]) -> tuple[httpx.Response | None, Exception | None]:
    try:
        return send(), None
    except httpx.TransportError as error:
        return None, error


def _is_passing(answer: httpx.Response) -> bool:
    if answer.status_code in AGAIN:
        return True
    return answer.status_code == httpx.codes.CONFLICT and TWIN in answer.read().decode(errors="replace")
