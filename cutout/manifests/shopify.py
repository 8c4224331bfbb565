"""Shopify product exports, in the older spelling and that of 2025 (help.shopify.com, "Using CSV files")."""

import re
from collections.abc import Mapping, Sequence

from cutout.manifests.column_names import Header, fold
from cutout.manifests.delimited import ReadCells
from cutout.manifests.optional_columns import Column, OptionalColumns
from cutout.manifests.products import Products
from cutout.manifests.record_builder import NO_NUMBER, Cell, RecordBuilder
from cutout.manifests.records import RecordContent

HANDLE = ("Handle", "URL handle")
IMAGE = ("Image Src", "Product image URL")
POSITION = ("Image Position",)
VARIANT_IMAGE = ("Variant Image", "Variant image URL")
SKU = ("Variant SKU", "SKU")

NO_PICTURE = (
    "no picture: none of the product's rows has an image or a variant image; give it one or leave it out"
)
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def is_shopify(header: Header) -> bool:
    return _has(header, HANDLE) and (_has(header, IMAGE) or _has(header, VARIANT_IMAGE))


def has_products(header: Header) -> bool:
    """Whether a manifest with mapped columns is a Shopify export, in which variants share pictures.

    Repeated columns are no error here: nobody asked for them.
    """
    handles = sum(header.folded.count(fold(name)) for name in HANDLE)
    return handles == 1 and any(fold(name) in header.folded for name in (*IMAGE, *VARIANT_IMAGE))


def _has(header: Header, spellings: Sequence[str]) -> bool:
    return Column.find(header, *spellings).at is not None


def shopify_reader(header: Header, columns: Mapping[str, str]) -> "ShopifyCells":
    """Return a reader for rows in file order: those of a product follow each other under one handle.

    Raises ManifestError if a used column occurs twice, or a mapped one is missing.
    """
    return ShopifyCells(header, OptionalColumns(header, columns))


class MappedShopifyCells:
    """Reader of rows whose id and source are mapped: one without a source is a variant without a picture."""

    def __init__(self, header: Header, source: str, read: ReadCells) -> None:
        self._handle = Column.find(header, *HANDLE)
        self._source = Column.find(header, source)
        self._read = read
        fault = (
            f"no picture: none of the product's rows has one in {source[:60]!r}; give it one or leave it out"
        )
        self.products = Products(self._source.name, fault)

    def __call__(self, line: int, cells: Sequence[str]) -> RecordContent:
        product = self.products.start(self._handle.cell(cells).value)
        if not self._source.cell(cells).value:
            return (), ()
        product.has_picture = True
        return self._read(line, cells)


class ShopifyCells:
    """Reader of a row's cells.

    Most rows are variants without a picture of their own; `products` finds those products that have none.
    """

    def __init__(self, header: Header, options: OptionalColumns) -> None:
        self._options = options
        self._handle, self._image, self._position, self._variant_image, self._sku = (
            Column.find(header, *spellings) for spellings in (HANDLE, IMAGE, POSITION, VARIANT_IMAGE, SKU)
        )
        self.products = Products(self._image.name, NO_PICTURE)

    def __call__(self, line: int, cells: Sequence[str]) -> RecordContent:
        builder = self._options.builder(line, cells)
        handle, image, variant = (
            column.cell(cells) for column in (self._handle, self._image, self._variant_image)
        )
        product = self.products.start(handle.value)
        if not image.value and not variant.value:
            return (), ()
        product.has_picture = True
        if not handle.value:
            builder.reject(handle, "is empty; give each row its product's handle")
        else:
            self._add_image(builder, image, self._position.cell(cells))
            self._add_variant(builder, variant, self._sku.cell(cells).value)
        return builder.result()

    def _add_image(self, builder: RecordBuilder, image: Cell, position: Cell) -> None:
        if not image.value:
            return
        product = self.products.current
        product.images += 1
        product.add_source(image.value)
        if position.value and not WHOLE_NUMBER.fullmatch(position.value):
            builder.reject(position, NO_NUMBER)
            return
        number = int(position.value or product.images)
        builder.add(Cell(self._handle.name, f"{product.handle}/{number}"), image, made=True)

    def _add_variant(self, builder: RecordBuilder, variant: Cell, sku: str) -> None:
        product = self.products.current
        if variant.value and product.add_source(variant.value):
            name = f"{product.handle}/variant/{sku or product.rows}"
            builder.add(Cell(self._handle.name, name), variant, made=True)
