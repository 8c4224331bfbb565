"""Live parts of pages: blocks that are rendered once for all tabs that show the same."""

import json
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Part:
    """A rendered block; equal tags are of equal texts.

    `read_at` orders what was read, and `as_of` is what the page says.
    """

    name: str
    text: str
    tag: str
    read_at: str
    as_of: str
    _told: dict[bool, bytes] = field(default_factory=dict, compare=False, repr=False)

    def event(self, *, whole: bool) -> bytes:
        """The event of a stream that brings the block or, if the page has it, the time of the reading."""
        if whole not in self._told:
            brought = {"name": self.name, "tag": self.tag, "readAt": self.read_at, "asOf": self.as_of}
            data = json.dumps(brought | ({"html": self.text} if whole else {}), ensure_ascii=False)
            self._told[whole] = f"event: part\ndata: {data}\n\n".encode("utf-8", "surrogatepass")
        return self._told[whole]
