"""External ids for pictures that come as files: their names, without the ending where that is enough."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from jobs.manifest import Picture, Record, Reject
from jobs.manifest.records import reject
from jobs.manifest.values import external_id_fault

PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
LOOKED_FOR = f"looked for {' '.join(sorted(PICTURE_ENDINGS))}"


def is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURE_ENDINGS


class PictureFile(NamedTuple):
    """A picture's file name, and what tells its present state from others; None if nothing does."""

    name: str
    version: str | None


def name_pictures(files: Sequence[PictureFile]) -> Iterator[tuple[PictureFile, str]]:
    """Each file with its external id; only names of one folder can meet, so one folder is enough to know."""
    names = [file.name for file in files]
    stems = [name.removesuffix(PurePosixPath(name).suffix) for name in names]
    taken = Counter([*names, *stems])
    for file, stem in zip(files, stems, strict=True):
        # shoe.jpg beside shoe.png: each keeps its ending to be told apart.
        yield file, stem if taken[stem] == 1 else file.name


def file_records(named: Iterable[tuple[PictureFile, str]]) -> Iterator[Record]:
    """A record for each file and its external id."""
    for number, (file, external_id) in enumerate(named, start=1):
        fault = external_id_fault(external_id)
        pictures: tuple[Picture, ...] = ()
        rejects: tuple[Reject, ...] = ()
        if fault:
            rejects = (reject(number, "name", file.name, f"as an external_id it {fault}"),)
        else:
            pictures = (Picture(external_id, file.name, None, None, None, file.version),)
        yield Record(number, (), pictures, rejects)
