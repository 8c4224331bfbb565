"""Google Merchant feeds in XML: RSS and Atom, parsed as a stream."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NoReturn
from xml.parsers import expat

from cutout.manifests.google import ADDITIONAL, IMAGE_LINK, add_pictures
from cutout.manifests.lines import Text
from cutout.manifests.optional_columns import without_foreign_word
from cutout.manifests.record_builder import Cell, RecordBuilder, split_urls
from cutout.manifests.records import LONGEST_RECORD, ManifestError, Record, Reject, reject
from cutout.manifests.xml_characters import Characters, character_fault, restored

ROOTS = frozenset({"rss", "feed", "rdf"})
ITEMS = frozenset({"item", "entry"})
GOOGLE = "base.google.com/ns/"
DEEPEST = 32
# Characters of an item's texts and of the element paths that they are stored under.
MOST_CHARACTERS = 4 * LONGEST_RECORD
# Usually a sign-in page, saved in place of the feed.
WEB_PAGE = re.compile(r"<(!doctype\s+)?html\b", re.IGNORECASE)
BETWEEN_NAMESPACE_AND_NAME = " "


def read_feed(text: Text, columns: Mapping[str, str], *, name: str) -> Iterator[Record]:
    """Yield a record for each item. `columns` may name elements other than g:id and g:image_link.

    Raises ManifestError if the feed is not well-formed, has a document type (and with it any entity) or a
    root other than a feed's, and for an item or a tag longer than LONGEST_RECORD.
    """
    # XML must not begin with blanks, but the feeds of some shops do.
    start = text.start.lstrip()
    if WEB_PAGE.match(start):
        raise ManifestError(f"{name} is a web page, not a feed; download the feed itself")
    parser = _FeedParser(columns, name=name, first_line=text.line)
    for chunk in chain((start,), text.rest):
        error = parser.feed(chunk)
        yield from parser.take()
        if error:
            raise error
    if error := parser.close():
        raise error


class _FeedParser:
    def __init__(self, columns: Mapping[str, str], *, name: str, first_line: int) -> None:
        self._name = name
        self._skipped = first_line - 1
        self._items = _ItemReader(columns)
        self._finished: list[Record] = []
        self._path: list[str] = []
        self._item: _Item | None = None
        self._characters = Characters()
        self._fed = 0
        self._advanced_at = 0
        self._expat = parser = expat.ParserCreate(namespace_separator=BETWEEN_NAMESPACE_AND_NAME)
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse_document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        # For comments and everything else: shows that the parser advances.
        parser.DefaultHandler = self._advance

    def feed(self, text: str) -> ManifestError | None:
        """Parse a chunk; an error is returned, not raised, so that the records before it are not lost."""
        self._fed += len(text)
        return self._parse(self._characters.replaced(text))

    def close(self) -> ManifestError | None:
        return self._parse(self._characters.replaced("", final=True), final=True)

    def take(self) -> list[Record]:
        """Return the records finished since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def _parse(self, text: str, *, final: bool = False) -> ManifestError | None:
        try:
            self._expat.Parse(text, final)
        except ManifestError as error:
            return error
        except expat.ExpatError as error:
            problem = expat.ErrorString(error.code)
            return ManifestError(
                f"{self._name} is not well-formed XML: {problem}, in line {error.lineno + self._skipped} at"
                f" position {error.offset + 1}; export the feed again"
            )
        # The parser rereads an unfinished tag from its start with every chunk.
        if self._fed - self._advanced_at > LONGEST_RECORD:
            return self._too_long()
        return None

    def _refuse_document_type(self, *_: object) -> NoReturn:
        raise ManifestError(
            f"{self._name} declares a document type in line {self._line()}, which may define entities or"
            " fetch files; remove the <!DOCTYPE …>"
        )

    def _line(self) -> int:
        return self._expat.CurrentLineNumber + self._skipped

    def _advance(self, _: str) -> None:
        self._advanced_at = self._fed

    def _start(self, tag: str, _: dict[str, str]) -> None:
        self._advanced_at = self._fed
        name = _short_name(tag)
        if not self._path and name.casefold() not in ROOTS:
            raise ManifestError(
                f"{self._name} is XML with the root <{name[:60]}>; supported are Google Merchant feeds, as"
                " RSS or Atom"
            )
        self._path.append(name)
        if len(self._path) > DEEPEST:
            raise ManifestError(
                f"{self._name} nests elements more than {DEEPEST} deep in line {self._line()}; export it"
                " again"
            )
        if self._item:
            self._require_short(self._item)
            self._item.texts.clear()
        elif name in ITEMS:
            self._item = _Item(self._line(), self._expat.CurrentByteIndex, len(self._path))

    def _text(self, text: str) -> None:
        self._advanced_at = self._fed
        if self._item:
            self._require_short(self._item)
            self._item.texts.append(text)

    def _end(self, _: str) -> None:
        self._advanced_at = self._fed
        if self._item and len(self._path) > self._item.depth:
            self._item.close(self._path[self._item.depth :])
            if self._item.characters > MOST_CHARACTERS:
                raise self._too_long()
        elif self._item:
            self._finished.append(self._items.read(self._item))
            self._item = None
        self._path.pop()

    def _require_short(self, item: "_Item") -> None:
        if self._expat.CurrentByteIndex - item.begun > LONGEST_RECORD:
            raise self._too_long()

    def _too_long(self) -> ManifestError:
        line = self._item.line if self._item else self._line()
        return ManifestError(
            f"{self._name} has an item or a tag of more than {LONGEST_RECORD:,} characters in line {line};"
            " export it again"
        )


