"""Templates of file names: `{external_id}.{rendition}.{ext}`, safe for any value of a field."""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cutout.outputs.recipes.parse import shown
from cutout.outputs.recipes.recipe_error import RecipeError

FIELDS = ("external_id", "rendition", "ext", "batch", "job", "form")
LONGEST_TEMPLATE = 300
LONGEST_PART = 200  # bytes of one folder or file name; file systems take 255
LONGEST_VALUE = 128
MOST_FOLDERS = 8
_HASH_DIGITS = 16
_FIELD = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LITERAL = re.compile(r"[A-Za-z0-9._/-]*")
_LOOKS_HASHED = re.compile(rf"-[0-9a-f]{{{_HASH_DIGITS}}}$")
_END = ".{ext}"


@dataclass(frozen=True, slots=True)
class NameTemplate:
    """A checked template. `fields` are the fields in it, of FIELDS or columns of the manifest."""

    text: str
    fields: frozenset[str]

    def format(self, values: Mapping[str, str | None], details: Mapping[str, object] | None = None) -> str:
        """Return the file name: `values` by FIELDS (`job` and `ext` at least), columns from `details`.

        Unsafe characters become `_` with a hash of the value added. A job without the value of a field has
        its own id there, since nothing else is unique.
        """

        def value(found: re.Match[str]) -> str:
            name = found[1]
            given = values.get(name) if name in FIELDS else (details or {}).get(name)
            return safe_value(str(given)) if given not in (None, "") else safe_value(str(values["job"]))

        stem = _FIELD.sub(value, self.text.removesuffix(_END))
        extension = safe_value(str(values["ext"]))
        *folders, last = stem.split("/")
        return "/".join([*map(_shortened, folders), f"{_shortened(last)}.{extension}"])


def parse_name_template(text: str, columns: Collection[str] = (), *, outputs: int = 1) -> NameTemplate:
    """Check a template for so many outputs of a job; `columns` are those of the manifest.

    Raises RecipeError for an unknown field, an unsafe character, a path that leaves its folder, and a
    template that gives two files one name.
    """
    if len(text) > LONGEST_TEMPLATE:
        raise RecipeError(f"a name template of {len(text)} characters; at most {LONGEST_TEMPLATE}")
    _check_literals(text)
    fields = frozenset(_FIELD.findall(text))
    for field in sorted(fields - set(FIELDS)):
        if field not in columns:
            known = ", ".join((*FIELDS, *sorted(set(columns) - set(FIELDS))))
            raise RecipeError(f"unknown field {{{shown(field)}}} in the name template; known are {known}")
    if not text.endswith(_END) or text.count("{ext}") != 1:
        raise RecipeError(f"the name template {shown(text)!r} must end in {_END}, which is the format's")
    if not fields - {"rendition", "ext", "batch", "form"}:
        raise RecipeError(
            f"the name template {shown(text)!r} gives each job the same name; "
            "add {external_id}, {job} or a column of the manifest"
        )
    if outputs > 1 and "rendition" not in fields:
        raise RecipeError(
            f"the name template {shown(text)!r} gives a job's {outputs} outputs the same name; "
            "add {rendition}"
        )
    return NameTemplate(text, fields)


def safe_value(value: str) -> str:
    """Return a value as part of a file name: itself if it is safe, else shortened and with a hash added."""
    safe = _UNSAFE.sub("_", value).strip(".")[:LONGEST_VALUE]
    if safe == value and not _LOOKS_HASHED.search(safe):
        return safe
    return _hashed(safe or "x", value)


def _hashed(safe: str, value: str) -> str:
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe}-{digest[:_HASH_DIGITS]}"


def _shortened(part: str) -> str:
    if len(part) <= LONGEST_PART:
        return part
    return _hashed(part[: LONGEST_PART - _HASH_DIGITS - 1], part)


def _check_literals(text: str) -> None:
    literal = _FIELD.sub("", text)
    if _LITERAL.fullmatch(literal) is None:
        raise RecipeError(
            f"the name template {shown(text)!r}; outside of fields it takes A-Z, a-z, 0-9 and . _ - /"
        )
    parts = _FIELD.sub("x", text).split("/")
    if any(not part or part.startswith(".") for part in parts) or len(parts) > MOST_FOLDERS:
        raise RecipeError(
            f"the name template {shown(text)!r}; a folder or file must not be empty or begin with a dot, "
            f"and there may be {MOST_FOLDERS - 1} folders at most"
        )
