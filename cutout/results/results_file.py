"""A batch's results as a file that is written while it is read: rows, or the manifest with columns added."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import Engine

from cutout.results.formats import MEDIA_TYPES, Format, write_results
from cutout.results.links import CutoutLinks
from cutout.results.round_trip import KeptManifest, write_as_input
from cutout.results.rows import Selection, open_results
from cutout.results.tally import WrittenRows
from cutout.storage import Bucket

# A manifest as it came in may be of any kind.
ANY_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ResultsFile:
    """A requested file; `kept` is the manifest that it copies the columns of, in place of `form`."""

    selection: Selection
    form: Format
    links: CutoutLinks | None = None
    kept: KeptManifest | None = None
    image_column: str | None = None

    @property
    def media_type(self) -> str:
        return ANY_TYPE if self.kept else MEDIA_TYPES[self.form]

    def pieces(self, engine: Engine, bucket: Bucket) -> Iterator[bytes]:
        """The file. Between two pieces no connection is held, however slowly they are read.

        Raises as `open_results` and `write_as_input` do.
        """
        with ExitStack() as stack:
            if self.kept is None:
                found = stack.enter_context(open_results(engine, self.selection))
                yield from write_results(found, self.form, self.links, renditions=found.renditions)
            else:
                yield from write_as_input(
                    engine, bucket, self.kept, self.links, WrittenRows(), image_column=self.image_column
                )
