"""Classification of the endpoint's answers."""

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from cutout.endpoint.verdicts import VERDICTS, Verdict, verdict_of

NOT_UNDERSTOOD = "ANSWER_NOT_UNDERSTOOD"
MAX_TEXT = 500  # characters kept of a message from the endpoint
MAX_NAME = 100  # and of a code or an id
MAX_URL = 4096
MAX_RETRY_AFTER_S = 3600.0
MAX_RAW = 65_536  # characters kept of an answer that was not understood

# Statuses with which a gateway refuses a request before the endpoint sees it: `gateway_refusals.tsv`.
_, *_ROWS = Path(__file__).with_name("gateway_refusals.tsv").read_text(encoding="utf-8").splitlines()
GATEWAY_REFUSALS = frozenset(int(row.split("\t")[0]) for row in _ROWS)

_FAILURE_STATUS = re.compile(r"[45][0-9]{2}")
_URL = re.compile(r"https?://\S+", re.IGNORECASE)


@dataclass(frozen=True)
class Accepted:
    """A paid call. The result's URL gives access to the image for 24 hours: it is a secret."""

    result_url: str = field(repr=False)
    request_id: str = ""
    log_id: str = ""


@dataclass(frozen=True)
class Refused:
    """A call without a result. A failed call is not charged.

    `code` is the endpoint's own, else `HTTP_<status>`, else ANSWER_NOT_UNDERSTOOD. `may_be_charged` marks an
    answer that claims success or does not clearly claim failure, and one that a gateway gave, unless its
    status tells that the endpoint was not reached. `is_the_endpoints`: the answer has the endpoint's
    envelope, so no firewall or gateway made it.
    """

    verdict: Verdict
    code: str
    message: str
    http_status: int
    request_id: str = ""
    log_id: str = ""
    retry_after_s: float | None = None
    may_be_charged: bool = False
    is_the_endpoints: bool = True
    # Secret: the body of an answer that claims success and was not understood. It may contain a result's URL.
    raw: str | None = field(default=None, repr=False)


def classify(
    status: int, headers: Mapping[str, str], body: bytes, *, went_out: bool = True
) -> Accepted | Refused:
    """Classify the answer to a call. Any field of the three known envelopes may be absent or of any type.

    A success is HTTP 200, a JSON object, no error code in any of its places, and a `data.image_url`.
    `went_out` is whether the whole request was sent before the answer came.
    """
    envelope = parse(body)
    url = _result_url(envelope)
    if url and succeeded(status, envelope):
        return Accepted(url, _name(envelope.get("request_id")), _name(envelope.get("log_id")))
    refused = refusal(status, headers, envelope, went_out=went_out)
    return replace(refused, raw=_raw(body)) if refused.code == NOT_UNDERSTOOD else refused


def parse(body: bytes) -> dict[str, Any]:
    """Parse a JSON object; anything else is returned as an empty one."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return envelope if isinstance(envelope, dict) else {}


def succeeded(status: int, envelope: Mapping[str, Any]) -> bool:
    """Whether the envelope claims success, of a call or of a query."""
    return (
        status == HTTPStatus.OK
        and bool(envelope)
        and envelope.get("error_code") in (None, 0, "0", "")
        and not _detail(envelope).get("code")
        and not envelope.get("error_code_str")
    )


def refusal(
    status: int, headers: Mapping[str, str], envelope: Mapping[str, Any], *, went_out: bool = True
) -> Refused:
    """Classify by the code, and by the status only without one: 48 codes have changed their status."""
    detail = _detail(envelope)
    code = _name(detail.get("code")) or _name(envelope.get("error_code_str"))
    claimed = _claimed_status(status, envelope)
    is_the_endpoints = _is_the_endpoints(envelope)
    claims_success = claimed // 100 == 2  # noqa: PLR2004 - the class of HTTP statuses
    retry_after_s = _retry_after_s(headers.get("retry-after", ""), headers.get("date", ""))
    if claims_success:
        may_be_charged = code not in VERDICTS
    else:
        may_be_charged = went_out and not is_the_endpoints and _may_follow_a_charge(status, retry_after_s)
    return Refused(
        verdict=verdict_of(code, claimed),
        code=code or (NOT_UNDERSTOOD if claims_success else f"HTTP_{claimed}"),
        message=_message(detail, envelope) or f"HTTP status {status} without an explanation",
        http_status=status,
        request_id=_name(envelope.get("request_id")),
        log_id=_name(envelope.get("log_id")),
        retry_after_s=retry_after_s,
        may_be_charged=may_be_charged,
        is_the_endpoints=is_the_endpoints,
    )


def _is_the_endpoints(envelope: Mapping[str, Any]) -> bool:
    """Whether the endpoint itself gave this failure. Gateways send JSON too, some with a request id."""
    detail = _detail(envelope)
    if _name(detail.get("code")) or _name(envelope.get("error_code_str")):
        return True
    if _FAILURE_STATUS.fullmatch(str(envelope.get("error_code"))):
        return True
    return bool(_name(envelope.get("request_id"))) and bool(detail or _name(envelope.get("log_id")))


def _may_follow_a_charge(status: int, retry_after_s: float | None) -> bool:
    """Whether a gateway's answer may hide a call that the endpoint has finished and charged."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return retry_after_s is None
    return status not in GATEWAY_REFUSALS


def _detail(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    detail = envelope.get("error_detail")
    return detail if isinstance(detail, dict) else {}


def _claimed_status(status: int, envelope: Mapping[str, Any]) -> int:
    """Return `error_code`, which repeats the status, if a gateway has replaced the status by 200."""
    inner = str(envelope.get("error_code"))
    return int(inner) if status == HTTPStatus.OK and _FAILURE_STATUS.fullmatch(inner) else status


def _message(detail: Mapping[str, Any], envelope: Mapping[str, Any]) -> str:
    texts = (detail.get("message"), detail.get("code_message"), envelope.get("error_msg"))
    return next((text for text in map(_text, texts) if text), "")


def _text(value: object) -> str:
    """Return a text for logs and the database: bounded, printable, on one line, without URLs."""
    if not isinstance(value, str):
        return ""
    line = " ".join(value[: 4 * MAX_TEXT].split())
    return _URL.sub("<url>", "".join(c for c in line if c.isprintable()))[:MAX_TEXT]


def _raw(body: bytes) -> str:
    """Return the body for Postgres: UTF-8 with other bytes escaped, without NUL, and bounded."""
    return body[:MAX_RAW].decode(errors="backslashreplace").replace("\0", "\\x00")[:MAX_RAW]


def _name(value: object) -> str:
    return _text(value)[:MAX_NAME]


def _result_url(envelope: Mapping[str, Any]) -> str | None:
    data = envelope.get("data")
    url = data.get("image_url") if isinstance(data, dict) else None
    if not isinstance(url, str) or len(url) > MAX_URL or not url.isprintable():
        return None
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return None
    return url if parsed.scheme in ("http", "https") and parsed.host else None


def _retry_after_s(value: str, date: str) -> float | None:
    """Return the seconds until a Retry-After value, seconds or an HTTP date; at most an hour.

    Relative to the answer's own `date` if it has one: this machine's clock may be wrong.
    """
    try:
        seconds = float(value)
    except ValueError:
        until = _unix_time(value)
        if until is None:
            return None
        now = _unix_time(date)
        seconds = until - (time.time() if now is None else now)
    return None if math.isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _unix_time(http_date: str) -> float | None:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
