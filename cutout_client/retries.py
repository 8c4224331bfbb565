"""Retries of requests, and the waits before them."""

import random
import time
from dataclasses import dataclass, replace

import httpx

from cutout_client.errors import NoAnswerError, kind_of
from cutout_client.steps import Answer, Flow, Send, Sleep, Try

# Nothing was done.
REFUSED_FOR_NOW = frozenset({429, 503})
# Something may have been done.
UNCLEAR = frozenset({408, 500, 502, 504})
# The same request is being carried out: its answer will be the answer to this one.
TWIN = "idempotency-key-in-use"
# The request did not leave.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Retries:
    """Limits of retries: `tries` in all, and no wait that ends later than `patience_s` after the first.

    A request that is not safe to repeat is sent again only if it did not reach the API or was not begun.
    """

    tries: int = 6
    patience_s: float = 60.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 15.0

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"Retries needs a try at least, not {self.tries}")

    def steps(self, send: Send) -> Flow[Answer]:
        """The first answer that is final, or else the last. Raises NoAnswerError if there was none."""
        ends_at = time.monotonic() + self.patience_s
        lost = False
        for n in range(1, self.tries + 1):
            answer: Answer | None = None
            broke: httpx.TransportError | None = None
            try:
                answer = yield Try(send)
            except httpx.TransportError as error:
                broke = error
            if answer is not None and not _is_passing(answer, repeatable=send.request.repeatable):
                return replace(answer, after_lost=lost)
            lost = lost or _may_have_been_done(answer, broke)
            wait = self.wait_s(n, answer)
            over = n == self.tries or time.monotonic() + wait > ends_at
            if over or (lost and not send.request.repeatable):
                if answer is not None:
                    return replace(answer, after_lost=lost)
                raise NoAnswerError(_no_answer(n, broke, send)) from broke
            yield Sleep(wait)
        raise AssertionError("the last try returns or raises")

    def wait_s(self, tries: int, answer: Answer | None = None) -> float:
        """Seconds to wait after so many tries, unless the answer says how long."""
        asked = answer.headers.get("retry-after", "") if answer is not None else ""
        if asked.isascii() and asked.isdigit():
            return float(asked)
        doubled = min(self.first_wait_s * 2.0 ** (tries - 1), self.longest_wait_s)
        return doubled * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load


def _is_passing(answer: Answer, *, repeatable: bool) -> bool:
    if answer.status in REFUSED_FOR_NOW:
        return True
    if answer.status in UNCLEAR:
        return repeatable
    return answer.status == httpx.codes.CONFLICT and kind_of(answer) == TWIN


def _may_have_been_done(answer: Answer | None, broke: httpx.TransportError | None) -> bool:
    if answer is not None:
        return answer.status in UNCLEAR
    return not isinstance(broke, UNSENT)


def _no_answer(tries: int, broke: httpx.TransportError | None, send: Send) -> str:
    text = f"no answer after {tries} {'try' if tries == 1 else 'tries'}: {type(broke).__name__}: {broke}"
    if not send.request.repeatable and not isinstance(broke, UNSENT):
        text += "; it is not known whether it was done: read it, and do it again if it was not"
    return text
