"""Faults on order: what shall go wrong, and with which calls."""

import random
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sandbox.error_codes import ERROR_CODES

Kind = Literal[
    # The call is not charged.
    "code",  # answers `code`
    "hang",  # answers nothing for `seconds`, then closes the connection
    "drop_before",  # closes the connection, not one byte sent
    "not_json",  # 502 with the plain text `bad gateway`
    "html",  # 200 with an HTML page
    "gateway_before",  # 403 with a firewall's HTML page, or another `status`
    # The call is charged.
    "hang_after",  # as hang
    "drop_after",  # as drop_before
    "drop_midway",  # closes the connection in the middle of the answer
    "gateway_after",  # 504 with a proxy's HTML page, or another `status`
    "data_null",  # 200 with `data: null`
    "no_url",  # 200 with an empty `data.image_url`
    "ftp_url",  # 200 with an `ftp://` URL
    "truncated_image",  # the URL serves half of the picture's bytes, its Content-Length agreeing
    "result_gone",  # the URL is dead at once
    "result_unavailable",  # the URL answers 503 to the first two downloads
    "result_unsteady",  # the URL answers 503, 503 and 404 to the first three downloads
    "url_elsewhere",  # 200 with the URL in `data.elements[0]`
    "long_url",  # 200 with an `image_url` of more than 5,000 characters, which works
    # The call is charged, and what the URL serves is whole and not as it is documented.
    "palette_image",  # a PNG with a palette, one of whose colours is transparent
    "grey_alpha_image",  # a PNG of grey and alpha
    "webp_image",  # a WEBP without loss
    "opaque_image",  # a PNG of the picture as it was sent, without alpha
    "small_image",  # half as wide and half as high
    "large_image",  # 70 MB: the picture, and a chunk that decoders skip
    "html_result",  # an HTML page
]

FAULTS_KEPT = 100


class Fault(BaseModel):
    """One fault, for the `next` calls or for a `share` of all calls.

    Only calls that would otherwise succeed are struck and counted. `seconds` is for the hangs, `code`
    and `retry_after` (seconds, sent as the header) for `code`, `status` for the gateways'.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    code: str | None = None
    next: int | None = Field(default=None, ge=1)
    share: float | None = Field(default=None, gt=0, le=1)
    retry_after: float | None = Field(default=None, ge=0)
    seconds: float = Field(600, ge=0)
    status: int | None = Field(None, ge=300, le=599)
    struck: int = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.kind == "code") != (self.code is not None):
            raise ValueError("`code` belongs to kind 'code', and that kind needs one")
        if self.code is not None and self.code not in ERROR_CODES:
            raise ValueError(f"{self.code!r} is no documented code; see sandbox/error_codes.tsv")
        if (self.next is None) == (self.share is None):
            raise ValueError("give either `next` (a number of calls) or `share` (0 to 1)")
        return self


class FaultPlan:
    """The faults on order; a call is struck by the first that wants it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault after the others; raises ValueError when 100 wait already."""
        if len(self.faults) >= FAULTS_KEPT:
            raise ValueError(f"{FAULTS_KEPT} faults wait already; DELETE /sandbox/faults first")
        self.faults.append(fault)

    def draw(self) -> Fault | None:
        """Give the fault that strikes this call, if one does."""
        for fault in self.faults:
            if fault.share is None or self._rng.random() < fault.share:
                fault.struck += 1
                if fault.struck == fault.next:
                    self.faults.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        self.faults.clear()
