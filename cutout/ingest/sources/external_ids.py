"""External ids of pictures that are files: the file name, without its ending where that is unique."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cutout.ingest.sources.file_kinds import stem_of
from cutout.manifests import Picture, Record, Reject
from cutout.manifests.field_rules import external_id_fault
from cutout.manifests.records import reject

# Longer names are no ids; composing thousands of accents takes seconds and blocks other threads.
LONGEST_COMPOSED = 1024


class PictureFile(NamedTuple):
    """File name of a picture, and its version; None if it has none.

    A file with a `fault` cannot become a job.
    """

    name: str
    version: str | None
    fault: str | None = None


def name_pictures(
    files: Sequence[PictureFile], *, taken_before: frozenset[str] = frozenset(), composed: bool = True
) -> Iterator[tuple[PictureFile, str]]:
    """Yield each file of one folder with its external id; only names in one folder can collide.

    `taken_before` are ids of other files. Names are composed (NFC), as keyboards and spreadsheets write them,
    unless that makes two of them equal.
    """
    names = [file.name for file in files]
    if composed:
        names = _composed(names)
    stems = [stem_of(name) for name in names]
    # A name without an ending equals its stem, and counts once.
    taken = Counter(taken_before)
    for name, stem in zip(names, stems, strict=True):
        taken.update({name, stem})
    for file, name, stem in zip(files, names, stems, strict=True):
        # shoe.jpg beside shoe.png: both keep their endings.
        yield file, stem if taken[stem] == 1 else name


def file_records(named: Iterable[tuple[PictureFile, str]]) -> Iterator[Record]:
    """Yield a record for each file and its external id."""
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
