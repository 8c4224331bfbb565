"""Changes between two OpenAPI documents, each breaking for somebody's client or not.

`python -m tests.api.openapi_changes` compares docs/reference/openapi.json with that of the last release, the
newest git tag, and ends with 1 if a change is breaking. Before the first release nothing is compared.

A request may become wider: what was taken must still be taken. An answer may have more members, as clients
skip what they do not know. What they rely on stays: members, their types, and their values, which may only
become fewer.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "docs/reference/openapi.json"
ROOT = Path(__file__).parents[2]
METHODS = ("get", "head", "put", "post", "delete", "patch", "options")
REFERENCE = "#/components/schemas/"
# A request's value must be at least, or at most, so large.
LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
FORMS = ("pattern", "format", "multipleOf", "contentMediaType")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """A change, and where it is."""

    place: str
    text: str
    breaking: bool

    def __str__(self) -> str:
        return f"{'BREAKING' if self.breaking else 'ok':8} {self.place}: {self.text}"


def changes(old: Json, new: Json) -> list[Change]:
    """All changes that a client may notice, by place."""
    return sorted(set(_Comparison(old, new).all()))


class _Comparison:
    """Two documents, and the pairs of schemas that were compared: schemas may name themselves."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._compared: set[tuple[str, str, bool]] = set()

    def all(self) -> Iterator[Change]:
        old, new = self._old["paths"], self._new["paths"]
        for path in old | new:
            for method in METHODS:
                before, after = old.get(path, {}).get(method), new.get(path, {}).get(method)
                place = f"{method.upper()} {path}"
                if before is None and after is None:
                    continue
                if before is None or after is None:
                    yield from _whole(place, "the operation", removed=after is None)
                else:
                    yield from self._operation(place, before, after)

    def _operation(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        if _security(old, self._old) != _security(new, self._new):
            yield Change(place, "other keys or schemes are asked for", breaking=True)
        yield from self._parameters(place, old, new)
        yield from self._body(place, old.get("requestBody"), new.get("requestBody"))
        yield from self._answers(place, old["responses"], new["responses"])

    def _parameters(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        before, after = _by_name(old), _by_name(new)
        for name in before | after:
            where = f"{place} {name[0]} {name[1]}"
            if name not in after:
                # Unknown ones of a query are refused.
                yield Change(where, "the parameter is gone", breaking=name[0] != "header")
            elif name not in before:
                yield Change(where, "a new parameter", breaking=bool(after[name].get("required")))
            else:
                if after[name].get("required") and not before[name].get("required"):
                    yield Change(where, "it is required now", breaking=True)
                yield from self._schema(where, before[name]["schema"], after[name]["schema"], sent=True)

    def _body(self, place: str, old: Json | None, new: Json | None) -> Iterator[Change]:
        place = f"{place} body"
        if old is None or new is None:
            if old != new:
                yield Change(
                    place, "there is a body, or none any more", breaking=_is_required(new) or new is None
                )
            return
        if _is_required(new) and not _is_required(old):
            yield Change(place, "it is required now", breaking=True)
        yield from self._content(place, old["content"], new["content"], sent=True)

    def _answers(self, place: str, old: Json, new: Json) -> Iterator[Change]:
        for status in old | new:
            where = f"{place} {status}"
            if status not in old or status not in new:
                # Clients must expect any problem; an answer that was good has to stay.
                good = status.startswith(("2", "3"))
                yield from _whole(where, "the answer", removed=status not in new, breaking=good)
                continue
            before, after = old[status], new[status]
            yield from self._content(where, before.get("content", {}), after.get("content", {}), sent=False)
            for header in before.get("headers", {}).keys() - after.get("headers", {}).keys():
                yield Change(f"{where} header {header}", "the header is gone", breaking=True)
            for header in after.get("headers", {}).keys() - before.get("headers", {}).keys():
                yield Change(f"{where} header {header}", "a new header", breaking=False)

    def _content(self, place: str, old: Json, new: Json, *, sent: bool) -> Iterator[Change]:
        for kind in old | new:
            where = f"{place} {kind}"
            if kind not in old or kind not in new:
                yield from _whole(where, "the media type", removed=kind not in new)
            else:
                yield from self._schema(
                    where, old[kind].get("schema", {}), new[kind].get("schema", {}), sent=sent
                )

    def _schema(self, place: str, old: Any, new: Any, *, sent: bool) -> Iterator[Change]:
        """Changes of a schema that is `sent` by clients, or else answered to them."""
        names = (_name(old), _name(new))
        if all(names):
            if (*names, sent) in self._compared:
                return
            self._compared.add((*names, sent))
            # A schema that several operations share is told of once, by its name.
            place = names[0]
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if "anyOf" in old or "anyOf" in new or "oneOf" in old or "oneOf" in new:
            yield from self._choices(place, _choices(old), _choices(new), sent=sent)
            return
        yield from _types(place, old, new, sent=sent)
        yield from _values(place, old, new, sent=sent)
        yield from _limits(place, old, new, sent=sent)
        yield from self._members(place, old, new, sent=sent)
        if "items" in old and "items" in new:
            yield from self._schema(f"{place}[]", old["items"], new["items"], sent=sent)
        yield from self._others(place, old, new, sent=sent)

    def _choices(self, place: str, old: list[Any], new: list[Any], *, sent: bool) -> Iterator[Change]:
        """Alternatives, matched by their names or types; one that cannot be matched is new or gone."""
        left = {_kind(choice, self._new): choice for choice in new}
        for choice in old:
            kind = _kind(choice, self._old)
            if kind in left:
                yield from self._schema(place, choice, left.pop(kind), sent=sent)
            else:
                yield Change(place, f"{kind} is no choice any more", breaking=sent)
        for kind in left:
            yield Change(place, f"{kind} is a new choice", breaking=not sent)

    def _members(self, place: str, old: Json, new: Json, *, sent: bool) -> Iterator[Change]:
        before, after = old.get("properties", {}), new.get("properties", {})
        was, is_now = set(old.get("required", [])), set(new.get("required", []))
        for name in before | after:
            where = f"{place}.{name}"
            if name not in after:
                yield Change(where, "the member is gone", breaking=True)
            elif name not in before:
                yield Change(where, "a new member", breaking=sent and name in is_now)
            else:
                if name in is_now - was:
                    yield Change(where, "it is required now", breaking=sent)
                elif name in was - is_now:
                    yield Change(where, "it may be missing now", breaking=not sent)
                yield from self._schema(where, before[name], after[name], sent=sent)

    def _others(self, place: str, old: Json, new: Json, *, sent: bool) -> Iterator[Change]:
        """Members that no name is known of."""
        before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from self._schema(f"{place}.*", before, after, sent=sent)
        elif bool(before) and not after:
            yield Change(place, "other members are refused now", breaking=sent)


def _types(place: str, old: Json, new: Json, *, sent: bool) -> Iterator[Change]:
    before, after = _types_of(old), _types_of(new)
    if before == after:
        return
    # No type is any type; a whole number is a number.
    narrower = bool(after) and (not before or not _within(before, after))
    wider = bool(before) and (not after or not _within(after, before))
    text = f"the type was {_words(before)} and is {_words(after)}"
    yield Change(place, text, breaking=narrower if sent else wider)


def _values(place: str, old: Json, new: Json, *, sent: bool) -> Iterator[Change]:
    before, after = _values_of(old), _values_of(new)
    if before is None or after is None:
        if before is not after:
            yield Change(place, "its values are listed, or not any more", breaking=(before is None) is sent)
        return
    for value in sorted(before - after):
        yield Change(place, f"{value} is no value any more", breaking=sent)
    for value in sorted(after - before):
        yield Change(place, f"{value} is a new value", breaking=not sent)


def _limits(place: str, old: Json, new: Json, *, sent: bool) -> Iterator[Change]:
    for word in (*LEAST, *MOST, *FORMS):
        before, after = old.get(word), new.get(word)
        if before == after:
            continue
        if word in FORMS:
            narrower, wider = after is not None, before is not None
        elif word in LEAST:
            narrower = after is not None and (before is None or after > before)
            wider = not narrower
        else:
            narrower = after is not None and (before is None or after < before)
            wider = not narrower
        yield Change(place, f"{word} was {before} and is {after}", breaking=narrower if sent else wider)


def _whole(place: str, what: str, *, removed: bool, breaking: bool = True) -> Iterator[Change]:
    yield Change(place, f"{what} is {'gone' if removed else 'new'}", breaking=removed and breaking)


def _security(operation: Json, document: Json) -> str:
    asked = operation["security"] if "security" in operation else document.get("security", [])
    schemes = document.get("components", {}).get("securitySchemes", {})
    used = [
        [
            (name, sorted(scopes), {**schemes.get(name, {}), "description": ""})
            for name, scopes in each.items()
        ]
        for each in asked
    ]
    return json.dumps(used, sort_keys=True)


def _by_name(operation: Json) -> dict[tuple[str, str], Json]:
    return {(each["in"], each["name"]): each for each in operation.get("parameters", [])}


def _is_required(body: Json | None) -> bool:
    return bool(body and body.get("required"))


def _name(schema: Any) -> str:
    return str(schema.get("$ref", "")).removeprefix(REFERENCE) if isinstance(schema, dict) else ""


def _resolved(schema: Any, document: Json) -> Json:
    if not isinstance(schema, dict):
        return {}
    name = _name(schema)
    return document["components"]["schemas"][name] if name else schema


def _choices(schema: Json) -> list[Any]:
    return [*schema.get("anyOf", []), *schema.get("oneOf", [])] or [schema]


def _kind(choice: Any, document: Json) -> str:
    name, schema = _name(choice), _resolved(choice, document)
    constant = schema.get("properties", {}).get("event", {}).get("const", "")
    if schema.get("properties"):
        return name or f"object {constant}".strip()
    return _words(_types_of(schema))


def _types_of(schema: Json) -> frozenset[str]:
    given = schema.get("type", [])
    return frozenset([given] if isinstance(given, str) else given)


def _within(inner: frozenset[str], outer: frozenset[str]) -> bool:
    return all(kind in outer or (kind == "integer" and "number" in outer) for kind in inner)


def _values_of(schema: Json) -> set[str] | None:
    if "const" in schema:
        return {json.dumps(schema["const"])}
    return {json.dumps(value) for value in schema["enum"]} if "enum" in schema else None


def _words(types: frozenset[str]) -> str:
    return " or ".join(sorted(types)) or "any"


def _git(*words: str) -> str | None:
    ran = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607 - of the developer
    return ran.stdout.strip() if ran.returncode == 0 else None


def main() -> int:
    """Compare with the last release, and print the changes."""
    tag = _git("describe", "--tags", "--abbrev=0")
    released = _git("show", f"{tag}:{FILE}") if tag else None
    if released is None:
        sys.stdout.write(f"no release has {FILE} yet: nothing to compare with\n")
        return 0
    found = changes(json.loads(released), json.loads((ROOT / FILE).read_text()))
    sys.stdout.write(f"{len(found)} changes of the API since {tag}\n")
    for change in found:
        sys.stdout.write(f"{change}\n")
    return int(any(change.breaking for change in found))


if __name__ == "__main__":
    sys.exit(main())
