"""Presets: recipes with a name and a rule, read from `presets.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cutout.outputs.recipes.rule import Rule


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset: its words, the day on which the sources were read, and the rule that they give."""

    name: str
    words: str
    as_of: date
    sources: tuple[str, ...]
    note: str
    rule: Rule


def _preset(name: str, row: Mapping[str, Any]) -> Preset:
    demands: dict[str, Any] = {
        demand: tuple(value) if isinstance(value, list) else value
        for demand, value in row.get("rule", {}).items()
    }
    return Preset(name, row["recipe"], row["as_of"], tuple(row["sources"]), row["note"], Rule(**demands))


_ROWS = tomllib.loads(Path(__file__).with_name("presets.toml").read_text(encoding="utf-8"))
PRESETS = MappingProxyType({name: _preset(name, row) for name, row in _ROWS.items()})
"""Presets by name: marketplaces first, then the endpoint's forms."""
