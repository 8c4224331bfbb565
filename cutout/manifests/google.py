"""Google Merchant feeds, by Google's product data specification.

support.google.com/merchants/answer/7052112
"""

from collections.abc import Mapping, Sequence

from cutout.manifests.column_names import Header
from cutout.manifests.delimited import ReadCells
from cutout.manifests.optional_columns import Asked, Spot
from cutout.manifests.record_builder import Cell, Draft
from cutout.manifests.records import Found
from cutout.manifests.url_lists import listed

MOST_ADDITIONAL = 10
IMAGE_LINK = "image_link"
ADDITIONAL = "additional_image_link"


def attribute(name: str) -> str:
    """Google's name of it: `g:image_link`, `Image link` and `image_link` are one."""
    return name.strip().casefold().removeprefix("g:").replace(" ", "_")


def is_google(header: Header) -> bool:
    names = set(map(attribute, header.names))
    return {"id", IMAGE_LINK} <= names


def add_pictures(draft: Draft, external_id: Cell, main: Cell, additional: Sequence[Cell]) -> None:
    """`id` is the main picture's, `id/2`, `id/3`… are the additional ones' in their order."""
    if not main.value and not additional:
        draft.reject(main, f"no picture: {IMAGE_LINK} is empty; give the product one or leave it out")
        return
    if not external_id.value:
        draft.reject(external_id, "is empty; give each product its own id")
        return
    if main.value:
        draft.add(external_id, main)
    for number, source in enumerate(additional[:MOST_ADDITIONAL], start=2):
        draft.add(Cell(external_id.column, f"{external_id.value}/{number}"), source, made=True)
    if len(additional) > MOST_ADDITIONAL:
        draft.reject(
            additional[MOST_ADDITIONAL],
            f"is one of {len(additional)} additional pictures, of which Google takes {MOST_ADDITIONAL};"
            " leave out the others",
        )


def google_reader(header: Header, columns: Mapping[str, str]) -> ReadCells:
    """What reads a row of a feed in a delimited file.

    Raises ManifestError if a column that is used stands there twice, or a mapped one not at all.
    """
    return _GoogleCells(header, Asked(header, columns))


class _GoogleCells:
    def __init__(self, header: Header, asked: Asked) -> None:
        attributes = Header([attribute(name) for name in header.names], file=header.file)
        self._asked = asked
        self._id, self._main = (
            Spot.find(attributes, name)._replace(column=name) for name in ("id", IMAGE_LINK)
        )
        self._additional = [place for place, name in enumerate(attributes.names) if name == ADDITIONAL]

    def __call__(self, line: int, cells: Sequence[str]) -> Found:
        draft = self._asked.draft(line, cells)
        additional = [
            Cell(ADDITIONAL, address)
            for place in self._additional
            for address in listed(cells[place].strip())
        ]
        add_pictures(draft, self._id.cell(cells), self._main.cell(cells), additional)
        return draft.found()
