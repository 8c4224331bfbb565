"""Hooks for facts that schemathesis cannot know from the document."""

import os
import re
import uuid
from typing import Any

import schemathesis

from api.etag import LONGEST_WAIT_S

JSON = "application/json"
KEY = "Idempotency-Key"
MATCH = "If-Match"
USABLE_KEY = re.compile(r"[!-~][ -~]{0,254}")
ID = "external_id"
USABLE_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,255}")
# Texts of languages of their own.
WITH_A_GRAMMAR = {
    "cron": "15 1 * * *",
    "zone": "Europe/Paris",
    "window": "01:00-06:00",
    "webhook_url": "https://shop.example/hooks/cutout",
    "metadata": '{"order": "A-1207"}',
    "url": "https://shop.example/hooks/cutout",
}
FILE_NAME = "{external_id}.{rendition}.{ext}"
OUTPUTS = ["amazon", "hero: canvas=1200x1200 background=#eeeeee"]


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], **_: Any) -> None:
    """Make right what no schema can say; else requests are refused before what is in them is looked at."""
    headers: Any = case.headers or {}
    if KEY in headers:
        # The few that it thinks of come again with other bodies.
        headers[KEY] = _unique(headers[KEY], USABLE_KEY)
    _end_stream(case)
    query: Any = case.query or {}
    if _is_a_wait(query.get("wait")):
        # Nothing changes meanwhile.
        query["wait"] = 0.1
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return
    _mend_places(query, headers)
    _mend_manifest(query)
    if case.method == "POST" and case.path == "/v1/batches":
        _mend_query(case)
    if isinstance(case.body, dict):
        _put_in(case.body, WITH_A_GRAMMAR)
        _mend_outputs(case.body)
        if case.media_type != JSON:
            # A form with a file in it, once changed, would be judged anew, as text, and held for wrong.
            case._record_starting_state()
    if case.method == "PATCH" and isinstance(case.body, dict):
        _mend_patch(case.body)
    elif case.media_type == JSON and isinstance(case.body, dict):
        _mend_body(case.body)
        if case.path == "/v1/schedules":
            # One name each, https alone, a jitter shorter than the time between two runs.
            case.body |= {
                "name": str(uuid.uuid4()),
                "manifest_url": "https://a.example/b",
                "jitter_seconds": 9,
            }


def _end_stream(case: schemathesis.Case[Any]) -> None:
    """A stream ends with its batch and its outputs, and nobody makes what is asked for meanwhile."""
    asked = case.path_parameters.get("batch_id")
    if case.path.endswith("/events") and _is_an_id(asked):
        case.path_parameters["batch_id"] = os.environ["CUTOUT_TEST_FINISHED_BATCH"]
    elif case.method == "POST" and str(asked) == os.environ["CUTOUT_TEST_FINISHED_BATCH"]:
        case.path_parameters["batch_id"] = str(uuid.uuid4())


def _mend_places(query: Any, headers: Any) -> None:
    """A page's cursor is what the page before gave, a stream's the last event, a tag what was seen."""
    query.pop("cursor", None)
    headers.pop("last-event-id", None)
    if MATCH in headers:
        headers[MATCH] = "*"


def _mend_manifest(query: Any) -> None:
    """The manifest as it came in has a format of its own, all rows, and a column for links."""
    if query.get("image_column"):
        query |= {"as_input": True, "links": True}
    if query.get("as_input"):
        for name in ("format", "state", "code"):
            query.pop(name, None)


def _mend_query(case: schemathesis.Case[Any]) -> None:
    """A manifest has its options in the query, a name among them; a list has them in its body."""
    query: Any = case.query
    if case.media_type == JSON:
        query.clear()
    else:
        query.setdefault("name", "manifest")
        _put_in(query, WITH_A_GRAMMAR | {"map": 'external_id=SKU,source="Image URL"'})
        _mend_outputs(query)
        # It knows of some media types no way to write them, and sends nothing.
        case.body = case.body or "external_id,source\n"


def _mend_body(body: dict[str, Any]) -> None:
    """Ids are unique in a batch; it has jobs or a manifest, and one of them if it is to be planned.

    What is told of its jobs goes to the webhook that it has.
    """
    if not body.get("webhook_url"):
        body.pop("webhook_jobs", None)
    jobs = body.get("jobs") or []
    if jobs:
        body.pop("manifest_url", None)
    elif not body.get("manifest_url"):
        body.pop("plan", None)
    for job in (body, *jobs):
        if isinstance(job, dict) and ID in job:
            job[ID] = _unique(job[ID], USABLE_ID)


def _mend_patch(body: dict[str, Any]) -> None:
    """Make a change fit what is there: a name of its own, https alone, a short jitter."""
    known = {"name": str(uuid.uuid4()), "manifest_url": "https://a.example/b", "jitter_seconds": 9}
    body |= {name: value for name, value in known.items() if name in body}
    # Pairs beside those that are there may be too many.
    for name in ("metadata", "map"):
        if isinstance(body.get(name), dict):
            body[name] = dict(list(body[name].items())[:1])


def _is_an_id(value: Any) -> bool:
    try:
        return bool(uuid.UUID(str(value)))
    except ValueError:
        return False


def _is_a_wait(value: Any) -> bool:
    try:
        return 0 <= float(value) <= LONGEST_WAIT_S
    except (TypeError, ValueError):
        return False


def _mend_outputs(fields: Any) -> None:
    """Outputs are recipes for RGBA, each with a name and a template that stay the same in a batch."""
    if fields.get("outputs") or isinstance(fields.get("file_name"), str):
        fields |= {"outputs": OUTPUTS, "file_name": FILE_NAME}
        fields.pop("forms", None)


def _put_in(fields: dict[str, Any], known: dict[str, str]) -> None:
    """Set those of the known fields that are there and are text."""
    fields |= {name: value for name, value in known.items() if isinstance(fields.get(name), str)}


def _unique(value: Any, usable: re.Pattern[str]) -> Any:
    """Another one of the same length, if that is long enough; what is of no use stays as it is."""
    if not isinstance(value, str) or not usable.fullmatch(value):
        return value
    return f"{uuid.uuid4()}{value}"[: max(len(value), 36)]
