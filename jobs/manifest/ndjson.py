"""NDJSON: a JSON object a line."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from jobs.manifest.columns import NEEDED, TARGETS, fold
from jobs.manifest.drafts import Cell, PlainCells, read_picture, usual_picture
from jobs.manifest.lines import Text, bounded_lines
from jobs.manifest.records import ManifestError, Record, Reject, reject

SURROGATE = re.compile("[\ud800-\udfff]")


class _LineError(ValueError):
    """The line is no object that can be used; the text says why."""


def read_ndjson(text: Text, columns: Mapping[str, str], *, name: str) -> Iterator[Record]:
    """A record for each line that is not blank; a line that is no usable object is rejected whole.

    Raises ManifestError if the first object stands over several lines.
    """
    reader = _ObjectReader(columns)
    for number, line in enumerate(bounded_lines(text, name=name), start=text.line):
        found = line.strip()
        if number == text.line and found == "{":
            raise ManifestError(
                f"{name} has a JSON object over several lines; write one a line, for instance with `jq -c .`"
            )
        if found:
            yield _read_line(number, found, reader)


def _read_line(number: int, text: str, reader: "_ObjectReader") -> Record:
    try:
        found = _decode(text)
    except _LineError as error:
        return Record(number, (text,), (), (reject(number, "", text, str(error)),))
    return reader.read(number, found)


def _decode(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _LineError(
            f"is not JSON: {error.msg} at place {error.pos + 1}; write one object a line"
        ) from None
    except RecursionError:
        raise _LineError("is nested too deeply; write an object of texts and numbers") from None
    except _LineError:
        raise
    except ValueError:
        # Python refuses to read whole numbers of thousands of digits.
        raise _LineError("has a number that is too long; write it as a text") from None
    if not isinstance(found, dict):
        raise _LineError("is JSON but not an object; write one object a line")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _LineError(f"has the name {repeated[:60]!r} twice; keep one")
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise _LineError(f"has {constant}, which is not JSON; write a number or leave it out")


class _ObjectReader:
    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns = {target: columns.get(target, target) for target in TARGETS}
        self._folded = {target: fold(column) for target, column in self._columns.items()}

    def read(self, line: int, found: dict[str, Any]) -> Record:
        keys = self._find_keys(found)
        texts, rejects = _read_texts(line, found)
        rejects += [
            reject(
                line,
                column,
                "",
                f"is not in the object; name it, or say which it is with `--map {target}=NAME`",
            )
            for target, column in self._columns.items()
            if keys[target] is None and target in NEEDED
        ]
        if rejects:
            return Record(line, found, (), tuple(rejects))
        taken = set(keys.values())
        metadata = {key: text for key, text in texts.items() if text and key not in taken} or None
        external_id, source, form, priority = values = [
            "" if key is None else texts[key].strip() for key in keys.values()
        ]
        if picture := usual_picture(external_id, source, form, priority, metadata):
            return Record(line, found, (picture,), ())
        named = [
            Cell(key or self._columns[target], value)
            for (target, key), value in zip(keys.items(), values, strict=True)
        ]
        return Record(line, found, *read_picture(line, PlainCells(*named), metadata))

    def _find_keys(self, found: Mapping[str, Any]) -> dict[str, str | None]:
        """Where the targets stand, in the order of TARGETS: under the very name, else in any letter case."""
        folded = {fold(key): key for key in found}
        return {
            target: column if column in found else folded.get(self._folded[target])
            for target, column in self._columns.items()
        }


def _read_texts(line: int, found: Mapping[str, Any]) -> tuple[dict[str, str], list[Reject]]:
    texts: dict[str, str] = {}
    rejects: list[Reject] = []
    for key, value in found.items():
        try:
            _require_storable(key)
            texts[key] = _text(value)
        except _LineError as error:
            rejects.append(reject(line, _shown(key), _shown(value), str(error)))
    return texts, rejects


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            _require_storable(value)
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case float():
            raise _LineError("is too large a number; write it as a text")
        case _:
            raise _LineError("is an object or a list; write a text or a number")


def _require_storable(text: str) -> None:
    if not text.isascii() and (found := SURROGATE.search(text)):
        raise _LineError(
            f"has half a character, \\u{ord(found[0]):04x}; write the whole pair or leave it out"
        )
    if "\0" in text:
        raise _LineError("has a NUL character; remove it")


def _shown(value: object) -> str:
    match value:
        case dict():
            return "{…}"
        case list():
            return "[…]"
        case _:
            return str(value).encode("utf-8", "backslashreplace").decode()
