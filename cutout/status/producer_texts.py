"""Why a job is where it is, as its producer is to read it: nothing of what runs here."""

import json
import re
from typing import Any

from cutout.enums import FINAL_STATES, State
from cutout.models import Job
from cutout.status.explain import Explanation

# What keeps everybody's jobs back is the operator's to see to.
NOT_YOURS = "nothing of yours; jobs go on by themselves once the operator has seen to it"
STOPPED: dict[str, str] = {
    "storage": "the place for cutouts does not take any at present",
    "results": "paid results cannot be fetched at present",
    "backlog": "calls wait until what is paid for is copied",
    "workers-cut-off": "no worker reaches the place for cutouts at present",
    "paused": "all calls are paused by the operator",
    "day-budget": "what may be spent in a day is spent; calls go on at 00:00 UTC",
    "no-dispatcher": "the service does not hand out jobs at present",
    "no-worker": "the service has no worker at present",
    "account-paused": "the endpoint takes no calls of the service at present",
    "cutout-missing": "cutouts that were bought before cannot be found at present",
}


def for_producer(job: Job, found: Explanation) -> Explanation:
    """The same for the job's producer, with remedies that it has."""
    text = STOPPED.get(found.why)
    if text is not None and found.state not in FINAL_STATES:
        return Explanation(found.state, found.why, text, NOT_YOURS, found.ahead, found.until)
    words = re.sub(r"\bworker \d+ on \S+", "a worker", found.text)
    remedy = _remedy(job, found)
    return Explanation(found.state, found.why, text_for_producer(words), remedy, found.ahead, found.until)


def _remedy(job: Job, found: Explanation) -> str | None:
    if found.remedy is None:
        return None
    batch, its_own = f"/v1/batches/{job.batch_id}", f"/v1/jobs/{job.id}"
    match found.why, found.state:
        case "batch-paused", _:
            return f"`POST {batch}/resume` lets it go on"
        case "batch-cancelled", _:
            return f"`POST {batch}/cancel` again withdraws what is left"
        case "NEEDS_APPROVAL", _:
            return f"`POST {batch}/approve` lets its batch go, `POST {batch}/cancel` withdraws it"
        case "OVER_BUDGET", _:
            return "ask the operator to raise the budget of its batch, or cancel it"
        case "twin", _:
            return None
        case _, State.FAILED:
            return f"mend it, then `POST {its_own}/retry`"
        case _, State.HELD:
            return f"`POST {its_own}/retry` releases it, `POST {its_own}/cancel` withdraws it"
    return None


# Settings, commands of operators, files and objects of ours.
INTERNAL = re.compile(
    r"\bCUTOUT_[A-Z0-9_]+|`cutout\b|`--[a-z]|\bTMPDIR\b|(?:^|[\s'\"(])/(?:tmp|var|spool|root|home|app|run)\b"
    r"|\bs3://|\bworker \d+ on \S"
)
BETWEEN = re.compile(r"(; |: |, (?:and |or )?| or | and | \(|\) )")
NOTHING_LEFT = "the operator's log has the reason"


def text_for_producer(text: str) -> str:
    """The text without the clauses that name settings, commands, files or objects of ours."""
    if not INTERNAL.search(text):
        return text
    parts = BETWEEN.split(text)
    kept, separator = "", ""
    for clause, after in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if INTERNAL.search(clause):
            continue
        kept += (separator if kept else "") + clause
        separator = after
    return kept.strip() or NOTHING_LEFT


def payload_for_producer(payload: str) -> str:
    """A message in JSON whose texts of errors are as producers are to read them."""
    if not INTERNAL.search(payload):
        return payload
    return json.dumps(json.loads(payload, object_hook=_with_words), ensure_ascii=False)


def _with_words(found: dict[str, Any]) -> dict[str, Any]:
    message = found.get("message")
    return found | {"message": text_for_producer(message)} if isinstance(message, str) else found