def _short_name(tag: str) -> str:
    """Return `g:id` for Google's id with any prefix; other names without their namespace."""
    namespace, _, name = tag.rpartition(BETWEEN_NAMESPACE_AND_NAME)
    return f"g:{name}" if GOOGLE in namespace else name


class _Item:
    """An item that is being read: its texts by element."""

    def __init__(self, line: int, begun: int, depth: int) -> None:
        self.line = line
        self.begun = begun
        self.depth = depth
        self.cells: dict[str, list[str]] = {}
        self.characters = 0
        self.texts: list[str] = []
        self.rejects: list[Reject] = []

    def close(self, path: list[str]) -> None:
        text = "".join(self.texts).strip()
        self.texts.clear()
        if fault := character_fault(text):
            text = restored(text)
            self.rejects.append(reject(self.line, path[-1], text, fault))
        if text:
            name = "/".join(path)
            self.characters += len(name) + len(text)
            self.cells.setdefault(name, []).append(text)


class _ItemReader:
    """Reader of finished items. Google's names may lack their namespace."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._names = {"external_id": "id", "source": IMAGE_LINK, **columns}

    def read(self, item: _Item) -> Record:
        cells = item.cells
        if item.rejects:
            return Record(item.line, cells, (), tuple(item.rejects))
        priority = self._first(cells, "priority")
        if "priority" not in self._names:
            priority = without_foreign_word(priority)
        builder = RecordBuilder(item.line, self._first(cells, "return_form"), priority)
        additional = [
            Cell(f"g:{ADDITIONAL}", address)
            for text in _find(cells, ADDITIONAL)
            for address in split_urls(text)
        ]
        add_pictures(builder, self._first(cells, "external_id"), self._first(cells, "source"), additional)
        return Record(item.line, cells, *builder.result())

    def _first(self, cells: Mapping[str, list[str]], target: str) -> Cell:
        name = self._names.get(target, target)
        values = _find(cells, name)
        return Cell(name, values[0] if values else "")


def _find(cells: Mapping[str, list[str]], name: str) -> list[str]:
    return cells.get(f"g:{name}") or cells.get(name) or []
