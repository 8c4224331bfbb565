"""Links in place of a manifest's own pictures, so that a shop can import the file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cutout.manifests import Manifest, Picture, Record
from cutout.manifests.column_names import fold
from cutout.manifests.detect import GOOGLE, SHOPIFY
from cutout.manifests.google import ADDITIONAL, IMAGE_LINK
from cutout.manifests.shopify import IMAGE, VARIANT_IMAGE
from cutout.results.links import CutoutLinks
from cutout.results.rows import ResultRow
from cutout.results.tally import WrittenRows

# Shopify accepts 250 pictures per product, whose rows follow one another.
MOST_REMEMBERED = 500

PictureJobs = Sequence[tuple[Picture, Sequence[ResultRow | None]]]
"""The pictures of a record, each with its jobs."""


class ImageColumn:
    """Replaces the addresses of pictures by links to one output of each.

    `name` is a rendition, or a return form for the delivered picture. The cell of a picture whose output is
    not made keeps its address, and is counted.
    """

    def __init__(
        self,
        name: str,
        links: CutoutLinks,
        manifest: Manifest,
        columns: Mapping[str, str],
        tally: WrittenRows,
    ) -> None:
        self._name = name
        self._links = links
        self._tally = tally
        self._links_before: dict[str, str] = {}
        names = {fold(column) for column in _source_columns(manifest, columns)}
        self._at = [n for n, column in enumerate(manifest.header) if fold(column) in names]
        self._names = names | {f"g:{column}" for column in names}

    def put(self, record: Record, pictures: PictureJobs) -> Record:
        """Return the record with links in its columns of pictures."""
        found = {picture.source: link for picture, jobs in pictures if (link := self._link(jobs)) is not None}
        kept = {picture.source for picture, _ in pictures} - found.keys()
        self._tally.links += len(found)
        self._tally.kept += len(kept)
        self._remember(found)
        if isinstance(record.cells, tuple):
            cells = list(record.cells)
            for n in self._at:
                if n < len(cells):
                    cells[n] = self._with_links(cells[n], found, kept)
            return replace(record, cells=tuple(cells))
        return replace(record, cells=self._in_object(record.cells, found, kept))

    def _remember(self, found: Mapping[str, str]) -> None:
        """Keep links for the rows that follow: a variant names a picture of its product again."""
        self._links_before.update(found)
        while len(self._links_before) > MOST_REMEMBERED:
            del self._links_before[next(iter(self._links_before))]

    def _link(self, jobs: Sequence[ResultRow | None]) -> str | None:
        files = (job.file_of(self._name) for job in jobs if job is not None)
        file = next((file for file in files if file is not None), None)
        return None if file is None else self._links.to(*file)

    def _in_object(self, cells: dict[str, Any], found: Mapping[str, str], kept: set[str]) -> dict[str, Any]:
        return {
            name: self._in_value(value, found, kept) if fold(name) in self._names else value
            for name, value in cells.items()
        }

    def _in_value(self, value: Any, found: Mapping[str, str], kept: set[str]) -> Any:
        if isinstance(value, str):
            return self._with_links(value, found, kept)
        if isinstance(value, list):
            return [self._in_value(each, found, kept) for each in value]
        return value

    def _with_links(self, cell: str, found: Mapping[str, str], kept: set[str]) -> str:
        """The cell with links for addresses; unchanged if one of several addresses has none."""
        address = cell.strip()
        if address in found:
            return found[address]
        if address not in kept and address in self._links_before:
            return self._links_before[address]
        named = [source for source in found if source in cell]
        if not named or any(source in cell for source in kept):
            return cell
        longest_first = sorted(named, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), lambda match: found[match[0]], cell)


def _source_columns(manifest: Manifest, columns: Mapping[str, str]) -> Sequence[str]:
    if manifest.kind == SHOPIFY:
        return (*IMAGE, *VARIANT_IMAGE)
    if manifest.kind == GOOGLE:
        return (IMAGE_LINK, ADDITIONAL, IMAGE_LINK.replace("_", " "), ADDITIONAL.replace("_", " "))
    return (columns.get("source") or "source",)
