"""File names by template."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutout.outputs.recipes import RecipeError, parse_name_template

VALUES = {
    "external_id": "SKU-1",
    "rendition": "amazon",
    "ext": "jpg",
    "batch": "b1",
    "job": "j1",
    "form": "rgba",
}
PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")


class TestFormat:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("{external_id}.{rendition}.{ext}", "SKU-1.amazon.jpg"),
            ("{asin}.MAIN.{ext}", "B00X.MAIN.jpg"),
            ("{batch}/{rendition}/{job}.{form}.{ext}", "b1/amazon/j1.rgba.jpg"),
            ("{Variant SKU}-{rendition}.{ext}", "7-amazon.jpg"),
        ],
    )
    def test_format(self, text: str, name: str) -> None:
        """Fields and columns are replaced by the job's values."""
        template = parse_name_template(text, ["asin", "Variant SKU"])
        assert template.format(VALUES, {"asin": "B00X", "Variant SKU": 7}) == name

    def test_unsafe_values_stay_different(self) -> None:
        """Values that differ in unsafe characters alone give different names."""
        template = parse_name_template("{external_id}.{ext}")
        names = {template.format({**VALUES, "external_id": text}) for text in ("a/b", "a_b", "a b", "a\\b")}
        assert len(names) == 4

    @pytest.mark.parametrize("missing", [None, ""])
    def test_missing_value(self, missing: str | None) -> None:
        """A job without a value has its id there, so that two jobs never share a file."""
        template = parse_name_template("{asin}.{external_id}.{ext}", ["asin"])
        assert template.format({**VALUES, "external_id": missing}, {"asin": missing}) == "j1.j1.jpg"

    @given(text=st.text(), other=st.text())
    def test_no_value_leaves_the_folder(self, text: str, other: str) -> None:
        """Whatever the values, each part of the path is a plain name of bounded length."""
        template = parse_name_template("{batch}/{external_id}{a}{external_id}{a}{external_id}.{ext}", ["a"])
        name = template.format({**VALUES, "external_id": text, "batch": other}, {"a": other})
        parts = name.split("/")
        assert len(parts) == 2
        assert all(PART.fullmatch(part) for part in parts), name
        assert name.endswith(".jpg")


REFUSED = [
    (
        "{external_id}.{size}.{ext}",
        "unknown field {size}",
        "external_id, rendition, ext, batch, job, form, asin",
    ),
    ("{job.__class__}.{ext}", "unknown field {job.__class__}", "known are"),
    ("{job!r}.{ext}", "unknown field {job!r}", "known are"),
    ("{}.{ext}", "unknown field {}", "known are"),
    ("{job}{{.{ext}", "outside of fields", "A-Z"),
    ("../{job}.{ext}", "must not be empty or begin with a dot", "dot"),
    ("/{job}.{ext}", "must not be empty", "empty"),
    ("a//{job}.{ext}", "must not be empty", "empty"),
    ("{job}/.{ext}", "begin with a dot", "dot"),
    ("a/" * 8 + "{job}.{ext}", "7 folders", "folders"),
    ("C:{job}.{ext}", "outside of fields", "A-Z"),
    ("{job}.jpg", "must end in .{ext}", "format"),
    ("{ext}/{job}.{ext}", "must end in .{ext}", "format"),
    ("{batch}.{rendition}.{ext}", "each job the same name", "{external_id}, {job} or a column"),
    ("x" * 301, "301 characters", "300"),
]


class TestRefused:
    @pytest.mark.parametrize(("text", "named", "known"), REFUSED)
    def test_refused(self, text: str, named: str, known: str) -> None:
        """The error names the fault and the remedy."""
        with pytest.raises(RecipeError) as caught:
            parse_name_template(text, ["asin"])
        assert named in str(caught.value)
        assert known in str(caught.value)

    def test_several_outputs(self) -> None:
        """Several outputs of a job need {rendition}; one does not."""
        parse_name_template("{job}.{ext}", outputs=1)
        parse_name_template("{job}.{rendition}.{ext}", outputs=2)
        with pytest.raises(RecipeError, match=r"2 outputs the same name; add \{rendition\}"):
            parse_name_template("{job}.{ext}", outputs=2)
