"""NDJSON manifests: one JSON object per line."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from cutout.manifests.column_names import NEEDED, TARGETS, fold
from cutout.manifests.lines import Text, bounded_lines
from cutout.manifests.record_builder import (
    URL_START,
    Cell,
    PlainCells,
    read_pictures,
    simple_picture,
    with_position,
)
from cutout.manifests.records import ManifestError, Record, RecordContent, Reject, reject

TOO_DEEP = "is nested too deeply; write an object of texts and numbers"
SURROGATE = re.compile("[\ud800-\udfff]")


class _LineError(ValueError):
    """The line is no usable object; the text is the reason."""


def read_ndjson(text: Text, columns: Mapping[str, str], *, name: str, many: bool = False) -> Iterator[Record]:
    """Yield a record for each line that is not blank; a line without a usable object is rejected as a whole.

    Objects and lists that are no targets are kept as JSON. A target may be a path into an object,
    `featuredImage.url`, and the source a list of URLs. Raises ManifestError if the first object spans several
    lines.
    """
    reader = _ObjectReader(columns, many=many)
    for number, line in enumerate(bounded_lines(text, name=name), start=text.line):
        found = line.strip()
        if number == text.line and found == "{":
            raise ManifestError(
                f"{name} has a JSON object over several lines; write one per line, for"
                " instance with `jq -c .`"
            )
        if found:
            yield _read_line(number, found, reader)


def _read_line(number: int, text: str, reader: "_ObjectReader") -> Record:
    try:
        return reader.read(number, _decode(text))
    except _LineError as error:
        return Record(number, (text,), (), (reject(number, "", text, str(error)),))


def _decode(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _LineError(
            f"is not JSON: {error.msg} at position {error.pos + 1}; write one object per line"
        ) from None
    except RecursionError:
        raise _LineError(TOO_DEEP) from None
    except _LineError:
        raise
    except ValueError:
        # Python refuses integers of thousands of digits.
        raise _LineError("has a number that is too long; write it as a text") from None
    if not isinstance(found, dict):
        raise _LineError("is JSON but not an object; write one object per line")
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
    def __init__(self, columns: Mapping[str, str], *, many: bool) -> None:
        self._columns = {target: columns.get(target, target) for target in TARGETS}
        self._folded = {target: fold(column) for target, column in self._columns.items()}
        self._position = columns.get("position", "position") if many else None
        self._many = many
        self._ignores_priority = "priority" not in columns and not columns.keys().isdisjoint(NEEDED)

    def read(self, line: int, found: dict[str, Any]) -> Record:
        targets = self._find_targets(found)
        taken = {target.key for target in targets.values() if target}
        texts, rejects = _read_texts(line, found)
        rejects += [
            reject(
                line,
                column,
                "",
                f"is not in the object; name it, or map another with `--map {target}=NAME`",
            )
            for target, column in self._columns.items()
            if targets[target] is None and target in NEEDED
        ]
        if rejects:
            return Record(line, found, (), tuple(rejects))
        sources = _list_of(targets["source"])
        values = {}
        for name, target in targets.items():
            try:
                listed = sources is not None and name == "source"
                values[name] = "" if target is None or listed else _scalar(target.value).strip()
            except _LineError as error:
                assert target is not None  # noqa: S101 - it has a value
                fault = _field_hint(name, target) or str(error)
                rejects.append(reject(line, _shown(target.name), _shown(target.value), fault))
        if rejects:
            return Record(line, found, (), tuple(rejects))
        metadata = {key: text for key, text in texts.items() if text and key not in taken} or None
        if sources is None and (
            picture := simple_picture(
                values["external_id"], values["source"], values["return_form"], values["priority"], metadata
            )
        ):
            pictures: RecordContent = (picture,), ()
        else:
            named = [
                Cell(target.name if target else self._columns[name], values[name])
                for name, target in targets.items()
            ]
            pictures = read_pictures(line, PlainCells(*named), metadata, sources=sources, many=self._many)
        if self._position is not None:
            position = _Target.find(found, _folded(found), self._position, fold(self._position))
            if position:
                cell = Cell(position.name, _text(position.value).strip())
                pictures = with_position(line, pictures, cell)
        return Record(line, found, *pictures)

    def _find_targets(self, found: Mapping[str, Any]) -> dict[str, "_Target | None"]:
        """Find the values in the order of TARGETS: by exact name, else ignoring case, else along the path."""
        folded = _folded(found)
        targets = {
            target: _Target.find(found, folded, column, self._folded[target]) if column else None
            for target, column in self._columns.items()
        }
        if self._ignores_priority:
            targets["priority"] = None
        return targets


class _Target(NamedTuple):
    """A target's value, and the object's key that it was found under."""

    key: str
    name: str
    value: Any

    @classmethod
    def find(
        cls, found: Mapping[str, Any], keys: Mapping[str, str], column: str, folded: str
    ) -> "_Target | None":
        if column in found:
            return cls(column, column, found[column])
        if (key := keys.get(folded)) is not None:
            return cls(key, key, found[key])
        return cls._find_path(found, column)

    @classmethod
    def _find_path(cls, found: Mapping[str, Any], column: str) -> "_Target | None":
        if "." not in column:
            return None
        value: Any = found
        for step in column.split("."):
            if not isinstance(value, dict) or step not in value:
                return None
            value = value[step]
        # The object that contains the value is kept as metadata.
        return cls("", column, value)


def _folded(found: Mapping[str, Any]) -> dict[str, str]:
    return {fold(key): key for key in found}


def _field_hint(name: str, target: _Target) -> str | None:
    """Return the fault of an object in place of a value, if one of its fields may be meant."""
    if not isinstance(target.value, dict):
        return None
    texts = [key for key, value in target.value.items() if isinstance(value, str) and value]
    field = (
        next((key for key in texts if URL_START.match(target.value[key].strip())), *texts[:1])
        if texts
        else None
    )
    return field and f"is an object; map one of its fields, such as `--map {name}={target.name}.{field[:60]}`"


def _list_of(target: _Target | None) -> list[str] | None:
    """Return the URLs of a list; None for any other value."""
    if target is None or not isinstance(target.value, list) or not target.value:
        return None
    texts = [text.strip() for text in target.value if isinstance(text, str) and URL_START.match(text.strip())]
    return texts if len(texts) == len(target.value) else None


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
    if isinstance(value, dict | list):
        return _as_json(value)
    return _scalar(value)


def _as_json(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise _LineError(TOO_DEEP) from None
    # A lone surrogate is written as an escape.
    return json.dumps(value) if SURROGATE.search(text) else text


def _scalar(value: object) -> str:
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
            f"has half a surrogate pair, \\u{ord(found[0]):04x}; write the whole pair or leave it out"
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
