"""Texts of errors as producers are to read them: nothing of what runs here."""

import json
import re
from typing import Any

# Settings, commands of operators, files and objects of ours.
INTERNAL = re.compile(
    r"\bCUTOUT_[A-Z0-9_]+|`cutout\b|`--[a-z]|\bTMPDIR\b|(?:^|[\s'\"(])/(?:tmp|var|spool|root|home|app|run)\b"
    r"|\bs3://|\bworker \d+ on \S"
)
BETWEEN = re.compile(r"(; |: |, (?:and |or )?| or | and | \(|\) )")
NOTHING_LEFT = "the operator's log has the reason"


def producers_words(text: str) -> str:
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


def producers_payload(payload: str) -> str:
    """A message in JSON whose texts of errors are as producers are to read them."""
    if not INTERNAL.search(payload):
        return payload
    return json.dumps(json.loads(payload, object_hook=_with_words), ensure_ascii=False)


def _with_words(found: dict[str, Any]) -> dict[str, Any]:
    message = found.get("message")
    return found | {"message": producers_words(message)} if isinstance(message, str) else found
