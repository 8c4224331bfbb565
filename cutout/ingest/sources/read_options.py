"""Options for reading a source, and how they are stored with the ingest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cutout.ingest.ingest_errors import IngestError
from cutout.ingest.sources.file_patterns import FilePatterns

MANY = "many"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options for reading a source: column mapping, encoding, and whether bare names are keys of the bucket.

    A `foreign` manifest came over the network: its rows may name pictures on the web only. With `many` one id
    may belong to several pictures. `include` and `exclude` are patterns for the files of a directory, an
    archive or a prefix.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    keys: bool = False
    foreign: bool = False
    delimiter: str | None = None
    many: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def more(self) -> dict[str, Any]:
        """Return the stored options beside columns, encoding and keys; those not set are left out."""
        found: dict[str, Any] = {"delimiter": self.delimiter, MANY: self.many}
        found |= {"include": list(self.include), "exclude": list(self.exclude)}
        return {name: value for name, value in found.items() if value}

    @classmethod
    def of(cls, kept: Mapping[str, Any], *, foreign: bool) -> Self:
        """Restore from stored options."""
        return cls(
            kept["columns"],
            kept["encoding"],
            kept["keys"],
            foreign,
            kept.get("delimiter"),
            kept.get(MANY, False),
            tuple(kept.get("include", ())),
            tuple(kept.get("exclude", ())),
        )

    @property
    def patterns(self) -> FilePatterns:
        return FilePatterns(self.include, self.exclude)

    def refuse_for(self, what: str) -> None:
        """Raise IngestError if an option for manifests is set for a source that is none."""
        for option, given in (
            ("--map", self.columns),
            ("--delimiter", self.delimiter),
            ("--many", self.many),
            ("--keys", self.keys),
        ):
            if given:
                raise IngestError(f"{what} is no manifest, and {option} is for manifests; leave {option} out")
