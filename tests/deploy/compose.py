"""docker-compose.yml as Docker Compose understands it, as far as the file goes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "docker-compose.yml"

# What is built from this repository.
ONE_SHOT = ("migrate", "bucket")
LONG_RUNNING = ("api", "dispatcher", "ingester", "renderer", "worker", "copier", "sandbox")
OURS = ONE_SHOT + LONG_RUNNING

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<colon>:?)(?P<sign>[-?+])(?P<word>[^${}]*))?\})?"
)
_UNIT_SECONDS = {"h": 3600, "m": 60, "s": 1}


class RequiredError(Exception):
    """A required variable is not set; the text is its name and what the file says about it."""


def load() -> dict[str, Any]:
    """The file, its merges done and its variables not filled in."""
    content: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return content


def load_services(variables: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """The services by name; with `variables` those are filled in. Raises RequiredError."""
    services: dict[str, dict[str, Any]] = load()["services"]
    return services if variables is None else fill_in(services, variables)


def fill_in(node: Any, variables: Mapping[str, str]) -> Any:
    """Interpolate every value, no key, as Compose does. Raises RequiredError."""
    if isinstance(node, dict):
        return {key: fill_in(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [fill_in(value, variables) for value in node]
    return interpolate(node, variables) if isinstance(node, str) else node


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Fill in $NAME and ${NAME}, with :- - :? ? :+ + as Compose has them, and $$ for a dollar.

    Raises RequiredError, or ValueError on a dollar that is none of these. Nesting is not known here.
    """

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        name = found["plain"] or found["name"]
        if not name:
            raise ValueError(f"a lone dollar in {text!r}; write $$")
        given = variables.get(name)
        there = bool(given) if found["colon"] else given is not None
        match found["sign"]:
            case "-" if not there:
                return str(found["word"])
            case "+":
                return str(found["word"]) if there else ""
            case "?" if not there:
                raise RequiredError(f"{name}: {found['word']}")
            case _:
                return given or ""

    return _VARIABLE.sub(value, text)


def required_variables() -> dict[str, str]:
    """The variables without which Compose refuses the file, with what it then says."""
    asked = re.finditer(r"\$\{(\w+):\?([^}]*)\}", FILE.read_text())
    return {found[1]: found[2] for found in asked}


def environment_of(service: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service's container, values filled in; a name without a value is passed on."""
    declared: dict[str, str | None] = service.get("environment", {})
    passed_on = {name: variables.get(name) if value is None else value for name, value in declared.items()}
    return {name: value for name, value in passed_on.items() if value is not None}


def seconds(duration: str) -> float:
    """A duration such as 1m30s."""
    parts = re.findall(r"(\d+)([hms])", duration)
    if "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration")
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def gigabytes(size: str) -> float:
    """A size such as 512m or 2g."""
    return int(size[:-1]) * {"m": 2**20, "g": 2**30}[size[-1]] / 1e9
