"""The pages, and what stands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "ARCHITECTURE.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "bench" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str | None = None) -> list[str]:
    """The fenced blocks, all or those of one language."""
    return [body for named, body in FENCE.findall(page) if language in (None, named)]


def spans(page: str) -> list[str]:
    """The inline code."""
    return re.findall(r"`([^`]+)`", FENCE.sub("", page))


def commands(page: str, program: str) -> list[list[str]]:
    """The words that follow `program` wherever the page names it as a command, in code or in a block."""
    lines = [*spans(page), *(line for block in blocks(page) for line in block.splitlines())]
    found = [re.search(rf"(?:^|^\$ |&& |;  *|bin/){program} +(\S.*)", line) for line in lines]
    return [match[1].split("#")[0].split() for match in found if match]


def anchors(page: str) -> set[str]:
    """The addresses of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
