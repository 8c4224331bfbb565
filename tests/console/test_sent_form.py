"""Forms with files, in pieces of any size."""

import random
from collections.abc import Iterator

import pytest

from console.adding.sent_form import LONGEST_NAME, SentForm, base_name
from console.faults import PageError

KIND = "multipart/form-data; boundary=--x-y"
FILE = b"\r\n----x-\r\n--\r\n\r\n----x-z" * 40


def part(name: str, value: bytes, file_name: str | None = None) -> bytes:
    """A part of a form."""
    file = "" if file_name is None else f'; filename="{file_name}"'
    return (
        f'----x-y\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"
    )


FORM = (
    part("token", b"abc")
    + part("form", b"rgba")
    + part("form", b"mask")
    + part("name", "Frühling".encode())
    + part("files", FILE, "one.csv")
    + part("files", b"", "")
    + part("files", b"two", "zwei.csv")
    + b"----x-y--\r\n"
)


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    """The bytes in pieces of random sizes, some of them empty."""
    chance = random.Random(seed)  # noqa: S311 - sizes of pieces
    at = 0
    while at < len(data):
        size = chance.randrange(0, 40)
        yield data[at : at + size]
        at += size


def read_whole(form: SentForm) -> None:
    """Read the form to its end."""
    form.fields()
    for _, data in form.files():
        list(data)


@pytest.mark.parametrize("seed", range(30))
def test_a_form_is_the_same_however_it_is_cut(seed: int) -> None:
    """Fields by name in their order, then the files that were chosen, byte for byte."""
    form = SentForm(KIND, cut(FORM, seed))
    assert form.fields() == {"token": ["abc"], "form": ["rgba", "mask"], "name": ["Frühling"]}
    assert form.first_name == "one.csv"
    assert [(name, b"".join(data)) for name, data in form.files()] == [
        ("one.csv", FILE),
        ("zwei.csv", b"two"),
    ]


@pytest.mark.parametrize("lacks", [1, 5, 20, 60, len(FORM) - 10])
def test_a_form_without_its_end_is_refused(lacks: int) -> None:
    """Wherever it breaks off, no file of it is taken for a whole one."""
    form = SentForm(KIND, cut(FORM[: -lacks - 4], 1))
    with pytest.raises(PageError, match="The form came damaged"):
        read_whole(form)


def test_a_field_behind_a_file_is_refused() -> None:
    """Options must be known before files are stored."""
    form = SentForm(KIND, iter([part("files", b"1", "a.csv") + part("name", b"x") + b"----x-y--\r\n"]))
    with pytest.raises(PageError, match="behind its files"):
        read_whole(form)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"a.jpg", "a.jpg"),
        (b"../../etc/a.jpg", "a.jpg"),
        (rb"C:\fakepath\a.jpg", "a.jpg"),
        (b"a\0b.jpg", "ab.jpg"),
        (b"\xff.jpg", "\ufffd.jpg"),
        (b"n" * 5000, "n" * LONGEST_NAME),
        (b"folder/", ""),
    ],
)
def test_names_have_no_folders(sent: bytes, name: str) -> None:
    """A name says nothing about where the file is stored."""
    assert base_name(sent) == name
