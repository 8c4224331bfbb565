"""The Dockerfile and .dockerignore, as far as they go."""

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tests.deploy.compose import ROOT


@dataclass(frozen=True)
class Instruction:
    """One instruction: the stage it stands in, its word, and the rest with continued lines joined."""

    stage: str
    word: str
    rest: str


def read_instructions() -> list[Instruction]:
    """All instructions, in order."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text())
    found, stage = [], ""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            stage = rest.split()[-1] if word == "FROM" else stage
            found.append(Instruction(stage, word, rest.strip()))
    return found


def copied(target: str | None = None) -> list[str]:
    """The sources of every COPY from the build context, or of those that a target's file system has."""
    stages = None if target is None else stages_of(target)
    return [
        source
        for instruction in read_instructions()
        if instruction.word == "COPY"
        and not instruction.rest.startswith("--from")
        and (stages is None or instruction.stage in stages)
        for source in shlex.split(instruction.rest)[:-1]
    ]


def stages_of(target: str) -> list[str]:
    """The stage and those that it is built on."""
    bases = {i.stage: i.rest.split()[0] for i in read_instructions() if i.word == "FROM"}
    found = [target]
    while (base := bases[found[-1]]) in bases:
        found.append(base)
    return found


def make_tree(target: str, directory: Path) -> Path:
    """The directory /app of a target, as the builder makes it of what .dockerignore lets in."""
    for source in copied(target):
        shutil.copytree(ROOT / source, directory / source, ignore=_ignored)
    return directory


def _ignored(directory: str, names: list[str]) -> list[str]:
    folder = Path(directory).relative_to(ROOT)
    return [name for name in names if is_ignored(str(folder / name))]


def entrypoint() -> list[str]:
    """The image's ENTRYPOINT."""
    (found,) = [i.rest for i in read_instructions() if i.word == "ENTRYPOINT"]
    words: list[str] = json.loads(found)
    return words


def environment() -> dict[str, str]:
    """Values that ENV gives to the stages that run."""
    pairs = [
        pair.partition("=")
        for instruction in read_instructions()
        if instruction.word == "ENV" and instruction.stage in ("python", "runtime")
        for pair in shlex.split(instruction.rest)
    ]
    return {name: value for name, _, value in pairs}


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out: the last pattern that matches it or a parent decides."""
    ignored = False
    ancestry = [path, *(str(parent) for parent in PurePosixPath(path).parents if parent.name)]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = _regex(line.removeprefix("!"))
            if any(pattern.fullmatch(name) for name in ancestry):
                ignored = not line.startswith("!")
    return ignored


def _regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*)", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.compile("".join(known.get(part) or re.escape(part) for part in parts))
