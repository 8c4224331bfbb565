"""Products whose rows follow each other, and of which one row without a picture is no reject."""

from collections.abc import Iterator
from dataclasses import replace

from cutout.manifests.records import Record, reject

# Shopify accepts 250 pictures per product.
MOST_REMEMBERED = 500
# Shopify accepts 2,048 variants; rows of a product are held back until one has a picture.
MOST_HELD = 5_000
# Characters and cells held: only a product's first row has a description.
MOST_CHARACTERS_HELD = 4_000_000
MOST_HANDLES = 100_000


class Product:
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


class Products:
    """Products in the order of a file. Rows are read with `start`, and pass `reject_without_picture`."""

    def __init__(self, column: str, fault: str) -> None:
        """`column` and `fault` are those of the reject for a product without any picture."""
        self.current = Product("")
        self._column = column
        self._fault = fault
        # Hashes of handles whose product has a picture, for products whose rows are apart.
        self._with_pictures: set[int] = set()

    def start(self, handle: str) -> Product:
        """Return the product of the next row."""
        if handle != self.current.handle:
            if self.current.has_picture and len(self._with_pictures) < MOST_HANDLES:
                self._with_pictures.add(hash(self.current.handle))
            self.current = Product(handle)
            self.current.has_picture = hash(handle) in self._with_pictures
        self.current.rows += 1
        return self.current

    def reject_without_picture(self, records: Iterator[Record]) -> Iterator[Record]:
        """Yield the records; the first one of each product without any picture becomes a reject."""
        product, held, characters = self.current, list[Record](), 0
        for record in records:
            if self.current is not product:
                yield from self._released(held, product)
                product, held, characters = self.current, [], 0
            held.append(record)
            characters += len(record.cells) + sum(map(len, record.cells))
            if product.has_picture or len(held) > MOST_HELD or characters > MOST_CHARACTERS_HELD:
                yield from self._released(held, product)
                product.has_picture, held = True, []
        yield from self._released(held, product)

    def _released(self, held: list[Record], product: Product) -> Iterator[Record]:
        is_checked = product.has_picture
        for record in held:
            if is_checked or record.rejects:
                yield record
            else:
                is_checked = True
                yield replace(record, rejects=(reject(record.line, self._column, "", self._fault),))
