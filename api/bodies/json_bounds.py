"""Bounds on a JSON body, checked while it arrives: a body beyond them is refused before it is built.

A parser would make an object of each value, and the schema a report of each fault. Both cost far more than
the bytes they are made of, and stop the event loop meanwhile.
"""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn

from api.problems import ProblemError

# The deepest body that any schema knows has 3 levels.
DEEPEST = 16
# The widest schema has some 30 members.
MOST_MEMBERS = 64
# The longest list but `jobs` is of 50 patterns.
MOST_ITEMS = 1000
# Each character may be written as two escapes of 6 bytes: an address of 2,048 characters is the longest text.
LONGEST_TEXT_BYTES = 32 * 1024
LONGEST_WORD_BYTES = 1000
# A small body of any route has fewer than 3,000 quotes, brackets and commas.
USUAL_TOKENS = 4000
# Of one job with all its members, with some to spare.
TOKENS_A_JOB = 16
JOBS = "jobs"

# An object of at most this many members, none an object or list, is counted in one step: mostly a job.
FLAT_MEMBERS = 8
TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
MEMBER = rb"\s*+(" + TEXT + rb"\s*+:\s*+(?:" + TEXT + rb'|[^\s"{}\[\],:]{1,1000}+))\s*+'
FLAT = rb"\{" + MEMBER + (rb"(?:," + MEMBER) * (FLAT_MEMBERS - 1) + rb")?" * (FLAT_MEMBERS - 1) + rb"\}"
# By the number of the last group that took part: the members of a flat object, or one of these.
TOKEN = re.compile(
    FLAT
    + rb'|"(?P<text>[^"\\]*+(?:\\.[^"\\]*+)*+)(?P<end>"|\\?\Z)'
    + rb"|(?P<mark>[{}\[\],])"
    + rb'|(?P<word>[^\s"{}\[\],:]++)'
    + rb"|(?P<blank>[\s:]{2,}+)",
    re.DOTALL,
)
END, MARK, WORD, BLANK = (TOKEN.groupindex[name] for name in ("end", "mark", "word", "blank"))
WHOLE_TEXT = re.compile(TEXT, re.DOTALL)
REST_OF_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+(?P<end>"|\\?\Z)', re.DOTALL)


@dataclass(slots=True)
class _Container:
    """An object or list that is not closed yet."""

    kind: bytes
    most: int
    name: str
    commas: int = 0


class JsonBounds:
    """Counts what a JSON text is made of, piece by piece. Whether it is JSON at all its parser finds out.

    `most_jobs` is the most that the list `jobs` may have, 0 where there is no such list.
    """

    def __init__(self, most_jobs: int = 0) -> None:
        self._most_jobs = most_jobs
        self._left = USUAL_TOKENS + TOKENS_A_JOB * most_jobs
        self._open: list[_Container] = []
        self._in_text = False
        self._escaped = False
        self._text_bytes = 0
        self._key = b""

    def feed(self, piece: bytes) -> None:
        """Count a piece of the body; raises a problem 422 once it has too much of anything."""
        start = self._end_text(piece) if self._in_text else 0
        for token in TOKEN.finditer(piece, start):
            kind = token.lastindex or 0
            if kind <= FLAT_MEMBERS:
                self._count_flat(kind, token[0])
            elif kind != BLANK:
                self._spend(1)
                if kind == MARK:
                    self._count(token["mark"])
                elif kind == WORD:
                    _bound(len(token["word"]), LONGEST_WORD_BYTES, "a number")
                else:
                    self._begin_text(token["text"], token["end"])

    def _spend(self, tokens: int) -> None:
        self._left -= tokens
        if self._left < 0:
            _refuse("the body has too many values; send less at once")

    def _count_flat(self, members: int, whole: bytes) -> None:
        if len(self._open) == DEEPEST:
            _refuse_depth()
        # Braces, names, values, and the commas between.
        self._spend(3 * members + 1)
        if len(whole) > LONGEST_TEXT_BYTES:
            for text in WHOLE_TEXT.finditer(whole):
                _bound(len(text[0]) - 2, LONGEST_TEXT_BYTES, "a text")

    def _begin_text(self, text: bytes, end: bytes) -> None:
        _bound(len(text), LONGEST_TEXT_BYTES, "a text")
        self._key = text
        if end != b'"':
            self._in_text, self._escaped, self._text_bytes = True, bool(end), len(text)

    def _end_text(self, piece: bytes) -> int:
        """Where the text that an earlier piece began ends in this one."""
        rest = REST_OF_TEXT.match(piece, 1 if self._escaped and piece else 0)
        if rest is None:
            return 0
        self._text_bytes += rest.end()
        _bound(self._text_bytes, LONGEST_TEXT_BYTES, "a text")
        self._key += piece[: rest.start("end")]
        self._in_text = rest["end"] != b'"'
        self._escaped = self._in_text and bool(rest["end"])
        return rest.end()

    def _count(self, mark: bytes) -> None:
        if mark in b"{[":
            if len(self._open) == DEEPEST:
                _refuse_depth()
            name = _name(self._key) if len(self._open) == 1 else ""
            self._open.append(_Container(mark, self._most(mark, name), name))
        elif mark in b"}]":
            if self._open:
                self._open.pop()
        elif self._open:
            container = self._open[-1]
            container.commas += 1
            if container.commas >= container.most:
                self._refuse_wide(container)

    def _most(self, mark: bytes, name: str) -> int:
        if mark == b"{":
            return MOST_MEMBERS
        return max(self._most_jobs, 1) if name == JOBS and self._most_jobs else MOST_ITEMS

    def _refuse_wide(self, container: _Container) -> NoReturn:
        if container.kind == b"[" and container.name == JOBS and self._most_jobs:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "too-many-jobs",
                f"the list has more than {self._most_jobs} jobs, the most that are taken; split it, or send a"
                " manifest",
                field=JOBS,
            )
        what = f"{container.most} items" if container.kind == b"[" else f"{container.most} members"
        where = container.name or "a part of the body"
        _refuse(f"{where} has more than {what}; leave out what the schema does not name", container.name)


def _name(key: bytes) -> str:
    try:
        return str(json.loads(b'"' + key + b'"'))[:100]
    except ValueError:
        return ""


def _refuse_depth() -> NoReturn:
    _refuse(f"the body is nested more than {DEEPEST} levels deep")


def _bound(length: int, most: int, what: str) -> None:
    if length > most:
        _refuse(f"{what} in the body has more than {most} bytes; shorten it")


def _refuse(text: str, field: str = "") -> NoReturn:
    raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", text, field=field or None)
