"""Fields that several resources have, and what they may hold."""

import json
from typing import Annotated, Any

from annotated_types import Len
from pydantic import AfterValidator, BeforeValidator, Field, Strict

from cutout.enums import PRIORITIES, ReturnForm
from cutout.ingest.sources.file_patterns import LONGEST_PATTERN, MOST_PATTERNS
from cutout.manifests.column_names import MAPPABLE
from cutout.manifests.delimited import WORDS, read_delimiter
from cutout.queue.enqueue import LONGEST_EXTERNAL_ID
from cutout.queue.metadata import LONGEST_KEY, LONGEST_VALUE, MOST_PAIRS
from cutout.text import PATTERN, name_fault

# As cutout.manifests.delimited reads it: one character, or a word for it in any letter case.
WORDS_OF_DELIMITERS = "|".join("".join(f"[{c.upper()}{c}]" for c in word) for word in WORDS if word.isalpha())
DELIMITER = rf"^([^\u0000\r\n\u0020\u0022]|\\[Tt]|{WORDS_OF_DELIMITERS})$"


def _plain(value: str) -> str:
    if fault := name_fault(value):
        raise ValueError(fault)
    return value


def _whole(value: object) -> object:
    # JSON has one kind of number: 5.0 is as whole as 5.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _known_priority(value: str) -> str:
    if value not in PRIORITIES:
        raise ValueError(f"{value!r} is not one of {', '.join(PRIORITIES)}")
    return value


def _read_metadata(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('is not the JSON text of an object; send one such as {"order": "A-1207"}') from None


def _distinct(value: object) -> object:
    """One form or several; a repeated one counts once."""
    if not isinstance(value, list):
        return [value]
    return [form for n, form in enumerate(value) if form not in value[:n]]


# Text that Postgres, logs and headers can hold.
PlainText = Annotated[str, AfterValidator(_plain), Field(json_schema_extra={"pattern": PATTERN})]
ExternalId = Annotated[PlainText, Field(min_length=1, max_length=LONGEST_EXTERNAL_ID, examples=["SKU-4471"])]
Code = Annotated[PlainText, Field(min_length=1, max_length=100)]
PriorityName = Annotated[
    str, AfterValidator(_known_priority), Field(json_schema_extra={"enum": list(PRIORITIES)})
]
ReturnForms = Annotated[
    # Strict JSON has no enumerations, and a value turned into a list is no JSON any more.
    list[Annotated[ReturnForm, Strict(False)]],
    BeforeValidator(_distinct, json_schema_input_type=ReturnForm | Annotated[list[ReturnForm], Len(1)]),
    Field(min_length=1, description="What to get of each picture: one form or a list of them"),
]
ColumnMap = Annotated[
    dict[PlainText, PlainText],
    Field(
        description="Which column of the manifest is which",
        json_schema_extra={"propertyNames": {"enum": list(MAPPABLE)}},
        examples=[{"external_id": "SKU", "source": "Image URL"}],
    ),
]
Delimiter = Annotated[
    Annotated[str, AfterValidator(read_delimiter), Field(json_schema_extra={"pattern": DELIMITER})] | None,
    Field(description="Of a delimited manifest, if its header does not show it: one character, or `tab`"),
]
Patterns = Annotated[
    list[Annotated[PlainText, Field(min_length=1, max_length=LONGEST_PATTERN)]],
    Field(max_length=MOST_PATTERNS, description="Patterns for the files of a zip, as of a shell"),
]
MetadataKey = Annotated[PlainText, Field(min_length=1, max_length=LONGEST_KEY)]
MetadataValue = Annotated[PlainText, Field(max_length=LONGEST_VALUE)]
# A key that the pattern does not allow is refused, which pydantic's schema does not say.
ONLY_SUCH_KEYS: dict[str, Any] = {"additionalProperties": False}
METADATA = Field(
    description=f"Your own pairs of text, at most {MOST_PAIRS}, which are shown and sent and mean nothing",
    max_length=MOST_PAIRS,
    examples=[{"order": "A-1207"}],
    json_schema_extra=ONLY_SUCH_KEYS,
)
Metadata = Annotated[dict[MetadataKey, MetadataValue], METADATA]
# A change removes a pair by null.
MetadataChange = Annotated[
    Annotated[
        dict[MetadataKey, MetadataValue | None],
        Field(max_length=2 * MOST_PAIRS, json_schema_extra=ONLY_SUCH_KEYS),
    ]
    | None,
    Field(description="Pairs to be set; null removes a pair, or all of them", examples=[{"order": "A-1208"}]),
]
ColumnMapChange = Annotated[
    Annotated[
        dict[PlainText, PlainText | None],
        Field(json_schema_extra={"propertyNames": {"enum": list(MAPPABLE)}}),
    ]
    | None,
    Field(description="Columns to be mapped; null removes a mapping, or all of them"),
]
# In a query or a form.
MetadataText = Annotated[
    Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MOST_PAIRS)],
    BeforeValidator(_read_metadata, json_schema_input_type=str),
    Field(
        description="Your own pairs of text, as the JSON text of an object",
        json_schema_extra={"type": "string", "contentMediaType": "application/json"},
        examples=['{"order": "A-1207"}'],
    ),
]
WHOLE = BeforeValidator(_whole)
Credits = Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE]
PollAfter = Annotated[
    int | None,
    Field(
        description="Seconds, 1 to 60, after which to look again; null once nothing moves any more",
        examples=[5],
    ),
]
NextCursor = Annotated[
    str | None,
    Field(
        description="`cursor` of the next page; null on the last", examples=["AaIFGUcHdXqcHg9vOkwrEXBhZ2U"]
    ),
]
