"""Table of settings in docs/reference/settings.md; `python -m tests.docs.settings_table` renews it."""

import re

from cutout.settings import PREFIX, Settings, written_default
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "settings.md"
BEGIN, END = "<!-- settings -->\n", "<!-- end of settings -->\n"


def settings_table() -> str:
    """One row a setting, in the order of .env.example."""
    rows = ["| Name | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "needed" if field.is_required() else _written(name)
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _written(name: str) -> str:
    default = Settings.model_fields[name].default
    if isinstance(default, float) and default.is_integer():
        return f"`{default:.0f}`"
    written = written_default(name)
    return f"`{written}`" if written else "unset"


def renewed(page: str) -> str:
    """The page with the table as it should be."""
    marked = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.DOTALL)
    return marked.sub(lambda _: f"\n{settings_table()}\n", page)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
