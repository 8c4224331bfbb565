"""Characters of names and ids: the same ones are refused at every door."""

import re
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress

import pytest
import typer

from cli.names import plain_name
from cutout.manifests.field_rules import external_id_fault
from cutout.queue.enqueue import InvalidJobError, NewJob
from cutout.schedules.definition import NewSchedule, Options
from cutout.schedules.schedule_errors import InvalidScheduleError
from cutout.text import PATTERN, name_fault, visible

URL = "https://shop.example/a.jpg"
REFUSED = ["\x00", "\n", "\x1b", "\x7f", "\x85", "\xad", "\u061c", "\u200b", "\u200e", "\u2028", "\u2029"]
REFUSED += ["\u202e", "\u2060", "\u2066", "\u2069", "\ufeff", "\ufff9", "\u3164", "\U000e0041", "\u200d"]
# Joiners in words and pictures, a number sign of Arabic, letters and blanks of all kinds, private use.
TAKEN = [
    "SKU 1/2",
    "\u06cc\u200c\u062e",
    "\U0001f468\u200d\U0001f467",
    "\u0600",
    "x\xa0y",
    "\ue000",
    "\u2764\ufe0f",
]


def _job(text: str) -> None:
    NewJob(URL, text)


def _manifest(text: str) -> None:
    if fault := external_id_fault(text):
        raise ValueError(fault)


def _schedule(text: str) -> None:
    NewSchedule(text, URL, "15 1 * * *", "UTC", Options())


def _command(text: str) -> None:
    plain_name("--name", text)


DOORS: list[Callable[[str], None]] = [_job, _manifest, _schedule, _command]


class TestAName:
    @pytest.mark.parametrize("door", DOORS)
    @pytest.mark.parametrize("character", REFUSED, ids=ascii)
    def test_with_invisible_characters_is_refused(self, door: Callable[[str], None], character: str) -> None:
        """Invisible characters are refused at any position; the error says where."""
        for text in (f"{character}ab", f"a{character}b", f"ab{character}"):
            with pytest.raises((ValueError, InvalidJobError, InvalidScheduleError, typer.Exit)):
                door(text)
            assert f"U+{ord(character):04X}" in str(name_fault(text))

    @pytest.mark.parametrize("door", DOORS)
    @pytest.mark.parametrize("text", TAKEN, ids=ascii)
    def test_in_any_writing_is_taken(self, door: Callable[[str], None], text: str) -> None:
        """A joiner is part of the letters around it."""
        door(text)

    def test_has_no_character_of_a_refused_category(self) -> None:
        """Of Unicode's controls, formats, separators and surrogates only signs before numbers pass."""
        taken = {
            code
            for code in range(sys.maxunicode + 1)
            if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and not name_fault(chr(code))
        }
        assert taken == {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD}

    def test_that_is_taken_fits_the_schema(self) -> None:
        """Everything that the schema allows is accepted, except misplaced joiners."""
        whole = re.compile(PATTERN.removesuffix("$") + r"\Z")
        for code in range(sys.maxunicode + 1):
            character = chr(code)
            if unicodedata.category(character) == "Cs" or character in "\u200c\u200d":
                continue
            assert bool(whole.search(character)) == (name_fault(character) is None), hex(code)


def test_invisible_characters_are_written_out() -> None:
    """Terminals and files cannot interpret it; all other characters stay."""
    assert visible("a\x1b[31m\r\nb\u202e\x00ü") == "a\\x1b[31m\\r\\nb\\u202e\\x00ü"
    with suppress(UnicodeEncodeError):
        visible("\ud800").encode()
    assert visible("\ud800") == "\\ud800"
