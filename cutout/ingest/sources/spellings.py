"""Files that rows name in another spelling: letter case, form of accents, slashes of Windows."""

import os
import re
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cutout.ingest.ingest_errors import UnusableError
from cutout.ingest.sources.contents import FileContent, LeadsOutError, MissingFileError, find_file
from cutout.ingest.sources.readable_names import readable
from cutout.network.url_hints import not_an_address, perhaps_an_address

# Names of folders that are kept in memory, together.
MOST_NAMES = 200_000
MOST_CANDIDATES = 10
SHOWN = 3
DRIVE = re.compile(r"[A-Za-z]:[/\\]|\\\\")


def fold(name: str) -> str:
    """Equal for names that differ only in the case of letters or the form of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@dataclass(slots=True)
class Spellings:
    """Finds files by nearly their names, and counts how often."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    _folders: OrderedDict[Path, dict[str, list[str]] | None] = field(default_factory=OrderedDict)

    def find(self, directory: Path, name: str, *, max_bytes: int) -> FileContent:
        """The file of that name below `directory`, or the only one that fits.

        Raises UnusableError if there is none, or more than one.
        """
        try:
            return find_file(directory, name, max_bytes=max_bytes)
        except MissingFileError:
            pass
        except LeadsOutError:
            below = name.lstrip("/")
            if not name.startswith("/") or not below or not (directory / below).is_file():
                raise
            # Magento's paths begin so.
            return self._taken(directory, name, below, max_bytes=max_bytes)
        if fault := not_an_address(name):
            raise UnusableError(fault)
        if DRIVE.match(name):
            raise UnusableError(_of_another_machine(directory, name))
        fitting = self._fitting(directory, name.replace("\\", "/"))
        if not fitting:
            address = perhaps_an_address(name)
            or_address = f"; if it is an address, write {address}" if address else ""
            raise UnusableError(
                f"is no file in {directory}; put the picture there or correct its name{or_address}"
            )
        if len(fitting) > 1:
            names = ", ".join(readable(one) for one in fitting[:SHOWN])
            raise UnusableError(
                f"is no file in {directory}, and more than one is spelled nearly so: {names}; write one of"
                " them"
            )
        return self._taken(directory, name, fitting[0], max_bytes=max_bytes)

    def _taken(self, directory: Path, name: str, meant: str, *, max_bytes: int) -> FileContent:
        found = find_file(directory, meant, max_bytes=max_bytes)
        self.count += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{readable(name)} is {readable(meant)}")
        return found

    def remarks(self) -> list[str]:
        """How many rows name files in another spelling; nothing if none does."""
        if not self.count:
            return []
        rows = "1 row names its file" if self.count == 1 else f"{self.count:,} rows name their files"
        more = ", …" if self.count > len(self.examples) else ""
        shown = "; ".join(self.examples) + more
        return [f"{rows} in another spelling, and the only one that fits is taken: {shown}"]

    def _fitting(self, directory: Path, name: str) -> list[str]:
        """Files below the directory whose names fit, sorted."""
        folders = [PurePosixPath()]
        steps = [step for step in name.split("/") if step not in {"", "."}]
        if ".." in steps or name.startswith("/"):
            return []
        for step in steps:
            folders = [
                folder / found for folder in folders for found in self._entries(directory / folder, step)
            ][:MOST_CANDIDATES]
        return sorted(str(folder) for folder in folders if steps and (directory / folder).is_file())

    def _entries(self, folder: Path, wanted: str) -> list[str]:
        if folder not in self._folders:
            self._folders[folder] = self._read(folder)
            while len(self._folders) > 1 and sum(map(_size, self._folders.values())) > MOST_NAMES:
                self._folders.popitem(last=False)
        self._folders.move_to_end(folder)
        names = self._folders[folder]
        if names is None:
            return [name for name in _guesses(wanted) if (folder / name).exists()]
        return names.get(fold(wanted), [])

    def _read(self, folder: Path) -> dict[str, list[str]] | None:
        """The names of a folder by what they fold to; None if they are too many to keep."""
        names: dict[str, list[str]] = {}
        try:
            with os.scandir(folder) as entries:
                for count, entry in enumerate(entries):
                    if count >= MOST_NAMES:
                        return None
                    names.setdefault(fold(entry.name), []).append(entry.name)
        except OSError:
            # No folder, or none that may be read: nothing in it fits.
            return {}
        return names


def _size(names: dict[str, list[str]] | None) -> int:
    return len(names) + 1 if names else 1


def _guesses(name: str) -> list[str]:
    """Spellings that are tried one by one where a folder is too large to be looked through."""
    stem, dot, ending = name.rpartition(".")
    cased = [
        name,
        name.lower(),
        name.upper(),
        f"{stem.upper()}{dot}{ending.lower()}",
        f"{stem}{dot}{ending.upper()}",
    ]
    cased += [f"{stem}{dot}{ending.lower()}"]
    forms = (unicodedata.normalize(form, one) for one in cased for form in ("NFC", "NFD"))
    return list(dict.fromkeys(forms))


def _of_another_machine(directory: Path, name: str) -> str:
    last = name.replace("\\", "/").rpartition("/")[2]
    there = f"; {last} is there: write that" if last and (directory / last).is_file() else ""
    return f"is a path of another machine; put the picture into {directory} and write its name alone{there}"
