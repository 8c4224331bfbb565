"""The JSON around every answer, in the four shapes the documents show.

`page` is the shape on the endpoint's own page; `oldest`, `middle` and `newest` are the three the whole
service has had, the last since April 2026.
"""

import uuid
from typing import Any, Literal

from sandbox.error_codes import ErrorCode

Shape = Literal["page", "oldest", "middle", "newest"]

_OK = 200


def new_request_id() -> str:
    return uuid.uuid4().hex


def success(shape: Shape, data: object, request_id: str) -> dict[str, Any]:
    return _envelope(shape, _OK, "", request_id) | {"data": data}


def failure(shape: Shape, error: ErrorCode, status: int) -> dict[str, Any]:
    return _envelope(shape, status, error.code, new_request_id())


def _envelope(shape: Shape, status: int, code: str, request_id: str) -> dict[str, Any]:
    text = code.replace("_", " ").capitalize()
    envelope: dict[str, Any] = {"request_id": request_id, "log_id": uuid.uuid4().hex}
    detail: dict[str, Any] = {"code": code, "code_message": text, "message": text}
    if shape != "newest":
        envelope["error_code"] = 0 if status == _OK else status
        detail["status_code"] = status
    if shape == "oldest":
        envelope["error_code_str"] = code
    if shape in ("oldest", "page"):
        envelope["error_msg"] = text
    return envelope | {"error_detail": detail}
