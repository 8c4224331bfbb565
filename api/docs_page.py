"""The routes as a page of plain HTML, made of the OpenAPI document: no script, and nothing from elsewhere."""

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h2{font-size:1.1rem;border-top:1px solid #bbb;padding-top:1rem;font-family:monospace}"
    "table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0}"
    "pre{background:#f3f3f3;padding:.6rem;overflow:auto}.d{white-space:pre-line}"
)
# Nothing comes from a third party, and no script runs on a page where people handle keys.
POLICY = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)
REFERENCE = "#/components/schemas/"
# They are the same everywhere.
OF_ALL = frozenset({"head", "options"})


def page_of(document: dict[str, Any]) -> str:
    """The page."""
    return "".join(_page(document))


def _page(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
    yield f"<style>{STYLE}</style><h1>{escape(info['title'])}</h1>"
    yield f"<p>{escape(info.get('description', ''))}</p>"
    yield "<p>Every address with a GET has a HEAD, and all have an OPTIONS, which needs no key.</p>"
    yield '<p>For programs: <a href="/openapi.json">/openapi.json</a></p>'
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in OF_ALL:
                yield from _operation(method, path, operation)
    yield "<h1>Schemas</h1>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<h2 id="{escape(name)}">{escape(name)}</h2>'
        yield f"<pre>{escape(json.dumps(schema, indent=1, ensure_ascii=False))}</pre>"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<h2 id="{escape(operation["operationId"])}">{method.upper()} {escape(path)}</h2>'
    yield f'<p class="d">{escape(operation.get("description", operation.get("summary", "")))}</p>'
    yield from _table("Parameter", map(_parameter, operation.get("parameters", [])))
    yield from _table("Body", map(_content, operation.get("requestBody", {}).get("content", {}).items()))
    yield from _table("Answer", map(_answer, operation["responses"].items()))


def _table(title: str, rows: Iterator[str]) -> Iterator[str]:
    told = list(rows)
    if told:
        yield f"<table><tr><th>{title}<th>{''.join(told)}</table>"


def _parameter(parameter: dict[str, Any]) -> str:
    needed = ", needed" if parameter.get("required") else ""
    where = escape(f"{parameter['name']} ({parameter['in']}{needed})")
    return f"<tr><td>{where}<td>{escape(parameter.get('description', ''))} {_schema(parameter['schema'])}"


def _content(content: tuple[str, dict[str, Any]]) -> str:
    kind, body = content
    return f"<tr><td>{escape(kind)}<td>{_schema(body.get('schema', {}))}"


def _answer(answer: tuple[str, dict[str, Any]]) -> str:
    status, told = answer
    bodies = " ".join(_schema(body.get("schema", {})) for body in told.get("content", {}).values())
    return f"<tr><td>{escape(status)}<td>{escape(told.get('description', ''))} {bodies}"


def _schema(schema: dict[str, Any]) -> str:
    reference = str(schema.get("$ref", ""))
    if reference.startswith(REFERENCE):
        name = escape(reference.removeprefix(REFERENCE))
        return f'<a href="#{name}">{name}</a>'
    told = {word: value for word, value in schema.items() if word not in ("title", "description")}
    return f"<code>{escape(json.dumps(told, ensure_ascii=False))}</code>"
