"""Spellings of file names in rows: letter case, form of accents, slashes of Windows."""

import os
import re
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cutout.ingest.ingest_errors import UnusableError
from cutout.ingest.sources.contents import FileContent, MissingFileError, OutsideDirectoryError, find_file
from cutout.manifests.field_rules import readable
from cutout.network.url_hints import not_an_address, perhaps_an_address

# Names of folders that are cached, together.
MOST_NAMES = 200_000
MOST_CANDIDATES = 10
SHOWN = 3
DRIVE = re.compile(r"[A-Za-z]:[/\\]|\\\\")


def fold(name: str) -> str:
    """Fold letter case and the form of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@dataclass(slots=True)
class Spellings:
    """Finder of files whose names differ in spelling; counts them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    _folders: OrderedDict[Path, dict[str, list[str]] | None] = field(default_factory=OrderedDict)

    def find(self, directory: Path, name: str, *, max_bytes: int) -> FileContent:
        """Return the file of that name below `directory`, or the only one with a similar name.

        Raises UnusableError if there is none, or more than one.
        """
        try:
            return find_file(directory, name, max_bytes=max_bytes)
        except MissingFileError:
            pass
        except OutsideDirectoryError:
            below = name.lstrip("/")
            if not name.startswith("/") or not below or not (directory / below).is_file():
                raise
            # Paths of Magento begin with a slash.
            return self._use(directory, name, below, max_bytes=max_bytes)
        if fault := not_an_address(name):
            raise UnusableError(fault)
        if DRIVE.match(name):
            raise UnusableError(_foreign_path_fault(directory, name))
        similar = self._similar(directory, name.replace("\\", "/"))
        if not similar:
            address = perhaps_an_address(name)
            or_address = f"; if it is an address, write {address}" if address else ""
            raise UnusableError(
                f"is no file in {directory}; put the picture there or correct its name{or_address}"
            )
        if len(similar) > 1:
            names = ", ".join(readable(one) for one in similar[:SHOWN])
            raise UnusableError(
                f"is no file in {directory}, and more than one name is similar: {names}; write one of them"
            )
        return self._use(directory, name, similar[0], max_bytes=max_bytes)

    def _use(self, directory: Path, name: str, actual: str, *, max_bytes: int) -> FileContent:
        found = find_file(directory, actual, max_bytes=max_bytes)
        self.count += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{readable(name)} is {readable(actual)}")
        return found

    def remarks(self) -> list[str]:
        """Report how many rows name files in another spelling; empty if none does."""
        if not self.count:
            return []
        rows = "1 row names its file" if self.count == 1 else f"{self.count:,} rows name their files"
        more = ", …" if self.count > len(self.examples) else ""
        shown = "; ".join(self.examples) + more
        return [f"{rows} in another spelling; the only similar name is used: {shown}"]

    def _similar(self, directory: Path, name: str) -> list[str]:
        """Return the files below the directory with similar names, sorted."""
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
        """Return the names of a folder by their folded form; None if there are too many to cache."""
        names: dict[str, list[str]] = {}
        try:
            with os.scandir(folder) as entries:
                for count, entry in enumerate(entries):
                    if count >= MOST_NAMES:
                        return None
                    names.setdefault(fold(entry.name), []).append(entry.name)
        except OSError:
            # Not a folder, or not readable: nothing in it matches.
            return {}
        return names


def _size(names: dict[str, list[str]] | None) -> int:
    return len(names) + 1 if names else 1


def _guesses(name: str) -> list[str]:
    """Return spellings to try one by one in a folder that is too large to list."""
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


def _foreign_path_fault(directory: Path, name: str) -> str:
    last = name.replace("\\", "/").rpartition("/")[2]
    hint = f"; {last} is there: write that" if last and (directory / last).is_file() else ""
    return f"is a path of another machine; put the picture into {directory} and write its name only{hint}"
