"""What schemathesis cannot know from the document."""

import re
import uuid
from typing import Any

import schemathesis

KEY = "Idempotency-Key"
USABLE_KEY = re.compile(r"[!-~][ -~]{0,254}")
ID = "external_id"
USABLE_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,255}")


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], **_: Any) -> None:
    """Make what must be unique so, which no schema can say: keys of requests, external ids in a batch.

    Otherwise the few that it thinks of come again, and such requests are refused (422) before what is in them
    is looked at.
    """
    headers: Any = case.headers or {}
    if KEY in headers:
        headers[KEY] = _unique(headers[KEY], USABLE_KEY)
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return
    if case.method == "POST" and case.path == "/v1/batches" and case.media_type != "application/json":
        # The query belongs to a manifest alone, which needs a name; beside JSON it is not looked at.
        query: Any = case.query
        query.setdefault("name", "manifest")
    body: Any = case.body
    jobs = [body, *_list_in(body)] if isinstance(body, dict) else []
    for job in jobs:
        if isinstance(job, dict) and ID in job:
            job[ID] = _unique(job[ID], USABLE_ID)


def _list_in(body: dict[str, Any]) -> list[Any]:
    jobs = body.get("jobs")
    return jobs if isinstance(jobs, list) else []


def _unique(value: Any, usable: re.Pattern[str]) -> Any:
    """Another one of the same length, if that is long enough; what is of no use stays as it is."""
    if not isinstance(value, str) or not usable.fullmatch(value):
        return value
    return f"{uuid.uuid4()}{value}"[: max(len(value), 36)]
