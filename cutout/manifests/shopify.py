"""Shopify's product export, in its older spelling and that of 2025 (help.shopify.com, "Using CSV files")."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cutout.manifests.column_names import Header
from cutout.manifests.optional_columns import Asked, Spot
from cutout.manifests.record_builder import NO_NUMBER, Cell, Draft
from cutout.manifests.records import Found, Record, reject

HANDLE = ("Handle", "URL handle")
IMAGE = ("Image Src", "Product image URL")
POSITION = ("Image Position",)
VARIANT_IMAGE = ("Variant Image", "Variant image URL")
SKU = ("Variant SKU", "SKU")

# Shopify takes 250 pictures a product.
MOST_REMEMBERED = 500
# It takes 2,048 variants; rows of a product are held back until one has a picture.
MOST_HELD = 5_000
# Of their cells, each one more: only a product's first row has a description.
MOST_CHARACTERS_HELD = 4_000_000
MOST_HANDLES = 100_000
NO_PICTURE = (
    "no picture: none of the product's rows has an image or a variant image; give it one or leave it out"
)
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def is_shopify(header: Header) -> bool:
    return _has(header, HANDLE) and (_has(header, IMAGE) or _has(header, VARIANT_IMAGE))


def _has(header: Header, spellings: Sequence[str]) -> bool:
    return Spot.find(header, *spellings).place is not None


def shopify_reader(header: Header, columns: Mapping[str, str]) -> "ShopifyCells":
    """What reads rows in their order: those of a product stand together under one handle.

    Raises ManifestError if a column that is used stands there twice, or a mapped one not at all.
    """
    return ShopifyCells(header, Asked(header, columns))


class _Product:
    """What is known of the product whose rows are being read."""

    def __init__(self, handle: str) -> None:
        self.handle = handle
        self.rows = 0
        self.images = 0
        self.has_picture = False
        self._sources: set[str] = set()

    def remember(self, source: str) -> bool:
        """Whether the product did not have this picture yet, as far as it is remembered."""
        if source in self._sources:
            return False
        if len(self._sources) < MOST_REMEMBERED:
            self._sources.add(source)
        return True


class ShopifyCells:
    """What reads a row. Most rows are variants without a picture of their own, which is how Shopify writes
    them: `judged` finds the products that have none at all.
    """

    def __init__(self, header: Header, asked: Asked) -> None:
        self._asked = asked
        self._handle, self._image, self._position, self._variant_image, self._sku = (
            Spot.find(header, *spellings) for spellings in (HANDLE, IMAGE, POSITION, VARIANT_IMAGE, SKU)
        )
        self._product = _Product("")
        # Hashes of handles whose product has a picture, for rows that do not stand together.
        self._with_pictures: set[int] = set()

    def __call__(self, line: int, cells: Sequence[str]) -> Found:
        draft = self._asked.draft(line, cells)
        handle, image, variant = (
            spot.cell(cells) for spot in (self._handle, self._image, self._variant_image)
        )
        self._turn_to(handle.value)
        if not image.value and not variant.value:
            return (), ()
        self._product.has_picture = True
        if not handle.value:
            draft.reject(handle, "is empty; give each row its product's handle")
        else:
            self._add_image(draft, image, self._position.cell(cells))
            self._add_variant(draft, variant, self._sku.cell(cells).value)
        return draft.found()

    def judged(self, records: Iterator[Record]) -> Iterator[Record]:
        """The records, of which the first one of each product without any picture is a reject."""
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
        judged = product.has_picture
        for record in held:
            if judged or record.rejects:
                yield record
            else:
                judged = True
                missing = reject(record.line, self._image.column, "", NO_PICTURE)
                yield replace(record, rejects=(missing,))

    def _turn_to(self, handle: str) -> None:
        if handle != self._product.handle:
            if self._product.has_picture and len(self._with_pictures) < MOST_HANDLES:
                self._with_pictures.add(hash(self._product.handle))
            self._product = _Product(handle)
            self._product.has_picture = hash(handle) in self._with_pictures
        self._product.rows += 1

    def _add_image(self, draft: Draft, image: Cell, position: Cell) -> None:
        if not image.value:
            return
        product = self._product
        product.images += 1
        product.remember(image.value)
        if position.value and not WHOLE_NUMBER.fullmatch(position.value):
            draft.reject(position, NO_NUMBER)
            return
        number = int(position.value or product.images)
        draft.add(Cell(self._handle.column, f"{product.handle}/{number}"), image, made=True)

    def _add_variant(self, draft: Draft, variant: Cell, sku: str) -> None:
        product = self._product
        if variant.value and product.remember(variant.value):
            name = f"{product.handle}/variant/{sku or product.rows}"
            draft.add(Cell(self._handle.column, name), variant, made=True)
