"""The problems that routes answer with, for OpenAPI."""

from http import HTTPStatus
from typing import Any

from api.problems import MEDIA_TYPE
from api.schemas import ProblemView

WHY = {
    HTTPStatus.UNAUTHORIZED: "No API key, or one that is unknown or revoked",
    HTTPStatus.NOT_FOUND: "You have nothing of this id; whether another has is not told",
    HTTPStatus.CONFLICT: "Its state does not allow this; `detail` says which does",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body, or the picture, is too large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A field is wrong; `field` names it",
    HTTPStatus.SERVICE_UNAVAILABLE: "Something that is needed is away; try again later",
}
PROBLEM = ProblemView.model_json_schema()
USUAL = (HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)


def problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """These, and those that any route may answer with."""
    return {
        int(status): {
            "description": WHY[status],
            "content": {MEDIA_TYPE: {"schema": PROBLEM}},
        }
        for status in sorted({*USUAL, *statuses})
    }


NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What you have by `If-None-Match` is what there is"}
}
