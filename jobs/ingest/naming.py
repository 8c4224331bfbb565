"""External ids for pictures that come as files: their names, without the ending where that is enough."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from jobs.manifest import Picture, Record, Reject
from jobs.manifest.records import reject
from jobs.manifest.values import external_id_fault

PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
LOOKED_FOR = f"looked for {' '.join(sorted(PICTURE_ENDINGS))}"


def is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURE_ENDINGS


def name_pictures(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each name with its external id; only names of one folder can meet, so one folder is enough to know."""
    stems = [name.removesuffix(PurePosixPath(name).suffix) for name in names]
    taken = Counter([*names, *stems])
    for name, stem in zip(names, stems, strict=True):
        # shoe.jpg beside shoe.png: each keeps its ending to be told apart.
        yield name, stem if taken[stem] == 1 else name


def file_records(named: Iterable[tuple[str, str]]) -> Iterator[Record]:
    """A record for each file's name and external id."""
    for number, (name, external_id) in enumerate(named, start=1):
        fault = external_id_fault(external_id)
        pictures: tuple[Picture, ...] = ()
        rejects: tuple[Reject, ...] = ()
        if fault:
            rejects = (reject(number, "name", name, f"as an external_id it {fault}"),)
        else:
            pictures = (Picture(external_id, name, None, None, None),)
        yield Record(number, (), pictures, rejects)
