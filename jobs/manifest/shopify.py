"""Shopify's product export, in its older spelling and that of 2025 (help.shopify.com, "Using CSV files")."""

import re
from collections.abc import Mapping, Sequence

from jobs.manifest.asked import Asked, Spot
from jobs.manifest.columns import Header
from jobs.manifest.delimited import ReadCells
from jobs.manifest.drafts import Cell, Draft
from jobs.manifest.records import Found

HANDLE = ("Handle", "URL handle")
IMAGE = ("Image Src", "Product image URL")
POSITION = ("Image Position",)
VARIANT_IMAGE = ("Variant Image", "Variant image URL")
SKU = ("Variant SKU", "SKU")

# Shopify takes 250 pictures a product.
MOST_REMEMBERED = 500
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def is_shopify(header: Header) -> bool:
    return _has(header, HANDLE) and (_has(header, IMAGE) or _has(header, VARIANT_IMAGE))


def _has(header: Header, spellings: Sequence[str]) -> bool:
    return Spot.find(header, *spellings).place is not None


def shopify_reader(header: Header, columns: Mapping[str, str]) -> ReadCells:
    """What reads rows in their order: those of a product stand together under one handle.

    Raises ManifestError if a column that is used stands there twice, or a mapped one not at all.
    """
    return _ShopifyCells(header, Asked(header, columns))


class _Product:
    """What is known of the product whose rows are being read."""

    def __init__(self, handle: str) -> None:
        self.handle = handle
        self.rows = 0
        self.images = 0
        self._sources: set[str] = set()

    def remember(self, source: str) -> bool:
        """Whether the product did not have this picture yet, as far as it is remembered."""
        if source in self._sources:
            return False
        if len(self._sources) < MOST_REMEMBERED:
            self._sources.add(source)
        return True


class _ShopifyCells:
    def __init__(self, header: Header, asked: Asked) -> None:
        self._asked = asked
        self._handle, self._image, self._position, self._variant_image, self._sku = (
            Spot.find(header, *spellings) for spellings in (HANDLE, IMAGE, POSITION, VARIANT_IMAGE, SKU)
        )
        self._product = _Product("")

    def __call__(self, line: int, cells: Sequence[str]) -> Found:
        draft = self._asked.draft(line, cells)
        handle, image, variant = (
            spot.cell(cells) for spot in (self._handle, self._image, self._variant_image)
        )
        self._turn_to(handle.value)
        if not image.value and not variant.value:
            draft.reject(image, "no picture: the row has neither an image nor a variant image")
        elif not handle.value:
            draft.reject(handle, "is empty; give each row its product's handle")
        else:
            self._add_image(draft, image, self._position.cell(cells))
            self._add_variant(draft, variant, self._sku.cell(cells).value)
        return draft.found()

    def _turn_to(self, handle: str) -> None:
        if handle != self._product.handle:
            self._product = _Product(handle)
        self._product.rows += 1

    def _add_image(self, draft: Draft, image: Cell, position: Cell) -> None:
        if not image.value:
            return
        product = self._product
        product.images += 1
        product.remember(image.value)
        if position.value and not WHOLE_NUMBER.fullmatch(position.value):
            draft.reject(position, "is not a whole number; number the product's pictures 1, 2, 3")
            return
        number = int(position.value or product.images)
        draft.add(Cell(self._handle.column, f"{product.handle}/{number}"), image)

    def _add_variant(self, draft: Draft, variant: Cell, sku: str) -> None:
        product = self._product
        if variant.value and product.remember(variant.value):
            draft.add(Cell(self._handle.column, f"{product.handle}/variant/{sku or product.rows}"), variant)
