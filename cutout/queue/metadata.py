"""Metadata: a producer's own pairs of text on a job, batch or schedule, kept and shown, never used."""

from collections.abc import Mapping

from cutout.text import name_fault

MOST_PAIRS = 16
LONGEST_KEY = 40
LONGEST_VALUE = 500

Metadata = Mapping[str, str]


def metadata_fault(metadata: Metadata) -> str | None:
    """Describe the first wrong pair, and the remedy; None if there is none."""
    if len(metadata) > MOST_PAIRS:
        return f"has {len(metadata)} pairs; use at most {MOST_PAIRS}"
    for key, value in metadata.items():
        if not 1 <= len(key) <= LONGEST_KEY:
            return f"has a key of {len(key)} characters; use 1 to {LONGEST_KEY}"
        if len(value) > LONGEST_VALUE:
            return f"has {len(value)} characters under the key {key!r}; use at most {LONGEST_VALUE}"
        for what, text in (("key", key), ("value", value)):
            if fault := name_fault(text):
                return f"has a {what} that {fault}"
    return None
