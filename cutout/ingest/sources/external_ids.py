"""External ids for pictures that come as files: their names, without the ending where that is enough."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cutout.ingest.sources.file_kinds import stem_of
from cutout.manifests import Picture, Record, Reject
from cutout.manifests.field_rules import external_id_fault
from cutout.manifests.records import reject

# Longer ones are no ids; to compose thousands of accents takes seconds, in which no other thread works.
LONGEST_COMPOSED = 1024


class PictureFile(NamedTuple):
    """A picture's file name, and what tells its present state from others; None if nothing does.

    With a `fault` no job can be made of it.
    """

    name: str
    version: str | None
    fault: str | None = None


def name_pictures(
    files: Sequence[PictureFile], *, taken_before: frozenset[str] = frozenset(), composed: bool = True
) -> Iterator[tuple[PictureFile, str]]:
    """Each file with its external id; only names of one folder can meet, so one folder is enough to know.

    `taken_before` are ids that other files have. Names are `composed` as keyboards and spreadsheets write
    them, unless that makes two of them one.
    """
    names = [file.name for file in files]
    if composed:
        names = _composed(names)
    stems = [stem_of(name) for name in names]
    # A name without an ending is its own stem, and counts once.
    taken = Counter(taken_before)
    for name, stem in zip(names, stems, strict=True):
        taken.update({name, stem})
    for file, name, stem in zip(files, names, stems, strict=True):
        # shoe.jpg beside shoe.png: each keeps its ending to be told apart.
        yield file, stem if taken[stem] == 1 else name


def file_records(named: Iterable[tuple[PictureFile, str]]) -> Iterator[Record]:
    """A record for each file and its external id."""
    for number, (file, external_id) in enumerate(named, start=1):
        pictures: tuple[Picture, ...] = ()
        rejects: tuple[Reject, ...] = ()
        if fault := external_id_fault(external_id):
            rejects = (reject(number, "name", file.name, f"as an external_id it {fault}"),)
        elif file.fault:
            rejects = (reject(number, "source", file.name, file.fault),)
        else:
            pictures = (Picture(external_id, file.name, None, None, None, file.version),)
        yield Record(number, (), pictures, rejects)


def _composed(names: Sequence[str]) -> list[str]:
    composed = [
        unicodedata.normalize("NFC", name) if len(name) <= LONGEST_COMPOSED else name for name in names
    ]
    count = Counter(composed)
    return [one if count[one] == 1 else name for name, one in zip(names, composed, strict=True)]
