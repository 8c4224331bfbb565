"""Shopify product exports, in the older spelling and that of 2025 (help.shopify.com, "Using CSV files")."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cutout.manifests.column_names import Header
from cutout.manifests.optional_columns import Column, OptionalColumns
from cutout.manifests.record_builder import NO_NUMBER, Cell, RecordBuilder
from cutout.manifests.records import Record, RecordContent, reject

HANDLE = ("Handle", "URL handle")
IMAGE = ("Image Src", "Product image URL")
POSITION = ("Image Position",)
VARIANT_IMAGE = ("Variant Image", "Variant image URL")
SKU = ("Variant SKU", "SKU")

# Shopify accepts 250 pictures per product.
MOST_REMEMBERED = 500
# Shopify accepts 2,048 variants; rows of a product are held back until one has a picture.
MOST_HELD = 5_000
# Characters and cells held: only a product's first row has a description.
MOST_CHARACTERS_HELD = 4_000_000
MOST_HANDLES = 100_000
NO_PICTURE = (
    "no picture: none of the product's rows has an image or a variant image; give it one or leave it out"
)
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def is_shopify(header: Header) -> bool:
    return _has(header, HANDLE) and (_has(header, IMAGE) or _has(header, VARIANT_IMAGE))


def _has(header: Header, spellings: Sequence[str]) -> bool:
    return Column.find(header, *spellings).at is not None


def shopify_reader(header: Header, columns: Mapping[str, str]) -> "ShopifyCells":
    """Return a reader for rows in file order: those of a product follow each other under one handle.

    Raises ManifestError if a used column occurs twice, or a mapped one is missing.
    """
    return ShopifyCells(header, OptionalColumns(header, columns))


class _Product:
    """State of the product whose rows are being read."""

    def __init__(self, handle: str) -> None:
        self.handle = handle
        self.rows = 0
        self.images = 0
        self.has_picture = False
        self._sources: set[str] = set()

    def add_source(self, source: str) -> bool:
        """Whether the product's picture is new, as far as pictures are remembered."""
        if source in self._sources:
            return False
        if len(self._sources) < MOST_REMEMBERED:
            self._sources.add(source)
        return True


class ShopifyCells:
    """Reader of a row's cells.

    Most rows are variants without a picture of their own; `reject_without_picture` finds products that have
    none.
    """

    def __init__(self, header: Header, options: OptionalColumns) -> None:
        self._options = options
        self._handle, self._image, self._position, self._variant_image, self._sku = (
            Column.find(header, *spellings) for spellings in (HANDLE, IMAGE, POSITION, VARIANT_IMAGE, SKU)
        )
        self._product = _Product("")
        # Hashes of handles whose product has a picture, for products whose rows are apart.
        self._with_pictures: set[int] = set()

    def __call__(self, line: int, cells: Sequence[str]) -> RecordContent:
        builder = self._options.builder(line, cells)
        handle, image, variant = (
            column.cell(cells) for column in (self._handle, self._image, self._variant_image)
        )
        self._start_product(handle.value)
        if not image.value and not variant.value:
            return (), ()
        self._product.has_picture = True
        if not handle.value:
            builder.reject(handle, "is empty; give each row its product's handle")
        else:
            self._add_image(builder, image, self._position.cell(cells))
            self._add_variant(builder, variant, self._sku.cell(cells).value)
        return builder.result()

    def reject_without_picture(self, records: Iterator[Record]) -> Iterator[Record]:
        """Yield the records; the first one of each product without any picture becomes a reject."""
        product, held, characters = self._product, list[Record](), 0
        for record in records:
            if self._product is not product:
                yield from self._released(held, product)
                product, held, characters = self._product, [], 0
            held.append(record)
            characters += len(record.cells) + sum(map(len, record.cells))
            if product.has_picture or len(held) > MOST_HELD or characters > MOST_CHARACTERS_HELD:
                yield from self._released(held, product)
                product.has_picture, held = True, []
        yield from self._released(held, product)

    def _released(self, held: list[Record], product: _Product) -> Iterator[Record]:
        is_checked = product.has_picture
        for record in held:
            if is_checked or record.rejects:
                yield record
            else:
                is_checked = True
                missing = reject(record.line, self._image.name, "", NO_PICTURE)
                yield replace(record, rejects=(missing,))

    def _start_product(self, handle: str) -> None:
        if handle != self._product.handle:
            if self._product.has_picture and len(self._with_pictures) < MOST_HANDLES:
                self._with_pictures.add(hash(self._product.handle))
            self._product = _Product(handle)
            self._product.has_picture = hash(handle) in self._with_pictures
        self._product.rows += 1

    def _add_image(self, builder: RecordBuilder, image: Cell, position: Cell) -> None:
        if not image.value:
            return
        product = self._product
        product.images += 1
        product.add_source(image.value)
        if position.value and not WHOLE_NUMBER.fullmatch(position.value):
            builder.reject(position, NO_NUMBER)
            return
        number = int(position.value or product.images)
        builder.add(Cell(self._handle.name, f"{product.handle}/{number}"), image, made=True)

    def _add_variant(self, builder: RecordBuilder, variant: Cell, sku: str) -> None:
        product = self._product
        if variant.value and product.add_source(variant.value):
            name = f"{product.handle}/variant/{sku or product.rows}"
            builder.add(Cell(self._handle.name, name), variant, made=True)
