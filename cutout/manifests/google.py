"""Google Merchant feeds: the product data specification (support.google.com/merchants/answer/7052112)."""

from collections.abc import Mapping, Sequence

from cutout.manifests.column_names import Header
from cutout.manifests.delimited import ReadCells
from cutout.manifests.optional_columns import Column, OptionalColumns
from cutout.manifests.record_builder import Cell, RecordBuilder, split_url_list
from cutout.manifests.records import RecordContent

MOST_ADDITIONAL = 10
IMAGE_LINK = "image_link"
ADDITIONAL = "additional_image_link"


def attribute(name: str) -> str:
    """Normalize an attribute's name: `g:image_link`, `Image link` and `image_link` are equal."""
    return name.strip().casefold().removeprefix("g:").replace(" ", "_")


def is_google(header: Header) -> bool:
    names = set(map(attribute, header.names))
    return {"id", IMAGE_LINK} <= names


def add_pictures(builder: RecordBuilder, external_id: Cell, main: Cell, additional: Sequence[Cell]) -> None:
    """Add the pictures: `id` is the main picture's, `id/2`, `id/3`… are those of the additional ones, in
    order.
    """
    if not main.value and not additional:
        builder.reject(main, f"no picture: {IMAGE_LINK} is empty; give the product one or leave it out")
        return
    if not external_id.value:
        builder.reject(external_id, "is empty; give each product its own id")
        return
    if main.value:
        builder.add(external_id, main)
    for number, source in enumerate(additional[:MOST_ADDITIONAL], start=2):
        builder.add(Cell(external_id.column, f"{external_id.value}/{number}"), source, made=True)
    if len(additional) > MOST_ADDITIONAL:
        builder.reject(
            additional[MOST_ADDITIONAL],
            f"is one of {len(additional)} additional pictures, of which Google takes {MOST_ADDITIONAL};"
            " leave out the others",
        )


def google_reader(header: Header, columns: Mapping[str, str]) -> ReadCells:
    """Return a reader for the rows of a delimited feed.

    Raises ManifestError if a used column occurs twice, or a mapped one is missing.
    """
    return _GoogleCells(header, OptionalColumns(header, columns))


class _GoogleCells:
    def __init__(self, header: Header, options: OptionalColumns) -> None:
        attributes = Header([attribute(name) for name in header.names], file=header.file)
        self._options = options
        self._id, self._main = (
            Column.find(attributes, name)._replace(name=name) for name in ("id", IMAGE_LINK)
        )
        self._additional = [index for index, name in enumerate(attributes.names) if name == ADDITIONAL]

    def __call__(self, line: int, cells: Sequence[str]) -> RecordContent:
        builder = self._options.builder(line, cells)
        additional = [
            Cell(ADDITIONAL, address)
            for index in self._additional
            for address in split_url_list(cells[index].strip())
        ]
        add_pictures(builder, self._id.cell(cells), self._main.cell(cells), additional)
        return builder.result()
