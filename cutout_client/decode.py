"""Views read from JSON by the types of their fields. Members that a newer API adds are only in `raw`."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cutout_client.errors import BrokenAnswerError
from cutout_client.steps import Answer

T = TypeVar("T")

# The field of a view that holds the whole object, and the one that comes with a header.
RAW, ETAG = "raw", "etag"
LONGEST_VALUE = 80


def view(kind: type[T]) -> Callable[[Answer], T]:
    """A decoder of answers that are a view of this kind, with its ETag. Raises BrokenAnswerError."""

    def decode(answer: Answer) -> T:
        made: Any = read(kind, json_of(answer), kind.__name__)
        etag = answer.headers.get("etag")
        if etag is not None and hasattr(made, ETAG):
            made = dataclasses.replace(made, **{ETAG: etag})
        return cast("T", made)

    return decode


def nothing(_: Answer) -> None:
    """Decode an answer without a body."""


def json_of(answer: Answer) -> Any:
    """The answer's JSON. Raises BrokenAnswerError."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise BrokenAnswerError(
            f"the answer {answer.status} of {len(answer.body)} bytes is no JSON: {error}"
        ) from None


def read(kind: Any, value: object, where: str) -> Any:
    """The value as this type; `where` names it in the BrokenAnswerError that is raised if it is none."""
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (given,) = (each for each in arguments if each is not NoneType)
        return None if value is None else read(given, value, where)
    if origin is tuple:
        items = _of_type(list, value, where)
        return tuple(read(arguments[0], item, f"{where}[{n}]") for n, item in enumerate(items))
    if origin is Mapping:
        pairs = _of_type(dict, value, where)
        return {name: read(arguments[1], item, f"{where}.{name}") for name, item in pairs.items()}
    if dataclasses.is_dataclass(kind):
        return _read_view(kind, _of_type(dict, value, where), where)
    if kind is datetime:
        return _read_time(value, where)
    if kind is float and type(value) is int:
        return float(value)
    return _of_type(kind, value, where)


def _read_view(kind: Any, value: dict[str, Any], where: str) -> Any:
    known = {}
    for field in _fields(kind):
        if field.name == RAW:
            known[RAW] = value
        elif field.name in value and field.name != ETAG:
            known[field.name] = read(_hints(kind)[field.name], value[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise BrokenAnswerError(f"the answer has no {where}.{field.name}")
    return kind(**known)


def _read_time(value: object, where: str) -> datetime:
    text = _of_type(str, value, where)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(value, where, "a time") from None


def _of_type(kind: Any, value: object, where: str) -> Any:
    # Not isinstance: True is no number in JSON.
    if type(value) is not kind:
        raise _wrong(value, where, f"a {kind.__name__}")
    return value


def _wrong(value: object, where: str, wanted: str) -> BrokenAnswerError:
    return BrokenAnswerError(f"{where} in the answer is {repr(value)[:LONGEST_VALUE]} and not {wanted}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _fields(kind: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(kind)
